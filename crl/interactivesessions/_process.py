"""Commands of `RemoteRunner`: one process of the link each, its result, its output while it runs, and its end.

This module knows the link's processes and nothing of targets and pools. It promises that a command costs one round
trip, that one which takes too long is ended with its whole process group, and that a process which cannot be ended is
named.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final, NamedTuple, NoReturn

from crl.deadlines import Deadline
from crl.errors import RemoteWorldError
from crl.interactivesessions._terminalcalls import TerminalCalls
from crl.link import CallTimeout, LinkLost, RemoteProcess

__all__ = ["BackgroundProcess", "FailedToKillProcess", "RunResult", "RunnerTimeout", "rstrip_runresult", "run", "start"]

_END_PATIENCE: Final = 5.0
_PROGRESS_LEVEL: Final = logging.INFO

logger = logging.getLogger("crl.interactivesessions.remoterunner")


class RunResult(NamedTuple):
    """What a command did.

    Attributes:
        status: Exit status as text, negative for the signal that ended it.
        stdout: Its output.
        stderr: Its error output.
    """

    status: str
    stdout: Any
    stderr: Any


class RunnerTimeout(RemoteWorldError):
    """A command took too long; it and its process group were killed, or the text names what could not be.

    The first argument is a `RunResult` with what it had written until then, in bytes.
    """

    @property
    def result(self) -> RunResult:
        """What the command had done until then."""
        result: RunResult = self.args[0]
        return result

    @property
    def message(self) -> str:
        """What happened, and the end of the output."""
        what = self.args[1] if len(self.args) > 1 else "the command took too long"
        status, stdout, stderr = self.result
        return f"{what}; status {status or 'unknown'}, output {stdout[-200:]!r}, errors {stderr[-200:]!r}"


class FailedToKillProcess(RemoteWorldError):
    """A process of a command is alive although it was killed.

    Args:
        pid: Its process id there.
        handle: What it was started for.
    """

    def __init__(self, pid: object = "", handle: object = "", **context: Any) -> None:
        super().__init__(pid, handle, **context)
        self.pid = pid
        self.handle = handle

    @property
    def message(self) -> str:
        """Which process, and what it was."""
        return f"process {self.pid} is alive although it was killed ({self.handle})"


def rstrip_runresult(result: RunResult) -> RunResult:
    """The same with texts, without white space at their ends; bytes that are no UTF-8 are shown escaped."""
    return RunResult(str(result.status), _text(result.stdout), _text(result.stderr))


def _text(data: Any) -> str:
    return (data.decode("utf-8", "backslashreplace") if isinstance(data, bytes) else str(data)).rstrip()


class BackgroundProcess:
    """A command under way on a target.

    Args:
        terminal: The terminal whose link it is on.
        process: The process.
        command: What it was started for, for errors and the log.
        termination_timeout: Seconds between SIGTERM and SIGKILL.
    """

    def __init__(
        self, terminal: TerminalCalls, process: RemoteProcess, command: str, termination_timeout: float
    ) -> None:
        self._terminal = terminal
        self._process = process
        self._command = command
        self._termination_timeout = termination_timeout
        self._ending = threading.Lock()
        self._result: RunResult | None = None
        self._parts: tuple[list[bytes], list[bytes]] = ([], [])

    @property
    def pid(self) -> int:
        """Process id on the target; that of its process group too."""
        return self._process.pid

    def collect(self) -> None:
        """Keep all output here as it comes, for `wait`."""
        self._process.stdout.collect()
        self._process.stderr.collect()

    def wait(self, deadline: Deadline) -> RunResult:
        """Wait for the end; the result, with bytes.

        Raises:
            RunnerTimeout: The deadline came first; the process group was killed.
            RunnerTerminalSessionBroken: The session is lost, and the command with it.
        """
        with self._lost_is_broken():
            try:
                self._process.wait(deadline.remaining())
            except CallTimeout:
                self._time_out()
            except LinkLost:
                raise
            except BaseException:
                # Ctrl-C or the test's own timeout: nobody waits for the command any more.
                self._process.kill_soon()
                raise
        return self._finish()

    def _time_out(self) -> NoReturn:
        alive = self._end()
        what = "the command took too long"
        if alive:
            what += f" and processes {', '.join(map(str, alive))} could not be killed"
        raise RunnerTimeout(self._finish(), what, host=self._terminal.host, doing=self._command)

    def kill(self) -> RunResult:
        """End the process group: SIGTERM, then SIGKILL; the result, with bytes.

        Raises:
            FailedToKillProcess: A process of it is still there.
            RunnerTerminalSessionBroken: The session is lost, and the command with it.
        """
        with self._lost_is_broken():
            if self._process.status is None:
                alive = self._end()
                if alive:
                    raise FailedToKillProcess(alive[0], self._command, host=self._terminal.host, doing="killing")
        return self._finish()

    def _end(self) -> tuple[int, ...]:
        with self._ending:
            alive = self._process.kill(self._termination_timeout)
        if not alive:
            self._process.wait(_END_PATIENCE)
        return alive

    def _finish(self) -> RunResult:
        with self._ending:
            for part, stream in zip(self._parts, (self._process.stdout, self._process.stderr), strict=True):
                part.append(stream.collected())
            status = self._process.status
            stdout, stderr = (b"".join(part) for part in self._parts)
            self._parts = ([stdout], [stderr])
            self._result = RunResult("" if status is None else str(status), stdout, stderr)
            return self._result

    @contextmanager
    def _lost_is_broken(self) -> Iterator[None]:
        try:
            yield
        except LinkLost as error:
            self._terminal.raise_broken(error)

    def log_while_running(self, deadline: Deadline) -> RunResult:
        """As `wait`, writing each line of the output to the log when it comes; called instead of `collect`.

        The lines are logged by the calling thread, since Robot Framework takes none from others.
        """
        lines: queue.SimpleQueue[tuple[str, bytes] | None] = queue.SimpleQueue()
        streams = {"stdout": self._process.stdout, "stderr": self._process.stderr}
        readers = [
            threading.Thread(target=_read_lines, args=(name, stream, part, lines), name=f"crl-{name}", daemon=True)
            for (name, stream), part in zip(streams.items(), self._parts, strict=True)
        ]
        for reader in readers:
            reader.start()
        try:
            self._log_lines(lines, len(readers), deadline)
            return self.wait(deadline)
        finally:
            # Whatever came in between, the process is over or being ended, and with it its streams.
            if self._process.status is None:
                self._process.kill_soon()
            for reader in readers:
                reader.join(_END_PATIENCE)

    def _log_lines(
        self, lines: queue.SimpleQueue[tuple[str, bytes] | None], open_streams: int, deadline: Deadline
    ) -> None:
        while open_streams:
            try:
                found = lines.get(timeout=deadline.remaining())
            except queue.Empty:
                return  # `wait` sees the deadline too
            if found is None:
                open_streams -= 1
            else:
                name, line = found
                logger.log(_PROGRESS_LEVEL, "%s: (%s) %s", self._terminal.host, name, _text(line))


def _read_lines(name: str, stream: Any, part: list[bytes], lines: Any) -> None:
    """Read a stream to its end, in a thread of its own; a lost link is told by waiting for the process."""
    rest = b""
    try:
        while data := stream.read():
            part.append(data)
            *whole, rest = (rest + data).split(b"\n")
            for line in whole:
                lines.put((name, line))
    except LinkLost as error:
        logger.debug("%s ended: %s", name, error)
    if rest:
        lines.put((name, rest))
    lines.put(None)


def start(
    terminal: TerminalCalls,
    command: str,
    executable: str,
    env: Mapping[str, str | None],
    termination_timeout: float,
) -> BackgroundProcess:
    """Start a command.

    Args:
        terminal: An open terminal.
        command: The text that the shell runs.
        executable: The shell there.
        env: Changes to its environment.
        termination_timeout: Seconds that it gets to end itself when it is ended.

    Raises:
        FileNotFoundError: There is no such shell.
        RunnerTerminalSessionBroken: The session is lost.
    """
    try:
        process = terminal.link.start_process([executable, "-c", command], env=dict(env) or None)
        process.close_stdin()
    except LinkLost as error:
        terminal.raise_broken(error)
    return BackgroundProcess(terminal, process, command, termination_timeout)


def run(background: BackgroundProcess, deadline: Deadline, *, progress_log: bool) -> RunResult:
    """Wait for a command that was just started, with its output in the log when that is asked for."""
    if progress_log:
        return background.log_while_running(deadline)
    background.collect()
    return background.wait(deadline)
