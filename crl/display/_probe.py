"""Finds out whether a window manager works, by showing it a window.

A window manager's signs on the root window come before it handles windows, and a window mapped in between can be lost
to it for good. So a tiny window is mapped, and mapped anew while nothing happens, until the manager has put its state
on one (``WM_STATE``, as the ICCCM demands). The module leaves no window.
"""

from __future__ import annotations

import contextlib
from typing import Any

from crl.deadlines import Deadline
from crl.display._xconnection import XConnection
from crl.display.errors import DisplayTimeout

__all__ = ["redraw", "wait_until_managed"]

PATIENCE = 0.15  # seconds given to a window manager that works; one that comes up meanwhile gets the next window


def wait_until_managed(connection: XConnection, deadline: Deadline) -> None:
    """Wait until a window manager has taken a window of ours.

    Raises:
        DisplayTimeout: None did.
        DisplayError: As its other subclasses say.
    """
    while not _is_taken(connection, deadline):
        if deadline.expired:
            raise DisplayTimeout("no window manager took a window", doing="waiting for a window manager")


def _is_taken(connection: XConnection, deadline: Deadline) -> bool:
    """Map one window and see whether it is taken soon."""
    from Xlib.protocol import request

    window = _map_window(connection, deadline)
    patience = deadline.sooner(PATIENCE)
    try:
        while not _has_state(connection, window, deadline):
            if not connection.await_events(patience):
                return False
        return True
    finally:
        with contextlib.suppress(DisplayTimeout), connection.operation("removing a window", deadline) as x:
            request.DestroyWindow(display=x, window=window)  # a connection that is gone has lost it anyway
            x.flush()


def redraw(connection: XConnection, deadline: Deadline) -> None:
    """Cover the whole screen for a moment, past the window manager, so that every window is drawn anew.

    Raises:
        DisplayError: As its other subclasses say.
    """
    from Xlib import X
    from Xlib.protocol import request

    screen = connection.screen
    with connection.operation("having all windows drawn anew", deadline) as x:
        window: int = x.allocate_resource_id()
        request.CreateWindow(
            display=x, depth=X.CopyFromParent, wid=window, parent=screen.root, x=0, y=0, width=screen.width,
            height=screen.height, border_width=0, window_class=X.InputOutput, visual=X.CopyFromParent,
            attrs={"override_redirect": 1},
        )  # fmt: skip
        request.MapWindow(display=x, window=window)
        request.DestroyWindow(display=x, window=window)
        # An X server throws away what it has not read yet when it sees that its client is gone: wait for the answer.
        request.GetInputFocus(display=x)


def _map_window(connection: XConnection, deadline: Deadline) -> int:
    from Xlib import X
    from Xlib.protocol import request

    with connection.operation("showing a window", deadline) as x:
        window: int = x.allocate_resource_id()
        request.CreateWindow(
            display=x, depth=X.CopyFromParent, wid=window, parent=connection.screen.root, x=0, y=0, width=1, height=1,
            border_width=0, window_class=X.InputOutput, visual=X.CopyFromParent,
            attrs={"event_mask": X.PropertyChangeMask | X.StructureNotifyMask},
        )  # fmt: skip
        request.MapWindow(display=x, window=window)
        x.flush()
    return window


def _has_state(connection: XConnection, window: int, deadline: Deadline) -> bool:
    from Xlib import X
    from Xlib.protocol import request

    with connection.operation("looking at a window", deadline) as x:
        atom: Any = x.get_atom("WM_STATE")
        answer = request.GetProperty(
            display=x, delete=False, window=window, property=atom, type=X.AnyPropertyType, long_offset=0, long_length=1
        )
        return bool(answer.property_type)
