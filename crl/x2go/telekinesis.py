"""Multimedia and input beside the session.

Not in this release: the names are there and refuse.
"""

from __future__ import annotations

from typing import ClassVar

from crl.x2go._notyet import NotInThisRelease

__all__ = ["X2GoTelekinesisClient"]


class X2GoTelekinesisClient(NotInThisRelease):
    """Not in this release."""

    PART: ClassVar[str] = "telekinesis"
