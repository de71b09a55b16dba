"""Folders of a file system, entered one component at a time and never through a symbolic link.

What the reader, the writer and the services of files have in common, at both ends of a link: an open folder, whose
members are named without a path, patterns, checksums, and removing a tree. On Python 2, which cannot name a member of
an open folder, paths stand for the descriptors; there who may write in the same tree could
still swap a folder.
"""
# ruff: noqa: F401 - names in type comments look unused.

import errno
import fnmatch
import os
import stat
import sys
import zlib

try:
    import hashlib
except ImportError:
    # A Python without it can still tell damage from luck.
    hashlib = None  # type: ignore[assignment]

MYPY = False
if MYPY:
    from collections.abc import Iterable
    from typing import Any

PY2 = sys.version_info[0] == 2
HAS_AT = not PY2 and os.open in os.supports_dir_fd
CLOSE_ON_EXEC = getattr(os, "O_CLOEXEC", 0o2000000)
FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | CLOSE_ON_EXEC
PROBLEMS_KEPT = 100
DIGEST = "sha256" if hashlib is not None else "crc32"


class Crc(object):
    """A checksum with the interface of hashlib's, for a Python that has none of those."""

    def __init__(self):
        # type: () -> None
        self._crc = 0

    def update(self, data):
        # type: (Any) -> None
        """Add bytes."""
        self._crc = zlib.crc32(data, self._crc) & 0xFFFFFFFF

    def hexdigest(self):
        # type: () -> str
        """The checksum so far."""
        return "%08x" % self._crc


def new_digest(name):
    # type: (str) -> Any
    """A fresh checksum: ``"sha256"`` or ``"crc32"``."""
    return hashlib.sha256() if name == "sha256" else Crc()


def as_bytes(path):
    # type: (Any) -> bytes
    """A path as the system has it: UTF-8, whatever the locale says."""
    if isinstance(path, bytes):
        return path
    # Python 2 passes surrogates as they are.
    return path.encode("utf-8") if PY2 else path.encode("utf-8", "surrogateescape")  # type: ignore[no-any-return]


def as_text(name):
    # type: (bytes) -> str
    """A name for an error's text or a pattern."""
    return name if PY2 else name.decode("utf-8", "surrogateescape")  # type: ignore[return-value]


def refusal(code, path):
    # type: (int, bytes) -> OSError
    """The error of that number."""
    return OSError(code, os.strerror(code), as_text(path))


def split(path):
    # type: (bytes) -> tuple[bytes, bytes]
    """Folder and name of a path."""
    folder, name = os.path.split(path)
    return folder or b".", name


def mtime_of(info):
    # type: (os.stat_result) -> int
    """When it was changed, in nanoseconds; Python 2 knows them to about a microsecond."""
    return int(info.st_mtime * 1000000) * 1000 if PY2 else info.st_mtime_ns


class Folder(object):
    """One open folder.

    Args:
        path: Its path, for texts and for Python 2.
        parent: The folder it is in: then it is opened by its last component, which must not be a symbolic link.
    """

    def __init__(self, path, parent=None):
        # type: (bytes, Folder | None) -> None
        self.path = path
        self.at = {}  # type: dict[str, Any]
        self.both = {}  # type: dict[str, Any]
        self.itself = {}  # type: dict[str, Any]
        if parent is None:
            self.fd = os.open(path, FOLDER_FLAGS)
        else:
            name = os.path.basename(path)
            self.fd = os.open(parent.name(name), FOLDER_FLAGS | os.O_NOFOLLOW, **parent.at)
        if HAS_AT:
            self.at = {"dir_fd": self.fd}
            self.both = {"src_dir_fd": self.fd, "dst_dir_fd": self.fd}
            self.itself = {"dir_fd": self.fd, "follow_symlinks": False}

    def close(self):
        # type: () -> None
        """Give its descriptor back."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)

    def join(self, name):
        # type: (bytes) -> bytes
        """The path of a member, for texts."""
        return os.path.join(self.path, name)

    def name(self, name):
        # type: (bytes) -> bytes
        """What names a member in system calls."""
        return name if HAS_AT else os.path.join(self.path, name)

    def enter(self, name):
        # type: (bytes) -> Folder
        """A folder in it."""
        return Folder(self.join(name), self)

    def open(self, name, flags, mode=0o600):
        # type: (bytes, int, int) -> int
        """A descriptor of a member, which must not be a symbolic link."""
        return os.open(self.name(name), flags | os.O_NOFOLLOW | CLOSE_ON_EXEC, mode, **self.at)

    def look(self, name):
        # type: (bytes) -> os.stat_result | None
        """What is known of a member itself; None when there is none."""
        try:
            return os.stat(name, **self.itself) if HAS_AT else os.lstat(self.name(name))
        except OSError as error:
            if error.errno != errno.ENOENT:
                raise
            return None

    def names(self):
        # type: () -> list[bytes]
        """The names of its members, in order."""
        if HAS_AT:
            return sorted(map(os.fsencode, os.listdir(self.fd)))
        return sorted(os.listdir(self.path))

    def link_of(self, name):
        # type: (bytes) -> bytes
        """Where a symbolic link leads."""
        return os.readlink(self.name(name), **self.at)

    def rename(self, old, new):
        # type: (bytes, bytes) -> None
        """Give a member another name, which replaces a file of that name."""
        os.rename(self.name(old), self.name(new), **self.both)

    def unlink(self, name):
        # type: (bytes) -> None
        """Remove a file or link."""
        os.unlink(self.name(name), **self.at)

    def remove(self, name):
        # type: (bytes) -> None
        """Remove a member, with all that is in it."""
        info = self.look(name)
        if info is None:
            return
        if not stat.S_ISDIR(info.st_mode):
            self.unlink(name)
            return
        inner = self.enter(name)
        try:
            for member in inner.names():
                inner.remove(member)
        finally:
            inner.close()
        os.rmdir(self.name(name), **self.at)


def make_folders(path):
    # type: (bytes) -> None
    """Make a folder and those above it that are missing."""
    try:
        os.mkdir(path)
    except OSError as error:
        if error.errno == errno.ENOENT and split(path)[0] != path:
            make_folders(split(path)[0])
            make_folders(path)
        elif error.errno != errno.EEXIST:
            raise
        elif not os.path.isdir(path):
            raise refusal(errno.ENOTDIR, path)


class Patterns(object):
    """What to take of a tree: all, or what `include` names, without what `exclude` names.

    A pattern with a slash is compared with the path from the root, one without with the name; one that ends with a
    slash concerns folders only.

    Args:
        include: Patterns of what to take; none of them: everything.
        exclude: Patterns of what to leave out.
    """

    def __init__(self, include, exclude):
        # type: (Iterable[str], Iterable[str]) -> None
        self._include = [as_text(as_bytes(pattern)) for pattern in include]
        self._exclude = [as_text(as_bytes(pattern)) for pattern in exclude]
        self.selective = bool(self._include)

    def takes(self, path, is_folder):
        # type: (bytes, bool) -> bool
        """Whether something is taken; a folder is entered whenever it is not excluded."""
        if not self._include and not self._exclude:
            return True
        text = as_text(path)
        if any(_matches(pattern, text, is_folder) for pattern in self._exclude):
            return False
        return is_folder or not self._include or any(_matches(one, text, is_folder) for one in self._include)


def _matches(pattern, path, is_folder):
    # type: (str, str, bool) -> bool
    if pattern.endswith("/"):
        if not is_folder:
            return False
        pattern = pattern[:-1]
    if "/" in pattern:
        return fnmatch.fnmatchcase(path, pattern.lstrip("/"))
    return fnmatch.fnmatchcase(path.rpartition("/")[2], pattern)


def snapshot(path):
    # type: (bytes) -> dict[bytes, tuple[int, int]]
    """The plain files below a folder: path from there to size and time; empty when there is no folder."""
    found = {}  # type: dict[bytes, tuple[int, int]]
    try:
        root = Folder(path)
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ENOTDIR):
            raise
        return found
    try:
        _add_members(root, b"", found)
    finally:
        root.close()
    return found


def _add_members(folder, path, found):
    # type: (Folder, bytes, dict[bytes, tuple[int, int]]) -> None
    for name in folder.names():
        info = folder.look(name)
        member = path + b"/" + name if path else name
        if info is not None and stat.S_ISREG(info.st_mode):
            found[member] = (info.st_size, mtime_of(info))
        elif info is not None and stat.S_ISDIR(info.st_mode):
            inner = folder.enter(name)
            try:
                _add_members(inner, member, found)
            finally:
                inner.close()


def install(_program):
    # type: (Any) -> None
    """Called when this piece arrives: other pieces import it, and that is all."""
