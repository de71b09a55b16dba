"""Processes on the target: started, fed, watched, signalled and, with all their children, ended.

Each owned process leads a session of its own and carries a nonce in its environment, by which children are found again
that left its process group; killing is proved by looking. Detached processes are started and forgotten.
"""
# ruff: noqa: F401, FBT003 - names in type comments look unused; locks of Python 2 take no keywords.

import errno
import os
import signal
import subprocess
import sys
import time

from crl.link.remote import streams, world
from crl.link.wire import messages

try:
    from _thread import allocate_lock, start_new_thread
except ImportError:
    from thread import allocate_lock, start_new_thread  # type: ignore[import-not-found,no-redef]

MYPY = False
if MYPY:
    from collections.abc import Iterable
    from typing import Any

PY2 = sys.version_info[0] == 2
NONCE = "CRL_PROCESS_NONCE"
DRAIN_QUIET = 0.3
KILL_STEP = 0.02
KILL_PATIENCE = 5.0
END_GRACE = 0.2
END_PATIENCE = 3.0

now = getattr(time, "monotonic", time.time)


def _new_session():
    # type: () -> None
    """What Python 3 does in C: a session of its own, SIGPIPE as programs expect it, no descriptors but the standard."""
    os.setsid()
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    # Only those that are open: closing all possible ones, as Python 2 does, takes up to a second.
    for entry in os.listdir("/proc/self/fd"):
        if int(entry) > 2:
            try:
                world.private(int(entry))
            except (IOError, OSError):
                # The one that listed them.
                continue


# On Python 2 descriptors are inherited unless they are marked, which `_new_session` does.
OWN_SESSION = (
    {"preexec_fn": _new_session, "close_fds": False} if PY2 else {"start_new_session": True, "close_fds": True}
)  # type: dict[str, Any]


class Processes(object):
    """The processes that the controller asked for."""

    def __init__(self, program):
        # type: (Any) -> None
        self.program = program
        self.running = {}  # type: dict[int, Running]
        program.at_end.append(self.end_all)
        program.calls.services["process.start"] = self.start
        program.calls.services["process.signal"] = self.signal
        program.calls.services["process.kill"] = self.kill
        program.calls.services["process.detach"] = self.detach

    def start(self, number, command, env, cwd, nonce):
        # type: (int, Any, dict[str, str | None] | None, str | None, str) -> int
        """Start an owned process; its streams are `number` (input), `number` + 1 (output) and `number` + 2 (errors)."""
        child = subprocess.Popen(  # type: Any
            _command(command),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            cwd=None if cwd is None else _native(cwd),
            env=_environment(env, nonce),
            **OWN_SESSION
        )
        started = Running(number, child, nonce)
        self.running[number] = started
        pump = self.program.pump
        for offset, pipe in enumerate((child.stdin, child.stdout, child.stderr)):
            descriptor = world.nonblocking(pipe.fileno())
            source, sink = (None, descriptor) if offset == 0 else (descriptor, None)
            pump.add(streams.Stream(number + offset, source, sink, pipe.close, started.stream_over, number))
        start_new_thread(self._watch, (started,))
        return int(child.pid)

    def detach(self, command, env, cwd):
        # type: (Any, dict[str, str | None] | None, str | None) -> int
        """Start a process that nobody owns: it stays when the link ends."""
        null_read, null_write = os.open(os.devnull, os.O_RDONLY), os.open(os.devnull, os.O_WRONLY)
        try:
            child = subprocess.Popen(
                _command(command),
                stdin=null_read,
                stdout=null_write,
                stderr=null_write,
                cwd=None if cwd is None else _native(cwd),
                env=_environment(env, None),
                **OWN_SESSION
            )
        finally:
            os.close(null_read)
            os.close(null_write)
        start_new_thread(child.wait, ())
        return child.pid

    def signal(self, number, signum):
        # type: (int, int) -> bool
        """Send a signal to the process group; False when it has ended."""
        running = self.running.get(number)
        if running is None or running.child.returncode is not None:
            return False
        return _signal_group(running.child.pid, signum)

    def kill(self, number, grace, nonce):
        # type: (int, float, str) -> list[int]
        """End a process and all its children: TERM, then after `grace` seconds KILL; returns the ids still alive."""
        running = self.running.get(number)
        return end_processes([nonce], [] if running is None else [running], grace, KILL_PATIENCE)

    def end_all(self):
        # type: () -> None
        """Leave nothing that was asked to be owned and still runs."""
        left = [running for running in self.running.values() if running.child.returncode is None]
        if left:
            end_processes([running.nonce for running in left], left, END_GRACE, END_PATIENCE)

    def _watch(self, running):
        # type: (Running) -> None
        """Wait for the end of one process, give its output time to arrive, and tell."""
        status = running.child.wait()
        complete = self._drain(running)
        self.program.pump.cut(running.number)
        self.running.pop(running.number, None)
        body = messages.EXIT_BODY.pack(complete, status)
        self.program.send(messages.pack(messages.EXIT, running.number, body), running.number)

    def _drain(self, running):
        # type: (Running) -> bool
        """Wait until both outputs have ended; a child left behind may hold them open, then until they are quiet."""
        pump = self.program.pump
        before = running.progress(pump)
        while not _acquire(running.over, DRAIN_QUIET):
            state = running.progress(pump)
            # Without credit the controller is behind: silence then says nothing.
            if state == before and all(sent < limit for sent, limit in state):
                for offset in (1, 2):
                    pump.cut(running.number + offset)
                # Cutting takes a moment, and what was read before has to be on its way before the end is told.
                _acquire(running.over, KILL_PATIENCE)
                return False
            before = state
        return True


class Running(object):
    """One owned process and how many of its outputs are open.

    Attributes:
        over: A lock that opens when both outputs have ended.
    """

    def __init__(self, number, child, nonce):
        # type: (int, Any, str) -> None
        self.number = number
        self.child = child
        self.nonce = nonce
        self.over = allocate_lock()
        self.over.acquire()
        self._outputs_open = 2

    def progress(self, pump):
        # type: (streams.Pump) -> list[tuple[int, int]]
        """How far each open output is, and how far it may go."""
        found = [pump.streams.get(self.number + offset) for offset in (1, 2)]
        return [(stream.sent, stream.limit) for stream in found if stream is not None]

    def stream_over(self, stream):
        # type: (streams.Stream) -> None
        """One of its streams has ended; called by the pump's thread."""
        if stream.number == self.number:
            return
        (self.child.stdout if stream.number == self.number + 1 else self.child.stderr).close()
        self._outputs_open -= 1
        if not self._outputs_open:
            self.over.release()


def _acquire(lock, seconds):
    # type: (Any, float) -> bool
    """Wait for a lock, which on Python 2 knows no limit."""
    if PY2:
        return _acquire_patiently(lock, seconds)
    return bool(lock.acquire(True, seconds))


def _acquire_patiently(lock, seconds):
    # type: (Any, float) -> bool
    until = now() + seconds
    step = 0.0005
    while not lock.acquire(False):
        if now() >= until:
            return False
        time.sleep(step)
        step = min(0.02, step * 1.5)
    return True


def _native(text):
    # type: (str) -> Any
    """A text for the system: UTF-8, whatever the locale says of file names."""
    try:
        text.encode("ascii")
    except UnicodeError:
        return text.encode("utf-8") if PY2 else text.encode("utf-8", "surrogateescape")
    return str(text)


def _command(command):
    # type: (Any) -> list[Any]
    """An argument list as it is, a text as a line for the shell."""
    if isinstance(command, (str, type(u""))):
        return ["/bin/sh", "-c", _native(command)]
    return [_native(part) for part in command]


def _environment(env, nonce):
    # type: (dict[str, str | None] | None, str | None) -> dict[Any, Any]
    """The environment for a process: ours, with the changes; None removes a variable."""
    merged = dict(os.environ)  # type: dict[Any, Any]
    for name, value in (env or {}).items():
        merged.pop(name, None)
        if value is not None:
            merged[_native(name)] = _native(value)
    if nonce is not None:
        merged[NONCE] = nonce
    return merged


def _signal(pid, signum):
    # type: (int, int) -> bool
    try:
        os.kill(pid, signum)
    except OSError as error:
        if error.errno not in (errno.ESRCH, errno.EPERM):
            raise
        return False
    return True


def _signal_group(pid, signum):
    # type: (int, int) -> bool
    try:
        os.killpg(pid, signum)
    except OSError as error:
        if error.errno not in (errno.ESRCH, errno.EPERM):
            raise
        return False
    return True


def end_processes(nonces, running, grace, patience):
    # type: (list[str], list[Running], float, float) -> list[int]
    """TERM, after `grace` seconds KILL, for processes and all their children; returns who lives after `patience`."""
    alive = []  # type: list[int]
    for signum, seconds in ((signal.SIGTERM, grace), (signal.SIGKILL, patience)):
        for one in running:
            if one.child.returncode is None:
                _signal_group(one.child.pid, signum)
        until = now() + seconds
        told = set()  # type: set[int]
        while True:
            alive = survivors(nonces, running)
            # Also those that were born while we looked.
            for pid in alive:
                if pid not in told:
                    told.add(pid)
                    _signal(pid, signum)
            if not alive:
                return []
            if now() >= until:
                break
            time.sleep(KILL_STEP)
    return alive


def survivors(nonces, running):
    # type: (list[str], list[Running]) -> list[int]
    """The ids of living processes, zombies aside, that carry a nonce in their environment or stand in a session."""
    wanted = [("%s=%s" % (NONCE, nonce)).encode("ascii") for nonce in nonces]
    # The number of a session is safe from reuse only while its leader has not been waited for.
    sessions = [one.child.pid for one in running if one.child.returncode is None]
    entries = [entry for entry in os.listdir("/proc") if entry.isdigit()]
    return [int(entry) for entry in entries if _carries(entry, wanted) or _stands_in(entry, sessions)]


def _carries(entry, wanted):
    # type: (str, Iterable[bytes]) -> bool
    try:
        with open("/proc/%s/environ" % entry, "rb") as environ:
            variables = environ.read().split(b"\0")
    except (IOError, OSError):
        # It ended meanwhile, or belongs to somebody else.
        return False
    return any(variable in variables for variable in wanted)


def _stands_in(entry, sessions):
    # type: (str, list[int]) -> bool
    """Whether a process of any user, with any environment, belongs to one of the sessions and is no zombie."""
    if not sessions:
        return False
    try:
        with open("/proc/%s/stat" % entry, "rb") as stat:
            fields = stat.read().rpartition(b")")[2].split()
    except (IOError, OSError):
        return False
    return fields[0] not in (b"Z", b"X") and int(fields[3]) in sessions


def install(program):
    # type: (Any) -> None
    """Called when this piece arrives."""
    program.processes = Processes(program)
