"""The front of a new terminal: hands the terminal's descriptors to the remote program that runs already.

It is executed by the start line's interpreter in a fresh shell, as `boot` is, and finds the program by the name of its
abstract unix socket. It promises to give the terminal to nobody but a program of the same user, and says by its exit
status why it could not.
"""
# ruff: noqa: F401 - names in type comments look unused.

import errno
import os
import sys

from crl.link.remote.tiny import wait_as_something_tiny

MYPY = False
if MYPY:
    import socket
    from typing import Any

# Exit statuses, which the start line prints.
GONE = 94
FOREIGN = 95
IMPOSSIBLE = 96
SO_PEERCRED = 17
TIMEOUT = 5.0


def attach(name, line, mark, armour):
    # type: (str, str, str, str) -> None
    """Hand the terminal over and wait for the program's end; never returns.

    Args:
        name: Name of the program's abstract socket.
        line: What the program shall know: the token, the epoch, and what the controller has.
        mark: What stands before what is said when the program is killed.
        armour: What the terminal needs; see `armour.make`.
    """
    sys.path[:] = [entry for entry in sys.path if entry]
    try:
        # Without what Python puts around it, which takes longer to load than all else here.
        import _socket as socket
        import struct

        send = _sender()
    except ImportError:
        os._exit(IMPOSSIBLE)
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(TIMEOUT)
    try:
        connection.connect("\0" + name)
        credentials = connection.getsockopt(socket.SOL_SOCKET, SO_PEERCRED, struct.calcsize("3i"))
        if struct.unpack("3i", credentials)[1] != os.geteuid():
            os._exit(FOREIGN)
        for descriptor in (0, 1):
            send(connection, descriptor)
        connection.sendall(("%s %s %s\n" % (line, mark, armour)).encode("ascii"))
    except (OSError, socket.error) as error:
        # Nobody listens there; anything else may be different at the next attempt.
        os._exit(GONE if error.errno in (errno.ECONNREFUSED, errno.ENOENT) else IMPOSSIBLE)
    connection.settimeout(None)
    wait_as_something_tiny(0, os.dup(connection.fileno()), [], mark)


def _sender():
    # type: () -> Any
    """What sends one descriptor with one byte."""
    if sys.version_info[0] == 2:
        import _multiprocessing

        return lambda connection, descriptor: _multiprocessing.sendfd(connection.fileno(), descriptor)
    return _send_descriptor


def _send_descriptor(connection, descriptor):
    # type: (socket.socket, int) -> None
    import _socket as socket
    import struct

    connection.sendmsg([b"d"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack("i", descriptor))])
