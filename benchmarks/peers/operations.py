"""Everything that is measured, made from the primitives of a peer in the same way for all.

Each function is one operation that the runner asks for by name; it returns a number, or several by name: seconds, calls
a second, MB a second (of 10**6 bytes) or bytes, as its first sentence says.
"""

from __future__ import annotations

import functools
import os
import pickle
import shutil
import statistics
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks import target
from benchmarks.peers.base import MIB, NotThere, Peer

__all__: list[str] = []

Figures = dict[str, float]
REST = 2.0
SPACING = 0.001


def _seconds(function: Callable[..., Any], *args: Any) -> float:
    started = time.perf_counter()
    function(*args)
    return time.perf_counter() - started


def _special(peer: Peer, name: str, why: str) -> Any:
    found = getattr(peer, name, None)
    if found is None:
        raise NotThere(why)
    return found


# -- connections -------------------------------------------------------------------------------------------------------


def hold(peer: Peer, place: str) -> float:
    """Seconds to open the connection that the next operations use."""
    peer.close()
    peer.place = place
    seconds = _seconds(peer.open, place)
    peer.call("add", 1)
    return seconds


def drop(peer: Peer) -> None:
    """End that connection."""
    peer.close()


def connect(peer: Peer, place: str) -> float:
    """Seconds from nothing to the first result."""
    peer.close()
    started = time.perf_counter()
    try:
        peer.open(place)
        peer.call("add", 1)
        return time.perf_counter() - started
    finally:
        peer.close()


def special(peer: Peer, name: str, **arguments: Any) -> Any:
    """What only some peers can tell; as their own method says."""
    return _special(peer, name, "not a matter of this peer")(**arguments)


def footprint(peer: Peer) -> Figures:
    """Bytes, interpreters and files on the target, with this one connection open."""
    try:
        peer.open("alpha")
        found = peer.call("footprint")
        return {"rss": found["rss"] * 1024, "interpreters": found["interpreters"], "files": found["files"]}
    finally:
        peer.close()


# -- calls -------------------------------------------------------------------------------------------------------------


def call(peer: Peer) -> float:
    """Median seconds of a small call."""
    return peer.call_time(peer.calls)


def futures(peer: Peer) -> float:
    """Small calls a second when they are sent before the answers come."""
    count = peer.calls * 3

    def all_of_them() -> None:
        waiting = [peer.submit("add", number) for number in range(count)]
        for number, answer in enumerate(waiting):
            assert answer() == number + 1

    return count / _seconds(all_of_them)


def threads(peer: Peer, number: int) -> float:
    """Small calls a second of so many threads at once."""
    count = max(peer.calls // 3, 5)
    lanes = [peer.lane() for _ in range(number)]
    ready = threading.Barrier(number + 1)

    def one(lane: Peer) -> None:
        lane.call("add", 1)
        ready.wait(30)
        for value in range(count):
            assert lane.call("add", value) == value + 1

    workers = [threading.Thread(target=one, args=(lane,)) for lane in lanes]
    for worker in workers:
        worker.start()
    ready.wait(60)

    def end() -> None:
        for worker in workers:
            worker.join()

    return number * count / _seconds(end)


def beside(peer: Peer, count: int) -> Figures:
    """Worst seconds of so many quick calls: idle, beside one that sleeps, beside one that computes."""
    quick, slow = peer.lane(), peer.lane()
    quick.call("add", 1)
    slow.call("add", 1)
    found = {"idle": _worst(quick, count, lambda: True)}
    for name in ("rest", "spin"):
        thread = threading.Thread(target=slow.call, args=(name, REST))
        thread.start()
        time.sleep(0.05)
        found[name] = _worst(quick, count, thread.is_alive)
        thread.join()
    return found


def _worst(lane: Peer, count: int, wanted: Callable[[], bool]) -> float:
    worst = 0.0
    for number in range(count):
        if not wanted():
            break
        worst = max(worst, _seconds(lane.call, "add", number))
        time.sleep(SPACING)
    return worst


def run(peer: Peer, argv: Sequence[str] = ("true",)) -> float:
    """Median seconds of running ``true``, or another command, with its output and status."""
    command = getattr(peer, "run", None) or functools.partial(peer.call, "run")
    return statistics.median(_seconds(command, list(argv)) for _ in range(max(3, peer.calls // 20)))


def fetch(peer: Peer, kind: str) -> float:
    """Seconds to get a value: ``ints`` is a list of 1e5, ``texts`` a dict of 1e4."""
    return _seconds(peer.call, "value", kind)


def codec(peer: Peer, kind: str) -> Figures:
    """Seconds to encode and decode a value here, by the link's codec and by pickle 5."""
    encode, decode = _special(peer, "codec", "only crl's own codec is measured")
    value = VALUES[kind]
    repeat = 2000 if kind == "tiny" else 3
    ours, pickled = encode(value), pickle.dumps(value, 5)
    assert decode(ours) == value
    found = {"ours": 0.0, "pickle": 0.0}
    for _ in range(repeat):
        found["pickle"] += _seconds(pickle.dumps, value, 5) + _seconds(pickle.loads, pickled)
        found["ours"] += _seconds(encode, value) + _seconds(decode, ours)
    return {name: seconds / repeat for name, seconds in found.items()}


VALUES: dict[str, Any] = {
    "ints": list(range(100_000)),
    "texts": {f"key {n}": f"value {n}" for n in range(10_000)},
    "records": [{"id": n, "name": f"host {n}", "up": True, "load": n / 7, "tags": "a,b"} for n in range(10_000)],
    "tiny": (7, "add", (12345,), None),
}


# -- many bytes --------------------------------------------------------------------------------------------------------


def _rate(count: int, seconds: float) -> float:
    return count / seconds / 1e6


def _local_file(peer: Peer, count: int) -> str:
    path = Path(peer.settings.folder, f"random-{count}")
    if not path.exists():
        with path.open("wb") as file:
            for _ in range(0, count, MIB):
                file.write(os.urandom(MIB))
    return str(path)


def _remote(peer: Peer, name: str) -> str:
    """A path on the target; users of different places do not meet there."""
    return f"/tmp/benchmark-{os.getpid()}-{peer.place}-{name}"


def _remote_file(peer: Peer, count: int) -> str:
    path = _remote(peer, str(count))
    peer.call("make", path, count)
    return path


@contextmanager
def _moving(peer: Peer, count: int | None) -> Iterator[int]:
    """How many bytes to move: no more than the peer does in bearable time."""
    before = peer.bulk
    peer.bulk = min(before, count or before)
    try:
        yield peer.bulk
    finally:
        peer.bulk = before


def push(peer: Peer, count: int | None = None, way: str = "push") -> float:
    """MB a second of a file of random bytes to the target."""
    transfer = _special(peer, way, "has no such way")
    with _moving(peer, count) as size:
        local, remote = _local_file(peer, size), _remote(peer, "pushed")
        seconds = _seconds(transfer, local, remote)
        assert len(peer.call("read", remote, size - 10, 20)) == 10, "the file did not arrive whole"
        return _rate(size, seconds)


def pull(peer: Peer, count: int | None = None, way: str = "pull") -> float:
    """MB a second of a file of random bytes from the target."""
    transfer = _special(peer, way, "has no such way")
    with _moving(peer, count) as size:
        remote, local = _remote_file(peer, size), f"{peer.settings.folder}/pulled"
        seconds = _seconds(transfer, remote, local)
        assert os.stat(local).st_size == size, "the file did not arrive whole"
        os.unlink(local)
        return _rate(size, seconds)


def value_out(peer: Peer) -> float:
    """MB a second of a bytes value as an argument."""
    data = os.urandom(peer.bulk)
    started = time.perf_counter()
    assert peer.call("size", data) == len(data)
    return _rate(len(data), time.perf_counter() - started)


def value_in(peer: Peer) -> float:
    """MB a second of a bytes value as a result."""
    peer.call("blob", peer.bulk)
    started = time.perf_counter()
    data = peer.call("blob", peer.bulk)
    assert len(data) == peer.bulk
    return _rate(peer.bulk, time.perf_counter() - started)


def tree(peer: Peer, count: int) -> Figures:
    """Seconds for a folder of so many files of 1 KiB, there and back."""
    local, remote = Path(peer.settings.folder, "tree"), _remote(peer, "tree")
    back = Path(peer.settings.folder, "back")
    if not local.exists():
        local.mkdir()
        for number in range(count):
            (local / f"file{number}").write_bytes(os.urandom(1024))
    found = {"push": _seconds(peer.push_tree, str(local), remote)}
    assert len(peer.call("names", remote)) == count, "not all files arrived"
    found["pull"] = _seconds(peer.pull_tree, remote, str(back))
    there = sum(1 for path in back.rglob("file*"))
    shutil.rmtree(back)
    assert there == count, "not all files came back"
    return found


@contextmanager
def _transfer(peer: Peer, direction: str, files: bool) -> Iterator[threading.Thread]:
    """A transfer under way in another thread."""
    way = direction if files else f"pipe_{direction}"
    transfer = _special(peer, way, "has no such way")
    local = _local_file(peer, peer.bulk)
    remote = _remote_file(peer, peer.bulk) if direction == "pull" else _remote(peer, "during")
    ends = (local, remote) if direction == "push" else (remote, f"{peer.settings.folder}/during")
    failures: list[BaseException] = []

    def move() -> None:
        try:
            transfer(*ends)
        except BaseException as error:  # noqa: BLE001 - told by the operation that waits for this thread
            failures.append(error)

    thread = threading.Thread(target=move)
    thread.start()
    try:
        yield thread
    finally:
        thread.join()
    if failures:
        raise failures[0]


def during(peer: Peer, direction: str, files: bool) -> Figures:
    """Seconds of a small call: median when idle, median and 95th of a hundred during a transfer."""
    times: list[float] = []
    idle = []
    for number in range(200):
        time.sleep(SPACING)
        idle.append(_seconds(peer.call, "add", number))
    with _transfer(peer, direction, files) as thread:
        while thread.is_alive():
            times.append(_seconds(peer.call, "add", 1))
            time.sleep(SPACING)
    times.sort()
    return {
        "idle": statistics.median(idle),
        "median": statistics.median(times),
        "p95": times[min(len(times) - 1, round(len(times) * 0.95))],
        "worst": times[-1],
    }


def growth(peer: Peer, direction: str, files: bool) -> Figures:
    """Bytes by which both ends grow during a transfer; to be asked of a process that has done nothing else."""
    try:
        peer.open("alpha")
        peer.call("add", 1)
        _local_file(peer, peer.bulk)
        local_before, remote_before = target.memory(1)[0], peer.call("memory", 1)[0]
        with _transfer(peer, direction, files):
            pass
        local, remote = target.memory(0)[1], peer.call("memory", 0)[1]
        return {"controller": (local - local_before) * 1024.0, "target": (remote - remote_before) * 1024.0}
    finally:
        peer.close()


def tunnel(peer: Peer, port: int) -> Figures:
    """Median seconds of one byte there and back, and MB a second each way, through a tunnel."""
    size = min(peer.bulk, 16 * MIB)
    with peer.tunnel(port) as sock:
        sock.sendall(b"E")
        times = []
        for _ in range(300):
            started = time.perf_counter()
            sock.sendall(b"x")
            sock.recv(1)
            times.append(time.perf_counter() - started)
    with peer.tunnel(port) as sock:
        data = os.urandom(size)
        started = time.perf_counter()
        sock.sendall(b"S%-12d" % size)
        sock.sendall(data)
        assert sock.recv(1) == b"."
        push_rate = _rate(size, time.perf_counter() - started)
    with peer.tunnel(port) as sock:
        left = size
        started = time.perf_counter()
        sock.sendall(b"G%-12d" % size)
        while left:
            left -= len(sock.recv(262144)) or left
        pull_rate = _rate(size, time.perf_counter() - started)
    return {"trip": statistics.median(times), "push": push_rate, "pull": pull_rate}
