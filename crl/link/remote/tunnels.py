"""Tunnels on the target: connections to addresses that the controller names, and listeners for the other direction.

Each connection is one stream over a socket; TCP by host and port, unix sockets by path or abstract name. A listener
accepts only as many connections as the controller has given numbers for. It is sent on first use.
"""
# ruff: noqa: F401 - names in type comments look unused.

import errno
import os
import select
import socket
import struct
from collections import deque

from crl.link.remote import streams, world
from crl.link.wire import messages

MYPY = False
if MYPY:
    from typing import Any

CONNECT_TIMEOUT = 10.0
ACCEPT_PAUSE = 0.2
BACKLOG = 128
# Python 2 does not name it; it is the same wherever Linux runs but on a few old machines.
PEER_CREDENTIALS = getattr(socket, "SO_PEERCRED", 17)


class Tunnels(object):
    """The connections and listeners made for the controller."""

    def __init__(self, program):
        # type: (Any) -> None
        self.program = program
        self.pump = program.pump  # type: streams.Pump
        self._listeners = {}  # type: dict[int, Listener]
        for name in ("open", "listen", "give", "unlisten"):
            program.calls.services["tunnel." + name] = getattr(self, name)
        program.at_end.append(self.end_all)

    def open(self, number, address, timeout):
        # type: (int, Any, float | None) -> None
        """Connect to an address and join the connection to stream `number`, whose bytes may be under way already."""
        end = End(number)
        stream = end.stream
        with self.pump.lock:
            self.pump.add(stream)
        try:
            end.socket = connection = _connect(address, timeout or CONNECT_TIMEOUT)
        except BaseException:
            with self.pump.lock:
                self.pump.drop(stream)
            raise
        _prepare(connection)
        with self.pump.lock:
            self.pump.opened(stream, connection.fileno(), connection.fileno())

    def listen(self, number, address, numbers, public):
        # type: (int, Any, list[int], bool) -> Any
        """Listen for connections, each to be joined to the next of some streams; returns where."""
        listener = Listener(self.pump, address, numbers, public)
        with self.pump.lock:
            self._listeners[number] = listener
            listener.go_on()
        return listener.address()

    def give(self, number, numbers):
        # type: (int, list[int]) -> None
        """Let a listener accept more connections.

        Raises:
            LookupError: It listens no more.
        """
        with self.pump.lock:
            listener = self._listeners[number]
            listener.numbers.extend(numbers)
            listener.go_on()

    def unlisten(self, number):
        # type: (int) -> list[int]
        """Listen no more; returns the streams that were not used. Connections that are open go on."""
        with self.pump.lock:
            listener = self._listeners.pop(number, None)
            if listener is None:
                return []
            listener.close()
            return list(listener.numbers)

    def end_all(self):
        # type: () -> None
        """Leave no socket in the file system."""
        for number in list(self._listeners):
            self.unlisten(number)


class End(object):
    """The socket of one connection, as its stream needs it.

    Args:
        number: The stream's.
    """

    socket = None  # type: Any

    def __init__(self, number):
        # type: (int) -> None
        self.stream = streams.Stream(number, self.shut, self.close)

    def shut(self):
        # type: () -> None
        """The controller's direction has ended; one that was cut shows no end, but a reset."""
        if self.stream.cut:
            return
        try:
            self.socket.shutdown(socket.SHUT_WR)
        except (OSError, socket.error):
            # The other side was faster.
            return

    def close(self, stream):
        # type: (streams.Stream) -> None
        """Both directions are over."""
        if stream.cut and self.socket.family != socket.AF_UNIX:
            try:
                self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            except (OSError, socket.error):
                # It is gone already.
                pass
        self.socket.close()


class Listener(object):
    """A listening socket.

    Args:
        pump: What waits for connections.
        address: Where to listen.
        numbers: The streams for its connections.
        public: Whether other users of this host may connect.

    Attributes:
        numbers: The streams that are left.
    """

    def __init__(self, pump, address, numbers, public):
        # type: (streams.Pump, Any, list[int], bool) -> None
        self._pump = pump
        self.numbers = deque(numbers)
        self._public = public
        self._path = str(address) if not isinstance(address, (tuple, list)) else None
        self._socket = _listen_tcp(address) if self._path is None else _listen_unix(self._path, public)
        self._watched = False

    def address(self):
        # type: () -> Any
        """Where it listens."""
        if self._path is not None:
            return self._path
        name = self._socket.getsockname()
        return (name[0], name[1])

    def go_on(self):
        # type: () -> None
        """Wait for connections as long as there are streams for them. Under the pump's lock."""
        if self.numbers and not self._watched:
            self._watched = True
            self._pump.watch(self._socket.fileno(), self._accept)
        elif self._watched and not self.numbers:
            self._watched = False
            self._pump.forget(self._socket.fileno())

    def _accept(self, _happened):
        # type: (int) -> None
        try:
            connection, _ = self._socket.accept()
        except (OSError, socket.error) as error:
            # The peer gave up before we looked, or no descriptor is left: then it waits until one may be.
            if error.errno in (errno.EMFILE, errno.ENFILE):
                self._pump.forget(self._socket.fileno())
                self._pump.later(ACCEPT_PAUSE, self._again)
            return
        if not self._public and not _is_ours(connection):
            connection.close()
            return
        _prepare(connection)
        end = End(self.numbers.popleft())
        end.socket, stream = connection, end.stream
        self._pump.add(stream)
        # A message without bytes says that there is a connection: the first to speak may be the other side.
        self._pump.program.post(messages.pack(messages.DATA, stream.number), stream.order)
        self._pump.opened(stream, connection.fileno(), connection.fileno())
        self.go_on()

    def _again(self):
        # type: () -> None
        if self._watched:
            self._pump.watch(self._socket.fileno(), self._accept)

    def close(self):
        # type: () -> None
        """Listen no more. Under the pump's lock."""
        if self._watched:
            self._watched = False
            self._pump.forget(self._socket.fileno())
        self._socket.close()
        if self._path is not None and self._path[:1] != "\0":
            try:
                os.unlink(self._path)
            except OSError as error:
                # Somebody tidied up before us.
                if error.errno != errno.ENOENT:
                    raise


def _prepare(connection):
    # type: (Any) -> None
    connection.settimeout(0.0)
    world.private(connection.fileno())
    if connection.family != socket.AF_UNIX:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _connect(address, timeout):
    # type: (Any, float) -> Any
    if isinstance(address, (tuple, list)):
        return socket.create_connection((str(address[0]), address[1]), timeout)
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.settimeout(timeout)
        connection.connect(str(address))
    except BaseException:
        connection.close()
        raise
    return connection


def _listen_tcp(address):
    # type: (Any) -> Any
    found = socket.getaddrinfo(str(address[0]) or None, address[1], 0, socket.SOCK_STREAM, 0, socket.AI_PASSIVE)[0]
    listener = socket.socket(found[0], found[1])
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(found[4])
        return _listening(listener)
    except BaseException:
        listener.close()
        raise


def _listen_unix(path, public):
    # type: (str, bool) -> Any
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.bind(path)
        if path[:1] != "\0":
            # Before it listens, nobody can connect.
            os.chmod(path, 0o666 if public else 0o600)
        return _listening(listener)
    except BaseException:
        listener.close()
        raise


def _listening(listener):
    # type: (Any) -> Any
    world.private(listener.fileno())
    listener.listen(BACKLOG)
    listener.settimeout(0.0)
    return listener


def _is_ours(connection):
    # type: (Any) -> bool
    """Whether our user or root has connected; TCP does not say, and its listener is on loopback."""
    if connection.family != socket.AF_UNIX:
        return True
    who = connection.getsockopt(socket.SOL_SOCKET, PEER_CREDENTIALS, struct.calcsize("3i"))
    return struct.unpack("3i", who)[1] in (0, os.getuid())


def install(program):
    # type: (Any) -> None
    """Called when this piece arrives."""
    program.tunnels = Tunnels(program)
