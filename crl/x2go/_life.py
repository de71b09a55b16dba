"""The life of a session: the steps from its start to its end, and the state that they lead through.

This is the part of `crl.x2go.X2GoSession` that joins the state machine, the server's commands and the proxy. Every step
ends by its deadline, raises an error of its own when it fails, and leaves nothing behind on either side when it does.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal

from crl.deadlines import Deadline
from crl.errors import CrlError
from crl.x2go import utils
from crl.x2go._looking import Looking, display_arguments
from crl.x2go.backends.info.plain import X2GoServerSessionInfo, X2GoServerSessionList
from crl.x2go.backends.terminal.plain import X2GoSessionParams, X2GoTerminalSession
from crl.x2go.clientdisplay import FROM_ENVIRONMENT, ClientDisplay
from crl.x2go.state import AgentState, SessionEvent, SessionState, SessionStateMachine
from crl.x2go.x2go_exceptions import (
    X2GoParameterError,
    X2GoSessionEnded,
    X2GoSessionException,
    X2GoSessionNotFound,
    X2GoTimeOutException,
)

if TYPE_CHECKING:
    from crl.x2go.backends.control.plain import X2GoControlSession

__all__ = ["DEFAULT_TIMEOUT", "SessionLife", "SessionRecords"]

_logger = logging.getLogger("crl.x2go")
DEFAULT_TIMEOUT = 60.0
CLEANING_SHARE = 0.2  # of a start's time is kept for leaving nothing behind when it fails
SETTLING_TIME = 3.0  # for what becomes of a session whose proxy has ended
SWEEPING_TIME = 30.0  # after a resume; later the server's daemon has its reasons

SessionRecords = X2GoServerSessionList | dict[str, X2GoServerSessionInfo]
AtExit = Literal["terminate", "suspend", "leave"]


class SessionLife(Looking):
    """The steps of a session; `crl.x2go.X2GoSession` is its face."""

    control_session: X2GoControlSession | Any
    session_params: X2GoSessionParams
    _at_exit: AtExit
    _wanted_name: str | None
    _machine: SessionStateMachine
    _tidied: bool
    last_error: CrlError | None
    _may_be_swept_until: float = 0.0
    _undoing: threading.RLock
    _progress: int
    _progress_event: threading.Event | None

    if TYPE_CHECKING:

        def is_connected(self) -> bool: ...

        def _share_wished(self) -> None: ...

        def _check_boxes(self) -> None: ...

        def _start_boxes(self) -> None: ...

        def _start_sound_as_wished(self) -> None: ...

        def _has_died(self) -> bool: ...

        def _tell_death(self) -> None: ...

    # What is known without asking the server.

    @property
    def state(self) -> SessionState:
        """Where the session is in its life, as last seen."""
        return self._machine.state

    @property
    def info(self) -> X2GoServerSessionInfo:
        """What is known of the session on the server."""
        return self._terminal.session_info

    def get_session_name(self) -> str | None:
        """The session's name on the server, None before its start."""
        return self._terminal.get_session_name() or self._wanted_name

    def session_ok(self) -> bool:
        """Whether the proxy shows the session here; not when it is known to have ended, whatever its proxy knows."""
        return self.state is not SessionState.TERMINATED and self._terminal.ok()

    # What the server shows.

    def get_state(self) -> AgentState:
        """The true state: the agent's own, read on the server; `TERMINATED` also when its process is gone."""
        if not self.info.is_initialized():
            return AgentState.UNKNOWN
        report = self._terminal.look()
        self._machine.observe(report.state, alive=report.alive)
        return AgentState.TERMINATED if report.gone else report.state

    def wait_for_state(self, *states: AgentState, timeout: float = DEFAULT_TIMEOUT) -> AgentState:
        """Wait on the server until the agent is in one of the states; an agent that is gone is `TERMINATED`.

        Raises:
            X2GoTimeOutException: It did not get there in time.
            X2GoSessionEnded: It has ended, which was not waited for.
        """
        report = self.control_session.server.watch(self.info, states, Deadline.after(timeout))
        self._machine.observe(report.state, alive=report.alive)
        state = AgentState.TERMINATED if report.gone else report.state
        if state in states:
            return state
        wanted = " or ".join(states)
        kind = X2GoSessionEnded if report.gone else X2GoTimeOutException
        raise kind(f"the agent is {state}, not {wanted}", host=self.place, doing="waiting for a session's state")

    def proxy_has_ended(self, proxy: object) -> None:
        """Find out what became of the session; called by its proxy, in the proxy's thread, when its program has ended.

        Args:
            proxy: Which proxy it was; that of an earlier life does not count.
        """
        terminal = self._terminal
        if terminal.proxy is not proxy:
            return
        ran, swept = self.state is SessionState.RUNNING, False
        try:
            settled = (AgentState.SUSPENDED, AgentState.TERMINATED)
            report = self.control_session.server.watch(self.info, settled, Deadline.after(SETTLING_TIME))
            swept = report.swept and not report.gone
            self._machine.observe(report.state, alive=report.alive)
        except (CrlError, OSError) as error:  # the connection has ended too: an agent without a proxy suspends itself
            _logger.info("%s: what became of it is not known: %s", self, error)
            self.note_agent_state(AgentState.SUSPENDED)
        if terminal.proxy is proxy:
            terminal.release_proxy()
        if self._has_died():
            self._tell_death()
        elif ran and swept and time.monotonic() < self._may_be_swept_until:
            self._in_background("resume", lambda: self._undo_sweep(seen=True))

    def _undo_sweep(self, *, seen: bool = False) -> bool:
        """Resume what the server's daemon has suspended although it was resumed a moment ago.

        The daemon suspends sessions that its database calls suspended and that run all the same. Between the first
        signal of x2goresume-session and its entry there, that is what a resumed session looks like.

        Args:
            seen: Whether that was seen already.

        Returns:
            Whether the session runs, through us or another thread.
        """
        with self._undoing:
            if not seen:
                report = self._terminal.look()
                if report.state is AgentState.RUNNING or report.gone or not report.swept:
                    return report.state is AgentState.RUNNING and not report.gone
                self._machine.observe(report.state, alive=report.alive)
            if time.monotonic() >= self._may_be_swept_until:
                return False
            self._may_be_swept_until = 0.0
            _logger.warning("%s: the server's x2gocleansessions took it for one to be suspended; resuming it", self)
            try:
                return self._resume_step(None, None, self._in_steps(DEFAULT_TIMEOUT))
            except CrlError as error:
                self.last_error = error
                _logger.warning("%s: it could not be resumed again: %s", self, error)
                return False
            finally:
                self._may_be_swept_until = 0.0

    def note_agent_state(self, state: AgentState) -> None:
        """Take over what somebody else has done with the session, or seen of it."""
        self._machine.observe(state, alive=state is not AgentState.TERMINATED)

    # Steps.

    def _start(self, cmd: str | Sequence[str] | None, deadline: Deadline) -> bool:
        with self._step(SessionEvent.START):
            if cmd is not None:
                self.session_params.update(cmd=cmd)
            self._prepare()
            self._terminal.require_command()
            self._advance(20)
            display = self._need_client_display()
            self._settle_geometry(display)
            self._tidied = False
            # Those of a former session, which a reboot has ended and nobody here.
            self._forget_server_display()
            self._terminal.release_proxy()
            self._terminal.release_boxes()
            self._terminal.session_info = X2GoServerSessionInfo()
            self._terminal.start(deadline, **display_arguments(display))
            self._advance(80)
            self._start_boxes()
            self._start_sound_as_wished()
            self._terminal.start_telekinesis()
            self._terminal.run_command()
            self._terminal.set_keyboard_as_wished()
            self._share_wished()
        self._advance(100)
        return True

    def _resume_step(self, session_name: str | None, session_list: SessionRecords | None, deadline: Deadline) -> bool:
        with self._step(SessionEvent.RESUME):
            self._prepare()
            self._adopt(session_name, session_list, deadline)
            self._advance(20)
            display = self._need_client_display()
            self._settle_geometry(display)
            self._terminal.resume(deadline, **display_arguments(display))
            self._may_be_swept_until = time.monotonic() + SWEEPING_TIME
            self._start_boxes()
            self._start_sound_as_wished()
            self._terminal.start_telekinesis()
            self._share_wished()
        self._advance(100)
        return True

    def _suspend_step(self, deadline: Deadline) -> bool:
        if self.state is SessionState.VIRGIN and self.get_session_name() is not None:
            self._adopt(None, None, deadline)
        self._refresh()
        with self._step(SessionEvent.SUSPEND):
            self._forget_server_display()
            self._terminal.suspend(deadline)
        return True

    def _terminate_step(self, deadline: Deadline) -> bool:
        with self._step(SessionEvent.TERMINATE):
            self._forget_server_display()
            if not self.info.is_initialized():
                self._adopt(None, None, deadline)
            self._terminal.terminate(deadline)
            self._tidied = True
        return True

    def _end_as_wished(self) -> None:
        if self._at_exit == "terminate":
            self._terminate_step(Deadline.after(DEFAULT_TIMEOUT))
        elif self._at_exit == "suspend" and self.get_state() is AgentState.RUNNING:
            self._suspend_step(Deadline.after(DEFAULT_TIMEOUT))

    def _release(self) -> None:
        """End what belongs to this object here; the session on the server stays as it is."""
        self._forget_server_display()
        self._terminal.release_proxy()
        self._terminal.release_boxes()
        self._forget_client_display()

    @contextlib.contextmanager
    def _step(self, event: SessionEvent) -> Iterator[None]:
        """One step of the life: only if the state allows it, then done or failed."""
        with self._lock:
            self._machine.apply(event)
            self._advance(1)
            _logger.info("%s: %s", self, event)
            done = False
            try:
                yield
                done = True
            finally:
                if not done:
                    self._advance(-1)
                    self._machine.apply(SessionEvent.FAIL)
                    self._after_failure()
            self._machine.apply(SessionEvent.DONE)

    def _advance(self, percent: int) -> None:
        """Tell how far a start or resume is."""
        self._progress = percent
        if self._progress_event is not None:
            self._progress_event.set()

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
        self._check_boxes()
        self._terminal.proxy_backend.require_program()
        self.control_session.server.get_facts()

    def _settle_geometry(self, display: ClientDisplay) -> None:
        """Find out what is meant by the largest size."""
        if self.session_params.geometry != "maximize":
            return
        size = utils.get_workarea_geometry() if self._display_wish == FROM_ENVIRONMENT else None
        width, height = size or display.screen.size()
        self.session_params.update(geometry=f"{width}x{height}")

    def _adopt(self, session_name: str | None, session_list: SessionRecords | None, deadline: Deadline) -> None:
        """Take the record of an existing session from the server's list."""
        name = session_name or self.get_session_name()
        if name is None:
            raise X2GoParameterError("which session? Give session_name", host=self.place)
        if self.info.is_initialized() and name == self.info.name:
            return
        known = self.control_session.server.list_sessions(deadline) if session_list is None else session_list
        records = known() if isinstance(known, X2GoServerSessionList) else known
        if name not in records:
            raise X2GoSessionNotFound(
                f"there is no session {name}",
                host=self.place,
                doing="looking for a session",
                advice=f"there are: {', '.join(records) or 'none'}",
            )
        if records[name].agent_pid is None or records[name].display is None:
            reason = f"the server is still starting the session {name}"
            raise X2GoSessionException(reason, host=self.place, doing="looking for a session")
        self._terminal.session_info = records[name]

    @staticmethod
    def _in_steps(timeout: float) -> Deadline:
        """The time of a start or resume, without what is kept for cleaning."""
        return Deadline.after(timeout * (1 - CLEANING_SHARE))

    def _in_background(self, name: str, work: Callable[[], object]) -> threading.Thread:
        """Do something in a thread of its own, which `close` waits for."""
        thread = threading.Thread(target=work, name=f"crl-x2go-{name}", daemon=True)
        self._threads.append(thread)
        thread.start()
        return thread

    _threads: list[threading.Thread]
    _terminal: X2GoTerminalSession
