"""What the tests of tunnels share: a plain connection of paramiko's, and programs that listen on the lab's server."""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
import subprocess
import threading
from collections.abc import Iterator
from typing import Any

import paramiko

from crl.interactivesessions.shells.sshshell import SshShell
from crl.lab import Lab
from crl.targets import Target
from tests.x2go.conftest import wait_until

# Reads to the end, then says how much it was and what its digest is: only half a connection can do that.
COUNTING = r"""
import hashlib, socket, sys, threading
server = socket.create_server(("127.0.0.1", 0), backlog=200)
print(server.getsockname()[1], flush=True)
def serve(sock):
    digest, count = hashlib.sha256(), 0
    while data := sock.recv(65536):
        digest.update(data)
        count += len(data)
    sock.sendall(("%d %s" % (count, digest.hexdigest())).encode())
    sock.close()
while True:
    threading.Thread(target=serve, args=(server.accept()[0],), daemon=True).start()
"""
# Accepts one connection, reads nothing before it is told to on its standard input, then counts.
PATIENT = r"""
import socket, sys
server = socket.create_server(("127.0.0.1", 0))
print(server.getsockname()[1], flush=True)
sock = server.accept()[0]
sys.stdin.readline()
count = 0
while data := sock.recv(1 << 20):
    count += len(data)
sock.sendall(str(count).encode())
"""


@contextlib.contextmanager
def plain_transport(lab: Lab, host: str = "alpha", role: str = "zsh") -> Iterator[paramiko.Transport]:
    """A connection as any application may have one: paramiko's own class, logged in by key."""
    there = lab.host(host)
    transport = paramiko.Transport(socket.create_connection((there.address, there.port), 30))
    try:
        transport.start_client(timeout=30)
        user = there.users[role].login
        transport.auth_publickey(user, paramiko.PKey.from_path(lab.key(role)))
        yield transport
    finally:
        transport.close()
        transport.join(5)


@contextlib.contextmanager
def connection_of(kind: str, lab: Lab) -> Iterator[Any]:
    """A connection to the lab's X2Go server, over which tunnels are made: ``paramiko`` or ``target``."""
    if kind == "paramiko":
        with plain_transport(lab) as transport:
            yield transport
        return
    shell = SshShell("alpha-zsh", config=str(lab.ssh_config), lane_change=False)
    with Target(shell, name="alpha") as target:
        yield target.connect()


@contextlib.contextmanager
def nobody_here() -> Iterator[int]:
    """A port of this machine on which nobody listens, nor can begin to: it is taken."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield int(taken.getsockname()[1])


@contextlib.contextmanager
def program_there(lab: Lab, source: str, host: str = "alpha") -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    """A Python program on a host of the lab, and the port it says it listens on."""
    command = lab.host(host).command(["/usr/bin/python3", "-c", source], "zshuser")
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    port = 0
    try:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        yield port, process
    finally:
        process.kill()
        process.wait(30)
        wait_until(lambda: not listens_there(lab, port, host), 30)  # it dies with its parent, a little later
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()


def listens_there(lab: Lab, port: int, host: str = "alpha") -> bool:
    """Whether anybody listens on a port of a host."""
    found = lab.host(host).exec(["ss", "-Hltn", f"sport = :{port}"]).stdout
    return bool(found.strip())


def counted(sock: socket.socket, data: bytes) -> str:
    """Send data, end that direction, and read the answer."""
    sock.sendall(data)
    sock.shutdown(socket.SHUT_WR)
    return everything(sock).decode()


def send_until_broken(sock: socket.socket) -> None:
    """Send for ever; ends by the error of a connection that is gone."""
    while True:
        sock.sendall(b"x" * 65536)


def everything(sock: socket.socket) -> bytes:
    """All that comes, to the end."""
    pieces = []
    while piece := sock.recv(65536):
        pieces.append(piece)
    return b"".join(pieces)


def expected(data: bytes) -> str:
    """What `COUNTING` answers."""
    return f"{len(data)} {hashlib.sha256(data).hexdigest()}"


class Left:
    """Threads and descriptors of this process, before and after."""

    def __init__(self) -> None:
        self._threads = set(threading.enumerate())
        self._descriptors = len(os.listdir("/proc/self/fd"))

    def _now(self) -> tuple[list[str], int]:
        threads = [one.name for one in threading.enumerate() if one not in self._threads]
        # What others had left open may have been closed meanwhile.
        return threads, max(0, len(os.listdir("/proc/self/fd")) - self._descriptors)

    def check(self) -> None:
        """Nothing is there that was not there before."""
        wait_until(lambda: self._now() == ([], 0))
        threads, descriptors = self._now()
        assert (threads, descriptors) == ([], 0), f"left: threads {threads}, {descriptors} descriptors"


class Hooks:
    """A session's hooks that only remember."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []

    def HOOK_forwarding_tunnel_setup_failed(self, **what: Any) -> None:
        self.calls.append(("forward", what))

    def HOOK_rforward_request_denied(self, **what: Any) -> None:
        self.calls.append(("reverse", what))
