"""The print jobs of a session, as they arrive.

Not in this release: the names are there and refuse.
"""

from __future__ import annotations

from typing import Any, ClassVar, NoReturn

from crl.x2go._notyet import NotInThisRelease, refuse

__all__ = ["X2GoPrintJob", "X2GoPrintQueue", "x2go_printjob_handler"]


class X2GoPrintQueue(NotInThisRelease):
    """Not in this release."""

    PART: ClassVar[str] = "printing"


class X2GoPrintJob(NotInThisRelease):
    """Not in this release."""

    PART: ClassVar[str] = "printing"


def x2go_printjob_handler(*args: Any, **kwargs: Any) -> NoReturn:  # noqa: ARG001 - nothing is done
    """Not in this release."""
    refuse("x2go_printjob_handler", "printing")
