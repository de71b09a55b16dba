"""A client's registered sessions: which there are, what each is, and what it is called."""

from __future__ import annotations

from typing import Any

from crl.x2go._client.profiles import Profiles
from crl.x2go.registry import X2GoSessionRegistry
from crl.x2go.session import X2GoSession

__all__ = ["Sessions"]


class Sessions(Profiles):
    """The methods of a client that look at its registered sessions and ask no server."""

    session_registry: X2GoSessionRegistry

    def get_session(self, session_uuid: str) -> X2GoSession:
        """The session of an id.

        Raises:
            X2GoSessionRegistryException: There is none.
        """
        return self.session_registry(session_uuid)

    with_session = get_session

    def get_session_summary(self, session_uuid: str) -> dict[str, Any]:
        """What is known of a session: names, state, connection, backends."""
        return self.session_registry.session_summary(session_uuid)

    def get_session_username(self, session_uuid: str) -> str | None:
        """The account of a session on its server; None while nobody has said."""
        return Sessions.get_session(self, session_uuid).get_username()

    def set_session_username(self, session_uuid: str, username: str) -> None:
        """Give a session the account that it is to use when it connects."""
        Sessions.get_session(self, session_uuid).update_params({"username": username})

    def get_session_server_peername(self, session_uuid: str) -> Any:
        """Address and port of a session's server, as the connection has them."""
        return Sessions.get_session(self, session_uuid).get_server_peername()

    def get_session_server_hostname(self, session_uuid: str) -> str | None:
        """The host of a session, as it was given."""
        return Sessions.get_session(self, session_uuid).get_server_hostname()

    def get_session_of_session_name(
        self, session_name: str, return_object: bool = False, match_profile_name: str | None = None
    ) -> X2GoSession | str | None:
        """The id, or the object, of the registered session of that name; None when there is none."""
        return self.session_registry.get_session_of_session_name(
            session_name, return_object=return_object, match_profile_name=match_profile_name
        )

    def get_session_name(self, session_uuid: str) -> str | None:
        """The name of a session on its server; None before its start."""
        return Sessions.get_session(self, session_uuid).get_session_name()

    def get_session_info(self, session_uuid: str) -> Any:
        """What is known of a session on its server."""
        return Sessions.get_session(self, session_uuid).get_session_info()

    def get_session_profile_name(self, session_uuid: str) -> str:
        """The name of a session's profile."""
        return self.session_registry.get_profile_name(session_uuid)

    def get_session_profile_id(self, session_uuid: str) -> str:
        """The id of a session's profile."""
        return self.session_registry.get_profile_id(session_uuid)

    def session_ok(self, session_uuid: str) -> bool:
        """Whether a session is shown here."""
        return Sessions.get_session(self, session_uuid).session_ok()

    def is_session_connected(self, session_uuid: str) -> bool:
        """Whether a session's server is connected."""
        return Sessions.get_session(self, session_uuid).is_connected()

    def is_profile_connected(self, profile_name: str) -> bool:
        """Whether a session of a profile is connected."""
        return bool(self.session_registry.connected_sessions_of_profile_name(profile_name))

    def get_master_session(
        self, profile_name: str, return_object: bool = True, return_session_name: bool = False
    ) -> X2GoSession | str | None:
        """The session that a profile's shared folders would belong to, or its name or id; None when there is none."""
        return self.session_registry.get_master_session(
            profile_name, return_object=return_object, return_session_name=return_session_name
        )

    profile_master_session = get_master_session

    def client_connected_sessions(
        self,
        return_objects: bool = False,
        return_profile_names: bool = False,
        return_profile_ids: bool = False,
        return_session_names: bool = False,
    ) -> list[Any]:
        """The connected sessions: their ids, or what was asked for."""
        return self.session_registry.connected_sessions(
            return_objects, return_profile_names, return_profile_ids, return_session_names
        )

    @property
    def client_has_connected_sessions(self) -> bool:
        """Whether a session is connected."""
        return bool(Sessions.client_connected_sessions(self))

    def client_associated_sessions(
        self,
        return_objects: bool = False,
        return_profile_names: bool = False,
        return_profile_ids: bool = False,
        return_session_names: bool = False,
    ) -> list[Any]:
        """The sessions that are shown here: their ids, or what was asked for."""
        return self.session_registry.associated_sessions(
            return_objects, return_profile_names, return_profile_ids, return_session_names
        )

    @property
    def client_has_associated_sessions(self) -> bool:
        """Whether a session is shown here."""
        return bool(Sessions.client_associated_sessions(self))

    def client_running_sessions(
        self,
        return_objects: bool = False,
        return_profile_names: bool = False,
        return_profile_ids: bool = False,
        return_session_names: bool = False,
    ) -> list[Any]:
        """The running sessions: their ids, or what was asked for."""
        return self.session_registry.running_sessions(
            return_objects, return_profile_names, return_profile_ids, return_session_names
        )

    @property
    def client_has_running_sessions(self) -> bool:
        """Whether a session runs."""
        return self.session_registry.has_running_sessions

    def client_suspended_sessions(
        self,
        return_objects: bool = False,
        return_profile_names: bool = False,
        return_profile_ids: bool = False,
        return_session_names: bool = False,
    ) -> list[Any]:
        """The suspended sessions: their ids, or what was asked for."""
        return self.session_registry.suspended_sessions(
            return_objects, return_profile_names, return_profile_ids, return_session_names
        )

    @property
    def client_has_suspended_sessions(self) -> bool:
        """Whether a session is suspended."""
        return self.session_registry.has_suspended_sessions

    def client_registered_sessions(
        self,
        return_objects: bool = True,
        return_profile_names: bool = False,
        return_profile_ids: bool = False,
        return_session_names: bool = False,
    ) -> list[Any]:
        """All sessions: the objects, or what was asked for."""
        return self.session_registry.registered_sessions(
            return_objects, return_profile_names, return_profile_ids, return_session_names
        )

    @property
    def client_control_sessions(self) -> dict[str, Any]:
        """For each profile's id the control session of its sessions."""
        return dict(self.session_registry.control_sessions)

    def client_control_session_of_profile_name(self, profile_name: str) -> Any:
        """The control session of a profile; None when no session of it is registered."""
        return self.session_registry.control_session_of_profile_name(profile_name)

    def client_registered_session_of_name(
        self, session_name: str, return_object: bool = False
    ) -> X2GoSession | str | None:
        """The id, or the object, of the registered session of that name; None when there is none."""
        return self.session_registry.get_session_of_session_name(session_name, return_object=return_object)

    def client_has_registered_session_of_name(self, session_name: str) -> bool:
        """Whether a session of that name is registered."""
        return self.session_registry.has_session_of_session_name(session_name)

    def client_registered_sessions_of_profile_name(
        self, profile_name: str, return_objects: bool = False, return_session_names: bool = False
    ) -> list[Any]:
        """The sessions of a profile: ids, objects or names."""
        return self.session_registry.registered_sessions_of_profile_name(
            profile_name, return_objects, return_session_names
        )

    def client_connected_sessions_of_profile_name(
        self, profile_name: str, return_objects: bool = False, return_session_names: bool = False
    ) -> list[Any]:
        """The connected sessions of a profile: ids, objects or names."""
        return self.session_registry.connected_sessions_of_profile_name(
            profile_name, return_objects, return_session_names
        )

    def client_associated_sessions_of_profile_name(
        self, profile_name: str, return_objects: bool = False, return_session_names: bool = False
    ) -> list[Any]:
        """The sessions of a profile that are shown here: ids, objects or names."""
        return self.session_registry.associated_sessions_of_profile_name(
            profile_name, return_objects, return_session_names
        )

    def client_pubapp_sessions_of_profile_name(
        self, profile_name: str, return_objects: bool = False, return_session_names: bool = False
    ) -> list[Any]:
        """The sessions of a profile that publish a menu: ids, objects or names."""
        return self.session_registry.pubapp_sessions_of_profile_name(profile_name, return_objects, return_session_names)

    def client_running_sessions_of_profile_name(
        self, profile_name: str, return_objects: bool = False, return_session_names: bool = False
    ) -> list[Any]:
        """The running sessions of a profile: ids, objects or names."""
        return self.session_registry.running_sessions_of_profile_name(
            profile_name, return_objects, return_session_names
        )

    def client_suspended_sessions_of_profile_name(
        self, profile_name: str, return_objects: bool = False, return_session_names: bool = False
    ) -> list[Any]:
        """The suspended sessions of a profile: ids, objects or names."""
        return self.session_registry.suspended_sessions_of_profile_name(
            profile_name, return_objects, return_session_names
        )

    def client_connected_profiles(self, return_profile_names: bool = False) -> list[str]:
        """The ids, or the names, of the connected profiles."""
        return self.session_registry.connected_profiles(
            return_profile_ids=not return_profile_names, return_profile_names=return_profile_names
        )
