"""What a client does with sessions: register, connect, start, resume, suspend, terminate, share, end."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from crl.x2go import utils
from crl.x2go._client.logins import Logins
from crl.x2go._client.sessions import Sessions
from crl.x2go.log import loglevel_NOTICE, loglevel_WARN
from crl.x2go.session import X2GoSession
from crl.x2go.x2go_exceptions import X2GoClientException, X2GoSessionNotFound

__all__ = ["Verbs"]

_BACKENDS = (
    "control_backend", "terminal_backend", "info_backend", "list_backend", "proxy_backend", "settings_backend",
    "printing_backend",
)  # fmt: skip


class Verbs(Logins):
    """The methods of a client that change sessions."""

    control_backend: Any
    terminal_backend: Any
    info_backend: Any
    list_backend: Any
    proxy_backend: Any
    settings_backend: Any
    printing_backend: Any
    auto_register_sessions: bool
    no_auto_reg_pubapp_sessions: bool

    # Registering.

    def register_all_session_profiles(self, return_objects: bool = False) -> dict[str, Any]:
        """Register a session for each session profile.

        Returns:
            For each profile's name the session's id, or the session.
        """
        return {
            name: Verbs.register_session(self, profile_name=name, return_object=return_objects)
            for name in self.session_profiles.profile_names
        }

    def register_session(
        self,
        server: str | None = None,
        profile_id: str | None = None,
        profile_name: str | None = None,
        session_name: str | None = None,
        allow_printing: bool = False,
        allow_share_local_folders: bool = False,
        share_local_folders: Sequence[str] = (),
        allow_mimebox: bool = False,
        mimebox_extensions: Sequence[str] = (),
        mimebox_action: str = "OPEN",
        add_to_known_hosts: bool = False,
        known_hosts: str | os.PathLike[str] | None = None,
        forward_sshagent: bool = False,
        proxy_options: Mapping[str, Any] | None = None,
        return_object: bool = False,
        **kwargs: Any,
    ) -> Any:
        """Make a session of a session profile, or of what is given here.

        A session of a profile that was registered and never used is given again. Without a profile each session has a
        connection of its own; where a name of a profile is taken already, it gets a number.

        Args:
            server: The server, where there is no profile.
            profile_id: Id of a profile; without such a profile the session belongs to this id.
            profile_name: Name of a profile; without such a profile, a name for the session's connection.
            session_name: Name of a session on the server that it is to be.
            allow_printing: Whether print jobs of the session come here, also where its profile does not say so.
            allow_share_local_folders: Whether folders of this machine may be shared.
            share_local_folders: Folders to share at each start and resume.
            allow_mimebox: Whether files of the session's MIME box come here, also where its profile does not say so.
            mimebox_extensions: The endings of names that are taken; none are all but those of programs.
            mimebox_action: What is done with such a file: ``"OPEN"``, ``"OPENWITH"`` or ``"SAVEAS"``.
            add_to_known_hosts: Take the key of an unknown host without asking.
            known_hosts: File of host keys; default the one that ssh uses.
            forward_sshagent: Let the session use our SSH agent.
            proxy_options: Options of the graphics proxy.
            return_object: Give the session instead of its id.
            **kwargs: Parameters of the session (see `crl.x2go.session.X2GoSession`); they win over the profile's.

        Returns:
            The session's id, or the session; None when there is neither a profile nor a server.

        Raises:
            X2GoParameterError: There is no such parameter, or a value is not usable.
            X2GoBrokerConnectionException: The profile comes from a broker that has no server for it or cannot be asked.
        """
        found = self._profile_of(profile_id, profile_name)
        given = {
            "printing": allow_printing, "allow_share_local_folders": allow_share_local_folders,
            "share_local_folders": list(share_local_folders), "allow_mimebox": allow_mimebox,
            "mimebox_extensions": list(mimebox_extensions), "mimebox_action": mimebox_action,
            "forward_sshagent": forward_sshagent, **kwargs,
        }  # fmt: skip
        if proxy_options:
            kwargs["proxy_options"] = given["proxy_options"] = dict(proxy_options)
        if found is not None:
            boxes = ["printing", *(["mimebox_extensions", "mimebox_action"] if allow_mimebox else []), "allow_mimebox"]
            wished = {name: given[name] for name in boxes if given[name]}
            params = self._params_of_profile(found, {**wished, **kwargs})
            profile_id, profile_name = found, self.session_profiles.to_profile_name(found)
            server = params.pop("server")
        elif server is None and kwargs.get("target") is None:
            self.logger("register_session() was given neither a profile nor a server", loglevel=loglevel_WARN)
            return None
        else:
            params = given
            profile_id, profile_name = self._ad_hoc_names(profile_id, profile_name)
        session_uuid = self.session_registry.register(
            server,
            profile_id,
            profile_name,
            session_name,
            add_to_known_hosts=add_to_known_hosts,
            known_hosts=known_hosts,
            **{**self._places(), **params},
        )
        self.logger(f"registered {session_uuid} of {profile_name}", loglevel=loglevel_NOTICE)
        return self.session_registry(session_uuid) if return_object else session_uuid

    def _places(self) -> dict[str, Any]:
        """The backends and folders that all sessions of this client share."""
        return {
            **{name: getattr(self, name) for name in _BACKENDS},
            "client_rootdir": self.client_rootdir,
            "sessions_rootdir": self.sessions_rootdir,
            "ssh_rootdir": self.ssh_rootdir,
        }

    def _profile_of(self, profile_id: str | None, profile_name: str | None) -> str | None:
        """The id of the stored profile that is meant; None when there is none."""
        if profile_id is not None and self.session_profiles.has_profile_id(profile_id):
            return profile_id
        if profile_name is not None and self.session_profiles.has_profile_name(profile_name):
            return self.session_profiles.to_profile_id(profile_name)
        return None

    def _params_of_profile(self, profile_id: str, given: Mapping[str, Any]) -> dict[str, Any]:
        """The parameters of a session of a profile: its own, then those given."""
        params = self._login_of_profile(profile_id)
        params.pop("profile_name", None)
        return {**params, **given}

    def _ad_hoc_names(self, profile_id: str | None, profile_name: str | None) -> tuple[str, str]:
        """Id and name for a session without a profile; names are different where connections are."""
        registry = self.session_registry
        if profile_id is None:
            profile_id = utils._genSessionProfileId()  # noqa: SLF001 - python-x2go's name
        wanted = profile_name or os.path.basename(sys.argv[0] if sys.argv else "") or "UNKNOWN"
        taken = {*self.session_profiles.profile_names}
        for one in registry.registered_sessions():
            if one.get_profile_id() != profile_id:
                taken.add(one.get_profile_name())
        name, number = wanted, 0
        while name in taken:
            number += 1
            name = f"{wanted} ({number})"
        return profile_id, name

    # Connecting.

    def check_session_host(self, session_uuid: str) -> bool:
        """Whether the host of a session is known, or its key was accepted by the hook; nobody logs in."""
        return Sessions.get_session(self, session_uuid).check_host()

    def session_reuses_sshproxy_authinfo(self, session_uuid: str) -> bool:
        """Whether the credentials of the hop before the server are used for the server too."""
        return Sessions.get_session(self, session_uuid).reuses_sshproxy_authinfo()

    def session_uses_sshproxy(self, session_uuid: str) -> bool:
        """Whether there is a hop before the server."""
        return Sessions.get_session(self, session_uuid).uses_sshproxy()

    def session_can_sshproxy_auto_connect(self, session_uuid: str) -> bool | None:
        """Whether the hop before the server can be passed with keys; None when there is no hop."""
        return Sessions.get_session(self, session_uuid).can_sshproxy_auto_connect()

    def session_can_auto_connect(self, session_uuid: str) -> bool | None:
        """Whether a session can connect with keys; None when that cannot be known."""
        return Sessions.get_session(self, session_uuid).can_auto_connect()

    def session_auto_connect(self, session_uuid: str) -> None:
        """Have a session connect with keys, in the background."""
        Sessions.get_session(self, session_uuid).do_auto_connect(redirect_to_client=False)

    def connect_session(
        self,
        session_uuid: str,
        username: str | None = None,
        password: Any = None,
        passphrase: Any = None,
        sshproxy_user: str | None = None,
        sshproxy_password: Any = None,
        sshproxy_passphrase: Any = None,
        add_to_known_hosts: bool = False,
        force_password_auth: bool = False,
        sshproxy_force_password_auth: bool = False,
    ) -> bool:
        """Connect a session's server.

        Args:
            session_uuid: Which.
            username: The account, where the profile does not say.
            password: Its password, as text or as a `crl.secrets.Secret`.
            passphrase: Of its key.
            sshproxy_user: The account on the hop before the server.
            sshproxy_password: Its password.
            sshproxy_passphrase: Of its key.
            add_to_known_hosts: Take the key of an unknown host without asking.
            force_password_auth: Use no keys.
            sshproxy_force_password_auth: Use no keys for the hop.

        Returns:
            True; whatever fails is raised.

        Raises:
            AuthenticationException: The server refused the credentials.
            BadHostKeyException: The server's key is another than the known one.
            X2GoHostKeyException: The server's key is not known.
            X2GoSSHProxyException: The hop failed.
            X2GoControlSessionException: The server could not be reached, or is none for X2Go.
        """
        session = Sessions.get_session(self, session_uuid)
        if not session.is_connected():
            self._renew_login(session)
        self.session_registry.expect_connection(session.get_profile_id())
        connected = session.connect(
            username=username,
            password=password,
            passphrase=passphrase,
            sshproxy_user=sshproxy_user,
            sshproxy_password=sshproxy_password,
            sshproxy_passphrase=sshproxy_passphrase,
            add_to_known_hosts=add_to_known_hosts or None,
            force_password_auth=force_password_auth or None,
            sshproxy_force_password_auth=sshproxy_force_password_auth or None,
        )
        if connected:
            self._look_after_connect(session)
        return connected

    def _look_after_connect(self, session: X2GoSession) -> None:
        profile_name = session.get_profile_name()
        if self.auto_register_sessions:
            self.session_registry.register_available_server_sessions(
                profile_name, newly_connected=True, skip_pubapp_sessions=self.no_auto_reg_pubapp_sessions
            )
        else:
            self.session_registry.update_status(profile_name=profile_name, newly_connected=True)

    def disconnect_session(self, session_uuid: str) -> None:
        """End the connection of a session's profile; sessions that are shown here are suspended."""
        session = Sessions.get_session(self, session_uuid)
        session.disconnect()
        if self.listsessions_cache is not None:
            self.listsessions_cache.delete(session.get_profile_name())

    def disconnect_profile(self, profile_name: str) -> bool:
        """End the connection of a profile and forget its sessions; whether there were any."""
        mine = self.session_registry.registered_sessions_of_profile_name(profile_name)
        try:
            for session in mine:
                session.disconnect()
        finally:
            for session in mine:
                self.session_registry.forget(session.get_uuid())
            if self.listsessions_cache is not None:
                self.listsessions_cache.delete(profile_name)
        return bool(mine)

    # Steps of sessions.

    @contextmanager
    def _no_auto_registration(self) -> Iterator[None]:
        """While a session gets its name no object is made of it."""
        self.session_registry.disable_session_auto_registration()
        try:
            yield
        finally:
            self.session_registry.enable_session_auto_registration()

    def session_auto_start_or_resume(
        self,
        session_uuid: str,
        newest: bool = True,
        oldest: bool = False,
        all_suspended: bool = False,
        start: bool = True,
    ) -> Any:
        """Resume what is suspended on the server, or start a session.

        Args:
            session_uuid: Which session is to be it.
            newest: Resume the newest.
            oldest: Resume the oldest.
            all_suspended: Resume all.
            start: Start a session if none is suspended.
        """
        return Sessions.get_session(self, session_uuid).do_auto_start_or_resume(
            newest=newest, oldest=oldest, all_suspended=all_suspended, start=start
        )

    def start_session(self, session_uuid: str, **sessionopts: Any) -> bool:
        """Start a new session on the server.

        Args:
            session_uuid: Which session is to be it.
            **sessionopts: Parameters that are to be others than they were.

        Returns:
            Whether it runs; if not, a hook was told why.
        """
        session = Sessions.get_session(self, session_uuid)
        with self._no_auto_registration():
            if sessionopts:
                session.update_params(sessionopts)
            return bool(session.start())

    def share_desktop_session(
        self,
        session_uuid: str,
        desktop: str | None = None,
        user: str | None = None,
        display: str | None = None,
        share_mode: int = 0,
        check_desktop_list: bool = False,
        **sessionopts: Any,
    ) -> bool:
        """Show a desktop of the server that somebody uses.

        Args:
            session_uuid: Which session is to show it.
            desktop: The desktop as ``user@display``; or
            user: its user and
            display: its display.
            share_mode: 0 to look, 1 to use it as well.
            check_desktop_list: See first whether the server lists it.
            **sessionopts: Parameters that are to be others than they were.

        Returns:
            Whether it is shown; if not, a hook was told why.
        """
        session = Sessions.get_session(self, session_uuid)
        with self._no_auto_registration():
            if sessionopts:
                session.update_params(sessionopts)
            return bool(
                session.share_desktop(
                    desktop=desktop, user=user, display=display, share_mode=share_mode,
                    check_desktop_list=check_desktop_list,
                )
            )  # fmt: skip

    def resume_session(
        self,
        session_uuid: str | None = None,
        session_name: str | None = None,
        match_profile_name: str | None = None,
        **sessionopts: Any,
    ) -> bool:
        """Show a suspended session again.

        Args:
            session_uuid: Which registered session it is or is to be; or
            session_name: the name of a registered session.
            match_profile_name: Only of this profile, where a name is given alone.
            **sessionopts: Parameters that are to be others than they were.

        Returns:
            Whether it runs; if not, a hook was told why.

        Raises:
            X2GoClientException: Neither was given, or no registered session has that name.
        """
        session = self._meant(session_uuid, session_name, match_profile_name)
        with self._no_auto_registration():
            if sessionopts:
                session.update_params(sessionopts)
            return bool(session.resume(session_name=session_name))

    def _meant(
        self, session_uuid: str | None, session_name: str | None, match_profile_name: str | None
    ) -> X2GoSession:
        if session_uuid is not None:
            return Sessions.get_session(self, session_uuid)
        if session_name is None:
            raise X2GoClientException(
                "which session is meant?", doing="resuming a session", advice="give session_uuid or session_name"
            )
        found = self.session_registry.get_session_of_session_name(
            session_name, return_object=True, match_profile_name=match_profile_name
        )
        if not isinstance(found, X2GoSession):
            raise X2GoClientException(
                f"no registered session is called {session_name}",
                doing="resuming a session",
                advice="give session_uuid too: a session registered for the server",
            )
        return found

    def suspend_session(
        self,
        session_uuid: str,
        session_name: str | None = None,
        match_profile_name: str | None = None,
        **sessionopts: Any,
    ) -> bool:
        """Suspend a session, or with a name any one of its server.

        Args:
            session_uuid: Which; or a session of the same server.
            session_name: The name of the one to suspend.
            match_profile_name: Only a registered session of this profile.
            **sessionopts: Parameters that are to be others than they were.

        Raises:
            X2GoSessionException: It cannot be suspended.
            X2GoClientException: There is no connection.
        """
        session = Sessions.get_session(self, session_uuid)
        if sessionopts:
            session.update_params(sessionopts)
        if session_name is None or session_name == session.get_session_name():
            return bool(session.suspend())
        return self._step_of_another(session, "suspend", session_name, match_profile_name)

    def terminate_session(
        self,
        session_uuid: str,
        session_name: str | None = None,
        match_profile_name: str | None = None,
        **sessionopts: Any,
    ) -> bool:
        """End a session, or with a name any one of its server.

        Args:
            session_uuid: Which; or a session of the same server.
            session_name: The name of the one to end.
            match_profile_name: Only a registered session of this profile.
            **sessionopts: Parameters that are to be others than they were.

        Raises:
            X2GoSessionException: It cannot be ended.
            X2GoClientException: There is no connection.
        """
        session = Sessions.get_session(self, session_uuid)
        if sessionopts:
            session.update_params(sessionopts)
        if session_name is None or session_name == session.get_session_name():
            return bool(session.terminate())
        return self._step_of_another(session, "terminate", session_name, match_profile_name)

    def _step_of_another(
        self, session: X2GoSession, step: str, session_name: str, match_profile_name: str | None
    ) -> bool:
        """Suspend or end the session of a name: by its own object if it is shown here, else on the server alone."""
        profile_name = match_profile_name or session.get_profile_name()
        other = self.session_registry.get_session_of_session_name(
            session_name, return_object=True, match_profile_name=profile_name
        )
        if isinstance(other, X2GoSession) and other.has_terminal_session():
            return bool(getattr(other, step)())
        _, control = self._control_of(session.get_uuid(), None)
        listed = self._asked(control.list_sessions)
        if session_name not in listed:  # the server would say that all is well
            raise X2GoSessionNotFound(
                f"there is no session {session_name}",
                host=session.get_server_hostname(),
                doing=f"asking the server to {step} a session",
                advice=f"there are: {', '.join(listed) or 'none'}",
            )
        done = self._asked(lambda: getattr(control, step)(session_name))
        if self.listsessions_cache is not None:
            self.listsessions_cache.delete(profile_name)
        return bool(done)

    def clean_sessions(self, session_uuid: str, published_applications: bool = False) -> None:
        """End all sessions of the account on the server of a session.

        Args:
            session_uuid: Which.
            published_applications: Also those that publish a menu.
        """
        session = Sessions.get_session(self, session_uuid)
        session.clean_sessions(published_applications=published_applications)
        if self.listsessions_cache is not None:
            self.listsessions_cache.delete(session.get_profile_name())

    # Windows, printing, folders.

    def set_session_window_title(self, session_uuid: str, title: str = "") -> None:
        """Give the window of a session another title."""
        Sessions.get_session(self, session_uuid).set_session_window_title(title=title)

    def raise_session_window(self, session_uuid: str) -> None:
        """Bring the window of a session to the front."""
        Sessions.get_session(self, session_uuid).raise_session_window()

    def set_session_print_action(self, session_uuid: str, print_action: Any, **kwargs: Any) -> None:
        """Say what happens with a session's print jobs."""
        Sessions.get_session(self, session_uuid).set_print_action(print_action, **kwargs)

    def _owner_of_folders(self, session_uuid: str | None, profile_name: str | None) -> X2GoSession | None:
        if session_uuid is not None:
            return Sessions.get_session(self, session_uuid)
        if profile_name is None:
            return None
        self.session_registry.elect_master(profile_name)
        return self.session_registry.master_sessions.get(profile_name)

    def is_folder_sharing_available(self, session_uuid: str | None = None, profile_name: str | None = None) -> bool:
        """Whether folders can be shared with a session, or with the master session of a profile."""
        session = self._owner_of_folders(session_uuid, profile_name)
        return session is not None and session.is_folder_sharing_available()

    def share_local_folder(
        self,
        session_uuid: str | None = None,
        local_path: str | None = None,
        profile_name: str | None = None,
        folder_name: str | None = None,
    ) -> bool:
        """Share a folder with a session, or with the master session of a profile.

        Returns:
            Whether it is shared; a hook has told why not.
        """
        session = self._owner_of_folders(session_uuid, profile_name)
        path = local_path if local_path is not None else folder_name
        return session is not None and session.share_local_folder(local_path=path)

    def unshare_all_local_folders(self, session_uuid: str | None = None, profile_name: str | None = None) -> bool:
        """Share no folder with a session, or with the master session of a profile, any more."""
        session = self._owner_of_folders(session_uuid, profile_name)
        return session is not None and session.unshare_all_local_folders()

    unshare_all_local_folders_from_session = unshare_all_local_folders
    unshare_all_local_folders_from_profile = unshare_all_local_folders

    def unshare_local_folder(
        self, session_uuid: str | None = None, profile_name: str | None = None, local_path: str | None = None
    ) -> bool:
        """Share a folder with a session, or with the master session of a profile, no more."""
        session = self._owner_of_folders(session_uuid, profile_name)
        return session is not None and session.unshare_local_folder(local_path=local_path)

    unshare_local_folder_from_session = unshare_local_folder
    unshare_local_folder_from_profile = unshare_local_folder

    def get_shared_folders(
        self, session_uuid: str | None = None, profile_name: str | None = None, check_list_mounts: bool = False
    ) -> list[str] | None:
        """The folders that are shared with a session, or with the master session of a profile; None without one."""
        session = self._owner_of_folders(session_uuid, profile_name)
        return None if session is None else session.get_shared_folders(check_list_mounts=check_list_mounts)

    session_get_shared_folders = get_shared_folders
    profile_get_shared_folders = get_shared_folders
