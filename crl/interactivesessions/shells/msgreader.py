"""How long the start of a shell may be silent, for the whole process, under the published package's name.

The published package waited for banners in this class; here the end of a login is known exactly, and the value is kept
for suites that set it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Final

from crl.interactivesessions.shells.shell import TimeoutError as ShellTimeout

__all__ = ["MsgReader"]


class MsgReader:
    """Reads a message of unknown length, for shells of users: waits for its beginning, then reads until nothing comes.

    The shells of crl know exactly where a banner ends and wait for none.

    Args:
        read_until_end: Reads until nothing comes, as `Shell._read_until_end`; takes ``timeout``.
    """

    _orig: Final = 15.0
    _timeout: ClassVar[float] = _orig

    def __init__(self, read_until_end: Callable[..., str]) -> None:
        self._read_until_end = read_until_end

    def read_until_end(self) -> str:
        """The message; nothing when none begins in time."""
        try:
            return self._read_until_end(timeout=self._timeout)
        except ShellTimeout:
            return ""

    @classmethod
    def get_timeout(cls) -> float:
        """The seconds for the beginning of a message; 15 unless set."""
        return cls._timeout

    @classmethod
    def set_timeout(cls, timeout: float) -> None:
        """Set the seconds, for the whole process."""
        cls._timeout = float(timeout)

    @classmethod
    def reset_timeout(cls) -> None:
        """Set the original 15 seconds."""
        cls._timeout = cls._orig
