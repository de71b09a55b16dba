"""The states of a session and what leads from one to the next.

The table is all there is: no clock, no server. `SessionStateMachine` refuses what the table does not allow, and what
the server shows (`SEEN_…`) is always allowed, because the agent's state file is the truth and not our memory of it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from crl.x2go.x2go_exceptions import X2GoStateError

__all__ = ["TRANSITIONS", "AgentState", "SessionEvent", "SessionState", "SessionStateMachine", "Transition"]


class AgentState(StrEnum):
    """What an x2goagent writes in its state file; `UNKNOWN` also when there is no file."""

    UNKNOWN = "UNKNOWN"
    STARTING = "STARTING"
    RUNNING = "RUNNING"
    SUSPENDING = "SUSPENDING"
    SUSPENDED = "SUSPENDED"
    RESUMING = "RESUMING"
    TERMINATING = "TERMINATING"
    TERMINATED = "TERMINATED"

    @classmethod
    def parse(cls, text: str) -> AgentState:
        """Read the content of a state file; whatever is not a known state is `UNKNOWN`."""
        try:
            return cls(text.strip())
        except ValueError:
            return cls.UNKNOWN


class SessionState(StrEnum):
    """Where a session object is in its life."""

    VIRGIN = "virgin"
    STARTING = "starting"
    RUNNING = "running"
    SUSPENDING = "suspending"
    SUSPENDED = "suspended"
    RESUMING = "resuming"
    TERMINATING = "terminating"
    TERMINATED = "terminated"
    FAULTY = "faulty"


class SessionEvent(StrEnum):
    """What happens to a session: we ask for something, it is done, it fails, or the server shows what is."""

    START = "start"
    RESUME = "resume"
    SUSPEND = "suspend"
    TERMINATE = "terminate"
    DONE = "done"
    FAIL = "fail"
    SEEN_RUNNING = "seen running"
    SEEN_SUSPENDED = "seen suspended"
    SEEN_GONE = "seen gone"


_S, _E = SessionState, SessionEvent

TRANSITIONS: Mapping[tuple[SessionState, SessionEvent], SessionState] = MappingProxyType(
    {
        (_S.VIRGIN, _E.START): _S.STARTING,
        (_S.VIRGIN, _E.RESUME): _S.RESUMING,
        (_S.STARTING, _E.DONE): _S.RUNNING,
        (_S.RUNNING, _E.SUSPEND): _S.SUSPENDING,
        (_S.SUSPENDING, _E.DONE): _S.SUSPENDED,
        (_S.SUSPENDED, _E.RESUME): _S.RESUMING,
        (_S.RESUMING, _E.DONE): _S.RUNNING,
        (_S.RUNNING, _E.RESUME): _S.RESUMING,
        (_S.FAULTY, _E.RESUME): _S.RESUMING,
        (_S.TERMINATED, _E.START): _S.STARTING,
        (_S.FAULTY, _E.START): _S.STARTING,
        **{
            (state, _E.TERMINATE): _S.TERMINATING
            for state in (_S.VIRGIN, _S.RUNNING, _S.SUSPENDED, _S.FAULTY, _S.TERMINATED)
        },
        (_S.TERMINATING, _E.DONE): _S.TERMINATED,
        **{(state, _E.FAIL): _S.FAULTY for state in (_S.STARTING, _S.RESUMING, _S.SUSPENDING, _S.TERMINATING)},
        # What is seen while nothing of ours is under way; a session that others started may be seen from the beginning.
        **{(state, _E.SEEN_RUNNING): _S.RUNNING for state in (_S.VIRGIN, _S.RUNNING, _S.SUSPENDED, _S.FAULTY)},
        **{(state, _E.SEEN_SUSPENDED): _S.SUSPENDED for state in (_S.VIRGIN, _S.RUNNING, _S.SUSPENDED, _S.FAULTY)},
        **{
            (state, _E.SEEN_GONE): _S.TERMINATED
            for state in (_S.VIRGIN, _S.RUNNING, _S.SUSPENDED, _S.FAULTY, _S.TERMINATED)
        },
    }
)

_SEEN = frozenset({_E.SEEN_RUNNING, _E.SEEN_SUSPENDED, _E.SEEN_GONE})


@dataclass(frozen=True)
class Transition:
    """One step a session took."""

    before: SessionState
    event: SessionEvent
    after: SessionState


class SessionStateMachine:
    """The state of one session; thread-safe.

    Args:
        on_change: Called after each step that changed the state, outside of any lock, in the thread that made it.
        initial: The state to begin with.
    """

    def __init__(
        self,
        on_change: Callable[[Transition], object] | None = None,
        initial: SessionState = SessionState.VIRGIN,
    ) -> None:
        self._lock = threading.Lock()
        self._state = initial
        self._on_change = on_change

    @property
    def state(self) -> SessionState:
        """Where the session is."""
        return self._state

    def allows(self, event: SessionEvent) -> bool:
        """Whether `event` has a place in the present state."""
        return event in _SEEN or (self._state, event) in TRANSITIONS

    def apply(self, event: SessionEvent) -> SessionState:
        """Take one step and give the state after it.

        Raises:
            X2GoStateError: The table has no such step; the state is as before.
        """
        with self._lock:
            before = self._state
            after = TRANSITIONS.get((before, event))
            if after is None and event in _SEEN:
                after = before  # an operation is under way, or nothing was ever started: its own result will tell
            if after is None:
                raise X2GoStateError(f"a session that is {before} cannot {event}")
            self._state = after
        if after is not before and self._on_change is not None:
            self._on_change(Transition(before, event, after))
        return after

    def observe(self, agent: AgentState, *, alive: bool) -> SessionState:
        """Take over what the server shows of the agent."""
        if not alive or agent in (AgentState.TERMINATED, AgentState.TERMINATING):
            return self.apply(SessionEvent.SEEN_GONE)
        if agent in (AgentState.SUSPENDED, AgentState.SUSPENDING):
            return self.apply(SessionEvent.SEEN_SUSPENDED)
        if agent is AgentState.RUNNING:
            return self.apply(SessionEvent.SEEN_RUNNING)
        return self._state
