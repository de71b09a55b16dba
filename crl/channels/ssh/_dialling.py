"""The way to a host for a paramiko connection: by TCP, through the hop before it, or by a ProxyCommand.

It knows nothing of keys and users. It promises a wire within the deadline or one of our login errors, Nagle's algorithm
switched off on every TCP connection of its own, and that a failure leaves nothing behind.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import TYPE_CHECKING

import paramiko

from crl.channels.base import ChannelStartError
from crl.channels.paramiko_channel import ParamikoChannel
from crl.channels.process import ProcessChannel
from crl.channels.ssh._places import Place
from crl.channels.ssh._transport import Transport
from crl.channels.ssh._wire import ChannelWire, TcpWire
from crl.channels.ssh.openssh import local_environment
from crl.deadlines import Deadline

if TYPE_CHECKING:
    from crl.channels.ssh.resolve import ResolvedHost

__all__ = ["CommandWire", "dial", "dial_by_command", "dial_through"]

_LAST_WORDS = 4096


def dial(place: Place, deadline: Deadline) -> TcpWire:
    """Connect to a host by TCP, address after address.

    Raises:
        SshLoginError: It has no address, refuses, or does not answer in time.
    """
    failure: OSError = TimeoutError("no time left")
    for family, kind, protocol, address in _addresses(place, deadline):
        left = deadline.remaining()
        if left == 0:
            break  # A socket that may not wait at all would say something else.
        connection = socket.socket(family, kind, protocol)
        try:
            connection.settimeout(left)
            connection.connect(address)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError as error:
            connection.close()
            failure = error
        else:
            return TcpWire(connection)
    if isinstance(failure, ConnectionRefusedError):
        raise place.refused() from failure
    raise place.unreachable(failure.strerror or "the connection timed out") from failure


def _addresses(
    place: Place, deadline: Deadline
) -> list[tuple[socket.AddressFamily, socket.SocketKind, int, tuple[str, int] | tuple[str, int, int, int]]]:
    """The addresses of a host; the resolver of names knows no deadline, so it gets a thread that may be left behind."""
    try:
        numeric = socket.getaddrinfo(place.host, place.port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    except UnicodeError as error:
        # An empty part or one of more than 63 bytes: the system's own words, as Python does not let it say them.
        raise place.name_not_resolved("Name or service not known") from error
    except OSError:
        return _looked_up(place, deadline)
    return [(family, kind, protocol, address) for family, kind, protocol, _, address in numeric]  # type: ignore[misc]


def _looked_up(
    place: Place, deadline: Deadline
) -> list[tuple[socket.AddressFamily, socket.SocketKind, int, tuple[str, int] | tuple[str, int, int, int]]]:
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


def dial_through(before: Transport, place: Place, deadline: Deadline) -> ChannelWire:
    """Connect to a host through the one before it, as ssh -W does.

    Raises:
        SshLoginError: That one does not connect onwards.
    """
    channel = ParamikoChannel(before, f"ssh {place.target} to {place.host}", merged=True)
    try:
        channel.open("direct-tcpip", (place.host, place.port), timeout=deadline.remaining())
        return ChannelWire(channel)
    except BaseException as error:
        channel.close()
        if isinstance(error, paramiko.ChannelException):
            raise _not_connected(place, channel.refusal or error.text, error.code) from error
        if isinstance(error, paramiko.SSHException | EOFError):
            raise place.unreachable(f"the hop before it: {error or 'its connection ended'}") from error
        raise


def _not_connected(place: Place, why: str, code: int) -> Exception:
    """The error for a hop's refusal to connect onwards, in its own words."""
    if "refused" in why:
        return place.refused()
    if "resol" in why or "not known" in why:
        return place.name_not_resolved(why)
    if code == paramiko.common.OPEN_FAILED_ADMINISTRATIVELY_PROHIBITED:
        kind = "administratively prohibited"
        return place.other(f"the hop before {place.host} does not forward connections ({kind}: {why})")
    return place.unreachable(why)


class CommandWire(ChannelWire):
    """A wire through a program of the user's configuration, whose last words are kept for errors."""

    def __init__(self, channel: ProcessChannel) -> None:
        super().__init__(channel)
        self._stderr = channel.stderr
        self._closing = threading.Lock()
        self._words = ""

    def last_words(self) -> str:
        """What the program wrote as standard error."""
        with self._closing:
            self._hear_out()
            return self._words

    def _hear_out(self) -> None:
        if self._stderr.closed:
            return
        with contextlib.suppress(BlockingIOError):
            self._words += self._stderr.read(_LAST_WORDS).decode("utf-8", "replace").strip()

    def close(self) -> None:
        """End the program; its last words stay. Paramiko's thread does so too."""
        with self._closing:
            self._hear_out()
            super().close()


def dial_by_command(host: ResolvedHost, place: Place) -> CommandWire:
    """Start the ProxyCommand of a host, whose tokens were put in.

    Raises:
        SshLoginError: It cannot be started.
    """
    argv = ["/bin/sh", "-c", f"exec {host.proxy_command}"]
    try:
        return CommandWire(ProcessChannel(argv, env=local_environment(), name="ProxyCommand", dialogue=False))
    except ChannelStartError as error:
        raise place.other(f"the ProxyCommand could not be started: {error.message}") from error
