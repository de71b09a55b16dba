"""What can go wrong with a display, each failure with its own class.

All but the wrong name derive from `DisplayError`, which is the world's fault, not the caller's. This module knows only
crl's error tree.
"""

from __future__ import annotations

from crl.errors import RemoteWorldError, UsageError

__all__ = [
    "DisplayAccessDenied",
    "DisplayError",
    "DisplayLost",
    "DisplayNameError",
    "DisplayTimeout",
    "NoSuchDisplay",
    "NoSuchWindow",
    "XServerError",
]


class DisplayNameError(UsageError, ValueError):
    """The text is not the name of a local display such as ``:50``."""


class DisplayError(RemoteWorldError):
    """A display cannot be reached, does not let us in, or failed."""


class NoSuchDisplay(DisplayError):
    """Nothing listens on the display's sockets."""


class DisplayAccessDenied(DisplayError):
    """The X server refused us: no cookie, or a wrong one."""


class DisplayLost(DisplayError):
    """The X server, or the way to it, ended while the display was in use."""


class DisplayTimeout(DisplayError, TimeoutError):
    """The X server did not answer, or what was waited for did not come, before the deadline."""


class NoSuchWindow(DisplayError):
    """The window is not there any more."""


class XServerError(DisplayError):
    """The X server answered a request with an X error."""
