"""A hop before the X2Go server: a connection of paramiko's, and a tunnel through it.

`X2GoSSHProxy` is python-x2go's class: a `paramiko.SSHClient` that is connected when its constructor returns, and a
thread that, when started, listens here and connects to the server through the hop. Its host key is verified by the
known_hosts file as ssh does it; passwords are kept nowhere; `stop_thread` leaves no thread, socket or connection.
"""

from __future__ import annotations

import logging
import os
import random
import re
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import paramiko

from crl.secrets import to_secret
from crl.x2go.checkhosts import (
    KnownHostsPolicy,
    X2GoAutoAddPolicy,
    X2GoInteractiveAddPolicy,
    X2GoMissingHostKeyPolicy,
)
from crl.x2go.defaults import X2GO_SSH_ROOTDIR
from crl.x2go.forward import X2GoFwServer, start_forward_tunnel, stop_forward_tunnel
from crl.x2go.log import X2GoLogger, logger_for, loglevel_DEFAULT, loglevel_ERROR
from crl.x2go.x2go_exceptions import (
    X2GoParameterError,
    X2GoSSHProxyAuthenticationException,
    X2GoSSHProxyException,
    X2GoSSHProxyHostKeyException,
    X2GoSSHProxyPasswordRequiredException,
)

__all__ = ["X2GoSSHProxy", "X2goSSHProxy"]

CONNECT_TIMEOUT = 20.0
START_TIMEOUT = 10.0
END_PATIENCE = 3.0
KEEPALIVE = 5
_LOCAL_NAMES = ("localhost", "localhost.localdomain")
_WITH_PORT = re.compile(r"(?P<host>\[[^\]]+\]|[^:\[\]]+):(?P<port>\d{1,5})")
_TUNNEL = re.compile(
    r"(?P<local>\[[^\]]+\]|[^:]*):(?P<local_port>\d{1,5}):(?P<remote>\[[^\]]+\]|[^:]+):(?P<remote_port>\d{1,5})"
)
Host = str | Sequence[str] | None


class X2GoSSHProxy(paramiko.SSHClient, threading.Thread):
    """A connection to a hop; connected when the constructor returns.

    There are two sets of arguments for the same things; those that begin with ``sshproxy_`` count where they are given.

    Args:
        hostname: The hop: a name, ``name:port``, an address, or a list of which one is taken.
        port: The port of its SSH server.
        username: The login name there.
        password: The password; a `str` or a Secret.
        passphrase: What opens a locked key.
        force_password_auth: Whether the password alone is tried.
        key_filename: A private key's file, or several.
        local_host: Where `start` listens.
        local_port: The port there; another one where that is busy.
        remote_host: Where the tunnel leads, as the hop sees it.
        remote_port: The port there.
        known_hosts: The known_hosts file; by default that of `ssh_rootdir`.
        add_to_known_hosts: Whether the key of a host of which nothing is known is taken and kept.
        pkey: A private key.
        look_for_keys: Whether the user's standard keys are tried.
        allow_agent: Whether the keys of the user's agent are tried.
        sshproxy_host: As `hostname`.
        sshproxy_port: As `port`.
        sshproxy_user: As `username`.
        sshproxy_password: As `password`.
        sshproxy_force_password_auth: As `force_password_auth`.
        sshproxy_key_filename: As `key_filename`.
        sshproxy_pkey: As `pkey`.
        sshproxy_passphrase: As `passphrase`.
        sshproxy_look_for_keys: As `look_for_keys`.
        sshproxy_allow_agent: As `allow_agent`.
        sshproxy_tunnel: ``local_host:local_port:remote_host:remote_port``, in place of the four arguments.
        ssh_rootdir: The user's folder for ssh; by default ``~/.ssh``.
        session_instance: The session; its ``HOOK_check_host_dialog`` is asked about unknown host keys.
        logger: Where to log.
        loglevel: The levels that are logged.

    Raises:
        X2GoSSHProxyHostKeyException: Its host key is not known and was not accepted.
        paramiko.BadHostKeyException: Another host key is known.
        X2GoSSHProxyAuthenticationException: It does not let the user in.
        X2GoSSHProxyPasswordRequiredException: A key needs a passphrase.
        X2GoSSHProxyException: It cannot be reached, or the connection broke.
    """

    host_key_failure: ClassVar[type[Exception]] = X2GoSSHProxyHostKeyException

    def __init__(
        self,
        hostname: Host = None,
        port: int = 22,
        username: str | None = None,
        password: Any = None,
        passphrase: Any = None,
        force_password_auth: bool = False,
        key_filename: str | Sequence[str] | None = None,
        local_host: str = "localhost",
        local_port: int = 22022,
        remote_host: str = "localhost",
        remote_port: int = 22,
        known_hosts: str | os.PathLike[str] | None = None,
        add_to_known_hosts: bool = False,
        pkey: paramiko.PKey | None = None,
        look_for_keys: bool = False,
        allow_agent: bool = False,
        sshproxy_host: Host = None,
        sshproxy_port: int = 22,
        sshproxy_user: str | None = None,
        sshproxy_password: Any = None,
        sshproxy_force_password_auth: bool = False,
        sshproxy_key_filename: str | Sequence[str] | None = None,
        sshproxy_pkey: paramiko.PKey | None = None,
        sshproxy_passphrase: Any = None,
        sshproxy_look_for_keys: bool = False,
        sshproxy_allow_agent: bool = False,
        sshproxy_tunnel: str | None = None,
        ssh_rootdir: str | os.PathLike[str] | None = None,
        session_instance: Any = None,
        logger: X2GoLogger | logging.Logger | None = None,
        loglevel: int = loglevel_DEFAULT,
    ) -> None:
        threading.Thread.__init__(self, name="crl-x2go-sshproxy", daemon=True)
        paramiko.SSHClient.__init__(self)
        self.logger = logger_for(logger, loglevel, "sshproxy")
        self.session_instance = session_instance
        self.keepalive = True
        self.fw_tunnel: X2GoFwServer | None = None
        self._stopping = threading.Event()
        self._listening = threading.Event()
        self.hostname, self.port = _place(
            sshproxy_host or hostname, sshproxy_port if sshproxy_host and sshproxy_port != 22 else port
        )
        self.username = sshproxy_user or username
        self.local_host, self.local_port = _loopback(local_host), int(local_port)
        self.remote_host, self.remote_port = _loopback(remote_host), int(remote_port)
        if sshproxy_tunnel is not None:
            self._take_tunnel(sshproxy_tunnel)
        root = Path(ssh_rootdir or Path.home() / X2GO_SSH_ROOTDIR).expanduser()
        self.known_hosts = str(Path(known_hosts).expanduser() if known_hosts else root / "known_hosts")
        self._host_keys_filename = self.known_hosts  # new keys are kept there
        policy = X2GoAutoAddPolicy if add_to_known_hosts else X2GoInteractiveAddPolicy
        self._policy_of_unknown: X2GoMissingHostKeyPolicy = policy(caller=self, session_instance=session_instance)
        password_given = sshproxy_password if sshproxy_password is not None else password
        forced = (sshproxy_force_password_auth or force_password_auth) and password_given is not None
        keys = {
            "pkey": sshproxy_pkey or pkey,
            "key_filename": _files(sshproxy_key_filename or key_filename),
            "look_for_keys": sshproxy_look_for_keys or look_for_keys,
            "allow_agent": sshproxy_allow_agent or allow_agent,
            "passphrase": _text(sshproxy_passphrase if sshproxy_passphrase else passphrase),
        }
        no_keys = {"look_for_keys": False, "allow_agent": False}
        self._log_in(password=_text(password_given), **(no_keys if forced else keys))

    def _take_tunnel(self, text: str) -> None:
        found = _TUNNEL.fullmatch(text)
        if found is None:
            raise X2GoParameterError(
                f"{text!r} is no tunnel", advice="write local_host:local_port:remote_host:remote_port"
            )
        self.local_host, self.local_port = _loopback(found["local"].strip("[]")), int(found["local_port"])
        self.remote_host, self.remote_port = _loopback(found["remote"].strip("[]")), int(found["remote_port"])

    def _log_in(self, **credentials: Any) -> None:
        """Connect; what is not finished leaves nothing."""
        known = KnownHostsPolicy(self.known_hosts, self._policy_of_unknown)
        self.set_missing_host_key_policy(known)
        done = False
        try:
            self.connect(
                self.hostname,
                self.port,
                self.username,
                timeout=CONNECT_TIMEOUT,
                banner_timeout=CONNECT_TIMEOUT,
                auth_timeout=CONNECT_TIMEOUT,
                transport_factory=known.make_transport(self.hostname, self.port),
                **credentials,
            )
            self._transport_now().set_keepalive(KEEPALIVE)
            done = True
        except paramiko.BadHostKeyException:
            raise
        except paramiko.PasswordRequiredException as error:
            raise self._failure(X2GoSSHProxyPasswordRequiredException, error) from error
        except paramiko.AuthenticationException as error:
            raise self._failure(X2GoSSHProxyAuthenticationException, error) from error
        except paramiko.SSHException as error:
            nothing = "No authentication methods available" in str(error)
            kind = X2GoSSHProxyAuthenticationException if nothing else X2GoSSHProxyException
            raise self._failure(kind, error) from error
        except (OSError, EOFError) as error:
            raise self._failure(X2GoSSHProxyException, error) from error
        finally:
            if not done:
                self.close()
        self.set_missing_host_key_policy(paramiko.RejectPolicy())

    def _failure(self, kind: type[X2GoSSHProxyException], error: Exception) -> X2GoSSHProxyException:
        return kind(
            f"no connection to {self.hostname}:{self.port} as {self.username}: {error or type(error).__name__}",
            host=self.hostname,
            doing="connecting to the SSH proxy",
            advice=f"see whether this works: ssh -p {self.port} {self.username or '…'}@{self.hostname}",
        )

    def _transport_now(self) -> paramiko.Transport:
        transport = self.get_transport()
        if transport is None or not transport.is_active():
            raise X2GoSSHProxyException("the connection to the SSH proxy has ended", host=self.hostname)
        return transport

    def check_host(self) -> bool:
        """Whether the hop's host key is known, or the session's hook accepts it.

        Raises:
            X2GoHostKeyException: The hop showed none.
        """
        known = KnownHostsPolicy(self.known_hosts, X2GoInteractiveAddPolicy(self, self.session_instance))
        name = self.hostname if self.port == 22 else f"[{self.hostname}]:{self.port}"
        transport = self._transport_now()
        try:
            known.missing_host_key(self, name, transport.get_remote_server_key())
        except (X2GoSSHProxyHostKeyException, paramiko.BadHostKeyException):
            return False
        return True

    # The tunnel.

    def start(self) -> None:
        """Listen; returns when that is so.

        Raises:
            X2GoSSHProxyException: The connection has ended, or nothing can be listened on.
        """
        self._transport_now()
        super().start()
        if not self._listening.wait(START_TIMEOUT) or self.fw_tunnel is None:
            raise X2GoSSHProxyException(
                f"no tunnel on {self.local_host}:{self.local_port}", host=self.hostname, doing="opening a tunnel"
            )

    def run(self) -> None:
        """Listen here and connect through the hop, until `stop_thread`."""
        try:
            self.fw_tunnel = self._tunnel(self.local_port) or self._tunnel(0)
        finally:
            self._listening.set()
        self._stopping.wait()
        stop_forward_tunnel(self.fw_tunnel)

    def _tunnel(self, port: int) -> X2GoFwServer | None:
        tunnel = start_forward_tunnel(
            local_host=self.local_host,
            local_port=port,
            remote_host=self.remote_host,
            remote_port=self.remote_port,
            ssh_transport=self.get_transport(),
            session_instance=self.session_instance,
            subsystem="SSH Proxy",
            logger=self.logger,
        )
        return None if tunnel.failed else tunnel

    def get_local_proxy_host(self) -> str:
        """Where it listens."""
        return self.local_host

    def get_local_proxy_port(self) -> int:
        """The port it listens on, or will."""
        return self.local_port if self.fw_tunnel is None else self.fw_tunnel.server_port

    def get_remote_host(self) -> str:
        """Where the tunnel leads."""
        return self.remote_host

    def get_remote_port(self) -> int:
        """The port there."""
        return self.remote_port

    def stop_thread(self) -> None:
        """End tunnel and connection; again is harmless."""
        self.keepalive = False
        self._stopping.set()
        if self.ident is not None and threading.current_thread() is not self:
            self.join(END_PATIENCE * 2)
            if self.is_alive():
                self.logger("the SSH proxy's thread does not end", loglevel=loglevel_ERROR)
        transport = self.get_transport()
        self.close()
        if transport is not None:
            transport.join(END_PATIENCE)

    def __del__(self) -> None:
        if "_stopping" in self.__dict__:
            self.stop_thread()


def _place(host: Host, port: int) -> tuple[str, int]:
    """One host and its port; colons of an IPv6 address separate no port."""
    if host is not None and not isinstance(host, str):
        host = random.choice(list(host)) if host else None
    if not host:
        raise X2GoParameterError("an SSH proxy needs a host")
    found = _WITH_PORT.fullmatch(host)
    if found is not None:
        host, port = found["host"], int(found["port"])
    return _loopback(host.strip("[]")), int(port)


def _loopback(host: str) -> str:
    return "127.0.0.1" if not host or host in _LOCAL_NAMES else host


def _files(given: str | Sequence[str] | None) -> list[str] | None:
    names = [given] if isinstance(given, str) else list(given or [])
    there = [path for path in map(os.path.expanduser, names) if os.path.exists(path)]
    return there or None


def _text(secret: Any) -> str | None:
    known = to_secret(secret or None)
    return None if known is None else known.value


X2goSSHProxy = X2GoSSHProxy
