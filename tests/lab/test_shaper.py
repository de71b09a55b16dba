"""Whatever goes into one direction of a slow link comes out in order, never early, or is lost."""

from __future__ import annotations

import os
import random
import socket
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crl.errors import UsageError
from crl.lab import Shape
from crl.lab._shaper import QUEUE_SECONDS, Pipe

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    left, right = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    right.settimeout(0)
    left.settimeout(0)
    with left, right:
        yield left, right


def received(end: socket.socket) -> list[bytes]:
    packets = []
    while True:
        try:
            packets.append(end.recv(65536))
        except BlockingIOError:
            return packets


@given(
    gaps=st.lists(st.floats(0, 0.1), min_size=1, max_size=8),
    delay=st.floats(0, 1),
    jitter=st.floats(0, 1),
    rate=st.one_of(st.none(), st.floats(1e4, 1e9)),
)
def test_in_order_and_never_early(
    ends: tuple[socket.socket, socket.socket], gaps: list[float], delay: float, jitter: float, rate: float | None
) -> None:
    left, right = ends
    pipe = Pipe(Shape(delay, jitter, 0.0, rate), left.fileno(), random.Random(1))
    now, sent = 100.0, []
    for number, gap in enumerate(gaps):
        now += gap
        pipe.put(bytes([number]) * 100, now)
        sent.append(now)
    moments = []
    moment = pipe.flush(0.0)
    while moment is not None:
        assert received(right) == []
        following = pipe.flush(moment)
        moments += [(moment, packet[0]) for packet in received(right)]
        moment = following
    assert [number for _moment, number in moments] == list(range(len(gaps)))
    assert all(moment >= sent[number] + delay for moment, number in moments)


def test_loss_is_a_share() -> None:
    pipe = Pipe(Shape(0, 0, 0.25), -1, random.Random(7))
    for _ in range(4000):
        pipe.put(b"x", 1.0)
    assert 2850 < len(pipe.queue) < 3150


def test_a_limited_link_has_a_limited_queue() -> None:
    pipe = Pipe(Shape(0, 0, 0, 8000), -1, random.Random(7))
    for _ in range(1000):
        pipe.put(bytes(1000), 1.0)
    assert len(pipe.queue) == QUEUE_SECONDS + 1
    assert pipe.flush(0.0) == 2.0


def test_a_device_that_is_gone_swallows_packets() -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    try:
        pipe = Pipe(Shape(0, 0, 0), write_end, random.Random(7))
        pipe.put(b"x", 1.0)
        assert pipe.flush(2.0) is None
    finally:
        os.close(write_end)


@pytest.mark.parametrize("shape", [Shape(-1), Shape(0, -1), Shape(0, 0, 1.1), Shape(0, 0, 0, 0)])
def test_impossible_shapes_are_refused(shape: Shape) -> None:
    with pytest.raises(UsageError):
        shape.check()
