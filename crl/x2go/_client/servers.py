"""What a client asks servers: lists, versions, features; and how it keeps its sessions and lists up to date."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import partial
from typing import Any

from crl.x2go._client.sessions import Sessions
from crl.x2go.cache import X2GoListSessionsCache
from crl.x2go.defaults import PUBAPP_MAX_NO_SUBMENUS
from crl.x2go.log import loglevel_ERROR
from crl.x2go.registry import call_each
from crl.x2go.x2go_exceptions import X2GoClientException, X2GoControlSessionException

__all__ = ["Servers"]


class Servers(Sessions):
    """The methods of a client that ask servers."""

    listsessions_cache: X2GoListSessionsCache | None

    # Lists.

    def _control_of(
        self, session_uuid: str | None, profile_name: str | None, profile_id: str | None = None
    ) -> tuple[str, Any]:
        """The name of a profile and its connection, by whatever of the three is given.

        Raises:
            X2GoClientException: None is, or there is no connection.
        """
        if session_uuid is not None:
            session = Sessions.get_session(self, session_uuid)
            profile_name, control = session.get_profile_name(), session.get_control_session()
        elif profile_name is not None or profile_id is not None:
            if profile_name is None:
                registered = self.session_registry.registered_sessions()
                names = [one.get_profile_name() for one in registered if one.get_profile_id() == profile_id]
                profile_name = names[0] if names else str(profile_id)
            control = self.session_registry.control_session_of_profile_name(profile_name)
        else:
            raise X2GoClientException(
                "which server is meant?",
                doing="asking a server",
                advice="give session_uuid, profile_name or profile_id",
            )
        if control is None or not control.is_connected():
            raise X2GoClientException(
                f"{profile_name} is not connected", doing="asking a server", advice="connect_session() first"
            )
        return profile_name, control

    def _asked(self, ask: Callable[[], Any]) -> Any:
        """What a server answers; the application's hook hears of a connection that is found lost by that."""
        try:
            return ask()
        except X2GoControlSessionException:
            self._tell_losses()
            raise

    def _tell_losses(self) -> list[str]:
        """Tell the application's hook of the connections that were lost; the names of their profiles.

        The sessions of a lost connection are disconnected. Their ids stay, so that they can connect again.
        """
        lost = self.session_registry.lost_profiles()
        for profile_name in lost:
            self.logger(f"{profile_name}: the connection is lost", loglevel=loglevel_ERROR)
            control = self.session_registry.control_session_of_profile_name(profile_name)
            is_news = control.note_death_told()  # unless a session has found it so
            for session in self.session_registry.registered_sessions_of_profile_name(profile_name):
                session._leave_lost()  # noqa: SLF001 - one thing in two classes
            if self.listsessions_cache is not None:
                self.listsessions_cache.delete(profile_name)
            if is_news:  # last, for the hook may connect again
                self.HOOK_on_control_session_death(profile_name)
        return lost

    def _listed(
        self, kind: str, profile_name: str, ask: Callable[[], Any], *, no_cache: bool, refresh_cache: bool
    ) -> Any:
        """A list of a server: from the cache if there is one, else asked for."""
        cache = self.listsessions_cache
        if cache is None or no_cache:
            return self._asked(ask)
        if refresh_cache or not cache.is_cached(profile_name=profile_name, cache_type=kind):
            flags = {f"update_{one}": one == kind for one in ("sessions", "desktops", "mounts")}
            self._asked(lambda: cache.update(profile_name, **flags))
        known = cache.x2go_listsessions_cache.get(profile_name, {}).get(kind)
        return self._asked(ask) if known is None else known.copy()

    def list_sessions(
        self,
        session_uuid: str | None = None,
        profile_name: str | None = None,
        profile_id: str | None = None,
        no_cache: bool = False,
        refresh_cache: bool = False,
        update_sessionregistry: bool = True,
        register_sessions: bool = False,
        with_command: str | None = None,
        raw: bool = False,
    ) -> Any:
        """The sessions that a server lists, by their names.

        Args:
            session_uuid: A session of the server; or
            profile_name: its profile, by its name, or
            profile_id: by its id.
            no_cache: Ask the server also when there is a cache.
            refresh_cache: Ask the server, and let the cache know.
            update_sessionregistry: Bring the registered sessions up to date by what is listed.
            register_sessions: Register the sessions that are listed.
            with_command: Only sessions of this command.
            raw: What the server printed, as bytes: output and errors.

        Raises:
            X2GoClientException: Nothing was given, or there is no connection.
            X2GoControlSessionException: The server cannot be asked.
        """
        profile_name, control = self._control_of(session_uuid, profile_name, profile_id)
        if raw:
            return self._asked(lambda: control.list_sessions(raw=True))
        asked_at = time.monotonic()
        listed = self._listed(
            "sessions", profile_name, control.list_sessions, no_cache=no_cache, refresh_cache=refresh_cache
        )
        if register_sessions:
            self.session_registry.register_available_server_sessions(
                profile_name, session_list=listed, listed_at=asked_at
            )
        elif update_sessionregistry:
            self.session_registry.update_status(
                profile_name=profile_name, session_list=listed, force_update=True, listed_at=asked_at
            )
        if with_command is not None:
            wanted = re.compile(rf".*_st[DKRP]{re.escape(with_command)}_dp")
            listed = {name: info for name, info in listed.items() if wanted.match(name)}
        return listed

    def list_desktops(
        self,
        session_uuid: str | None = None,
        profile_name: str | None = None,
        profile_id: str | None = None,
        no_cache: bool = False,
        refresh_cache: bool = False,
        exclude_session_types: Collection[str] = (),
        raw: bool = False,
    ) -> Any:
        """The desktops of a server that can be shared, as ``user@:50``.

        Args:
            session_uuid: A session of the server; or
            profile_name: its profile, by its name, or
            profile_id: by its id.
            no_cache: Ask the server also when there is a cache.
            refresh_cache: Ask the server, and let the cache know.
            exclude_session_types: Leave out our sessions of these types: D, R, S, P, K.
            raw: What the server printed, as bytes: output and errors.

        Raises:
            X2GoClientException: Nothing was given, or there is no connection.
            X2GoControlSessionException: The server cannot be asked.
        """
        profile_name, control = self._control_of(session_uuid, profile_name, profile_id)
        if raw:
            return self._asked(lambda: control.list_desktops(raw=True))
        desktops = self._listed(
            "desktops", profile_name, control.list_desktops, no_cache=no_cache, refresh_cache=refresh_cache
        )
        if not exclude_session_types:
            return desktops
        sessions = self._asked(control.list_sessions)
        left_out = {
            f"{info.username}@:{info.display}"
            for info in sessions.values()
            if info.get_session_type() in exclude_session_types
        }
        return [desktop for desktop in desktops if desktop.partition(".")[0] not in left_out]

    def list_mounts_by_profile_name(
        self, profile_name: str, no_cache: bool = False, refresh_cache: bool = False, raw: bool = False
    ) -> Any:
        """For each session of a profile that is shown here: the client's folders that are mounted in it.

        Raises:
            X2GoClientException: There is no connection.
            X2GoControlSessionException: The server cannot be asked.
        """
        profile_name, control = self._control_of(None, profile_name)
        names = self.session_registry.associated_sessions_of_profile_name(
            profile_name, return_objects=False, return_session_names=True
        )

        def ask() -> dict[str, Any]:
            mounts: dict[str, Any] = {}
            for name in names:
                answer = control.list_mounts(name, raw=raw)
                mounts.update({name: answer} if raw else answer)
            return mounts

        return self._listed(
            "mounts", profile_name, ask, no_cache=no_cache or raw, refresh_cache=refresh_cache
        )

    def list_mounts(
        self, session_uuid: str, no_cache: bool = False, refresh_cache: bool = False, raw: bool = False
    ) -> Any:
        """As `list_mounts_by_profile_name`, for the profile of a session."""
        profile_name = Sessions.get_session_profile_name(self, session_uuid)
        return Servers.list_mounts_by_profile_name(self, profile_name, no_cache, refresh_cache, raw)

    # Single questions.

    def get_published_applications(
        self,
        session_uuid: str | None = None,
        profile_name: str | None = None,
        lang: str | None = None,
        refresh: bool = False,
        raw: bool = False,
        very_raw: bool = False,
        max_no_submenus: int = PUBAPP_MAX_NO_SUBMENUS,
    ) -> Any:
        """The menu that a session, or the session of a profile that publishes one, offers; None without such a one.

        Args:
            session_uuid: The session; or
            profile_name: its profile.
            lang: Language of the names.
            refresh: Ask the server again.
            raw: The list as it was read, without submenus.
            very_raw: What the server printed.
            max_no_submenus: Up to how many entries there are no submenus.
        """
        if session_uuid is not None:
            session = Sessions.get_session(self, session_uuid)
        else:
            publishing = self.session_registry.pubapp_sessions_of_profile_name(str(profile_name))
            if not publishing:
                return None
            session = publishing[0]
        return session.get_published_applications(
            lang=lang, refresh=refresh, raw=raw, very_raw=very_raw, max_no_submenus=max_no_submenus
        )

    profile_get_published_applications = get_published_applications

    def is_x2goserver(self, session_uuid: str, force: bool = False) -> bool:
        """Whether the server of a session has the X2Go server, asked of it."""
        profile_name = Sessions.get_session_profile_name(self, session_uuid)
        return "x2goserver" in Servers.get_server_versions(self, profile_name, force=force)

    def get_server_versions(self, profile_name: str, component: str | None = None, force: bool = False) -> Any:
        """The versions of the X2Go server's components, or of one.

        Raises:
            X2GoClientException: There is no such component, or no connection.
        """
        profile_name, control = self._control_of(None, profile_name)
        versions: Mapping[str, str] = self._asked(lambda: control.query_server_versions(force=force))
        if component is None:
            return dict(versions)
        if component not in versions:
            raise X2GoClientException(
                f"the server of {profile_name} has no component {component!r}",
                doing="asking for versions",
                advice=f"it has: {', '.join(sorted(versions)) or 'none'}",
            )
        return versions[component]

    get_server_components = get_server_versions

    def get_server_features(self, profile_name: str, force: bool = False) -> list[str]:
        """What the X2Go server can do, as its feature names.

        Raises:
            X2GoClientException: There is no connection.
        """
        profile_name, control = self._control_of(None, profile_name)
        return sorted(self._asked(lambda: control.query_server_features(force=force)))

    def has_server_feature(self, profile_name: str, feature: str) -> bool:
        """Whether the X2Go server can do something."""
        return feature in Servers.get_server_features(self, profile_name)

    def server_is_alive(self, session_uuid: str) -> bool:
        """Whether the server of a session answers."""
        return Sessions.get_session(self, session_uuid).is_alive()

    def all_servers_are_alive(self) -> bool:
        """Whether the servers of all sessions answer."""
        return all(control.is_alive() for control in self.session_registry.control_sessions.copy().values())

    def server_valid_x2gouser(self, session_uuid: str, username: str | None = None) -> bool:
        """Whether an account may use X2Go on the server of a session."""
        return Sessions.get_session(self, session_uuid).user_is_x2gouser(username=username)

    def server_running_sessions(self, session_uuid: str) -> list[str]:
        """The names of the sessions that run on the server of a session.

        Raises:
            X2GoClientException: There is no connection.
        """
        listed = Servers.list_sessions(self, session_uuid, update_sessionregistry=False)
        return [name for name, info in listed.items() if info.is_running()]

    def server_has_running_sessions(self, session_uuid: str) -> bool:
        """Whether a session runs on the server of a session."""
        return bool(Servers.server_running_sessions(self, session_uuid))

    def server_has_running_session_of_name(self, session_uuid: str, session_name: str) -> bool:
        """Whether a session of that name runs on the server of a session."""
        return session_name in Servers.server_running_sessions(self, session_uuid)

    def server_suspended_sessions(self, session_uuid: str) -> list[str]:
        """The names of the sessions that are suspended on the server of a session.

        Raises:
            X2GoClientException: There is no connection.
        """
        listed = Servers.list_sessions(self, session_uuid, update_sessionregistry=False)
        return [name for name, info in listed.items() if info.is_suspended()]

    def server_has_suspended_sessions(self, session_uuid: str) -> bool:
        """Whether a session is suspended on the server of a session."""
        return bool(Servers.server_suspended_sessions(self, session_uuid))

    def server_has_suspended_session_of_name(self, session_uuid: str, session_name: str) -> bool:
        """Whether a session of that name is suspended on the server of a session."""
        return session_name in Servers.server_suspended_sessions(self, session_uuid)

    def is_session_running(self, session_uuid: str, session_name: str | None = None) -> bool:
        """Whether a session runs; with a name, whether the one of that name does on its server."""
        if session_name is None:
            return bool(Sessions.get_session(self, session_uuid).is_running())
        return Servers.server_has_running_session_of_name(self, session_uuid, session_name)

    def is_session_suspended(self, session_uuid: str, session_name: str | None = None) -> bool:
        """Whether a session is suspended; with a name, whether the one of that name is on its server."""
        if session_name is None:
            return bool(Sessions.get_session(self, session_uuid).is_suspended())
        return Servers.server_has_suspended_session_of_name(self, session_uuid, session_name)

    def has_session_terminated(self, session_uuid: str, session_name: str | None = None) -> bool:
        """Whether a session has ended; with a name, whether its server lists the one of that name no more."""
        if session_name is None:
            return bool(Sessions.get_session(self, session_uuid).has_terminated())
        listed = Servers.list_sessions(self, session_uuid, update_sessionregistry=False)
        found = listed.get(session_name)
        return found is None or not (found.is_running() or found.is_suspended())

    # Keeping up to date.

    def _for_each_connected(self, function: Callable[[str], object]) -> None:
        """Call a function for each connected profile; the application hears of those that are lost."""
        self._tell_losses()
        self._for_each(Sessions.client_connected_profiles(self, return_profile_names=True), function)

    def _for_each(self, profile_names: Iterable[str], function: Callable[[str], object]) -> None:
        """Call a function for each profile; failures are raised when all had their turn."""
        call_each(partial(function, name) for name in profile_names)

    def update_sessionregistry_status_by_profile_name(
        self, profile_name: str, session_list: Mapping[str, Any] | None = None
    ) -> None:
        """Bring the registered sessions of a profile up to date, and tell the hooks what changed."""
        if session_list is None:
            Servers.list_sessions(self, profile_name=profile_name)
        else:
            self.session_registry.update_status(profile_name=profile_name, session_list=session_list, force_update=True)

    def update_sessionregistry_status_by_session_uuid(self, session_uuid: str) -> None:
        """Bring a registered session up to date, and tell the hooks what changed."""
        asked_at = time.monotonic()
        listed = Servers.list_sessions(self, session_uuid, update_sessionregistry=False)
        self.session_registry.update_status(
            session_uuid=session_uuid, session_list=listed, force_update=True, listed_at=asked_at
        )

    def update_sessionregistry_status_all_profiles(self) -> None:
        """Bring the registered sessions of all connected profiles up to date, and tell the hooks what changed."""
        self._for_each_connected(
            lambda name: Servers.update_sessionregistry_status_by_profile_name(self, name),
        )

    def update_cache_by_profile_name(
        self,
        profile_name: str,
        cache_types: str | Collection[str] = "sessions",
        update_sessions: bool | None = None,
        update_desktops: bool | None = None,
        update_mounts: bool | None = None,
    ) -> None:
        """Renew what the cache knows of a profile; without a cache there is nothing to do.

        A lost connection is told to the hook, and the profile's sessions are disconnected; their ids stay.

        Args:
            profile_name: Which.
            cache_types: Which lists: ``sessions``, ``desktops``, ``mounts``.
            update_sessions: Whether the sessions; by default as `cache_types` says, also for the next two.
            update_desktops: Whether the desktops.
            update_mounts: Whether the mounted folders.

        Raises:
            X2GoControlSessionException: The server could not list; the connection stands.
        """
        cache = self.listsessions_cache
        if cache is None:
            return
        flags = {"sessions": update_sessions, "desktops": update_desktops, "mounts": update_mounts}
        wanted = {f"update_{kind}": kind in cache_types if flag is None else flag for kind, flag in flags.items()}
        try:
            cache.update(profile_name, **wanted)
        except X2GoControlSessionException:
            if profile_name not in self._tell_losses():
                raise

    def update_cache_by_session_uuid(
        self,
        session_uuid: str,
        cache_types: str | Collection[str] = "sessions",
        update_sessions: bool | None = None,
        update_desktops: bool | None = None,
        update_mounts: bool | None = None,
    ) -> None:
        """As `update_cache_by_profile_name`, for the profile of a session."""
        profile_name = Sessions.get_session_profile_name(self, session_uuid)
        Servers.update_cache_by_profile_name(
            self, profile_name, cache_types, update_sessions, update_desktops, update_mounts
        )

    def update_cache_all_profiles(
        self,
        cache_types: str | Collection[str] = "sessions",
        update_sessions: bool | None = None,
        update_desktops: bool | None = None,
        update_mounts: bool | None = None,
    ) -> None:
        """As `update_cache_by_profile_name`, for all connected profiles; what is known of others is forgotten."""
        if self.listsessions_cache is None:
            return
        self._for_each_connected(
            lambda name: Servers.update_cache_by_profile_name(
                self, name, cache_types, update_sessions, update_desktops, update_mounts
            ),
        )
        self.listsessions_cache.check_cache()

    def register_available_server_sessions_by_profile_name(
        self, profile_name: str, re_register: bool = False, skip_pubapp_sessions: bool = False
    ) -> None:
        """Register the sessions that the server of a profile lists.

        Args:
            profile_name: Which.
            re_register: Make new objects also for sessions that have one which was made this way.
            skip_pubapp_sessions: Leave out sessions that publish a menu.

        Raises:
            X2GoControlSessionException: The server cannot be asked.
        """
        asked_at = time.monotonic()
        listed = Servers.list_sessions(self, profile_name=profile_name, update_sessionregistry=False)
        self.session_registry.register_available_server_sessions(
            profile_name,
            session_list=listed,
            re_register=re_register,
            skip_pubapp_sessions=skip_pubapp_sessions,
            listed_at=asked_at,
        )

    def register_available_server_sessions_by_session_uuid(
        self, session_uuid: str, skip_pubapp_sessions: bool = False
    ) -> None:
        """As `register_available_server_sessions_by_profile_name`, for the profile of a session."""
        Servers.register_available_server_sessions_by_profile_name(
            self, Sessions.get_session_profile_name(self, session_uuid), skip_pubapp_sessions=skip_pubapp_sessions
        )

    def register_available_server_sessions_all_profiles(self, skip_pubapp_sessions: bool = False) -> None:
        """As `register_available_server_sessions_by_profile_name`, for all connected profiles."""
        self._for_each_connected(
            lambda name: Servers.register_available_server_sessions_by_profile_name(
                self, name, skip_pubapp_sessions=skip_pubapp_sessions
            ),
        )
