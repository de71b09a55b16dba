"""Files that a server puts into a folder of ours: looked at, and taken out of it.

The server may write into that folder at any time, and anything: links, pipes, folders, names made to hurt. So only a
name without a path in it is a file here, it is opened without following links, and what is used is a copy that the
server cannot reach. The module knows no queue and no session.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import re
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from crl.x2go._programs import current_place
from crl.x2go.utils import slugify

__all__ = ["SpoolError", "clean_title", "keep_copy", "look_into", "read_small", "safe_name", "take"]

MAX_ENTRIES = 10_000
MAX_JOB_BYTES = 2 << 30
LONGEST_TITLE = 200
LONGEST_SLUG = 100
_BLOCK = 1 << 20
_NO_LINKS = ("EMLINK", "EPERM", "ENOTSUP", "EOPNOTSUPP", "EXDEV", "ENOSYS")
_CANNOT_LINK = {getattr(errno, name) for name in _NO_LINKS if hasattr(errno, name)}
# O_NONBLOCK: opening a pipe would wait for a writer for ever.
_READ = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)


class SpoolError(Exception):
    """What lies in the folder cannot be used; the text says why."""


def look_into(folder: Path) -> list[str]:
    """The names in a folder, sorted; of very many only some.

    Raises:
        OSError: The folder cannot be read.
    """
    with os.scandir(folder) as entries:
        return sorted(entry.name for entry in itertools.islice(entries, MAX_ENTRIES))


def clean_title(title: str, default: str) -> str:
    """A title that is only text: one line of printable characters, of a sensible length."""
    plain = "".join(char if char.isprintable() else " " for char in title)
    return " ".join(plain.split())[:LONGEST_TITLE].lstrip("-").strip() or default


def safe_name(name: str) -> str:
    """A name for a file of ours after one of the server's: letters, digits, ``._-`` and blanks, nothing else."""
    stem, dot, extension = name.rpartition(".")
    if not dot:
        stem, extension = name, ""
    plain = re.sub(r"[^\w. -]", "_", stem).strip(". -")[:LONGEST_SLUG].rstrip(". -")
    return (plain or "file") + (f".{re.sub(r'[^0-9A-Za-z]', '_', extension)[:20]}" if extension else "")


@contextlib.contextmanager
def _opened(folder: Path, name: str) -> Iterator[int]:
    """A plain file of a folder, opened for reading."""
    if name != os.path.basename(name) or name in {"", ".", ".."} or "\0" in name or "\\" in name:
        raise SpoolError(f"{name!r} is not the name of a file")
    try:
        descriptor = os.open(folder / name, _READ)
    except OSError as error:
        reason = "is a link" if error.errno == errno.ELOOP else (error.strerror or "cannot be opened")
        raise SpoolError(f"{name!r} cannot be read: {reason}") from error
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise SpoolError(f"{name!r} is not a plain file")
        yield descriptor
    finally:
        os.close(descriptor)


def read_small(folder: Path, name: str, limit: int) -> bytes:
    """What a small file of the folder says.

    Raises:
        SpoolError: It is not a plain file, cannot be read, or is larger.
    """
    with _opened(folder, name) as descriptor:
        data = os.read(descriptor, limit + 1)
    if len(data) > limit:
        raise SpoolError(f"{name!r} has more than {limit} bytes")
    return data


def take(folder: Path, name: str, target: Path, begins_with: bytes | None = None) -> None:
    """Copy a file of the folder to a new file of ours, in constant memory.

    Args:
        folder: The folder.
        name: The file's name in it.
        target: Where the copy goes; it must not exist.
        begins_with: What has to stand among its first bytes.

    Raises:
        SpoolError: It is not a plain file, is too large, does not begin so, or the job has to end.
        OSError: The copy could not be written; nothing of it is left.
    """
    with _opened(folder, name) as source:
        if begins_with is not None:
            if begins_with not in os.read(source, 1024):
                raise SpoolError(f"{name!r} does not begin with {begins_with.decode()}")
            os.lseek(source, 0, os.SEEK_SET)
        _copy(source, target, name)


def _copy(source: int, target: Path, name: str) -> None:
    ending = current_place().ending
    with _written_anew(target) as descriptor:
        size = 0
        while block := os.read(source, _BLOCK):
            size += len(block)
            if size > MAX_JOB_BYTES:
                raise SpoolError(f"{name!r} has more than {MAX_JOB_BYTES} bytes")
            if ending.is_set():
                raise SpoolError(f"{name!r} was not wanted any more")
            view = memoryview(block)
            while view:
                view = view[os.write(descriptor, view) :]


@contextlib.contextmanager
def _written_anew(target: Path) -> Iterator[int]:
    """A new file, only for its owner; nothing of it is left when it cannot be finished."""
    descriptor = os.open(target, _NEW, 0o600)
    with contextlib.ExitStack() as on_failure:
        on_failure.callback(target.unlink, missing_ok=True)
        try:
            yield descriptor
        finally:
            os.close(descriptor)
        on_failure.pop_all()


def file_names(folder: Path, title: str, default: str) -> Iterator[Path]:
    """Readable names for a PDF file in a folder: ``title.pdf``, ``title(1).pdf``, …."""
    plain = (slugify(title)[:LONGEST_SLUG].strip("-") or slugify(default)[:LONGEST_SLUG].strip("-")) or "print-job"
    yield folder / f"{plain}.pdf"
    for number in itertools.count(1):
        yield folder / f"{plain}({number}).pdf"


def keep_copy(source: Path, folder: Path, title: str) -> Path:
    """Keep a file of ours under a readable name in a folder, whole or not at all, over nothing that is there.

    Returns:
        Where it is.

    Raises:
        OSError: It could not be written.
    """
    handle, temporary = tempfile.mkstemp(prefix=".crl-print-", dir=folder)
    with contextlib.ExitStack() as always:
        always.callback(Path(temporary).unlink, missing_ok=True)
        always.callback(os.close, handle)
        with source.open("rb") as data:
            while block := data.read(_BLOCK):
                view = memoryview(block)
                while view:
                    view = view[os.write(handle, view) :]
        return next(path for path in file_names(folder, title, source.stem) if _placed(Path(temporary), path))


def _placed(temporary: Path, path: Path) -> bool:
    """Give a finished file its name; False when that is taken."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in _CANNOT_LINK:
            raise
        try:
            os.close(os.open(path, _NEW, 0o600))
        except FileExistsError:
            return False
        temporary.replace(path)
    return True
