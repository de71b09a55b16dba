"""Connections through the link: a local socket joined to a stream.

The process's I/O thread moves the bytes, or whoever reads for the link when they come from the target. While the link
is cut a connection stands still; when the link is lost its socket is reset, so that its user sees a failure and no end.
"""

from __future__ import annotations

import logging
import os
import select
import socket
import struct
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Protocol

from crl.errors import RemoteWorldError
from crl.link._driver import Registration, driver
from crl.link.errors import LinkError
from crl.link.streams import PIECE
from crl.link.wire import messages
from crl.link.wire.credit import Credit

if TYPE_CHECKING:
    from crl.link.calls import Call
    from crl.link.link import Link

__all__ = ["Connection", "Joined", "report"]

READS: Final = 4

logger = logging.getLogger(__name__)


class Joined(Protocol):
    """What a stream of the link is joined to; all of it is called by the reading thread.

    Attributes:
        unattended: Whether what comes on it has to be read though no thread of ours waits for it.
    """

    unattended: bool

    def take(self, message: bytes) -> bool:
        """Bytes have arrived; False when they are more than was allowed."""

    def end(self, error: LinkError | None = None) -> None:
        """The target's direction has ended; with an error, the link."""

    def reset(self) -> None:
        """The target's end is gone."""

    def allow(self, limit: int) -> None:
        """The target takes that many bytes in all."""


class Connection:
    """A local socket joined to a stream of the link.

    Args:
        link: The link that carries the stream.
        number: The stream's number.
        sock: The local end; owned by this connection from now on.
        on_close: Called once when it is closed.

    Attributes:
        number: The stream's number.
    """

    unattended = True

    def __init__(
        self, link: Link, number: int, sock: socket.socket, on_close: Callable[[Connection], None] | None = None
    ) -> None:
        self._link = link
        self.number = number
        self._socket = sock
        sock.settimeout(0.0)
        if sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._on_close = on_close
        # A second descriptor, so that reading and writing are armed apart.
        self._second = os.dup(sock.fileno())
        self._in: Registration | None = None
        self._out: Registration | None = None
        self._lock = threading.Lock()
        self._opening = False
        self._sent = 0
        self._limit = messages.STREAM_CREDIT
        self._starved = False
        self._pending: deque[memoryview] = deque()
        self._last: bytes | None = None
        self._received = 0
        self._credit = Credit()
        self._local_ended = False
        self._remote_ended = False
        self._write_shut = False
        self._closed = False

    def __repr__(self) -> str:
        with self._lock:
            state = "closed" if self._closed else "opening" if self._opening else "open"
            return (
                f"<Connection {self.number} with {self._link.host}: {state}, "
                f"{self._sent} bytes there, {self._credit.used} bytes here>"
            )

    def begin(self, *, opening: bool = False) -> None:
        """Start moving bytes.

        Args:
            opening: Whether the local socket is still being connected.
        """
        with self._lock:
            if self._closed:
                return
            self._opening = opening
            self._in = driver.add(self._socket.fileno(), self._on_readable, 0 if opening else select.EPOLLIN)
            self._out = driver.add(self._second, self._on_writable, select.EPOLLOUT)

    # -- from the target; called by the reading thread -------------------------------------------------------------

    def take(self, message: bytes) -> bool:
        """Bytes for the local socket; False when the target sends more than it was allowed to."""
        with self._lock:
            if message is not self._last:
                data = memoryview(message)[messages.HEAD.size :]
                if data:
                    self._pending.append(data)
                self._received += len(data)
            self._last = message
            allowed = self._received <= self._credit.limit
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
        for _ in range(READS):
            if not self._read():
                return
        registration = self._in
        if registration is not None:
            registration.arm(select.EPOLLIN)

    def _read(self) -> bool:
        """Read once and send it on; False when there is nothing more to read for now."""
        with self._lock:
            # Failures are reported before the socket is connected, too; the writing side looks at them.
            if self._closed or self._opening or self._in is None:
                return False
            registration = self._in
            room = min(PIECE, self._limit - self._sent)
            if room <= 0:
                self._starved = True
                return False
            try:
                # Under the lock, for a closed socket's number may be another one's.
                data: bytes | None = self._socket.recv(room)
            except BlockingIOError:
                registration.arm(select.EPOLLIN)
                return False
            except OSError:
                data = None
        if data is None:
            self.reset_both()
            return False
        with suppress(LinkError):  # a lost link closes this connection by itself
            if not data:
                self._end_here()
                return False
            with self._lock:
                self._sent += len(data)
            self._link.send(messages.pack(messages.DATA, self.number, data), self.number)
        if len(data) == room:
            return True
        registration.arm(select.EPOLLIN)
        return False

    def _end_here(self) -> None:
        with self._lock:
            self._local_ended = True
        self._link.send(messages.pack(messages.END, self.number), self.number)
        self._close_if_over()

    def _on_writable(self, _events: int) -> None:
        with self._lock:
            opened, self._opening = self._opening, False
            registration = self._in
        if opened and registration is not None:
            error = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if error:
                self.report(f"cannot connect here: {os.strerror(error)}")
                self.reset_both()
                return
            registration.arm(select.EPOLLIN)
        self._write_pending()

    def _write_pending(self) -> None:
        """Write what the local socket takes, and tell the target how much more it may send."""
        with self._lock:
            if self._closed or self._opening or self._out is None:
                return
            try:
                self._write_locked(self._out)
            except OSError:
                broken = True
            else:
                broken = False
            limit = self._credit.use(0, self._link.delay)
        if broken:
            self.reset_both()
            return
        if limit:
            self._link.grant(self.number, limit)
        self._close_if_over()

    def _write_locked(self, registration: Registration) -> None:
        pending = self._pending
        while pending:
            try:
                count = self._socket.send(pending[0])
            except BlockingIOError:
                registration.arm(select.EPOLLOUT)
                return
            self._credit.used += count
            if count == len(pending[0]):
                pending.popleft()
            else:
                pending[0] = pending[0][count:]
        if self._remote_ended and not self._write_shut:
            self._write_shut = True
            with suppress(OSError):  # the local end was faster
                self._socket.shutdown(socket.SHUT_WR)

    def reset_both(self) -> None:
        """The local end is gone in the middle: so is the connection at the target."""
        with suppress(LinkError):  # then the target's end is gone as well
            self._link.send(messages.pack(messages.RESET, self.number), self.number)
        self.close()

    def _close_if_over(self) -> None:
        with self._lock:
            over = self._local_ended and self._write_shut
        if over:
            self.close()

    def report(self, reason: str) -> None:
        """Log why there is no connection."""
        report(reason, self._link.host)

    def refused(self, call: Call) -> None:
        """The target could not connect; called by the reading thread."""
        self.abort()
        threading.Thread(target=_report_refusal, args=(call, self._link.host), name="crl-tunnel", daemon=True).start()

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
        self._link.forget_stream(self.number)
        if self._on_close is not None:
            self._on_close(self)


def report(reason: str, host: str) -> None:
    """Log why there is no connection, in a thread of its own: whatever handles log records may wait."""
    text = f"a tunnel with {host}: {reason}"
    threading.Thread(target=logger.warning, args=(text,), name="crl-tunnel", daemon=True).start()


def _report_refusal(call: Call, host: str) -> None:
    try:
        call.result(0)
    except (RemoteWorldError, OSError, ValueError) as error:
        logger.warning("a tunnel with %s: the target cannot connect: %s", host, error)
