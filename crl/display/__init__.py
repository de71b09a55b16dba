"""X displays of targets and of this machine: their windows and pictures.

The package stands on a target's verbs alone (a socket joined to one there, and its Python) and promises that nothing
is needed on the target but the X server itself.
"""

from crl.display.display import Display, LocalDisplay
from crl.display.errors import (
    DisplayAccessDenied,
    DisplayError,
    DisplayLost,
    DisplayNameError,
    DisplayTimeout,
    NoSuchDisplay,
    NoSuchWindow,
    XServerError,
)
from crl.display.windows import Geometry, Window, WindowPattern, window_matcher

__all__ = [
    "Display",
    "DisplayAccessDenied",
    "DisplayError",
    "DisplayLost",
    "DisplayNameError",
    "DisplayTimeout",
    "Geometry",
    "LocalDisplay",
    "NoSuchDisplay",
    "NoSuchWindow",
    "Window",
    "WindowPattern",
    "XServerError",
    "window_matcher",
]
