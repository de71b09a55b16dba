"""Reads a file or a tree and makes the records of it, at either end of a link.

It holds one piece at a time, whatever the size. Symbolic links are taken as links and never followed below the root.
What cannot be read in a tree becomes a record of its own and the rest goes on; what changes while it is read is said.
"""
# ruff: noqa: F401 - names in type comments look unused.

import errno
import os
import stat

from crl.link.remote import files_folder
from crl.link.wire import entries, sending

MYPY = False
if MYPY:
    from collections.abc import Callable
    from typing import Any

# What a message and its head are around a piece, so that it still fits one frame.
AROUND = 64
READ_FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY
MAX_DEPTH = 256
SEEK_DATA, SEEK_HOLE = 3, 4
SMALLEST_HOLE = 4096
CLOCK_NS = 2000


class Out(object):
    """Gathers records and gives them on in pieces.

    Args:
        send: Takes the parts of one piece.
        sender: Of the session that carries them: a piece is as large as a frame may be on its lane.
    """

    def __init__(self, send, sender):
        # type: (Callable[[list[bytes]], object], sending.Sender) -> None
        self._send = send
        self._sender = sender
        self._most = sender.frame_limit - AROUND
        self._parts = []  # type: list[bytes]
        self._size = 0

    def put(self, kind, body=b""):
        # type: (int, bytes) -> None
        """Add a record."""
        self._parts.append(entries.HEAD.pack(kind, len(body)))
        self._parts.append(body)
        self._size += entries.HEAD.size + len(body)
        if self._size >= self._most:
            self.flush()

    def room(self):
        # type: () -> int
        """How many bytes of a file still fit the piece."""
        if self._most - self._size <= entries.HEAD.size:
            self.flush()
        return self._most - self._size - entries.HEAD.size

    def flush(self):
        # type: () -> None
        """Give on what is here."""
        parts, self._parts, self._size = self._parts, [], 0
        self._most = self._sender.frame_limit - AROUND
        if parts:
            self._send(parts)


class TreeReader(object):
    """Makes the records of one file or tree.

    Args:
        out: Takes the records.
        options: ``digest``, ``links`` (``"keep"``, ``"skip"`` or ``"follow"``), ``sparse``, ``include``, ``exclude``,
            ``have``: size and checksum of what the writer has of the file, ``same``: path to size and time of the files
            that the writer has.

    Attributes:
        pending: The folders that are open, from the root.
        said: To how many of them the writer has the entry.
    """

    def __init__(self, out, options):
        # type: (Out, dict[str, Any]) -> None
        self.out = out
        self.options = options
        self.patterns = files_folder.Patterns(options.get("include") or (), options.get("exclude") or ())
        self.same = options.get("same") or {}
        self.pending = []  # type: list[entries.Entry]
        self.said = 0
        self.root = b""

    def send(self, path):
        # type: (bytes) -> None
        """Send what is at a path, which may be a symbolic link itself.

        Raises:
            OSError: It cannot be read at all.
        """
        info = os.stat(path)
        if stat.S_ISDIR(info.st_mode):
            self.root = os.path.realpath(path)
            folder = files_folder.Folder(path)
            try:
                self._begin_folder(os.path.basename(path.rstrip(b"/")) or b"root", info)
                self._send_members(folder, folder.names(), b"", 0)
            finally:
                folder.close()
            self._end_folder()
        elif stat.S_ISREG(info.st_mode):
            # The root may be reached through links: it is what the caller named.
            descriptor = os.open(path, READ_FLAGS | files_folder.CLOSE_ON_EXEC)
            self._send_open_file(descriptor, os.path.basename(path) or b"file", path)
        else:
            raise files_folder.refusal(errno.EINVAL, path)
        self.out.put(entries.FINISH)
        self.out.flush()

    # -- folders -----------------------------------------------------------------------------------------------------

    def _begin_folder(self, name, info):
        # type: (bytes, os.stat_result) -> None
        entry = entries.Entry(
            entries.FOLDER, name, stat.S_IMODE(info.st_mode), info.st_uid, info.st_gid, files_folder.mtime_of(info)
        )
        self.pending.append(entry)
        # With a choice of files, only folders that have some of them are made.
        if not self.patterns.selective or len(self.pending) == 1:
            self._say_folders()

    def _say_folders(self):
        # type: () -> None
        """Send the entries of the folders that are open and not known to the writer yet."""
        for entry in self.pending[self.said :]:
            self.out.put(entries.ENTRY, entry.encoded())
        self.said = len(self.pending)

    def _end_folder(self):
        # type: () -> None
        self.pending.pop()
        if self.said > len(self.pending):
            self.out.put(entries.LEAVE)
            self.said = len(self.pending)

    def _send_members(self, folder, names, path, depth):
        # type: (files_folder.Folder, list[bytes], bytes, int) -> None
        for name in names:
            member = path + b"/" + name if path else name
            try:
                self._send_member(folder, name, member, depth)
            except OSError as error:
                # Vanished or not readable: the rest goes on, and the writer keeps what it has of that name.
                self._problem(error.errno or errno.EIO, name)

    def _send_member(self, folder, name, path, depth):
        # type: (files_folder.Folder, bytes, bytes, int) -> None
        info = folder.look(name)
        if info is None:
            raise files_folder.refusal(errno.ENOENT, path)
        mode = info.st_mode
        if not self.patterns.takes(path, stat.S_ISDIR(mode)):
            return
        if stat.S_ISDIR(mode):
            self._send_folder(folder, name, path, depth, info)
        elif stat.S_ISLNK(mode):
            self._send_link(folder, name, info)
        elif stat.S_ISREG(mode):
            self._say_folders()
            known = self.same.get(path)
            if known is not None and _is_same(info, known):
                self.out.put(entries.SKIPPED, name)
                return
            self._send_open_file(folder.open(name, READ_FLAGS), name, path)
        else:
            self._problem(0, name)

    def _send_folder(self, folder, name, path, depth, info):
        # type: (files_folder.Folder, bytes, bytes, int, os.stat_result) -> None
        if depth >= MAX_DEPTH:
            raise files_folder.refusal(errno.ENAMETOOLONG, path)
        inner = folder.enter(name)
        try:
            # Listed before it is announced: one that cannot be read is a problem and no empty folder.
            names = inner.names()
            self._begin_folder(name, info)
            self._send_members(inner, names, path, depth + 1)
        finally:
            inner.close()
        self._end_folder()

    def _send_link(self, folder, name, info):
        # type: (files_folder.Folder, bytes, os.stat_result) -> None
        how = self.options.get("links", "keep")
        if how == "skip":
            return
        if how == "follow":
            self._send_followed(folder, name)
            return
        link = folder.link_of(name)
        self._say_folders()
        entry = entries.Entry(
            entries.LINK, name, 0o777, info.st_uid, info.st_gid, files_folder.mtime_of(info), link=link
        )
        self.out.put(entries.ENTRY, entry.encoded())

    def _send_followed(self, folder, name):
        # type: (files_folder.Folder, bytes) -> None
        """Send the file that a link leads to, when that is one and in the tree."""
        real = os.path.realpath(folder.join(name))
        if not real.startswith(self.root.rstrip(b"/") + b"/"):
            self._problem(errno.EXDEV, name)
            return
        descriptor = os.open(real, READ_FLAGS | os.O_NOFOLLOW | files_folder.CLOSE_ON_EXEC)
        self._say_folders()
        self._send_open_file(descriptor, name, real)

    def _problem(self, code, name):
        # type: (int, bytes) -> None
        self._say_folders()
        self.out.put(entries.PROBLEM, entries.PROBLEM_HEAD.pack(code) + name)

    # -- files -------------------------------------------------------------------------------------------------------

    def _send_open_file(self, descriptor, name, path):
        # type: (int, bytes, bytes) -> None
        try:
            info = os.fstat(descriptor)
            if not stat.S_ISREG(info.st_mode):
                raise files_folder.refusal(errno.EISDIR if stat.S_ISDIR(info.st_mode) else errno.EINVAL, path)
            digest = files_folder.new_digest(self.options["digest"])
            offset = self._known_offset(descriptor, info.st_size)
            if offset:
                digest_start(descriptor, offset, digest)
            entry = entries.Entry(
                entries.FILE,
                name,
                stat.S_IMODE(info.st_mode),
                info.st_uid,
                info.st_gid,
                files_folder.mtime_of(info),
                info.st_size,
                offset,
            )
            self.out.put(entries.ENTRY, entry.encoded())
            complete = self._send_content(descriptor, info.st_size, offset, digest)
            after = os.fstat(descriptor)
            changed = not complete or (after.st_size, after.st_mtime) != (info.st_size, info.st_mtime)
            self.out.put(entries.CLOSE, (b"\1" if changed else b"\0") + digest.hexdigest().encode("ascii"))
        finally:
            os.close(descriptor)

    def _known_offset(self, descriptor, size):
        # type: (int, int) -> int
        """How much of the file the writer has already."""
        have = self.options.get("have")
        if not have or not 0 < have[0] <= size:
            return 0
        digest = files_folder.new_digest(self.options["digest"])
        try:
            digest_start(descriptor, have[0], digest)
        finally:
            os.lseek(descriptor, 0, os.SEEK_SET)
        return have[0] if digest.hexdigest() == have[1] else 0

    def _send_content(self, descriptor, size, at, digest):
        # type: (int, int, int, Any) -> bool
        """Send the bytes from `at`; False when the file has not as many as it had."""
        if not size:
            # Also files of /proc, which do not say how long they are.
            return self._send_bytes(descriptor, None, digest) >= 0
        if not self.options.get("sparse"):
            return self._send_bytes(descriptor, size - at, digest) == size - at
        while at < size:
            begin, end = _next_data(descriptor, at, size)
            if begin > at:
                self.out.put(entries.HOLE, entries.HOLE_BODY.pack(begin - at))
                digest_zeros(digest, begin - at)
            os.lseek(descriptor, begin, os.SEEK_SET)
            if self._send_bytes(descriptor, end - begin, digest) != end - begin:
                return False
            at = end
        return True

    def _send_bytes(self, descriptor, count, digest):
        # type: (int, int | None, Any) -> int
        """Send so many bytes from where the descriptor is, None for all; returns how many there were."""
        sent = 0
        while count is None or sent < count:
            room = self.out.room()
            data = os.read(descriptor, room if count is None else min(room, count - sent))
            if not data:
                break
            digest.update(data)
            self.out.put(entries.DATA, data)
            sent += len(data)
        return sent


def _is_same(info, known):
    # type: (os.stat_result, Any) -> bool
    """Whether size and time are those; Python 2 sees times only so exactly."""
    return bool(info.st_size == known[0] and abs(files_folder.mtime_of(info) - known[1]) < CLOCK_NS)


def digest_start(descriptor, size, digest):
    # type: (int, int, Any) -> None
    """Add the first bytes of a file to a checksum, and stand behind them."""
    os.lseek(descriptor, 0, os.SEEK_SET)
    left = size
    while left:
        data = os.read(descriptor, min(left, 65536))
        if not data:
            raise files_folder.refusal(errno.ESTALE, b"")
        digest.update(data)
        left -= len(data)


def digest_zeros(digest, count):
    # type: (Any, int) -> None
    """Add zero bytes to a checksum."""
    zeros = bytes(bytearray(min(count, 65536)))
    while count:
        step = min(count, len(zeros))
        digest.update(zeros[:step] if step < len(zeros) else zeros)
        count -= step


def _next_data(descriptor, at, size):
    # type: (int, int, int) -> tuple[int, int]
    """Begin and end of the next bytes that are on the disk; both the size when only a hole follows."""
    try:
        begin = os.lseek(descriptor, at, SEEK_DATA)
    except OSError as error:
        if error.errno == errno.ENXIO:
            return size, size
        if error.errno != errno.EINVAL:
            raise
        # A file system that knows no holes.
        return at, size
    if begin - at < SMALLEST_HOLE and begin < size:
        begin = at
    return min(begin, size), min(os.lseek(descriptor, max(begin, at), SEEK_HOLE), size)


def install(_program):
    # type: (Any) -> None
    """Called when this piece arrives: other pieces import it, and that is all."""
