"""The door of the remote program: a new terminal comes in here when the old one is gone or does not answer.

It listens on an abstract unix socket, takes terminals of the same user that bring the token which came over the first
terminal, and lets nobody else touch the session. It is sent right after the start; a terminal displaces the one in use
only when all of that is proved.
"""
# ruff: noqa: F401, FBT003 - names in type comments look unused; locks of Python 2 take no keywords.

import _socket
import errno
import os
import select
import struct
import sys
import time

from crl.link.remote import terminal, world
from crl.link.wire import frames
from crl.link.wire.compat import allocate_lock, start_new_thread
from crl.link.wire.errors import ProtocolError

MYPY = False
if MYPY:
    from typing import Any

SO_PEERCRED = 17
PATIENCE = 3.0
LINE_LIMIT = 200
CANDIDATES = 8
REST = 0.5
READ_SIZE = 65536


class Door(object):
    """Lets new terminals in.

    Args:
        program: The remote program.
        name: Name of the abstract socket.
        token: What a new terminal has to bring.
    """

    def __init__(self, program, name, token):
        # type: (Any, str, str) -> None
        self.program = program
        self._token = token
        self._receive = _receiver()
        self._room = CANDIDATES
        self._parked = None  # type: terminal.Terminal | None
        self._lock = allocate_lock()
        # Plain ones: `socket` would import as much again as all of this program.
        self._socket = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)  # type: Any
        world.private(self._socket.fileno())
        self._socket.bind("\0" + name)
        self._socket.listen(CANDIDATES)
        start_new_thread(self._run, ())

    def close_in_child(self):
        # type: () -> None
        """A forked child is not the program: what connects here must not reach it."""
        self._socket.close()
        if self._parked is not None:
            self._parked.close_in_child()

    def _run(self):
        # type: () -> None
        while True:
            try:
                connection = _accept(self._socket)
            except (OSError, _socket.error):
                # A signal, or no descriptor is free at the moment.
                time.sleep(REST)
                continue
            if self._may_enter(connection):
                start_new_thread(self._admit, (connection,))
            else:
                connection.close()

    def _may_enter(self, connection):
        # type: (Any) -> bool
        credentials = connection.getsockopt(_socket.SOL_SOCKET, SO_PEERCRED, struct.calcsize("3i"))
        with self._lock:
            if struct.unpack("3i", credentials)[1] != os.geteuid() or not self._room:
                return False
            self._room -= 1
            return True

    def _admit(self, connection):
        # type: (Any) -> None
        """Take one terminal, or leave everything as it was."""
        descriptors = []  # type: list[int]
        try:
            connection.settimeout(PATIENCE)
            descriptors.append(world.private(self._receive(connection)))
            descriptors.append(world.private(self._receive(connection)))
            words = _read_line(connection).split()
            token, epoch, has, beside, mark = words[:5]
            connection.settimeout(None)
            if token == self._token:
                descriptors.append(world.private(os.dup(connection.fileno())))
                tty_in, tty_out, life = descriptors
                new = terminal.Terminal(tty_in, tty_out, life, mark, "".join(words[5:]))
                if self.adopt(new, int(epoch), int(has), beside == "1"):
                    descriptors = []
        except (OSError, _socket.error, ValueError, ProtocolError):
            # Not one of ours, or it has ended meanwhile: who sent it sees that it is closed.
            return
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
            connection.close()
            with self._lock:
                self._room += 1

    # -- terminals -------------------------------------------------------------------------------------------------

    def adopt(self, new, epoch, peer_has, beside=False):
        # type: (terminal.Terminal, int, int, bool) -> bool
        """Go on over a new terminal, which has proved that it is the controller's.

        Args:
            new: The terminal.
            epoch: Its number.
            peer_has: The controller has all our frames below this one.
            beside: Whether it is a pair of pipes beside the one in use, which is kept for the way back.

        Returns:
            False when a newer one is there.

        Raises:
            ProtocolError: The controller cannot have that.
        """
        program = self.program
        if beside:
            new.widen()
        with self._lock:
            if epoch <= program.session.epoch:
                return False
            # Before, for who reads closes what is neither in use nor kept.
            useless = self._set_aside(program.terminal, new, beside)
            program.go_over_to(new, epoch, peer_has, beside)
        for one in useless:
            one.retire()
        program.turn_around()
        return True

    def _set_aside(self, old, new, beside):
        # type: (terminal.Terminal, terminal.Terminal, bool) -> list[terminal.Terminal]
        """Keep the terminal that is left for a lane beside it; those that are of no use any more."""
        left = [one for one in (self._parked, old) if one is not None and one is not new]
        sound = [one for one in left if beside and not one.lost]
        self._parked = sound[0] if sound else None
        for one in (old, new):
            one.parked = one is self._parked
        return [one for one in left if not one.parked]

    def _forget(self, one):
        # type: (terminal.Terminal) -> None
        """A terminal that was kept for the way back has ended."""
        with self._lock:
            if one is self._parked:
                self._parked = None
        one.retire()
        one.close_input()

    def watch(self, parked):
        # type: (terminal.Terminal) -> None
        """Look after a terminal that was left for a lane beside it, until it is in use again or ends."""
        start_new_thread(self._watch, (parked,))

    def _watch(self, parked):
        # type: (terminal.Terminal) -> None
        decoder = frames.Decoder()
        data, parked.unread = parked.unread or _read(parked.tty_in), b""
        while data:
            for frame in decoder.feed(data):
                # Nothing but the controller's greeting is meant for us: the rest was under way when it changed lanes.
                if frame.kind == frames.HELLO and self._take_again(parked, frame):
                    return
            data = _read(parked.tty_in)
        self._forget(parked)

    def _take_again(self, parked, greeting):
        # type: (terminal.Terminal, frames.Frame) -> bool
        try:
            return self.adopt(parked, greeting.epoch, greeting.ack)
        except ProtocolError:
            return False


def _read(descriptor):
    # type: (int) -> bytes
    while True:
        try:
            return os.read(descriptor, READ_SIZE)
        except OSError as failure:
            if failure.errno != errno.EINTR:
                return b""


def _accept(listener):
    # type: (Any) -> Any
    if not hasattr(listener, "_accept"):
        # Python 2.
        return listener.accept()[0]
    return _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM, 0, listener._accept()[0])  # noqa: SLF001


def _read_line(connection):
    # type: (Any) -> str
    line = b""
    while not line.endswith(b"\n"):
        data = connection.recv(LINE_LIMIT)
        if not data or len(line) > LINE_LIMIT:
            raise ValueError("no line")
        line += data
    return str(line.decode("ascii"))


def _receiver():
    # type: () -> Any
    """What receives one descriptor with one byte."""
    if sys.version_info[0] == 2:
        __import__("_multiprocessing")
        return _receive_descriptor_2
    return _receive_descriptor


def _receive_descriptor_2(connection):
    # type: (Any) -> int
    import _multiprocessing  # type: ignore[import-not-found]

    # A timeout makes the socket non-blocking, which this function knows nothing of.
    poller = select.poll()
    poller.register(connection.fileno(), select.POLLIN)
    if not world.wait(poller, int(PATIENCE * 1000)):
        raise ValueError("no descriptor")
    return int(_multiprocessing.recvfd(connection.fileno()))


def _receive_descriptor(connection):
    # type: (Any) -> int
    size = struct.calcsize("i")
    _, extras, _, _ = connection.recvmsg(1, _socket.CMSG_SPACE(size))
    for level, kind, data in extras:
        if level == _socket.SOL_SOCKET and kind == _socket.SCM_RIGHTS:
            return int(struct.unpack("i", data[:size])[0])
    raise ValueError("no descriptor")


def install(program):
    # type: (Any) -> None
    """Called when this piece arrives."""
    program.door = Door(program, program.config["door"], program.config["token"])
