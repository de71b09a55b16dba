"""The floor: the simplest thing that could work, over ``ssh`` with a pipe or with a raw pty.

A forty-line loop on the target reads length-prefixed pickles and answers them one by one: no frames, checksums,
threads, credit or errors. The same loop serves over channels of libraries that bring none of their own.
"""

from __future__ import annotations

import io
import os
import pickle
import resource
import shlex
import struct
import subprocess
import tarfile
import time
from abc import ABC, abstractmethod
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from benchmarks.peers.base import MIB, Peer, Settings, Thunk, target_text

__all__ = ["FloorPeer", "LoopPeer", "make", "start_line"]

HEAD = struct.Struct(">I")
CHUNK = 256 * 1024

LOOP = """
import os, pickle, struct
def read(n):
    parts = []
    while n:
        part = os.read(0, min(n, 65536))
        if not part:
            os._exit(0)
        parts.append(part)
        n -= len(part)
    return b"".join(parts)
def write(data):
    data = memoryview(data)
    while data:
        data = data[os.write(1, data):]
def push(path, size):
    with open(path, "wb") as file:
        while size:
            size -= file.write(read(min(size, 262144)))
def pull(path):
    write(struct.pack(">I", os.stat(path).st_size))
    with open(path, "rb") as file:
        for data in iter(lambda: file.read(262144), b""):
            write(data)
def push_tree(path, size):
    import io, tarfile
    FUNCTIONS["folder"](path)
    tarfile.open(fileobj=io.BytesIO(read(size))).extractall(path)
def pull_tree(path):
    import io, tarfile
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        tar.add(path, ".")
    return data.getvalue()
FUNCTIONS = {"push": push, "pull": pull, "push_tree": push_tree, "pull_tree": pull_tree}
exec(%r, FUNCTIONS)
os.write(1, b"READY")
while True:
    name, args = pickle.loads(read(struct.unpack(">I", read(4))[0]))
    answer = pickle.dumps(FUNCTIONS[name](*args), 4)
    write(struct.pack(">I", len(answer)) + answer)
"""


def start_line() -> str:
    """The line that starts the loop on the target."""
    return f"stty raw -echo 2>/dev/null; exec python3 -S -c {shlex.quote(LOOP % target_text())}"


class LoopPeer(Peer, ABC):
    """Speaks with the loop over whatever carries bytes."""

    @abstractmethod
    def send_bytes(self, data: bytes | memoryview) -> None:
        """Send all of it."""

    @abstractmethod
    def read_some(self) -> bytes:
        """Whatever comes next, at least one byte."""

    def begin(self) -> None:
        """Wait until the loop is there."""
        self._buffer = bytearray()
        while b"READY" not in self._buffer:
            self._buffer += self.read_some()
        del self._buffer[: self._buffer.index(b"READY") + 5]

    def receive_bytes(self, size: int) -> bytes:
        """So many bytes."""
        buffer = self._buffer
        while len(buffer) < size:
            buffer += self.read_some()
        data = bytes(buffer[:size])
        del buffer[:size]
        return data

    def send(self, name: str, *args: Any) -> None:
        """Ask for a call."""
        data = pickle.dumps((name, args), 4)
        self.send_bytes(HEAD.pack(len(data)) + data)

    def receive(self) -> Any:
        """The next answer."""
        (size,) = HEAD.unpack(self.receive_bytes(4))
        return pickle.loads(self.receive_bytes(size))

    def call(self, name: str, *args: Any) -> Any:
        """One call."""
        self.send(name, *args)
        return self.receive()

    def submit(self, name: str, *args: Any) -> Thunk:
        """One call; the answers come in the order of the calls."""
        self.send(name, *args)
        return self.receive

    def push(self, local: str, remote: str) -> None:
        """The bytes themselves, behind a call that says how many."""
        with open(local, "rb") as file:
            self.send("push", remote, os.fstat(file.fileno()).st_size)
            while data := file.read(CHUNK):
                self.send_bytes(data)
        self.receive()

    def pull(self, remote: str, local: str) -> None:
        """The bytes themselves, behind their number."""
        self.send("pull", remote)
        (left,) = HEAD.unpack(self.receive_bytes(4))
        with open(local, "wb") as file:
            while left:
                data = bytes(self._buffer) or self.read_some()
                self._buffer.clear()
                file.write(data[:left])
                self._buffer += data[left:]
                left -= min(left, len(data))
        self.receive()

    def push_tree(self, local: str, remote: str) -> None:
        """One tar archive."""
        data = io.BytesIO()
        with tarfile.open(fileobj=data, mode="w") as tar:
            tar.add(local, ".")
        self.send("push_tree", remote, len(data.getvalue()))
        self.send_bytes(data.getvalue())
        self.receive()

    def pull_tree(self, remote: str, local: str) -> None:
        """One tar archive."""
        with tarfile.open(fileobj=io.BytesIO(self.call("pull_tree", remote))) as tar:
            tar.extractall(local, filter="data")


class FloorPeer(LoopPeer):
    """The loop over the ``ssh`` program; the option is ``pipe`` or ``pty``."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._ssh: subprocess.Popen[bytes] | None = None

    def open(self, place: str) -> None:
        """Start ssh and the loop."""
        argv = self.settings.ssh(place, start_line(), tty=self.settings.option == "pty")
        self._ssh = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
        assert self._ssh.stdin is not None
        assert self._ssh.stdout is not None
        self._in, self._out = self._ssh.stdin.fileno(), self._ssh.stdout.fileno()
        self.begin()

    def close(self) -> None:
        """End ssh, and the loop with it."""
        if self._ssh is not None:
            self._ssh.kill()
            self._ssh.communicate()
            self._ssh = None

    def send_bytes(self, data: bytes | memoryview) -> None:
        """To ssh's standard input."""
        view = memoryview(data)
        while view:
            view = view[os.write(self._in, view) :]

    def read_some(self) -> bytes:
        """From ssh's standard output."""
        data = os.read(self._out, 65536 if len(self._buffer) < MIB else CHUNK)
        if not data:
            raise ConnectionError("ssh has ended")
        return data


    def fleet(self, aliases: list[str]) -> dict[str, float]:
        """Seconds, threads and CPU to open many targets at once, up to a result of each."""
        peers = [FloorPeer(self.settings) for _ in aliases]
        used, started = _cpu(), time.perf_counter()
        try:
            with ThreadPoolExecutor(len(aliases)) as pool:
                list(pool.map(_first_result, peers, aliases))
            seconds = time.perf_counter() - started
        finally:
            for peer in peers:
                peer.close()
        return {"seconds": seconds, "threads": 0, "cpu": _cpu() - used}


def _first_result(peer: FloorPeer, alias: str) -> None:
    peer.open(alias)
    assert peer.call("add", 1) == 2


def _cpu() -> float:
    both = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(used.ru_utime + used.ru_stime for used in both)


def make(settings: Settings) -> Peer:
    """This peer."""
    return FloorPeer(settings)
