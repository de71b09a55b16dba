"""The login dialogue of terminals that ask for user name and password themselves: telnet and serial lines.

It knows a pexpect-like terminal and what getty and login print. It promises that name and password are each sent at
most once, each to its own question, and that every login ends by its deadline.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

import pexpect

from crl.deadlines import Deadline
from crl.interactivesessions.interactivesessionexceptions import InteractiveSessionError
from crl.interactivesessions.shells._prompt import SOMEBODYS_PROMPT, ShellPrompt
from crl.secrets import Secret, redact

__all__ = ["ConsoleLogin", "ConsoleLoginError"]

_QUIET: Final = 0.3
_FIRST_SILENCE: Final = 0.7
_WAKE_AFTER: Final = 2.0
_TAIL: Final = 2000
_NAME: Final = re.compile(r"(?i)(?:login|user ?name|user)[^\n:]{0,20}: ?\Z")
_PASSWORD: Final = re.compile(r"(?i)pass ?(?:word|code)[^\n:]{0,40}: ?\Z")
_REFUSED: Final = re.compile(r"(?i)login incorrect|login failed|authentication failure|access denied|permission denied")


class ConsoleLoginError(InteractiveSessionError):
    """A login at a telnet server or on a serial line failed.

    Args:
        definite: Whether trying again cannot help, as with a wrong password.
    """

    def __init__(self, message: object = "", *args: object, definite: bool = True, **details: Any) -> None:
        super().__init__(message, *args, **details)
        self.definite = definite


@dataclass
class ConsoleLogin:
    """One login.

    Args:
        terminal: Where it takes place.
        username: The name; None when none is asked for.
        password: The password; None when none is asked for.
        host: The host's name for errors.
        what: What is started, for errors.
        parent: The prompt of the shell that runs the client; when it comes, the client has ended.
    """

    terminal: Any
    username: str | None
    password: Secret | None
    host: str
    what: str
    parent: ShellPrompt | None = None

    def __post_init__(self) -> None:
        self._seen = ""
        self._since = ""
        self._name_sent = self._password_sent = False

    def run(self, deadline: Deadline, *, wake: bool = False) -> None:
        """Get through to a shell.

        Args:
            deadline: When it has to be there.
            wake: Whether to press Enter while nothing is asked.

        Raises:
            ConsoleLoginError: It was refused, or nobody answered.
        """
        silence = deadline.sooner(_FIRST_SILENCE)
        while True:
            while not silence.expired:
                data = self._read()
                if data is not None:
                    self._take(data)
                elif self._since and self._answer():
                    return
            if deadline.expired:
                raise self._error("no shell came in time", definite=False)
            # Never while an answer of ours is considered: Enter would be the next one.
            if wake and not (self._name_sent or self._password_sent):
                self.terminal.sendline()
            silence = deadline.sooner(_WAKE_AFTER)

    def _read(self) -> bytes | None:
        """What comes; None after a moment of silence."""
        try:
            data: bytes = self.terminal.read_nonblocking(65536, _QUIET)
        except pexpect.TIMEOUT:
            return None
        except pexpect.EOF:
            raise self._error("the connection was closed", definite=False) from None
        return data

    def _take(self, data: bytes) -> None:
        text = data.decode("utf-8", "replace").replace("\r", "")
        self._seen = (self._seen + text)[-_TAIL:]
        self._since = (self._since + text)[-_TAIL:]
        if self._name_sent and _REFUSED.search(self._since):
            raise self._error("name or password were not accepted; they are not tried again")
        if self.parent is not None and self.parent.end in self._seen:
            raise self._error("the client has ended", definite=False)

    def _answer(self) -> bool:
        """Answer the question that was asked last, if one was; whether a shell is there."""
        last = self._since.rpartition("\n")[2]
        if _PASSWORD.search(last):
            if self.password is None or self._password_sent:
                raise self._error(
                    "it asks for a password again" if self._password_sent else "it asks for a password, none was given"
                )
            self._password_sent, self._since = True, ""
            self.terminal.send_secret(self.password)
        elif _NAME.search(last):
            if self.username is None or self._name_sent:
                raise self._error(
                    "it asks for a name again" if self._name_sent else "it asks for a user name, none was given"
                )
            self._name_sent, self._since = True, ""
            self.terminal.sendline(self.username)
        return SOMEBODYS_PROMPT.search(self._since.rpartition("\n")[2]) is not None

    def _error(self, why: str, *, definite: bool = True) -> ConsoleLoginError:
        return ConsoleLoginError(
            why,
            host=self.host,
            doing=f"logging in by {self.what}",
            advice="check username= and password=, and what the host shows at its login",
            transcript=redact(self._seen),
            definite=definite,
        )
