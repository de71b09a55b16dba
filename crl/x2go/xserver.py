"""X servers on Windows and which of them to start.

Not in this release: the names are there and refuse.
"""

from __future__ import annotations

from typing import ClassVar

from crl.x2go._notyet import NotInThisRelease

__all__ = ["X2GoClientXConfig", "X2GoXServer"]


class X2GoClientXConfig(NotInThisRelease):
    """Not in this release."""

    PART: ClassVar[str] = "an X server on Windows"


class X2GoXServer(NotInThisRelease):
    """Not in this release."""

    PART: ClassVar[str] = "an X server on Windows"
