"""Local folders for a session, by a server for files behind a tunnel.

Not in this release: the names are there and refuse.
"""

from __future__ import annotations

from typing import Any, ClassVar, NoReturn

from crl.x2go._notyet import NotInThisRelease, refuse

__all__ = ["X2GoRevFwTunnelToSFTP", "x2go_rev_forward_sftpchannel_handler"]


class X2GoRevFwTunnelToSFTP(NotInThisRelease):
    """Not in this release."""

    PART: ClassVar[str] = "folder sharing"


def x2go_rev_forward_sftpchannel_handler(*args: Any, **kwargs: Any) -> NoReturn:  # noqa: ARG001 - nothing is done
    """Not in this release."""
    refuse("x2go_rev_forward_sftpchannel_handler", "folder sharing")
