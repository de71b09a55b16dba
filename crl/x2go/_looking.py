"""What can be seen of a session: its own display on the server, the client's, and both compared.

This is the part of `crl.x2go.X2GoSession` that looks; it starts and ends nothing but the client's display and its own
connections. Every look ends by its timeout, and an error tells what became of the session.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from crl.deadlines import Deadline
from crl.display import Display, DisplayError, Window, WindowPattern
from crl.errors import CrlError
from crl.x2go._evidence import Evidence, open_picture, save_pictures
from crl.x2go._sides import Sides
from crl.x2go.backends.info.plain import X2GoServerSessionInfo
from crl.x2go.backends.terminal.plain import X2GoTerminalSession
from crl.x2go.clientdisplay import ClientDisplay
from crl.x2go.state import AgentState, SessionState
from crl.x2go.verification import Verification
from crl.x2go.x2go_exceptions import (
    X2GoSessionEnded,
    X2GoSessionException,
    X2GoStateError,
    X2GoVerificationFailed,
)

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["WINDOW_TIMEOUT", "Looking", "display_arguments"]

WINDOW_TIMEOUT = 30.0


class Looking:
    """The displays of a session; the rest of the session stands above it."""

    _terminal: X2GoTerminalSession
    control_session: Any
    _lock: threading.RLock
    _display_wish: str | ClientDisplay | None
    _client_display: ClientDisplay | None
    _client_is_ours: bool
    _server_display: Display | None

    if TYPE_CHECKING:

        @property
        def state(self) -> SessionState: ...

        @property
        def place(self) -> str: ...

        @property
        def info(self) -> X2GoServerSessionInfo: ...

        def get_state(self) -> AgentState: ...

        def get_session_title(self) -> str: ...

        def session_ok(self) -> bool: ...

        def _undo_sweep(self, *, seen: bool = False) -> bool: ...

    def _need_client_display(self) -> ClientDisplay:
        if self._client_display is None:
            self._client_display, self._client_is_ours = ClientDisplay.resolve(self._display_wish)
        return self._client_display

    def _forget_client_display(self) -> None:
        display, self._client_display = self._client_display, None
        if display is not None and self._client_is_ours:
            display.close()

    @property
    def client_display(self) -> ClientDisplay:
        """The controller's display that shows the session.

        Raises:
            X2GoSessionException: There is none at present.
        """
        if self._client_display is None:
            raise X2GoSessionException(f"no display shows the session: it is {self.state}", host=self.place)
        return self._client_display

    @property
    def server_display(self) -> Display:
        """The session's own display on the server.

        Raises:
            X2GoSessionException: The session has not been started.
        """
        with self._lock:
            if self._server_display is None:
                if self.info.display is None:
                    raise X2GoSessionException("the session has no display yet", host=self.place)
                home = self.control_session.server.get_facts().home
                self._server_display = Display(
                    self.control_session.target, f":{self.info.display}", f"{home}/.Xauthority"
                )
            return self._server_display

    def _forget_server_display(self) -> None:
        display, self._server_display = self._server_display, None
        if display is not None:
            display.close()

    def get_environment(self) -> dict[str, str]:
        """The variables with which a program on the target shows itself in the session: ``target.start(…, env=…)``.

        Raises:
            X2GoSessionException: The session has not been started.
        """
        if self.info.display is None:
            raise X2GoSessionException("the session has no display yet", host=self.place)
        return self._terminal.environment()

    def windows(self) -> list[Window]:
        """The windows on the session's own display."""
        with self._looking("listing windows"):
            return self.server_display.windows()

    def wait_for_window(self, name: WindowPattern, timeout: float = WINDOW_TIMEOUT) -> Window:
        """Wait until the session shows a window.

        Args:
            name: Title, instance or class, with wildcards; or another pattern (`crl.display.window_matcher`).
            timeout: Seconds.

        Raises:
            DisplayTimeout: None came.
            X2GoSessionEnded: The session has ended first; the text has what its command wrote.
        """
        with self._looking(f"waiting for a window {name!r}"):
            return self.server_display.wait_for_window(name, timeout)

    def server_picture(self) -> Image.Image:
        """A picture of the session's own display."""
        with self._looking("taking a picture"):
            return self.server_display.picture()

    def client_picture(self, *, session_only: bool = False) -> Image.Image:
        """A picture of the controller's display.

        Args:
            session_only: Only the window of a desktop session.
        """
        screen = self.client_display.screen
        if not session_only:
            return screen.picture()
        return screen.picture(screen.wait_for_window(self.get_session_title(), WINDOW_TIMEOUT))

    @contextlib.contextmanager
    def _looking(self, doing: str) -> Iterator[None]:
        """While looking at the session's display: if that fails, tell it from the session's state."""
        if self.state is not SessionState.RUNNING:
            reason = f"a session that is {self.state} cannot be looked at"
            raise X2GoStateError(reason, host=self.place, doing=doing)
        try:
            yield
        except DisplayError as error:
            state = self.get_state()
            if state is AgentState.TERMINATED:
                raise X2GoSessionEnded(
                    f"the session {self.info.name} has ended",
                    host=self.place,
                    doing=doing,
                    transcript=self.control_session.server.notes(self.info.name).command_output,
                ) from error
            if state is not AgentState.RUNNING:
                raise X2GoSessionException(
                    f"the session {self.info.name} is {state}", host=self.place, doing=doing
                ) from error
            raise

    # Verification.

    def verify(
        self,
        windows: Iterable[WindowPattern] = (),
        picture: str | os.PathLike[str] | Image.Image | None = None,
        *,
        timeout: float = WINDOW_TIMEOUT,
        check: bool = True,
        pictures: str | os.PathLike[str] | None = None,
    ) -> Verification:
        """Look at the session from both sides: state, processes, windows, pictures.

        Args:
            windows: What has to be there; waited for.
            picture: What the session's display has to look like, a picture or its file; waited for.
            timeout: Seconds for windows and picture together.
            check: Whether a problem is raised.
            pictures: The folder for the picture that an error shows; by default that for temporary files.

        Returns:
            What was seen, with both pictures.

        Raises:
            X2GoVerificationFailed: Something is not as it should be, and `check`; the text lists all of it, with
                state, processes, windows, the ends of both logs, and where a picture of both displays is.
        """
        deadline = Deadline.after(timeout)
        patterns, expected = tuple(windows), open_picture(picture)
        result = self._verified(patterns, deadline, expected)
        if result.state is AgentState.SUSPENDED and self._undo_sweep():
            result = self._verified(patterns, deadline, expected)
        if check and not result.ok:
            raise self._not_verified(result, pictures)
        return result

    def _verified(
        self, patterns: tuple[WindowPattern, ...], deadline: Deadline, expected: Image.Image | None
    ) -> Verification:
        """What can be seen of the session now; without a display, or when it does not run, what is known."""
        state = self.get_state()
        if state is AgentState.RUNNING and self._client_display is not None:
            return self._look_at_both(patterns, deadline, expected)
        return Verification(
            session_name=self.info.name,
            state=state,
            agent_alive=state not in (AgentState.TERMINATED, AgentState.UNKNOWN),
            proxy_up=self.session_ok(),
            missing=tuple(repr(pattern) for pattern in patterns),
            expected=None if expected is None else 0.0,
        )

    def _not_verified(self, result: Verification, pictures: str | os.PathLike[str] | None) -> X2GoVerificationFailed:
        proxy = self._terminal.proxy
        evidence = Evidence(proxy_log=self._terminal.proxy_log if proxy is None else proxy.log_tail)
        with contextlib.suppress(CrlError, OSError):  # then there is no more to show
            notes = self.control_session.server.notes(result.session_name)
            evidence = Evidence(notes.processes, notes.log, notes.command_output, evidence.proxy_log)
        saved = save_pictures(result, pictures)
        return X2GoVerificationFailed(
            "; ".join(result.problems),
            host=self.place,
            doing=f"verifying the session {result.session_name}",
            evidence=evidence.text(result),
            picture=None if saved is None else str(saved),
        )

    def _look_at_both(
        self, patterns: Sequence[WindowPattern], deadline: Deadline, expected: Image.Image | None
    ) -> Verification:
        whole = self._terminal.is_desktop_session() or self._terminal.is_shadow_session()
        title = self.get_session_title() if whole else None
        with self._looking("verifying the session"):
            seen = Sides(self.server_display, self.client_display.screen, title).look(patterns, deadline, expected)
        return Verification(
            session_name=self.info.name,
            state=self.get_state(),
            agent_alive=True,
            proxy_up=self.session_ok(),
            server_windows=seen.server_windows,
            client_windows=seen.client_windows,
            missing=seen.missing,
            shown=seen.shown,
            likeness=seen.likeness,
            expected=seen.expected,
            redrawn=seen.redrawn,
            server_picture=seen.server_picture,
            client_picture=seen.client_picture,
        )


def display_arguments(display: ClientDisplay) -> dict[str, str | None]:
    """A display as a terminal session takes it."""
    return {"display": display.name, "xauthority": None if display.xauthority is None else str(display.xauthority)}
