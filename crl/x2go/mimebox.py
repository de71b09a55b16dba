"""The files that a session sends to be opened here.

Not in this release: the names are there and refuse.
"""

from __future__ import annotations

from typing import Any, ClassVar, NoReturn

from crl.x2go._notyet import NotInThisRelease, refuse

__all__ = ["X2GoMIMEboxJob", "X2GoMIMEboxQueue", "x2go_mimeboxjob_handler"]


class X2GoMIMEboxQueue(NotInThisRelease):
    """Not in this release."""

    PART: ClassVar[str] = "the MIME box"


class X2GoMIMEboxJob(NotInThisRelease):
    """Not in this release."""

    PART: ClassVar[str] = "the MIME box"


def x2go_mimeboxjob_handler(*args: Any, **kwargs: Any) -> NoReturn:  # noqa: ARG001 - nothing is done
    """Not in this release."""
    refuse("x2go_mimeboxjob_handler", "the MIME box")
