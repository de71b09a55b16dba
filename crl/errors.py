"""The exception tree of crl.

Every error of every layer derives from `CrlError` through one of three roots that say who has to act: the caller's
code (`UsageError`), the world outside (`RemoteWorldError`) or ourselves (`InternalError`). This module knows no other
part of crl but the secrets it keeps out of messages, and promises that each error can be pickled and printed.
"""

from __future__ import annotations

from typing import Any

from crl.secrets import redact

__all__ = ["CrlError", "InternalError", "RemoteWorldError", "UsageError", "WrongArgument"]

TRANSCRIPT_LINES = 12


class CrlError(Exception):
    """Base of all errors of crl.

    Args:
        message: Why it failed, in one sentence.
        host: Name of the target concerned.
        hop: The hop on the way to the target where it failed, when that is not the target itself.
        doing: What was being done, for example ``"logging in"``.
        advice: What the reader can do next, with the exact command or line where there is one.
        transcript: The tail of what was seen on the channel; secrets are removed from it here.
    """

    def __init__(
        self,
        message: object = "",
        *args: object,
        host: str | None = None,
        hop: str | None = None,
        doing: str | None = None,
        advice: str | None = None,
        transcript: str = "",
    ) -> None:
        super().__init__(message, *args)
        self.host = host
        self.hop = hop
        self.doing = doing
        self.advice = advice
        self.transcript = "\n".join(redact(transcript).splitlines()[-TRANSCRIPT_LINES:])

    @property
    def message(self) -> str:
        """Why it failed, without host, advice and transcript."""
        return redact(str(self.args[0])) if self.args else ""

    def __str__(self) -> str:
        place = " via ".join(part for part in (self.host, self.hop) if part and part != "")
        head = ": ".join(part for part in (place, self.doing, self.message) if part)
        lines = [head or type(self).__name__]
        if self.advice:
            lines.append(f"What to do: {self.advice}")
        if self.transcript:
            lines.append("Last seen:")
            lines.extend(f"  | {line}" for line in self.transcript.splitlines())
        return "\n".join(lines)

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.args, self.__dict__.copy())


def _rebuild(cls: type[CrlError], args: tuple[Any, ...], state: dict[str, Any]) -> CrlError:
    """Make an error again after pickling, whatever arguments its class takes."""
    error = cls.__new__(cls, *args)
    Exception.__init__(error, *args)
    error.__dict__.update(state)
    return error


class UsageError(CrlError):
    """The caller's code is wrong: an argument, an order of calls, a closed object."""


class WrongArgument(UsageError, TypeError):
    """An argument is not of the kind that it has to be; nothing was done."""


class RemoteWorldError(CrlError):
    """The world outside is not as it has to be: host, login, shell, link, target or X2Go session."""


class InternalError(CrlError):
    """A bug of crl itself; please report it with the text of this error."""
