"""Processes on the target: started, fed, watched, signalled and, with all their children, ended.

Each owned process leads a session of its own and carries a nonce in its environment, by which children are found again
that left it. Its streams are known before it starts, so that its input may follow the request at once; its end is told
after its output. Detached processes are started and forgotten.
"""
# ruff: noqa: F401, FBT003, ARG002, ARG005 - names in type comments look unused.

import errno
import os
import signal
import subprocess
import sys
import time
from collections import deque

from crl.link.remote import ending, streams, world
from crl.link.wire import messages
from crl.link.wire.compat import start_new_thread

MYPY = False
if MYPY:
    from collections.abc import Callable
    from typing import Any

PY2 = sys.version_info[0] == 2
HAS_UMASK = sys.version_info >= (3, 9)
DRAIN_QUIET = 0.3
KILL_PATIENCE = 5.0
END_GRACE = 0.2
END_PATIENCE = 3.0
NOT_STARTED = 127
UNWANTED_KEPT = 1024
OPEN = "open"


def _nothing():
    # type: () -> None
    """The end of an input that needs no closing."""


class Processes(object):
    """The processes that the controller asked for."""

    def __init__(self, program):
        # type: (Any) -> None
        self.program = program
        self.pump = program.pump  # type: streams.Pump
        self.running = {}  # type: dict[int, Running]
        self.terminals = None  # type: Any
        self._starting = set()  # type: set[int]
        # Ended before their requests were looked at.
        self._unwanted = deque(maxlen=UNWANTED_KEPT)  # type: deque[int]
        program.at_end.append(self.end_all)
        for name in ("start", "signal", "resize", "kill"):
            program.calls.services["process." + name] = getattr(self, name)

    def start(self, number, command, options, nonce):
        # type: (int, Any, dict[str, Any], str) -> int
        """Start an owned process; its streams are `number` (input), `number` + 1 (output) and `number` + 2 (errors).

        Options, all of them optional: ``env``, ``cwd``, ``umask``; ``stdin``, bytes for all of it or ``"open"``;
        ``merge`` both outputs into one; ``pty``, rows and columns of a terminal; ``spool``, how many bytes of each
        output are kept while the controller takes none; ``contain``.
        """
        running = Running(self, number, nonce, options)
        with self.pump.lock:
            self._starting.add(number)
            for stream in running.streams:
                self.pump.add(stream)
        try:
            self._begin(running, command, options)
        finally:
            with self.pump.lock:
                self._starting.discard(number)
        return int(running.child.pid)

    def _begin(self, running, command, options):
        # type: (Running, Any, dict[str, Any]) -> None
        try:
            if running.number in self._unwanted:
                raise OSError(errno.ESRCH, "it was ended before it began")
            ends = self._open(options)
            try:
                variables = environment(options.get("env"), running.nonce)
                running.child = spawn(command_line(command), options, ends, variables)
            except BaseException:
                ends.close_ours()
                raise
            finally:
                ends.close_theirs()
        except BaseException:
            with self.pump.lock:
                for stream in running.streams:
                    self.pump.drop(stream)
            running.tell(False, NOT_STARTED)
            raise
        with self.pump.lock:
            self.running[running.number] = running
            running.begin(ends)

    def _open(self, options):
        # type: (dict[str, Any]) -> Ends
        if options.get("pty"):
            return self.terminals.Terminal(*options["pty"])  # type: ignore[no-any-return]
        return Pipes(options)

    def signal(self, number, signum):
        # type: (int, int) -> bool
        """Send a signal to the process group; False when it has ended."""
        with self.pump.lock:
            running = self.running.get(number)
            return running is not None and running.send(signum)

    def resize(self, number, rows, columns):
        # type: (int, int, int) -> bool
        """Give the process's terminal another size; False when it has ended."""
        with self.pump.lock:
            running = self.running.get(number)
            if running is None or running.ends is None:
                return False
            running.ends.resize(rows, columns)
        return True

    def kill(self, number, grace, nonce):
        # type: (int, float, str) -> list[int]
        """End a process and all its children: TERM, then after `grace` seconds KILL; returns the ids still alive.

        One that is being started is waited for, and one that was not asked for yet never starts.
        """
        running = self._known(number)
        return _end([nonce], [] if running is None else [running], grace, KILL_PATIENCE)

    def _known(self, number):
        # type: (int) -> Running | None
        while True:
            with self.pump.lock:
                if number not in self._starting:
                    if number not in self.running:
                        self._unwanted.append(number)
                    return self.running.get(number)
            time.sleep(ending.KILL_STEP)

    def end_all(self):
        # type: () -> None
        """Leave nothing that was asked to be owned and still runs."""
        until = ending.now() + END_PATIENCE
        while self._starting and ending.now() < until:
            time.sleep(ending.KILL_STEP)
        left = [running for running in list(self.running.values()) if running.alive]
        if left:
            _end([running.nonce for running in left], left, END_GRACE, END_PATIENCE)


def _end(nonces, running, grace, patience):
    # type: (list[str], list[Running], float, float) -> list[int]
    def leaders():
        # type: () -> list[int]
        return [one.child.pid for one in running if one.alive]

    def signal_groups(signum):
        # type: (int) -> None
        for one in running:
            with one.pump.lock:
                one.send(signum)

    return ending.end_family(ending.Family(nonces, leaders), signal_groups, grace, patience)


class Ends(object):
    """The descriptors of a process's input and outputs: its ends, and ours.

    Args:
        theirs: Its standard input, output and errors.
        ours: Our ends of them, None where there is none.
    """

    terminal = None  # type: str | None

    def __init__(self, theirs, ours=(None, None, None)):
        # type: (tuple[int, int, int], tuple[int | None, int | None, int | None]) -> None
        self.theirs = theirs
        self.ours = list(ours)
        for descriptor in ours:
            if descriptor is not None:
                world.private(world.nonblocking(descriptor))

    def close_theirs(self):
        # type: () -> None
        """The process has them now."""
        for descriptor in set(self.theirs):
            os.close(descriptor)

    def close_ours(self):
        # type: () -> None
        """There is no process."""
        for index in (0, 1, 2):
            self.close(index)

    def end_input(self):
        # type: () -> None
        """Nothing more is written to the process."""
        self.close(0)

    def close(self, index):
        # type: (int) -> None
        """Close our end of its input (0) or of an output (1, 2)."""
        descriptor, self.ours[index] = self.ours[index], None
        if descriptor is not None:
            os.close(descriptor)

    def resize(self, rows, columns):
        # type: (int, int) -> None
        """Only a terminal has a size."""
        raise OSError("the process has no terminal")


class Pipes(Ends):
    """Pipes, and /dev/null where there is no input."""

    def __init__(self, options):
        # type: (dict[str, Any]) -> None
        if options.get("stdin"):
            input_read, input_write = os.pipe()  # type: tuple[int, int | None]
        else:
            input_read, input_write = os.open(os.devnull, os.O_RDONLY), None
        output_read, output_write = os.pipe()
        errors_read, errors_write = (None, output_write) if options.get("merge") else os.pipe()
        Ends.__init__(self, (input_read, output_write, errors_write), (input_write, output_read, errors_read))


def spawn(argv, options, ends, environment):
    # type: (list[Any], dict[str, Any], Ends, dict[Any, Any]) -> Any
    """Start a program in a session of its own."""
    cwd = options.get("cwd")
    how = {}  # type: dict[str, Any]
    first = _first_steps(options, ends)
    if first:
        how["preexec_fn"] = lambda: [step() for step in first]
    if not PY2:
        how["start_new_session"] = True
    if HAS_UMASK:
        how["umask"] = options.get("umask", -1)
    return subprocess.Popen(
        argv,
        stdin=ends.theirs[0],
        stdout=ends.theirs[1],
        stderr=ends.theirs[2],
        cwd=None if cwd is None else _native(cwd),
        env=environment,
        close_fds=not PY2,
        **how
    )


def _first_steps(options, ends):
    # type: (dict[str, Any], Ends) -> list[Callable[[], object]]
    """What the new process does before its program; without any, no copy of this whole process has to be made."""
    steps = []  # type: list[Callable[[], object]]
    if PY2:
        steps.append(_new_session)
    if not HAS_UMASK and "umask" in options:
        steps.append(lambda: os.umask(options["umask"]))
    if ends.terminal is not None:
        # The first terminal that the leader of a session opens becomes its own.
        steps.append(lambda: os.close(os.open(str(ends.terminal), os.O_RDWR)))
    if options.get("contain"):
        steps.append(ending.container())
    return steps


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


class Running(object):
    """One owned process.

    Args:
        processes: Those it is one of.
        number: Its number.
        nonce: What marks its environment.
        options: As of `Processes.start`.

    Attributes:
        child: The `subprocess.Popen`.
        streams: Those that it has.
        ends: Its descriptors.
    """

    def __init__(self, processes, number, nonce, options):
        # type: (Processes, int, str, dict[str, Any]) -> None
        self._processes = processes
        self.pump = processes.pump
        self.number = number
        self.nonce = nonce
        self.child = None  # type: Any
        self.ends = None  # type: Ends | None
        self._status = None  # type: int | None
        self._told = False
        stdin = options.get("stdin") or (OPEN if options.get("pty") else None)  # type: Any
        spool = options.get("spool")
        self._input = streams.Stream(number, self._end_input, lambda stream: None)
        self.streams = [self._input] if stdin else []
        if stdin and stdin != OPEN:
            self._input.pending.append(stdin)
            self._input.ending = True
        self.outputs = []  # type: list[streams.Stream]
        for offset in (1,) if options.get("merge") or options.get("pty") else (1, 2):
            ring = streams.Ring(spool) if spool else None
            self.outputs.append(streams.Stream(number + offset, _nothing, self._output_over, number, ring))
        self.streams += self.outputs

    @property
    def alive(self):
        # type: () -> bool
        """Whether it has not been waited for, so that its number is its own."""
        return self.child is not None and self._status is None

    def begin(self, ends):
        # type: (Ends) -> None
        """It runs: move its bytes and wait for its end. Under the pump's lock."""
        self.ends = ends
        for stream in self.streams:
            descriptor = ends.ours[stream.number - self.number]
            if stream.number == self.number:
                self.pump.opened(stream, None, descriptor)
            else:
                self.pump.opened(stream, descriptor, None)
        try:
            descriptor = os.pidfd_open(self.child.pid)
        except (AttributeError, OSError):
            # An older Python or kernel.
            start_new_thread(self._wait, ())
        else:
            self.pump.watch(descriptor, lambda _: self._ended(descriptor))

    def send(self, signum):
        # type: (int) -> bool
        """Send a signal to its group; False when it has ended. Under the pump's lock."""
        return self.alive and ending.send(os.killpg, self.child.pid, signum)

    def _wait(self):
        # type: () -> None
        """Wait for its end in a thread of its own."""
        if PY2:
            self.child.wait()
        else:
            try:
                # Without taking its number away: that happens under the lock.
                os.waitid(os.P_PID, self.child.pid, os.WEXITED | os.WNOWAIT)
            except OSError as error:
                # User code has waited for it.
                if error.errno != errno.ECHILD:
                    raise
        with self.pump.lock:
            self._ended(None)
        self._processes.program.flush()

    def _ended(self, descriptor):
        # type: (int | None) -> None
        """It may have ended: give its output time to arrive, and tell. Under the pump's lock."""
        status = self.child.poll()
        if status is None:
            return
        if descriptor is not None:
            self.pump.forget(descriptor)
            os.close(descriptor)
        self._status = status
        self._processes.running.pop(self.number, None)
        self.pump.cut(self._input, False)
        if self.outputs:
            self._look_later()
        else:
            self.tell(True, status)

    def _end_input(self):
        # type: () -> None
        if self.ends is not None:
            self.ends.end_input()

    def _output_over(self, stream):
        # type: (streams.Stream) -> None
        """An output has ended; called under the pump's lock."""
        if self.ends is not None:
            self.ends.close(stream.number - self.number)
        self.outputs.remove(stream)
        if not self.outputs and self._status is not None and not self._told:
            self.tell(True, self._status)

    def _look_later(self):
        # type: () -> None
        before = [(stream, stream.sent, stream.kept) for stream in self.outputs]
        self.pump.later(DRAIN_QUIET, lambda: self._look(before))

    def _look(self, before):
        # type: (list[tuple[streams.Stream, int, int]]) -> None
        """End the outputs that a child left behind holds open, once they are quiet; called under the pump's lock."""
        quiet = [
            stream
            for stream, sent, kept in before
            # Without credit the controller is behind: silence then says nothing.
            if stream.reading and (sent, kept) == (stream.sent, stream.kept) and (stream.ring or not stream.held_back)
        ]
        if quiet or not self._told:
            self.tell(not quiet, self._status or 0)
        for stream in quiet:
            self.pump.finish(stream)
        if self.outputs:
            self._look_later()

    def tell(self, complete, status):
        # type: (bool, int) -> None
        """Tell the controller that it has ended; a second time, that its output is not complete after all."""
        self._told = True
        body = messages.EXIT_BODY.pack(complete, status)
        self._processes.program.post(messages.pack(messages.EXIT, self.number, body), self.number)


def _native(text):
    # type: (str) -> Any
    """A text for the system: UTF-8, whatever the locale says of file names."""
    try:
        text.encode("ascii")
    except UnicodeError:
        return text.encode("utf-8") if PY2 else text.encode("utf-8", "surrogateescape")
    return str(text)


def command_line(command):
    # type: (Any) -> list[Any]
    """An argument list as it is, a text as a line for the shell."""
    if isinstance(command, (str, type(u""))):
        return ["/bin/sh", "-c", _native(command)]
    return [_native(part) for part in command]


def environment(env, nonce):
    # type: (dict[str, str | None] | None, str | None) -> dict[Any, Any]
    """The environment for a process: ours, with the changes; None removes a variable."""
    merged = dict(os.environ)  # type: dict[Any, Any]
    for name, value in (env or {}).items():
        merged.pop(name, None)
        if value is not None:
            merged[_native(name)] = _native(value)
    if nonce is not None:
        merged[ending.NONCE] = nonce
    return merged


def install(program):
    # type: (Any) -> None
    """Called when this piece arrives."""
    program.processes = Processes(program)
