"""How long the start of a shell may be silent, for the whole process, under the published package's name.

The published package waited for banners in this class; here the end of a login is known exactly, and the value is kept
for suites that set it.
"""

from __future__ import annotations

from typing import ClassVar, Final

__all__ = ["MsgReader"]


class MsgReader:
    """The seconds that suites have set for reading banners; 15 unless set. No wait depends on it."""

    _orig: Final = 15.0
    _timeout: ClassVar[float] = _orig

    @classmethod
    def get_timeout(cls) -> float:
        """The seconds now set."""
        return cls._timeout

    @classmethod
    def set_timeout(cls, timeout: float) -> None:
        """Set the seconds."""
        cls._timeout = float(timeout)

    @classmethod
    def reset_timeout(cls) -> None:
        """Set the original 15 seconds."""
        cls._timeout = cls._orig
