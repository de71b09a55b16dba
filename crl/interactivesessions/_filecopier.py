"""Copies of files and folders for `RemoteRunner`: between this machine and targets, and between two targets.

It knows the files of the link, and decides names and modes as the published keywords do. It promises that a copy is
complete, compared by checksum and renamed into place or else not there, that it ends by its timeout, and that what goes
from target to target does not touch this machine's disk.
"""

from __future__ import annotations

import logging
import os
import posixpath
import time
from typing import Final

from crl.deadlines import Deadline
from crl.errors import RemoteWorldError, UsageError
from crl.interactivesessions._pooledterminal import PooledTerminal
from crl.link import CallTimeout, FileMissing, Files, FilesError, LinkLost, Progress, RemotePath

__all__ = ["RemoteFileOperationTimeout", "RemoteFileReadingFailed", "_FileCopier", "parse_mode"]

_TELL_EVERY: Final = 2.0

# What was copied gets its mode, the folders after what is in them: a mode may forbid to enter. The names may come from
# another target: nothing outside the folder, and nothing behind a link in it, is touched.
_CHMOD: Final = (
    "(lambda root, names, mode: (lambda os, root: [os.chmod(path, mode)"
    " for path in [os.path.join(root, name) if name else root for name in names]"
    " if os.path.realpath(path) == path and (path + '/').startswith(root.rstrip('/') + '/')] and None)"
    "(__import__('os'), __import__('os').path.realpath(__import__('os').path.expanduser(root))))"
)

_MEMBERS: Final = (
    "(lambda root: (lambda os, root: [os.path.relpath(os.path.join(place, name), root)"
    " for place, folders, files in os.walk(root, topdown=False) for name in files + folders])"
    "(__import__('os'), __import__('os').path.expanduser(root)))"
)

logger = logging.getLogger("crl.interactivesessions.remoterunner")


class RemoteFileReadingFailed(RemoteWorldError):
    """A file of a target could not be read."""


class RemoteFileOperationTimeout(RemoteWorldError):
    """A copy took too long; nothing of the file that was under way is there, or the old one is."""


def parse_mode(mode: object) -> int:
    """A mode as Robot suites write it: octal digits, with or without ``0o``.

    Raises:
        UsageError: It is something else.
    """
    try:
        value = mode if isinstance(mode, int) else int(str(mode), 8)
    except ValueError:
        raise UsageError(f"{mode!r} is no mode", advice="write octal digits, for example 0o755") from None
    if not 0 <= value <= 0o7777:
        raise UsageError(f"{mode!r} is no mode", advice="write octal digits, for example 0o755")
    return value


class _Watch:
    """Follows one copy: tells its progress in the log and ends it at the deadline."""

    def __init__(self, what: str, host: str, timeout: float) -> None:
        self.what = what
        self._host = host
        self._timeout = timeout
        self._deadline = Deadline.after(timeout)
        self._told = time.monotonic()

    @property
    def left(self) -> float:
        """Seconds that are left.

        Raises:
            RemoteFileOperationTimeout: None.
        """
        left = self._deadline.remaining()
        if not left:
            raise self.too_late()
        return left

    def too_late(self) -> RemoteFileOperationTimeout:
        """The error of the deadline."""
        return RemoteFileOperationTimeout(
            f"it took longer than {self._timeout:g} s", host=self._host, doing=self.what, advice="give it more time"
        )

    def __call__(self, progress: Progress) -> None:
        """Take note of the progress; called by the link in the thread that copies."""
        if self._deadline.expired:
            raise self.too_late()
        now = time.monotonic()
        if now - self._told >= _TELL_EVERY:
            self._told = now
            share = f" ({100 * progress.done // progress.total} %)" if progress.total else ""
            logger.info("%s: %s: %d bytes%s", self._host, self.what, progress.done, share)


class _FileCopier:
    """Copies by the names and rules of `RemoteRunner`'s keywords."""

    def to_target(self, source: str, destination: str, terminal: PooledTerminal, mode: object, timeout: float) -> None:
        """Copy a file of this machine to a target."""
        self._put(os.fspath(source), os.path.basename(source), destination, terminal, mode, timeout)

    def between(
        self,
        source: str,
        from_terminal: PooledTerminal,
        destination: str,
        to_terminal: PooledTerminal,
        mode: object,
        timeout: float,
    ) -> None:
        """Copy a file of a target to another one, through this process's memory."""
        files = from_terminal.files(Deadline.after(timeout))
        self._put(files.path(source), posixpath.basename(source), destination, to_terminal, mode, timeout)

    def _put(
        self,
        source: str | RemotePath,
        name: str,
        destination: str,
        terminal: PooledTerminal,
        mode: object,
        timeout: float,
    ) -> None:
        permissions = parse_mode(mode)
        with _Copying(f"copying {name} to {destination}", terminal, timeout) as copying:
            files = copying.files
            path = _remote_place(files, destination, name, copying.watch)
            files.push(source, path, modes=False, links="follow", progress=copying.watch, timeout=copying.watch.left)
            copying.chmod(path, [""], permissions)

    def from_target(self, source: str, destination: str | None, terminal: PooledTerminal, timeout: float) -> None:
        """Copy a file of a target to this machine."""
        name = posixpath.basename(source)
        with _Copying(f"copying {source} from the target", terminal, timeout) as copying:
            path = _local_place(destination, name)
            try:
                copying.files.pull(
                    source, path, modes=False, times=False, links="follow",
                    progress=copying.watch, timeout=copying.watch.left,
                )  # fmt: skip
            except FilesError as error:
                raise _reading_failed(error, terminal.host) from error

    def directory_to_target(
        self, source: str, destination: str, terminal: PooledTerminal, mode: object, timeout: float
    ) -> None:
        """Copy what is in a folder of this machine into a folder of a target, which is made when it is not there."""
        permissions = parse_mode(mode)
        if not os.path.isdir(source):
            raise UsageError(f"{source!r} is no folder", doing="Copy Directory To Target")
        root = destination.rstrip("/") or "/"
        with _Copying(f"copying the folder {source} to {destination}", terminal, timeout) as copying:
            copying.files.push(
                source, root, modes=False, links="follow", progress=copying.watch, timeout=copying.watch.left
            )
            copying.chmod(root, _members(source), permissions)

    def directory_from_target(self, source: str, destination: str, terminal: PooledTerminal, timeout: float) -> None:
        """Copy what is in a folder of a target into a folder of this machine, which is made when it is not there."""
        root = os.path.expanduser(destination).rstrip("/") or "/"
        with _Copying(f"copying the folder {source} from the target", terminal, timeout) as copying:
            copying.require_folder(source)
            try:
                copying.files.pull(
                    source.rstrip("/") or "/", root, modes=False, times=False, links="follow",
                    progress=copying.watch, timeout=copying.watch.left,
                )  # fmt: skip
            except FilesError as error:
                raise _reading_failed(error, terminal.host) from error

    def directory_between(
        self,
        source: str,
        from_terminal: PooledTerminal,
        destination: str,
        to_terminal: PooledTerminal,
        mode: object,
        timeout: float,
    ) -> None:
        """Copy what is in a folder of a target into a folder of another one, through this process's memory."""
        permissions = parse_mode(mode)
        root = destination.rstrip("/") or "/"
        what = f"copying the folder {source} to {destination}"
        with _Copying(what, from_terminal, timeout) as reading:
            reading.require_folder(source)
            names = reading.members(source)
            with _Copying(what, to_terminal, reading.watch.left) as copying:
                copying.files.push(
                    reading.files.path(source.rstrip("/") or "/"), root, modes=False, links="follow",
                    progress=copying.watch, timeout=copying.watch.left,
                )  # fmt: skip
                copying.chmod(root, names, permissions)

    def create_directory(self, path: str, terminal: PooledTerminal, mode: object, timeout: float) -> None:
        """Make a folder with those above it; one that is there keeps its mode."""
        permissions = parse_mode(mode)
        with _Copying(f"making the folder {path}", terminal, timeout) as copying:
            place = path.rstrip("/") or "/"
            if not copying.files.exists(place, timeout=copying.watch.left):
                copying.files.mkdir(place, timeout=copying.watch.left)
                copying.chmod(place, [""], permissions)


class _Copying:
    """One copy: an open terminal, the limit for all of it, and the error of that limit."""

    def __init__(self, what: str, terminal: PooledTerminal, timeout: float) -> None:
        self._terminal = terminal
        self.watch = _Watch(what, terminal.host, timeout)

    def __enter__(self) -> _Copying:
        self.files = self._terminal.files(Deadline.after(self.watch.left))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        if isinstance(error, CallTimeout):
            raise self.watch.too_late() from error
        if isinstance(error, LinkLost):
            self._terminal.terminal.raise_broken(error)

    def require_folder(self, path: str) -> None:
        """See that there is a folder on the target.

        Raises:
            RemoteFileReadingFailed: There is none.
        """
        try:
            kind = self.files.stat(path, timeout=self.watch.left).kind
        except FilesError as error:
            raise _reading_failed(error, self._terminal.host) from error
        if kind != "folder":
            raise RemoteFileReadingFailed(f"{path!r} is no folder", host=self._terminal.host, doing=self.watch.what)

    def members(self, root: str) -> list[str]:
        """What is in a folder of the target, in the order of `_members`."""
        found = self.files.link.invoke(_MEMBERS, root, timeout=self.watch.left)
        if not isinstance(found, list) or not all(isinstance(name, str) for name in found):
            raise RemoteFileReadingFailed(
                "the target's list of names is none", host=self._terminal.host, doing=self.watch.what
            )
        return [*found, ""]

    def chmod(self, root: str, names: list[str], mode: int) -> None:
        """Give members of a folder, or with an empty name the path itself, a mode."""
        self.files.link.invoke(_CHMOD, root, names, mode, timeout=self.watch.left)


def _members(folder: str) -> list[str]:
    """What is in a folder, by paths from it, each folder after what is in it, and itself last."""
    found: list[str] = []
    for place, _, files in os.walk(folder, topdown=False, followlinks=True):
        relative = os.path.relpath(place, folder)
        inside = "" if relative == "." else relative
        found.extend(os.path.join(inside, name) for name in files)
        found.append(inside)
    return found


def _remote_place(files: Files, destination: str, name: str, watch: _Watch) -> str:
    """Where a file goes on a target: into a folder that is there or ends with a slash, else to that very path."""
    if posixpath.basename(destination) == "":
        return posixpath.join(destination, name)
    try:
        is_folder = files.stat(destination, timeout=watch.left).kind == "folder"
    except FileMissing:
        return destination
    return posixpath.join(destination, name) if is_folder else destination


def _local_place(destination: str | None, name: str) -> str:
    """Where a file goes on this machine, by the same rule."""
    if destination is None:
        return name
    destination = os.path.expanduser(destination)
    if os.path.basename(destination) == "" or os.path.isdir(destination):
        return os.path.join(destination, name)
    return destination


def _reading_failed(error: FilesError, host: str) -> RemoteFileReadingFailed:
    """The same error as one that is a `RemoteFileReadingFailed`, and still what Python would raise."""
    cls = _MissingRemoteFile if isinstance(error, FileMissing) else RemoteFileReadingFailed
    return cls(error.message, host=host, doing=error.doing, advice=error.advice)


class _MissingRemoteFile(RemoteFileReadingFailed, FileNotFoundError):
    """There is no such file on the target."""
