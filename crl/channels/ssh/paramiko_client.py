"""SSH connections inside this process, by paramiko, through any number of hops.

Host keys are verified by our own reader of known_hosts before anything about the user is sent; the login then goes by
the user's configuration. It promises that every failure is one of `crl.channels.ssh.errors`, in the same words as with
OpenSSH, that a connection which was not finished leaves nothing behind, and that paramiko logs no secret.
"""

from __future__ import annotations

import logging
import os
import re
import socket
import threading
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import paramiko

from crl.channels.base import ChannelClosed, ChannelStartError
from crl.channels.paramiko_channel import ParamikoChannel
from crl.channels.ssh._paramiko_login import HostCheck, log_in, translated
from crl.channels.ssh._places import Place
from crl.channels.ssh.resolve import ResolvedHost, resolve
from crl.channels.ssh.settings import SshSettings
from crl.deadlines import Deadline
from crl.errors import UsageError
from crl.secrets import RedactingFilter, Secret, to_secret

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["SshConnection", "connect"]

_KEEPALIVE: Final = 15
_PATIENCE: Final = 1.0
_LOGGERS: Final = ("paramiko", "paramiko.transport", "paramiko.hostkeys", "paramiko.sftp")


class SshConnection:
    """A logged-in connection, with the connections to the hops on its way.

    Made by `connect`. Whoever made it closes it.
    """

    def __init__(self, name: str, transports: Sequence[paramiko.Transport]) -> None:
        self._name = name
        self._transports = list(transports)
        self._owner = os.getpid()
        self._channels: set[ParamikoChannel] = set()
        self._lock = threading.Lock()

    @property
    def name(self) -> str:
        """What this connection leads to, for error texts."""
        return self._name

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return not self._transports

    @property
    def alive(self) -> bool:
        """Whether the connection is open, as far as paramiko knows."""
        return bool(self._transports) and all(transport.is_active() for transport in self._transports)

    @property
    def transport(self) -> paramiko.Transport:
        """The transport to the target that paramiko itself uses, for what this class does not do.

        Raises:
            ChannelClosed: The connection was closed.
            UsageError: This is a forked child of the process that connected.
        """
        if not self._transports:
            raise ChannelClosed(f"{self._name} is closed")
        if os.getpid() != self._owner:
            raise UsageError(
                f"{self._name} belongs to process {self._owner}: a paramiko connection does not live on after a fork",
                advice="connect anew in the child process, or use the openssh backend",
            )
        return self._transports[-1]

    def open_channel(
        self,
        command: str | None = None,
        *,
        pty: bool = True,
        columns: int = 80,
        rows: int = 24,
        term: str = "xterm",
        timeout: float = 15.0,
    ) -> ParamikoChannel:
        """Run a command, or the login shell, and give its channel.

        Args:
            command: What to run, in the words of the login shell there; None is that shell itself.
            pty: Whether it gets a terminal; its errors then come with its output.
            columns: Width of that terminal in characters.
            rows: Height of that terminal in characters.
            term: The type of that terminal.
            timeout: Seconds until the host must have agreed.

        Raises:
            ChannelStartError: The host does not open a session, give a terminal or start the command.
            ChannelClosed: The connection was closed.
        """
        transport = self.transport
        session: paramiko.Channel | None = None
        try:
            session = transport.open_session(timeout=timeout)
            session.settimeout(timeout)
            if pty:
                session.get_pty(term, columns, rows)
            if command is None:
                session.invoke_shell()
            else:
                session.exec_command(command)
        except (paramiko.SSHException, OSError, EOFError) as error:
            if session is not None:
                session.close()
            what = "the login shell" if command is None else "the command"
            raise ChannelStartError(
                f"{what} was not started: {error or type(error).__name__}",
                host=self._name,
                doing="opening a session",
                advice="look at MaxSessions, ForceCommand and PermitTTY in the host's sshd_config",
            ) from error
        channel = ParamikoChannel(session, self._name, merged=pty, on_close=self._forget)
        with self._lock:
            self._channels.add(channel)
        return channel

    def _forget(self, channel: ParamikoChannel) -> None:
        with self._lock:
            self._channels.discard(channel)

    def close(self) -> None:
        """Close all channels and connections and end their threads; again is harmless."""
        transports, self._transports = self._transports, []
        if os.getpid() != self._owner:
            return
        with self._lock:
            channels = list(self._channels)
        for transport in reversed(transports):
            _end(transport)
        for channel in channels:
            channel.close()

    def __enter__(self) -> SshConnection:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._name}{', closed' if self.closed else ''}>"


@dataclass(frozen=True)
class _Way:
    """The part of a login that is the same at each of its hosts."""

    settings: SshSettings
    target: ResolvedHost
    deadline: Deadline

    def place(self, host: ResolvedHost) -> Place:
        hop = None if host is self.target else host.label
        file = host.known_hosts_files[0] if host.known_hosts_files else str(self.settings.known_hosts_file)
        return Place(self.settings.host, host.hostname, host.port, hop, file)


def connect(
    settings: SshSettings,
    password: object = None,
    second_password: object = None,
    deadline: Deadline | None = None,
    *,
    resolved: ResolvedHost | None = None,
) -> SshConnection:
    """Log in to a host, through the hops that the settings or the user's configuration name.

    Args:
        settings: Whom to log in to.
        password: A `Secret`, `str` or None. It answers the target's one password prompt, or opens an encrypted key.
        second_password: The answer to a second prompt, where the host asks for two.
        deadline: When all must be done; None is the connect timeout of the settings for each host.
        resolved: What `resolve` gave for these settings, to save asking again.

    Raises:
        SshLoginError: Why not; its class, and its attribute `hop`, say more.
        UsageError: The configuration has what paramiko cannot do.
    """
    _redact_logs()
    target = resolved or resolve(settings)
    hosts = (*target.jumps, target)
    limit = deadline or Deadline.after(settings.connect_timeout * len(hosts))
    way = _Way(settings, target, limit)
    secrets = to_secret(password), to_secret(second_password)
    transports: list[paramiko.Transport] = []
    try:
        for host in hosts:
            step = secrets if host is target else (None, None)
            transports.append(_connect_one(way, host, transports[-1] if transports else None, step))
    except BaseException:
        for transport in reversed(transports):
            _end(transport)
        raise
    return SshConnection(f"ssh {settings.host}", transports)


def _connect_one(
    way: _Way,
    host: ResolvedHost,
    before: paramiko.Transport | None,
    secrets: tuple[Secret | None, Secret | None],
) -> paramiko.Transport:
    """Connect to one host and log in there."""
    place = way.place(host)
    if host.proxy_command is not None:
        raise UsageError(
            "the configuration has a ProxyCommand, which paramiko cannot run",
            host=way.settings.host,
            advice="use ProxyJump, or the openssh backend",
        )
    if before is None:
        stream: socket.socket | paramiko.Channel = _dial(place, way.deadline)
    else:
        stream = _dial_through(before, place, way.deadline)
    try:
        transport = _start_transport(stream, place)
    except BaseException:
        stream.close()
        raise
    try:
        check = HostCheck.load(way.settings, host, place)
        with translated(place, host.user):
            check.verify(transport, way.deadline)
            log_in(transport, replace(host, jumps=()), place, secrets, way.deadline)
        transport.set_keepalive(_KEEPALIVE)
    except BaseException:
        _end(transport)
        stream.close()
        raise
    return transport


def _end(transport: paramiko.Transport) -> None:
    """Close a transport and see its thread end; paramiko does not wait for one that is about to end by itself."""
    transport.close()
    if transport.is_alive():
        transport.join(_PATIENCE)


def _start_transport(stream: socket.socket | paramiko.Channel, place: Place) -> paramiko.Transport:
    with translated(place, None):
        return paramiko.Transport(stream)


def _dial(place: Place, deadline: Deadline) -> socket.socket:
    """Connect to a host by TCP, address after address."""
    failure: OSError = TimeoutError("no time left")
    for family, kind, protocol, address in _addresses(place, deadline):
        connection = socket.socket(family, kind, protocol)
        try:
            connection.settimeout(deadline.remaining())
            connection.connect(address)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError as error:
            connection.close()
            failure = error
        else:
            return connection
    if isinstance(failure, ConnectionRefusedError):
        raise place.refused() from failure
    raise place.unreachable(failure.strerror or "the connection timed out") from failure


def _addresses(
    place: Place, deadline: Deadline
) -> list[tuple[socket.AddressFamily, socket.SocketKind, int, tuple[str, int] | tuple[str, int, int, int]]]:
    """Resolve a name; the resolver knows no deadline, so it runs in a thread that may be left behind."""
    found: list[tuple[socket.AddressFamily, socket.SocketKind, int, str, object]] = []
    failures: list[OSError] = []

    def look_up() -> None:
        try:
            found.extend(socket.getaddrinfo(place.host, place.port, type=socket.SOCK_STREAM))
        except OSError as error:
            failures.append(error)

    thread = threading.Thread(target=look_up, name=f"crl resolving {place.host}", daemon=True)
    thread.start()
    thread.join(deadline.remaining())
    if failures:
        raise place.name_not_resolved(failures[0].strerror or str(failures[0])) from failures[0]
    if not found:
        raise place.name_not_resolved("Temporary failure: the name service does not answer")
    return [(family, kind, protocol, address) for family, kind, protocol, _, address in found]  # type: ignore[misc]


def _dial_through(before: paramiko.Transport, place: Place, deadline: Deadline) -> paramiko.Channel:
    """Connect to a host through the one before it, as ssh -W does."""
    reason = _FailureText(before)
    logger = logging.getLogger(before.get_log_channel())
    logger.addFilter(reason)
    try:
        channel = before.open_channel(
            "direct-tcpip", (place.host, place.port), ("127.0.0.1", 0), timeout=deadline.remaining()
        )
    except paramiko.ChannelException as error:
        why = reason.text or error.text
        if "refused" in why:
            raise place.refused() from error
        if "resol" in why or "not known" in why:
            raise place.name_not_resolved(why) from error
        if error.code == paramiko.common.OPEN_FAILED_ADMINISTRATIVELY_PROHIBITED:
            raise place.other(f"the hop before {place.host} does not forward connections ({why})") from error
        raise place.unreachable(why) from error
    except paramiko.SSHException as error:
        raise place.unreachable(str(error)) from error
    finally:
        logger.removeFilter(reason)
    return channel


class _FailureText(logging.Filter):
    """Catches the host's own words on a channel that it did not open; paramiko only logs them."""

    def __init__(self, transport: paramiko.Transport) -> None:
        super().__init__()
        self._thread = transport.ident
        self.text = ""

    def filter(self, record: logging.LogRecord) -> bool:
        """Look at a record and let it pass."""
        if record.thread == self._thread:
            match = re.search(r"open FAILED: (.*): [^:]*$", record.getMessage())
            self.text = match[1] if match else self.text
        return True


def _redact_logs() -> None:
    """Put the redaction on paramiko's loggers: a filter of a logger does not see what its children log.

    Without any handler, Python would print paramiko's tracebacks; our errors say what is in them.
    """
    if not logging.getLogger("paramiko").handlers:
        logging.getLogger("paramiko").addHandler(logging.NullHandler())
    for name in _LOGGERS:
        logger = logging.getLogger(name)
        if not any(isinstance(known, RedactingFilter) for known in logger.filters):
            logger.addFilter(RedactingFilter())
