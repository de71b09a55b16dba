"""The old flags of a session, read off its one state, and what the server's list adds to that.

Flags cannot contradict each other: there is one state machine behind them. A list never overrides a step that is under
way, and what it says of a session that is not in it counts as an end.
"""

from __future__ import annotations

import re
import threading
import time
from typing import TYPE_CHECKING, Any

from crl.x2go import utils
from crl.x2go.backends.info.plain import X2GoServerSessionInfo, X2GoServerSessionList
from crl.x2go.backends.terminal.plain import X2GoTerminalSession
from crl.x2go.state import AgentState, SessionState, SessionStateMachine

__all__ = ["SessionStatus", "first_state"]

UPDATE_INTERVAL = 1.0
_STEPS = {SessionState.STARTING, SessionState.RESUMING, SessionState.SUSPENDING, SessionState.TERMINATING}
_DEPTH = re.compile(r"_dp(?P<depth>[0-9]{1,2})", re.ASCII)


def first_state(
    *, virgin: bool, running: bool | None, suspended: bool | None, terminated: bool | None, faulty: bool | None
) -> SessionState:
    """The state that flags stand for; the most telling one counts."""
    if running:
        return SessionState.RUNNING
    if suspended:
        return SessionState.SUSPENDED
    if faulty:
        return SessionState.FAULTY
    return SessionState.TERMINATED if terminated and not virgin else SessionState.VIRGIN


class SessionStatus:
    """The flags of `crl.x2go.X2GoSession`."""

    _machine: SessionStateMachine
    _terminal: X2GoTerminalSession
    client_instance: Any
    control_session: Any
    server: str | None

    if TYPE_CHECKING:

        def get_session_name(self) -> str | None: ...

        def is_connected(self) -> bool: ...

        def get_state(self) -> AgentState: ...

    def _begin_status(self) -> None:
        self._updating = threading.Lock()
        self._updated = 0.0
        self._current_status: dict[str, Any] = self._status()
        self._last_status: dict[str, Any] | None = None

    def _flag(self, state: SessionState) -> bool | None:
        return self._machine.state is state if self.is_connected() else None

    @property
    def virgin(self) -> bool:
        """Whether it was never started, and never looked at."""
        return self._machine.state is SessionState.VIRGIN

    @property
    def running(self) -> bool | None:
        """Whether it runs, as last seen; None without a login."""
        return self._flag(SessionState.RUNNING)

    @property
    def suspended(self) -> bool | None:
        """Whether it is suspended, as last seen; None without a login."""
        return self._flag(SessionState.SUSPENDED)

    @property
    def terminated(self) -> bool | None:
        """Whether it has ended, as last seen; None without a login."""
        return self._flag(SessionState.TERMINATED)

    @property
    def faulty(self) -> bool:
        """Whether its last step failed, and nothing was seen of it since."""
        return self._machine.state is SessionState.FAULTY

    def _status(self) -> dict[str, Any]:
        return {
            "timestamp": time.time(),
            "server": self.server,
            "virgin": self.virgin,
            "connected": self.is_connected(),
            "running": self.running,
            "suspended": self.suspended,
            "terminated": self.terminated,
            "faulty": self.faulty,
        }

    def update_status(
        self,
        session_list: dict[str, X2GoServerSessionInfo] | X2GoServerSessionList | None = None,
        force_update: bool = False,
    ) -> bool:
        """Take over what the server's list says of the session.

        Args:
            session_list: The list; None asks for it.
            force_update: Also when that was done less than a second ago.

        Returns:
            Whether it was done.

        Raises:
            X2GoControlSessionException: The list could not be made.
        """
        with self._updating:
            now = time.monotonic()
            if not force_update and session_list is None and now - self._updated < UPDATE_INTERVAL:
                return False
            self._updated = now
            if self.is_connected() and self.get_session_name() is not None and self._machine.state not in _STEPS:
                known = self.control_session.list_sessions() if session_list is None else session_list
                self._take_list(known() if isinstance(known, X2GoServerSessionList) else known)
            self._last_status, self._current_status = self._current_status, self._status()
        return True

    def _take_list(self, listed: dict[str, X2GoServerSessionInfo]) -> None:
        info = listed.get(self.get_session_name() or "")
        if info is None or info.status not in {"R", "S"}:
            self._machine.observe(AgentState.TERMINATED, alive=False)
        else:
            seen = AgentState.RUNNING if info.is_running() else AgentState.SUSPENDED
            self._machine.observe(seen, alive=True)
            if not self._terminal.session_info.is_initialized():
                self._terminal.session_info = info
            elif self._terminal.proxy is None:
                self._terminal.session_info.update(info)

    def _asks(self, update_status: bool) -> bool:
        """Whether a flag is asked of the server: nobody else refreshes those of a session without a client."""
        return update_status or (self.client_instance is None and self._terminal.session_info.is_initialized())

    def is_running(self, update_status: bool = False) -> bool | None:
        """Whether the session runs; asked of the server when told so, and where there is no client."""
        if self._asks(update_status) and self.is_connected():
            return self._true_state() is AgentState.RUNNING
        return self.running

    def is_suspended(self, update_status: bool = False) -> bool | None:
        """Whether the session is suspended; asked of the server when told so, and where there is no client."""
        if self._asks(update_status) and self.is_connected():
            return self._true_state() is AgentState.SUSPENDED
        return self.suspended

    def has_terminated(self, update_status: bool = False) -> bool | None:
        """Whether the session has ended; asked of the server when told so, and where there is no client."""
        if self._asks(update_status) and self.is_connected():
            return self._true_state() is AgentState.TERMINATED
        return self.terminated

    def _true_state(self) -> AgentState:
        if not self._terminal.session_info.is_initialized():
            self.update_status(force_update=True)
        if not self._terminal.session_info.is_initialized():
            return AgentState.TERMINATED if self.terminated else AgentState.UNKNOWN
        return self.get_state()

    def color_depth_from_session_name(self) -> int | None:
        """Bits of colour of the session's display, as its name tells."""
        match = _DEPTH.search(self.get_session_name() or "")
        return int(match["depth"]) if match is not None else None

    def is_color_depth_ok(self) -> bool:
        """Whether the client's display can show the session."""
        depth = self.color_depth_from_session_name()
        return utils.is_color_depth_ok(depth or 0, utils.local_color_depth())
