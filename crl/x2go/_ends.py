"""What tunnels of the X2Go client stand on: a transport of paramiko's or a target, behind one small Protocol.

`ends_of` takes whatever a caller has (`paramiko.Transport`, a client that has one, `crl.targets.Target`) and gives
something that opens connections there and listens there. `Joint` moves the bytes of one connection, in both directions
at once, with the end of each direction passed on and no more in memory than one piece and the window of the channel.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from typing import Any, Protocol

from crl.errors import CrlError
from crl.x2go.x2go_exceptions import X2GoFwTunnelException, X2GoParameterError

__all__ = ["Address", "Ends", "Joint", "NobodyListens", "Stream", "ends_of", "is_transport"]

PIECE = 65536
STUCK = 0.2
CONNECT_FAILED = 2  # of SSH's reasons why a channel is not opened
Address = tuple[str, int]


class Stream(Protocol):
    """One connection: a socket, or a channel of paramiko's."""

    def recv(self, size: int, /) -> bytes:
        """Wait for bytes; none at the end."""

    def sendall(self, data: bytes, /) -> None:
        """Send all, as fast as the other side takes it."""

    def shutdown(self, how: int, /) -> None:
        """End one direction."""

    def close(self) -> None:
        """End both."""


class NobodyListens(X2GoFwTunnelException):
    """The server could be asked, and nobody listens at the address there, perhaps not yet."""


class Ends(Protocol):
    """The server's side of tunnels."""

    @property
    def alive(self) -> bool:
        """Whether the connection to the server is there."""

    def connect(self, address: Address, origin: Address, timeout: float) -> Stream:
        """Open a connection to an address that the server reaches.

        Raises:
            NobodyListens: The server was refused there.
            X2GoFwTunnelException: The server does not do that, or is gone.
        """


class _TargetEnds:
    """Over the link of a target."""

    def __init__(self, target: Any) -> None:
        self._target = target

    @property
    def alive(self) -> bool:
        return True  # a target connects when it is asked

    def connect(self, address: Address, origin: Address, timeout: float) -> Stream:  # noqa: ARG002 - nobody asks who
        try:
            connected: socket.socket = self._target.connect_socket(address, timeout)
        except CrlError as error:
            refused = isinstance(error.__cause__, ConnectionRefusedError)
            raise _no_connection(address, error.message, refused=refused) from error
        return connected


class _TransportEnds:
    """Over a transport of paramiko's, which stays its owner's."""

    def __init__(self, transport: Any) -> None:
        self._transport = transport

    @property
    def alive(self) -> bool:
        return bool(self._transport.is_active())

    def connect(self, address: Address, origin: Address, timeout: float) -> Stream:
        import paramiko

        try:
            channel: Stream | None = self._transport.open_channel("direct-tcpip", address, origin, timeout=timeout)
        except paramiko.ChannelException as error:
            raise _no_connection(address, str(error), refused=error.code == CONNECT_FAILED) from error
        except (paramiko.SSHException, OSError, EOFError) as error:
            raise _no_connection(address, str(error) or type(error).__name__) from error
        if channel is None:
            raise _no_connection(address, "the server opened no channel")
        return channel


def _no_connection(address: Address, why: str, *, refused: bool = False) -> X2GoFwTunnelException:
    kind = NobodyListens if refused else X2GoFwTunnelException
    return kind(f"no connection to {address[0]}:{address[1]} there: {why}", doing="opening a tunnel")


def ends_of(ssh_transport: Any) -> Ends:
    """The server's side of tunnels over a transport, a client that has one, or a target.

    Raises:
        X2GoParameterError: It is none of them.
    """
    if is_transport(ssh_transport):
        return _TransportEnds(ssh_transport)
    if hasattr(ssh_transport, "connect_socket"):
        return _TargetEnds(ssh_transport)
    if hasattr(ssh_transport, "get_transport") and is_transport(ssh_transport.get_transport()):
        return _TransportEnds(ssh_transport.get_transport())
    raise X2GoParameterError(
        f"{type(ssh_transport).__name__} makes no tunnels",
        advice="give a connected paramiko.Transport, or a crl.targets.Target",
    )


def is_transport(ssh_transport: Any) -> bool:
    """Whether it is a transport of paramiko's, without importing paramiko."""
    return hasattr(ssh_transport, "open_channel") and hasattr(ssh_transport, "global_request")


class Joint:
    """Two ends of one connection; what comes from one goes to the other.

    Args:
        here: The end on this machine; it becomes the joint's.
        there: The end towards the server; it becomes the joint's too.
    """

    def __init__(self, here: socket.socket, there: Stream) -> None:
        self._here = here
        self._there = there
        self._broken = threading.Event()
        if here.family != socket.AF_UNIX:
            here.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def run(self) -> None:
        """Move bytes until both directions have ended, or the connection is broken; then both ends are closed."""
        try:
            back = threading.Thread(
                target=self._carry, args=(self._there, self._here), name="crl-x2go-tunnel-back", daemon=True
            )
            back.start()
            self._carry(self._here, self._there)
            if self._broken.is_set():
                back.join(STUCK)
                if back.is_alive():  # it waits for a reader
                    with contextlib.suppress(OSError):
                        self._here.shutdown(socket.SHUT_RDWR)
            back.join()
        finally:
            if self._broken.is_set() and self._here.family != socket.AF_UNIX:
                with contextlib.suppress(OSError):  # whoever waits there sees a failure and not an end
                    self._here.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self._here.close()
            self._there.close()

    def _carry(self, source: Stream, sink: Stream) -> None:
        try:
            while data := source.recv(PIECE):
                sink.sendall(data)
            if self._broken.is_set():
                return  # what looks like an end is none
            if getattr(source, "eof_received", True):
                sink.shutdown(socket.SHUT_WR)
                self._look_whether_over(source)
            else:  # the channel is gone in the middle of what it had to bring
                self.stop()
        except (OSError, EOFError):
            self.stop()
        except BaseException:
            self.stop()
            raise

    def _look_whether_over(self, source: Stream) -> None:
        """A channel that the server has closed takes nothing any more: the other direction is over too."""
        if getattr(source, "closed", False) is True:
            with contextlib.suppress(OSError):  # it has ended already
                self._here.shutdown(socket.SHUT_RD)

    def stop(self) -> None:
        """Break the connection; `run` then returns."""
        self._broken.set()
        with contextlib.suppress(OSError):  # it is gone already; an end of what we send would look like a good one
            self._here.shutdown(socket.SHUT_RD)
        with contextlib.suppress(OSError, EOFError):
            if isinstance(self._there, socket.socket):
                self._there.shutdown(socket.SHUT_RDWR)
            else:
                self._there.close()


