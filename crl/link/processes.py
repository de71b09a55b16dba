"""Processes of the target, from the controller's side: started, fed, read while they run, signalled and ended.

A process that a `RemoteProcess` stands for is owned by the link: when the link ends, it and all its children end. It
knows nothing of shells; a text is given to ``/bin/sh -c`` on the target, a list is executed as it is.
"""

from __future__ import annotations

import itertools
import secrets
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NamedTuple, Self

from crl.deadlines import Deadline
from crl.errors import RemoteWorldError, UsageError
from crl.link._engine import Waiter
from crl.link.errors import CallTimeout, LinkError, LinkLost
from crl.link.given import CommandLine, Environment, RemoteName, command_line, environment, remote_name
from crl.link.streams import PIECE, InputStream, OutputStream, wait_for_any

if TYPE_CHECKING:
    from crl.link.calls import Call
    from crl.link.link import Link

__all__ = [
    "OutputLine",
    "ProcessAlive",
    "ProcessTimeout",
    "RemoteProcess",
    "RunResult",
    "StartOptions",
    "StreamName",
]

StreamName = Literal["stdout", "stderr"]

KILL_GRACE = 2.0
KILL_TIMEOUT = 15.0
_LOOK_EVERY = 0.25
START_TIMEOUT = 60.0
# A line that never ends is handed out in pieces of that size, so that it does not fill the memory.
MAX_LINE = 1024 * 1024


@dataclass(frozen=True)
class RunResult:
    """What a command did.

    Attributes:
        status: Exit status; negative for the signal that ended it.
        stdout: All bytes of its standard output.
        stderr: All bytes of its standard error.
        duration: Seconds from the request to the end.
        complete: False when a child left behind still held the output open; what it writes later is not here.
    """

    status: int
    stdout: bytes
    stderr: bytes
    duration: float
    complete: bool = True


class OutputLine(NamedTuple):
    """One line of a process's output.

    Attributes:
        stream: ``"stdout"`` or ``"stderr"``.
        data: The line without its end.
    """

    stream: StreamName
    data: bytes


@dataclass(frozen=True)
class StartOptions:
    """How a process is started.

    Attributes:
        env: Changes to the environment; None as a value removes a variable.
        cwd: Directory to run in.
        umask: Mask for the modes of files that it makes, for example ``0o077``.
        merge: Whether its error output goes into its output, in the exact order in which it writes both.
        pty: Rows and columns of a terminal of its own; its outputs are then one, as with `merge`.
        spool: How many bytes of each output the target keeps while nobody here takes them, the newest ones; the process
            then never waits, and `InputStream.dropped` tells what was lost. None lets the process wait, as a pipe does.
        contain: Whether children that leave its session *and* clean their environment *and* lose their parent are
            found all the same when it is killed. It costs a millisecond, and such children become those of the process.
    """

    env: Environment | None = None
    cwd: RemoteName | None = None
    umask: int | None = None
    merge: bool = False
    pty: tuple[int, int] | None = None
    spool: int | None = None
    contain: bool = False

    def plain(self, stdin: bytes | Literal["open"]) -> dict[str, object]:
        """What goes to the target: only what was asked for.

        Raises:
            UsageError: A number makes no sense.
        """
        if self.spool is not None and self.spool <= 0:
            raise UsageError(f"a spool of {self.spool} bytes keeps nothing", doing="starting a process")
        if self.umask is not None and not (isinstance(self.umask, int) and 0 <= self.umask <= 0o777):
            raise UsageError(f"{self.umask!r} is no mask of modes", doing="starting a process", advice="give 0o077")
        if self.pty is not None and not all(0 < side < 65536 for side in self.pty):
            raise UsageError(f"a terminal cannot have {self.pty} rows and columns", doing="starting a process")
        options: dict[str, object] = {
            name: value for name, value in vars(self).items() if value is not None and value is not False
        }
        if self.env is not None:
            options["env"] = environment(self.env)
        if self.cwd is not None:
            options["cwd"] = remote_name(self.cwd)
        if stdin:
            options["stdin"] = stdin
        return options


class ProcessTimeout(CallTimeout):
    """A command took too long; it and its children were killed.

    Attributes:
        partial: Output and error output so far.
        alive: Process ids that could not be killed.
        fate: What became of it and its children, in words; a silent target cannot tell.
    """

    partial: tuple[bytes, bytes] = (b"", b"")
    alive: tuple[int, ...] = ()
    fate: str = ""


class ProcessAlive(RemoteWorldError):
    """A process or a child of it could not be ended.

    Attributes:
        alive: The ids of what still runs.
    """

    alive: tuple[int, ...] = ()


class RemoteProcess:
    """One process on the target; made by `Link.start_process`.

    As a context manager it is ended, with all its children, where the block ends. Iterating over it gives the lines of
    both its outputs in the order in which they came.

    Attributes:
        pid: Its number on the target.
        stdin: Its standard input.
        stdout: Its standard output.
        stderr: Its error output; at its end from the start where both outputs are one.
    """

    def __init__(self, link: Link, number: int, nonce: str, *, pty: bool = False, stdin: bool = True) -> None:
        self._link = link
        self._number = number
        self._nonce = nonce
        self._pty = pty
        self._exit = Waiter()
        self._status: int | None = None
        self._error: LinkError | None = None
        self._complete = True
        self.pid = 0
        stamps = itertools.count()
        self.stdin = OutputStream(link, number, over=not stdin)
        self.stdout = InputStream(link, number + 1, self._settle, stamps)
        self.stderr = InputStream(link, number + 2, self._settle, stamps)

    def __repr__(self) -> str:
        if self._status is not None:
            state = f"ended with {self._status}"
        else:
            state = "running" if self._error is None else "lost with its link"
        return f"<RemoteProcess {self.pid} on {self._link.host}: {state}>"

    @property
    def status(self) -> int | None:
        """Exit status, negative for a signal; None while it runs."""
        return self._status

    @property
    def complete(self) -> bool:
        """False when a child left behind held its output open; what it writes later is lost."""
        return self._complete

    def write(self, data: bytes, timeout: float | None = None) -> None:
        """Write to its standard input, waiting until the target takes it; see `OutputStream.write`."""
        self.stdin.write(data, timeout)

    def close_stdin(self) -> None:
        """End its standard input; in a terminal, press Ctrl-D."""
        self.stdin.close()

    def read_stdout(self, timeout: float | None = None) -> bytes:
        """The next bytes of its output, as soon as there are some; ``b""`` at the end."""
        return self.stdout.read(timeout)

    def read_stderr(self, timeout: float | None = None) -> bytes:
        """The next bytes of its error output, as soon as there are some; ``b""`` at the end."""
        return self.stderr.read(timeout)

    def output(self, timeout: float | None = None) -> Iterator[tuple[StreamName, bytes]]:
        """The bytes of both outputs while they come, in the order in which the target read them.

        Two pipes cannot tell what was written first when both have something; start the process with ``merge`` where
        that matters.

        Args:
            timeout: Seconds to wait for each piece.

        Raises:
            CallTimeout: Nothing came in that time.
            LinkLost: The link is gone.
        """
        both: tuple[tuple[StreamName, InputStream, InputStream], ...]
        both = (("stdout", self.stdout, self.stderr), ("stderr", self.stderr, self.stdout))
        while not (self.stdout.ended and self.stderr.ended):
            wait_for_any((self.stdout, self.stderr), Deadline.after(timeout), timeout, self._link)
            for name, stream, other in both:
                data = stream.pop(other)
                if data:
                    yield name, data

    def lines(self, timeout: float | None = None) -> Iterator[bytes]:
        """The lines of its output while they come, without line ends; one of more than 1 MiB comes in pieces.

        Args:
            timeout: Seconds to wait for each piece of output.
        """
        buffer = _Lines()
        while data := self.stdout.read(timeout):
            yield from buffer.feed(data)
        yield from buffer.rest()

    def output_lines(self, timeout: float | None = None) -> Iterator[OutputLine]:
        """The lines of both outputs while they come, each with the name of its stream; see `output`."""
        buffers: dict[StreamName, _Lines] = {"stdout": _Lines(), "stderr": _Lines()}
        for name, data in self.output(timeout):
            for line in buffers[name].feed(data):
                yield OutputLine(name, line)
        for name, buffer in buffers.items():
            for line in buffer.rest():
                yield OutputLine(name, line)

    def __iter__(self) -> Iterator[OutputLine]:
        return self.output_lines()

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end and return the exit status; its output can still be read.

        Raises:
            CallTimeout: It still runs.
            LinkLost: The link is gone.
        """
        if not self._link.engine.wait(self._exit, Deadline.after(timeout)):
            raise CallTimeout(
                f"process {self.pid} still runs after {timeout or 0:g} s",
                host=self._link.host,
                doing="waiting for a process",
            )
        if self._status is not None:
            return self._status
        raise (self._error or LinkLost("the link is gone", host=self._link.host)).again()

    def send_signal(self, signum: int) -> bool:
        """Send a signal to its process group; False when it has ended."""
        return bool(self._link.service("process.signal", self._number, int(signum)))

    def resize(self, rows: int, columns: int) -> bool:
        """Give its terminal another size; False when it has ended.

        Raises:
            UsageError: It has no terminal.
        """
        if not self._pty:
            raise UsageError("this process has no terminal", host=self._link.host, advice="start it with a pty")
        return bool(self._link.service("process.resize", self._number, int(rows), int(columns)))

    def kill(self, grace: float = KILL_GRACE) -> tuple[int, ...]:
        """End it and all its children, those that left its process group or session too.

        Args:
            grace: Seconds between TERM and KILL.

        Returns:
            Process ids that are alive all the same; empty when all is gone.
        """
        alive = self._link.service("process.kill", self._number, grace, self._nonce, timeout=grace + KILL_TIMEOUT)
        return tuple(int(pid) for pid in alive)

    def kill_soon(self) -> None:
        """Have it and all its children ended, without waiting for it."""
        with suppress(LinkError):  # when the link is gone, so is everything that it owned
            self._link.submit_service("process.kill", self._number, KILL_GRACE, self._nonce)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_exc: object) -> None:
        if self._status is not None or self._error is not None:
            return
        if kind is not None and not issubclass(kind, Exception):
            # Ctrl-C or a timeout of the test: nobody waits any more.
            self.kill_soon()
            return
        alive = self.kill()
        if alive and kind is None:
            error = ProcessAlive(
                f"processes {', '.join(map(str, alive))} could not be ended",
                host=self._link.host,
                doing=f"ending process {self.pid}",
                advice="look what they wait for: the kernel ends no process that hangs in a device or a dead mount",
            )
            error.alive = alive
            raise error

    # -- for the link; in the reading thread -----------------------------------------------------------------------

    def exited(self, complete: bool, status: int) -> None:
        """It has ended, or its output turns out not to be complete; called by the reading thread."""
        self._complete = complete
        self._status = status
        self.stdin.end()
        self._exit.finish()
        self._settle()

    def lost(self, error: LinkError) -> None:
        """The link is gone; called by the thread that found out."""
        if self._status is None:
            self._error = error
        self.stdin.end(error)
        self.stdout.end(error)
        self.stderr.end(error)
        self._exit.finish()

    def _settle(self) -> None:
        """Let the link forget it once nothing of it can arrive any more."""
        if self._exit.done and self.stdout.over and self.stderr.over:
            self._link.forget_process(self._number)


@dataclass
class _Lines:
    """Bytes on their way to lines."""

    _rest: list[bytes] = field(default_factory=list)
    _size: int = 0

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The lines that are whole now, and what is too long for one."""
        first, *more = data.split(b"\n")
        self._keep(first)
        for piece in more:
            yield self._take()
            self._keep(piece)
        if self._size >= MAX_LINE:
            yield self._take()

    def rest(self) -> Iterator[bytes]:
        """What follows the last line end."""
        if self._size:
            yield self._take()

    def _keep(self, piece: bytes) -> None:
        self._rest.append(piece)
        self._size += len(piece)

    def _take(self) -> bytes:
        line = b"".join(self._rest)
        self._rest.clear()
        self._size = 0
        return line


def begin(
    link: Link,
    command: CommandLine,
    options: StartOptions,
    stdin: bytes | Literal["open"] = "open",
    timeout: float | None = START_TIMEOUT,
) -> tuple[RemoteProcess, Call]:
    """Ask for a process without waiting for the answer; its input may follow at once.

    Args:
        link: The link.
        command: An argument list, or a text for ``/bin/sh -c``.
        options: How it is started.
        stdin: All of its input, or that it is to be written.
        timeout: Seconds for sending the part of the program that starts processes.
    """
    line = command_line(command)
    plain = options.plain(stdin)
    link.load("process", timeout)
    if options.pty is not None:
        link.load("terminal", timeout)
    nonce = secrets.token_hex(16)
    # Known before it is started: its output may come before the answer.
    process = link.new_process(
        lambda number: RemoteProcess(link, number, nonce, pty=options.pty is not None, stdin=stdin == "open")
    )
    if options.merge or options.pty:
        process.stderr.end()
    try:
        return process, link.submit_service("process.start", process._number, line, plain, nonce)  # noqa: SLF001
    except BaseException as error:
        if not isinstance(error, Exception):
            # Whether it was asked for is unknown: then it is not to run, or not for long.
            process.kill_soon()
        link.forget_process(process._number)  # noqa: SLF001
        raise


def start(link: Link, command: CommandLine, options: StartOptions) -> RemoteProcess:
    """Start a process that the link owns."""
    process, call = begin(link, command, options)
    try:
        process.pid = int(call.result(START_TIMEOUT))
    except BaseException as error:
        if isinstance(error, CallTimeout) or not isinstance(error, Exception):
            # Whether it runs is unknown, and nobody will ask for it.
            process.kill_soon()
        link.forget_process(process._number)  # noqa: SLF001
        raise
    return process


def run_to_end(
    link: Link, command: CommandLine, options: StartOptions, stdin: bytes, timeout: float | None
) -> RunResult:
    """Start a process, feed it, collect its output and wait for its end.

    Raises:
        ProcessTimeout: It took longer than `timeout` seconds, and was killed.
    """
    started = time.monotonic()
    deadline = Deadline.after(timeout)
    whole = len(stdin) <= PIECE
    process, call = begin(link, command, options, stdin if whole else "open", timeout)
    return finish(link, process, None if whole else stdin, started, deadline, call)


def finish(
    link: Link,
    process: RemoteProcess,
    stdin: bytes | None,
    started: float,
    deadline: Deadline,
    call: Call | None = None,
) -> RunResult:
    """Feed a process, collect its output and wait for its end.

    Args:
        link: The link.
        process: The process.
        stdin: Its input, None when it has had that.
        started: When it was asked for, on the monotonic clock.
        deadline: When it must have ended.
        call: The question that started it, when it is not answered yet.

    Raises:
        ProcessTimeout: It took longer, and was killed.
    """
    try:
        process.stdout.collect()
        process.stderr.collect()
        if stdin is not None:
            # Like a local pipe to a program that does not read all of it: the status tells what it thinks of that.
            with suppress(BrokenPipeError):
                process.write(stdin, deadline.remaining())
            process.close_stdin()
        status = process.wait(deadline.remaining())
        if call is not None:
            # The end of one that was never started is told as well; this says why.
            call.result(deadline.remaining())
        for stream in (process.stdout, process.stderr):
            stream.wait_for_end(deadline)
    except CallTimeout:
        raise _timed_out(process, (deadline.at or started) - started) from None
    except LinkError:
        raise
    except BaseException as error:
        if not isinstance(error, Exception):
            # Ctrl-C or a timeout of the test: nobody will wait for it any more, so nothing of it may stay.
            process.kill_soon()
        link.forget_process(process._number)  # noqa: SLF001
        raise
    duration = time.monotonic() - started
    return RunResult(status, process.stdout.collected(), process.stderr.collected(), duration, process.complete)


def _timed_out(process: RemoteProcess, timeout: float) -> CallTimeout:
    """Kill what took too long and say what became of it."""
    alive = _killed(process)
    if alive is None:
        fate = "the target is silent: it and its children are killed as soon as it is back"
    elif alive:
        fate = f"processes {', '.join(map(str, alive))} could not be killed"
    else:
        fate = "it and its children were killed"
    error = ProcessTimeout(
        f"the command took longer than {timeout:g} s; {fate}", doing="running a command", advice="give it more time"
    )
    error.host = process._link.host  # noqa: SLF001
    error.partial = (process.stdout.collected(), process.stderr.collected())
    error.alive = alive or ()
    error.fate = fate
    return error


def _killed(process: RemoteProcess) -> tuple[int, ...] | None:
    """Kill a process and its children; what is alive all the same, None when the target is too silent to tell."""
    link = process._link  # noqa: SLF001
    call = link.submit_service("process.kill", process._number, KILL_GRACE, process._nonce)  # noqa: SLF001
    deadline = Deadline.after(KILL_GRACE + KILL_TIMEOUT)
    while not link.engine.wait(call, deadline.sooner(_LOOK_EVERY)):
        if link.engine.in_doubt() or deadline.expired:
            return None
    return tuple(int(pid) for pid in call.result(0))
