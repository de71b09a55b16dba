"""The link's speed, as ratios to the simplest thing that could work, in one interleaved run.

The floor is a forty-line loop on the target that reads length-prefixed pickles over the same kind of channel: no
frames, checksums, threads, credit or errors. Each round measures the link and the floor one after the other; what is
printed is the median over the rounds. Absolute times differ by the hour on a shared machine, ratios within a run much
less.

Usage: python -m benchmarks.link [--rounds 10] [--python PATH] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import os
import pickle
import select
import shlex
import socket
import statistics
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from typing import Any

from crl.channels.base import Channel
from crl.channels.process import ProcessChannel
from crl.channels.pty import LocalPtyChannel
from crl.link import Lane, Link

HEAD = struct.Struct(">I")
CALLS = 300
FUTURES = 1000
RUNS = 10
BULK = 8_000_000

FLOOR = """
import os, pickle, struct, subprocess
def read(n):
    parts = []
    while n:
        part = os.read(0, min(n, 65536))
        if not part:
            os._exit(0)
        parts.append(part)
        n -= len(part)
    return b"".join(parts)
def run(argv):
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    return done.returncode, done.stdout, done.stderr
FUNCTIONS = {"abs": abs, "len": len, "bytes": bytes, "run": run}
os.write(1, b"G")
while True:
    number, name, args = pickle.loads(read(struct.unpack(">I", read(4))[0]))
    answer = pickle.dumps((number, FUNCTIONS[name](*args)), 4)
    answer = memoryview(struct.pack(">I", len(answer)) + answer)
    while answer:
        answer = answer[os.write(1, answer):]
"""


class Floor:
    """The controller's side of the floor.

    Args:
        kind: ``"pipe"`` or ``"pty"``.
        python: The target's interpreter.
    """

    def __init__(self, kind: str, python: str) -> None:
        line = f"stty raw -echo 2>/dev/null; exec {shlex.join([python, '-S', '-c', FLOOR])}"
        self.channel = _channel(kind, ["/bin/sh", "-c", line])
        self._poll = select.poll()
        self._poll.register(self.channel.fileno(), select.POLLIN)
        self._buffer = bytearray()
        self._read(1)

    def _read(self, size: int) -> bytes:
        buffer = self._buffer
        while len(buffer) < size:
            self._poll.poll()
            buffer += self.channel.read()
        data = bytes(buffer[:size])
        del buffer[:size]
        return data

    def send(self, name: str, *args: Any) -> None:
        """Ask for a call."""
        data = pickle.dumps((0, name, args), 4)
        view = memoryview(HEAD.pack(len(data)) + data)
        poll = select.poll()
        poll.register(self.channel.fileno(), select.POLLIN | select.POLLOUT)
        while view:
            count = self.channel.write(view)
            view = view[count:]
            if not count:
                for _, events in poll.poll():
                    if events & select.POLLIN:
                        self._buffer += self.channel.read()

    def receive(self) -> Any:
        """The next answer."""
        (size,) = HEAD.unpack(self._read(4))
        return pickle.loads(self._read(size))[1]

    def call(self, name: str, *args: Any) -> Any:
        """One call."""
        self.send(name, *args)
        return self.receive()


def _channel(kind: str, argv: list[str]) -> Any:
    make = ProcessChannel if kind == "pipe" else LocalPtyChannel
    return make(argv, name=kind)


def _lane(channel: Channel, *, quiet: bool) -> Lane:
    def send_line(line: str) -> None:
        data = memoryview(line.encode() + b"\n")
        while data:
            data = data[channel.write(data) :]

    if quiet:
        send_line("stty -echo; PS1= PS2=; printf 'rea%s' dy.")
        poll = select.poll()
        poll.register(channel.fileno(), select.POLLIN)
        seen = b""
        while b"ready." not in seen:
            poll.poll()
            seen += channel.read()
    return Lane(channel, send_line, lambda: b"", lambda _: None, "benchmark")


@contextmanager
def _echo_server() -> Iterator[tuple[str, int]]:
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                while data := connection.recv(65536):
                    connection.sendall(data)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(5)


@dataclass(frozen=True)
class Figure:
    """What was measured.

    Attributes:
        name: What.
        kind: Over which channel.
        link: Median seconds of the link, for one operation.
        floor: Median seconds of the floor.
        ratio: Median of the rounds' ratios.
    """

    name: str
    kind: str
    link: float
    floor: float
    ratio: float


Measure = Callable[[], object]


def _times(count: int, operation: Callable[..., object], *args: object) -> Measure:
    def repeated() -> None:
        for _ in range(count):
            operation(*args)

    return repeated


def _calls(link: Link, floor: Floor) -> dict[str, tuple[int, Measure, Measure]]:
    """Calls and processes: for each name how many operations it does, with the link and with the floor."""

    def futures_link() -> None:
        for call in [link.submit_invoke("abs", (number,)) for number in range(FUTURES)]:
            call.result(30)

    def futures_floor() -> None:
        for number in range(FUTURES):
            floor.send("abs", number)
        for _ in range(FUTURES):
            floor.receive()

    return {
        "call": (CALLS, _times(CALLS, link.invoke, "abs", 5), _times(CALLS, floor.call, "abs", 5)),
        "pipelined call": (FUTURES, futures_link, futures_floor),
        "run true": (RUNS, _times(RUNS, link.run, ["true"]), _times(RUNS, floor.call, "run", ["true"])),
    }


def _bulk(link: Link, floor: Floor, address: tuple[str, int]) -> dict[str, tuple[int, Measure, Measure]]:
    """Many bytes: for each name how many operations it does, with the link and with the floor."""
    data = os.urandom(BULK)

    def tunnel() -> None:
        with link.connect(address) as sock:

            def feed() -> None:
                sock.sendall(data)
                sock.shutdown(socket.SHUT_WR)

            feeder = threading.Thread(target=feed)
            feeder.start()
            while sock.recv(65536):
                continue
            feeder.join()

    def tunnel_floor() -> None:
        floor.call("bytes", data)

    return {
        "push 8 MB": (1, lambda: link.invoke("len", data), lambda: floor.call("len", data)),
        "pull 8 MB": (1, lambda: link.evaluate(f"bytes({BULK})"), lambda: floor.call("bytes", BULK)),
        "tunnel echo 8 MB": (1, tunnel, tunnel_floor),
    }


def measure(kind: str, python: str, rounds: int) -> list[Figure]:
    """All figures over one kind of channel."""
    with ExitStack() as stack:
        address = stack.enter_context(_echo_server())
        shell = _channel(kind, ["/bin/sh"])
        stack.callback(shell.close)
        link = stack.enter_context(Link.start(_lane(shell, quiet=kind == "pty"), python=python))
        floor = Floor(kind, python)
        stack.callback(floor.channel.close)
        seconds: dict[str, list[tuple[float, float]]] = {}
        for number in range(rounds + 1):
            for name, (count, ours, theirs) in {**_calls(link, floor), **_bulk(link, floor, address)}.items():
                pair = _seconds(ours) / count, _seconds(theirs) / count
                # The first round warms up.
                if number:
                    seconds.setdefault(name, []).append(pair)
    return [_figure(name, kind, pairs) for name, pairs in seconds.items()]


def _seconds(operation: Measure) -> float:
    started = time.perf_counter()
    operation()
    return time.perf_counter() - started


def _figure(name: str, kind: str, pairs: list[tuple[float, float]]) -> Figure:
    ours, floors = zip(*pairs, strict=True)
    ratio = statistics.median(one / other for one, other in pairs)
    return Figure(name, kind, statistics.median(ours), statistics.median(floors), ratio)


def main() -> None:
    """Measure, print a table, and write the figures where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--json", metavar="FILE", help="write the figures there too")
    parser.add_argument("--kind", choices=["pipe", "pty"], action="append")
    arguments = parser.parse_args()
    figures = [
        figure
        for kind in arguments.kind or ["pipe", "pty"]
        for figure in measure(kind, arguments.python, arguments.rounds)
    ]
    print(f"{'operation':<18}{'channel':<9}{'link':>12}{'floor':>12}{'ratio':>8}")
    for figure in figures:
        print(f"{figure.name:<18}{figure.kind:<9}{_shown(figure.link):>12}{_shown(figure.floor):>12}{figure.ratio:>8.2f}")
    if arguments.json:
        with open(arguments.json, "w", encoding="ascii") as file:
            json.dump([asdict(figure) for figure in figures], file, indent=1)


def _shown(seconds: float) -> str:
    return f"{seconds * 1e6:.1f} us" if seconds < 1e-3 else f"{seconds * 1e3:.2f} ms"


if __name__ == "__main__":
    main()
