"""A shell of another user of the same host, by sudo or su.

It is a `BashShell` whose start may ask for a password. It promises that the password is sent once, to sudo's own
question, which carries a nonce, and that nothing is typed before it is known that no question is open.
"""

from __future__ import annotations

import re
import shlex
from typing import Any, Final

import pexpect

from crl.channels import LocalPtyChannel
from crl.deadlines import Deadline
from crl.errors import UsageError
from crl.interactivesessions._spawn import ChannelSpawn
from crl.interactivesessions.interactivesessionexceptions import InteractiveSessionError
from crl.interactivesessions.shells._lines import COLUMNS, ROWS
from crl.interactivesessions.shells._prompt import SOMEBODYS_PROMPT, Nonce
from crl.interactivesessions.shells.bashshell import BashShell
from crl.interactivesessions.shells.registershell import RegisterShell
from crl.secrets import Secret, redact, to_secret

__all__ = ["SudoError", "SudoShell"]

_SHELLS: Final = frozenset({"bash", "sh", "dash", "zsh", "ksh"})
_OPTIONS_WITH_VALUE: Final = frozenset("CDghpRrTtUu")
_QUIET: Final = 0.3
_PATIENCE: Final = 10.0
_TAIL: Final = 2000
_ASKS: Final = re.compile(r"[:\uff1a?] ?\Z")
_SU_ASKS: Final = "Password: "


class SudoError(InteractiveSessionError):
    """The other user's shell could not be started: wrong or missing password, not allowed, no sudo.

    Args:
        definite: Whether trying again cannot help, as with a wrong password.
    """

    def __init__(self, message: object = "", *args: object, definite: bool = True, **details: Any) -> None:
        super().__init__(message, *args, **details)
        self.definite = definite


@RegisterShell()
class SudoShell(BashShell):
    """A shell by ``sudo`` or ``su``.

    Args:
        cmd: The command. With a plain shell behind sudo (``sudo bash``, ``sudo -u user bash``) that shell is made to
            announce itself, so that the end of the dialogue is exact; others (``sudo -i``, ``su -``) are recognized by
            the prompt that they show.
        password: The password that sudo or su asks for, a `str` or a `Secret`.
        init_env: As of `BashShell`.
        workdir: As of `BashShell`.
        start_timeout: As of `BashShell`.
    """

    def __init__(
        self,
        cmd: str = "sudo bash",
        password: str | Secret | None = None,
        *,
        init_env: str | None = None,
        workdir: str | None = None,
        start_timeout: float = 30.0,
    ) -> None:
        super().__init__(cmd, init_env=init_env, workdir=workdir, start_timeout=start_timeout)
        self._password = to_secret(password)
        try:
            self._words = shlex.split(cmd)
        except ValueError as error:
            raise UsageError(f"the command {cmd!r} cannot be read: {error}") from error
        if not self._words:
            raise UsageError("SudoShell needs a command")
        self._renew_nonces()

    def _renew_nonces(self) -> None:
        self._question = Nonce()
        self._announcement = Nonce()

    @property
    def _is_sudo(self) -> bool:
        return self._words[0].rpartition("/")[2] == "sudo"

    # The command

    def get_start_cmd(self) -> str:
        """The command with a question of ours (``sudo -p``) and, behind it, a shell that announces itself."""
        self._renew_nonces()
        if not self._is_sudo:
            return f"env LC_ALL=C {self._start_cmd}"
        if self._has_own_question():
            return self._start_cmd
        rest = self._words[1:]
        place = _command_place(rest)
        options, command = rest[:place], rest[place:]
        if self._announces():
            script = f"echo {self._announcement.quoted_inside}; exec {command[0]}"
            command = [command[0], "-c", script]
        words = " ".join(shlex.quote(word) for word in [*options, *command])
        return f"{shlex.quote(self._words[0])} -p {self._question.quoted} {words}"

    def _has_own_question(self) -> bool:
        options = self._words[1 : 1 + _command_place(self._words[1:])]
        return any(re.match(r"-[A-Za-z]*[pSA]|--(?:prompt|stdin|askpass)", word) for word in options)

    def _announces(self) -> bool:
        if not self._is_sudo or self._has_own_question():
            return False
        command = self._words[1 + _command_place(self._words[1:]) :]
        return len(command) == 1 and command[0].rpartition("/")[2] in _SHELLS

    def spawn(self, timeout: float) -> ChannelSpawn:
        """Start it on this machine, as first shell."""
        channel = LocalPtyChannel(["/bin/sh", "-c", self.get_start_cmd()], columns=COLUMNS, rows=ROWS, name="sudo")
        return ChannelSpawn(channel, timeout=timeout)

    # The dialogue

    def start(self) -> str:
        """Answer the question for the password, if one comes, and make the shell known.

        Raises:
            SudoError: It was refused; the text says why.
            ShellStateError: What came up does not answer as a shell.
        """
        deadline = Deadline.after(self.start_timeout)
        answered = self._wait_until_through(deadline, answered=False)
        if answered:
            self._wait_until_through(deadline, answered=True)
        return self._set_bash_environment(None, deadline, settled=not self._announces())

    def _wait_until_through(self, deadline: Deadline, *, answered: bool) -> bool:
        """Wait for the end of the dialogue, or for the question; True when the question was answered just now."""
        seen = ""
        silence = deadline.sooner(_PATIENCE)
        while True:
            try:
                data = self._terminal.read_nonblocking(65536, min(_QUIET, deadline.remaining() or 0.0))
            except pexpect.TIMEOUT:
                if self._looks_ready(seen, gave_up_waiting=silence.expired):
                    return False
                if deadline.expired:
                    raise self._error("nothing came in time", seen, definite=False) from None
                continue
            except pexpect.EOF:
                raise self._ended(seen) from None
            seen += data.decode("utf-8", "replace")
            if self._announces() and self._announcement.text in seen:
                return False
            if self._parent_status is not None and self._parent_status.end in seen:
                raise self._ended(seen.partition(self._parent_status.end)[0])
            if self._is_asked(seen):
                self._answer(seen, answered=answered)
                return True

    def _is_asked(self, seen: str) -> bool:
        if self._is_sudo:
            return self._question.text in seen
        return seen.endswith(_SU_ASKS)

    def _answer(self, seen: str, *, answered: bool) -> None:
        if answered:
            raise self._error("the password was not accepted; it is not tried again", seen)
        if self._password is None:
            raise self._error("it asks for a password and none was given", seen)
        self._terminal.send_secret(self._password)

    def _looks_ready(self, seen: str, *, gave_up_waiting: bool) -> bool:
        """Whether silence means that a shell waits; a question that is not ours is an error."""
        if self._announces():
            return False
        last = seen.replace("\r", "").rpartition("\n")[2]
        if SOMEBODYS_PROMPT.search(last):
            return True
        if _ASKS.search(last):
            raise self._error(f"it asks: {redact(last.strip())}", seen)
        return bool(last.strip()) or gave_up_waiting

    def _ended(self, seen: str) -> SudoError:
        if self._parent_status is not None:
            seen = re.sub(self._parent_status.mark + r"\d+\Z", "", seen)
        seen = seen.replace(self._question.text, "").replace("\r", "").strip()
        lines = [line for line in seen.splitlines() if line.strip()]
        return self._error(redact(lines[-1]) if lines else "it ended without a word", seen)

    def _error(self, why: str, seen: str, *, definite: bool = True) -> SudoError:
        return SudoError(
            why,
            host=self.host,
            doing=f"starting {self._what()}",
            advice="check the password, and with `sudo -l` what the user may run",
            transcript=seen.replace(self._question.text, "[sudo] password:")[-_TAIL:],
            definite=definite,
        )


def _command_place(words: list[str]) -> int:
    """Where in the words after ``sudo`` the options end and the command begins."""
    index = 0
    while index < len(words):
        word = words[index]
        if word == "--":
            return index + 1
        if not word.startswith("-"):
            return index
        index += 2 if not word.startswith("--") and word[-1] in _OPTIONS_WITH_VALUE else 1
    return index
