"""Invariant: whatever ends terminals and interrupts methods, every message arrives once, whole and in its order."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest

from crl.link.wire import frames
from crl.link.wire.errors import ProtocolError
from crl.link.wire.session import Session

ROUNDS = 120
LONG_ROUNDS = 4000


class Interruption(BaseException):
    """What a timer of the test raises anywhere."""


class Interrupter:
    """Runs a function and raises after some instructions of the session's own code."""

    def __init__(self, instructions: int) -> None:
        self.left = instructions
        self.raised = False

    def trace(self, frame: FrameType, event: str, _arg: object) -> Any:
        """A trace function; see `sys.settrace`."""
        if "/link/wire/" not in frame.f_code.co_filename:
            return None
        frame.f_trace_opcodes = True
        if event == "opcode" and not self.raised:
            self.left -= 1
            if self.left <= 0:
                self.raised = True
                raise Interruption
        return self.trace

    def run(self, function: Callable[[], Any]) -> Any:
        """The function's result; raises `Interruption` when its time comes."""
        before = sys.gettrace()
        sys.settrace(self.trace)
        try:
            return function()
        finally:
            sys.settrace(before)


class Pair:
    """Two sessions whose terminal may end at any byte, and whose methods may be interrupted at any instruction."""

    def __init__(self, seed: int, *, cuts: float, interruptions: float) -> None:
        self.random = random.Random(seed)
        self.cuts = cuts
        self.interruptions = interruptions
        self.ends = [Session(window=3000, frame_limit=100) for _ in range(2)]
        self.received: list[list[bytes]] = [[], []]
        self.flying = [b"", b""]
        self.happened = 0
        self.settling = False

    def use(self, end: int, function: Callable[[], Any], otherwise: Any) -> Any:
        """Call a method of one end as an engine does: after an interruption its state is mended first."""
        session = self.ends[end]
        if session.interrupted:
            session.recover()
            session.ping(1)
        if self.random.random() >= self.interruptions:
            return function()
        try:
            return Interrupter(self.random.randint(1, 400)).run(function)
        except Interruption:
            session.interrupted = True
            self.happened += 1
            return otherwise

    def post(self, end: int, message: bytes, order: int | None) -> bool:
        """Post a message; False when it may not have been posted."""
        before = self.happened
        if order is None and self.random.random() < 0.5:
            frame = self.use(end, lambda: self.ends[end].at_once(message), None)
            if frame is not None or before != self.happened:
                self.flying[end] += frame or b""
                return before == self.happened
        self.use(end, lambda: self.ends[end].post(message, order), None)
        return before == self.happened

    def move(self, source: int) -> None:
        """Carry bytes one way, cut anywhere."""
        self.flying[source] += b"".join(self.use(source, self.ends[source].outgoing, []))
        count = len(self.flying[source]) if self.settling else self.random.randint(0, len(self.flying[source]))
        data, self.flying[source] = self.flying[source][:count], self.flying[source][count:]
        target = 1 - source
        self.use(target, lambda: self.ends[target].take(data), None)
        if not self.ends[target].interrupted:
            self.drain(target)
        if self.random.random() < self.cuts:
            self.cut()

    def drain(self, end: int) -> None:
        """Take what has been delivered."""
        while self.ends[end].delivered:
            self.received[end].append(self.ends[end].delivered.popleft()[2])

    def cut(self) -> None:
        """The terminal ends with all that was in it; a new one takes its place."""
        self.happened += 1
        self.flying = [b"", b""]
        epoch = self.ends[0].epoch + 1
        known = self.random.random() < 0.5
        self.ends[1].resume(epoch, self.ends[0].expected if known else None)
        self.ends[0].resume(epoch)
        beside = self.random.random() < 0.5
        for end in self.ends:
            end.sender.go_beside(beside)
            end.greet(b"again")

    def settle(self) -> None:
        """Heartbeats until all that was posted is there."""
        self.cuts = self.interruptions = 0.0
        self.settling = True
        for token in range(300):
            for end in (0, 1):
                self.use(end, lambda: None, None)
                self.ends[end].ping(token)
                self.move(end)
            senders = [end.sender for end in self.ends]
            if all(sender.backlog == 0 and sender._unacked_bytes == 0 for sender in senders):
                return
        raise AssertionError("messages are still under way after 300 heartbeats")


def _exchange(pair: Pair) -> None:
    """Post at random on both ends, and look at what arrives."""
    sure: list[list[bytes]] = [[], []]
    perhaps: list[set[bytes]] = [set(), set()]
    orders: dict[bytes, int | None] = {}
    for index in range(pair.random.randint(5, 60)):
        end = pair.random.randint(0, 1)
        order = pair.random.choice([None, 5, 6])
        message = b"%05d" % index + bytes(pair.random.choice([0, 10, 94, 95, 96, 300, 2000]))
        orders[message] = order
        if pair.post(end, message, order):
            sure[1 - end].append(message)
        else:
            perhaps[1 - end].add(message)
        for source in (0, 1):
            if pair.random.random() < 0.5:
                pair.move(source)
    pair.settle()
    for end in (0, 1):
        received = pair.received[end]
        assert len(set(received)) == len(received), "a message arrived twice"
        assert set(sure[end]) <= set(received) <= set(sure[end]) | perhaps[end]
        for order in (5, 6):
            of_order = [message for message in received if orders[message] == order]
            assert of_order == sorted(of_order, key=lambda message: message[:5])


@pytest.mark.parametrize("seed", range(ROUNDS))
def test_a_message_survives_terminals_and_interruptions(seed: int) -> None:
    _exchange(Pair(seed, cuts=0.1, interruptions=0.3))


@pytest.mark.long
def test_a_message_survives_terminals_and_interruptions_in_the_long_run() -> None:
    happened = 0
    for seed in range(ROUNDS, LONG_ROUNDS):
        pair = Pair(seed, cuts=0.1, interruptions=0.3)
        _exchange(pair)
        happened += pair.happened
    assert happened > 10 * ROUNDS


def test_nothing_but_the_greeting_goes_out_before_the_peer_has_said_what_it_has() -> None:
    session = Session()
    session.post(b"first")
    session.outgoing()
    session.resume(2)
    session.greet(b"again")
    session.post(b"second")
    assert [frames.Decoder().feed(frame)[0].kind for frame in session.outgoing()] == [frames.HELLO]
    assert not session.has_outgoing
    session.receive(frames.encode(frames.HELLO, 0, 2, 0, 0, 1, b""))
    sent = [frames.Decoder().feed(frame)[0] for frame in session.outgoing()]
    assert [(frame.epoch, frame.seq, frame.payload) for frame in sent] == [(2, 1, b"first"), (2, 2, b"second")]


def test_what_the_peer_has_is_not_sent_again() -> None:
    session = Session()
    for message in (b"first", b"second"):
        session.post(message)
    session.outgoing()
    session.resume(7, peer_has=2)
    sent = [frames.Decoder().feed(frame)[0] for frame in session.outgoing()]
    assert [frame.payload for frame in sent] == [b"second"]


def test_a_peer_that_claims_what_was_never_sent_breaks_the_protocol() -> None:
    session = Session()
    with pytest.raises(ProtocolError, match="was acknowledged"):
        session.resume(2, peer_has=5)


@pytest.mark.parametrize(
    ("delay", "rate", "low", "high"),
    [(0.05, 80e6, 4e6, 8.4e6), (0.0001, 80e6, 128e3, 900e3), (0.05, 10e3, 4096, 8192)],
    ids=["a long way", "a short way", "a slow way"],
)
def test_the_window_follows_the_way(delay: float, rate: float, low: float, high: float) -> None:
    now = 0.0
    sender, receiver = Session(clock=lambda: now), Session()

    def carry() -> None:
        nonlocal now
        data = b"".join(sender.outgoing())
        now += delay + len(data) / rate
        receiver.receive(data)
        sender.receive(b"".join(receiver.outgoing()))

    sender.ping(1)
    carry()
    for _ in range(max(100, int(rate / 20_000))):
        sender.post(bytes(32 * 1024 - 64), 1)
    while sender.has_outgoing:
        carry()
    assert low <= sender.sender.window <= high
