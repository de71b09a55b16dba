"""Changing a file that others change too: under a lock that x2goclient keeps as well, and whole or not at all.

The lock is Qt's: a file beside the one that is changed, which says who holds it and is locked itself. So neither
another process of ours nor an x2goclient that stores its settings at the same moment loses what the other wrote. The
module knows nothing of what the files hold; it leaves no file behind.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from crl.deadlines import Deadline

__all__ = ["locked", "replace_file"]

STEP = 0.02
STALE_AFTER = 30.0  # seconds without a change, as for Qt, when nobody holds the lock file itself


@contextlib.contextmanager
def locked(path: Path, deadline: Deadline) -> Iterator[None]:
    """Hold the lock of a file.

    Raises:
        TimeoutError: Somebody else held it until the deadline.
        OSError: The lock file cannot be made.
    """
    lock = path.with_name(f"{path.name}.lock")
    descriptor = _acquire(lock, deadline)
    try:
        yield
    finally:
        with contextlib.suppress(FileNotFoundError):  # somebody tidied up by hand
            lock.unlink()
        os.close(descriptor)


def _acquire(lock: Path, deadline: Deadline) -> int:
    while True:
        descriptor = _create(lock)
        if descriptor is not None:
            return descriptor
        if not _remove_stale(lock):
            if deadline.expired:
                raise TimeoutError(errno.ETIMEDOUT, f"another program holds {lock}")
            time.sleep(STEP)


def _create(lock: Path) -> int | None:
    """Make the lock file; None when there is one."""
    try:
        descriptor = os.open(lock, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    except FileExistsError:
        return None
    try:
        with contextlib.suppress(BlockingIOError):  # somebody looks at this moment whether the file is stale
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        program = os.path.basename(os.readlink("/proc/self/exe"))
        os.write(descriptor, f"{os.getpid()}\n{program}\n{socket.gethostname()}\n".encode())
    except BaseException:
        lock.unlink(missing_ok=True)
        os.close(descriptor)
        raise
    return descriptor


def _remove_stale(lock: Path) -> bool:
    """Remove a lock file whose owner is gone; whether another try makes sense at once."""
    try:
        descriptor = os.open(lock, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not _is_stale(descriptor) or not _is_still(lock, descriptor):
            return False
        lock.unlink()
    except BlockingIOError:
        return False
    except FileNotFoundError:
        return True
    finally:
        os.close(descriptor)
    return True


def _is_stale(descriptor: int) -> bool:
    """Whether the owner named in a lock file has ended, or nobody touched the file for long."""
    if abs(time.time() - os.fstat(descriptor).st_mtime) > STALE_AFTER:
        return True
    owner, _, rest = os.pread(descriptor, 4096, 0).decode(errors="replace").partition("\n")
    host = rest.partition("\n")[2].strip()
    return host == socket.gethostname() and owner.isdecimal() and not Path(f"/proc/{owner}").exists()


def _is_still(lock: Path, descriptor: int) -> bool:
    """Whether the open file is the one that has the name now."""
    return os.path.samestat(lock.stat(), os.fstat(descriptor))


def replace_file(path: Path, data: bytes) -> None:
    """Give a file a new content in one step; it keeps its mode, a new one is only for its owner.

    Raises:
        OSError: It cannot be written; the old content stands.
    """
    path = path.resolve()
    mode = path.stat().st_mode & 0o777 if path.exists() else 0o600
    descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(data)
            os.fchmod(stream.fileno(), mode)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
