"""The way to a server and the proof that it is the one meant, before anything about the user is sent.

The user's ssh configuration says where a name leads and through which hops; known_hosts files are read with all of
their features. It promises a connection of paramiko whose host key was accepted, within the
deadline, or an error and nothing left.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import paramiko

from crl.channels.ssh._dialling import CommandWire, dial, dial_by_command
from crl.channels.ssh._places import Place
from crl.channels.ssh.errors import SshLoginError
from crl.channels.ssh.known_hosts import HostKey, KnownHosts, Standing, lookup_name
from crl.channels.ssh.resolve import ResolvedHost, resolve
from crl.channels.ssh.settings import NO_CONFIG, SshSettings
from crl.deadlines import Deadline
from crl.x2go.checkhosts import is_certified, prefer_known
from crl.x2go.x2go_exceptions import X2GoControlSessionException, X2GoHostKeyException

__all__ = ["Way", "X2GoConnectionFailed", "X2GoHostKeyChanged", "certified_key", "open_connection", "way_to"]

KEEPALIVE: Final = 5


class X2GoConnectionFailed(X2GoControlSessionException, OSError):
    """The server cannot be reached, or does not speak SSH with us."""

    def __str__(self) -> str:
        return X2GoControlSessionException.__str__(self)


class X2GoHostKeyChanged(paramiko.BadHostKeyException, X2GoHostKeyException):
    """The server showed another key than the one that is known for it, or a revoked one."""

    def __init__(self, message: object = "", *args: object, **place: Any) -> None:
        X2GoHostKeyException.__init__(self, message, *args, **place)  # paramiko's wants the keys
        self.hostname = str(place.get("host"))
        self.key: Any = None
        self.expected_key: Any = None

    def __str__(self) -> str:
        return X2GoHostKeyException.__str__(self)


@dataclass(frozen=True)
class Way:
    """Where a server is and what is known of it.

    Args:
        host: What the ssh configuration says.
        known: The lines of its known_hosts files.
        hop: The connection to go through, None to dial directly.
    """

    host: ResolvedHost
    known: KnownHosts
    hop: paramiko.Transport | None = None

    @property
    def key_name(self) -> tuple[str, int]:
        """Host and port under which its keys stand in the files."""
        alias = self.host.host_key_alias
        return (alias, 22) if alias else (self.host.hostname, self.host.port)

    @property
    def lookup_name(self) -> str:
        """The name of its keys as the files have it."""
        return lookup_name(*self.key_name)

    def through(self, hop: paramiko.Transport | None) -> Way:
        """The same, through the connection of a hop.

        Raises:
            X2GoConnectionFailed: The hop is not connected.
        """
        if hop is None or not hop.is_active():
            raise X2GoConnectionFailed("the hop before it is not connected", host=self.host.label, doing="connecting")
        return replace(self, hop=hop)


def way_to(
    hostname: str,
    port: int,
    username: str | None,
    *,
    known_hosts: str | None,
    ssh_rootdir: Path,
    alias: str | None = None,
) -> Way:
    """Look a server up in the user's ssh configuration and known_hosts files.

    Args:
        hostname: Its name, address or alias of the configuration.
        port: Its port; 22 is what the configuration says.
        username: The login name, which a configuration may ask for.
        known_hosts: The file used instead of the configured ones.
        ssh_rootdir: The folder of configuration and files.
        alias: A name under which its keys stand, instead of its own.

    Raises:
        X2GoHostKeyException: A known_hosts file cannot be read.
    """
    config: str | None = None
    if ssh_rootdir != Path("~/.ssh").expanduser():
        own = ssh_rootdir / "config"
        config = str(own) if own.exists() else NO_CONFIG
    settings = SshSettings(hostname, user=username or None, port=None if port == 22 else port, config=config)
    host = resolve(settings)
    if alias is not None:
        host = replace(host, host_key_alias=alias)
    files = (known_hosts,) if known_hosts is not None else host.known_hosts_files
    if host.jumps and host.proxy_command is None:
        host = replace(host, proxy_command=_through(host, config))
    return Way(host, _known_for(hostname, files))


def _known_for(hostname: str, files: tuple[str, ...]) -> KnownHosts:
    """Read known_hosts files.

    Raises:
        X2GoHostKeyException: One cannot be read.
    """
    try:
        return KnownHosts.load(files)
    except OSError as error:
        raise X2GoHostKeyException(
            f"{error.filename} cannot be read: {error.strerror}", host=hostname, doing="checking the host key"
        ) from error


def _through(host: ResolvedHost, config: str | None) -> str:
    """The command that goes through the hops of a configuration, as ssh itself makes it for ProxyJump."""
    hops = ",".join(f"{one.user}@{one.label}:{one.port}" for one in host.jumps[:-1])
    last = host.jumps[-1]
    words = ["ssh", *(["-F", config] if config else []), *(["-J", hops] if hops else [])]
    words += ["-o", "BatchMode=yes", "-p", str(last.port), "-l", last.user]
    words += ["-W", f"[{host.hostname}]:{host.port}", last.label]
    return " ".join(words)


def open_connection(way: Way, client: paramiko.SSHClient, deadline: Deadline) -> paramiko.Transport:
    """Connect to a server and look at its key.

    Args:
        way: Where it is.
        client: Whose host keys and policy decide about a key that no file knows.
        deadline: By when.

    Raises:
        X2GoConnectionFailed: It cannot be reached.
        X2GoHostKeyChanged: It showed another key than is known, or a revoked one.
        X2GoHostKeyException: Its key is not known, and the policy refused it.
    """
    with _translated(way), contextlib.ExitStack() as on_failure:
        transport = _exchange_keys(way, deadline, on_failure)
        _judge(transport.get_remote_server_key(), way, client)
        transport.set_keepalive(KEEPALIVE)
        on_failure.pop_all()
    return transport


def certified_key(way: Way, deadline: Deadline) -> paramiko.PKey | None:
    """The key that a server shows with a certificate of a known authority; None when it shows no such.

    Raises:
        X2GoConnectionFailed: It cannot be reached.
    """
    with _translated(way), contextlib.ExitStack() as at_end:
        key = _exchange_keys(way, deadline, at_end).get_remote_server_key()
        return key if is_certified(way.known, *way.key_name, key) else None


def _exchange_keys(way: Way, deadline: Deadline, at_end: contextlib.ExitStack) -> paramiko.Transport:
    """Connect to a server, as far as its key; what was opened is closed with the stack."""
    sock = at_end.enter_context(contextlib.closing(_dial(way, deadline)))
    transport = paramiko.Transport(sock)
    at_end.callback(transport.close)
    prefer_known(transport, way.known, *way.key_name)
    left = max(deadline.remaining() or 0.0, 0.1)
    transport.banner_timeout = transport.auth_timeout = left
    transport.start_client(timeout=left)
    return transport


def _dial(way: Way, deadline: Deadline) -> Any:
    host = way.host
    place = Place(host.label, host.hostname, host.port, None, "~/.ssh/known_hosts")
    if way.hop is not None:
        left = max(deadline.remaining() or 0.0, 0.1)
        return way.hop.open_channel("direct-tcpip", (host.hostname, host.port), ("127.0.0.1", 0), timeout=left)
    if host.proxy_command is not None:
        return _CommandSocket(dial_by_command(host, place))
    wire = dial(place, deadline)
    sock = socket.socket(fileno=os.dup(wire.fileno()))
    wire.close()
    return sock


class _CommandSocket(socket.socket):
    """The socket of a ProxyCommand, which ends with it."""

    def __init__(self, wire: CommandWire) -> None:
        super().__init__(fileno=os.dup(wire.fileno()))
        self._wire = wire

    def close(self) -> None:
        """End the command; again is harmless."""
        super().close()
        self._wire.close()


@contextlib.contextmanager
def _translated(way: Way) -> Iterator[None]:
    """Turn what stops a connection into our error."""
    name = way.host.label
    try:
        yield
    except SshLoginError as error:
        raise X2GoConnectionFailed(error.message, host=name, doing="connecting", advice=error.advice) from error
    except paramiko.BadHostKeyException:
        raise
    except (paramiko.SSHException, OSError, EOFError) as error:
        if isinstance(error, X2GoControlSessionException | X2GoHostKeyException):
            raise
        hop = " through the hop before it" if way.hop is not None else ""
        raise X2GoConnectionFailed(
            f"the server cannot be reached{hop}: {error or type(error).__name__}", host=name, doing="connecting"
        ) from error


def _judge(key: paramiko.PKey, way: Way, client: Any) -> None:
    """Accept the key of a server, or raise."""
    verdict = way.known.check(*way.key_name, HostKey(key.get_name(), key.asbytes()))
    if verdict.standing is Standing.KNOWN:
        return
    if verdict.standing is not Standing.REVOKED and is_certified(way.known, *way.key_name, key):
        return
    if verdict.standing is Standing.UNKNOWN:
        client.host_key_policy().missing_host_key(client, way.lookup_name, key)
        return
    what = "is revoked" if verdict.standing is Standing.REVOKED else "is another than the one that is known"
    shown = HostKey(key.get_name(), key.asbytes())
    raise X2GoHostKeyChanged(
        f"the server's key {shown.short_type} {shown.fingerprint} {what} (see {verdict.location})",
        host=way.host.label,
        doing="checking the host key",
        advice="ask the server's owner; if its key was changed on purpose, remove that line",
    )
