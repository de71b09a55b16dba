"""Looks at a session on both displays at once: its own on the server, and the controller's that shows it.

Windows are waited for by the X servers' events; then both pictures are taken until they look alike, because what is
drawn on the server is shown here a little later. The module knows two displays and no session.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from crl.deadlines import Deadline
from crl.display import Display, DisplayTimeout, Geometry, LocalDisplay, Window, WindowPattern
from crl.x2go.verification import ALIKE, likeness, likeness_to

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["Seen", "Sides"]

ALIKE_PATIENCE = 5.0
ALIKE_INTERVAL = 0.05
CLIENT_PATIENCE = 3.0  # the client's display is looked at even when the server's windows took all the time


@dataclass(frozen=True)
class Seen:
    """What there was to see; fields as of `crl.x2go.Verification`."""

    server_windows: tuple[Window, ...]
    client_windows: tuple[Window, ...]
    missing: tuple[str, ...]
    shown: bool
    likeness: float | None
    expected: float | None
    redrawn: bool
    server_picture: Image.Image
    client_picture: Image.Image


class Sides:
    """The two displays of a session.

    Args:
        server: The session's own display.
        client: The controller's display.
        title: Title of the window that shows a whole desktop; None for a session whose windows are shown one by one.
    """

    def __init__(self, server: Display, client: LocalDisplay, title: str | None) -> None:
        self._server = server
        self._client = client
        self._title = title
        self._pause = threading.Event()  # never set

    def look(
        self, patterns: Sequence[WindowPattern], deadline: Deadline, expected: Image.Image | None = None
    ) -> Seen:
        """Wait for windows, and for a picture, until the deadline, then see what both displays show.

        Raises:
            DisplayError: A display could not be looked at; windows that do not come are no error here.
        """
        missing: list[str] = []
        found: list[Window] = []
        for pattern in patterns:
            try:
                found.append(self._server.wait_for_window(pattern, deadline.remaining() or 0.0))
            except DisplayTimeout:
                missing.append(repr(pattern))
        self._wait_for_picture(expected, deadline)
        patience = Deadline.after(max(deadline.remaining() or 0.0, CLIENT_PATIENCE))
        on_client = self._find_on_client(found, patience)
        likeness_now, server, client, redrawn = self._wait_until_alike(found, on_client or (), patience)
        return Seen(
            server_windows=tuple(self._server.windows()),
            client_windows=tuple(self._client.windows()),
            missing=tuple(missing),
            shown=on_client is not None,
            likeness=likeness_now,
            expected=None if expected is None else likeness_to(expected, server),
            redrawn=redrawn,
            server_picture=server,
            client_picture=client,
        )

    def _wait_for_picture(self, expected: Image.Image | None, deadline: Deadline) -> None:
        """Wait until the session looks like a picture, or the deadline."""
        while expected is not None and not deadline.expired:
            if likeness_to(expected, self._server.picture()) >= ALIKE:
                return
            self._pause.wait(ALIKE_INTERVAL)

    def _find_on_client(self, found: Sequence[Window], deadline: Deadline) -> list[Window] | None:
        """The desktop's window on the client's display, or those of the application; None when one is not there."""
        wanted: list[WindowPattern] = [_same_class(window) for window in found] or [_has_class]
        if self._title is not None:
            wanted = [self._title]
        try:
            return [self._client.wait_for_window(pattern, deadline.remaining() or 0.0) for pattern in wanted]
        except DisplayTimeout:
            return None

    def _wait_until_alike(
        self, found: Sequence[Window], on_client: Sequence[Window], deadline: Deadline
    ) -> tuple[float | None, Image.Image, Image.Image, bool]:
        """Both pictures, when the client's has become as the server's, or after a while; and whether it was redrawn.

        Just after a resume the agent can lose what it should draw; anything that uncovers its windows brings it back.
        """
        patience, redraw_at = deadline.sooner(ALIKE_PATIENCE), deadline.sooner(ALIKE_PATIENCE / 2)
        redrawn = False
        while True:
            server, client = self._server.picture(), self._client.picture()
            whole = Geometry(0, 0, *server.size)
            there = [whole] if self._title is not None else _places(found, self._server.windows())
            here = _places(on_client, self._client.windows())
            parts = [_cut(server, client, *places) for places in zip(there, here, strict=False)]
            alike = min((likeness(*part) for part in parts if part is not None), default=None)
            if alike is None or alike >= ALIKE or patience.expired:
                return alike, server, client, redrawn
            if not redrawn and redraw_at.expired:
                redrawn = True
                self._client.redraw()
            self._pause.wait(ALIKE_INTERVAL)  # X tells of drawing only by an extension that not every server has


def _places(windows: Sequence[Window], now: Sequence[Window]) -> list[Geometry]:
    """Where windows are now: a window manager may have moved them since they were found."""
    places = {window.id: window.geometry for window in now}
    return [places.get(window.id, window.geometry) for window in windows]


def _has_class(window: Window) -> bool:
    return window.wm_class != ("", "")


def _same_class(window: Window) -> Callable[[Window], bool]:
    """Titles change while one looks; size and class tell windows apart well enough."""
    key = (window.wm_class, window.geometry.width, window.geometry.height)
    return lambda other: (other.wm_class, other.geometry.width, other.geometry.height) == key


def _cut(
    server: Image.Image, client: Image.Image, there: Geometry, here: Geometry
) -> tuple[Image.Image, Image.Image] | None:
    """The pixels of one window that are on both screens, None when there are none."""
    left = max(0, -there.x, -here.x)
    top = max(0, -there.y, -here.y)
    right = min(there.width, here.width, server.width - there.x, client.width - here.x)
    bottom = min(there.height, here.height, server.height - there.y, client.height - here.y)
    if right <= left or bottom <= top:
        return None
    boxes = [(place.x + left, place.y + top, place.x + right, place.y + bottom) for place in (there, here)]
    return server.crop(boxes[0]), client.crop(boxes[1])
