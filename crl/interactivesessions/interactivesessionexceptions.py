"""The errors of sessions and shells, at the import path where users of the published package catch them.

It knows the error tree of crl and pexpect's two exceptions, and nothing of shells themselves. Every error here is an
`InteractiveSessionError`, so that one ``except`` catches whatever a shell can raise.
"""

from __future__ import annotations

import pexpect

from crl.errors import RemoteWorldError

__all__ = [
    "InteractiveSessionError",
    "ShellEnded",
    "ShellStartError",
    "ShellStateError",
    "UnexpectedPrompt",
    "UnknownShellState",
]


class InteractiveSessionError(RemoteWorldError):
    """Base of all errors of sessions and shells."""


class ShellStartError(InteractiveSessionError):
    """A shell could not be started: no such program, refused, or it ended at once."""


class ShellStateError(InteractiveSessionError):
    """A shell does not answer exactly, so nothing more is typed into it; the text shows the tail of what was seen."""


class ShellEnded(InteractiveSessionError, pexpect.EOF):
    """The shell, or the connection under it, has ended while it was in use."""


class UnexpectedPrompt(InteractiveSessionError):
    """The terminal shows another prompt than the shell's.

    Args:
        received: What came.
        expected: The shell's prompt, or list of prompts.
    """

    def __init__(self, received: object, expected: object) -> None:
        super().__init__(received, expected)
        self.received_prompt = received
        self.expected_prompt = expected

    def __str__(self) -> str:
        return f"the terminal answered {self.received_prompt!r} instead of the prompt {self.expected_prompt!r}"


class UnknownShellState(InteractiveSessionError):
    """`InteractiveSession.pop_until` did not reach the shell that was asked for."""
