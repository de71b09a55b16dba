"""SSH connections inside this process, by paramiko, through any number of hops.

Host keys are verified by our own reader of known_hosts before anything about the user is sent; the login then goes by
the user's configuration. It promises that every failure is one of `crl.channels.ssh.errors`, in the same words as with
OpenSSH, that a connection which was not finished leaves nothing behind, and that paramiko logs no secret.
"""

from __future__ import annotations

import logging
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import paramiko

from crl.channels.base import ChannelClosed, ChannelStartError
from crl.channels.paramiko_channel import ParamikoChannel
from crl.channels.ssh._dialling import CommandWire, dial, dial_by_command, dial_through
from crl.channels.ssh._host_check import HostCheck
from crl.channels.ssh._paramiko_login import disabled_algorithms, log_in, translated
from crl.channels.ssh._places import Place
from crl.channels.ssh._transport import Transport
from crl.channels.ssh._wire import ChannelWire, TcpWire
from crl.channels.ssh.errors import ConnectionClosedByHost, SshLoginError
from crl.channels.ssh.resolve import ResolvedHost, resolve
from crl.channels.ssh.settings import SshSettings
from crl.deadlines import Deadline
from crl.errors import UsageError
from crl.secrets import RedactingFilter, Secret, to_secret

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["SshConnection", "connect", "connect_many"]

_PATIENCE: Final = 1.0
_LOGGERS: Final = ("paramiko", "paramiko.transport", "paramiko.hostkeys", "paramiko.sftp")


class SshConnection:
    """A logged-in connection, with the connections to the hops on its way.

    Made by `connect`. Whoever made it closes it.
    """

    def __init__(self, name: str, transports: Sequence[Transport]) -> None:
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
        """Whether the connection is open, as far as is known; never when one of its channels has ended for its loss."""
        return bool(self._transports) and all(transport.alive for transport in self._transports)

    @property
    def transport(self) -> paramiko.Transport:
        """The transport to the target that paramiko itself uses, for what this class does not do.

        Raises:
            ChannelClosed: The connection was closed.
            UsageError: This is a forked child of the process that connected.
        """
        return self._usable()

    def _usable(self) -> Transport:
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
        transport = self._usable()
        channel = ParamikoChannel(transport, self._name, merged=pty, on_close=self._forget)
        try:
            channel.open(timeout=timeout)
            session = channel.session
            session.event = _PatientEvent(timeout)
            if pty:
                session.get_pty(term, columns, rows)
            if command is None:
                session.invoke_shell()
            else:
                session.exec_command(command)
        except (paramiko.SSHException, OSError, EOFError) as error:
            channel.close()
            what = "the login shell" if command is None else "the command"
            why = channel.refusal or error or type(error).__name__
            raise ChannelStartError(
                f"{what} was not started: {why}",
                host=self._name,
                doing="opening a session",
                advice="look at MaxSessions, ForceCommand and PermitTTY in the host's sshd_config",
            ) from error
        except BaseException:
            channel.close()
            raise
        with self._lock:
            self._channels.add(channel)
        return channel

    def _forget(self, channel: ParamikoChannel) -> None:
        with self._lock:
            self._channels.discard(channel)

    def close(self) -> None:
        """Close all channels and connections and end their threads; again is harmless."""
        transports, self._transports = self._transports, []
        if os.getpid() == self._owner:
            with self._lock:
                channels = list(self._channels)
            for channel in channels:
                channel.close()
        for transport in reversed(transports):
            transport.end(_PATIENCE)

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
    transports: list[Transport] = []
    try:
        for host in hosts:
            step = secrets if host is target else (None, None)
            transports.append(_connect_one(way, host, transports[-1] if transports else None, step))
    except BaseException:
        for transport in reversed(transports):
            transport.end(_PATIENCE)
        raise
    return SshConnection(f"ssh {settings.host}", transports)


def _connect_one(
    way: _Way, host: ResolvedHost, before: Transport | None, secrets: tuple[Secret | None, Secret | None]
) -> Transport:
    """Connect to one host and log in there."""
    place = way.place(host)
    wire = _dial(host, before, place, way.deadline)
    transport: Transport | None = None
    try:
        check = HostCheck.load(way.settings, host, place)
        transport = Transport(wire, host.label, host_key_types=check.wanted_types(), disabled=disabled_algorithms(host))
        with translated(place, host.user):
            check.verify(transport, way.deadline)
            log_in(transport, host, place, secrets, way.deadline)
        transport.watch_over()
    except BaseException as error:
        if transport is not None:
            transport.end(_PATIENCE)
        words = wire.last_words() if isinstance(wire, CommandWire) else ""
        wire.close()
        if words and isinstance(error, ConnectionClosedByHost):
            raise place.closed(f"ProxyCommand: {words}") from error
        raise
    return transport


def _dial(host: ResolvedHost, before: Transport | None, place: Place, deadline: Deadline) -> TcpWire | ChannelWire:
    if before is not None:
        return dial_through(before, place, deadline)
    if host.proxy_command is not None:
        return dial_by_command(host, place)
    return dial(place, deadline)


class _PatientEvent(threading.Event):
    """An event that is waited for with a limit, even by paramiko, which gives none."""

    def __init__(self, patience: float) -> None:
        super().__init__()
        self._patience = patience

    def wait(self, timeout: float | None = None) -> bool:
        """Wait; TimeoutError when nothing happens within the limit."""
        if not super().wait(self._patience if timeout is None else timeout):
            raise TimeoutError("the host did not answer in time")
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


def connect_many(
    wanted: Sequence[SshSettings], password: object = None, *, workers: int = 6
) -> list[SshConnection | SshLoginError]:
    """Log in to many hosts, a few at a time; each connection then needs one thread, and all together one more.

    Args:
        wanted: Whom to log in to.
        password: As in `connect`, for all of them.
        workers: How many logins are under way at a time. Hosts refuse more than ten at once by default (MaxStartups).

    Returns:
        For each login, in the same order, its connection or the reason why there is none.

    Raises:
        UsageError: A configuration has what cannot be honoured; what was connected is closed.
    """
    secret = to_secret(password)
    resolved: dict[SshSettings, ResolvedHost] = {}

    def one(settings: SshSettings) -> SshConnection | SshLoginError:
        try:
            if settings not in resolved:
                resolved[settings] = resolve(settings)
            return connect(settings, secret, resolved=resolved[settings])
        except SshLoginError as error:
            return error

    with ThreadPoolExecutor(workers, thread_name_prefix="crl connecting") as pool:
        futures = [pool.submit(one, settings) for settings in wanted]
        try:
            return [future.result() for future in futures]
        except BaseException:
            for future in futures:
                if not future.cancel() and future.exception() is None:
                    made = future.result()
                    if isinstance(made, SshConnection):
                        made.close()
            raise
