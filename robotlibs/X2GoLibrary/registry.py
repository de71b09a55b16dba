"""The sessions that a suite uses: their aliases, which one is in use, and what ends with each.

It knows sessions by their name and state. It promises that the sound server that was started for a session is ended
after the session.
"""

from __future__ import annotations

from contextlib import ExitStack

from crl.errors import UsageError
from crl.x2go import SessionState, X2GoSession
from crl.x2go.pulseaudio import X2GoPulseAudio

__all__ = ["OpenSessions"]

LIVING = (SessionState.RUNNING, SessionState.SUSPENDED, SessionState.FAULTY)


class OpenSessions:
    """Sessions, by alias or by their name on the server."""

    def __init__(self) -> None:
        self._sessions: dict[str, X2GoSession] = {}
        self._current: X2GoSession | None = None
        self._recorders: dict[X2GoSession, X2GoPulseAudio] = {}

    @property
    def current(self) -> X2GoSession | None:
        """The session in use."""
        return self._current

    def use(self, session: X2GoSession) -> None:
        """Use a session from now on."""
        self._current = session

    def add(self, session: X2GoSession, alias: str | None = None) -> None:
        """Take a session that has a name on the server; a name that is taken stays with its session."""
        self._sessions.setdefault(alias or str(session.get_session_name()), session)

    def refuse_taken(self, alias: str | None) -> None:
        """Make sure that no session of that alias lives; a former one gives it away.

        Raises:
            UsageError: One lives.
        """
        former = self._sessions.get(alias) if alias is not None else None
        if former is None:
            return
        if former.state in LIVING:
            raise UsageError(f"there is a session {alias!r}", advice="give another alias, or terminate that one first")
        self._sessions = {name: one for name, one in self._sessions.items() if name != alias}

    def add_recorder(self, session: X2GoSession, recorder: X2GoPulseAudio) -> None:
        """Take the sound server that was started for a session alone."""
        self._recorders[session] = recorder

    def recorder(self, session: X2GoSession) -> X2GoPulseAudio:
        """The sound server that was started for a session alone.

        Raises:
            UsageError: There is none.
        """
        if session not in self._recorders:
            raise UsageError(
                f"nothing records {session.get_session_name()}", advice="start the session with sound=record"
            )
        return self._recorders[session]

    def close(self, session: X2GoSession) -> None:
        """Close a session and its sound server, and forget its aliases; it stays the one in use."""
        self._sessions = {alias: other for alias, other in self._sessions.items() if other is not session}
        with ExitStack() as stack:
            if session in self._recorders:
                stack.callback(self._recorders.pop(session).stop_thread)
            stack.callback(session.close)

    def leave(self, session: X2GoSession) -> None:
        """As `close`; and it is not the one in use any more."""
        if self._current is session:
            self._current = None
        self.close(session)

    def find(self, wanted: str | X2GoSession | None) -> X2GoSession:
        """The session of an alias or name; the one in use for None.

        Raises:
            UsageError: There is none.
        """
        found = self.known(wanted)
        if found is None:
            names = ", ".join(map(repr, self._sessions)) or "none"
            raise UsageError(f"no session {wanted!r}", advice=f"there are: {names}")
        return found

    def known(self, wanted: str | X2GoSession | None) -> X2GoSession | None:
        """As `find`, but None for a name that is not known here.

        Raises:
            UsageError: None is in use, and none is named.
        """
        if isinstance(wanted, X2GoSession):
            return wanted
        if wanted is None:
            if self._current is None:
                raise UsageError("no session is in use", advice="use the keyword Start Desktop Session first")
            return self._current
        return next((one for name, one in self._sessions.items() if wanted in (name, one.get_session_name())), None)
