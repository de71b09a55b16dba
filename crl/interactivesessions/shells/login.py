"""The dialogue of an SSH login, as a state machine without input or output.

It is fed with what comes from ssh (data, dialogue, errors) and says what to answer. It promises that each secret is
answered at most once, that a question about a host key is never answered, and that nothing is answered once the nonce
has come which ssh prints between authentication and session: no banner or message of the day can ask for a password.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from crl.secrets import Secret

__all__ = ["Answer", "LoginDialogue", "Refusal", "RefusalKind", "Source"]

_LONGEST_PROMPT: Final = 1000
_KEPT: Final = 16 * 1024
_ESCAPES: Final = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b[()][A-Z0-9]|[\x00\x07]")
_HOST_KEY: Final = re.compile(r"(?i)are you sure you want to continue connecting|please type 'yes'")
_PASSPHRASE: Final = re.compile(r"(?i)enter passphrase for (?:key )?'?(?P<key>[^'\n]*)'?: ?\Z")
_EXPIRED: Final = re.compile(
    r"(?i)(?:password (?:has|must|will have to|expired)|required to change your password|"
    r"\((?:current|new)\)[^\n]*password|new (?:unix )?password|retype|current password)[^\n]*[:\uff1a.]? ?\Z"
)
_TOKEN: Final = re.compile(r"(?i)(?:enter pin for|confirm user presence|touch your)[^\n]*\Z")
_PASSWORD: Final = re.compile(r"(?i)(?:^|\n)[^\n]*pass ?(?:word|code)[^\n]{0,80}[:\uff1a] ?\Z")
_FROM_SERVER: Final = re.compile(r"(?:^|\n)\((?P<user>[^\s()]+)@(?P<host>[^\s()@]+)\) [^\n]*[:\uff1a?>] ?\Z")
_WHO: Final = re.compile(r"(?:^|\n)\(?(?P<user>[^\s()'@]+(?:@[^\s()'@]+)*)@(?P<host>[^\s()'@]+?)(?:\)|'s password)")


class Source(enum.Enum):
    """Where bytes of a login come from; `DATA` alone where one terminal carries everything."""

    DATA = "data"
    DIALOGUE = "dialogue"
    ERRORS = "errors"


class RefusalKind(enum.Enum):
    """Why a login cannot go on."""

    HOST_KEY = "host key question"
    REJECTED = "asked again"
    NO_PASSWORD = "no password given"
    NO_PASSPHRASE = "no passphrase given"
    OTHER_HOST = "another host asks"
    EXPIRED = "password expired"
    TOKEN = "hardware token"


@dataclass(frozen=True)
class Answer:
    """A secret to send, with a newline, where the question came from."""

    source: Source
    secret: Secret


@dataclass(frozen=True)
class Refusal:
    """The end of a login from our side.

    Args:
        kind: Why.
        text: The question that cannot be answered.
    """

    kind: RefusalKind
    text: str


@dataclass
class LoginDialogue:
    """The state of one login.

    Args:
        nonce: What ssh prints when authentication is over.
        passwords: The answers to password questions, in order; each is used once.
        passphrase: The answer to the question for a key's passphrase.
        hosts: The target's names. Questions that say which host asks are answered only for these; empty takes all.
        one_terminal: Whether everything comes as `Source.DATA`, as it does when ssh was started from another shell.
    """

    nonce: bytes
    passwords: Sequence[Secret] = ()
    passphrase: Secret | None = None
    hosts: frozenset[str] = frozenset()
    one_terminal: bool = False
    authenticated: bool = field(default=False, init=False)
    refusal: Refusal | None = field(default=None, init=False)
    after: bytes = field(default=b"", init=False)
    answered: int = field(default=0, init=False)
    _passphrase_used: bool = field(default=False, init=False)
    _seen: dict[Source, bytearray] = field(default_factory=dict, init=False)
    _question: dict[Source, bytearray] = field(default_factory=dict, init=False)

    def feed(self, source: Source, data: bytes, *, echo_off: bool = False) -> Answer | None:
        """Take bytes in.

        Args:
            source: Where they came from.
            data: The bytes, cut anywhere.
            echo_off: Whether the terminal they came from does not echo now: then a text without line end is a
                question, in whatever language.

        Returns:
            What to answer, if something. `authenticated` and `refusal` say how things stand.
        """
        if self.refusal is not None:
            return None
        if self.authenticated:
            if source is Source.DATA:
                self.after += data
            return None
        seen = self._seen.setdefault(source, bytearray())
        seen += data
        del seen[:-_KEPT]
        if source is Source.DATA and self._find_nonce(seen):
            return None
        if source is Source.ERRORS or (source is Source.DATA and not self.one_terminal):
            return None
        return self._consider(source, data, echo_off)

    def _find_nonce(self, seen: bytearray) -> bool:
        before, found, after = bytes(seen).partition(self.nonce)
        if found:
            self.authenticated = True
            self.after = after
            seen[:] = before
        return bool(found)

    def _consider(self, source: Source, data: bytes, echo_off: bool) -> Answer | None:
        """Look at the text since the last answer: is it a question, and whose?"""
        pending = self._question.setdefault(source, bytearray())
        pending += data
        text = _ESCAPES.sub("", bytes(pending[-_LONGEST_PROMPT:]).decode("utf-8", "replace")).replace("\r", "")
        answer = self._answer_to(source, text, echo_off)
        if answer is not None:
            self.answered += 1
            pending.clear()
        return answer

    def _answer_to(self, source: Source, text: str, echo_off: bool) -> Answer | None:
        for pattern, kind in ((_HOST_KEY, RefusalKind.HOST_KEY), (_TOKEN, RefusalKind.TOKEN)):
            if pattern.search(text):
                self._refuse(kind, text)
                return None
        if _PASSPHRASE.search(text):
            return self._passphrase_for(source, text)
        if not self._is_question(text, echo_off):
            return None
        if _EXPIRED.search(text):
            self._refuse(RefusalKind.EXPIRED, text)
            return None
        return self._password_for(source, text)

    def _passphrase_for(self, source: Source, text: str) -> Answer | None:
        if self.passphrase is None or self._passphrase_used:
            self._refuse(RefusalKind.NO_PASSPHRASE if self.passphrase is None else RefusalKind.REJECTED, text)
            return None
        self._passphrase_used = True
        return Answer(source, self.passphrase)

    @staticmethod
    def _is_question(text: str, echo_off: bool) -> bool:
        last = text.rpartition("\n")[2]
        if not last.strip():
            return False
        return echo_off or _PASSWORD.search(text) is not None or _FROM_SERVER.search(text) is not None

    def _password_for(self, source: Source, text: str) -> Answer | None:
        who = list(_WHO.finditer(text))
        used = self.answered - self._passphrase_used
        if who and self.hosts and who[-1]["host"] not in self.hosts:
            self._refuse(RefusalKind.OTHER_HOST, text)
        elif not self.passwords:
            self._refuse(RefusalKind.NO_PASSWORD, text)
        elif used >= len(self.passwords):
            self._refuse(RefusalKind.REJECTED, text)
        else:
            return Answer(source, self.passwords[used])
        return None

    def _refuse(self, kind: RefusalKind, text: str) -> None:
        self.refusal = Refusal(kind, text.strip().rpartition("\n")[2])

    def transcript(self, source: Source | None = None) -> str:
        """What came before the end of authentication, from one source or all."""
        sources = [source] if source is not None else list(Source)
        parts = [bytes(self._seen.get(part, b"")).decode("utf-8", "backslashreplace") for part in sources]
        return "\n".join(part.replace("\r\n", "\n").strip("\r\n") for part in parts if part)
