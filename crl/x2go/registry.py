"""The sessions that a client knows: found by id, name, profile and state; new ones made; changes told to the hooks.

The registry knows sessions and control sessions by their published methods, its client only by the hooks it calls. Its
locks are never held while a hook runs or a server is asked; a profile's sessions are made one after another. What a
hook was told last is kept here, so that each change is told once, whoever looked first.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from crl.x2go._sessionviews import STATES, SessionViews
from crl.x2go.log import X2GoLogger, logger_for, loglevel_DEFAULT, loglevel_INFO
from crl.x2go.session import X2GoSession
from crl.x2go.x2go_exceptions import X2GoSessionRegistryException

if TYPE_CHECKING:
    from crl.x2go.client import X2GoClient
    from crl.x2go.state import Transition

__all__ = ["X2GoSessionRegistry", "call_each"]

_SECRETS = frozenset({"password", "passphrase", "sshproxy_password", "sshproxy_passphrase"})
_FIXED = frozenset({"target", "client_display", "proxy_class", "at_exit", "on_change"})  # for the life of a session


@dataclass(frozen=True)
class _Flags:
    """What of a session's state the hooks are told about."""

    virgin: bool
    running: bool
    suspended: bool
    terminated: bool

    @classmethod
    def of(cls, session: X2GoSession) -> _Flags:
        return cls(bool(session.virgin), bool(session.running), bool(session.suspended), bool(session.terminated))


_UNSEEN = _Flags(virgin=True, running=False, suspended=False, terminated=False)


def call_each(functions: Iterable[Callable[[], object]]) -> None:
    """Call all functions; one that fails keeps the others from nothing.

    Raises:
        ExceptionGroup: Several have failed; a single failure is raised as it is.
    """
    failures: list[Exception] = []
    for function in functions:
        try:
            function()
        except Exception as error:  # noqa: BLE001 - raised when the others had their turn
            failures.append(error)
    if len(failures) == 1:
        raise failures[0]
    if failures:
        raise ExceptionGroup("several sessions or profiles could not be brought up to date", failures)


class X2GoSessionRegistry(SessionViews):
    """The sessions of one client.

    Args:
        client_instance: The client whose hooks are called.
        logger: Where to log.
        loglevel: Levels to log when `logger` is not an `X2GoLogger`.

    Attributes:
        registry: The sessions by their ids.
        control_sessions: For each profile's id the control session that its sessions share.
        master_sessions: For each profile's name the session that its shared folders would belong to.
    """

    def __init__(
        self,
        client_instance: X2GoClient,
        logger: X2GoLogger | logging.Logger | None = None,
        loglevel: int = loglevel_DEFAULT,
    ) -> None:
        super().__init__()
        self.logger = logger_for(logger, loglevel, tag=type(self).__name__)
        self.client_instance = client_instance
        self._profile_locks: dict[str, threading.RLock] = {}
        self._recipes: dict[str, dict[str, Any]] = {}
        self._told: dict[str, _Flags] = {}
        self._changed_at: dict[str, float] = {}
        self._found_on_server: set[str] = set()
        self._seen_connected: set[str] = set()
        self._looked_at: set[str] = set()
        self._auto_registration_paused = 0

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {len(self.registry)} sessions>"

    def __call__(self, session_uuid: str) -> X2GoSession:
        """The session of an id.

        Raises:
            X2GoSessionRegistryException: There is none.
        """
        with self._lock:
            try:
                return self.registry[str(session_uuid)]
            except KeyError as error:
                raise X2GoSessionRegistryException(
                    f"no session is registered as {session_uuid!r}",
                    doing="looking for a session",
                    advice="register_session() gives the id; disconnect_profile() and terminate forget it",
                ) from error

    def disable_session_auto_registration(self) -> None:
        """Make no sessions of what servers list until it is enabled again, as often as it was disabled."""
        with self._lock:
            self._auto_registration_paused += 1

    def enable_session_auto_registration(self) -> None:
        """Undo one `disable_session_auto_registration`."""
        with self._lock:
            self._auto_registration_paused = max(0, self._auto_registration_paused - 1)

    def forget(self, session_uuid: str) -> None:
        """Drop a session; one that is not there is no error. The connection of a profile goes with its last session."""
        with self._lock:
            session = self.registry.pop(str(session_uuid), None)
            self._told.pop(str(session_uuid), None)
            self._changed_at.pop(str(session_uuid), None)
            self._found_on_server.discard(str(session_uuid))
            if session is None:
                return
            profile_id, profile_name = session.get_profile_id(), session.get_profile_name()
            if self.master_sessions.get(profile_name) is session:
                del self.master_sessions[profile_name]
            if all(other.get_profile_id() != profile_id for other in self.registry.values()):
                self.control_sessions.pop(profile_id, None)
                self._recipes.pop(profile_id, None)
                self._profile_locks.pop(profile_id, None)

    def get_profile_id(self, session_uuid: str) -> str:
        """The id of a session's profile."""
        return self(session_uuid).get_profile_id()

    def get_profile_name(self, session_uuid: str) -> str:
        """The name of a session's profile."""
        return self(session_uuid).get_profile_name()

    def session_summary(self, session_uuid: str, status_only: bool = False) -> dict[str, Any]:
        """What is known of a session.

        Args:
            session_uuid: Which.
            status_only: Only its names and its state.

        Raises:
            X2GoSessionRegistryException: There is none of that id.
        """
        session = self(session_uuid)
        summary: dict[str, Any] = {
            "uuid": session.get_uuid(),
            "profile_id": session.get_profile_id(),
            "profile_name": session.get_profile_name(),
            "session_name": session.get_session_name(),
        }
        if not status_only:
            summary.update(
                control_session=session.get_control_session(),
                control_params=session.control_params,
                terminal_session=session.get_terminal_session(),
                terminal_params=session.terminal_params,
                active_threads=list(getattr(session, "active_threads", ())),
                backends={
                    "control": session.control_backend,
                    "terminal": session.terminal_backend,
                    "info": session.info_backend,
                    "list": session.list_backend,
                    "proxy": session.proxy_backend,
                },
            )
        summary.update({state: getattr(session, state) for state in STATES if state != "activated"})
        return summary

    # Looking after the sessions.

    def expect_connection(self, profile_id: str) -> None:
        """A profile is about to be connected: what runs there at the next look was there before."""
        with self._lock:
            control = self.control_sessions.get(profile_id)
            if control is None or not control.is_connected():
                self._looked_at.discard(profile_id)

    def lost_profiles(self) -> list[str]:
        """The names of the profiles whose connection was lost since this was asked last."""
        with self._lock:
            connected = {name for name, control in self.control_sessions.items() if control.is_connected()}
            gone, self._seen_connected = self._seen_connected - connected, connected
            self._looked_at &= connected
            lost = {name for name in gone if name in self.control_sessions}
            lost = {name for name in lost if self.control_sessions[name].has_session_died()}
        return list(dict.fromkeys(one.get_profile_name() for one in self._all() if one.get_profile_id() in lost))

    def update_status(
        self,
        session_uuid: str | None = None,
        profile_name: str | None = None,
        profile_id: str | None = None,
        session_list: Mapping[str, Any] | None = None,
        force_update: bool = False,
        newly_connected: bool = False,
        *,
        listed_at: float | None = None,
    ) -> bool:
        """Bring the state of one session, or of all of one profile, up to date, and tell the hooks what changed.

        Args:
            session_uuid: The session; or
            profile_name: the profile, by its name, or
            profile_id: by its id.
            session_list: What the server has just listed; by default it is asked.
            force_update: Also when the last look is less than a second ago.
            newly_connected: The connection was made just now, so that what runs was there before.
            listed_at: When the server was asked for that list (`time.monotonic`); sessions that have changed since then
                are left as they are.

        Returns:
            True.

        Raises:
            X2GoSessionRegistryException: Not exactly one of the three was given.
            X2GoControlSessionException: The server cannot be asked.
            Exception: What a hook raised, when the others have been called.
        """
        if sum(wanted is not None for wanted in (session_uuid, profile_name, profile_id)) != 1:
            raise X2GoSessionRegistryException(
                "update_status() needs one of session_uuid, profile_name and profile_id",
                doing="updating sessions",
            )
        if session_uuid is not None:
            sessions = [self(session_uuid)]
        elif profile_name is not None:
            sessions = self.registered_sessions_of_profile_name(profile_name)
        else:
            sessions = [one for one in self._all() if one.get_profile_id() == profile_id]
        looked_at = set(self._looked_at)
        to_tell: list[Callable[[], None] | None] = []
        for session in sessions:
            is_first_look = newly_connected or session.get_profile_id() not in looked_at
            if listed_at is None or self._changed_at.get(session.get_uuid(), 0.0) < listed_at:
                to_tell.append(
                    self._refresh(session, session_list, force_update=force_update, newly_connected=is_first_look)
                )
        with self._lock:
            self._looked_at |= {one.get_profile_id() for one in sessions if one.is_connected()}
            self._seen_connected |= self._looked_at
        for name in {session.get_profile_name() for session in sessions}:
            self.elect_master(name)
        call_each(filter(None, to_tell))
        return True

    def _refresh(
        self,
        session: X2GoSession,
        session_list: Mapping[str, Any] | None,
        *,
        force_update: bool,
        newly_connected: bool,
    ) -> Callable[[], None] | None:
        """Bring one session up to date; what is left to do is to tell it."""
        if not session.is_connected() or session.is_locked():
            return None  # one in the middle of a step will be seen after it
        session.update_status(session_list=session_list, force_update=force_update)
        uuid = session.get_uuid()
        with self._lock:
            if uuid not in self.registry:
                return None
            before = self._told.get(uuid, _UNSEEN)
            now = self._told[uuid] = _Flags.of(session)
        hook = self._hook_for(session, before, now, newly_connected=newly_connected)
        if hook is None:
            return None
        about = {"profile_name": session.get_profile_name(), "session_name": session.get_session_name()}

        def tell() -> None:
            try:
                hook(session_uuid=uuid, **about)
            finally:
                if now.terminated and uuid in self._found_on_server:
                    self.forget(uuid)  # nobody was given it but by the hooks, which know now

        return tell

    def _hook_for(
        self, session: X2GoSession, before: _Flags, now: _Flags, *, newly_connected: bool
    ) -> Callable[..., None] | None:
        client = self.client_instance
        if now.running and not before.running:
            mine = session.has_terminal_session()
            if newly_connected and not mine:
                return client.HOOK_on_found_session_running_after_connect
            if before.suspended:
                return client.HOOK_on_session_has_resumed_by_me if mine else client.HOOK_on_session_has_resumed_by_other
            return client.HOOK_on_session_has_started_by_me if mine else client.HOOK_on_session_has_started_by_other
        if now.suspended and not before.suspended:
            return None if newly_connected else client.HOOK_on_session_has_been_suspended
        if now.terminated and not before.terminated:
            return client.HOOK_on_session_has_terminated
        return None

    def elect_master(self, profile_name: str) -> None:
        """Have one master session for a profile; desktops and publishers of menus come before applications."""
        candidates = [one for one in self.associated_sessions_of_profile_name(profile_name) if one.running]
        best = [one for one in candidates if one.is_desktop_session() or one.is_published_applications_provider()]
        with self._lock:
            master = self.master_sessions.get(profile_name)
            if master in (best or candidates):
                return
            self.master_sessions.pop(profile_name, None)
            if master is not None:
                master.master_session = False
            chosen = next(iter(best or candidates), None)
            if chosen is not None:
                self.master_sessions[profile_name] = chosen
                chosen.master_session = True
        if chosen is not None:
            self.logger(f"{chosen.get_session_name()} is the master session of {profile_name}", loglevel=loglevel_INFO)

    def register_available_server_sessions(
        self,
        profile_name: str,
        session_list: Mapping[str, Any] | None = None,
        newly_connected: bool = False,
        re_register: bool = False,
        skip_pubapp_sessions: bool = False,
        *,
        listed_at: float | None = None,
    ) -> None:
        """Have a session object for each session that the server of a profile lists.

        Args:
            profile_name: Which profile.
            session_list: What the server has just listed; by default it is asked.
            newly_connected: The connection was made just now.
            re_register: Make new objects also for sessions that have one which was made this way.
            skip_pubapp_sessions: Leave out sessions that publish a menu.
            listed_at: When the server was asked for that list (`time.monotonic`).

        Raises:
            X2GoControlSessionException: The server cannot be asked.
        """
        control = self.control_session_of_profile_name(profile_name)
        if control is None or self._auto_registration_paused:
            return
        if session_list is None:
            listed_at, session_list = time.monotonic(), control.list_sessions()
        profile_id = self.registered_sessions_of_profile_name(profile_name)[0].get_profile_id()
        with self._lock_of(profile_id):
            known = {one.get_session_name(): one for one in self.registered_sessions_of_profile_name(profile_name)}
            for name, info in session_list.items():
                if skip_pubapp_sessions and info.is_published_applications_provider():
                    continue
                if re_register and name in known and known[name].get_uuid() in self._found_on_server:
                    self.forget(known.pop(name).get_uuid())
                if name not in known and (info.is_running() or info.is_suspended()) and info.agent_pid is not None:
                    self._found(profile_id, name)  # one without a process is still being started
        self.update_status(
            profile_name=profile_name,
            session_list=session_list,
            force_update=True,
            newly_connected=newly_connected,
            listed_at=listed_at,
        )

    def _found(self, profile_id: str, session_name: str) -> None:
        """Make an object for a session that is on the server, as its profile's other sessions were made."""
        session = self._make(profile_id, session_name, self._recipes[profile_id])
        with self._lock:
            self._found_on_server.add(session.get_uuid())

    def register(
        self,
        server: str | None,
        profile_id: str,
        profile_name: str,
        session_name: str | None = None,
        control_backend: Any = "PLAIN",
        terminal_backend: Any = "PLAIN",
        info_backend: Any = "PLAIN",
        list_backend: Any = "PLAIN",
        proxy_backend: Any = "NX3",
        settings_backend: Any = "FILE",
        printing_backend: Any = "FILE",
        client_rootdir: str | os.PathLike[str] | None = None,
        sessions_rootdir: str | os.PathLike[str] | None = None,
        ssh_rootdir: str | os.PathLike[str] | None = None,
        keep_controlsession_alive: bool = True,
        add_to_known_hosts: bool = False,
        known_hosts: str | os.PathLike[str] | None = None,
        **kwargs: Any,
    ) -> str:
        """Make a session, or give one of the profile that nobody uses yet.

        All sessions of a profile share one control session, which is one connection.

        Args:
            server: The server.
            profile_id: Id of the profile.
            profile_name: Name of the profile.
            session_name: Name of a session on the server that it is to be.
            control_backend: Backend of the connection, by name or as a class; so are the next six.
            terminal_backend: Of sessions.
            info_backend: Of what is known of a session.
            list_backend: Of the server's list.
            proxy_backend: Of the graphics proxy.
            settings_backend: Of the settings.
            printing_backend: Of the print settings.
            client_rootdir: Folder of the configuration; default ``~/.x2goclient``.
            sessions_rootdir: Folder of the sessions' files; default ``~/.x2go``.
            ssh_rootdir: Folder of keys and known hosts; default ``~/.ssh``.
            keep_controlsession_alive: Whether the connection stays when the session object goes.
            add_to_known_hosts: Take the key of an unknown host without asking.
            known_hosts: File of host keys; default the one that ssh uses.
            **kwargs: Parameters of the session.

        Returns:
            The session's id.
        """
        backends = {
            "control_backend": control_backend, "terminal_backend": terminal_backend, "info_backend": info_backend,
            "list_backend": list_backend, "proxy_backend": proxy_backend, "settings_backend": settings_backend,
            "printing_backend": printing_backend,
        }  # fmt: skip
        places = {"client_rootdir": client_rootdir, "sessions_rootdir": sessions_rootdir, "ssh_rootdir": ssh_rootdir}
        params = {"add_to_known_hosts": add_to_known_hosts, "known_hosts": known_hosts, **kwargs}
        with self._lock_of(profile_id):
            session = None if _FIXED & params.keys() else self._unused(profile_id)
            recipe = {
                "server": server,
                "profile_name": profile_name,
                "keep_controlsession_alive": keep_controlsession_alive,
                **backends,
                **{name: os.fspath(place) for name, place in places.items() if place is not None},
                **params,
            }
            if session is None:
                session = self._make(profile_id, session_name, recipe)
            else:
                if server is not None and not session.is_connected():
                    session.set_server(server)
                session.set_profile_name(profile_name)
                session.update_params(params)
                session.activated = True
                if session_name is not None:
                    session.set_session_name(session_name)
            self._recipes[profile_id] = {name: value for name, value in recipe.items() if name not in _SECRETS}
            return session.get_uuid()

    def _lock_of(self, profile_id: str) -> threading.RLock:
        with self._lock:
            return self._profile_locks.setdefault(profile_id, threading.RLock())

    def _unused(self, profile_id: str) -> X2GoSession | None:
        mine = (one for one in self._all() if one.get_profile_id() == profile_id)
        return next((one for one in mine if one.virgin and not one.activated and not one.get_session_name()), None)

    def _make(self, profile_id: str, session_name: str | None, recipe: Mapping[str, Any]) -> X2GoSession:
        """A new session of a profile."""
        wanted = recipe.get("on_change")
        session: X2GoSession = X2GoSession(
            control_session=self.control_sessions.get(profile_id),
            profile_id=profile_id,
            session_name=session_name,
            client_instance=self.client_instance,
            logger=self.logger.tagged("X2GoSession"),
            **{**recipe, "on_change": lambda transition: self._changed(session, transition, wanted)},
        )
        with self._lock:
            self.registry[session.get_uuid()] = session
            self.control_sessions.setdefault(profile_id, session.get_control_session())
        return session

    def _changed(
        self, session: X2GoSession, transition: Transition, wanted: Callable[[Transition], object] | None
    ) -> None:
        """A session has changed: what was listed before that tells nothing of it any more."""
        with self._lock:
            if session.get_uuid() in self.registry:
                self._changed_at[session.get_uuid()] = time.monotonic()
        cache = self.client_instance.listsessions_cache
        if cache is not None:
            cache.delete(session.get_profile_name())
        if wanted is not None:
            wanted(transition)
