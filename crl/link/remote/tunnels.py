"""Tunnels on the target: connections from here to addresses that the controller names.

Each is one stream over a socket; TCP by host and port, unix sockets by path or abstract name. It is sent on first use.
"""
# ruff: noqa: F401 - names in type comments look unused.

import os
import socket

from crl.link.remote import streams, world

MYPY = False
if MYPY:
    from typing import Any

CONNECT_TIMEOUT = 10.0


class Tunnels(object):
    """The connections made for the controller."""

    def __init__(self, program):
        # type: (Any) -> None
        self.program = program
        program.calls.services["tunnel.connect"] = self.connect

    def connect(self, number, address, timeout):
        # type: (int, Any, float | None) -> None
        """Connect to an address and join the connection to stream `number`."""
        if isinstance(address, (tuple, list)):
            connection = socket.create_connection((str(address[0]), address[1]), timeout or CONNECT_TIMEOUT)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        else:
            connection = _connect_unix(str(address), timeout or CONNECT_TIMEOUT)
        connection.settimeout(0.0)
        # Python 2 has no detach: a descriptor of our own outlives the socket object there.
        descriptor = world.private(os.dup(connection.fileno()))
        world.private(connection.fileno())

        def end_sink():
            # type: () -> None
            try:
                connection.shutdown(socket.SHUT_WR)
            except (OSError, socket.error):
                # The other side was faster.
                return

        def over(_stream):
            # type: (streams.Stream) -> None
            connection.close()
            os.close(descriptor)

        self.program.pump.add(streams.Stream(number, descriptor, descriptor, end_sink, over))


def _connect_unix(path, timeout):
    # type: (str, float) -> socket.socket
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.settimeout(timeout)
        connection.connect(path)
    except BaseException:
        connection.close()
        raise
    return connection


def install(program):
    # type: (Any) -> None
    """Called when this piece arrives."""
    program.tunnels = Tunnels(program)
