"""One X11 connection over a socket that somebody else opened.

python-xlib speaks the protocol; this module gives it the socket, the cookie and deadlines, and turns its errors into
ours. Nothing global is changed: two of python-xlib's functions are bound again with other helpers in our subclass only.
A connection that failed once stays failed.
"""

from __future__ import annotations

import contextlib
import functools
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass
from types import FunctionType, SimpleNamespace, TracebackType
from typing import Any

from crl.deadlines import Deadline
from crl.display._wire import Wire, WirePoll
from crl.display.errors import DisplayAccessDenied, DisplayError, DisplayLost, DisplayTimeout, XServerError
from crl.display.names import DisplayName
from crl.errors import CrlError, UsageError

__all__ = ["ScreenFacts", "XConnection"]

# What python-xlib raises when the other side does not speak X11 properly.
_GIBBERISH = (struct.error, RuntimeError, AssertionError, ValueError, LookupError, TypeError, AttributeError)


@dataclass(frozen=True)
class ScreenFacts:
    """What the server says of the screen: root window, size, and how pixels are laid out."""

    root: int
    width: int
    height: int
    depth: int
    bits_per_pixel: int
    scanline_pad: int
    big_endian: bool
    red_mask: int
    green_mask: int
    blue_mask: int


def _bound_again(function: Any, **names: Any) -> Any:
    """The same function, seeing other things under some of its module's names."""
    again = FunctionType(function.__code__, {**function.__globals__, **names}, function.__name__, function.__defaults__)
    again.__kwdefaults__ = function.__kwdefaults__
    return again


@functools.cache
def _connection_class() -> Any:
    """Our subclass of python-xlib's connection; made at first use because the import is optional."""
    try:
        from Xlib import display, error
        from Xlib.protocol import display as protocol
    except ImportError as missing:
        raise UsageError(
            "looking at a display needs python-xlib", advice="pip install 'crl[display]'"
        ) from missing

    class Connection(display._BaseDisplay):  # type: ignore[misc]  # noqa: SLF001  # the class without keymap and extensions
        """python-xlib's connection over a `Wire`."""

        send_and_recv = _bound_again(protocol.Display.send_and_recv, select=WirePoll)

        def __init__(self, wire: Wire, name: DisplayName, auth: tuple[bytes, bytes]) -> None:
            self.resource_classes = display._resource_baseclasses.copy()  # noqa: SLF001
            self._atom_cache: dict[str, int] = {}
            # python-xlib keeps these three for all displays of a process together; servers differ.
            self.extension_major_opcodes: dict[str, int] = {}
            self.error_classes = error.xerror_class.copy()
            self.event_classes = protocol.event.event_class.copy()
            given = SimpleNamespace(
                get_display=lambda _: (str(name), "unix", "", name.number, name.screen),
                get_socket=lambda *_: wire,
                get_auth=lambda *_: auth,
            )
            _bound_again(protocol.Display.__init__, connect=given)(self, None)

    return Connection


class XConnection:
    """A connection to one X server; safe to use from several threads, one operation at a time.

    Args:
        wire: The connected socket; the connection owns it from now on.
        name: Which display it is, for error texts and the screen's number.
        auth: Authorisation protocol and data.
        host: Name of the display's host, for error texts.
        deadline: By when the connection has to be set up.

    Raises:
        DisplayAccessDenied: The server refused us.
        DisplayLost: The other side closed.
        DisplayTimeout: It did not answer.
        DisplayError: What answers does not speak X11, or is full.
        UsageError: python-xlib is not installed.
    """

    def __init__(
        self, wire: Wire, name: DisplayName, auth: tuple[bytes, bytes], *, host: str, deadline: Deadline
    ) -> None:
        self.name = name
        self._host = host
        self._wire = wire
        self._lock = threading.RLock()
        self._failure: DisplayError | None = None
        self._x: Any = None
        with contextlib.ExitStack() as on_failure:
            on_failure.callback(wire.close)
            connection_class = _connection_class()
            with self.operation("connecting to the X server", deadline):
                self._x = connection_class(wire, name, auth)
                self._x.set_error_handler(lambda *_: None)  # requests without reply: a window may vanish at any time
                self.screen = self._read_screen()
            on_failure.pop_all()

    def _read_screen(self) -> ScreenFacts:
        info = self._x.info
        screen = info.roots[self._x.default_screen]
        formats = {entry["depth"]: entry for entry in (dict(item._data) for item in info.pixmap_formats)}  # noqa: SLF001
        layout = formats[screen.root_depth]
        visuals = [visual for depth in screen.allowed_depths for visual in depth.visuals]
        visual = next(visual for visual in visuals if visual.visual_id == screen.root_visual)
        return ScreenFacts(
            root=screen.root.id,
            width=screen.width_in_pixels,
            height=screen.height_in_pixels,
            depth=screen.root_depth,
            bits_per_pixel=layout["bits_per_pixel"],
            scanline_pad=layout["scanline_pad"],
            big_endian=bool(info.image_byte_order),
            red_mask=visual.red_mask,
            green_mask=visual.green_mask,
            blue_mask=visual.blue_mask,
        )

    def operation(self, doing: str, deadline: Deadline) -> _Operation:
        """Hold the connection for one operation: ``with connection.operation(…) as x``, x being python-xlib's object.

        Args:
            doing: What is being done, for error texts.
            deadline: By when.

        Raises:
            DisplayError: At the end of the block, as its subclasses say; after all but `XServerError` the connection
                is of no more use.
        """
        return _Operation(self, doing, deadline)

    def _begin(self, doing: str, deadline: Deadline) -> Any:
        self._lock.acquire()
        if self._failure is not None:
            self._lock.release()
            reason = f"the connection to {self.name} is gone: {self._failure.message}"
            raise DisplayLost(reason, host=self._host, doing=doing)
        self._wire.begin(deadline)
        return self._x

    def _end(self, doing: str, error: BaseException | None) -> None:
        try:
            if error is not None and not isinstance(error, CrlError):
                translated = self._translated(error, doing)
                if translated is not None:
                    raise translated from error
        finally:
            self._lock.release()

    def _translated(self, error: BaseException, doing: str) -> DisplayError | None:
        """Our error for one of python-xlib's, None for one that is not its; any but an X error ends the connection."""
        from Xlib import error as xerror

        if isinstance(error, xerror.XError):
            return XServerError(f"X error {_x_error_text(error)}", host=self._host, doing=doing)
        failure = self._failure_for(error, doing, xerror)
        self._failure = failure if failure is not None else DisplayLost("an operation was interrupted", host=self._host)
        self._wire.close()
        return failure

    def _failure_for(self, error: BaseException, doing: str, xerror: Any) -> DisplayError | None:
        kinds: tuple[tuple[Any, Callable[..., DisplayError], str], ...] = (
            (TimeoutError, DisplayTimeout, f"the X server of {self.name} did not answer in time"),
            (xerror.ConnectionClosedError, DisplayLost, f"the X server of {self.name} closed the connection"),
            (OSError, DisplayLost, f"the way to the X server of {self.name} broke: {error}"),
            (_GIBBERISH, DisplayError, f"what answers on {self.name} does not speak X11: {error!r:.200}"),
        )
        if isinstance(error, xerror.DisplayConnectionError):
            return self._refused(str(error.msg), doing)
        for kind, make, text in kinds:
            if isinstance(error, kind):
                return make(text, host=self._host, doing=doing)
        return None

    def _refused(self, reason: str, doing: str) -> DisplayError:
        text = " ".join(reason.replace("\0", " ").split()) or "no reason given"
        if "maximum number of clients" in text.lower():
            return DisplayError(f"the X server of {self.name} is full: {text}", host=self._host, doing=doing)
        return DisplayAccessDenied(
            f"the X server of {self.name} refused us: {text}",
            host=self._host,
            doing=doing,
            advice="give xauthority= the file that holds this display's cookie (see: xauth list)",
        )

    def await_events(self, deadline: Deadline) -> bool:
        """Wait for events and take all that are there; whether there was one before the deadline.

        Raises:
            DisplayError: As `operation`.
        """
        with self.operation("waiting for an event", deadline) as x:
            while not x.pending_events():
                readable, _ = self._wire.wait(writing=False, timeout=deadline.remaining())
                if not readable:
                    return False
            while x.pending_events():
                x.next_event()
        return True

    @property
    def failed(self) -> bool:
        """Whether the connection has ended."""
        return self._failure is not None

    def close(self) -> None:
        """End the connection; again is harmless."""
        with self._lock:
            if self._failure is None:
                self._failure = DisplayLost("it was closed", host=self._host)
            self._wire.close()


def _x_error_text(error: Any) -> str:
    data = getattr(error, "_data", {})
    facts = (f"{key} {data[key]}" for key in ("resource_id", "major_opcode", "minor_opcode") if key in data)
    return f"{type(error).__name__} ({', '.join(facts)})"


class _Operation:
    """Makes one operation of a connection a ``with`` block; sees every way out of it, interrupts included."""

    def __init__(self, connection: XConnection, doing: str, deadline: Deadline) -> None:
        self._connection = connection
        self._doing = doing
        self._deadline = deadline

    def __enter__(self) -> Any:
        return self._connection._begin(self._doing, self._deadline)  # noqa: SLF001  # its other half

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._connection._end(self._doing, error)  # noqa: SLF001  # its other half
