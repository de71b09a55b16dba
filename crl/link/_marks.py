"""Marks of the start line in what a terminal says: where a program's last words begin and end, and with which status.

A terminal that breaks long lines may break a mark as well; on lanes of which that is known line ends inside of one do
not count. Nothing else is forgiven, so that no text is taken for a mark.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = ["Mark"]

LINE_ENDS = b"\r\n\0"


@dataclass(frozen=True)
class Mark:
    """What the shell, or who waits in it, prints before what matters.

    Attributes:
        text: The mark.
        broken: Whether line ends may stand in it.
    """

    text: bytes
    broken: bool = False

    def may_stand_in(self, seen: bytes) -> bool:
        """Whether a closer look is worth its time."""
        return self.broken or self.text in seen

    def status(self, seen: bytes) -> tuple[int, bytes] | None:
        """The status of the start line, and what follows it; None before its end."""
        if not self.may_stand_in(seen):
            return None
        gap = self._gap
        found = re.search(self._pattern(b":") + gap + rb"((?:\d" + gap + rb")+);", seen)
        return None if found is None else (int(found.group(1).translate(None, LINE_ENDS)), seen[found.end() :])

    def first(self, seen: bytes, behind: bytes) -> tuple[bytes, bytes] | None:
        """What stands before and after the first mark that is followed by some bytes; None where there is none."""
        # A pattern of its own for each link costs more to make than to use.
        found = re.search(self._pattern(behind), seen) if self.may_stand_in(seen) else None
        return None if found is None else (seen[: found.start()], seen[found.end() :])

    def last(self, seen: bytes, behind: bytes) -> tuple[bytes, bytes] | None:
        """As `first`, of the last one."""
        all_found = list(re.finditer(self._pattern(behind), seen))
        return (seen[: all_found[-1].start()], seen[all_found[-1].end() :]) if all_found else None

    @property
    def _gap(self) -> bytes:
        return b"[\r\n\\0]*" if self.broken else b""

    def _pattern(self, behind: bytes) -> bytes:
        return self._gap.join(re.escape(bytes((byte,))) for byte in self.text + behind)
