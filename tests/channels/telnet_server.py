"""A telnet server for one connection that agrees to carry every byte, which busybox's does not.

Run as `python telnet_server.py PROGRAM ARGUMENT...`; it prints its port, starts the program on a terminal when somebody
connects, and ends with either.
"""

from __future__ import annotations

import os
import pty
import select
import socket
import sys

from crl.channels.telnet import TelnetStream


def main() -> None:
    """Serve one connection."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        os.write(1, b"%d\n" % server.getsockname()[1])
        connection, _ = server.accept()
    pid, master = pty.fork()
    if pid == 0:
        os.execvp(sys.argv[1], sys.argv[1:])
    stream = TelnetStream()
    poller = select.poll()
    poller.register(master, select.POLLIN)
    poller.register(connection, select.POLLIN)
    while True:
        connection.sendall(stream.replies)
        stream.replies.clear()
        for descriptor, _ in poller.poll():
            try:
                data = os.read(descriptor, 65536)
            except OSError:
                data = b""
            if not data:
                return
            if descriptor == master:
                connection.sendall(stream.encode(data))
            else:
                text = stream.feed(data)
                while text:
                    text = text[os.write(master, text) :]


if __name__ == "__main__":
    main()
