"""Tunnels between this machine and addresses of the target, in both directions.

A `Tunnel` is a listener, here or on the target, that makes one connection for each that it accepts; the target gets the
numbers for those that it may accept from here. It promises that nobody but this user is let in unless that was asked
for, and that what waits for a connection's answer may be sent ahead of it.
"""

from __future__ import annotations

import os
import select
import socket
import struct
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, Generic, Self, TypeVar

from crl.errors import RemoteWorldError, UsageError
from crl.link._driver import driver
from crl.link.calls import Call
from crl.link.connections import Connection, report
from crl.link.ends import End, Taker
from crl.link.errors import CallTimeout, LinkError
from crl.link.wire import messages

if TYPE_CHECKING:
    from crl.link.link import Link

__all__ = [
    "LIMIT",
    "Address",
    "Forward",
    "Reverse",
    "TcpAddress",
    "Tunnel",
    "TunnelError",
    "check_listening",
    "join",
    "listen_here",
    "plain_address",
]

TcpAddress = tuple[str, int]
Address = TcpAddress | str
Listening = TypeVar("Listening", TcpAddress, str, Address)

LIMIT: Final = 256
# How many connections the target may accept before it has heard of the last one.
READY: Final = 16
BACKLOG: Final = 128
CONNECT_TIMEOUT: Final = 10.0
CLOSE_TIMEOUT: Final = 5.0
LOOPBACK: Final = ("127.0.0.1", "::1", "localhost")
IN_PROGRESS: Final = (0, 115)


class TunnelError(RemoteWorldError):
    """The target could not connect to the address of a tunnel, or could not listen there."""


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


class _Opening(Call):
    """The question for a connection whose bytes go on ahead: a refusal ends it."""

    def __init__(self, link: Link, number: int, connection: Connection) -> None:
        super().__init__(link, number)
        self._connection = connection

    def answer(self, answer: Any) -> None:
        """Take the answer, in the reading thread."""
        super().answer(answer)
        if isinstance(answer, tuple) and answer[0] != messages.RESULT:
            self._connection.refused(self)


def join(link: Link, address: Address, sock: socket.socket, timeout: float) -> None:
    """Join a local socket, which becomes the link's, to an address that the target reaches.

    Raises:
        TunnelError: The target cannot connect there.
    """
    link.load("tunnel", timeout)
    connection = link.new_stream(lambda number: Connection(link, number, sock))
    number = connection.number
    try:
        link.service("tunnel.open", number, address, timeout, timeout=timeout + CLOSE_TIMEOUT)
    except BaseException as error:
        connection.close()
        if isinstance(error, CallTimeout):
            raise TunnelError(
                f"cannot connect to {address!r}: {error.message}", host=link.host, doing="tunnel"
            ) from error
        if isinstance(error, OSError) and not isinstance(error, LinkError):
            raise TunnelError(f"cannot connect to {address!r}: {error}", host=link.host, doing="tunnel") from error
        raise
    connection.begin()


class Tunnel(Generic[Listening]):
    """A listener on one side whose connections come out on the other; made by `Link.forward` and `Link.reverse`.

    Attributes:
        address: Where it listens: ``(host, port)``, or the path or abstract name of a unix socket.
        target: Where its connections come out, or what is given each.
    """

    address: Listening

    def __init__(self, link: Link, target: Address | Taker, limit: int) -> None:
        if limit < 1:
            raise UsageError(f"a tunnel for {limit} connections is none", doing="opening a tunnel")
        self._link = link
        self._limit = limit
        self._lock = threading.Lock()
        self._open: set[Connection | End] = set()
        self._closed = False
        self.target = target

    def __repr__(self) -> str:
        state = "closed" if self._closed else "listening"
        return f"<{type(self).__name__} {self._way()}: {state}, {self.connections} connections>"

    def _way(self) -> str:
        raise NotImplementedError

    @property
    def connections(self) -> int:
        """How many connections are open through it now."""
        with self._lock:
            return len(self._open)

    def close(self, *, wait: bool = True) -> None:
        """Stop listening; connections that are open go on.

        Args:
            wait: Whether to wait until a listener on the target is gone.
        """
        with self._lock:
            closed, self._closed = self._closed, True
        if not closed:
            self._stop(wait)
            self._link.forget_tunnel(self)

    def _stop(self, wait: bool) -> None:
        raise NotImplementedError

    def drop(self) -> None:
        """Break the connections that are open through it now; it goes on listening."""
        with self._lock:
            open_now = list(self._open)
        for connection in open_now:
            connection.reset_both()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()


class Forward(Tunnel[Listening]):
    """A listener here whose connections come out at an address that the target reaches."""

    def __init__(self, link: Link, target: Address, listen: Listening, *, public: bool, limit: int) -> None:
        super().__init__(link, target, limit)
        self._public = public
        check_listening(listen, public=public)
        self._listener = listen_here(listen, public=public)
        name = self._listener.getsockname()
        self.address: Any = listen if isinstance(listen, str) else (name[0], name[1])
        self._listener.settimeout(0.0)
        self._registration = driver.add(self._listener.fileno(), self._on_connection, select.EPOLLIN)

    def _way(self) -> str:
        return f"{self.address!r} here to {self.target!r} of {self._link.host}"

    def _on_connection(self, _events: int) -> None:
        sock = None
        # Under the lock, for a closed listener's number may be another one's.
        with self._lock, suppress(OSError):  # the peer gave up before we looked
            if not self._closed:
                sock, _ = self._listener.accept()
        if sock is not None:
            self._join(sock)
        with self._lock:
            full = len(self._open) >= self._limit
        if not full:
            self._registration.arm(select.EPOLLIN)

    def _join(self, sock: socket.socket) -> None:
        """Ask the target for a connection; what comes here goes there at once, behind the question."""
        if not self._public and not _is_ours(sock):
            sock.close()
            return
        link = self._link
        try:
            connection = link.new_stream(lambda number: Connection(link, number, sock, self._gone))
        except OSError:
            # No descriptor is left for it: its peer sees an end, and the tunnel goes on.
            sock.close()
            return
        with self._lock:
            self._open.add(connection)
        number = connection.number
        try:
            link.submit_watched(
                lambda link, call: _Opening(link, call, connection), "tunnel.open", number, self.target, CONNECT_TIMEOUT
            )
            connection.begin()
        except (LinkError, OSError):
            connection.abort()

    def _gone(self, connection: Connection) -> None:
        with self._lock:
            was_full = len(self._open) >= self._limit
            self._open.discard(connection)
        if was_full:
            self._registration.arm(select.EPOLLIN)

    def _stop(self, wait: bool) -> None:  # noqa: ARG002 - it listens here: it is gone at once
        self._registration.remove()
        self._listener.close()
        if isinstance(self.address, str) and self.address[:1] == "/":
            with suppress(FileNotFoundError):  # somebody tidied up before us
                os.unlink(self.address)


class _Slot:
    """The number of a stream for the next connection that the target accepts."""

    def __init__(self, tunnel: Reverse[Any], number: int, *, unattended: bool) -> None:
        self._tunnel = tunnel
        self.number = number
        self.unattended = unattended
        self.limit = 0

    def take(self, message: bytes) -> bool:
        """A connection was accepted there."""
        return self._tunnel._accepted(self, message)  # noqa: SLF001

    def end(self, error: LinkError | None = None) -> None:
        """Nothing was accepted."""

    def reset(self) -> None:
        """Nothing was accepted."""

    def allow(self, limit: int) -> None:
        """What the target takes of a connection that it has just accepted."""
        self.limit = limit


class _Giving(Call):
    """The offer of more streams to a listener: where it listens no more, they are not used."""

    def __init__(self, link: Link, number: int, tunnel: Reverse[Any], streams: list[int]) -> None:
        super().__init__(link, number)
        self._tunnel = tunnel
        self._streams = streams

    def answer(self, answer: Any) -> None:
        """Take the answer, in the reading thread."""
        super().answer(answer)
        if not isinstance(answer, tuple) or answer[0] != messages.RESULT:
            self._tunnel._forget(self._streams)  # noqa: SLF001


class Reverse(Tunnel[Listening]):
    """A listener on the target whose connections come out here: at an address, or in the hands of this program."""

    def __init__(self, link: Link, listen: Listening, target: Address | Taker, *, public: bool, limit: int) -> None:
        super().__init__(link, target, limit)
        check_listening(plain_address(listen), public=public)
        self._local: Taker | tuple[socket.AddressFamily, Any] = target if callable(target) else _resolved(target)
        link.load("tunnel")
        slots = [self._new_slot() for _ in range(min(limit, READY))]
        self._slots: dict[int, _Slot] = {slot.number: slot for slot in slots}
        numbers: list[int] = list(self._slots)
        self._number: int = numbers[0]
        try:
            name = link.service("tunnel.listen", self._number, listen, numbers, public)
        except BaseException as error:
            self._forget(numbers)
            if isinstance(error, OSError) and not isinstance(error, LinkError):
                raise TunnelError(f"cannot listen at {listen!r}: {error}", host=link.host, doing="tunnel") from error
            raise
        self.address: Any = listen if isinstance(listen, str) else (str(name[0]), int(name[1]))

    def _way(self) -> str:
        where = "this program" if callable(self.target) else f"{self.target!r} here"
        return f"{self.address!r} of {self._link.host} to {where}"

    def _new_slot(self) -> _Slot:
        # Whoever takes a connection in this program reads from it himself, and so on.
        unattended = not callable(self._local)
        return self._link.new_stream(lambda number: _Slot(self, number, unattended=unattended))

    def _accepted(self, slot: _Slot, message: bytes) -> bool:
        """The target has a connection: connect here; called by the reading thread."""
        link = self._link
        try:
            connection = self._connection(slot)
        except OSError as error:
            report(f"cannot connect to {self.target!r} here: {error}", link.host)
            link.forget_stream(slot.number)
            with suppress(LinkError):  # then there is nothing left to reset
                link.send(messages.pack(messages.RESET, slot.number), slot.number)
            with self._lock:
                self._slots.pop(slot.number, None)
            self._give_more()
            return True
        self._give_more()
        return connection.take(message)

    def _count(self, connection: Connection | End) -> None:
        """It takes the place of its slot; both at once, or another thread would find room for one more between them."""
        with self._lock:
            self._open.add(connection)
            self._slots.pop(connection.number, None)

    def _connection(self, slot: _Slot) -> Connection | End:
        """A connection on its way to where it comes out."""
        if callable(self._local):
            return self._end(slot, self._local)
        return self._connected(slot, *self._local)

    def _end(self, slot: _Slot, taker: Taker) -> End:
        end = End(self._link, slot.number, self._gone)
        self._count(end)
        self._link.replace_stream(slot.number, end)
        end.allow(slot.limit)
        taker(end)
        return end

    def _connected(self, slot: _Slot, family: socket.AddressFamily, address: Any) -> Connection:
        number = slot.number
        sock = socket.socket(family)
        try:
            connection = Connection(self._link, number, sock, self._gone)
        except BaseException:
            sock.close()
            raise
        failed = sock.connect_ex(address)
        self._count(connection)
        self._link.replace_stream(number, connection)
        connection.allow(slot.limit)
        if self._link.engine.lost is not None:
            # Meanwhile: nobody else would close it.
            connection.abort()
        elif failed in IN_PROGRESS:
            connection.begin(opening=True)
        else:
            connection.report(f"cannot connect here: {os.strerror(failed)}")
            connection.reset_both()
        return connection

    def _give_more(self) -> None:
        """Let the target accept as many as the limit has room for, a few at a time."""
        with self._lock:
            room = min(self._limit - len(self._open), READY) - len(self._slots)
            if self._closed or room <= 0:
                return
            # Before the lock is free, or two that find room at once give it twice.
            fresh = [self._new_slot() for _ in range(room)]
            self._slots.update({slot.number: slot for slot in fresh})
        numbers = [slot.number for slot in fresh]
        with suppress(LinkError):  # a lost link accepts nothing any more
            # Somebody may close it before this has arrived.
            self._link.submit_watched(
                lambda link, call: _Giving(link, call, self, numbers), "tunnel.give", self._number, numbers
            )

    def _gone(self, connection: Connection | End) -> None:
        with self._lock:
            self._open.discard(connection)
        self._give_more()

    def _stop(self, wait: bool) -> None:
        with suppress(LinkError):  # a lost link listens nowhere any more
            call = self._link.submit_service("tunnel.unlisten", self._number)
            if wait:
                # Those that were used meanwhile are connections, which go on.
                self._forget([int(number) for number in call.result(CLOSE_TIMEOUT)])

    def _forget(self, numbers: list[int]) -> None:
        for number in numbers:
            with self._lock:
                slot = self._slots.pop(number, None)
            if slot is not None:
                self._link.forget_stream(number)


def check_listening(address: Address, *, public: bool) -> None:
    """Refuse what others could connect to, unless that is wanted.

    Raises:
        UsageError: The address is not a loopback one: a tunnel is for this user only.
    """
    if not public and not isinstance(address, str) and address[0] not in LOOPBACK:
        raise UsageError(
            f"a tunnel listens on loopback only, not on {address[0] or 'all addresses'}",
            doing="opening a tunnel",
            advice="use 127.0.0.1, or public=True where everybody may connect",
        )


def listen_here(address: Address, *, public: bool) -> socket.socket:
    """A listening socket; one at a path is for this user only, unless it is public."""
    if not isinstance(address, str):
        family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        return socket.create_server(address, family=family, backlog=BACKLOG)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.bind(address)
        if address[:1] == "/":
            # Before it listens, nobody can connect.
            os.chmod(address, 0o666 if public else 0o600)
        sock.listen(BACKLOG)
    except BaseException:
        sock.close()
        raise
    return sock


def _resolved(address: Address) -> tuple[socket.AddressFamily, Any]:
    """What to connect to, looked up now: the I/O thread must not wait for a name.

    Raises:
        UsageError: The name is unknown.
    """
    if isinstance(address, str):
        return socket.AF_UNIX, address
    try:
        found = socket.getaddrinfo(address[0], address[1], type=socket.SOCK_STREAM)[0]
    except OSError as error:
        raise UsageError(f"{address[0]!r} is unknown here: {error}", doing="opening a tunnel") from error
    return found[0], found[4]


def _is_ours(sock: socket.socket) -> bool:
    """Whether our user or root has connected; TCP does not say, and its listener is on loopback."""
    if sock.family != socket.AF_UNIX:
        return True
    who = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    return struct.unpack("3i", who)[1] in (0, os.getuid())
