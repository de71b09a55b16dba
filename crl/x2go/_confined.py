"""A folder of this machine whose outside does not exist for those who are given it.

Names are followed step by step from the folder's own descriptor, each step by openat without following links; links
are followed by this module alone, and only within the folder. It knows files and no protocol, and promises that
whatever the names, and whatever others do to the folder meanwhile, nothing outside is read, written, made, renamed,
removed or told of; neither are devices, pipes and sockets opened, nor files that have another name elsewhere.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

__all__ = ["MODES", "Attributes", "ConfinedFolder", "Place"]

MAX_LINKS: Final = 40
MODES: Final = 0o777
"""What may be set of a file's mode: what makes programs run as their owner may not."""

# To name a folder needs no more than this; not every system has it.
_NAMING: Final = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READING: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# A pipe or a device that comes into the place of a file between two looks must not make us wait, nor become ours.
_SAFELY: Final = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_ANYTHING: Final = getattr(os, "O_PATH", os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY) | os.O_NOFOLLOW | os.O_CLOEXEC
_NOT_A_FOLDER: Final = (errno.ENOTDIR, errno.ELOOP)

Place = tuple[int, bytes]
"""A folder's descriptor and a name in it that is neither ``..`` nor has a slash."""


@dataclass(frozen=True)
class Attributes:
    """What is to be changed of a file; None stays as it is."""

    size: int | None = None
    owner: tuple[int, int] | None = None
    mode: int | None = None
    times: tuple[float, float] | None = None


class _Walked:
    """A place, and the descriptors of the folders on the way, which are closed when it was used."""

    __slots__ = ("_place", "_stack")

    def __init__(self, place: Place, stack: list[int]) -> None:
        self._place = place
        self._stack = stack

    def __enter__(self) -> Place:
        return self._place

    def __exit__(self, *_: object) -> None:
        for descriptor in self._stack[1:]:
            os.close(descriptor)


class ConfinedFolder:
    """A folder and what is below it.

    Args:
        path: The folder; links on the way to it are followed now, and never again.
        read_only: Whether nothing in it may be changed.
        hard_links: Whether files with several names are opened too, although another name may be outside.

    Raises:
        OSError: There is no such folder, or it cannot be opened.
        NotImplementedError: This system cannot follow names step by step.
    """

    def __init__(self, path: str | os.PathLike[str], *, read_only: bool = False, hard_links: bool = False) -> None:
        if os.open not in os.supports_dir_fd or not hasattr(os, "O_NOFOLLOW"):
            raise NotImplementedError("this system cannot keep names within a folder")
        self.path = os.path.realpath(os.fspath(Path(path).expanduser()))
        self.read_only = read_only
        self.hard_links = hard_links
        self._root = os.open(self.path, _NAMING)

    def close(self) -> None:
        """Let go of the folder."""
        root, self._root = self._root, -1
        if root >= 0:
            os.close(root)

    # Names.

    def place(self, path: bytes, *, follow: bool) -> _Walked:
        """Where a name is: its folder's descriptor, good while the block runs, and the last part of it.

        Args:
            path: A name within the folder; ``""`` is the folder itself.
            follow: Whether a link in the last part is followed, as it is in all others.

        Raises:
            OSError: A folder on the way is missing, or the way leads out.
        """
        if b"\0" in path:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        stack = [self._root]
        try:
            return _Walked(self._walk(stack, path, follow=follow), stack)
        except BaseException:
            for descriptor in stack[1:]:
                os.close(descriptor)
            raise

    def _walk(self, stack: list[int], path: bytes, *, follow: bool) -> Place:
        """Open the folders on the way, each in the one before; ``stack`` keeps them for the way back."""
        todo = _parts(path)
        links = 0
        while todo:
            part = todo.pop()
            if part == b"..":
                if len(stack) == 1:
                    raise _outside()
                os.close(stack.pop())
                continue
            target = None
            if todo:
                try:
                    stack.append(os.open(part, _NAMING, dir_fd=stack[-1]))
                    continue
                except OSError as error:
                    target = _link_target(part, stack[-1]) if error.errno in _NOT_A_FOLDER else None
                    if target is None:
                        raise
            elif follow:
                target = _link_target(part, stack[-1])
            if target is None:
                return stack[-1], part
            links += 1
            if links > MAX_LINKS:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
            if target.startswith(b"/"):
                raise _outside()
            todo += _parts(target)
        return stack[-1], b"."

    # Looking.

    def stat(self, path: bytes, *, follow: bool) -> os.stat_result:
        """What is known of a file, or of a link."""
        with self.place(path, follow=follow) as (folder, name):
            return os.stat(name, dir_fd=folder, follow_symlinks=False)

    def read_link(self, path: bytes) -> bytes:
        """Where a link leads, as it says."""
        with self.place(path, follow=False) as (folder, name):
            return os.readlink(name, dir_fd=folder)

    def open_folder(self, path: bytes) -> int:
        """A descriptor by which a folder can be listed."""
        with self.place(path, follow=True) as (folder, name):
            return os.open(name, _READING, dir_fd=folder)

    def space(self, path: bytes) -> os.statvfs_result:
        """The space of the file system that holds a file or folder."""
        with self.place(path, follow=True) as (folder, name), _named(name, folder) as descriptor:
            return os.statvfs(_through(descriptor))

    # Files.

    def open(self, path: bytes, flags: int, mode: int = 0o666) -> int:
        """A descriptor of a plain file; made, if the flags say so, with what the mask leaves of the mode."""
        changing = flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND)
        if changing:
            self._may_change()
        emptied = flags & os.O_TRUNC  # not before it is known what it is
        with self.place(path, follow=not flags & os.O_EXCL) as (folder, name):
            descriptor = self._open_plain(folder, name, (flags & ~os.O_TRUNC) | _SAFELY, mode & MODES)
        try:
            if emptied:
                os.ftruncate(descriptor, 0)
        except OSError:
            os.close(descriptor)
            raise
        return descriptor

    def _open_plain(self, folder: int, name: bytes, flags: int, mode: int) -> int:
        with contextlib.suppress(FileNotFoundError):
            self._check_plain(os.stat(name, dir_fd=folder, follow_symlinks=False))
        descriptor = os.open(name, flags, mode, dir_fd=folder)
        try:
            self._check_plain(os.fstat(descriptor))
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def _check_plain(self, status: os.stat_result) -> None:
        """Refuse what is not a file, and a file that may be outside as well."""
        if stat.S_ISDIR(status.st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if not stat.S_ISREG(status.st_mode):
            raise PermissionError(errno.EPERM, "only files and folders can be opened")
        self._check_names(status)

    def _check_names(self, status: os.stat_result) -> None:
        if stat.S_ISREG(status.st_mode) and status.st_nlink > 1 and not self.hard_links:
            raise PermissionError(errno.EPERM, "the file has another name, perhaps outside the shared folder")

    # Changing.

    def _may_change(self) -> None:
        if self.read_only:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    def set_attributes(self, path: bytes, wish: Attributes) -> None:
        """Change what is known of a file or folder."""
        self._may_change()
        if wish.size is not None:
            descriptor = self.open(path, os.O_WRONLY)
            try:
                os.ftruncate(descriptor, wish.size)
            finally:
                os.close(descriptor)
        if wish.mode is None and wish.times is None and wish.owner is None:
            return
        with self.place(path, follow=True) as (folder, name), _named(name, folder) as descriptor:
            status = os.fstat(descriptor)
            if not stat.S_ISDIR(status.st_mode):
                self._check_plain(status)
            _change(_through(descriptor), status, wish)

    def set_open_attributes(self, descriptor: int, wish: Attributes) -> None:
        """As `set_attributes`, for a file that is open."""
        self._may_change()
        if wish.size is not None:
            os.ftruncate(descriptor, wish.size)
        _change(descriptor, os.fstat(descriptor), wish)

    def make_folder(self, path: bytes, mode: int = MODES) -> None:
        """Make a folder, with what the mask leaves of the mode."""
        self._may_change()
        with self.place(path, follow=False) as (folder, name):
            os.mkdir(name, mode & MODES, dir_fd=folder)

    def remove(self, path: bytes) -> None:
        """Remove a file or a link, never what it leads to."""
        self._may_change()
        with self.place(path, follow=False) as (folder, name):
            os.unlink(name, dir_fd=folder)

    def remove_folder(self, path: bytes) -> None:
        """Remove an empty folder."""
        self._may_change()
        with self.place(path, follow=False) as (folder, name):
            os.rmdir(name, dir_fd=folder)

    def rename(self, old: bytes, new: bytes, *, replace: bool) -> None:
        """Give a file, link or folder another name within the folder.

        Args:
            old: The name it has.
            new: The name it gets.
            replace: Whether what has that name goes.
        """
        self._may_change()
        with self.place(old, follow=False) as (folder, name), self.place(new, follow=False) as (there, new_name):
            if not replace and _exists(new_name, there):
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
            os.rename(name, new_name, src_dir_fd=folder, dst_dir_fd=there)

    def make_link(self, target: bytes, path: bytes) -> None:
        """Make a link that leads downwards; any other could lead users of the folder here out of it, now or once moved.

        Raises:
            PermissionError: It begins with a slash, or has ``..`` in it.
        """
        self._may_change()
        if target.startswith(b"/") or b".." in target.split(b"/") or not target:
            raise PermissionError(errno.EPERM, "a link in a shared folder may only lead downwards")
        with self.place(path, follow=False) as (folder, name):
            os.symlink(target, name, dir_fd=folder)


def _change(what: int | bytes, status: os.stat_result, wish: Attributes) -> None:
    """Set mode and times; an owner can only stay the one that it is."""
    if wish.owner is not None and wish.owner != (status.st_uid, status.st_gid):
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))
    if wish.mode is not None:
        os.chmod(what, wish.mode & MODES)
    if wish.times is not None:
        os.utime(what, wish.times)


def _parts(path: bytes) -> list[bytes]:
    """The parts of a name, the last first."""
    return [part for part in reversed(path.split(b"/")) if part not in {b"", b"."}]


def _outside() -> PermissionError:
    return PermissionError(errno.EACCES, "the name leads out of the shared folder")


def _link_target(name: bytes, folder: int) -> bytes | None:
    """Where a link leads; None for what is no link, or not there."""
    try:
        return os.readlink(name, dir_fd=folder)
    except OSError as error:
        if error.errno in {errno.EINVAL, errno.ENOENT}:
            return None
        raise


def _exists(name: bytes, folder: int) -> bool:
    try:
        os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


@contextlib.contextmanager
def _named(name: bytes, folder: int) -> Iterator[int]:
    """A descriptor that only names a file or folder, whatever its mode allows."""
    descriptor = os.open(name, _ANYTHING, dir_fd=folder)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _through(descriptor: int) -> bytes:
    """A name of what a descriptor names, which no link on the way can change."""
    return b"/proc/self/fd/%d" % descriptor if os.path.isdir("/proc/self/fd") else b"/dev/fd/%d" % descriptor
