"""Processes of the target, from the controller's side: started, fed, read while they run, signalled and ended.

A process that a `RemoteProcess` stands for is owned by the link: when the link ends, it and all its children end. It
knows nothing of shells; a text is given to ``/bin/sh -c`` on the target, a list is executed as it is.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from crl.deadlines import Deadline
from crl.link._engine import Waiter
from crl.link.errors import CallTimeout, LinkError, LinkLost
from crl.link.streams import InputStream, OutputStream

if TYPE_CHECKING:
    from crl.link.link import Link

__all__ = ["CommandLine", "Environment", "ProcessTimeout", "RemoteProcess", "RunResult"]

CommandLine = str | Sequence[str]
Environment = Mapping[str, str | None]

KILL_GRACE = 2.0
KILL_TIMEOUT = 15.0


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


class ProcessTimeout(CallTimeout):
    """A command took too long; it and its children were killed.

    Attributes:
        partial: Output and error output so far.
        alive: Process ids that could not be killed.
    """

    partial: tuple[bytes, bytes] = (b"", b"")
    alive: tuple[int, ...] = ()


class RemoteProcess:
    """One process on the target; made by `Link.start_process`."""

    def __init__(self, link: Link, number: int, pid: int, nonce: str) -> None:
        self._link = link
        self._number = number
        self._nonce = nonce
        self._exit = Waiter()
        self._status: int | None = None
        self._error: LinkError | None = None
        self.pid = pid
        self.complete = True
        self.stdin = OutputStream(link, number)
        self.stdout = InputStream(link, number + 1)
        self.stderr = InputStream(link, number + 2)

    @property
    def status(self) -> int | None:
        """Exit status, negative for a signal; None while it runs."""
        return self._status

    def write(self, data: bytes, timeout: float | None = None) -> None:
        """Write to its standard input, waiting until the target takes it; see `OutputStream.write`."""
        self.stdin.write(data, timeout)

    def close_stdin(self) -> None:
        """End its standard input."""
        self.stdin.close()

    def read_stdout(self, timeout: float | None = None) -> bytes:
        """The next bytes of its output, as soon as there are some; ``b""`` at the end."""
        return self.stdout.read(timeout)

    def read_stderr(self, timeout: float | None = None) -> bytes:
        """The next bytes of its error output, as soon as there are some; ``b""`` at the end."""
        return self.stderr.read(timeout)

    def lines(self, timeout: float | None = None) -> Iterator[bytes]:
        """The lines of its output while they come, without line ends.

        Args:
            timeout: Seconds to wait for each piece of output.
        """
        rest = b""
        while data := self.stdout.read(timeout):
            *whole, rest = (rest + data).split(b"\n")
            yield from whole
        if rest:
            yield rest

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

    def kill(self, grace: float = KILL_GRACE) -> tuple[int, ...]:
        """End it and all its children, those that left its process group too.

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

    def exited(self, complete: bool, status: int) -> None:
        """It has ended; called by the reading thread."""
        self._status = status
        self.complete = complete
        self.stdin.end()
        self.stdout.end()
        self.stderr.end()
        self._exit.finish()

    def lost(self, error: LinkError) -> None:
        """The link is gone; called by the thread that found out."""
        self._error = error
        self.stdin.end(error)
        self.stdout.end(error)
        self.stderr.end(error)
        self._exit.finish()


def new_nonce() -> str:
    """What marks the environment of one process and its children."""
    return secrets.token_hex(16)


def run_to_end(process: RemoteProcess, stdin: bytes, timeout: float | None) -> RunResult:
    """Feed a process, collect its output and wait for its end.

    Raises:
        ProcessTimeout: It took longer than `timeout` seconds, and was killed.
    """
    started = time.monotonic()
    deadline = Deadline.after(timeout)
    process.stdout.collect()
    process.stderr.collect()
    try:
        # Like a local pipe to a program that does not read all of it: the status tells what it thinks of that.
        with suppress(BrokenPipeError):
            process.write(stdin, deadline.remaining())
        process.close_stdin()
        status = process.wait(deadline.remaining())
    except CallTimeout:
        raise _timed_out(process, timeout) from None
    except LinkError:
        raise
    except BaseException:
        # Ctrl-C or a timeout of the test: nobody will wait for it any more, so nothing of it may stay.
        process.kill_soon()
        raise
    duration = time.monotonic() - started
    return RunResult(status, process.stdout.collected(), process.stderr.collected(), duration, process.complete)


def _timed_out(process: RemoteProcess, timeout: float | None) -> CallTimeout:
    """Kill what took too long and say what became of it."""
    alive = process.kill()
    gone = f"processes {', '.join(map(str, alive))} could not be killed" if alive else "it and its children were killed"
    error = ProcessTimeout(
        f"the command took longer than {timeout:g} s; {gone}", doing="running a command", advice="give it more time"
    )
    error.host = process._link.host  # noqa: SLF001
    error.partial = (process.stdout.collected(), process.stderr.collected())
    error.alive = alive
    return error
