"""Files of a target: read, written, pushed, pulled, looked at, made and removed.

Each transfer is one stream of the link, worked on in the thread that asks for it; many may be under way and none holds
up a call. It promises constant memory at any size, that a file is complete, compared by checksum and renamed into its
place or else the old one is as it was, and that nothing a target sends is written outside the destination.
"""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Unpack

from crl.errors import CrlError, UsageError, WrongArgument
from crl.link.files_results import (
    FileInfo,
    FilesError,
    OnProgress,
    TransferOptions,
    TransferResult,
    file_info,
    files_error,
)
from crl.link.files_transfer import FileTransfer, MemorySink, transfer
from crl.link.given import RemoteName, remote_name
from crl.link.remote import files_folder, files_read, files_write
from crl.link.wire import entries

if TYPE_CHECKING:
    from crl.link.link import Link

__all__ = ["Files", "RemotePath"]

STALL_TIMEOUT: Final = 120.0
READ_LIMIT: Final = 256 * 1024 * 1024
KNOWN_OPTIONS: Final = frozenset(TransferOptions.__annotations__)
LINKS: Final = ("keep", "all", "follow", "skip")

LocalPath = str | os.PathLike[str]


@dataclass(frozen=True)
class RemotePath:
    """A path of a target, as the source of a push to another.

    Attributes:
        files: The files of the target.
        path: The path there.
    """

    files: Files
    path: str


class Files:
    """The files of a target, by way of its link.

    Paths there are texts or `pathlib.PurePosixPath`; a tilde at the beginning is a home. A path that is not absolute
    begins where the remote program was started, which is usually the user's home.

    Args:
        link: The link.
    """

    def __init__(self, link: Link) -> None:
        self.link = link
        self._digest: str | None = None
        self._lock = threading.Lock()

    def path(self, path: RemoteName) -> RemotePath:
        """A path there, to give as the source to another target's `push`."""
        return RemotePath(self, remote_name(path))

    # -- whole files -------------------------------------------------------------------------------------------------

    def read(
        self,
        path: RemoteName,
        *,
        limit: int = READ_LIMIT,
        changing: bool = False,
        timeout: float | None = STALL_TIMEOUT,
    ) -> bytes:
        """The content of a file.

        Args:
            path: Where it is; files of ``/proc`` can be read too.
            limit: How many bytes it may have.
            changing: Take it also when it changes while it is read.
            timeout: Seconds without any progress.

        Raises:
            FileMissing: There is none.
            FileAccessDenied: It may not be read.
            FilesError: It is a folder, too large, or changed while it was read.
        """
        path = remote_name(path)
        sink = MemorySink(limit, self.digest_name(timeout), changing)
        with self._job(f"reading {path}", path, None, timeout) as job:
            stream = job.begin("file.pull", path, {})
            job.take_records(stream, sink)
        return sink.data.getvalue()

    def write(
        self,
        path: RemoteName,
        data: bytes,
        *,
        mode: int | None = None,
        fsync: bool = False,
        timeout: float | None = STALL_TIMEOUT,
    ) -> TransferResult:
        """Make a file of these bytes, in place of the one that is there; missing folders above it are made.

        Args:
            path: Where; a symbolic link there is replaced.
            data: Its content.
            mode: Its permissions; None keeps those of the old file, or leaves them to the umask there.
            fsync: Have it on the disk first.
            timeout: Seconds without any progress.

        Raises:
            FilesError: It cannot be written; the old file is as it was.
        """
        path = remote_name(path)
        if not isinstance(data, bytes | bytearray | memoryview):
            raise WrongArgument(f"the content of a file is bytes, not {type(data).__name__}", doing=f"writing {path}")
        options = {"modes": mode is not None, "times": False, "fsync": fsync, "special": True}
        with self._job(f"writing {path}", None, path, timeout) as job:
            stream = job.begin("file.push", path, options)
            out = files_read.Out(stream.send, self.link.engine.session.sender)
            digest = files_folder.new_digest(self.digest_name())
            digest.update(data)
            entry = entries.Entry(entries.FILE, b"file", 0o666 if mode is None else mode, size=len(data))

            def send() -> None:
                out.put(entries.ENTRY, entry.encoded())
                at = 0
                while at < len(data):
                    piece = data[at : at + out.room()]
                    out.put(entries.DATA, piece)
                    at += len(piece)
                out.put(entries.CLOSE, b"\0" + digest.hexdigest().encode("ascii"))
                out.put(entries.FINISH)
                out.flush()

            job.send_records(stream, send)
            return job.answer(stream)

    # -- transfers ---------------------------------------------------------------------------------------------------

    def push(
        self,
        source: LocalPath | RemotePath,
        destination: RemoteName,
        *,
        progress: OnProgress | None = None,
        timeout: float | None = STALL_TIMEOUT,
        **options: Unpack[TransferOptions],
    ) -> TransferResult:
        """Copy a file or a folder with all that is in it to the target.

        Args:
            source: What to copy, or with `path` what to copy from another target, through this end's memory only.
            destination: What it is to be there; one that ends with a slash is the folder to put it into. Folders above
                it are made. A folder that is there keeps what the source does not have, unless `delete` is given.
            progress: Called with a `Progress` in the calling thread, ten times a second at most.
            timeout: Seconds without any progress.
            options: See `TransferOptions`.

        Raises:
            FilesError: It cannot be done; no file is there in part.
            TransferIncomplete: Some members of a tree could not be read or written; its `problems` name them.
            LinkLost: The link is gone; with `resume` the next push goes on where this one ended.
        """
        plain = _checked(options)
        if isinstance(source, RemotePath):
            return self._push_remote(source, destination, plain, progress, timeout)
        local = os.fspath(source)
        destination = _inside(remote_name(destination), local)
        with self._job(f"pushing {local} to {destination}", local, destination, timeout, progress) as job:
            same = self._same(plain, lambda: self._snapshot(destination, timeout))
            stream = job.begin("file.push", destination, _for_writer(plain, to_target=True))
            have = job.what_is_there(stream) if plain.get("resume") else None
            if os.path.isfile(local):
                job.expect(os.path.getsize(local) - (have[0] if have else 0))
            how = {**plain, "digest": self.digest_name(), "have": have, "same": same}
            reader = files_read.TreeReader(files_read.Out(job.counted(stream), self.link.engine.session.sender), how)
            job.send_records(stream, lambda: reader.send(os.fsencode(local)), local=True)
            return job.answer(stream)

    def pull(
        self,
        source: RemoteName,
        destination: LocalPath,
        *,
        progress: OnProgress | None = None,
        timeout: float | None = STALL_TIMEOUT,
        **options: Unpack[TransferOptions],
    ) -> TransferResult:
        """Copy a file or a folder with all that is in it from the target; arguments and errors as of `push`.

        Nothing is written outside `destination`, whatever the target sends.
        """
        plain = _checked(options)
        source = remote_name(source)
        local = _inside(os.fspath(destination), source)
        with self._job(f"pulling {source} to {local}", source, local, timeout, progress) as job:
            same = self._same(plain, lambda: job.locally(lambda: files_folder.snapshot(os.fsencode(local))))
            how = {**_for_writer(plain, to_target=False), "digest": self.digest_name()}
            writer = files_write.TreeWriter(os.fsencode(local), how)
            have = job.locally(writer.have) if plain.get("resume") else None
            stream = job.begin("file.pull", source, {**plain, "have": have, "same": same})
            job.take_records(stream, writer)
            return job.result(writer.result())

    def _push_remote(
        self,
        source: RemotePath,
        destination: RemoteName,
        options: dict[str, Any],
        progress: OnProgress | None,
        timeout: float | None,
    ) -> TransferResult:
        """Copy from another target: its records are looked at here and handed on."""
        other = source.files
        destination = _inside(remote_name(destination), source.path)
        doing = f"copying {source.path} of {other.link.host} to {destination}"
        digest = self.digest_name(timeout)
        if other.digest_name(timeout) != digest:
            raise UsageError("the two targets have no checksum in common", host=self.link.host, doing=doing)
        with self._job(doing, source.path, destination, timeout, progress) as job:
            same = self._same(options, lambda: self._snapshot(destination, timeout))
            stream = job.begin("file.push", destination, _for_writer(options, to_target=True))
            have = job.what_is_there(stream) if options.get("resume") else None
            with transfer(other.link, digest, doing, source.path, destination, timeout) as reading:
                incoming = reading.begin("file.pull", source.path, {**options, "have": have, "same": same})
                job.send_records(stream, lambda: reading.hand_on(incoming, job.counted(stream)))
            return job.answer(stream)

    def _same(self, options: dict[str, Any], look: Callable[[], dict[Any, Any]]) -> dict[bytes, Any]:
        """What the writer has already, when only differences are to be transferred."""
        if not options.get("update"):
            return {}
        return {files_folder.as_bytes(path): known for path, known in look().items()}

    def _snapshot(self, path: str, timeout: float | None) -> dict[Any, Any]:
        found = self._ask("file.snapshot", path, doing=f"listing {path}", timeout=timeout)
        if not isinstance(found, dict):
            raise self.link.engine.violated("a list of files that is none")
        return found

    # -- single files and folders --------------------------------------------------------------------------------

    def stat(self, path: RemoteName, *, follow: bool = True, timeout: float | None = STALL_TIMEOUT) -> FileInfo:
        """What is known of a file, folder or link.

        Args:
            path: Where it is.
            follow: Of a symbolic link, tell of what it leads to.
            timeout: Seconds for all of it.

        Raises:
            FileMissing: There is nothing.
        """
        path = remote_name(path)
        plain = self._ask("file.stat", path, follow, doing=f"looking at {path}", timeout=timeout)
        return replace(self._info(plain), path=path)

    def exists(self, path: RemoteName, *, timeout: float | None = STALL_TIMEOUT) -> bool:
        """Whether there is something, be it a link that leads nowhere."""
        try:
            self.stat(path, follow=False, timeout=timeout)
        except FilesError as error:
            if error.errno not in (errno.ENOENT, errno.ENOTDIR):
                raise
            return False
        return True

    def list(
        self, path: RemoteName, *, recursive: bool = False, timeout: float | None = STALL_TIMEOUT
    ) -> tuple[FileInfo, ...]:
        """The members of a folder, in order of their names; links are not followed.

        Args:
            path: The folder.
            recursive: Also the members of its folders, each by its path from `path`.
            timeout: Seconds for all of it.

        Raises:
            FileMissing: There is no folder.
        """
        path = remote_name(path)
        plain = self._ask("file.list", path, recursive, doing=f"listing {path}", timeout=timeout)
        if not isinstance(plain, list):
            raise self.link.engine.violated("a list of files that is none")
        return tuple(self._info(one) for one in plain)

    def mkdir(
        self,
        path: RemoteName,
        *,
        mode: int | None = None,
        parents: bool = True,
        timeout: float | None = STALL_TIMEOUT,
    ) -> None:
        """Make a folder.

        Args:
            path: Where.
            mode: Its permissions; None leaves them to the umask there.
            parents: Make those above it too, and take it when it is there already.
            timeout: Seconds for all of it.

        Raises:
            FilesError: It cannot be made, or is there and `parents` is False.
        """
        path = remote_name(path)
        self._ask("file.mkdir", path, mode, parents, doing=f"making the folder {path}", timeout=timeout)

    def remove(
        self,
        path: RemoteName,
        *,
        recursive: bool = False,
        missing_ok: bool = False,
        timeout: float | None = STALL_TIMEOUT,
    ) -> bool:
        """Remove a file, a link or a folder; links are never followed.

        Args:
            path: What.
            recursive: Remove a folder with all that is in it; without, it has to be empty.
            missing_ok: Nothing there is no error.
            timeout: Seconds for all of it.

        Returns:
            Whether there was something.

        Raises:
            FileMissing: There is nothing.
            FilesError: It cannot be removed.
        """
        path = remote_name(path)
        return bool(self._ask("file.remove", path, recursive, missing_ok, doing=f"removing {path}", timeout=timeout))

    def _ask(self, service: str, path: str, *args: Any, doing: str, timeout: float | None) -> Any:
        try:
            return self.link.service(service, files_folder.as_bytes(path), *args, timeout=timeout)
        except CrlError:
            raise
        except OSError as error:
            raise self._failed(error.errno or 0, error.strerror or str(error), path, doing) from error

    def _info(self, plain: Any) -> FileInfo:
        try:
            return file_info(plain)
        except (TypeError, ValueError):
            raise self.link.engine.violated("what is said of a file is nothing of the kind") from None

    def _failed(self, code: int, text: str, path: str, doing: str) -> FilesError:
        return files_error(code, text, path, host=self.link.host, doing=doing)

    def digest_name(self, timeout: float | None = STALL_TIMEOUT) -> str:
        """Name of the checksum that both ends have: SHA-256, or CRC-32 where the target's Python lacks hashlib."""
        with self._lock:
            if self._digest is None:
                found = self.link.service("file.digest", timeout=timeout)
                if found not in ("sha256", "crc32"):
                    raise self.link.engine.violated("an unknown checksum")
                self._digest = str(found)
            return self._digest

    def _job(
        self,
        doing: str,
        source: str | None,
        destination: str | None,
        timeout: float | None,
        progress: OnProgress | None = None,
    ) -> AbstractContextManager[FileTransfer]:
        return transfer(self.link, self.digest_name(timeout), doing, source, destination, timeout, progress)


def _checked(options: TransferOptions) -> dict[str, Any]:
    """The options as plain values.

    Raises:
        UsageError: One does not exist, or has a value that it cannot have.
    """
    plain: dict[str, Any] = dict(options)
    unknown = sorted(set(plain) - KNOWN_OPTIONS)
    if unknown:
        known = ", ".join(sorted(KNOWN_OPTIONS))
        raise UsageError(f"a transfer has no option {unknown[0]!r}", advice=f"there are {known}")
    if plain.get("links", "keep") not in LINKS:
        raise UsageError(f"links cannot be {plain['links']!r}", advice=f"give one of {', '.join(LINKS)}")
    for name in ("include", "exclude"):
        given = plain.get(name) or ()
        plain[name] = [files_folder.as_bytes(one) for one in ([given] if isinstance(given, str) else given)]
    return plain


def _for_writer(options: dict[str, Any], *, to_target: bool) -> dict[str, Any]:
    """The options for the end that writes: a target must not send what leads elsewhere, or a set-user-id program."""
    return {**options, "special": to_target, "outward": to_target or options.get("links") == "all"}


def _inside(destination: str, source: str) -> str:
    """The destination with the source's own name, when it is the folder to put it into.

    Raises:
        UsageError: The source has no name.
    """
    if not destination.endswith("/"):
        return destination
    name = os.path.basename(source.rstrip("/"))
    if name in ("", ".", "..", "~"):
        raise UsageError(f"{source!r} has no name of its own", advice="give the destination without a slash at its end")
    return destination + name
