"""One conversation in the SSH file transfer protocol about one confined folder.

It is given the bytes that came and gives those to be sent; it knows `ConfinedFolder` and no connection. Whatever comes,
each request gets one answer, in order; what is no request ends the conversation by `SftpGarbage`. It promises that open
files are few and that `close` closes them.
"""

from __future__ import annotations

import errno
import os
import posixpath
import struct
from collections.abc import Callable, Iterator
from typing import Final

from crl.x2go._confined import ConfinedFolder
from crl.x2go._sftpwire import (
    LARGEST,
    Fields,
    Kind,
    Packets,
    SftpGarbage,
    Status,
    long_name,
    pack,
    pack_attributes,
    pack_string,
)

__all__ = ["SftpSession", "together"]

VERSION: Final = 3
MOST_HANDLES: Final = 128
LONGEST_READ: Final = LARGEST - 1024
LISTED_AT_ONCE: Final = 100
AT_ONCE: Final = 120_000
"""Answers are put together up to the four parts in which sshfs asks for what is read ahead."""
_READ, _WRITE, _APPEND, _CREATE, _TRUNCATE, _EXCLUSIVE = 0x1, 0x2, 0x4, 0x8, 0x10, 0x20
_EXTENSIONS: Final = (
    (b"posix-rename@openssh.com", b"1"),
    (b"statvfs@openssh.com", b"2"),
    (b"fstatvfs@openssh.com", b"2"),
    (b"fsync@openssh.com", b"1"),
    (b"limits@openssh.com", b"1"),
)
_STATUS: Final = {
    errno.ENOENT: Status.NO_SUCH_FILE,
    errno.ENOTDIR: Status.NO_SUCH_FILE,
    errno.EACCES: Status.PERMISSION_DENIED,
    errno.EPERM: Status.PERMISSION_DENIED,
    errno.EROFS: Status.PERMISSION_DENIED,
    errno.ELOOP: Status.PERMISSION_DENIED,
    errno.ENAMETOOLONG: Status.BAD_MESSAGE,
    errno.ENOSYS: Status.OP_UNSUPPORTED,
}


class _File:
    """An open file."""

    def __init__(self, descriptor: int, *, append: bool) -> None:
        self.descriptor = descriptor
        self.append = append

    def close(self) -> None:
        os.close(self.descriptor)


class _Listing:
    """An open folder; what is in it is read as it is asked for."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        try:
            self._entries = os.scandir(descriptor)
        except BaseException:
            os.close(descriptor)
            raise
        self.descriptor = descriptor

    def some(self) -> list[tuple[bytes, os.stat_result]]:
        """The next names and what is known of them; none at the end."""
        found: list[tuple[bytes, os.stat_result]] = []
        for entry in self._entries:
            try:
                found.append((os.fsencode(entry.name), entry.stat(follow_symlinks=False)))
            except FileNotFoundError:  # removed meanwhile
                continue
            if len(found) >= LISTED_AT_ONCE:
                break
        return found

    def close(self) -> None:
        self._entries.close()
        os.close(self._descriptor)


class SftpSession:
    """Answers requests about a folder.

    Args:
        folder: The folder; it stays its owner's.
        name: The absolute name by which the other side knows it; no other absolute name means anything.
    """

    def __init__(self, folder: ConfinedFolder, name: bytes) -> None:
        self._folder = folder
        self._name = posixpath.normpath(b"/" + name.lstrip(b"/"))
        self._packets = Packets()
        self._begun = False
        self._handles: dict[bytes, _File | _Listing] = {}
        self._next = 0
        self._requests: dict[int, Callable[[int, Fields], bytes]] = {
            Kind.OPEN: self._open, Kind.CLOSE: self._close_handle, Kind.READ: self._read, Kind.WRITE: self._write,
            Kind.LSTAT: self._lstat, Kind.STAT: self._stat, Kind.FSTAT: self._fstat, Kind.SETSTAT: self._setstat,
            Kind.FSETSTAT: self._fsetstat, Kind.OPENDIR: self._opendir, Kind.READDIR: self._readdir,
            Kind.REMOVE: self._remove, Kind.MKDIR: self._mkdir, Kind.RMDIR: self._rmdir, Kind.RENAME: self._rename,
            Kind.REALPATH: self._realpath, Kind.READLINK: self._readlink, Kind.SYMLINK: self._symlink,
            Kind.EXTENDED: self._extended,
        }  # fmt: skip
        self._extended_requests: dict[bytes, Callable[[int, Fields], bytes]] = {
            b"posix-rename@openssh.com": self._posix_rename, b"statvfs@openssh.com": self._statvfs,
            b"fstatvfs@openssh.com": self._fstatvfs, b"fsync@openssh.com": self._fsync,
            b"limits@openssh.com": self._limits,
        }  # fmt: skip

    def close(self) -> None:
        """Close what is open."""
        handles, self._handles = self._handles, {}
        for handle in handles.values():
            handle.close()

    def answer(self, data: bytes) -> bytes | None:
        """The answer to what came, where that is exactly one request; None leaves it to `answers`.

        Raises:
            SftpGarbage: It is no request; then nothing can follow.
        """
        packet = self._packets.single(data)
        return None if packet is None else self._answer(packet)

    def answers(self, data: bytes) -> Iterator[bytes]:
        """What is to be sent for what came, one packet at a time.

        Raises:
            SftpGarbage: It is no request; then nothing can follow.
        """
        for packet in self._packets.feed(data):
            yield self._answer(packet)

    def _answer(self, packet: bytes) -> bytes:
        if not self._begun:
            return self._begin(packet)
        fields = Fields(packet, 1)
        number = fields.integer()
        request = self._requests.get(packet[0])
        if request is None:
            return _status(number, Status.OP_UNSUPPORTED)
        try:
            return request(number, fields)
        except SftpGarbage as error:
            return _status(number, Status.BAD_MESSAGE, str(error))
        except OSError as error:
            return _status(number, _STATUS.get(error.errno or 0, Status.FAILURE), error.strerror or str(error))
        except (ValueError, OverflowError) as error:  # numbers that no file can have
            return _status(number, Status.BAD_MESSAGE, str(error))

    def _begin(self, packet: bytes) -> bytes:
        if packet[0] != Kind.INIT or Fields(packet, 1).integer() < VERSION:
            raise SftpGarbage("it does not begin as it has to")
        self._begun = True
        extensions = b"".join(pack_string(name) + pack_string(value) for name, value in _EXTENSIONS)
        return pack(Kind.VERSION, VERSION, extensions)

    # Names.

    def _path(self, fields: Fields) -> bytes:
        """A name within the folder, from one that the other side knows."""
        path = fields.string()
        if not path.startswith(b"/"):
            return path
        parts = [part for part in path.split(b"/") if part not in {b"", b"."}]
        ours = [part for part in self._name.split(b"/") if part]
        if parts[: len(ours)] != ours:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        return b"/".join(parts[len(ours) :])

    def _realpath(self, number: int, fields: Fields) -> bytes:
        path = posixpath.normpath(posixpath.join(self._name, fields.string()))
        if path != self._name and not path.startswith(self._name.rstrip(b"/") + b"/"):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        return _names(number, [(path, b"")])

    # Handles.

    def _keep(self, number: int, handle: _File | _Listing) -> bytes:
        self._next += 1
        name = b"%x" % self._next
        self._handles[name] = handle
        return pack(Kind.HANDLE, number, pack_string(name))

    def _room(self) -> None:
        if len(self._handles) >= MOST_HANDLES:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    def _handle(self, fields: Fields) -> _File | _Listing:
        handle = self._handles.get(fields.string())
        if handle is None:
            raise SftpGarbage("no such handle")
        return handle

    def _file(self, fields: Fields) -> _File:
        handle = self._handle(fields)
        if not isinstance(handle, _File):
            raise SftpGarbage("not the handle of a file")
        return handle

    def _open(self, number: int, fields: Fields) -> bytes:
        self._room()
        path, wanted, attributes = self._path(fields), fields.integer(), fields.attributes()
        flags = os.O_RDONLY if not wanted & _WRITE else os.O_RDWR if wanted & _READ else os.O_WRONLY
        for bit, flag in (
            (_APPEND, os.O_APPEND), (_CREATE, os.O_CREAT), (_TRUNCATE, os.O_TRUNC), (_EXCLUSIVE, os.O_EXCL)
        ):  # fmt: skip
            flags |= flag if wanted & bit else 0
        if flags & os.O_EXCL and not flags & os.O_CREAT:
            raise SftpGarbage("a new file that is not to be made")
        mode = 0o666 if attributes.mode is None else attributes.mode
        return self._keep(number, _File(self._folder.open(path, flags, mode), append=bool(flags & os.O_APPEND)))

    def _close_handle(self, number: int, fields: Fields) -> bytes:
        name = fields.string()
        handle = self._handles.pop(name, None)
        if handle is None:
            raise SftpGarbage("no such handle")
        handle.close()
        return _status(number)

    def _read(self, number: int, fields: Fields) -> bytes:
        file, offset, length = self._file(fields), fields.long(), fields.integer()
        data = os.pread(file.descriptor, min(length, LONGEST_READ), offset)
        if not data and length:
            return _status(number, Status.EOF)
        return pack(Kind.DATA, number, len(data).to_bytes(4), data)

    def _write(self, number: int, fields: Fields) -> bytes:
        file, offset, data = self._file(fields), fields.long(), fields.string()
        written = 0
        while written < len(data):
            rest = data[written:] if written else data
            written += os.write(file.descriptor, rest) if file.append else os.pwrite(
                file.descriptor, rest, offset + written
            )  # fmt: skip
        return _status(number)

    def _fsync(self, number: int, fields: Fields) -> bytes:
        os.fsync(self._file(fields).descriptor)
        return _status(number)

    def _opendir(self, number: int, fields: Fields) -> bytes:
        self._room()
        return self._keep(number, _Listing(self._folder.open_folder(self._path(fields))))

    def _readdir(self, number: int, fields: Fields) -> bytes:
        handle = self._handle(fields)
        if not isinstance(handle, _Listing):
            raise SftpGarbage("not the handle of a folder")
        found = handle.some()
        if not found:
            return _status(number, Status.EOF)
        return _names(number, [(name, long_name(name, status), pack_attributes(status)) for name, status in found])

    # What is known of files.

    def _lstat(self, number: int, fields: Fields) -> bytes:
        return pack(Kind.ATTRS, number, pack_attributes(self._folder.stat(self._path(fields), follow=False)))

    def _stat(self, number: int, fields: Fields) -> bytes:
        return pack(Kind.ATTRS, number, pack_attributes(self._folder.stat(self._path(fields), follow=True)))

    def _fstat(self, number: int, fields: Fields) -> bytes:
        return pack(Kind.ATTRS, number, pack_attributes(os.fstat(self._handle(fields).descriptor)))

    def _setstat(self, number: int, fields: Fields) -> bytes:
        path, wish = self._path(fields), fields.attributes()
        self._folder.set_attributes(path, wish)
        return _status(number)

    def _fsetstat(self, number: int, fields: Fields) -> bytes:
        file, wish = self._file(fields), fields.attributes()
        self._folder.set_open_attributes(file.descriptor, wish)
        return _status(number)

    def _statvfs(self, number: int, fields: Fields) -> bytes:
        return self._space(number, self._folder.space(self._path(fields)))

    def _fstatvfs(self, number: int, fields: Fields) -> bytes:
        return self._space(number, os.fstatvfs(self._handle(fields).descriptor))

    def _space(self, number: int, space: os.statvfs_result) -> bytes:
        flags = (1 if self._folder.read_only else 0) | 2  # read only; no programs with others' rights
        values = (
            space.f_bsize, space.f_frsize, space.f_blocks, space.f_bfree, space.f_bavail, space.f_files, space.f_ffree,
            space.f_favail, 0, flags, space.f_namemax,
        )  # fmt: skip
        return pack(Kind.EXTENDED_REPLY, number, struct.pack(">11Q", *values))

    def _limits(self, number: int, fields: Fields) -> bytes:  # noqa: ARG002 - it has none
        return pack(
            Kind.EXTENDED_REPLY, number, struct.pack(">4Q", LARGEST, LONGEST_READ, LONGEST_READ, MOST_HANDLES)
        )

    # Names that change.

    def _remove(self, number: int, fields: Fields) -> bytes:
        self._folder.remove(self._path(fields))
        return _status(number)

    def _mkdir(self, number: int, fields: Fields) -> bytes:
        path, wish = self._path(fields), fields.attributes()
        self._folder.make_folder(path, 0o777 if wish.mode is None else wish.mode)
        return _status(number)

    def _rmdir(self, number: int, fields: Fields) -> bytes:
        self._folder.remove_folder(self._path(fields))
        return _status(number)

    def _rename(self, number: int, fields: Fields) -> bytes:
        old, new = self._path(fields), self._path(fields)
        self._folder.rename(old, new, replace=False)
        return _status(number)

    def _posix_rename(self, number: int, fields: Fields) -> bytes:
        old, new = self._path(fields), self._path(fields)
        self._folder.rename(old, new, replace=True)
        return _status(number)

    def _readlink(self, number: int, fields: Fields) -> bytes:
        return _names(number, [(self._folder.read_link(self._path(fields)), b"")])

    def _symlink(self, number: int, fields: Fields) -> bytes:
        target = fields.string()  # first, as OpenSSH does, whatever the draft says
        self._folder.make_link(target, self._path(fields))
        return _status(number)

    def _extended(self, number: int, fields: Fields) -> bytes:
        request = self._extended_requests.get(fields.string())
        return _status(number, Status.OP_UNSUPPORTED) if request is None else request(number, fields)


def together(answers: Iterator[bytes]) -> Iterator[bytes]:
    """The same answers, small ones in one piece."""
    joined: list[bytes] = []
    size = 0
    for answer in answers:
        joined.append(answer)
        size += len(answer)
        if size > AT_ONCE:
            yield b"".join(joined)
            joined, size = [], 0
    if joined:
        yield b"".join(joined)


_DONE: Final = struct.pack(">III", Status.OK, 0, 0)


def _status(number: int, status: Status = Status.OK, why: str = "") -> bytes:
    if not why and status is Status.OK:
        return pack(Kind.STATUS, number, _DONE)
    text = why.encode("utf-8", "replace")[:200]
    return pack(Kind.STATUS, number, int(status).to_bytes(4), pack_string(text), pack_string(b""))


def _names(number: int, names: list[tuple[bytes, bytes] | tuple[bytes, bytes, bytes]]) -> bytes:
    """Names with what is known of each, which may be nothing."""
    parts = [len(names).to_bytes(4)]
    for name, long, *known in names:
        parts += [pack_string(name), pack_string(long), known[0] if known else bytes(4)]
    return pack(Kind.NAME, number, *parts)
