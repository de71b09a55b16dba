"""The login of a session: credentials, host keys, and what can go by itself.

This is the part of `crl.x2go.X2GoSession` that connects, by its control session. Passwords are let go as soon as the
login is done, whatever its result.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crl.errors import CrlError
from crl.x2go import defaults
from crl.x2go._life import SessionLife
from crl.x2go._sessionhooks import SessionHooks
from crl.x2go._sessionparams import SessionParameters
from crl.x2go.log import loglevel_WARN
from crl.x2go.utils import _get_backend_class
from crl.x2go.x2go_exceptions import X2GoControlSessionException, X2GoException, X2GoSessionException

__all__ = ["SessionLogin"]

STANDARD_KEYS = ("id_ed25519", "id_ecdsa", "id_rsa")
AGENT_PATIENCE = 3.0


class _KeyAsker:
    """Asks a session's hook about a key, unless `check_host` has just done so.

    Args:
        session: The session.
    """

    def __init__(self, session: SessionLogin) -> None:
        self._session = session

    def HOOK_check_host_dialog(
        self, host: str, port: int, fingerprint: str = "no fingerprint", fingerprint_type: str = "UNKNOWN"
    ) -> bool:
        """Whether the key is right."""
        if (port, fingerprint) == self._session._accepted_key:  # noqa: SLF001 - one thing in two classes
            return True
        return self._session.HOOK_check_host_dialog(
            host, port, fingerprint=fingerprint, fingerprint_type=fingerprint_type
        )


class SessionLogin(SessionLife, SessionHooks):
    """The login of a session; `crl.x2go.X2GoSession` is its face."""

    server: str | None
    port: int
    parameters: SessionParameters
    use_sshproxy: bool
    sshproxy_reuse_authinfo: bool
    add_to_known_hosts: bool
    known_hosts: str | None
    forward_sshagent: bool
    ssh_rootdir: Path
    auto_connect: bool
    auto_start_or_resume: bool
    control_backend: Any
    last_error: CrlError | None
    _accepted_key: tuple[int, str] | None = None
    _control_params: dict[str, Any]

    if TYPE_CHECKING:

        def update_status(self, session_list: Any = None, force_update: bool = False) -> bool: ...

        def do_auto_start_or_resume(
            self,
            newest: bool = True,
            oldest: bool = False,
            all_suspended: bool = False,
            start: bool = True,
            redirect_to_client: bool = True,
        ) -> bool | None: ...

        def unset_master_session(self) -> None: ...

    def init_control_session(self) -> None:
        """Make the control session, when there is none."""
        if self.control_session is None:
            kind = _get_backend_class(self.control_backend, "X2GoControlSession")
            slow = self.session_params.link in {"modem", "isdn"}
            self.control_session = kind(
                low_latency=self.parameters.control.get("low_latency", slow), **self._control_params
            )

    # What is known of it.

    @property
    def place(self) -> str:
        """The server's name, for texts."""
        host = None if self.control_session is None else self.control_session.get_hostname()
        return str(host or self.server or "the server")

    def is_connected(self) -> bool:
        """Whether there is a login on the server, as far as is known."""
        return self.control_session is not None and bool(self.control_session.is_connected())

    @property
    def connected(self) -> bool:
        """As `is_connected`."""
        return self.is_connected()

    def is_alive(self) -> bool:
        """Whether the server answers; when it does not, the hook is told and the session disconnected."""
        if self.control_session is not None and self.control_session.is_alive():
            return True
        if self._has_died():
            self._tell_death()
        return False

    def get_username(self) -> str | None:
        """The account's name on the server."""
        if self.is_connected():
            return str(self.control_session.remote_username())
        return self.parameters.control.get("username")

    def get_password(self) -> str | None:
        """The password, as long as it is kept: until the login."""
        return self.parameters.password

    def get_remote_home(self) -> str | None:
        """The account's home directory on the server; None without a login."""
        return self.control_session.server.get_facts().home if self.is_connected() else None

    def user_is_x2gouser(self, username: str | None = None) -> bool:
        """Whether an account may use X2Go."""
        return self.control_session is None or bool(self.control_session.is_x2gouser(username or ""))

    def get_server_peername(self) -> tuple[str, int]:
        """Address and port of the server's end of the connection.

        Raises:
            X2GoControlSessionException: There is no connection of its own.
        """
        self._require_login()
        address: tuple[str, int] = self.control_session.remote_peername()
        return address

    remote_peername = get_server_peername

    def get_server_hostname(self) -> str | None:
        """The server as it was given."""
        if self.server is not None:
            return self.server
        return None if self.control_session is None else self.control_session.get_hostname()

    def get_server_port(self) -> int:
        """The port of the server's sshd."""
        return self.port

    def set_server(self, server: str) -> None:
        """Set the server, for the next login."""
        self.server = server

    def set_port(self, port: int) -> None:
        """Set the port, for the next login."""
        self.port = int(port)

    def get_control_session(self) -> Any:
        """The login on the server, None when there is none yet."""
        return self.control_session

    def has_control_session(self) -> bool:
        """Whether there is a control session, connected or not."""
        return self.control_session is not None

    def _require_login(self) -> None:
        self._connect_if_automatic()
        if self.control_session is None:
            raise X2GoControlSessionException(
                "there is no connection to the server", host=self.place, advice="call connect() first"
            )

    # Host keys and the hop.

    def check_host(self) -> bool:
        """Ask the server for its key, and the hook about one that is not known.

        Raises:
            X2GoHostKeyException: It showed none, or another one than the one that is known.
        """
        self.init_control_session()
        known, host, port, fingerprint, kind = self.control_session.check_host(self.server or "", self.port)
        if known:
            return True
        agreed = self.HOOK_check_host_dialog(host, port, fingerprint=fingerprint, fingerprint_type=kind)
        self._accepted_key = (port, fingerprint) if agreed is True else None
        return agreed is True

    def uses_sshproxy(self) -> bool:
        """Whether the way leads through a hop."""
        return self.use_sshproxy

    def reuses_sshproxy_authinfo(self) -> bool:
        """Whether the hop takes the same credentials as the server."""
        return self.sshproxy_reuse_authinfo

    def can_auto_connect(self) -> bool:
        """Whether a login may work without a password: there is a key to offer."""
        return self._has_key(self.parameters.control, "")

    def can_sshproxy_auto_connect(self) -> bool | None:
        """As `can_auto_connect`, for the hop; None when there is none."""
        if not self.use_sshproxy:
            return None
        if self.sshproxy_reuse_authinfo:
            return self.can_auto_connect()
        return self._has_key(self.parameters.sshproxy, "sshproxy_")

    def _has_key(self, params: dict[str, Any], prefix: str) -> bool:
        given = params.get(f"{prefix}key_filename") or ()
        files = [given] if isinstance(given, (str, os.PathLike)) else list(given)
        if params.get(f"{prefix}pkey") is not None or any(Path(one).expanduser().exists() for one in files):
            return True
        if params.get(f"{prefix}look_for_keys") and any((self.ssh_rootdir / name).exists() for name in STANDARD_KEYS):
            return True
        return bool(params.get(f"{prefix}allow_agent")) and _agent_has_keys()

    # Connecting.

    def connect(
        self,
        username: str | None = None,
        password: Any = None,
        passphrase: Any = None,
        add_to_known_hosts: bool | None = None,
        force_password_auth: bool | None = None,
        look_for_keys: bool | None = None,
        allow_agent: bool | None = None,
        use_sshproxy: bool | None = None,
        sshproxy_user: str | None = None,
        sshproxy_password: Any = None,
        sshproxy_passphrase: Any = None,
        sshproxy_force_password_auth: bool | None = None,
        sshproxy_reuse_authinfo: bool | None = None,
        *,
        sshproxy: Any = None,
    ) -> bool:
        """Log in on the server; what is not given is as at the construction.

        Args:
            username: The login name.
            password: The password; it opens keys too.
            passphrase: What opens keys.
            add_to_known_hosts: Whether the key of a server that is not known is taken and kept.
            force_password_auth: Whether only the password is tried.
            look_for_keys: Whether the user's standard keys are offered.
            allow_agent: Whether keys of the agent are offered.
            use_sshproxy: Whether the way leads through a hop.
            sshproxy_user: As of the server, for the hop.
            sshproxy_password: As of the server, for the hop.
            sshproxy_passphrase: As of the server, for the hop.
            sshproxy_force_password_auth: As of the server, for the hop.
            sshproxy_reuse_authinfo: Whether the hop takes the same credentials as the server.
            sshproxy: A hop that is connected (`X2GoSSHProxy` or another client of paramiko); it stays its maker's.

        Returns:
            True.

        Raises:
            X2GoSessionException: It is connected as another user.
            X2GoControlSessionException: It did not work, as its subclasses say; those of a wrong password are
                paramiko's `AuthenticationException` too.
            X2GoHostKeyException: The server's key is not known, or is another one.
            X2GoRemoteHomeException: The account has no home directory.
            X2GoSSHProxyException: The hop failed.
        """
        given = {
            "username": username, "password": password, "passphrase": passphrase, "look_for_keys": look_for_keys,
            "force_password_auth": force_password_auth, "allow_agent": allow_agent, "sshproxy_user": sshproxy_user,
            "sshproxy_password": sshproxy_password, "sshproxy_passphrase": sshproxy_passphrase,
            "sshproxy_force_password_auth": sshproxy_force_password_auth,
        }  # fmt: skip
        with self._login_lock:
            if self._has_own_login():
                return self._already_as(username)
            self._take_wishes(given, use_sshproxy, sshproxy_reuse_authinfo, add_to_known_hosts)
            self._connect_now(sshproxy)
        if self.auto_start_or_resume:
            self._in_background("auto-start", self._start_by_itself)
        return True

    activated: bool
    _login_lock: threading.RLock

    def _has_own_login(self) -> bool:
        return self.is_connected() and self.control_session.get_transport() is not None

    def _take_wishes(
        self,
        given: dict[str, Any],
        use_sshproxy: bool | None,
        sshproxy_reuse_authinfo: bool | None,
        add_to_known_hosts: bool | None,
    ) -> None:
        """Take over what a login was given; what is None is as at the construction."""
        self.parameters.take({name: value for name, value in given.items() if value is not None})
        if use_sshproxy is not None:
            self.use_sshproxy = use_sshproxy
        if sshproxy_reuse_authinfo is not None:
            self.sshproxy_reuse_authinfo = sshproxy_reuse_authinfo
        if add_to_known_hosts is not None:
            self.add_to_known_hosts = add_to_known_hosts

    def _connect_now(self, sshproxy: Any = None) -> None:
        self.init_control_session()
        try:
            self._log_in(sshproxy)
        finally:
            self.parameters.forget_secrets()
        self.activated = True
        if self.get_session_name() is not None:
            self.update_status(force_update=True)

    def _connect_if_automatic(self) -> None:
        """Log in for a step, where the session is to do so by itself and there is no login yet.

        Raises:
            X2GoControlSessionException: There is no key to do it with, which the hook was told; or as of `connect`.
        """
        if not self.auto_connect:
            return
        with self._login_lock:
            if self.is_connected():
                return
            if not self.can_auto_connect() or self.can_sshproxy_auto_connect() is False:
                self.HOOK_auto_connect()
            if not self.is_connected():  # the hook may have seen to that
                self._connect_now()

    def _already_as(self, username: str | None) -> bool:
        present = self.control_session.remote_username()
        if username is not None and username != present:
            raise X2GoSessionException(
                f"it is connected as {present}, not as {username}", host=self.place, advice="call disconnect() first"
            )
        return True

    def _log_in(self, sshproxy: Any) -> None:
        not_of_login = {"low_latency", "prompter", "published_applications_no_submenus"}
        login = {name: value for name, value in self.parameters.control.items() if name not in not_of_login}
        hop = dict(self.parameters.sshproxy)
        if self.sshproxy_reuse_authinfo:
            for ours, theirs in (("username", "user"), ("password", "password"), ("passphrase", "passphrase"),
                                 ("pkey", "pkey"), ("key_filename", "key_filename")):  # fmt: skip
                if login.get(ours):
                    hop[f"sshproxy_{theirs}"] = login[ours]
        self.control_session.prompter = self.parameters.control.get("prompter")
        self.control_session.connect(
            self.server or "",
            port=self.port,
            use_sshproxy=self.use_sshproxy,
            add_to_known_hosts=self.add_to_known_hosts,
            forward_sshagent=self.forward_sshagent,
            session_instance=_KeyAsker(self),
            sshproxy=sshproxy,
            **login,
            **hop,
        )

    def _start_by_itself(self) -> None:
        """Start or resume after the login; nobody waits, so a failure is told by hook and log."""
        try:
            self.do_auto_start_or_resume()
        except CrlError as error:
            self.last_error = error
            self.logger(f"{self.profile_name}: {error}", loglevel=loglevel_WARN)

    def do_auto_connect(self, redirect_to_client: bool = True) -> None:
        """Log in without a password, in a thread; when that does not work, the hook is told.

        Args:
            redirect_to_client: Whether the client's `connect_session` does it, where there is a client.
        """
        if not self.can_auto_connect() or self.can_sshproxy_auto_connect() is False:
            self.HOOK_auto_connect()
            return
        self._in_background("auto-connect", lambda: self._connect_by_itself(redirect_to_client))

    def _connect_by_itself(self, through_client: bool) -> None:
        try:
            if through_client and self.client_instance is not None:
                self.client_instance.connect_session(str(self))
            else:
                self.connect()
        except X2GoException as error:
            self.last_error = error
            self.logger(f"{self.profile_name}: {error}", loglevel=loglevel_WARN)
            self.HOOK_auto_connect()

    def disconnect(self) -> bool:
        """Suspend what is shown over this login and close it, also for other sessions that share it.

        Returns:
            Whether there was a login.
        """
        self.unset_master_session()
        if self.control_session is None:
            return False
        there = bool(self.control_session.disconnect())
        self._release()
        return there

    def _leave_lost(self) -> None:
        """Close a login that was lost, and end what was shown over it."""
        self.unset_master_session()
        self.control_session.close_lost()
        self._release()

    # What the server is.

    def retrieve_server_features(self) -> None:
        """Ask the server again for what it can do."""
        self._require_login()
        self.control_session.query_server_features(force=True)

    def get_server_features(self) -> list[str]:
        """What the server can do, in its own words; empty without a login."""
        return list(self.control_session.query_server_features()) if self.is_connected() else []

    def has_server_feature(self, feature: str) -> bool:
        """Whether the server can do something."""
        return feature in self.get_server_features()

    def _default_root(self, name: str) -> Path:
        return Path(defaults.LOCAL_HOME) / name


def _agent_has_keys() -> bool:
    """Whether the user's agent answers and has a key."""
    if not os.environ.get("SSH_AUTH_SOCK"):
        return False
    import paramiko

    try:
        agent = paramiko.Agent()
    except (paramiko.SSHException, OSError):
        return False
    try:
        return bool(agent.get_keys())
    finally:
        agent.close()
