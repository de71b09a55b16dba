"""Invariant: every message arrives once, whole and in order, whatever happens to frames on the way, both ways."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crl.link.wire import frames, messages
from crl.link.wire.errors import NotTransferable, ProtocolError
from crl.link.wire.receiving import EARLY_LIMIT, LARGE, MAX_NAKS
from crl.link.wire.sending import MESSAGES_OPEN
from crl.link.wire.session import NUMBER, Session

SIZES = [0, 1, 20, 63, 64, 65, 200, 1000]


class Wire:
    """Two sessions and what happens to the frames between them."""

    def __init__(self, seed: int, trouble: float) -> None:
        self.random = random.Random(seed)
        self.trouble = trouble
        self.ends = [Session(window=2000, frame_limit=64), Session(window=2000, frame_limit=64)]
        self.received: list[list[bytes]] = [[], []]

    def move(self, source: int) -> None:
        """Carry what one end may write to the other: lost, doubled, damaged or with noise in between."""
        arriving = b""
        for frame in self.ends[source].outgoing():
            fate = self.random.random()
            if fate >= self.trouble:
                arriving += frame
            elif fate < self.trouble / 4:
                arriving += frame + frame
            elif fate < self.trouble / 2:
                damaged = bytearray(frame)
                damaged[self.random.randrange(len(frame))] ^= 1 << self.random.randrange(8)
                arriving += bytes(damaged)
            elif fate < self.trouble * 3 / 4:
                arriving += self.random.choice([b"kernel: eth0 is down\r\n", frames.MAGIC, frame[:50]])
        while arriving:
            count = self.random.randint(1, 300)
            self.received[1 - source] += self.ends[1 - source].receive(arriving[:count])
            arriving = arriving[count:]

    def settle(self, expected: list[int]) -> None:
        """Heartbeats until all is there."""
        self.trouble = min(self.trouble, 0.1)
        for token in range(400):
            if [len(messages) for messages in self.received] == expected:
                return
            for end in self.ends:
                end.ping(token)
            for source in (0, 1):
                self.move(source)
        raise AssertionError(f"{[len(m) for m in self.received]} messages of {expected} after 400 heartbeats")


posts = st.lists(st.tuples(st.integers(0, 1), st.sampled_from(SIZES), st.sampled_from([None, 5, 6])), max_size=40)


@settings(max_examples=60, deadline=None)
@given(posts, st.integers(), st.sampled_from([0.0, 0.1, 0.4]))
def test_every_message_arrives_once_and_whole(
    sent: list[tuple[int, int, int | None]], seed: int, trouble: float
) -> None:
    wire = Wire(seed, trouble)
    messages: list[list[tuple[int | None, bytes]]] = [[], []]
    for index, (source, size, order) in enumerate(sent):
        message = b"%06d" % index + bytes(size)
        messages[1 - source].append((order, message))
        wire.ends[source].post(message, order)
        if wire.random.random() < 0.3:
            wire.move(source)
    wire.settle([len(expected) for expected in messages])
    for expected, received in zip(messages, wire.received, strict=True):
        assert sorted(received) == sorted(message for _, message in expected)
        for order in (5, 6):
            posted = [message for of, message in expected if of == order]
            assert [message for message in received if message in posted] == posted
        small = [message for of, message in expected if of is None and len(message) <= 64]
        assert [message for message in received if message in small] == small


def test_a_small_message_waits_for_one_frame_of_a_large_one_only() -> None:
    session = Session(window=100_000, frame_limit=1000)
    session.post(bytes(50_000))
    first = session.outgoing()
    assert len(first) == 50
    session.post(bytes(80_000))
    session.post(b"quick")
    assert frames.Decoder().feed(session.outgoing()[0])[0].payload == b"quick"


def test_many_large_messages_at_once_stay_below_what_the_peer_keeps() -> None:
    sender, receiver = Session(frame_limit=1000, max_message=100_000), Session(frame_limit=1000, max_message=100_000)
    sent = [bytes([index % 256]) * 60_000 for index in range(3 * MESSAGES_OPEN)]
    for message in sent:
        sender.post(message)
    received: list[bytes] = []
    while len(received) < len(sent):
        received += receiver.receive(b"".join(sender.outgoing()))
        sender.receive(b"".join(receiver.outgoing()))
    assert received == sent


def test_a_message_that_the_peer_would_refuse_is_not_sent() -> None:
    session = Session(max_message=1000)
    with pytest.raises(NotTransferable, match="1001 bytes"):
        session.post(bytes(1001))
    assert session.outgoing() == []


def _data(seq: int, payload: bytes, flags: int = frames.WHOLE, message: int = 1, ack: int = 1) -> bytes:
    return frames.encode(frames.DATA, flags, 1, message, seq, ack, payload)


@pytest.mark.parametrize(
    "lie",
    [
        _data(1, b"x", ack=5),
        _data(1, b"x", flags=frames.LAST),
        _data(1, b"", flags=frames.FIRST),
        _data(1, b"x", flags=16),
        _data(1, b"x", flags=frames.FIRST) + _data(2, b"x", flags=frames.FIRST),
        frames.encode(frames.PING, 0, 1, 0, 0, 1, b"short"),
    ],
    ids=["acks what was not sent", "middle of nothing", "empty piece", "unknown flag", "begins twice", "odd ping"],
)
def test_what_damage_cannot_explain_is_a_violation(lie: bytes) -> None:
    with pytest.raises(ProtocolError):
        Session().receive(lie)


def test_unfinished_messages_are_bounded() -> None:
    session = Session(max_message=10_000)
    session.receive(_data(1, bytes(9_000), flags=frames.FIRST, message=1))
    with pytest.raises(ProtocolError, match="exceed"):
        session.receive(_data(2, bytes(2_000), flags=frames.FIRST, message=2))


def test_a_flood_of_questions_gets_one_answer() -> None:
    session = Session()
    session.post(bytes(30_000))
    (frame,) = session.outgoing()
    nak = frames.encode(frames.NAK, 0, 1, 0, 0, 1, NUMBER.pack(1) * 30_000)
    ping = frames.encode(frames.PING, 0, 1, 0, 0, 1, NUMBER.pack(1) * 2)
    session.receive(nak * 3 + ping * 1000)
    answer = session.outgoing()
    assert answer.count(frame) == 1
    assert len(answer) == 2
    assert session.outgoing() == []


def test_frames_far_ahead_are_kept_within_bounds() -> None:
    session = Session()
    for seq in range(2, 1_000):
        session.receive(_data(seq * 7, bytes(100_000)))
    assert session.receiver._early_bytes <= EARLY_LIMIT
    assert len(frames.Decoder().feed(session.outgoing()[0])[0].payload) <= MAX_NAKS * NUMBER.size


def test_frames_of_another_epoch_are_not_ours() -> None:
    session = Session(epoch=2)
    stale = frames.encode(frames.BYE, 0, 1, 0, 0, 1, b"") + _data(1, b"old")
    assert session.receive(stale + frames.encode(frames.DATA, frames.WHOLE, 2, 1, 1, 1, b"new")) == [b"new"]
    assert not session.ended


def test_nothing_follows_a_bye() -> None:
    session = Session()
    session.post(b"before")
    session.outgoing()
    session.part()
    session.post(b"after")
    session.ping(1)
    assert [frames.Decoder().feed(frame)[0].kind for frame in session.outgoing()][-1] == frames.BYE
    session.post(b"later")
    session.ping(2)
    assert session.outgoing() == []


@pytest.mark.parametrize("kind", [messages.CALL, messages.DATA, messages.RESULT])
def test_a_large_message_is_whole_although_a_piece_was_interrupted(kind: int) -> None:
    """The bytes of a piece were put there when an exception struck, and nobody had counted them."""
    message = messages.pack(kind, 7, random.Random(kind).randbytes(3 * LARGE))
    here, there = Session(window=8 * LARGE, frame_limit=65536), Session()
    here.post(message)
    sent = here.outgoing()
    assert there.receive(b"".join(sent[:5])) == []
    (unfinished,) = there.receiver._open.values()
    unfinished.data += b"half a piece"
    there.recover()
    assert there.receive(b"".join(sent[5:-1])) == []
    (whole,) = there.receive(sent[-1])
    assert whole == message
    arrived, number, body = messages.unpack(whole)
    assert (arrived, number) == (kind, 7)
    assert isinstance(body, bytearray if kind == messages.CALL else bytes)
    assert body == (message[messages.HEAD.size :] if kind == messages.RESULT else message)
