"""Displays: the windows and pictures of an X server on a target or on this machine.

`Display` needs nothing on the target but the X server: socket and cookie come through the target's link, and X11 is
spoken here. `LocalDisplay` is the same for a server of this machine. Connections are opened at first use; every
operation ends by its deadline, and whoever made a display closes it.
"""

from __future__ import annotations

import threading
from types import TracebackType
from typing import TYPE_CHECKING, Self

from crl.deadlines import Deadline
from crl.display._access import Dialer, DisplayHost, LocalDialer, TargetDialer
from crl.display._pixels import read_picture
from crl.display._probe import redraw, wait_until_managed
from crl.display._tree import TreeNode, read_tree
from crl.display._wire import Wire
from crl.display._xconnection import XConnection
from crl.display.errors import DisplayTimeout, NoSuchWindow
from crl.display.names import DisplayName
from crl.display.windows import Geometry, Window, WindowPattern, describe_windows, window_matcher

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["Display", "LocalDisplay"]

DEFAULT_TIMEOUT = 20.0


class _AnyDisplay:
    """What displays have in common, wherever their server is."""

    def __init__(self, dialer: Dialer, display: str | int, xauthority: str | None, timeout: float) -> None:
        self._dialer = dialer
        self._name = DisplayName.parse(display)
        self._xauthority = xauthority
        self._timeout = timeout
        self._lock = threading.Lock()
        self._kept: XConnection | None = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._name} of {self._dialer.host}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    @property
    def name(self) -> str:
        """The display's name on its host, for example ``:50``."""
        return str(self._name)

    def size(self) -> tuple[int, int]:
        """Width and height of the screen in pixels, as it was when the connection was opened."""
        screen = self._connection().screen
        return screen.width, screen.height

    def windows(self, *, every: bool = False) -> list[Window]:
        """The windows there are, lowest in the stacking order first.

        Args:
            every: Also give windows without name and class (window managers' frames) and the parts inside of
                applications' windows.

        Raises:
            DisplayError: As its subclasses say.
        """
        connection = self._connection()
        with connection.operation("listing windows", Deadline.after(self._timeout)) as x:
            nodes = read_tree(x, connection.screen.root)
        return [node.window for node in nodes if every or _is_of_interest(node)]

    def wait_for_window(self, pattern: WindowPattern, timeout: float = 30.0, *, viewable: bool = True) -> Window:
        """Wait until a window matches, told by the X server's events.

        Args:
            pattern: What to look for, see `crl.display.window_matcher`.
            timeout: Seconds.
            viewable: Whether the window has to be mapped.

        Raises:
            DisplayTimeout: None came; the text lists the windows there are.
            DisplayError: As its other subclasses say.
        """
        deadline = Deadline.after(timeout)
        matches = window_matcher(pattern)
        try:
            connection = self._connect(deadline)  # its own one: events are read while others ask
            try:
                return self._wait(connection, deadline, lambda seen: (seen.viewable or not viewable) and matches(seen))
            finally:
                connection.close()
        except DisplayTimeout as error:
            raise DisplayTimeout(
                f"no window {pattern!r} came within {timeout:g} s",
                host=self._dialer.host,
                doing=f"waiting for a window on {self.name}",
                transcript=error.transcript or _seen(None),
            ) from error

    def _wait(self, connection: XConnection, deadline: Deadline, matches: WindowPattern) -> Window:
        watched: set[int] = set()
        nodes: list[TreeNode] | None = None
        while True:
            try:
                nodes, fresh = _look(connection, watched, deadline)
            except DisplayTimeout as error:
                raise DisplayTimeout(error.message, transcript=_seen(nodes)) from error
            test = window_matcher(matches)
            for node in nodes:
                if _is_of_interest(node) and test(node.window):
                    return node.window
            if fresh:  # something may have happened between finding and watching it: look again first
                continue
            if not connection.await_events(deadline):
                raise DisplayTimeout("no window matched", transcript=_seen(nodes))

    def wait_for_window_manager(self, timeout: float = 10.0) -> None:
        """Wait until a window manager takes windows; a tiny window is shown to it for that.

        Raises:
            DisplayTimeout: None did.
            DisplayError: As its other subclasses say.
        """
        deadline = Deadline.after(timeout)
        connection = self._connect(deadline)
        try:
            wait_until_managed(connection, deadline)
        finally:
            connection.close()


    def picture(self, window: Window | int | None = None, *, area: Geometry | None = None) -> Image.Image:
        """A picture of the screen as an RGB image, without the pointer.

        Args:
            window: Only the part of the screen where this window is, with whatever covers it.
            area: Only this part.

        Raises:
            NoSuchWindow: The window has vanished, or lies outside the screen.
            DisplayError: As its other subclasses say.
            UsageError: Pillow or python-xlib is missing.
        """
        connection = self._connection()
        screen = connection.screen
        if window is not None:
            area = self._where(window if isinstance(window, int) else window.id)
        wanted = (area or Geometry(0, 0, screen.width, screen.height)).clipped(screen.width, screen.height)
        if not wanted.width or not wanted.height:
            raise NoSuchWindow(f"{area} lies outside the screen", host=self._dialer.host, doing="taking a picture")
        with connection.operation("taking a picture", Deadline.after(self._timeout)) as x:
            return read_picture(x, screen, wanted)

    def _where(self, number: int) -> Geometry:
        for window in self.windows(every=True):
            if window.id == number:
                return window.geometry
        raise NoSuchWindow(
            f"window {number:#x} is not there any more", host=self._dialer.host, doing=f"looking at {self.name}"
        )

    def close(self) -> None:
        """End the connection; again is harmless, and a later use opens a new one."""
        with self._lock:
            kept, self._kept = self._kept, None
        if kept is not None:
            kept.close()

    def _connection(self) -> XConnection:
        with self._lock:
            if self._kept is None or self._kept.failed:
                self._kept = self._connect(Deadline.after(self._timeout))
            return self._kept

    def _connect(self, deadline: Deadline) -> XConnection:
        auth = self._dialer.cookie(self._name, self._xauthority)
        wire = Wire(self._dialer.dial(self._name, deadline))
        return XConnection(wire, self._name, auth, host=self._dialer.host, deadline=deadline)


class Display(_AnyDisplay):
    """An X display of a target.

    Args:
        target: The target (`crl.targets.Target`); its shell's user needs to be allowed to read the cookie.
        display: The display's name on the target.
        xauthority: The file there that holds the cookie; by default ``~/.Xauthority``.
        timeout: Seconds that connecting, listing or one picture may take.

    Raises:
        DisplayNameError: `display` is not the name of a local display.
    """

    def __init__(
        self,
        target: DisplayHost,
        display: str | int = ":50",
        xauthority: str | None = None,
        *,
        timeout: float = DEFAULT_TIMEOUT,
    ) -> None:
        super().__init__(TargetDialer(target), display, xauthority, timeout)


class LocalDisplay(_AnyDisplay):
    """An X display of this machine; arguments as of `Display`."""

    def __init__(
        self, display: str | int, xauthority: str | None = None, *, timeout: float = DEFAULT_TIMEOUT
    ) -> None:
        super().__init__(LocalDialer(), display, xauthority, timeout)

    def redraw(self, timeout: float = DEFAULT_TIMEOUT) -> None:
        """Have every window of the screen drawn anew by its program, as ``xrefresh`` does.

        Raises:
            DisplayError: As its other subclasses say.
        """
        deadline = Deadline.after(timeout)
        connection = self._connect(deadline)
        try:
            redraw(connection, deadline)
        finally:
            connection.close()


def _is_of_interest(node: TreeNode) -> bool:
    return not node.inside_application and (node.window.name != "" or node.window.wm_class != ("", ""))


def _seen(nodes: list[TreeNode] | None) -> str:
    """What the last look saw, for error texts; None is that there was none."""
    if nodes is None:
        return "(the X server did not say in time which windows there are)"
    return describe_windows(node.window for node in nodes if _is_of_interest(node))


def _look(connection: XConnection, watched: set[int], deadline: Deadline) -> tuple[list[TreeNode], bool]:
    """Read the tree and ask for the events of windows not watched so far; whether there were such."""
    from Xlib import X
    from Xlib.protocol import request

    with connection.operation("looking for a window", deadline) as x:
        nodes = read_tree(x, connection.screen.root)
        present = {connection.screen.root, *(node.window.id for node in nodes if not node.inside_application)}
        fresh = present - watched
        for number in fresh:
            mask = X.SubstructureNotifyMask | X.StructureNotifyMask | X.PropertyChangeMask
            request.ChangeWindowAttributes(display=x, onerror=_ignore, window=number, attrs={"event_mask": mask})
        x.flush()
    watched &= present
    watched |= fresh
    return nodes, bool(fresh)


def _ignore(*_: object) -> bool:
    """The window has vanished meanwhile: nothing to watch."""
    return True
