"""Tunnels on the target: connections from here to addresses that the controller names.

Each is one stream over a socket; TCP by host and port, unix sockets by path or abstract name. It is sent on first use.
"""

import os
import socket

from crl.link.remote import streams

CONNECT_TIMEOUT = 10.0


class Tunnels(object):
    """The connections made for the controller."""

    def __init__(self, program):  # type: ignore
        self.program = program
        program.calls.services["tunnel.connect"] = self.connect

    def connect(self, number, address, timeout):  # type: ignore
        """Connect to an address and join the connection to stream `number`."""
        if isinstance(address, (tuple, list)):
            connection = socket.create_connection((str(address[0]), address[1]), timeout or CONNECT_TIMEOUT)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        else:
            connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                connection.settimeout(timeout or CONNECT_TIMEOUT)
                connection.connect(str(address))
            except Exception:
                connection.close()
                raise
        connection.setblocking(False)
        streams.set_private(connection.fileno())
        # Python 2 has no detach: a descriptor of our own outlives the socket object there.
        descriptor = os.dup(connection.fileno())
        streams.set_private(descriptor)

        def end_sink():  # type: ignore
            try:
                connection.shutdown(socket.SHUT_WR)
            except (OSError, socket.error):
                # The other side was faster.
                return

        def over(_stream):  # type: ignore
            connection.close()
            os.close(descriptor)

        self.program.pump.add(streams.Stream(number, descriptor, descriptor, end_sink, over))


def install(program):  # type: ignore
    """Called when this piece arrives."""
    program.tunnels = Tunnels(program)
