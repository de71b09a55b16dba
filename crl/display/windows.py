"""Windows as values, and patterns that choose among them.

A `Window` is a snapshot: it does not follow what happens to the window later. This module knows no X server.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TypeAlias

__all__ = ["Geometry", "Window", "WindowPattern", "describe_windows", "window_matcher"]

WindowPattern: TypeAlias = "str | re.Pattern[str] | Callable[[Window], bool]"


@dataclass(frozen=True)
class Geometry:
    """A rectangle in pixels, relative to the root window; it can reach beyond the screen."""

    x: int
    y: int
    width: int
    height: int

    def __str__(self) -> str:
        return f"{self.width}x{self.height}{self.x:+d}{self.y:+d}"

    def clipped(self, width: int, height: int) -> Geometry:
        """The part that lies on a screen of that size; width or height can be 0."""
        left, top = max(0, self.x), max(0, self.y)
        right, bottom = min(width, self.x + self.width), min(height, self.y + self.height)
        return Geometry(left, top, max(0, right - left), max(0, bottom - top))


@dataclass(frozen=True)
class Window:
    """One window of a display.

    Args:
        id: The X server's number of it.
        name: Its title (``_NET_WM_NAME``, else ``WM_NAME``); "" without one.
        wm_class: Instance and class (``("xterm", "XTerm")``), both "" without.
        geometry: Where it is, without a border.
        viewable: Whether it and all its ancestors are mapped.
        parent: Number of the window it lies in: the root, or a window manager's frame.
        override_redirect: Whether it asks window managers to leave it alone (menus, tooltips).
        pid: The process that says it made it (``_NET_WM_PID``), on the display's host.
    """

    id: int
    name: str
    wm_class: tuple[str, str]
    geometry: Geometry
    viewable: bool
    parent: int
    override_redirect: bool = False
    pid: int | None = None

    def __str__(self) -> str:
        shown = "" if self.viewable else ", not viewable"
        return f"{self.name!r} ({'.'.join(self.wm_class)}) {self.geometry}{shown}"


def window_matcher(pattern: WindowPattern) -> Callable[[Window], bool]:
    """The test that a pattern stands for.

    Args:
        pattern: A text with the wildcards of shells (``*``, ``?``, ``[ab]``; upper and lower case differ), which has to
            match the whole name, instance or class; a compiled regular expression, searched in them; or any function.
    """
    if isinstance(pattern, str):
        text = pattern
        return lambda window: any(fnmatchcase(label, text) for label in _labels(window))
    if isinstance(pattern, re.Pattern):
        expression = pattern
        return lambda window: any(expression.search(label) for label in _labels(window))
    return pattern


def _labels(window: Window) -> tuple[str, ...]:
    return tuple(label for label in (window.name, *window.wm_class) if label)


def describe_windows(windows: Iterable[Window]) -> str:
    """One line a window, for error texts."""
    return "\n".join(str(window) for window in windows) or "(no windows)"
