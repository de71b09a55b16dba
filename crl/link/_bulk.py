"""Tells bulk from many small calls.

It knows sizes only: what goes over a terminal in large pieces is bulk, however many small messages there are. It
promises to tell once, and to cost a small message nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

__all__ = ["LARGE_PIECE", "BulkWatch"]

LARGE_PIECE: Final = 2048
"""Bytes from which on what is read or written at once is bulk; nobody notes less."""


class BulkWatch:
    """Counts what is read or written at once in large pieces, and tells once when that is much."""

    def __init__(self) -> None:
        self._left = 0
        self._tell: Callable[[], object] | None = None

    def start(self, size: int, tell: Callable[[], object]) -> None:
        """Call `tell` once after so many bytes from now on; it must be quick."""
        self._tell = tell
        self._left = size

    def note(self, size: int) -> None:
        """So much was read or written at once; any thread may say so, and none is counted exactly."""
        self._left -= size
        if self._left <= 0 and self._tell is not None:
            tell, self._tell = self._tell, None
            tell()
