"""What is done with a file that a session sends: opened, or stored.

Not in this release: the names are there and refuse.
"""

from __future__ import annotations

from typing import ClassVar

from crl.x2go._notyet import NotInThisRelease

__all__ = ["X2GoMIMEboxAction", "X2GoMIMEboxActionOPEN", "X2GoMIMEboxActionOPENWITH", "X2GoMIMEboxActionSAVEAS"]


class X2GoMIMEboxAction(NotInThisRelease):
    """Not in this release."""

    PART: ClassVar[str] = "the MIME box"


class X2GoMIMEboxActionOPEN(X2GoMIMEboxAction):
    """Not in this release."""


class X2GoMIMEboxActionOPENWITH(X2GoMIMEboxAction):
    """Not in this release."""


class X2GoMIMEboxActionSAVEAS(X2GoMIMEboxAction):
    """Not in this release."""
