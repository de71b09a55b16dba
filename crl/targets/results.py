"""What commands on a target come to: results, and the errors that are made of them.

This module knows texts only; it promises that the command in an error is shown without secrets and that errors carry
what the command said.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import Any

from crl.errors import RemoteWorldError
from crl.link.given import CommandLine, command_line
from crl.secrets import redact

__all__ = ["BecomeRefused", "CommandFailed", "CommandTimeout", "ConnectTimeout", "RebootFailed", "RunResult", "shown"]

SHOWN_LENGTH = 300
STDERR_LINES = 12


@dataclass(frozen=True)
class RunResult:
    """What a command did.

    Attributes:
        status: Exit status; negative for the signal that ended it.
        stdout: Its output as UTF-8 text; other bytes become lone surrogates, see `stdout_bytes`.
        stderr: Its error output, likewise.
        duration: Seconds from the request to the end.
        complete: False when a process it left behind still held the output open.
    """

    status: int
    stdout: str
    stderr: str
    duration: float
    complete: bool = True

    @property
    def ok(self) -> bool:
        """Whether the status is 0."""
        return self.status == 0

    @property
    def stdout_bytes(self) -> bytes:
        """The output byte for byte."""
        return self.stdout.encode("utf-8", "surrogateescape")

    @property
    def stderr_bytes(self) -> bytes:
        """The error output byte for byte."""
        return self.stderr.encode("utf-8", "surrogateescape")

    def __repr__(self) -> str:
        parts = [f"status={self.status}"]
        for name in ("stdout", "stderr"):
            text = redact(getattr(self, name))
            if text:
                parts.append(f"{name}={text[:SHOWN_LENGTH]!r}" + ("…" if len(text) > SHOWN_LENGTH else ""))
        return f"<RunResult {' '.join(parts)} in {self.duration:.3f} s>"


def shown(command: CommandLine) -> str:
    """A command as a line for texts: without secrets and not too long."""
    words = command_line(command)
    line = redact(words if isinstance(words, str) else shlex.join(words))
    return line if len(line) <= SHOWN_LENGTH else line[: SHOWN_LENGTH - 1] + "…"


class CommandFailed(RemoteWorldError):
    """A command ended with a status other than 0.

    Args:
        command: The command, as `shown` gives it.
        result: What it did.
        host: Where.
        context: As in `crl.errors.CrlError`.
    """

    def __init__(self, command: str, result: RunResult, *, host: str | None = None, **context: Any) -> None:
        context.setdefault("transcript", "\n".join(result.stderr.splitlines()[-STDERR_LINES:]))
        context.setdefault("doing", f"running {command}")
        super().__init__(command, result, host=host, **context)
        self.command = command
        self.result = result

    @property
    def message(self) -> str:
        """The status or signal."""
        status = self.result.status
        return f"the command was ended by signal {-status}" if status < 0 else f"the command ended with status {status}"


class CommandTimeout(RemoteWorldError):
    """A command took longer than its time; it was killed with all its children, or the text says what was not.

    Attributes:
        stdout: What it had put out until then.
        stderr: Likewise.
        alive: Process ids that could not be killed.
    """

    stdout: str = ""
    stderr: str = ""
    alive: tuple[int, ...] = ()


class BecomeRefused(RemoteWorldError):
    """The target does not let us run a command as the other user."""

    definite = True


class ConnectTimeout(RemoteWorldError):
    """The target could not be reached in time; nothing was sent of what was asked for."""


class RebootFailed(RemoteWorldError):
    """The target did not reboot, or did not come back in time."""
