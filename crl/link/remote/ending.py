"""Ending processes on the target, with all their children, and proving it by looking.

A process belongs to another one when it descends from it, stands in its session, or carries its nonce in its
environment; whoever was found once stays known, wherever it goes while it is ended. What has left all three before
anybody looked cannot be told from a stranger: `contain` keeps even that in the tree, as long as the first one lives.
"""
# ruff: noqa: F401, ARG001 - names in type comments look unused.

import errno
import os
import signal
import time

MYPY = False
if MYPY:
    from collections.abc import Callable, Iterable
    from typing import Any

NONCE = "CRL_PROCESS_NONCE"
KILL_STEP = 0.02
LOOKS = 5
SET_CHILD_SUBREAPER = 36
DEAD = (b"Z", b"X", b"x")

now = getattr(time, "monotonic", time.time)


class Entry(object):
    """One line of the process table.

    Args:
        pid: Its number.
        fields: What ``/proc/PID/stat`` says from its state on.
    """

    __slots__ = ("born", "group", "parent", "pid", "session", "state")

    def __init__(self, pid, fields):
        # type: (int, list[bytes]) -> None
        self.pid = pid
        self.state = fields[0]
        self.parent = int(fields[1])
        self.group = int(fields[2])
        self.session = int(fields[3])
        # With the number it names a process for good: numbers are used again.
        self.born = int(fields[19])


def table():
    # type: () -> dict[int, Entry]
    """All processes that can be seen."""
    found = {}  # type: dict[int, Entry]
    for name in os.listdir("/proc"):
        if name.isdigit():
            entry = look_up(int(name))
            if entry is not None:
                found[entry.pid] = entry
    return found


def look_up(pid):
    # type: (int) -> Entry | None
    """What is known of one process; None when it is gone or cannot be seen."""
    try:
        with open("/proc/%d/stat" % pid, "rb") as stat:
            return Entry(pid, stat.read().rpartition(b")")[2].split())
    except (IOError, OSError):
        return None


class Family(object):
    """Processes and all their children.

    Args:
        nonces: What marks their environments.
        leaders: Gives the numbers of those of them that have not been waited for, so that the numbers are theirs.

    Attributes:
        grouped: Those in the groups of the leaders, when last looked at.
    """

    def __init__(self, nonces, leaders):
        # type: (Iterable[str], Callable[[], list[int]]) -> None
        self._marks = [("%s=%s" % (NONCE, nonce)).encode("ascii") for nonce in nonces]
        self._leaders = leaders
        self._known = {}  # type: dict[int, int]
        self.grouped = set()  # type: set[int]

    def alive(self):
        # type: () -> list[int]
        """The numbers of those that live, zombies aside."""
        everybody = table()
        leaders = self._leaders()
        members = set(leaders)
        for entry in everybody.values():
            known = self._known.get(entry.pid) == entry.born
            if known or entry.session in leaders or self._is_marked(entry.pid):
                members.add(entry.pid)
        self._add_descendants(everybody, members)
        members &= set(everybody)
        self.grouped = {pid for pid in members if everybody[pid].group in leaders}
        self._known = {pid: everybody[pid].born for pid in members}
        return sorted(pid for pid in members if everybody[pid].state not in DEAD)

    def _is_marked(self, pid):
        # type: (int) -> bool
        try:
            with open("/proc/%d/environ" % pid, "rb") as environ:
                variables = environ.read().split(b"\0")
        except (IOError, OSError):
            # It ended meanwhile, or belongs to somebody else.
            return False
        return any(mark in variables for mark in self._marks)

    def _add_descendants(self, everybody, members):
        # type: (dict[int, Entry], set[int]) -> None
        children = {}  # type: dict[int, list[int]]
        for entry in everybody.values():
            children.setdefault(entry.parent, []).append(entry.pid)
        waiting = list(members)
        while waiting:
            for pid in children.get(waiting.pop(), ()):
                if pid not in members:
                    members.add(pid)
                    waiting.append(pid)


def end_family(family, groups, grace, patience):
    # type: (Family, Callable[[int], object], float, float) -> list[int]
    """TERM, after `grace` seconds KILL, for a family; returns who lives after `patience`.

    Args:
        family: The family.
        groups: Sends a signal to the groups of its leaders.
        grace: Seconds between the signals.
        patience: Seconds after the last one.
    """
    alive = _gathered(family)
    for signum, seconds in ((signal.SIGTERM, grace), (signal.SIGKILL, patience)):
        if not alive:
            return []
        groups(signum)
        until = now() + seconds
        # Once each: what handles a signal is not to run twice.
        told = set(family.grouped)
        while True:
            # Also those that were born while we looked.
            for pid in alive:
                if pid not in told:
                    told.add(pid)
                    send(os.kill, pid, signum)
            # Twice: one that was born while the table was read is in it the next time.
            alive = family.alive() or family.alive()
            if not alive or now() >= until:
                break
            time.sleep(KILL_STEP)
    return alive


def _gathered(family):
    # type: (Family) -> list[int]
    """Who lives, looked at until it stays the same: a child is easily missed while it is being born.

    Once its parent has got a signal, nothing may lead to it any more.
    """
    alive = family.alive()
    for _ in range(LOOKS):
        before, alive = alive, family.alive()
        if alive == before:
            break
    return alive


def send(how, pid, signum):
    # type: (Callable[[int, int], None], int, int) -> bool
    """Send a signal by `os.kill` or `os.killpg`; False when nobody is there who may get it."""
    try:
        how(pid, signum)
    except OSError as error:
        if error.errno not in (errno.ESRCH, errno.EPERM):
            raise
        return False
    return True


def container():
    # type: () -> Callable[[], object]
    """What a new process calls before its program, so that all its descendants stay below it while it lives.

    Raises:
        OSError: This Python cannot do it.
    """
    try:
        import ctypes
    except ImportError:
        raise OSError(errno.ENOSYS, "containing processes needs ctypes, which the target's Python does not have")
    prctl = ctypes.CDLL(None).prctl

    def contain():
        # type: () -> None
        prctl(SET_CHILD_SUBREAPER, 1, 0, 0, 0)

    return contain


def install(program):
    # type: (Any) -> None
    """Called when this piece arrives: others use it."""
