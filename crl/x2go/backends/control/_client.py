"""The connection of a control session: a client of paramiko, and the host that everything goes over.

That host is a link in a session of the connection, or the target that was given. This part knows connecting, host keys
and the end of connections, and nothing of X2Go sessions but that those that are shown are suspended at the end.
"""

from __future__ import annotations

import contextlib
import os
import random
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import paramiko
from paramiko.pkey import UnknownKeyType

from crl.channels.ssh.known_hosts import lookup_name
from crl.deadlines import Deadline
from crl.errors import CrlError
from crl.secrets import Secret, to_secret
from crl.x2go import defaults, utils
from crl.x2go._host import Host
from crl.x2go._pubapps import PublishedApplications
from crl.x2go._server import X2GoServer
from crl.x2go._transporthost import TransportHost
from crl.x2go.backends.control._connecting import (
    Way,
    X2GoConnectionFailed,
    certified_key,
    open_connection,
    way_to,
)
from crl.x2go.backends.control._login import Credentials, Prompter, log_in
from crl.x2go.checkhosts import X2GoAutoAddPolicy, X2GoInteractiveAddPolicy, check_ssh_host_key, fingerprint_of
from crl.x2go.log import X2GoLogger, loglevel_NOTICE
from crl.x2go.state import AgentState
from crl.x2go.x2go_exceptions import X2GoControlSessionException, X2GoParameterError, X2GoServerMissing

if TYPE_CHECKING:
    from crl.x2go.backends.terminal.plain import X2GoTerminalSession

__all__ = ["LoginClient"]

CONNECT_TIMEOUT = 60.0
COMMAND_TIMEOUT = 20.0
SLOW_FACTOR = 2  # for modem and isdn


class LoginClient(paramiko.SSHClient):
    """The connection of `X2GoControlSession`, which has the same arguments.

    Args:
        profile_name: A name for people.
        add_to_known_hosts: Whether the key of a server that is not known is taken and kept.
        known_hosts: The known_hosts file; None is what the ssh configuration says.
        forward_sshagent: Whether the user's agent may be used by what runs in sessions.
        unique_hostkey_aliases: Whether the server's key is kept under the profile's id instead of its name.
        terminal_backend: Name or class of the backend of sessions.
        info_backend: Name or class of the backend of session records.
        list_backend: Name or class of the backend of session lists.
        proxy_backend: Name or class of the backend of graphics proxies.
        client_rootdir: The folder of the client's configuration.
        sessions_rootdir: The folder of the client's session folders.
        ssh_rootdir: The folder of ssh's files.
        logger: An `X2GoLogger`.
        loglevel: The level of one that is made here.
        published_applications_no_submenus: With no more applications than that, menus have no submenus.
        low_latency: Whether the way is slow, so that everything may take twice as long.
        target: A host that is reached already (`crl.targets.Target`): then nothing is to be connected here.
        **kwargs: Accepted as in python-x2go: `profile_id`.

    Attributes:
        associated_terminals: The sessions that are shown here over this login, by name.
        session_died: Whether the connection was lost.
        death_told: Whether a hook has heard of that.
        prompter: What answers questions of the server beyond the password (`Credentials.prompter`).
    """

    def __init__(
        self,
        profile_name: str = "UNKNOWN",
        add_to_known_hosts: bool = False,
        known_hosts: str | os.PathLike[str] | None = None,
        forward_sshagent: bool = False,
        unique_hostkey_aliases: bool = False,
        terminal_backend: Any = "PLAIN",
        info_backend: Any = "PLAIN",
        list_backend: Any = "PLAIN",
        proxy_backend: Any = "NX3",
        client_rootdir: str | os.PathLike[str] | None = None,
        sessions_rootdir: str | os.PathLike[str] | None = None,
        ssh_rootdir: str | os.PathLike[str] | None = None,
        logger: X2GoLogger | None = None,
        loglevel: int = 56,
        published_applications_no_submenus: int = 0,
        low_latency: bool = False,
        *,
        target: Host | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__()
        self.profile_name = profile_name
        self.profile_id = str(kwargs.pop("profile_id", profile_name))
        if kwargs:
            raise X2GoParameterError(f"a control session has no parameter {', '.join(sorted(kwargs))}")
        self.add_to_known_hosts = add_to_known_hosts
        self.known_hosts = None if known_hosts is None else os.fspath(known_hosts)
        self.forward_sshagent = forward_sshagent
        self.unique_hostkey_aliases = unique_hostkey_aliases
        self.terminal_backend, self.info_backend, self.list_backend, self.proxy_backend = (
            terminal_backend, info_backend, list_backend, proxy_backend,
        )  # fmt: skip
        home = Path(defaults.LOCAL_HOME)
        self.client_rootdir = os.fspath(client_rootdir or home / defaults.X2GO_CLIENT_ROOTDIR)
        self.sessions_rootdir = os.fspath(sessions_rootdir or home / defaults.X2GO_SESSIONS_ROOTDIR)
        self.ssh_rootdir = Path(ssh_rootdir or home / defaults.X2GO_SSH_ROOTDIR)
        self.logger = logger or X2GoLogger(loglevel=loglevel, tag="control")
        self.published_applications_no_submenus = published_applications_no_submenus
        self.low_latency = low_latency
        self.prompter: Prompter | None = None
        self.hostname: str | None = None
        self.port: int | None = None
        self.sshproxy_session: Any = None
        self.associated_terminals: dict[str, X2GoTerminalSession] = {}
        self.session_died = False
        self.death_told = False
        self._telling = threading.Lock()
        self._policy_of_keys: paramiko.MissingHostKeyPolicy = paramiko.RejectPolicy()
        self._connecting = threading.RLock()
        self._given = target
        self._server: X2GoServer | None = None if target is None else X2GoServer(target)
        self._own_host: TransportHost | None = None
        self._menu: PublishedApplications | None = None
        self._death: X2GoControlSessionException | None = None

    def __repr__(self) -> str:
        state = "connected" if self.is_connected() else "not connected"
        return f"<{type(self).__name__} {self.profile_name} on {self._place()}: {state}>"

    def __del__(self) -> None:
        host, transport = self.__dict__.get("_own_host"), self.__dict__.get("_transport")
        if host is not None or transport is not None:
            with contextlib.suppress(Exception):  # nobody is left to tell
                self.close()

    # What stands behind it.

    @property
    def server(self) -> X2GoServer:
        """The server's commands.

        Raises:
            X2GoControlSessionException: There is no connection.
        """
        server = self._server
        if server is None:
            if self._death is not None:
                raise X2GoControlSessionException(
                    self._death.message, host=self._place(), doing="using the connection", advice="connect again"
                ) from self._death
            raise X2GoControlSessionException(
                "there is no connection to the server", host=self._place(), advice="call connect() first"
            )
        return server

    @property
    def target(self) -> Host:
        """The host that everything goes over.

        Raises:
            X2GoControlSessionException: There is no connection.
        """
        return self.server.target

    def _place(self) -> str:
        return self.hostname or (self._given.name if self._given is not None else "the server")

    def _deadline(self, seconds: float = COMMAND_TIMEOUT) -> Deadline:
        return Deadline.after(seconds * (SLOW_FACTOR if self.low_latency else 1))

    def get_hostname(self) -> str | None:
        """The host as it was given to `connect`."""
        return self.hostname or (self._given.name if self._given is not None else None)

    def get_port(self) -> int | None:
        """The port that the connection leads to; None when a host was given."""
        return self.port

    def set_profile_name(self, profile_name: str) -> None:
        """Give it another name for people."""
        self.profile_name = profile_name

    def remote_username(self) -> str:
        """The account's name on the server.

        Raises:
            X2GoControlSessionException: There is no connection.
        """
        transport = self.get_transport()
        name = transport.get_username() if transport is not None and self._given is None else None
        return str(name) if name else self.server.get_facts().user

    def remote_peername(self) -> tuple[str, int]:
        """Address and port of the server's end of the connection.

        Raises:
            X2GoControlSessionException: There is no connection, or it is not ours to ask.
        """
        transport = self.get_transport()
        if transport is None:
            raise X2GoControlSessionException("no connection of its own leads to the server", host=self._place())
        address, port = transport.getpeername()[:2]
        return str(address), int(port)

    def is_x2gouser(self, username: str) -> bool:  # noqa: ARG002 - as published
        """Whether an account may use X2Go; every account may, where there is a server."""
        return True

    # Host keys.

    def host_key_policy(self) -> paramiko.MissingHostKeyPolicy:
        """What decides about a key that no file knows."""
        return self._policy_of_keys

    def load_session_host_keys(self) -> None:
        """Make the known_hosts file where it is missing; it is read at each connection."""
        if self.known_hosts is not None and not os.path.exists(self.known_hosts):
            utils.touch_file(self.known_hosts)

    def check_host(self, hostname: str, port: int = 22) -> tuple[bool, str, int, str, str]:
        """Ask a server for its key, without logging in.

        Returns:
            Whether it is known, host, port, the key's MD5 fingerprint with colons, its type in capitals.

        Raises:
            X2GoHostKeyException: It showed none.
            paramiko.BadHostKeyException: Another key is known.
        """
        way = way_to(hostname, port, None, known_hosts=self.known_hosts, ssh_rootdir=self.ssh_rootdir)
        host = way.host
        self._take_known(way)
        certified = certified_key(way, self._deadline()) if way.known.authorities(*way.key_name) else None
        if certified is not None:
            return True, hostname, host.port, *fingerprint_of(certified)
        known, _, _, fingerprint, kind = check_ssh_host_key(self, host.hostname, host.port)
        return known, hostname, host.port, fingerprint, kind

    def _take_known(self, way: Way) -> None:
        """Give paramiko's own table of keys what the files say about one server."""
        name = lookup_name(way.host.hostname, way.host.port)
        for entry in way.known.of_host(*way.key_name):
            with contextlib.suppress(paramiko.SSHException, UnknownKeyType):  # it knows not all types
                if not entry.marker:
                    key = paramiko.PKey.from_type_string(entry.key.type, entry.key.blob)
                    self.get_host_keys().add(name, entry.key.type, key)

    def _choose_policy(self, way_files: str | None, session_instance: Any, *, add: bool) -> None:
        kind = X2GoAutoAddPolicy if add else X2GoInteractiveAddPolicy
        self._policy_of_keys = kind(caller=self, session_instance=session_instance)
        self.get_host_keys().clear()
        self._host_keys_filename = way_files

    # Connecting.

    def connect(  # type: ignore[override]
        self,
        hostname: str | list[str] | tuple[str, ...],
        port: int = 22,
        username: str | None = None,
        password: str | Secret | None = None,
        passphrase: str | Secret | None = None,
        pkey: Any = None,
        key_filename: str | list[str] | tuple[str, ...] | None = None,
        timeout: float | None = None,
        allow_agent: bool = False,
        look_for_keys: bool = False,
        use_sshproxy: bool = False,
        sshproxy_host: str | list[str] | None = None,
        sshproxy_port: int = 22,
        sshproxy_user: str | None = None,
        sshproxy_password: str | Secret | None = None,
        sshproxy_force_password_auth: bool = False,
        sshproxy_key_filename: str | None = None,
        sshproxy_pkey: Any = None,
        sshproxy_look_for_keys: bool = False,
        sshproxy_passphrase: str | Secret = "",
        sshproxy_allow_agent: bool = False,
        sshproxy_tunnel: str | None = None,
        add_to_known_hosts: bool | None = None,
        forward_sshagent: bool | None = None,
        unique_hostkey_aliases: bool | None = None,
        force_password_auth: bool = False,
        session_instance: Any = None,
        *,
        sshproxy: Any = None,
    ) -> bool:
        """Log in on a server; what was connected before is closed.

        Args:
            hostname: The server, also an alias of the ssh configuration; one of several is chosen by chance.
            port: Its port; 22 is what the configuration says.
            username: The login name; None is what the configuration says.
            password: The password; it opens keys too, unless `force_password_auth` is set.
            passphrase: What opens keys.
            pkey: A private key of paramiko.
            key_filename: Files of private keys.
            timeout: Seconds for all of it; None is a minute.
            allow_agent: Whether keys of the agent are offered.
            look_for_keys: Whether the user's standard keys are offered.
            use_sshproxy: Whether the way leads through a hop.
            sshproxy_host: The hop.
            sshproxy_port: As of the server, for the hop.
            sshproxy_user: As of the server, for the hop.
            sshproxy_password: As of the server, for the hop.
            sshproxy_force_password_auth: As of the server, for the hop.
            sshproxy_key_filename: As of the server, for the hop.
            sshproxy_pkey: As of the server, for the hop.
            sshproxy_look_for_keys: As of the server, for the hop.
            sshproxy_passphrase: As of the server, for the hop.
            sshproxy_allow_agent: As of the server, for the hop.
            sshproxy_tunnel: Where the hop leads, ``host:port:server:port``; the last two are the server.
            add_to_known_hosts: Whether an unknown key is taken and kept; None as at the construction.
            forward_sshagent: As at the construction.
            unique_hostkey_aliases: As at the construction.
            force_password_auth: Whether only the password is tried.
            session_instance: The session whose `HOOK_check_host_dialog` is asked about an unknown key.
            sshproxy: A hop that is connected: an `X2GoSSHProxy` or another client of paramiko; it stays its maker's.

        Returns:
            True.

        Raises:
            X2GoConnectionFailed: The server cannot be reached.
            X2GoHostKeyException: Its key is not known, or changed.
            X2GoAuthenticationFailed: It does not let the user in.
            X2GoRemoteHomeException: The account has no home directory.
            X2GoSSHProxyException: The hop failed.
        """
        for name, value in (
            ("add_to_known_hosts", add_to_known_hosts),
            ("forward_sshagent", forward_sshagent),
            ("unique_hostkey_aliases", unique_hostkey_aliases),
        ):
            if value is not None:
                setattr(self, name, value)
        if self._given is not None:
            self._server = X2GoServer(self._given)
            return self._check_account()
        wanted = hostname if isinstance(hostname, str) else random.choice(list(hostname))
        files = [key_filename] if isinstance(key_filename, str | os.PathLike) else list(key_filename or ())
        credentials = Credentials(
            username or "",
            password=_secret(password),
            passphrase=_secret(passphrase),
            pkey=pkey,
            key_filenames=tuple(os.fspath(one) for one in files if one),
            allow_agent=allow_agent,
            look_for_keys=look_for_keys,
            ssh_rootdir=self.ssh_rootdir,
            force_password=force_password_auth,
            prompter=self.prompter,
        )
        hop: Any = sshproxy
        with self._connecting, contextlib.ExitStack() as on_failure:
            self.close()
            on_failure.callback(self.close)
            if hop is None and use_sshproxy:
                hop = self.sshproxy_session = self._new_hop(
                    session_instance,
                    sshproxy_host=sshproxy_host, sshproxy_port=sshproxy_port, sshproxy_user=sshproxy_user,
                    sshproxy_password=_plain(sshproxy_password), sshproxy_pkey=sshproxy_pkey,
                    sshproxy_force_password_auth=sshproxy_force_password_auth,
                    sshproxy_key_filename=sshproxy_key_filename, sshproxy_passphrase=_plain(sshproxy_passphrase),
                    sshproxy_look_for_keys=sshproxy_look_for_keys, sshproxy_allow_agent=sshproxy_allow_agent,
                )  # fmt: skip
                wanted, port = _behind(sshproxy_tunnel) or (wanted, port)
            self._log_in(wanted, port, credentials, hop, session_instance, Deadline.after(timeout or CONNECT_TIMEOUT))
            on_failure.pop_all()
        return True

    def _new_hop(self, session_instance: Any, **settings: Any) -> Any:
        from crl.x2go.sshproxy import X2GoSSHProxy

        return X2GoSSHProxy(
            known_hosts=self.known_hosts,
            add_to_known_hosts=self.add_to_known_hosts,
            ssh_rootdir=os.fspath(self.ssh_rootdir),
            session_instance=session_instance,
            logger=self.logger,
            **settings,
        )

    def _log_in(
        self, hostname: str, port: int, credentials: Credentials, hop: Any, session: Any, deadline: Deadline
    ) -> None:
        alias = self.profile_id if self.unique_hostkey_aliases else None
        way = way_to(
            hostname, port, credentials.username,
            known_hosts=self.known_hosts, ssh_rootdir=self.ssh_rootdir, alias=alias,
        )  # fmt: skip
        if hop is not None:
            way = way.through(hop.get_transport())
        credentials.username = credentials.username or way.host.user
        file = self.known_hosts or next(iter(way.host.known_hosts_files), None)
        self._choose_policy(file, session, add=self.add_to_known_hosts)
        self.hostname, self.port = hostname, way.host.port
        transport = self._transport = open_connection(way, self, deadline)
        self._policy_of_keys = paramiko.RejectPolicy()
        if way.host.identity_files and credentials.look_for_keys and not credentials.key_filenames:
            credentials.standard_keys = way.host.identity_files
        try:
            log_in(transport, credentials, hostname)
        except paramiko.SSHException as error:
            if isinstance(error, X2GoControlSessionException):
                raise
            raise X2GoConnectionFailed(f"the connection broke: {error}", host=hostname, doing="logging in") from error
        self.session_died, self.death_told, self._death = False, False, None
        host = self._own_host = TransportHost(
            transport, hostname, lambda error: self._has_died(host, error), forward_agent=self.forward_sshagent
        )
        host.connect(deadline.remaining())
        self._server = X2GoServer(host)  # not before: others may look whether they can run commands
        self.logger(f"connected to {hostname}", loglevel=loglevel_NOTICE)
        self._check_account()

    def _check_account(self) -> bool:
        """Make sure of a home directory; a host without X2Go may be connected all the same."""
        with contextlib.suppress(X2GoServerMissing):
            self.server.get_facts()
        return True

    def _has_died(self, host: TransportHost, error: X2GoControlSessionException) -> None:
        """The connection has ended: from now on every command says so.

        A thread may find that out late, when it was closed on purpose or another one has taken its place.
        """
        if self._own_host is not host:
            return
        self.session_died, self._death, self._server = True, error, None
        self.logger(str(error), loglevel=loglevel_NOTICE)

    def note_death_told(self) -> bool:
        """Note that a hook hears of the lost connection now; False when one has already."""
        with self._telling:
            told, self.death_told = self.death_told, True
        return not told

    def close_lost(self) -> None:
        """Close a connection that was lost, and end what was shown over it; one that has taken its place stays."""
        with self._connecting:
            if not self.has_session_died():
                return
            self.close()
        for terminal in list(self.associated_terminals.values()):
            terminal.release_proxy()
            self._note(terminal, AgentState.SUSPENDED)
        self.associated_terminals.clear()

    def disconnect(self) -> bool:
        """Suspend the sessions that are shown here, then close the connection.

        Returns:
            Whether there was one.
        """
        there = self.is_connected()
        for terminal in list(self.associated_terminals.values()):
            if there:
                with contextlib.suppress(CrlError):  # one that cannot be suspended must not keep the rest
                    terminal.suspend()
            terminal.release_proxy()
            self._note(terminal, AgentState.SUSPENDED)
        self.associated_terminals.clear()
        self.close()
        return there

    @staticmethod
    def _note(terminal: X2GoTerminalSession, state: AgentState) -> None:
        """Tell the session object of a terminal what was done with its session here."""
        note = getattr(terminal.session_instance, "note_agent_state", None)
        if note is not None:
            note(state)

    def close(self) -> None:
        """Close the connection and all that goes over it; sessions on the server stay as they are."""
        with self._connecting:
            host, self._own_host = self._own_host, None
            hop, self.sshproxy_session = self.sshproxy_session, None
            self._server = None
            transport = self._transport
            if host is not None:
                host.close()
            super().close()
            if transport is not None:
                transport.join(COMMAND_TIMEOUT)
            if hop is not None:
                hop.stop_thread()

    def is_connected(self) -> bool:
        """Whether there is a connection, as far as is known; a given host connects by itself."""
        if self._server is None:
            return False
        return self._own_host is None or self._own_host.alive

    def is_alive(self) -> bool:
        """Whether the server answers."""
        try:
            return self.target.run(["echo"], timeout=self._deadline().remaining()).status == 0
        except (CrlError, OSError):
            return False

    def has_session_died(self) -> bool:
        """Whether the connection was lost."""
        if self._own_host is not None and not self._own_host.alive:
            self.session_died = True
        return self.session_died


def _secret(value: str | Secret | None) -> Secret | None:
    secret = to_secret(value)
    return secret if secret is not None and secret.value else None


def _plain(value: str | Secret | None) -> str | None:
    """A secret's text, for an interface that takes texts."""
    secret = _secret(value)
    return None if secret is None else secret.value


def _behind(tunnel: str | None) -> tuple[str, int] | None:
    """Server and port that the old text of a tunnel names."""
    parts = (tunnel or "").rsplit(":", 2)
    return (parts[1], int(parts[2])) if len(parts) == 3 and parts[2].isdigit() and ":" in parts[0] else None
