"""What a peer is: a handful of primitives, from which `operations` makes every measurement in the same way for all.

It knows the places of the lab as ssh command lines and the text of `benchmarks.target`. What a peer does not have
raises `NotThere` with the reason, which the report repeats.
"""

from __future__ import annotations

import os
import shlex
import socket
import statistics
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["MIB", "NotThere", "Peer", "Settings", "Thunk", "target_text"]

MIB = 1 << 20
PIECE = MIB
AHEAD = 8
Thunk = Callable[[], Any]


class NotThere(Exception):
    """The peer, or the present crl, has nothing of this kind."""


@dataclass(frozen=True)
class Settings:
    """What the runner tells each peer.

    Attributes:
        ssh_config: For ``ssh -F``.
        known_hosts: The lab's host keys.
        address: IP address of ``alpha``.
        login: The login with a password.
        password: That password.
        folder: A folder here for files; empty at the start.
        option: Which variant of the peer.
    """

    ssh_config: str
    known_hosts: str
    address: str
    login: str
    password: str
    folder: str
    option: str = ""

    def ssh(self, place: str, command: str | None, *, tty: bool = False, more: Sequence[str] = ()) -> list[str]:
        """The command line of a fresh ssh connection to a place: ``alpha``, ``hop`` or ``sudo``.

        Args:
            place: Where.
            command: What to run there; None is the login shell.
            tty: Whether with a pty all the way.
            more: Further options.
        """
        kind = "-tt" if tty else "-T"
        if place == "hop" and command is not None:
            command = f"ssh -e none {kind} beta {shlex.quote(command)}"
        if place == "sudo" and command is not None:
            command = f"sudo sh -c {shlex.quote(command)}"
        alias = {"hop": "gateway", "sudo": "alpha-both"}.get(place, place)
        words = ["ssh", "-F", self.ssh_config, "-e", "none", *more, "-o", "ControlMaster=no", kind, alias]
        return words if command is None else [*words, command]


def target_text() -> str:
    """The source of what peers run on the target."""
    return (Path(__file__).parent.parent / "target.py").read_text(encoding="ascii")


class Peer(ABC):
    """One way to a target.

    Attributes:
        calls: How many small calls one measurement makes.
        bulk: How many bytes one measurement of many bytes moves.
        pipelines: Whether calls can be sent before earlier ones are answered.
        place: Where the connection goes to.
    """

    calls = 300
    bulk = 64 * MIB
    pipelines = True

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.place = "alpha"

    @abstractmethod
    def open(self, place: str) -> None:
        """Connect and get ready to call."""

    @abstractmethod
    def close(self) -> None:
        """End the connection; harmless when there is none."""

    @abstractmethod
    def call(self, name: str, *args: Any) -> Any:
        """Call a function of `benchmarks.target`."""

    def submit(self, name: str, *args: Any) -> Thunk:
        """Call without waiting; what comes back waits for the answer."""
        raise NotThere(f"no calls without waiting ({name}, {len(args)} arguments)")

    def lane(self) -> Peer:
        """Something for another thread to call with."""
        raise NotThere("one call at a time")

    def call_times(self, count: int) -> list[float]:
        """Seconds of each of so many small calls."""
        clock, call, times = time.perf_counter, self.call, []
        for number in range(count):
            started = clock()
            call("add", number)
            times.append(clock() - started)
        return times

    def call_time(self, count: int) -> float:
        """Median seconds of a small call."""
        return statistics.median(self.call_times(count))

    def push(self, local: str, remote: str) -> None:
        """Copy a file to the target; by default in pieces by calls."""
        waiting: deque[Thunk] = deque()
        with open(local, "rb") as file:
            offset = 0
            while data := file.read(PIECE):
                self._ask(waiting, "write", remote, offset, data)
                offset += len(data)
        while waiting:
            waiting.popleft()()

    def pull(self, remote: str, local: str) -> None:
        """Copy a file from the target; by default in pieces by calls."""
        waiting: deque[Thunk] = deque()
        with open(local, "wb") as file:
            for offset in range(0, self.bulk, PIECE):
                answer = self._ask(waiting, "read", remote, offset, min(PIECE, self.bulk - offset))
                if answer is not None:
                    file.write(answer)
            while waiting:
                file.write(waiting.popleft()())

    def _ask(self, waiting: deque[Thunk], name: str, *args: Any) -> Any:
        """Ask for one more piece; the answer of an earlier one when enough are under way."""
        if not self.pipelines:
            return self.call(name, *args)
        waiting.append(self.submit(name, *args))
        return waiting.popleft()() if len(waiting) > AHEAD else None

    def push_tree(self, local: str, remote: str) -> None:
        """Copy a folder of small files to the target; by default file by file."""
        self.call("folder", remote)
        waiting: deque[Thunk] = deque()
        for name in sorted(os.listdir(local)):
            data = Path(local, name).read_bytes()
            self._ask(waiting, "write", f"{remote}/{name}", 0, data)
        while waiting:
            waiting.popleft()()

    def pull_tree(self, remote: str, local: str) -> None:
        """Copy a folder of small files from the target; by default file by file."""
        os.makedirs(local, exist_ok=True)
        for name in self.call("names", remote):
            Path(local, name).write_bytes(self.call("read", f"{remote}/{name}", 0, PIECE))

    def tunnel(self, port: int) -> socket.socket:
        """A socket whose other end is at a port of the target's loopback address."""
        raise NotThere(f"no tunnels (to {port})")
