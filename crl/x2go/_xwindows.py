"""What the client asks of its own X display: depth, size, keyboard, and the windows of sessions.

Each question opens a connection and closes it; without a display, or without python-xlib, there is no answer. The
module knows nothing of sessions but the name that x2goagent gives its window.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Any, Protocol

from crl.deadlines import Deadline
from crl.display import DisplayError, DisplayNameError, LocalDisplay, Window
from crl.display._access import LocalDialer
from crl.display._wire import Wire
from crl.display._xconnection import XConnection
from crl.display.names import DisplayName
from crl.errors import UsageError

__all__ = [
    "HasId",
    "desktop_geometry",
    "find_window",
    "keyboard_rules",
    "raise_window",
    "root_depth",
    "set_title",
    "workarea_geometry",
]

TIMEOUT = 20.0


class HasId(Protocol):
    """Any window of a display."""

    @property
    def id(self) -> int:
        """Its number."""


@contextlib.contextmanager
def _connected(
    doing: str, display: str | None = None, xauthority: str | None = None
) -> Iterator[tuple[XConnection, Any] | None]:
    """A connection to a display, by default that of the environment, and python-xlib's object; None without one."""
    with contextlib.ExitStack() as opened:
        deadline = Deadline.after(TIMEOUT)
        try:
            name = DisplayName.parse(os.environ.get("DISPLAY", "") if display is None else display)
            dialer = LocalDialer()
            auth = dialer.cookie(name, xauthority or os.environ.get("XAUTHORITY"))
            wire = Wire(dialer.dial(name, deadline))
            connection = XConnection(wire, name, auth, host=dialer.host, deadline=deadline)
        except (DisplayError, DisplayNameError, UsageError):  # no display, none that we may use, or no python-xlib
            yield None
            return
        opened.callback(connection.close)
        yield connection, opened.enter_context(connection.operation(doing, deadline))


def root_depth() -> int | None:
    """Bits of a pixel of the root window."""
    with _connected("asking for the depth") as found:
        return None if found is None else found[0].screen.depth


def desktop_geometry() -> tuple[int, int] | None:
    """Width and height of the screen."""
    with _connected("asking for the size") as found:
        return None if found is None else (found[0].screen.width, found[0].screen.height)


def _window(x: Any, number: int) -> Any:
    return x.get_resource_class("window")(x, number)


def _root_property(name: str) -> Any:
    with _connected(f"reading {name}") as found:
        if found is None:
            return None
        connection, x = found
        value = _window(x, connection.screen.root).get_full_property(x.get_atom(name), 0)
        return None if value is None else value.value


def workarea_geometry() -> tuple[int, int] | None:
    """Width and height of what panels leave of the screen, as the window manager says."""
    area = _root_property("_NET_WORKAREA")
    return None if area is None or len(area) < 4 else (int(area[2]), int(area[3]))


def keyboard_rules() -> dict[str, str] | None:
    """Rules, model, layout, variant and options of the keyboard."""
    value = _root_property("_XKB_RULES_NAMES")
    if value is None:
        return None
    text = value.decode("latin-1") if isinstance(value, bytes) else str(value)
    return dict(zip(("rules", "model", "layout", "variant", "options"), text.split("\0"), strict=False))


def find_window(session_name: str) -> Window | None:
    """The window of a session on the display of the environment."""
    try:
        with LocalDisplay(os.environ.get("DISPLAY", ""), os.environ.get("XAUTHORITY")) as display:
            windows = display.windows()
    except (DisplayError, DisplayNameError, UsageError):
        return None
    return next((window for window in windows if session_name in window.name), None)


def set_title(window: HasId, title: str, display: str | None = None, xauthority: str | None = None) -> None:
    """Give a window another title."""
    with _connected("setting a title", display, xauthority) as found:
        if found is not None:
            _, x = found
            resource = _window(x, window.id)
            text = x.get_atom("UTF8_STRING")
            for name in ("_NET_WM_NAME", "WM_NAME"):
                resource.change_property(x.get_atom(name), text, 8, title.encode())
            resource.get_geometry()  # the answer comes when all is done


def raise_window(window: HasId, display: str | None = None, xauthority: str | None = None) -> None:
    """Bring a window to the front, through the window manager if there is one."""
    with _connected("raising a window", display, xauthority) as found:
        if found is not None:
            from Xlib import X
            from Xlib.protocol import event

            connection, x = found
            resource = _window(x, window.id)
            message = event.ClientMessage(
                window=resource, client_type=x.get_atom("_NET_ACTIVE_WINDOW"), data=(32, [2, 0, 0, 0, 0])
            )
            mask = X.SubstructureRedirectMask | X.SubstructureNotifyMask
            root = _window(x, connection.screen.root)
            root.send_event(message, event_mask=mask)
            resource.configure(stack_mode=X.Above)
            root.get_geometry()  # the answer comes when all is done
