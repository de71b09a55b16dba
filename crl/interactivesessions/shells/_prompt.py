"""The prompt of a shell that we have set up: a nonce that no output can contain by chance, with the exit status in it.

It knows how shells expand a prompt and no more. It promises that the text which is typed to set the prompt never
contains the prompt itself, so that neither an echo nor ``set`` nor the history can be mistaken for one.
"""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass, field
from typing import Final

__all__ = ["SOMEBODYS_PROMPT", "Nonce", "ShellPrompt"]

# What a prompt that nobody has set for us ends with; zsh switches colours and keypad behind it.
SOMEBODYS_PROMPT: Final = re.compile(r"[#$%>] ?(?:\x1b(?:\[[0-9;?]*[a-zA-Z]|[=>]))*\Z")

_EMPTY_EXPANSION: Final = "${crl_-}"
_HALF: Final = 8


class Nonce:
    """A text that appears once: in an answer, never in what was typed to get it."""

    def __init__(self) -> None:
        self.text: Final = uuid.uuid4().hex

    @property
    def bytes(self) -> bytes:
        """The nonce as it comes back."""
        return self.text.encode("ascii")

    @property
    def quoted(self) -> str:
        """The nonce as it is typed: every shell known joins the halves (``ab''cd``)."""
        return f"{self.text[:_HALF]}''{self.text[_HALF:]}"

    @property
    def quoted_inside(self) -> str:
        """As `quoted`, for use inside a single-quoted script that a POSIX shell will read (``ab""cd``)."""
        return f'{self.text[:_HALF]}""{self.text[_HALF:]}'


@dataclass(frozen=True)
class ShellPrompt:
    """One shell's own prompt: ``<mark><status><text>``, and the one for an unfinished command.

    Args:
        mark: What stands before the status.
        end: The fixed end; what `Shell.get_prompt` returns.
        more: Shown when the shell waits for the rest of a command.
    """

    mark: str = field(default_factory=lambda: uuid.uuid4().hex[:12])
    end: str = field(default_factory=lambda: uuid.uuid4().hex)
    more: str = field(default_factory=lambda: uuid.uuid4().hex)

    @property
    def text(self) -> bytes:
        """The fixed end as bytes."""
        return self.end.encode("ascii")

    @property
    def more_text(self) -> bytes:
        """The prompt for the rest of a command, as bytes."""
        return self.more.encode("ascii")

    @property
    def status_pattern(self) -> re.Pattern[bytes]:
        """Matches mark and status at the end of what precedes `text`."""
        return re.compile(self.mark.encode("ascii") + rb"(\d{1,10})\Z")

    def assignments(self) -> str:
        """The assignments that set the prompt in any POSIX-like shell; they do not contain it."""
        return f"PS1='{self.mark}$?{_split(self.end)}'; PS2='{_split(self.more)}'"


def _split(text: str) -> str:
    return f"{text[:_HALF]}{_EMPTY_EXPANSION}{text[_HALF:]}"
