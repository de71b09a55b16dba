"""X2Go sessions of a target: started, looked at, suspended, resumed and terminated.

`X2GoSession` is the client's face, with python-x2go's names where they exist and a target in place of its connection.
It joins a state machine, the server's commands and proxy, and the two displays. Every step ends by its deadline, raises
an exception of its own when it fails, and leaves nothing behind on either side when it does.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self

from crl.deadlines import Deadline
from crl.display import Display, DisplayError, Window, WindowPattern
from crl.errors import CrlError
from crl.x2go._evidence import Evidence, open_picture, save_pictures
from crl.x2go._host import Host
from crl.x2go._sides import Sides
from crl.x2go.backends.control.plain import X2GoControlSession
from crl.x2go.backends.info.plain import X2GoServerSessionInfo, X2GoServerSessionList
from crl.x2go.backends.proxy.base import X2GoProxyBASE
from crl.x2go.backends.proxy.nx3 import X2GoProxyNX3
from crl.x2go.backends.terminal.plain import X2GoSessionParams, X2GoTerminalSession
from crl.x2go.clientdisplay import ClientDisplay
from crl.x2go.state import AgentState, SessionEvent, SessionState, SessionStateMachine, Transition
from crl.x2go.verification import Verification
from crl.x2go.x2go_exceptions import (
    X2GoParameterError,
    X2GoSessionEnded,
    X2GoSessionException,
    X2GoSessionNotFound,
    X2GoStateError,
    X2GoTimeOutException,
    X2GoVerificationFailed,
)

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["X2GoSession", "list_sessions"]

_logger = logging.getLogger("crl.x2go")
DEFAULT_TIMEOUT = 60.0
WINDOW_TIMEOUT = 30.0
CLEANING_SHARE = 0.2  # of a start's time is kept for leaving nothing behind when it fails


class X2GoSession:
    """One X2Go session.

    Args:
        target: The server and account (`crl.targets.Target`): whoever the target's shell is, owns the session.
        session_name: Name of a session that exists already, for `resume` or `terminate`.
        profile_name: A name for people; only kept.
        client_display: Where its windows appear: None for an Xvfb of the session's own, ``":0"`` or ``"$DISPLAY"`` for
            one that is there, or a `ClientDisplay` that several sessions use.
        sessions_rootdir: Folder for the client's files of the session; None for a private one that goes with it.
        proxy_options: Options of the proxy.
        proxy_class: Class of the proxy.
        at_exit: What `close` and the end of a ``with`` block do with a session that lives.
        on_change: Called after each change of state.
        **params: How the session is to be: see `X2GoSessionParams` (geometry, depth, link, pack, kbtype, kblayout,
            clipboard, session_type, cmd, …).

    Raises:
        X2GoParameterError: A parameter is not usable.
    """

    def __init__(
        self,
        *,
        target: Host,
        session_name: str | None = None,
        profile_name: str = "UNKNOWN",
        client_display: str | ClientDisplay | None = None,
        sessions_rootdir: str | os.PathLike[str] | None = None,
        proxy_options: dict[str, object] | None = None,
        proxy_class: type[X2GoProxyBASE] = X2GoProxyNX3,
        at_exit: Literal["terminate", "suspend", "leave"] = "terminate",
        on_change: Callable[[Transition], object] | None = None,
        **params: Any,
    ) -> None:
        if at_exit not in {"terminate", "suspend", "leave"}:
            raise X2GoParameterError(f"at_exit has to be 'terminate', 'suspend' or 'leave', not {at_exit!r}")
        self.target = target
        self.profile_name = profile_name
        self.uuid = str(uuid.uuid4())
        self.session_params = X2GoSessionParams()
        self.session_params.update(**params)
        self.control_session = X2GoControlSession(target)
        self._wanted_name = session_name
        self._display_wish = client_display
        self._at_exit = at_exit
        self._machine = SessionStateMachine(on_change)
        self._lock = threading.RLock()
        self._client_display: ClientDisplay | None = None
        self._client_is_ours = False
        self._server_display: Display | None = None
        self._tidied = False
        self.terminal_session = X2GoTerminalSession(
            self.control_session,
            params=self.session_params,
            sessions_rootdir=sessions_rootdir,
            proxy_options=proxy_options,
            proxy_backend=proxy_class,
            session_instance=self,
        )

    def __repr__(self) -> str:
        return f"<X2GoSession {self.get_session_name() or '(no name yet)'} on {self.target.name}: {self.state}>"

    def __str__(self) -> str:
        return self.uuid

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
            return
        try:
            self.close()
        except CrlError as second:  # the error of the block is the one to show
            error.add_note(f"closing the session failed too: {second}")

    # What is known without asking the server.

    @property
    def state(self) -> SessionState:
        """Where the session is in its life, as last seen."""
        return self._machine.state

    @property
    def info(self) -> X2GoServerSessionInfo:
        """What is known of the session on the server."""
        return self.terminal_session.session_info

    def get_uuid(self) -> str:
        """A text that tells this object from others."""
        return self.uuid

    def get_session_name(self) -> str | None:
        """The session's name on the server, None before its start."""
        return self.terminal_session.get_session_name() or self._wanted_name

    def get_session_info(self) -> X2GoServerSessionInfo:
        """What is known of the session on the server."""
        return self.info

    def get_session_cmd(self) -> str:
        """The session's command."""
        return self.terminal_session.get_session_cmd()

    def get_session_type(self) -> str | None:
        """The session's letter: D desktop, R single application."""
        return self.terminal_session.get_session_type()

    def get_session_title(self) -> str:
        """The title of a desktop's window on the client."""
        return f"X2GO-{self.get_session_name()}"

    def is_desktop_session(self) -> bool:
        """Whether it is a desktop."""
        return self.terminal_session.is_desktop_session()

    def is_rootless_session(self) -> bool:
        """Whether it is a single application."""
        return self.terminal_session.is_rootless_session()

    def session_ok(self) -> bool:
        """Whether the proxy shows the session here."""
        return self.terminal_session.ok()

    # What the server shows.

    def get_state(self) -> AgentState:
        """The true state: the agent's own, read on the server; `TERMINATED` also when its process is gone."""
        if not self.info.is_initialized():
            return AgentState.UNKNOWN
        report = self.terminal_session.look()
        self._machine.observe(report.state, alive=report.alive)
        return AgentState.TERMINATED if report.gone else report.state

    def is_running(self) -> bool:
        """Whether the session runs, asked of the server."""
        return self.get_state() is AgentState.RUNNING

    def is_suspended(self) -> bool:
        """Whether the session is suspended, asked of the server."""
        return self.get_state() is AgentState.SUSPENDED

    def has_terminated(self) -> bool:
        """Whether the session has ended, asked of the server."""
        return self.get_state() is AgentState.TERMINATED

    def wait_for_state(self, *states: AgentState, timeout: float = DEFAULT_TIMEOUT) -> AgentState:
        """Wait on the server until the agent is in one of the states; an agent that is gone is `TERMINATED`.

        Raises:
            X2GoTimeOutException: It did not get there in time.
            X2GoSessionEnded: It has ended, which was not waited for.
        """
        report = self.control_session.watch(self.info, states, Deadline.after(timeout))
        self._machine.observe(report.state, alive=report.alive)
        state = AgentState.TERMINATED if report.gone else report.state
        if state in states:
            return state
        wanted = " or ".join(states)
        kind = X2GoSessionEnded if report.gone else X2GoTimeOutException
        raise kind(f"the agent is {state}, not {wanted}", host=self.target.name, doing="waiting for a session's state")

    def list_sessions(self) -> dict[str, X2GoServerSessionInfo]:
        """The account's sessions on the server, by name."""
        return self.control_session.list_sessions()()

    # Steps.

    def start(self, cmd: str | Sequence[str] | None = None, *, timeout: float = DEFAULT_TIMEOUT) -> bool:
        """Start a new session and its command.

        Args:
            cmd: The command; by default that of the parameters.
            timeout: Seconds in which the session runs, or the error is raised and nothing is left.

        Returns:
            True, as in python-x2go; whatever fails is raised.

        Raises:
            X2GoServerMissing: There is no X2Go server.
            X2GoCommandNotFound: The command does not exist on the server.
            X2GoProxyMissing: nxproxy is not installed here.
            X2GoClientDisplayError: There is no display here.
            X2GoTerminalSessionException: The server did not start it: `X2GoSessionLimitReached`, `X2GoAgentDied`, ….
            X2GoProxyException: nxproxy did not show it.
            X2GoTimeOutException: It took too long.
        """
        deadline = Deadline.after(timeout * (1 - CLEANING_SHARE))
        with self._step(SessionEvent.START):
            if cmd is not None:
                self.session_params.update(cmd=cmd)
            self._prepare()
            self.terminal_session.require_command()
            display = self._need_client_display()
            self._tidied = False
            self.terminal_session.session_info = X2GoServerSessionInfo()
            self.terminal_session.start(deadline, **_display_arguments(display))
            self.terminal_session.run_command()
        return True

    def resume(
        self,
        session_name: str | None = None,
        session_list: X2GoServerSessionList | dict[str, X2GoServerSessionInfo] | None = None,
        *,
        timeout: float = DEFAULT_TIMEOUT,
    ) -> bool:
        """Show a suspended session again, here; one that runs elsewhere is taken from there.

        Args:
            session_name: Which session; by default the one this object has, or was made with.
            session_list: What the server listed, if the caller knows.
            timeout: Seconds.

        Raises:
            X2GoSessionNotFound: The server does not know it.
            X2GoSessionEnded: It has ended.
            X2GoException: As for `start`.
        """
        deadline = Deadline.after(timeout * (1 - CLEANING_SHARE))
        with self._step(SessionEvent.RESUME):
            self._prepare()
            self._adopt(session_name, session_list, deadline)
            display = self._need_client_display()
            self.terminal_session.resume(deadline, **_display_arguments(display))
        return True

    def suspend(self, *, timeout: float = DEFAULT_TIMEOUT) -> bool:
        """Suspend the session; its programs go on, nothing is shown here.

        Raises:
            X2GoStateError: It does not run.
            X2GoSessionEnded: It has ended.
        """
        deadline = Deadline.after(timeout)
        self._refresh()
        with self._step(SessionEvent.SUSPEND):
            self._forget_server_display()
            self.terminal_session.suspend(deadline)
        return True

    def terminate(self, *, timeout: float = DEFAULT_TIMEOUT) -> bool:
        """End the session, and remove what it left on both sides."""
        deadline = Deadline.after(timeout)
        with self._step(SessionEvent.TERMINATE):
            self._forget_server_display()
            if not self.info.is_initialized():
                self._adopt(None, None, deadline)
            self.terminal_session.terminate(deadline)
            self._tidied = True
        return True

    def close(self) -> None:
        """End what belongs to the session object: by default the session itself, always proxy and own display."""
        try:
            if self.info.is_initialized() and not self._tidied:
                self._end_as_wished()
        finally:
            self._forget_server_display()
            self.terminal_session.release_proxy()
            self._forget_client_display()

    def _end_as_wished(self) -> None:
        if self._at_exit == "terminate":
            self.terminate()
        elif self._at_exit == "suspend" and self.get_state() is AgentState.RUNNING:
            self.suspend()

    @contextlib.contextmanager
    def _step(self, event: SessionEvent) -> Iterator[None]:
        """One step of the life: only if the state allows it, then done or failed."""
        with self._lock:
            self._machine.apply(event)
            _logger.info("%s: %s", self, event)
            done = False
            try:
                yield
                done = True
            finally:
                if not done:
                    self._machine.apply(SessionEvent.FAIL)
                    self._after_failure()
            self._machine.apply(SessionEvent.DONE)

    def _after_failure(self) -> None:
        """Look what is left of the session; the failure itself is on its way to the caller."""
        with contextlib.suppress(CrlError, OSError):
            self._refresh()
        if not self.session_ok():
            self._forget_client_display()

    def _refresh(self) -> None:
        """Take over the agent's true state."""
        if self.info.is_initialized():
            self.get_state()

    def _prepare(self) -> None:
        """Whatever is missing on either side is found before anything is started."""
        self.terminal_session.proxy_backend.require_program()
        self.control_session.get_facts()

    def _adopt(
        self,
        session_name: str | None,
        session_list: X2GoServerSessionList | dict[str, X2GoServerSessionInfo] | None,
        deadline: Deadline,
    ) -> None:
        """Take the record of an existing session from the server's list."""
        name = session_name or self.get_session_name()
        if name is None:
            raise X2GoParameterError("which session? Give session_name", host=self.target.name)
        if self.info.is_initialized() and name == self.info.name:
            return
        known = self.control_session.list_sessions(deadline) if session_list is None else session_list
        records = known() if isinstance(known, X2GoServerSessionList) else known
        if name not in records:
            raise X2GoSessionNotFound(
                f"there is no session {name}",
                host=self.target.name,
                doing="looking for a session",
                advice=f"there are: {', '.join(records) or 'none'}",
            )
        if records[name].agent_pid is None or records[name].display is None:
            reason = f"the server is still starting the session {name}"
            raise X2GoSessionException(reason, host=self.target.name, doing="looking for a session")
        self.terminal_session.session_info = records[name]

    # The two displays.

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
            raise X2GoSessionException(f"no display shows the session: it is {self.state}", host=self.target.name)
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
                    raise X2GoSessionException("the session has no display yet", host=self.target.name)
                home = self.control_session.get_facts().home
                self._server_display = Display(self.target, f":{self.info.display}", f"{home}/.Xauthority")
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
        facts = self.control_session.get_facts()
        return {
            "DISPLAY": self.server_display.name,
            "XAUTHORITY": f"{facts.home}/.Xauthority",
            "X2GO_SESSION": self.info.name,
        }

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
            raise X2GoStateError(reason, host=self.target.name, doing=doing)
        try:
            yield
        except DisplayError as error:
            state = self.get_state()
            if state is AgentState.TERMINATED:
                raise X2GoSessionEnded(
                    f"the session {self.info.name} has ended",
                    host=self.target.name,
                    doing=doing,
                    transcript=self.control_session.notes(self.info.name).command_output,
                ) from error
            if state is not AgentState.RUNNING:
                raise X2GoSessionException(
                    f"the session {self.info.name} is {state}", host=self.target.name, doing=doing
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
        state, seen = self.get_state(), None
        if state is AgentState.RUNNING and self._client_display is not None:
            seen = self._look_at_both(patterns, deadline, expected)
        result = seen or Verification(
            session_name=self.info.name,
            state=state,
            agent_alive=state not in (AgentState.TERMINATED, AgentState.UNKNOWN),
            proxy_up=self.session_ok(),
            missing=tuple(repr(pattern) for pattern in patterns),
            expected=None if expected is None else 0.0,
        )
        if check and not result.ok:
            raise self._not_verified(result, pictures)
        return result

    def _not_verified(
        self, result: Verification, pictures: str | os.PathLike[str] | None
    ) -> X2GoVerificationFailed:
        proxy = self.terminal_session.proxy
        evidence = Evidence(proxy_log="" if proxy is None else proxy.log_tail)
        with contextlib.suppress(CrlError, OSError):  # then there is no more to show
            notes = self.control_session.notes(result.session_name)
            evidence = Evidence(notes.processes, notes.log, notes.command_output, evidence.proxy_log)
        saved = save_pictures(result, pictures)
        return X2GoVerificationFailed(
            "; ".join(result.problems),
            host=self.target.name,
            doing=f"verifying the session {result.session_name}",
            evidence=evidence.text(result),
            picture=None if saved is None else str(saved),
        )

    def _look_at_both(
        self, patterns: Sequence[WindowPattern], deadline: Deadline, expected: Image.Image | None
    ) -> Verification:
        title = self.get_session_title() if self.is_desktop_session() else None
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


def _display_arguments(display: ClientDisplay) -> dict[str, str | None]:
    return {"display": display.name, "xauthority": None if display.xauthority is None else str(display.xauthority)}


def list_sessions(target: Host, *, timeout: float = DEFAULT_TIMEOUT) -> dict[str, X2GoServerSessionInfo]:
    """The sessions of the target's account on its X2Go server, by name.

    The status is the list's; the truth of one session is `X2GoSession.get_state`.

    Raises:
        X2GoServerMissing: There is no X2Go server.
        X2GoControlSessionException: The list could not be made.
    """
    return X2GoControlSession(target).list_sessions(Deadline.after(timeout))()
