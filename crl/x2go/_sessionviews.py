"""Which of a client's sessions are in a state, of a profile or of a name, in the form a caller asks for.

The base of the registry: it holds the sessions and looks at them, asks no server and changes nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from crl.x2go.x2go_exceptions import X2GoSessionRegistryException

if TYPE_CHECKING:
    from crl.x2go.session import X2GoSession

__all__ = ["STATES", "SessionViews"]

STATES = ("connected", "virgin", "activated", "running", "suspended", "terminated", "faulty")


class SessionViews:
    """Sessions, and ways to look at them.

    Attributes:
        registry: The sessions by their ids.
        control_sessions: For each profile's id the control session that its sessions share.
        master_sessions: For each profile's name the session that its shared folders would belong to.
    """

    def __init__(self) -> None:
        self.registry: dict[str, X2GoSession] = {}
        self.control_sessions: dict[str, Any] = {}
        self.master_sessions: dict[str, X2GoSession] = {}
        self._lock = threading.RLock()

    def keys(self) -> list[str]:
        """The ids of all sessions."""
        with self._lock:
            return list(self.registry)

    def _all(self) -> list[X2GoSession]:
        with self._lock:
            return list(self.registry.values())

    def has_session_of_session_name(self, session_name: str, match_profile_name: str | None = None) -> bool:
        """Whether a session of that name is registered."""
        return bool(self._of_session_name(session_name, match_profile_name))

    def _of_session_name(self, session_name: str, match_profile_name: str | None) -> list[X2GoSession]:
        return [
            one
            for one in self._all()
            if one.get_session_name() == session_name and match_profile_name in (None, one.get_profile_name())
        ]

    def get_session_of_session_name(
        self, session_name: str, return_object: bool = False, match_profile_name: str | None = None
    ) -> X2GoSession | str | None:
        """The id, or the object, of the session of that name; None when there is none.

        Raises:
            X2GoSessionRegistryException: There are several.
        """
        found = self._of_session_name(session_name, match_profile_name)
        if len(found) > 1:
            raise X2GoSessionRegistryException(
                f"{len(found)} registered sessions are called {session_name}",
                doing="looking for a session",
                advice="say which by match_profile_name, or by its id",
            )
        if not found:
            return None
        return found[0] if return_object else found[0].get_uuid()

    def _sessionsWithState(
        self,
        state: str,
        return_objects: bool = True,
        return_profile_names: bool = False,
        return_profile_ids: bool = False,
        return_session_names: bool = False,
    ) -> list[Any]:
        """The sessions in a state, in the form that is asked for.

        Raises:
            X2GoSessionRegistryException: There is no such state.
        """
        return _in_form(
            self._in_state(state), return_objects, return_profile_names, return_profile_ids, return_session_names
        )

    def _in_state(self, state: str) -> list[X2GoSession]:
        if state not in (*STATES, "associated", "registered"):
            raise X2GoSessionRegistryException(f"sessions have no state {state!r}", doing="looking for sessions")
        if state == "registered":
            return self._all()
        if state == "associated":
            return [one for one in self._all() if one.has_terminal_session()]
        return [one for one in self._all() if getattr(one, state)]

    def connected_sessions(
        self,
        return_objects: bool = True,
        return_profile_names: bool = False,
        return_profile_ids: bool = False,
        return_session_names: bool = False,
    ) -> list[Any]:
        """The connected sessions, or what belongs to them."""
        return self._sessionsWithState(
            "connected", return_objects, return_profile_names, return_profile_ids, return_session_names
        )

    def associated_sessions(
        self,
        return_objects: bool = True,
        return_profile_names: bool = False,
        return_profile_ids: bool = False,
        return_session_names: bool = False,
    ) -> list[Any]:
        """The sessions that are shown here, or what belongs to them."""
        return self._sessionsWithState(
            "associated", return_objects, return_profile_names, return_profile_ids, return_session_names
        )

    def virgin_sessions(
        self,
        return_objects: bool = True,
        return_profile_names: bool = False,
        return_profile_ids: bool = False,
        return_session_names: bool = False,
    ) -> list[Any]:
        """The sessions that were never started, or what belongs to them."""
        return self._sessionsWithState(
            "virgin", return_objects, return_profile_names, return_profile_ids, return_session_names
        )

    def running_sessions(
        self,
        return_objects: bool = True,
        return_profile_names: bool = False,
        return_profile_ids: bool = False,
        return_session_names: bool = False,
    ) -> list[Any]:
        """The running sessions, or what belongs to them."""
        return self._sessionsWithState(
            "running", return_objects, return_profile_names, return_profile_ids, return_session_names
        )

    def suspended_sessions(
        self,
        return_objects: bool = True,
        return_profile_names: bool = False,
        return_profile_ids: bool = False,
        return_session_names: bool = False,
    ) -> list[Any]:
        """The suspended sessions, or what belongs to them."""
        return self._sessionsWithState(
            "suspended", return_objects, return_profile_names, return_profile_ids, return_session_names
        )

    def terminated_sessions(
        self,
        return_objects: bool = True,
        return_profile_names: bool = False,
        return_profile_ids: bool = False,
        return_session_names: bool = False,
    ) -> list[Any]:
        """The sessions that have ended, or what belongs to them."""
        return self._sessionsWithState(
            "terminated", return_objects, return_profile_names, return_profile_ids, return_session_names
        )

    def registered_sessions(
        self,
        return_objects: bool = True,
        return_profile_names: bool = False,
        return_profile_ids: bool = False,
        return_session_names: bool = False,
    ) -> list[Any]:
        """The registered sessions, or what belongs to them."""
        return self._sessionsWithState(
            "registered", return_objects, return_profile_names, return_profile_ids, return_session_names
        )

    def non_running_sessions(
        self,
        return_objects: bool = True,
        return_profile_names: bool = False,
        return_profile_ids: bool = False,
        return_session_names: bool = False,
    ) -> list[Any]:
        """The sessions that do not run, or what belongs to them."""
        idle = [one for one in self._all() if not one.running]
        return _in_form(idle, return_objects, return_profile_names, return_profile_ids, return_session_names)

    @property
    def has_running_sessions(self) -> bool:
        """Whether a session runs."""
        return bool(self._in_state("running"))

    @property
    def has_suspended_sessions(self) -> bool:
        """Whether a session is suspended."""
        return bool(self._in_state("suspended"))

    def connected_sessions_of_profile_name(
        self, profile_name: str, return_objects: bool = True, return_session_names: bool = False
    ) -> list[Any]:
        """The connected sessions of a profile, or their names or ids."""
        return self._of_profile("connected", profile_name, return_objects, return_session_names)

    def associated_sessions_of_profile_name(
        self, profile_name: str, return_objects: bool = True, return_session_names: bool = False
    ) -> list[Any]:
        """The sessions that are shown here, of a profile, or their names or ids."""
        return self._of_profile("associated", profile_name, return_objects, return_session_names)

    def registered_sessions_of_profile_name(
        self, profile_name: str, return_objects: bool = True, return_session_names: bool = False
    ) -> list[Any]:
        """The registered sessions of a profile, or their names or ids."""
        return self._of_profile("registered", profile_name, return_objects, return_session_names)

    def virgin_sessions_of_profile_name(
        self, profile_name: str, return_objects: bool = True, return_session_names: bool = False
    ) -> list[Any]:
        """The sessions that were never started, of a profile, or their names or ids."""
        return self._of_profile("virgin", profile_name, return_objects, return_session_names)

    def running_sessions_of_profile_name(
        self, profile_name: str, return_objects: bool = True, return_session_names: bool = False
    ) -> list[Any]:
        """The running sessions of a profile, or their names or ids."""
        return self._of_profile("running", profile_name, return_objects, return_session_names)

    def suspended_sessions_of_profile_name(
        self, profile_name: str, return_objects: bool = True, return_session_names: bool = False
    ) -> list[Any]:
        """The suspended sessions of a profile, or their names or ids."""
        return self._of_profile("suspended", profile_name, return_objects, return_session_names)

    def pubapp_sessions_of_profile_name(
        self, profile_name: str, return_objects: bool = True, return_session_names: bool = False
    ) -> list[Any]:
        """The sessions of a profile that publish a menu and are shown here, or their names or ids."""
        mine = self._of_profile("associated", profile_name)
        publishing = [one for one in mine if one.is_published_applications_provider()]
        return _in_form(publishing, return_objects, return_session_names=return_session_names)

    def _of_profile(
        self, state: str, profile_name: str, return_objects: bool = True, return_session_names: bool = False
    ) -> list[Any]:
        mine = [one for one in self._in_state(state) if one.get_profile_name() == profile_name]
        return _in_form(mine, return_objects, return_session_names=return_session_names)

    # Connections.

    def control_session_of_profile_name(self, profile_name: str) -> Any:
        """The control session that the sessions of a profile share; None when none is registered."""
        mine = self.registered_sessions_of_profile_name(profile_name)
        return mine[0].get_control_session() if mine else None

    @property
    def connected_control_sessions(self) -> list[Any]:
        """The control sessions that are connected."""
        with self._lock:
            controls = list(self.control_sessions.values())
        return [control for control in controls if control.is_connected()]

    def connected_profiles(
        self, use_paramiko: bool = False, return_profile_ids: bool = True, return_profile_names: bool = False
    ) -> list[str]:
        """The profiles with a connection: their ids, or their names.

        Args:
            use_paramiko: Ask the connections themselves instead of the sessions.
            return_profile_ids: Give ids.
            return_profile_names: Give names; only when no ids are asked for.
        """
        sessions = self._all()
        if use_paramiko:
            controls = self.connected_control_sessions
            sessions = [one for one in sessions if one.get_control_session() in controls]
        else:
            sessions = [one for one in sessions if one.connected]
        return _in_form(
            sessions,
            return_profile_names=return_profile_names,
            return_profile_ids=return_profile_ids or not return_profile_names,
        )

    def get_master_session(
        self, profile_name: str, return_object: bool = True, return_session_name: bool = False
    ) -> X2GoSession | str | None:
        """The session that a profile's shared folders belong to, or its name or id; None when there is none."""
        with self._lock:
            session = self.master_sessions.get(profile_name)
        if session is None:
            return None
        if return_object:
            return session
        return session.get_session_name() if return_session_name else session.get_uuid()


def _in_form(
    sessions: Iterable[X2GoSession],
    return_objects: bool = False,
    return_profile_names: bool = False,
    return_profile_ids: bool = False,
    return_session_names: bool = False,
) -> list[Any]:
    """Sessions in the form that was asked for; ids when none was."""
    if return_profile_names:
        return list(dict.fromkeys(one.get_profile_name() for one in sessions))
    if return_profile_ids:
        return list(dict.fromkeys(one.get_profile_id() for one in sessions))
    if return_session_names:
        return [one.get_session_name() for one in sessions]
    return list(sessions) if return_objects else [one.get_uuid() for one in sessions]
