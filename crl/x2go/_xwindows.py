"""What the client asks of its own X display: depth, size, keyboard, and the windows of sessions.

Each question opens a connection and closes it; without a display, or without python-xlib, there is no answer. The
module knows nothing of sessions but the name that x2goagent gives its window.
"""

from __future__ import annotations

import contextlib
import importlib
import os
from collections.abc import Iterator
from typing import Any, Protocol

from crl.display import DisplayError, LocalDisplay, Window
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


class HasId(Protocol):
    """Any window of a display."""

    @property
    def id(self) -> int:
        """Its number."""


@contextlib.contextmanager
def _display() -> Iterator[Any]:
    """A connection of python-xlib to the display of the environment; None when there is none."""
    if not os.environ.get("DISPLAY"):
        yield None
        return
    try:
        xlib = importlib.import_module("Xlib.display")
        errors = importlib.import_module("Xlib.error")
    except ImportError:
        yield None
        return
    try:
        connection = xlib.Display()
    except (errors.DisplayError, OSError):
        yield None
        return
    try:
        yield connection
    finally:
        connection.close()


def root_depth() -> int | None:
    """Bits of a pixel of the root window."""
    with _display() as display:
        return None if display is None else int(display.screen().root_depth)


def desktop_geometry() -> tuple[int, int] | None:
    """Width and height of the screen."""
    with _display() as display:
        if display is None:
            return None
        screen = display.screen()
        return int(screen.width_in_pixels), int(screen.height_in_pixels)


def _root_property(display: Any, name: str) -> Any:
    found = display.screen().root.get_full_property(display.intern_atom(name), 0)
    return None if found is None else found.value


def workarea_geometry() -> tuple[int, int] | None:
    """Width and height of what panels leave of the screen, as the window manager says."""
    with _display() as display:
        area = None if display is None else _root_property(display, "_NET_WORKAREA")
        return None if area is None or len(area) < 4 else (int(area[2]), int(area[3]))


def keyboard_rules() -> dict[str, str] | None:
    """Rules, model, layout, variant and options of the keyboard."""
    with _display() as display:
        value = None if display is None else _root_property(display, "_XKB_RULES_NAMES")
    if value is None:
        return None
    text = value.decode("latin-1") if isinstance(value, bytes) else str(value)
    return dict(zip(("rules", "model", "layout", "variant", "options"), text.split("\0"), strict=False))


def find_window(session_name: str) -> Window | None:
    """The window of a session on the display of the environment."""
    name = os.environ.get("DISPLAY")
    if not name:
        return None
    display = LocalDisplay(name)
    try:
        windows = display.windows()
    except (DisplayError, UsageError):  # no such display, or no python-xlib
        return None
    finally:
        display.close()
    return next((window for window in windows if session_name in window.title), None)


def set_title(window: HasId, title: str) -> None:
    """Give a window another title."""
    with _display() as display:
        if display is not None:
            resource = display.create_resource_object("window", window.id)
            utf8 = display.intern_atom("UTF8_STRING")
            resource.change_property(display.intern_atom("_NET_WM_NAME"), utf8, 8, title.encode())
            resource.set_wm_name(title.encode("latin-1", "replace").decode("latin-1"))
            display.sync()


def raise_window(window: HasId) -> None:
    """Bring a window to the front, through the window manager if there is one."""
    with _display() as display:
        if display is not None:
            event = importlib.import_module("Xlib.protocol.event")
            x = importlib.import_module("Xlib.X")
            resource = display.create_resource_object("window", window.id)
            message = event.ClientMessage(
                window=resource, client_type=display.intern_atom("_NET_ACTIVE_WINDOW"), data=(32, [2, 0, 0, 0, 0])
            )
            mask = x.SubstructureRedirectMask | x.SubstructureNotifyMask
            display.screen().root.send_event(message, event_mask=mask)
            resource.configure(stack_mode=x.Above)
            display.sync()
