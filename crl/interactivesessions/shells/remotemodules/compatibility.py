"""Text and bytes as the published package converts them, for suites that do it by its functions.

It knows nothing of crl. What is no UTF-8 becomes a backslash escape instead of an error, in both directions.
"""

from __future__ import annotations

import codecs
from typing import Any, Final

__all__ = [
    "PY3",
    "RANGE",
    "UNICODE_TYPE",
    "py23_unic",
    "string_conversion_to_bytes",
    "to_bytes",
    "to_string",
    "unic_to_string",
]

PY3: Final = True
RANGE: Final = range
UNICODE_TYPE: Final = str
_ERRORS: Final = "compatibilityreplace"

codecs.register_error(_ERRORS, codecs.lookup_error("backslashreplace"))


def to_bytes(s: Any) -> Any:
    """A text as UTF-8; anything else as it is."""
    return s.encode("utf-8", _ERRORS) if isinstance(s, str) else s


def to_string(b: Any) -> Any:
    """Bytes as text; anything else as it is."""
    return b.decode("utf-8", _ERRORS) if isinstance(b, bytes) else b


def string_conversion_to_bytes(value: object) -> bytes:
    """The text of anything, as UTF-8."""
    return str(value).encode("utf-8", _ERRORS)


def py23_unic(s: Any) -> Any:
    """As `to_string`."""
    return to_string(s)


def unic_to_string(s: Any) -> Any:
    """A text as it is: on Python 3 each one is unicode."""
    return s
