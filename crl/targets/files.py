"""The files of a target, as verbs that connect when they have to.

This module stands on the files of the link and re-implements none of them. It promises that a transfer with `resume`
goes on after the target was lost and found again, and that nothing else is done twice.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Unpack

from crl.deadlines import Deadline
from crl.link import FileInfo, Link, LinkLost, Progress, RemotePath, TransferOptions, TransferResult
from crl.link.given import RemoteName

__all__ = ["TargetFiles"]

CONNECT_TIMEOUT = 60.0
STALL_TIMEOUT = 120.0
READ_LIMIT = 256 * 1024 * 1024
MAX_RESUMES = 5

OnProgress = Callable[[Progress], object]


class TargetFiles:
    r"""Files of a target; ``target.files``.

    A path there is a text or a `pathlib.PurePosixPath`; a tilde at its beginning is a home. Every error is an `OSError`
    too (`FileMissing` a FileNotFoundError, `FileAccessDenied` a PermissionError), names the host and both paths, and
    means that the old file is as it was.

    Example:
        >>> target.files.write("/etc/motd", b"hello\n")
        >>> target.files.read("/etc/motd")
        b'hello\n'

    Args:
        ensure: Opens or recovers the target until a deadline.
    """

    def __init__(self, ensure: Callable[[Deadline], Link]) -> None:
        self._ensure = ensure

    def _link(self) -> Link:
        return self._ensure(Deadline.after(CONNECT_TIMEOUT))

    def path(self, path: RemoteName) -> RemotePath:
        """A path there, to give as the source to another target's `push`."""
        return self._link().files.path(path)

    def read(
        self,
        path: RemoteName,
        *,
        limit: int = READ_LIMIT,
        changing: bool = False,
        timeout: float | None = STALL_TIMEOUT,
    ) -> bytes:
        """The content of a file; see `crl.link.Files.read`."""
        return self._link().files.read(path, limit=limit, changing=changing, timeout=timeout)

    def read_text(self, path: RemoteName, *, encoding: str = "utf-8", timeout: float | None = STALL_TIMEOUT) -> str:
        """The content of a file as text."""
        return self.read(path, timeout=timeout).decode(encoding)

    def write(
        self,
        path: RemoteName,
        data: str | bytes,
        *,
        mode: int | None = None,
        fsync: bool = False,
        timeout: float | None = STALL_TIMEOUT,
    ) -> TransferResult:
        """Make a file of these bytes, or of a text as UTF-8; see `crl.link.Files.write`."""
        plain = data.encode() if isinstance(data, str) else data
        return self._link().files.write(path, plain, mode=mode, fsync=fsync, timeout=timeout)

    def push(
        self,
        source: str | os.PathLike[str] | RemotePath,
        destination: RemoteName,
        *,
        progress: OnProgress | None = None,
        timeout: float | None = STALL_TIMEOUT,
        **options: Unpack[TransferOptions],
    ) -> TransferResult:
        """Copy a file or a folder to the target.

        Args:
            source: What to copy, or ``other.files.path("/there")`` to copy from another target.
            destination: What it is to be there; one that ends with a slash is the folder to put it into.
            progress: Called with a `Progress` in the calling thread.
            timeout: Seconds without any progress.
            options: See `crl.link.TransferOptions`; with `resume` it goes on by itself when the target is lost and can
                be reached again.

        Raises:
            FilesError: It cannot be done; no file is there in part.
            TransferIncomplete: Some members of a folder were not transferred; its `problems` name them.
            crl.link.LinkLost: The target was lost.
        """
        resume = options.get("resume", False) and not isinstance(source, RemotePath)
        return self._again(
            resume, lambda link: link.files.push(source, destination, progress=progress, timeout=timeout, **options)
        )

    def pull(
        self,
        source: RemoteName,
        destination: str | os.PathLike[str],
        *,
        progress: OnProgress | None = None,
        timeout: float | None = STALL_TIMEOUT,
        **options: Unpack[TransferOptions],
    ) -> TransferResult:
        """Copy a file or a folder from the target, never to anywhere but `destination`; otherwise as `push`."""
        return self._again(
            options.get("resume", False),
            lambda link: link.files.pull(source, destination, progress=progress, timeout=timeout, **options),
        )

    def _again(self, resume: bool, transfer: Callable[[Link], TransferResult]) -> TransferResult:
        for _ in range(MAX_RESUMES if resume else 0):
            try:
                return transfer(self._link())
            except LinkLost:
                # What has arrived is kept: the next try goes on from there.
                continue
        return transfer(self._link())

    def stat(self, path: RemoteName, *, follow: bool = True, timeout: float | None = STALL_TIMEOUT) -> FileInfo:
        """What is known of a file, folder or link; see `crl.link.Files.stat`."""
        return self._link().files.stat(path, follow=follow, timeout=timeout)

    def exists(self, path: RemoteName, *, timeout: float | None = STALL_TIMEOUT) -> bool:
        """Whether there is something, be it a link that leads nowhere."""
        return self._link().files.exists(path, timeout=timeout)

    def list(
        self, path: RemoteName, *, recursive: bool = False, timeout: float | None = STALL_TIMEOUT
    ) -> tuple[FileInfo, ...]:
        """The members of a folder in order; see `crl.link.Files.list`."""
        return self._link().files.list(path, recursive=recursive, timeout=timeout)

    def mkdir(
        self,
        path: RemoteName,
        *,
        mode: int | None = None,
        parents: bool = True,
        timeout: float | None = STALL_TIMEOUT,
    ) -> None:
        """Make a folder; see `crl.link.Files.mkdir`."""
        self._link().files.mkdir(path, mode=mode, parents=parents, timeout=timeout)

    def remove(
        self,
        path: RemoteName,
        *,
        recursive: bool = False,
        missing_ok: bool = False,
        timeout: float | None = STALL_TIMEOUT,
    ) -> bool:
        """Remove a file, a link or a folder; see `crl.link.Files.remove`."""
        return self._link().files.remove(path, recursive=recursive, missing_ok=missing_ok, timeout=timeout)
