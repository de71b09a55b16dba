"""What an SSH connection of paramiko's stands on: a TCP connection, or a channel of another program or connection.

A `Wire` never blocks, so that one thread can serve many connections; `Packets` is paramiko's packet layer on a wire. It
promises that sending takes what it is given at once and in bounded memory, that reading ends when the wire is shut, and
that nothing is sent by a forked child.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import time
from collections import deque
from collections.abc import Callable
from threading import Lock
from typing import TYPE_CHECKING, Final, Protocol

import paramiko
from paramiko.packet import NeedRekeyException, Packetizer

from crl.channels._hub import hub

if TYPE_CHECKING:
    from crl.channels.base import Channel

__all__ = ["ChannelWire", "Packets", "TcpWire", "Wire"]

_READ: Final = 65536
_IDLE_MS: Final = 2000  # how often a silent connection is looked at
_FULL: Final = 256 * 1024
_MOST_HELD: Final = 16 * 1024 * 1024
_MOST_UNANSWERED: Final = 3


class Wire(Protocol):
    """A stream of bytes that never blocks."""

    def fileno(self) -> int:
        """The descriptor to poll."""

    def recv(self, size: int) -> bytes:
        """What is there; ``b""`` is the end; BlockingIOError when nothing is there."""

    def send(self, data: bytes | memoryview) -> int:
        """Send what is taken now; how many bytes that was, 0 when none."""

    def settimeout(self, seconds: float | None) -> None:
        """Paramiko says this to a socket; a wire has no timeout."""

    def shutdown(self) -> None:
        """End both directions, so that a reader in another thread wakes up."""

    def close(self) -> None:
        """Free all it holds; again is harmless."""


class TcpWire:
    """A wire over a connected socket, which it owns from now on."""

    _closed = False  # paramiko looks at it

    def __init__(self, connection: socket.socket) -> None:
        connection.settimeout(0)
        self._socket = connection

    def fileno(self) -> int:
        """The descriptor to poll."""
        return self._socket.fileno()

    def recv(self, size: int) -> bytes:
        """What is there; ``b""`` is the end; BlockingIOError when nothing is there."""
        return self._socket.recv(size)

    def send(self, data: bytes | memoryview) -> int:
        """Send what is taken now; how many bytes that was, 0 when none."""
        try:
            return self._socket.send(data, socket.MSG_NOSIGNAL)
        except BlockingIOError:
            return 0

    def settimeout(self, seconds: float | None) -> None:
        """Nothing: a wire has no timeout."""

    def shutdown(self) -> None:
        """End both directions, so that a reader in another thread wakes up."""
        with contextlib.suppress(OSError):  # the peer has ended it, or it is closed
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the socket."""
        hub().forget(self._socket.fileno())
        self._socket.close()

    def getpeername(self) -> object:
        """The address at the other end."""
        return self._socket.getpeername()


class ChannelWire:
    """A wire over a channel whose descriptor is a socket: a hop's connection, or a ProxyCommand; it owns that."""

    _closed = False  # paramiko looks at it

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        # A second descriptor of the same socket: it can be shut from another thread than the reader's.
        self._socket = socket.socket(fileno=os.dup(channel.fileno()))

    def fileno(self) -> int:
        """The descriptor to poll."""
        return self._socket.fileno()

    def recv(self, size: int) -> bytes:
        """What is there; ``b""`` is the end; BlockingIOError when nothing is there."""
        return self._socket.recv(size)

    def send(self, data: bytes | memoryview) -> int:
        """Send what is taken now; how many bytes that was, 0 when none."""
        return self._channel.write(data)

    def settimeout(self, seconds: float | None) -> None:
        """Nothing: a wire has no timeout."""

    def shutdown(self) -> None:
        """End both directions, so that a reader in another thread wakes up."""
        with contextlib.suppress(OSError):  # the peer has ended it, or it is closed
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the channel."""
        hub().forget(self._socket.fileno())
        self._socket.close()
        self._channel.close()


class Packets(Packetizer):
    """The packet layer of a connection; its cryptography is paramiko's, its input and output are ours.

    Args:
        wire: What it stands on. It is shut here and closed by whoever made it.
    """

    def __init__(self, wire: Wire) -> None:
        super().__init__(wire)  # type: ignore[arg-type]
        self._wire = wire
        self._owner = os.getpid()
        self._shut = False
        self.ended = False
        """Whether reading has come to its end; paramiko tells its channels of it before it calls itself inactive."""
        self._inbox = b""
        self._at = 0
        self._poll = select.poll()
        self._poll.register(wire.fileno(), select.POLLIN)
        self._heard = time.monotonic()
        self._handshake_end: float | None = None
        self._interval = 0.0
        self._ask: Callable[[], object] | None = None
        self._unanswered = 0
        self._sending = Lock()
        self._held: deque[bytes | memoryview] = deque()
        self._held_size = 0
        self.on_room: Callable[[], None] = _nothing

    @property
    def closed(self) -> bool:
        """Whether it is shut."""
        return self._shut

    def close(self) -> None:
        """End reading and sending; a forked child must not, as the connection is its parent's."""
        self._shut = True
        if os.getpid() == self._owner:
            self._wire.shutdown()

    @property
    def room(self) -> bool:
        """Whether more should be sent now; `on_room` is called when that comes true again."""
        return self._held_size < _FULL

    def write_all(self, out: bytes | memoryview) -> None:  # type: ignore[override]
        """Send a packet, or keep what the wire does not take now; never waits.

        Raises:
            EOFError: The connection has ended, or this is a forked child.
            SSHException: The host takes nothing, and more is to be sent to it than can be kept.
        """
        if self._shut or os.getpid() != self._owner:
            raise EOFError
        with self._sending:
            taken = 0
            if not self._held:
                try:
                    taken = self._wire.send(out)
                except OSError as error:
                    raise EOFError from error
            if taken < len(out):
                self._keep(memoryview(out)[taken:])

    def _keep(self, rest: memoryview) -> None:
        if self._held_size + len(rest) > _MOST_HELD:
            raise paramiko.SSHException("the host takes nothing that is sent to it")
        if not self._held:
            hub().when_writable(self._wire.fileno(), self._flush)
        self._held.append(rest)
        self._held_size += len(rest)

    def _flush(self) -> None:
        """Send what was kept; called by the hub."""
        with self._sending:
            was_full = not self.room
            try:
                self._send_held()
                if self._held:
                    hub().when_writable(self._wire.fileno(), self._flush)
            except OSError:
                # The connection broke; its reader notices and says so.
                self._held.clear()
                self._held_size = 0
                return
            has_room = self.room
        if was_full and has_room:
            self.on_room()

    def _send_held(self) -> None:
        while self._held:
            taken = self._wire.send(self._held[0])
            self._held_size -= taken
            if taken < len(self._held[0]):
                self._held[0] = memoryview(self._held[0])[taken:]
                return
            self._held.popleft()

    def read_all(self, n: int, check_rekey: bool = False) -> bytes:
        """Read exactly `n` bytes.

        Raises:
            EOFError: The connection has ended.
            NeedRekeyException: Nothing is there, and it is time to exchange keys.
        """
        parts = []
        missing = n
        while missing > len(self._inbox) - self._at:
            if self._at < len(self._inbox):
                parts.append(self._inbox[self._at :])
                missing -= len(parts[-1])
            try:
                self._inbox, self._at = self._receive(check_rekey=check_rekey and missing == n), 0
            except (EOFError, OSError, paramiko.SSHException):
                self.ended = True
                raise
        end = self._at + missing
        parts.append(self._inbox[self._at : end])
        self._at = end
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _receive(self, *, check_rekey: bool = False) -> bytes:
        while True:
            if self._shut or self.handshake_timed_out():
                raise EOFError
            try:
                data = self._wire.recv(_READ)
            except BlockingIOError:
                pass
            except OSError as error:
                if not self._shut:
                    raise
                raise EOFError from error
            else:
                if not data:
                    raise EOFError
                self._heard = time.monotonic()
                self._unanswered = 0
                return data
            if check_rekey and self.need_rekey():
                raise NeedRekeyException
            if not self._poll.poll(_IDLE_MS):
                self._look_after_silence()

    def readline(self, timeout: float) -> str:
        """Read a line of the host's greeting.

        Raises:
            EOFError: The connection has ended.
        """
        limit = time.monotonic() + timeout
        line = b""
        while not line.endswith(b"\n"):
            if time.monotonic() > limit or len(line) > _READ:
                raise EOFError
            line += self.read_all(1)
        return line.rstrip(b"\r\n").decode("utf-8", "replace")

    def start_handshake(self, timeout: float) -> None:
        """Give the exchange of keys a limit; paramiko would start a thread for it."""
        if self._handshake_end is None:
            self._handshake_end = time.monotonic() + timeout

    def handshake_timed_out(self) -> bool:
        """Whether the first exchange of keys takes too long."""
        return self._handshake_end is not None and time.monotonic() > self._handshake_end

    def complete_handshake(self) -> None:
        """End the limit of `start_handshake`."""
        self._handshake_end = float("inf")

    def set_keepalive(self, interval: float, callback: Callable[[], object]) -> None:
        """Ask a silent host whether it is there, and end the connection after three questions without answer.

        Args:
            interval: Seconds of silence before each question.
            callback: What asks; the host has to answer it.
        """
        self._heard = time.monotonic()
        self._interval, self._ask = interval, callback

    def _look_after_silence(self) -> None:
        silence = time.monotonic() - self._heard
        if self._ask is None or silence < self._interval * (self._unanswered + 1):
            return
        if self._unanswered >= _MOST_UNANSWERED:
            raise paramiko.SSHException(f"the host has been silent for {silence:.0f} seconds")
        self._unanswered += 1
        self._ask()


def _nothing() -> None:
    """What `Packets.on_room` is as long as nobody waits."""
