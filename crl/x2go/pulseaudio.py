"""The sound server on Windows.

Not in this release: the names are there and refuse.
"""

from __future__ import annotations

from typing import ClassVar

from crl.x2go._notyet import NotInThisRelease
from crl.x2go.x2go_exceptions import OSNotSupportedException

__all__ = ["OSNotSupportedException", "X2GoPulseAudio"]


class X2GoPulseAudio(NotInThisRelease):
    """Not in this release."""

    PART: ClassVar[str] = "sound on Windows"
