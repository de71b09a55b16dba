"""The few system calls that Python 3.11 does not offer.

It knows nothing of the lab and promises an `OSError` with the kernel's number and the arguments for every failure.
"""

from __future__ import annotations

import ctypes
import os
from typing import Final

CLONE_NEWNS: Final = 0x00020000
CLONE_NEWUTS: Final = 0x04000000
CLONE_NEWIPC: Final = 0x08000000
CLONE_NEWPID: Final = 0x20000000
CLONE_NEWNET: Final = 0x40000000

MS_RDONLY: Final = 1
MS_NOSUID: Final = 2
MS_NODEV: Final = 4
MS_NOEXEC: Final = 8
MS_REMOUNT: Final = 32
MS_BIND: Final = 4096
MS_REC: Final = 16384
MS_PRIVATE: Final = 1 << 18

MNT_DETACH: Final = 2
PR_SET_PDEATHSIG: Final = 1
PR_CAPBSET_DROP: Final = 24
_PIVOT_ROOT: Final = {
    "x86_64": 155,
    "aarch64": 41,
    "riscv64": 41,
    "i686": 217,
    "armv7l": 218,
    "ppc64le": 203,
    "s390x": 217,
}

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> None:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def mount(source: str, target: str, kind: str | None = None, flags: int = 0, data: str = "") -> None:
    """Mount a file system."""
    result = _libc.mount(
        source.encode(),
        os.fsencode(target),
        kind.encode() if kind else None,
        ctypes.c_ulong(flags),
        data.encode() or None,
    )
    _check(result, f"mount {kind or 'bind'} {source} on {target} ({data})")


def umount(target: str, flags: int = 0) -> None:
    """Unmount."""
    _check(_libc.umount2(os.fsencode(target), flags), f"umount {target}")


def unshare(flags: int) -> None:
    """Leave shared namespaces for new ones."""
    _check(_libc.unshare(flags), f"unshare {flags:#x}")


def setns(path: str, kind: int) -> None:
    """Enter the namespace that this file of /proc names."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        _check(_libc.setns(fd, kind), f"setns {path}")
    finally:
        os.close(fd)


def pivot_root(new: str, old: str) -> None:
    """Make a mount the root."""
    number = _PIVOT_ROOT[os.uname().machine]
    _check(_libc.syscall(number, os.fsencode(new), os.fsencode(old)), f"pivot_root {new}")


def die_with_parent(signal_number: int) -> None:
    """Have the kernel send this process a signal when its parent ends."""
    _check(_libc.prctl(PR_SET_PDEATHSIG, signal_number, 0, 0, 0), "prctl PR_SET_PDEATHSIG")


def drop_capability(number: int) -> None:
    """Take a capability from this process and all its descendants for good."""
    _check(_libc.prctl(PR_CAPBSET_DROP, number, 0, 0, 0), f"prctl PR_CAPBSET_DROP {number}")
