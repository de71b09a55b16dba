"""python-x2go's client: all sessions of an application, by profile, id and name.

`X2GoClient` holds the configuration nodes, the registry of sessions, the cache of lists and the guardian, and offers
them as one flat set of methods (`crl.x2go._client`) with hooks to override. Making one reads the configuration and
starts at most one thread, the guardian, if something is to be kept up to date; `close`, or the end of a ``with`` block,
ends all that the client has.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from crl.x2go import defaults, utils
from crl.x2go._aliases import mangled_aliases
from crl.x2go._client.verbs import Verbs
from crl.x2go.cache import X2GoListSessionsCache
from crl.x2go.guardian import X2GoSessionGuardian
from crl.x2go.log import X2GoLogger, logger_for, loglevel_DEFAULT
from crl.x2go.pulseaudio import client_sound_server
from crl.x2go.registry import X2GoSessionRegistry
from crl.x2go.xserver import client_xserver

__all__ = ["X2GoClient", "X2goClient"]

@mangled_aliases(name for name in dir(Verbs) if not name.startswith(("_", "HOOK_")))
class X2GoClient(Verbs):
    """An X2Go client: to be used as it is, or to be inherited from by an application that overrides hooks.

    Args:
        control_backend: Backend of connections, by name or as a class; so are the next seven.
        terminal_backend: Of sessions.
        info_backend: Of what is known of a session.
        list_backend: Of the server's list.
        proxy_backend: Of the graphics proxy.
        profiles_backend: Of the session profiles.
        settings_backend: Of the settings.
        printing_backend: Of the print settings.
        broker_url: Of a session broker, which gives the session profiles then: ``https://user@host/json/``,
            ``https://host/plain/`` or ``ssh://user@host/path/of/program``; ``HTTP`` or ``SSH`` alone is told later.
        broker_password: For the broker, as text or as a `crl.secrets.Secret`.
        broker_noauth: Whether the broker wants no password.
        client_rootdir: Folder of the configuration; default ``~/.x2goclient``, then also ``/etc/x2goclient`` is read.
        sessions_rootdir: Folder of the sessions' files; default ``~/.x2go``.
        ssh_rootdir: Folder of keys and known hosts; default ``~/.ssh``.
        start_xserver: Start an X server, for a user who has no display.
        start_pulseaudio: Start a sound server for the sessions: on Windows always, elsewhere for a user who has none.
        use_cache: As `use_listsessions_cache`.
        use_listsessions_cache: Keep what servers listed, so that asking again takes no time.
        auto_update_listsessions_cache: Renew the lists of sessions in the background.
        auto_update_listdesktops_cache: Renew the lists of desktops in the background.
        auto_update_listmounts_cache: Renew the lists of mounted folders in the background.
        auto_update_sessionregistry: Keep the state of sessions up to date in the background, and call the hooks.
        auto_register_sessions: Register sessions that servers list, when connecting and in the background.
        no_auto_reg_pubapp_sessions: But not those that publish a menu.
        refresh_interval: Seconds between two looks of the background.
        pulseaudio_installdir: Folder of that sound server's program; None looks for it.
        logger: Where to log.
        loglevel: Levels to log when `logger` is not an `X2GoLogger`.
        broker_options: Further arguments of `crl.x2go.broker.Broker`: `ca_file`, `auth_id`, `allowed_hosts` ….

    Raises:
        X2GoBackendException: There is no backend of such a name.
        X2GoBrokerConnectionException: The session broker cannot be asked, or does not let the user in.

    Attributes:
        session_registry: The registered sessions.
        session_guardian: The thread that looks after them; it does not run when nothing is to be looked after.
        listsessions_cache: What the servers listed; None when the client uses no cache.
        xserver: The X server that the client has started; None when there is none.
        pulseaudio: The sound server that the client has started; None when there is none.
        session_profiles: The session profiles.
        client_settings: The settings.
        client_printing: The print settings.
    """

    lang = "en"

    def __init__(
        self,
        control_backend: Any = "PLAIN",
        terminal_backend: Any = "PLAIN",
        info_backend: Any = "PLAIN",
        list_backend: Any = "PLAIN",
        proxy_backend: Any = "NX3",
        profiles_backend: Any = "FILE",
        settings_backend: Any = "FILE",
        printing_backend: Any = "FILE",
        broker_url: str | None = None,
        broker_password: Any = None,
        broker_noauth: bool = False,
        client_rootdir: str | os.PathLike[str] | None = None,
        sessions_rootdir: str | os.PathLike[str] | None = None,
        ssh_rootdir: str | os.PathLike[str] | None = None,
        start_xserver: bool = False,
        start_pulseaudio: bool = False,
        use_cache: bool = False,
        use_listsessions_cache: bool = False,
        auto_update_listsessions_cache: bool = False,
        auto_update_listdesktops_cache: bool = False,
        auto_update_listmounts_cache: bool = False,
        auto_update_sessionregistry: bool = False,
        auto_register_sessions: bool = False,
        no_auto_reg_pubapp_sessions: bool = False,
        refresh_interval: float = 5,
        pulseaudio_installdir: str | None = None,
        logger: X2GoLogger | logging.Logger | None = None,
        loglevel: int = loglevel_DEFAULT,
        *,
        broker_options: Mapping[str, Any] | None = None,
    ) -> None:
        self.logger = logger_for(logger, loglevel, tag="X2GoClient")
        self._choose_backends(
            X2GoControlSession=control_backend,
            X2GoTerminalSession=terminal_backend,
            X2GoServerSessionInfo=info_backend,
            X2GoServerSessionList=list_backend,
            X2GoProxy=proxy_backend,
        )
        self.settings_backend, self.printing_backend = settings_backend, printing_backend
        self._has_custom_client_rootdir = client_rootdir is not None
        self.client_rootdir = _place(client_rootdir, defaults.X2GO_CLIENT_ROOTDIR)
        self.sessions_rootdir = _place(sessions_rootdir, defaults.X2GO_SESSIONS_ROOTDIR)
        self.ssh_rootdir = _place(ssh_rootdir, defaults.X2GO_SSH_ROOTDIR)
        broker: dict[str, Any] = {"broker_options": broker_options, "broker_noauth": broker_noauth}
        if broker_url is not None:
            profiles_backend = "SSHBROKER" if broker_url.lower().partition(":")[0] == "ssh" else "HTTPBROKER"
            broker.update(broker_url=broker_url, broker_password=broker_password)
        self._read_configuration(profiles_backend, broker)
        self.use_listsessions_cache = use_cache or use_listsessions_cache
        self.auto_register_sessions = auto_register_sessions
        self.no_auto_reg_pubapp_sessions = no_auto_reg_pubapp_sessions
        self.session_registry = X2GoSessionRegistry(self, logger=self.logger)
        self.listsessions_cache = (
            X2GoListSessionsCache(self, logger=self.logger) if self.use_listsessions_cache else None
        )
        self.session_guardian = X2GoSessionGuardian(
            self,
            auto_update_listsessions_cache=auto_update_listsessions_cache,
            auto_update_listdesktops_cache=auto_update_listdesktops_cache,
            auto_update_listmounts_cache=auto_update_listmounts_cache,
            auto_update_sessionregistry=auto_update_sessionregistry,
            auto_register_sessions=auto_register_sessions,
            no_auto_reg_pubapp_sessions=no_auto_reg_pubapp_sessions,
            refresh_interval=refresh_interval,
            logger=self.logger,
        )
        self.xserver = client_xserver(self, self._files("xconfig")) if start_xserver else None
        self.pulseaudio = client_sound_server(self, pulseaudio_installdir) if start_pulseaudio else None

    def _choose_backends(self, **chosen: Any) -> None:
        classes = {name: utils._get_backend_class(backend, name) for name, backend in chosen.items()}  # noqa: SLF001
        self.control_backend = classes["X2GoControlSession"]
        self.terminal_backend = classes["X2GoTerminalSession"]
        self.info_backend = classes["X2GoServerSessionInfo"]
        self.list_backend = classes["X2GoServerSessionList"]
        self.proxy_backend = classes["X2GoProxy"]

    def _read_configuration(self, profiles_backend: Any, broker: Mapping[str, Any]) -> None:
        profiles = utils._get_backend_class(profiles_backend, "X2GoSessionProfiles")  # noqa: SLF001
        settings = utils._get_backend_class(self.settings_backend, "X2GoClientSettings")  # noqa: SLF001
        printing = utils._get_backend_class(self.printing_backend, "X2GoClientPrinting")  # noqa: SLF001
        self.profiles_backend, self.settings_backend, self.printing_backend = profiles, settings, printing
        self.client_settings = settings(config_files=self._files("settings"), logger=self.logger)
        self.client_printing = printing(
            config_files=self._files("printing"), client_instance=self, logger=self.logger
        )
        # Last: a broker is asked over a connection, which nothing must fail after.
        self.session_profiles = profiles(config_files=self._files("sessions"), logger=self.logger, **broker)

    def _files(self, node: str) -> list[str]:
        """The user's file of a configuration node and, where no other folder was given, that of the machine."""
        own = os.path.join(self.client_rootdir, node)
        return [own] if self._has_custom_client_rootdir else [own, os.path.join(defaults.ETC_DIR, node)]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the guardian and all connections; sessions that are shown here are suspended first. Again is harmless.

        Raises:
            ExceptionGroup: Connections could not be ended as they should; all were tried. One failure is raised as is.
        """
        self.session_guardian.stop_thread()
        self.session_profiles.close()
        names = [one.get_profile_name() for one in self.session_registry.registered_sessions()]
        try:
            self._for_each(dict.fromkeys(names), lambda name: Verbs.disconnect_profile(self, name))
        finally:
            for server in (self.pulseaudio, self.xserver):
                if server is not None:
                    server.stop_thread()

    # What has these private names only.
    __profile_is_folder_sharing_available = Verbs.is_folder_sharing_available
    __session_is_folder_sharing_available = Verbs.is_folder_sharing_available
    __share_local_folder_with_session = Verbs.share_local_folder
    __share_local_folder_with_profile = Verbs.share_local_folder


def _place(folder: str | os.PathLike[str] | None, name: str) -> str:
    return os.path.normpath(os.path.expanduser(folder or os.path.join(defaults.LOCAL_HOME, name)))


X2goClient = X2GoClient
