"""What is done with a print job: shown, stored, printed, given to a command, or asked.

Not in this release: the names are there and refuse.
"""

from __future__ import annotations

from typing import ClassVar

from crl.x2go._notyet import NotInThisRelease

__all__ = [
    "X2GoPrintAction",
    "X2GoPrintActionDIALOG",
    "X2GoPrintActionPDFSAVE",
    "X2GoPrintActionPDFVIEW",
    "X2GoPrintActionPRINT",
    "X2GoPrintActionPRINTCMD",
]


class X2GoPrintAction(NotInThisRelease):
    """Not in this release."""

    PART: ClassVar[str] = "printing"


class X2GoPrintActionPDFVIEW(X2GoPrintAction):
    """Not in this release."""


class X2GoPrintActionPDFSAVE(X2GoPrintAction):
    """Not in this release."""


class X2GoPrintActionPRINT(X2GoPrintAction):
    """Not in this release."""


class X2GoPrintActionPRINTCMD(X2GoPrintAction):
    """Not in this release."""


class X2GoPrintActionDIALOG(X2GoPrintAction):
    """Not in this release."""
