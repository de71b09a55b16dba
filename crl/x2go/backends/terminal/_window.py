"""The window that shows a whole desktop on the client's display.

It is found by the name that x2goagent gives it, also after it got another title. It knows one display of this machine;
a thread of its own looks for a window that has still to come, and ends with `stop`.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from pathlib import Path
from typing import Any

from crl.deadlines import Deadline
from crl.display import DisplayError, DisplayTimeout, LocalDisplay, Window
from crl.errors import CrlError
from crl.x2go import _xwindows

__all__ = ["WINDOW_TIME", "SessionWindow", "WindowMethods"]

_logger = logging.getLogger("crl.x2go")
WINDOW_TIME = 60.0
STEP = 1.0  # how long the end of the search may take


class SessionWindow:
    """The window of a desktop.

    Args:
        session_name: The session, whose window is called ``X2GO-`` and that name.
        display: The display here; None is that of the environment.
        xauthority: The file with its cookie.
        folder: The session's folder, which gets the file ``session.window``; None writes none.
    """

    def __init__(
        self, session_name: str, display: str | None, xauthority: str | None, folder: Path | None = None
    ) -> None:
        self.name = f"X2GO-{session_name}"
        self._display = display or os.environ.get("DISPLAY", "")
        self._xauthority = xauthority or os.environ.get("XAUTHORITY")
        self._folder = folder
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self.window: Window | None = None
        self.title = ""  # the one that it was given

    def find(self, timeout: float) -> Window | None:
        """The window; None when it does not come in time, or there is no display."""
        if self.window is not None:
            return self.window
        deadline = Deadline.after(timeout)
        while not self._stopped.is_set():
            try:
                with LocalDisplay(self._display, self._xauthority) as display:
                    found = display.wait_for_window(self.name, deadline.sooner(STEP).remaining() or 0.0)
            except DisplayTimeout:
                if deadline.expired:
                    return None
            except (DisplayError, CrlError) as error:
                _logger.info("the window %s cannot be looked for: %s", self.name, error)
                return None
            else:
                with self._lock:
                    self.window = found
                self.update_file()
                return found
        return None

    def set_title(self, title: str, timeout: float) -> bool:
        """Give it another title; an empty one is its own name. Whether it was there."""
        window = self.find(timeout)
        if window is not None:
            _xwindows.set_title(window, title or self.name, self._display, self._xauthority)
            self.title = title
        return window is not None

    def raise_it(self, timeout: float) -> bool:
        """Bring it to the front; whether it was there."""
        window = self.find(timeout)
        if window is not None:
            _xwindows.raise_window(window, self._display, self._xauthority)
        return window is not None

    def title_when_there(self, title: str | None, timeout: float) -> None:
        """Look for it in a thread and give it a title, if there is one."""
        work = (lambda: self.find(timeout)) if title is None else (lambda: self.set_title(title, timeout))
        self._thread = threading.Thread(target=work, name="crl-x2go-window", daemon=True)
        self._thread.start()

    def update_file(self) -> None:
        """Write the window's number into the session's folder, or remove the file when there is no window."""
        if self._folder is None:
            return
        path = self._folder / "session.window"
        with contextlib.suppress(OSError):  # the folder may go at any time with the session
            if self.window is None:
                path.unlink(missing_ok=True)
            else:
                path.write_text(f"ID:{self.window.id}\n", encoding="ascii")

    def stop(self) -> None:
        """End the search and remove the file; returns when both is done."""
        self._stopped.set()
        with self._lock:
            self.window = None
        self.update_file()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(STEP * 5)


class WindowMethods:
    """What `X2GoTerminalSession` does with that window."""

    control_session: Any
    profile_name: str
    session_title: str
    session_window: SessionWindow | None

    @property
    def given_title(self) -> str:
        """The title that the window has been given; "" for its own."""
        return "" if self.session_window is None else self.session_window.title

    def auto_session_window_title(self, dont_set: bool = False) -> None:
        """Give the window the title of the parameters, once it is there.

        Args:
            dont_set: Only look for the window.
        """
        title = self.session_title or f"{self.profile_name} on {self.control_session.server.host}"
        if self.session_window is not None:
            self.session_window.title_when_there(None if dont_set else title, WINDOW_TIME)

    def find_session_window(self, timeout: float = WINDOW_TIME) -> Any:
        """The window of a desktop on the client's display; None when it does not come in time."""
        return None if self.session_window is None else self.session_window.find(timeout)

    def set_session_window_title(self, title: str, timeout: float = WINDOW_TIME) -> bool:
        """Give the window of a desktop another title; "" is its own. Whether it was there."""
        self.session_title = title
        return self.session_window is not None and self.session_window.set_title(title, timeout)

    def raise_session_window(self, timeout: float = WINDOW_TIME) -> bool:
        """Bring the window of a desktop to the front; whether it was there."""
        return self.session_window is not None and self.session_window.raise_it(timeout)

    def _find_session_window(self, timeout: float = 0) -> Any:
        """As `find_session_window`, without waiting."""
        return self.find_session_window(timeout)

    def _set_session_window_title(self, title: str, timeout: float = 0) -> bool:
        """As `set_session_window_title`, without waiting."""
        return self.set_session_window_title(title, timeout)

    def _raise_session_window(self, timeout: float = 0) -> bool:
        """As `raise_session_window`, without waiting."""
        return self.raise_session_window(timeout)

    def update_session_window_file(self) -> None:
        """Write the window's number into the session's folder."""
        if self.session_window is not None:
            self.session_window.update_file()
