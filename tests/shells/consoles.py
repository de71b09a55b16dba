"""Consoles of this machine for tests: a telnet server that is not in binary mode, and serial lines as pairs of ptys."""

from __future__ import annotations

import contextlib
import itertools
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.channels.conftest import free_port
from tests.link.peers import PATIENCE, eventually

PASSWORD = "s3cret word"

# What getty and login say, and as much of what they do.
LOGIN = f"""#!/bin/sh
stty sane
printf 'Welcome to the host. Mind the gap: here\\r\\n'
printf 'host login: '
read -r name
stty -echo
printf 'Password: '
read -r password
stty echo
if [ "$name:$password" = 'tester:{PASSWORD}' ]; then exec /bin/sh -i; fi
printf '\\r\\nLogin incorrect\\r\\nhost login: '
read -r name
"""
_numbers = itertools.count()


@contextlib.contextmanager
def telnetd(program: str) -> Iterator[int]:
    """The port of a telnet server that starts a program for each connection."""
    port = free_port()
    command = ["busybox", "telnetd", "-F", "-K", "-b", "127.0.0.1", "-p", str(port), "-l", program]
    server = subprocess.Popen(command)

    def listens() -> bool:
        assert server.poll() is None, "another one has that port"
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return True
        return False

    try:
        assert eventually(listens)
        yield port
    finally:
        server.terminate()
        server.wait(PATIENCE)


@contextlib.contextmanager
def serial_line(folder: Path, program: str) -> Iterator[str]:
    """A terminal device at whose other end a program has a terminal of its own."""
    device = folder / f"line{next(_numbers)}"
    command = ["socat", f"PTY,link={device},raw,echo=0", f"EXEC:{program},pty,setsid,ctty,stderr,sane"]
    bridge = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        assert eventually(device.exists)
        yield str(device)
    finally:
        bridge.terminate()
        bridge.wait(PATIENCE)
