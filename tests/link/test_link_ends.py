"""Connections from a target that end in this program: as exact, bounded and short-lived as those with a socket here."""

from __future__ import annotations

import os
import queue
import socket
import threading
from collections.abc import Callable

import pytest

from crl.link import End, Link
from crl.link.wire import messages
from tests.link.peers import Shell, eventually

MANY = 5_000_000


def exactly(sock: socket.socket, count: int) -> bytes:
    data = bytearray()
    while len(data) < count and (piece := sock.recv(count - len(data))):
        data += piece
    return bytes(data)


def send_all(end: End, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[end.send(view) :]


def reach(address: tuple[str, int]) -> socket.socket:
    return socket.create_connection(address, 60)


def send_until_stuck(end: End | socket.socket) -> int:
    sent = 0
    while True:
        try:
            sent += end.send(bytes(100_000))
        except TimeoutError:
            return sent


@pytest.fixture
def ends() -> queue.SimpleQueue[End]:
    return queue.SimpleQueue()


def test_bytes_are_exact_both_ways_at_once(link: Link, ends: queue.SimpleQueue[End]) -> None:
    there, back = os.urandom(MANY), os.urandom(MANY)
    with link.reverse(("127.0.0.1", 0), ends.put) as tunnel, reach(tunnel.address) as sock:
        assert "to this program: listening, " in repr(tunnel)
        end = ends.get(timeout=60)
        assert tunnel.connections == 1
        got: list[bytes] = []
        threads = [
            threading.Thread(target=sock.sendall, args=(there,)),
            threading.Thread(target=send_all, args=(end, back)),
            threading.Thread(target=lambda: got.append(exactly(sock, MANY))),
        ]
        for thread in threads:
            thread.start()
        read = end.recv(16) + end.recv(1)
        while len(read) < MANY:
            read += end.recv(100_000)
        for thread in threads:
            thread.join(60)
        assert (read, got) == (there, [back])
        sock.shutdown(socket.SHUT_WR)
        assert end.recv(1) == end.recv(1) == b""
        end.close()
        assert sock.recv(1) == b""
        assert eventually(lambda: tunnel.connections == 0)
    assert eventually(lambda: not link._inputs)
    assert eventually(lambda: link.engine.busy_streams == 0)


def test_who_is_slow_holds_the_other_side_back(link: Link, ends: queue.SimpleQueue[End]) -> None:
    with link.reverse(("127.0.0.1", 0), ends.put) as tunnel, reach(tunnel.address) as sock:
        end = ends.get(timeout=60)
        end.settimeout(0.3)
        with pytest.raises(TimeoutError):
            end.recv(1)
        sent = send_until_stuck(end)
        # What the target may have unused, and what its socket holds.
        assert messages.STREAM_CREDIT <= sent < 64 * messages.STREAM_CREDIT
        assert len(exactly(sock, sent)) == sent
        end.settimeout(60)
        assert end.send(b"again") == 5
        assert exactly(sock, 5) == b"again"
        sock.settimeout(0.3)
        assert send_until_stuck(sock) > 0
        # At once, for more may be coming.
        held = sum(len(piece) for _, piece in list(end._input._pieces))
        assert held <= messages.STREAM_CREDIT + 1000 * messages.HEAD.size
        end.close()


@pytest.mark.parametrize("how", ["close", "drop"])
def test_closing_wakes_who_waits_and_ends_the_connection(link: Link, ends: queue.SimpleQueue[End], how: str) -> None:
    with link.reverse(("127.0.0.1", 0), ends.put) as tunnel, reach(tunnel.address) as sock:
        end = ends.get(timeout=60)
        got: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        reader = threading.Thread(target=lambda: got.put(end.recv(1)))
        reader.start()
        assert eventually(lambda: bool(end._input._waiters))
        (end.close if how == "close" else tunnel.drop)()
        assert got.get(timeout=60) == b""
        reader.join(60)
        with pytest.raises(BrokenPipeError):
            end.send(b"x")
        end.close()
        if how == "close":
            assert sock.recv(1) == b""
            # What it says now is for nobody.
            sock.sendall(b"x")
        with pytest.raises(ConnectionResetError):
            sock.recv(1) if how == "drop" else send_for_ever(sock)
        assert eventually(lambda: tunnel.connections == 0)
    assert eventually(lambda: not link._inputs)


def send_for_ever(sock: socket.socket) -> None:
    while True:
        try:
            sock.sendall(b"x")
        except BrokenPipeError as error:
            raise ConnectionResetError from error


def test_what_is_closed_by_whoever_is_given_it_has_an_end_and_is_not_reset(link: Link) -> None:
    with link.reverse(("127.0.0.1", 0), End.close) as tunnel, reach(tunnel.address) as sock:
        assert sock.recv(1) == b""
        # Behind whatever else the target was told.
        link.evaluate("1")
        sock.sendall(b"x")


SLOW_TO_GIVE = """
import sys, threading
gate = threading.Event()
services = sys.modules["_crl"].program.calls.services
give = services["tunnel.give"]
def late(*args):
    gate.wait(60)
    return give(*args)
services["tunnel.give"] = late
"""


def test_a_tunnel_that_is_closed_while_it_is_given_more_keeps_nothing(
    link: Link, ends: queue.SimpleQueue[End]
) -> None:
    with link.reverse(("127.0.0.1", 0), ends.put) as tunnel:
        link.evaluate(SLOW_TO_GIVE)
        with reach(tunnel.address):
            ends.get(timeout=60).close()
    # What it was given arrives when it listens no more.
    link.evaluate("gate.set()")
    assert eventually(lambda: not link._inputs)


def test_a_lost_link_is_a_broken_connection(make_shell: Callable[..., Shell], ends: queue.SimpleQueue[End]) -> None:
    link = Link.start(make_shell().lane(), timeout=60)
    tunnel = link.reverse(("127.0.0.1", 0), ends.put)
    with reach(tunnel.address):
        end = ends.get(timeout=60)
        os.kill(link.facts.pid, 9)
        with pytest.raises(ConnectionResetError):
            end.recv(1)
        with pytest.raises(ConnectionResetError):
            end.send(b"x")
        end.close()
    assert link.close(20)
    assert eventually(lambda: tunnel.connections == 0)
