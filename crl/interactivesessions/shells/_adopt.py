"""Making a shell that has just come up in a terminal into one that is known, or refusing it.

It knows a pexpect-like terminal and the lines of `_lines`; not how the shell was started. It promises that after
`Adoption.run` the shell answered a nonce, a status and its prompt exactly, and otherwise raises with what was seen.
"""

from __future__ import annotations

import contextlib
import re
from typing import Any, Final

import pexpect

from crl.deadlines import Deadline
from crl.interactivesessions.interactivesessionexceptions import ShellStartError, ShellStateError
from crl.interactivesessions.shells._lines import (
    CHECK_STATUS,
    POSIX_KINDS,
    kind_of,
    probe_line,
    replacing_line,
    setup_line,
)
from crl.interactivesessions.shells._prompt import Nonce, ShellPrompt
from crl.secrets import redact

__all__ = ["Adoption"]

_QUIET: Final = 0.06
_FIRST_OUTPUT: Final = 1.0
_FIRST_ANSWER: Final = 1.0
_ASKS: Final = re.compile(r"(?i)(pass ?word|passphrase|passcode|\bPIN\b|verification code)[^\n]{0,80}[:?] ?\Z")
_LINE_END: Final = re.compile(rb"\A\r?\n\Z")
_TAIL: Final = 2000


class Adoption:
    """One attempt to get to know a shell.

    Args:
        terminal: Where it has been started.
        prompt: The prompt it shall get.
        deadline: When the attempt ends.
        what: The shell's description, for errors.
        host: The host's name, for errors.
        parent: The prompt of the shell it was started from: when that comes, this one has ended.
        echo: Whether the terminal shall echo.
    """

    def __init__(
        self,
        terminal: Any,
        *,
        prompt: ShellPrompt,
        deadline: Deadline,
        what: str,
        host: str,
        parent: ShellPrompt | None = None,
        echo: bool = False,
    ) -> None:
        self._terminal = terminal
        self._prompt = prompt
        self._deadline = deadline
        self._what = what
        self._host = host
        self._parent = parent
        self._echo = echo
        self._seen = bytearray()
        self.kind = ""
        """The name of the shell, after `run`."""

    def run(self, kind: str | None = None) -> str:
        """Make the shell known.

        Args:
            kind: What shell it is, when that has been announced; otherwise it is asked.

        Returns:
            What it printed before it was known: banners and the like.

        Raises:
            ShellStartError: It did not start or has ended; the text says what it printed.
            ShellStateError: It does not answer as a shell.
        """
        banner = ""
        if kind is None:
            banner = self._settle()
            kind = self.identify()
        if kind not in POSIX_KINDS:
            kind = self._replace(kind)
        self._set_up(kind)
        self.kind = kind
        return banner

    def _settle(self) -> str:
        """Read what the shell prints at its start, until it is silent for a moment."""
        wait = min(_FIRST_OUTPUT, self._left())
        parent = self._parent.text if self._parent else None
        while not self._deadline.expired:
            try:
                self._seen += self._terminal.read_nonblocking(65536, wait)
            except pexpect.TIMEOUT:
                break
            except pexpect.EOF:
                raise self._not_started(bytes(self._seen)) from None
            if parent and parent in self._seen:
                raise self._not_started(bytes(self._seen).partition(parent)[0])
            wait = _QUIET
        text = _decode(self._seen)
        if _ASKS.search(text):
            raise ShellStartError(
                "it asks for something that was not expected",
                host=self._host,
                doing=self._doing(),
                advice="use SudoShell or SshShell with a password",
                transcript=text[-_TAIL:],
            )
        return text

    def identify(self) -> str:
        """Ask which shell it is, again and again until it answers: a starting shell may throw away what was typed."""
        wait = _FIRST_ANSWER
        while True:
            nonce = Nonce()
            self._type(probe_line(nonce))
            if self._await(nonce.bytes + b":", min(wait, self._left())):
                return self._rest_of_announcement()
            if self._deadline.expired:
                raise self._silent()
            wait *= 2

    def begun(self, nonce: Nonce) -> None:
        """Wait until a start script says that it runs what comes before the shell."""
        if not self._await(nonce.bytes, self._left()):
            raise self._silent()

    def announced(self, nonce: Nonce) -> str:
        """Wait for ``<nonce>:<kind>:`` of a start script; the kind."""
        if not self._await(nonce.bytes + b":", self._left()):
            raise self._silent()
        return self._rest_of_announcement()

    def _rest_of_announcement(self) -> str:
        if not self._await(b":", self._left()):
            raise self._silent()
        return kind_of(_decode(self._terminal.before))

    def _replace(self, kind: str) -> str:
        """Put a plain bash or sh in the place of a shell that is not POSIX-like."""
        nonce = Nonce()
        self._type(replacing_line(nonce))
        if not self._await(nonce.bytes + b":", self._left()):
            raise ShellStateError(
                f"the shell is {kind or 'unknown'}, and it could not be replaced by bash or sh",
                host=self._host,
                doing=self._doing(),
                transcript=self._tail(),
            )
        return self._rest_of_announcement()

    def _set_up(self, kind: str) -> None:
        nonce = Nonce()
        self._type(setup_line(kind, self._prompt, nonce, echo=self._echo))
        if not (self._await(nonce.bytes, self._left()) and self._await(self._prompt.text, self._left())):
            raise self._silent()
        if not self._is_exact() and not self._asked_again():
            raise ShellStateError(
                "it does not answer exactly: something else writes into its terminal, or its prompt does not expand",
                host=self._host,
                doing=self._doing(),
                transcript=self._tail(),
            )

    def _is_exact(self, *, status: int = CHECK_STATUS) -> bool:
        """Whether, between the nonce and the prompt, there was a line's end and the status only."""
        before = bytes(self._terminal.before)
        match = self._prompt.status_pattern.search(before)
        seen = getattr(self._terminal, "last_status", None)
        if match is not None:
            before, seen = before[: match.start()], int(match.group(1))
        return bool(_LINE_END.match(before)) and seen == status

    def _asked_again(self) -> bool:
        """Ask once more: a message of the kernel or of somebody's ``wall`` may have come in between."""
        nonce = Nonce()
        with contextlib.suppress(pexpect.TIMEOUT):  # silence is what is waited for
            while not self._deadline.expired:
                self._terminal.read_nonblocking(65536, min(_QUIET, self._left()))
        self._type(f"echo {nonce.quoted}")
        return (
            self._await(nonce.bytes, self._left())
            and self._await(self._prompt.text, self._left())
            and self._is_exact(status=0)
        )

    def _await(self, expected: bytes, timeout: float) -> bool:
        """Wait for a text; False when it does not come in time, an error when the shell is gone."""
        patterns = [expected] if self._parent is None else [expected, self._parent.text]
        try:
            index = self._terminal.expect_exact(patterns, timeout=timeout)
        except pexpect.TIMEOUT:
            return False
        except pexpect.EOF:
            raise self._not_started(bytes(self._seen) + bytes(self._terminal.before or b"")) from None
        if index == 1:
            raise self._not_started(bytes(self._seen) + bytes(self._terminal.before))
        return True

    def _type(self, line: str) -> None:
        try:
            self._terminal.sendline(line)
        except pexpect.EOF:
            raise self._not_started(bytes(self._seen)) from None

    def _left(self) -> float:
        left = self._deadline.remaining()
        return 60.0 if left is None else left

    def _doing(self) -> str:
        return f"starting {self._what}"

    def _tail(self) -> str:
        tail = getattr(self._terminal, "tail", None)
        return str(tail()) if callable(tail) else redact(_decode(self._terminal.before or b"")[-_TAIL:])

    def _not_started(self, seen: bytes) -> ShellStartError:
        status = self._status_of(seen)
        if self._parent is not None:
            seen = self._parent.status_pattern.sub(b"", seen)
        side = getattr(self._terminal, "drain_sides", None)
        text = _decode(seen) + (_decode(side()) if callable(side) else "")
        text = re.sub(r"\r\n?", "\n", text).strip()
        lines = [line for line in text.splitlines() if line.strip()]
        return ShellStartError(
            f"it did not start, or ended at once{status}: {redact(lines[-1]) if lines else 'it printed nothing'}",
            host=self._host,
            doing=self._doing(),
            transcript=text[-_TAIL:],
        )

    def _status_of(self, seen: bytes) -> str:
        """The exit status of what ended, as words, where the parent's prompt or the program tells it."""
        if self._parent is None:
            end_status = getattr(self._terminal, "end_status", None)
            code = None if end_status is None else end_status()
        else:
            match = self._parent.status_pattern.search(seen)
            code = int(match.group(1)) if match else getattr(self._terminal, "last_status", None)
        return "" if code is None else f" (exit status {code})"

    def _silent(self) -> ShellStateError:
        return ShellStateError(
            "it did not answer in time",
            host=self._host,
            doing=self._doing(),
            advice="look at what it printed last; a shell is needed, not a menu or another program",
            transcript=self._tail(),
        )


def _decode(data: bytes | bytearray) -> str:
    return bytes(data).decode("utf-8", "backslashreplace")
