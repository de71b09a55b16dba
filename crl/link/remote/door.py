"""The door of the remote program: a new terminal comes in here when the old one is gone or does not answer.

It listens on an abstract unix socket, takes terminals of the same user that bring the token which came over the first
terminal, and lets nobody else touch the session. It is sent right after the start; a terminal displaces the one in use
only when all of that is proved.
"""
# ruff: noqa: F401, FBT003 - names in type comments look unused; locks of Python 2 take no keywords.

import os
import select
import socket
import struct
import sys
import time

from crl.link.remote import terminal, world
from crl.link.wire.errors import ProtocolError

try:
    from _thread import allocate_lock, start_new_thread
except ImportError:
    from thread import allocate_lock, start_new_thread  # type: ignore[import-not-found,no-redef]

MYPY = False
if MYPY:
    from typing import Any

SO_PEERCRED = 17
PATIENCE = 3.0
LINE_LIMIT = 200
CANDIDATES = 8
REST = 0.5


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
        self._lock = allocate_lock()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        world.private(self._socket.fileno())
        self._socket.bind("\0" + name)
        self._socket.listen(CANDIDATES)
        start_new_thread(self._run, ())

    def close_in_child(self):
        # type: () -> None
        """A forked child is not the program: what connects here must not reach it."""
        self._socket.close()

    def _run(self):
        # type: () -> None
        while True:
            try:
                connection, _ = self._socket.accept()
            except (OSError, socket.error):
                # A signal, or no descriptor is free at the moment.
                time.sleep(REST)
                continue
            if self._may_enter(connection):
                start_new_thread(self._admit, (connection,))
            else:
                connection.close()

    def _may_enter(self, connection):
        # type: (socket.socket) -> bool
        credentials = connection.getsockopt(socket.SOL_SOCKET, SO_PEERCRED, struct.calcsize("3i"))
        with self._lock:
            if struct.unpack("3i", credentials)[1] != os.geteuid() or not self._room:
                return False
            self._room -= 1
            return True

    def _admit(self, connection):
        # type: (socket.socket) -> None
        """Take one terminal, or leave everything as it was."""
        descriptors = []  # type: list[int]
        try:
            connection.settimeout(PATIENCE)
            descriptors.append(world.private(self._receive(connection)))
            descriptors.append(world.private(self._receive(connection)))
            words = _read_line(connection).split()
            token, epoch, has, mark = words[:4]
            connection.settimeout(None)
            if token == self._token:
                descriptors.append(world.private(os.dup(connection.fileno())))
                tty_in, tty_out, life = descriptors
                new = terminal.Terminal(tty_in, tty_out, life, mark, "".join(words[4:]))
                if self.program.adopt(new, int(epoch), int(has)):
                    descriptors = []
        except (OSError, socket.error, ValueError, ProtocolError):
            # Not one of ours, or it has ended meanwhile: who sent it sees that it is closed.
            return
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
            connection.close()
            with self._lock:
                self._room += 1


def _read_line(connection):
    # type: (socket.socket) -> str
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
    # type: (socket.socket) -> int
    import _multiprocessing  # type: ignore[import-not-found]

    # A timeout makes the socket non-blocking, which this function knows nothing of.
    poller = select.poll()
    poller.register(connection.fileno(), select.POLLIN)
    if not world.wait(poller, int(PATIENCE * 1000)):
        raise ValueError("no descriptor")
    return int(_multiprocessing.recvfd(connection.fileno()))


def _receive_descriptor(connection):
    # type: (socket.socket) -> int
    size = struct.calcsize("i")
    _, extras, _, _ = connection.recvmsg(1, socket.CMSG_SPACE(size))
    for level, kind, data in extras:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            return int(struct.unpack("i", data[:size])[0])
    raise ValueError("no descriptor")


def install(program):
    # type: (Any) -> None
    """Called when this piece arrives."""
    program.door = Door(program, program.config["door"], program.config["token"])
