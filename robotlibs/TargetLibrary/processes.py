"""A process that a suite has started, as an object for Robot Framework's variables.

It stands on the link's process and adds what a suite wants to see: a name, text instead of bytes, one result.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Protocol

from crl.errors import RemoteWorldError
from crl.targets import RunResult
from crl.targets.results import shown

__all__ = ["Running", "StartedProcess"]


class Output(Protocol):
    """One of a process's outputs."""

    def collect(self) -> None:
        """Keep all that comes."""

    def collected(self) -> bytes:
        """Take all that has come since the last time."""


class Running(Protocol):
    """What is used of the link's process."""

    pid: int
    complete: bool

    @property
    def stdout(self) -> Output: ...  # noqa: D102

    @property
    def stderr(self) -> Output: ...  # noqa: D102

    @property
    def status(self) -> int | None: ...  # noqa: D102

    def write(self, data: bytes, timeout: float | None = None) -> None: ...  # noqa: D102
    def close_stdin(self) -> None: ...  # noqa: D102
    def send_signal(self, signum: int) -> bool: ...  # noqa: D102
    def wait(self, timeout: float | None = None) -> int: ...  # noqa: D102
    def kill(self, grace: float = ...) -> tuple[int, ...]: ...  # noqa: D102


class StartedProcess:
    """A process on a target.

    Args:
        process: The link's process.
        command: What was started.
        host: Where.
    """

    def __init__(self, process: Running, command: str | Sequence[str], host: str) -> None:
        self._process = process
        self._started = time.monotonic()
        self._read = {"stdout": b"", "stderr": b""}
        self.command = shown(command)
        self.host = host
        # Whatever it writes is taken, so that it never stands still because nobody reads.
        process.stdout.collect()
        process.stderr.collect()

    def __repr__(self) -> str:
        how = "running" if self.status is None else f"ended with {self.status}"
        return f"<Process {self.command!r} pid {self.pid} on {self.host}: {how}>"

    @property
    def pid(self) -> int:
        """Its number on the target."""
        return self._process.pid

    @property
    def status(self) -> int | None:
        """Exit status, negative for a signal; None while it runs."""
        return self._process.status

    @property
    def stdout(self) -> str:
        """Its output until now."""
        return self._text("stdout", self._process.stdout)

    @property
    def stderr(self) -> str:
        """Its error output until now."""
        return self._text("stderr", self._process.stderr)

    def _text(self, name: str, output: Output) -> str:
        self._read[name] += output.collected()
        return self._read[name].decode("utf-8", "surrogateescape")

    def write(self, data: bytes, timeout: float) -> None:
        """Write to its input."""
        self._process.write(data, timeout)

    def end_input(self) -> None:
        """End its input; in a terminal, press Ctrl-D."""
        self._process.close_stdin()

    def send_signal(self, signum: int) -> bool:
        """Send a signal to its process group; False when it has ended."""
        return self._process.send_signal(signum)

    def wait(self, timeout: float | None) -> RunResult:
        """Wait for its end.

        Raises:
            crl.link.CallTimeout: It still runs.
        """
        status = self._process.wait(timeout)
        return RunResult(status, self.stdout, self.stderr, time.monotonic() - self._started, self._process.complete)

    def stop(self, grace: float, timeout: float) -> RunResult:
        """End it and all its children with TERM, and KILL after `grace` seconds.

        Raises:
            RemoteWorldError: Something of it could not be killed.
        """
        alive = self._process.kill(grace)
        if alive:
            left = ", ".join(map(str, alive))
            raise RemoteWorldError(
                f"processes {left} could not be killed", host=self.host, doing=f"ending {self.command}"
            )
        return self.wait(timeout)
