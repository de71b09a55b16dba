"""Tunnels from the controller to addresses that the target can reach.

A connection is one stream of the link joined to a local socket; a `Tunnel` is a listener that makes one connection for
each that it accepts. The process's I/O thread moves the bytes; sockets of a lost link are closed, so that whoever uses
them sees an end and never a silence.
"""

from __future__ import annotations

import logging
import os
import select
import socket
import struct
import threading
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING

from crl.errors import RemoteWorldError, UsageError
from crl.link._driver import Registration, driver
from crl.link.errors import LinkError
from crl.link.wire import messages

if TYPE_CHECKING:
    from crl.link.link import Link

__all__ = ["Address", "Connection", "Tunnel", "TunnelError", "plain_address"]

Address = tuple[str, int] | str
READ_SIZE = 32 * 1024 - 64
BACKLOG = 64

logger = logging.getLogger(__name__)


class TunnelError(RemoteWorldError):
    """The target could not connect to the address of a tunnel."""


def plain_address(address: Address) -> Address:
    r"""Check an address: ``(host, port)``, the path of a unix socket, or an abstract name that begins with ``\0``.

    Raises:
        UsageError: It is none of them.
    """
    if isinstance(address, str) and address[:1] in ("/", "\0"):
        return address
    if isinstance(address, tuple) and len(address) == 2 and isinstance(address[0], str) and isinstance(address[1], int):
        return address
    raise UsageError(
        f"{address!r} is no address",
        doing="opening a tunnel",
        advice="give (host, port), the absolute path of a unix socket, or '\\0' and an abstract name",
    )


class Connection:
    """A local socket joined to a stream of the link.

    Args:
        link: The link that carries the stream.
        number: The stream's number.
        sock: The local end; owned by this connection from now on.
    """

    def __init__(self, link: Link, number: int, sock: socket.socket) -> None:
        self._link = link
        self._number = number
        self._socket = sock
        sock.settimeout(0.0)
        self._second = os.dup(sock.fileno())
        self._in: Registration | None = None
        self._out: Registration | None = None
        self._lock = threading.Lock()
        self._sent = 0
        self._limit = messages.STREAM_CREDIT
        self._starved = False
        self._pending: deque[memoryview] = deque()
        self._last: bytes | None = None
        self._received = 0
        self._used = 0
        self._local_ended = False
        self._remote_ended = False
        self._write_shut = False
        self._closed = False

    def begin(self) -> None:
        """Start moving bytes."""
        with self._lock:
            if self._closed:
                return
            self._in = driver.add(self._socket.fileno(), self._on_readable, select.EPOLLIN)
            self._out = driver.add(self._second, self._on_writable, select.EPOLLOUT)

    # -- from the target; called by the reading thread -------------------------------------------------------------

    def take(self, message: bytes) -> bool:
        """Bytes for the local socket; False when the target sends more than it was allowed to."""
        data = memoryview(message)[messages.HEAD.size :]
        with self._lock:
            if message is not self._last:
                self._pending.append(data)
                self._received += len(data)
            self._last = message
            allowed = self._received <= self._used + messages.STREAM_CREDIT
        self._write_pending()
        return allowed

    def end(self, error: LinkError | None = None) -> None:
        """The target's direction has ended; with an error, the whole connection."""
        if error is not None:
            self.abort()
            return
        with self._lock:
            self._remote_ended = True
        self._write_pending()

    def reset(self) -> None:
        """The connection was reset at the target: it is reset here."""
        self.abort()

    def allow(self, limit: int) -> None:
        """The target takes that many bytes in all."""
        with self._lock:
            self._limit = max(self._limit, limit)
            starved, self._starved = self._starved, False
            registration = self._in
        if starved and registration is not None:
            registration.arm(select.EPOLLIN)

    # -- the I/O thread --------------------------------------------------------------------------------------------

    def _on_readable(self, _events: int) -> None:
        with self._lock:
            if self._closed or self._in is None:
                return
            registration = self._in
            room = self._limit - self._sent
            if room <= 0:
                self._starved = True
                return
        try:
            data = self._socket.recv(min(READ_SIZE, room))
        except BlockingIOError:
            registration.arm(select.EPOLLIN)
            return
        except OSError:
            self._reset_both()
            return
        with suppress(LinkError):  # a lost link closes this connection by itself
            if data:
                with self._lock:
                    self._sent += len(data)
                self._link.send(messages.pack(messages.DATA, self._number, data), self._number)
                registration.arm(select.EPOLLIN)
            else:
                with self._lock:
                    self._local_ended = True
                self._link.send(messages.pack(messages.END, self._number), self._number)
                self._close_if_over()

    def _on_writable(self, _events: int) -> None:
        self._write_pending()

    def _write_pending(self) -> None:
        """Write what the local socket takes, and tell the target how much more it may send."""
        with self._lock:
            if self._closed or self._out is None:
                return
            before = self._used
            try:
                self._write_locked(self._out)
            except OSError:
                broken = True
            else:
                broken = False
            used = self._used
        if broken:
            self._reset_both()
            return
        if used != before:
            self._link.grant(self._number, used + messages.STREAM_CREDIT)
        self._close_if_over()

    def _write_locked(self, registration: Registration) -> None:
        pending = self._pending
        while pending:
            try:
                count = self._socket.send(pending[0])
            except BlockingIOError:
                registration.arm(select.EPOLLOUT)
                return
            self._used += count
            if count == len(pending[0]):
                pending.popleft()
            else:
                pending[0] = pending[0][count:]
        if self._remote_ended and not self._write_shut:
            self._write_shut = True
            with suppress(OSError):  # the local end was faster
                self._socket.shutdown(socket.SHUT_WR)

    def _reset_both(self) -> None:
        """The local end is gone in the middle: so is the connection at the target."""
        with suppress(LinkError):  # then the target's end is gone as well
            self._link.send(messages.pack(messages.RESET, self._number), self._number)
        self.close()

    def _close_if_over(self) -> None:
        with self._lock:
            over = self._local_ended and self._write_shut
        if over:
            self.close()

    def abort(self) -> None:
        """Close the local socket so that its user sees a failure and not an end."""
        with self._lock:
            if not self._closed and self._socket.family != socket.AF_UNIX:
                with suppress(OSError):  # it is gone already
                    self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def close(self) -> None:
        """Close the local socket and forget the stream."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            registrations = (self._in, self._out)
        for registration in registrations:
            if registration is not None:
                registration.remove()
        os.close(self._second)
        self._socket.close()
        self._link.forget_stream(self._number)


class Tunnel:
    """A local listener whose connections come out at the target; made by `Link.forward`.

    Attributes:
        address: Where it listens here: ``(host, port)`` or the path of a unix socket.
        target: Where the target connects to.
    """

    def __init__(self, link: Link, target: Address, listener: socket.socket) -> None:
        self._link = link
        self._listener = listener
        self.target = target
        name = listener.getsockname()
        self.address: Address = name if isinstance(name, str) else (name[0], name[1])
        listener.settimeout(0.0)
        self._closed = False
        self._registration = driver.add(listener.fileno(), self._on_connection, select.EPOLLIN)

    def _on_connection(self, _events: int) -> None:
        try:
            sock, _ = self._listener.accept()
        except OSError:
            # The peer gave up before we looked, or we were closed.
            sock = None
        self._registration.arm(select.EPOLLIN)
        if sock is not None:
            # Asking the target takes a round trip, which the I/O thread must not wait for.
            threading.Thread(target=self._join, args=(sock,), name="crl-tunnel", daemon=True).start()

    def _join(self, sock: socket.socket) -> None:
        try:
            self._link.join(self.target, sock, 10.0)
        except (RemoteWorldError, OSError) as error:
            logger.warning("tunnel %s to %s on %s: %s", self.address, self.target, self._link.host, error)
            sock.close()

    def close(self) -> None:
        """Stop listening; connections that are open go on."""
        if self._closed:
            return
        self._closed = True
        self._registration.remove()
        self._listener.close()
        if isinstance(self.address, str):
            with suppress(FileNotFoundError):  # somebody tidied up before us
                os.unlink(self.address)
        self._link.forget_tunnel(self)

    def __enter__(self) -> Tunnel:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()


def listen(address: Address) -> socket.socket:
    """A listening socket on loopback or, with mode 0600, a unix path.

    Raises:
        UsageError: The address is not a loopback one: a tunnel is for this machine's user only.
    """
    if isinstance(address, str):
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        old = os.umask(0o177)
        try:
            sock.bind(address)
        except OSError:
            sock.close()
            raise
        finally:
            os.umask(old)
        sock.listen(BACKLOG)
        return sock
    host, port = address
    if host not in ("127.0.0.1", "::1", "localhost"):
        raise UsageError(
            f"a tunnel listens on loopback only, not on {host}", doing="opening a tunnel", advice="use 127.0.0.1"
        )
    family = socket.AF_INET6 if host == "::1" else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=BACKLOG)
