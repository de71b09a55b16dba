"""What /proc tells about the lab's processes, seen from this machine.

It knows /proc and pidfds and nothing else of the lab, and promises not to fail because a process ends while it looks.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["LabProcess", "find_program", "in_namespace", "kill_and_wait", "namespace_of", "wait_end", "wait_stopped"]

_NAP = 0.02


@dataclass(frozen=True)
class LabProcess:
    """One process of a lab host.

    Attributes:
        pid: Its number on the host.
        outer_pid: Its number on this machine.
        uid: The user it runs as.
        state: The kernel's letter: R, S, D, T (stopped), Z …
        argv: Its arguments; for kernel-like ones without any the bare name in brackets.
    """

    pid: int
    outer_pid: int
    uid: int
    state: str
    argv: tuple[str, ...]

    @property
    def command(self) -> str:
        """The arguments as one text."""
        return " ".join(self.argv)


def _pids() -> Iterator[int]:
    for name in os.listdir("/proc"):
        if name.isdigit():
            yield int(name)


def namespace_of(pid: int | str, kind: str) -> str | None:
    """The identity of a namespace (``net:[4026531840]``) of a process; None when it has gone."""
    try:
        return os.readlink(f"/proc/{pid}/ns/{kind}")
    except OSError:
        return None


def _argv(pid: int) -> tuple[str, ...]:
    raw = Path(f"/proc/{pid}/cmdline").read_bytes()
    return tuple(part.decode(errors="replace") for part in raw.rstrip(b"\0").split(b"\0")) if raw else ()


def _describe(pid: int) -> LabProcess | None:
    try:
        text = Path(f"/proc/{pid}/status").read_text(errors="replace")
        argv = _argv(pid)
    except OSError:
        return None
    fields = dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)
    inner = int(fields["NSpid"].split()[-1])
    uid = int(fields["Uid"].split()[0])
    return LabProcess(inner, pid, uid, fields["State"][0], argv or (f"[{fields['Name']}]",))


def in_namespace(kind: str, identity: str | None) -> list[LabProcess]:
    """All processes in a namespace, by their number there; none for None."""
    found = [_describe(pid) for pid in _pids() if identity is not None and namespace_of(pid, kind) == identity]
    return sorted((process for process in found if process is not None), key=lambda process: process.pid)


def find_program(module: str, *arguments: str) -> list[int]:
    """Processes of this machine that run ``python -m MODULE ARGUMENTS…`` (the first arguments decide)."""
    wanted = ("-m", module, *arguments)
    found = []
    # A container's processes are to be seen here as well, and its folders may have the same names as ours.
    ours = os.readlink("/proc/self/ns/pid")
    for pid in _pids():
        with contextlib.suppress(OSError):  # it has ended meanwhile
            argv = _argv(pid)
            same = "-m" in argv and argv[argv.index("-m") :][: len(wanted)] == wanted
            if same and os.readlink(f"/proc/{pid}/ns/pid") == ours:
                found.append(pid)
    return found


def wait_end(pid: int, timeout: float) -> bool:
    """Wait until a process has ended (it may remain as a zombie of its parent); whether it has."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        return bool(poll.poll(max(0.0, timeout) * 1000))
    finally:
        os.close(fd)


def kill_and_wait(pids: Iterable[int], number: signal.Signals, timeout: float) -> list[int]:
    """Send a signal to processes and wait for their end; gives those that still live after `timeout` seconds."""
    chosen = list(pids)
    for pid in chosen:
        with contextlib.suppress(ProcessLookupError):  # it has ended by itself
            os.kill(pid, number)
    limit = time.monotonic() + timeout
    return [pid for pid in chosen if not wait_end(pid, limit - time.monotonic())]


def wait_buried(pids: Iterable[int], timeout: float) -> None:
    """Wait until ended processes have left the process table; their parent may take a moment for it."""
    limit = time.monotonic() + timeout
    for pid in pids:
        while Path(f"/proc/{pid}").exists() and time.monotonic() < limit:
            select.poll().poll(_NAP * 1000)


def wait_stopped(pids: Iterable[int], timeout: float) -> list[int]:
    """Wait until processes that were sent SIGSTOP have stopped, or ended; gives those that have not after `timeout`."""
    limit = time.monotonic() + timeout
    left = list(pids)
    while left := [pid for pid in left if not _stands_still(pid)]:
        if time.monotonic() > limit:
            break
        select.poll().poll(_NAP * 1000)
    return left


def _stands_still(pid: int) -> bool:
    """Whether none of its threads runs on: one of them takes the signal, and the others stop when they come to it."""
    try:
        tasks = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return True
    for task in tasks:
        with contextlib.suppress(OSError):  # it has ended meanwhile
            stat = Path(f"/proc/{pid}/task/{task}/stat").read_text(errors="replace")
            if stat.rpartition(") ")[2][0] not in "TZX":
                return False
    return True
