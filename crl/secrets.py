"""Secrets as values: passwords and passphrases that never turn into text by accident.

A `Secret` shows its content only through `value`; whatever was made a secret is also remembered here, so that
`redact` can take it out of transcripts, logs and error texts. This module stands below every other one.
"""

from __future__ import annotations

import logging
import threading
from typing import Any, Final, NoReturn

__all__ = ["RedactingFilter", "Secret", "redact", "to_secret", "unfinished_secret"]

MASK: Final = "<secret>"
MIN_REDACTED_LENGTH: Final = 4


class _Known:
    """The secret texts seen so far in this process, longest first."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._texts: tuple[str, ...] = ()

    def add(self, text: str) -> None:
        if len(text) < MIN_REDACTED_LENGTH:
            return
        with self._lock:
            if text not in self._texts:
                self._texts = tuple(sorted((*self._texts, text), key=len, reverse=True))

    def mask(self, text: str) -> str:
        for secret in self._texts:
            if secret in text:
                text = text.replace(secret, MASK)
        return text

    def begun(self, text: str) -> int:
        longest = 0
        for secret in self._texts:
            for length in range(min(len(secret) - 1, len(text)), longest, -1):
                if text.endswith(secret[:length]):
                    longest = length
                    break
        return longest


_known = _Known()


class Secret:
    """A text that must not be shown.

    Args:
        value: The secret text. Texts shorter than four characters are kept from ``repr`` and pickling, but cannot be
            searched for in transcripts.
    """

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value
        _known.add(value)

    @property
    def value(self) -> str:
        """The secret text itself."""
        return self._value

    def __repr__(self) -> str:
        return MASK

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash((Secret, self._value))

    def __reduce__(self) -> NoReturn:
        raise TypeError("a crl Secret cannot be pickled; hand over where it comes from instead")


def to_secret(value: Any) -> Secret | None:
    """Make a secret of what a user gave as a password.

    Args:
        value: None, a `str`, a `Secret`, or Robot Framework's own ``Secret`` (anything whose class has that name and
            that has a ``value``).

    Raises:
        TypeError: It is something else.
    """
    if value is None or isinstance(value, Secret):
        return value
    if isinstance(value, str):
        return Secret(value)
    if type(value).__name__ == "Secret" and isinstance(getattr(value, "value", None), str):
        return Secret(value.value)
    raise TypeError(f"a password must be a str or a Secret, not {type(value).__name__}")


def redact(text: str) -> str:
    """Replace every known secret in a text by ``<secret>``."""
    return _known.mask(text)


def unfinished_secret(text: str) -> int:
    """How many characters at the end of a text may be the beginning of a known secret."""
    return _known.begun(text)


class RedactingFilter(logging.Filter):
    """A logging filter that redacts messages; put on loggers of libraries that see secrets (paramiko)."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Redact the record's message in place and let it pass."""
        record.msg = redact(record.getMessage())
        record.args = None
        return True
