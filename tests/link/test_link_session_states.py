"""Invariant: over a stream that loses and damages, every message arrives once and in the order of its order."""

from __future__ import annotations

import random
import sys
from collections import Counter
from collections.abc import Callable

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from crl.link.wire import frames
from crl.link.wire.errors import ProtocolError
from crl.link.wire.session import Session

KINDS = {getattr(frames, name): name for name in ("DATA", "ACK", "NAK", "PING", "PONG", "HELLO", "BYE")}
FRAME_SIZE, WINDOW = 64, 600
OURS = [b"question", bytes(150), b"second question"]
THEIRS = [b"answer", b"a" * 200, b"second", b"third"]


def parsed(data: bytes) -> frames.Frame:
    """One frame, as anybody can read it."""
    (frame,) = frames.Decoder().feed(data)
    return frame


class Conversation:
    """Two sessions that talk; what goes to ours is noted, and at each step it can be stopped.

    Args:
        steps: After how many steps ours stops listening to the conversation.
    """

    def __init__(self, steps: int) -> None:
        self.ours = Session(window=WINDOW, frame_limit=FRAME_SIZE)
        self.theirs = Session(window=WINDOW, frame_limit=FRAME_SIZE)
        self.arrived: list[bytes] = []
        self.left = steps
        self.sent = 0
        self.noted: list[bytes] = []

    def run(self) -> Conversation:
        """Every kind of frame goes each way at least once: a frame is lost, so that it is asked for."""
        self.theirs.greet(b"hello")
        self.exchange()
        self.ours.post(OURS[0])
        self.ours.post(OURS[1])
        self.exchange(lose=1)
        for message in THEIRS:
            self.theirs.post(message, 5 if len(message) > FRAME_SIZE else None)
        self.exchange(lose=1)
        self.theirs.ping(7)
        self.ours.ping(8)
        self.exchange()
        self.ours.post(OURS[2])
        self.exchange()
        self.exchange()
        for _ in range(4):
            self.theirs.ping(9)
            self.exchange()
        for _ in range(12):
            self.ours.post(bytes(40), 6)
        self.exchange()
        self.theirs.part()
        self.exchange()
        return self

    def exchange(self, lose: int = 0) -> None:
        """Move what both have; the first frames of theirs get lost."""
        if self.left <= 0:
            return
        for number, data in enumerate(self.ours.outgoing()):
            frame = parsed(data)
            self.sent = max(self.sent, frame.seq)
            # Losing one of ours makes them ask for it.
            if not (lose and number == 0):
                self.theirs.receive(data)
        for number, data in enumerate(self.theirs.outgoing()):
            self.noted.append(data)
            if number >= lose and self.left > 0:
                self.left -= 1
                self.arrived += self.ours.receive(data)


WHOLE = Conversation(10_000).run()
FRAMES = WHOLE.noted


def test_the_conversation_has_every_kind_of_frame() -> None:
    assert {parsed(data).kind for data in FRAMES} == set(KINDS)
    assert WHOLE.arrived.count(THEIRS[1]) == 1
    assert Counter(WHOLE.arrived) == Counter(THEIRS)
    assert WHOLE.ours.ended
    assert WHOLE.ours.hello == b"hello"


def _names() -> list[str]:
    return [f"{index}-{KINDS[parsed(data).kind]}" for index, data in enumerate(FRAMES)]


@pytest.mark.parametrize("data", FRAMES, ids=_names())
@pytest.mark.parametrize("times", [1, 3])
def test_every_kind_of_frame_in_every_state(data: bytes, times: int) -> None:
    frame = parsed(data)
    for state in range(len(FRAMES) + 1):
        conversation = Conversation(state).run()
        ours = conversation.ours
        over = ours.ended
        got = list(conversation.arrived)
        heard = ours.heard
        try:
            for _ in range(times):
                got += ours.receive(data)
        except ProtocolError:
            # What acknowledges more than was sent is the one thing that an honest peer never says.
            assert frame.ack > conversation.sent + 1
            assert not over
            continue
        if not over:
            assert frame.ack <= conversation.sent + 1
            assert ours.heard == heard + (1 if frame.kind == frames.BYE else times)
            assert ours.ended == (frame.kind == frames.BYE)
        assert not Counter(got) - Counter(THEIRS), f"{frame.kind} in state {state} gives {got}"
        _answers_are_few(ours, frame)


def _answers_are_few(session: Session, frame: frames.Frame) -> None:
    """Whatever comes, and however often, one answer of each kind goes out."""
    kinds = Counter(parsed(data).kind for data in session.outgoing())
    for kind in (frames.PONG, frames.ACK, frames.NAK, frames.HELLO, frames.BYE):
        assert kinds[kind] <= 1
    assert session.outgoing() == []


@pytest.mark.parametrize("kind", [*KINDS, 0, 8, 99, 255])
def test_frames_of_another_epoch_and_of_no_kind_change_nothing(kind: int) -> None:
    for state in range(len(FRAMES) + 1):
        conversation = Conversation(state).run()
        session = conversation.ours
        strange = frames.encode(kind, frames.WHOLE, 77, 1, 1, 1, b"x" * 16)
        before = (session.hello, session.ended, session.heard, session.has_outgoing)
        assert session.receive(strange) == []
        assert (session.hello, session.ended, session.heard, session.has_outgoing) == before


def test_work_is_linear_and_nothing_is_sent_twice_without_need() -> None:
    def calls(messages: int, size: int) -> int:
        """Function calls that it takes, which no other load of the machine changes."""
        ends = Session(), Session()
        count = 0

        def profile(frame: object, event: str, arg: object) -> None:
            nonlocal count
            count += 1

        received = 0
        for number in range(messages):
            ends[0].post(bytes(size), number % 3 or None)
        previous = sys.getprofile()
        sys.setprofile(profile)
        try:
            while received < messages:
                for data in ends[0].outgoing():
                    # In the smallest pieces that a terminal hands over.
                    for start in range(0, len(data), 4095):
                        received += len(ends[1].receive(data[start : start + 4095]))
                for data in ends[1].outgoing():
                    ends[0].receive(data)
        finally:
            sys.setprofile(previous)
        assert ends[0].repeated == 0
        return count

    assert calls(800, 100) < 5 * calls(200, 100)
    assert calls(8, 1_000_000) < 5 * calls(2, 1_000_000)


class Pipe:
    """A byte stream from one end to the other, in which pieces may be lost, doubled, cut short, damaged or added."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.bytes = b""

    def carry(self, data: bytes, fate: str) -> None:
        """Put one frame on its way."""
        at = self.random.randrange(len(data))
        changes: dict[str, Callable[[], bytes]] = {
            "arrives": lambda: data,
            "is lost": lambda: b"",
            "is doubled": lambda: data + data,
            "is cut short": lambda: data[:at],
            "lacks its beginning": lambda: data[at:],
            "is damaged": lambda: data[:at] + bytes([data[at] ^ 1 << self.random.randrange(8)]) + data[at + 1 :],
            "is hit in the middle": lambda: data[:at] + b"\r\nwall\r\n" + frames.MAGIC + data[at:],
        }
        self.bytes += changes[fate]()

    def deliver(self, count: int) -> bytes:
        """The next bytes."""
        data, self.bytes = self.bytes[:count], self.bytes[count:]
        return data


FATES = [
    *["arrives"] * 6, "is lost", "is doubled", "is cut short", "lacks its beginning", "is damaged",
    "is hit in the middle",
]  # fmt: skip
SIDES = st.integers(0, 1)
ROUNDS = 600


class TwoSessions(RuleBasedStateMachine):
    """Both ends, whatever they are asked for and whatever happens on the way."""

    @initialize(seed=st.integers(0, 2**32))
    def begin(self, seed: int) -> None:
        self.ends = [Session(window=WINDOW, frame_limit=FRAME_SIZE) for _ in SIDES_OF]
        self.pipes = [Pipe(seed), Pipe(seed + 1)]
        self.posted: list[list[tuple[int | None, bytes]]] = [[], []]
        self.received: list[list[bytes]] = [[], []]
        self.tokens = 0

    @rule(side=SIDES, size=st.sampled_from([0, 1, 30, 64, 65, 200, 900]), order=st.sampled_from([None, None, 5, 6]))
    def post(self, side: int, size: int, order: int | None) -> None:
        message = b"%d:%06d:" % (side, len(self.posted[side])) + bytes(size)
        before = self.ends[side].backlog
        self.ends[side].post(message, order)
        assert self.ends[side].backlog == before + len(message)
        self.posted[side].append((order, message))

    @rule(side=SIDES, size=st.sampled_from([0, 1, 30, 64]), fate=st.sampled_from(FATES))
    def say(self, side: int, size: int, fate: str) -> None:
        session = self.ends[side]
        message = b"%d:%06d:" % (side, len(self.posted[side])) + bytes(size)
        waits, wanted_ack = session.has_outgoing, session.receiver.ack_wanted
        frame = session.at_once(message)
        if frame is None:
            session.post(message)
        else:
            # An acknowledgement alone needs no frame of its own then.
            assert wanted_ack or not waits
            self.pipes[side].carry(frame, fate)
            assert not session.has_outgoing
        self.posted[side].append((None, message))

    @rule(side=SIDES, fates=st.lists(st.sampled_from(FATES), min_size=1, max_size=8))
    def write(self, side: int, fates: list[str]) -> None:
        session = self.ends[side]
        promised = session.has_outgoing
        ready = session.outgoing()
        assert bool(ready) == promised
        fresh = sum(len(data) for data in ready if parsed(data).kind == frames.DATA)
        # New ones fill a window, those asked for again another one.
        assert fresh <= 2 * WINDOW + 4 * (FRAME_SIZE + frames.HEADER_SIZE)
        for number, data in enumerate(ready):
            assert len(data) <= FRAME_SIZE + frames.HEADER_SIZE or parsed(data).kind == frames.NAK
            self.pipes[side].carry(data, fates[number % len(fates)])

    @rule(side=SIDES, count=st.sampled_from([1, 7, 100, 5000]))
    def read(self, side: int, count: int) -> None:
        self.received[1 - side] += self.ends[1 - side].receive(self.pipes[side].deliver(count))

    @rule(side=SIDES)
    def beat(self, side: int) -> None:
        self.tokens += 1
        self.ends[side].ping(self.tokens)

    @rule(side=SIDES)
    def greet(self, side: int) -> None:
        self.ends[side].greet(b"hello")

    @precondition(lambda self: hasattr(self, "ends"))
    @invariant()
    def what_arrived_is_a_beginning_of_what_was_posted(self) -> None:
        for side in SIDES_OF:
            posted, received = self.posted[1 - side], self.received[side]
            assert len(set(received)) == len(received)
            sent = {message: order for order, message in posted}
            assert sent.keys() >= set(received)
            for order in (5, 6):
                mine = [message for of, message in posted if of == order]
                got = [message for message in received if sent[message] == order]
                assert got == mine[: len(got)]
            small = [message for of, message in posted if of is None and len(message) <= FRAME_SIZE]
            got = [message for message in received if message in set(small)]
            assert got == small[: len(got)]

    def teardown(self) -> None:
        """When the way is good again all arrives, after as many heartbeats as there may be gaps."""
        if not hasattr(self, "ends"):
            return
        for _ in range(ROUNDS):
            if all(len(self.received[side]) == len(self.posted[1 - side]) for side in SIDES_OF):
                break
            for side in SIDES_OF:
                self.beat(side)
                self.write(side, ["arrives"])
                self.read(side, 1_000_000)
        for side in SIDES_OF:
            assert sorted(self.received[side]) == sorted(message for _, message in self.posted[1 - side])
            assert self.ends[side].backlog == 0
        self.what_arrived_is_a_beginning_of_what_was_posted()
        for side in SIDES_OF:
            self.ends[side].part()
            self.write(side, ["arrives"])
            self.read(side, 1_000_000)
            assert self.ends[1 - side].ended
            assert not self.ends[side].has_outgoing


SIDES_OF = (0, 1)
TestTwoSessions = TwoSessions.TestCase
TestTwoSessions.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


@pytest.mark.long
def test_two_sessions_for_long() -> None:
    from hypothesis.stateful import run_state_machine_as_test

    run_state_machine_as_test(
        TwoSessions, settings=settings(max_examples=2000, stateful_step_count=60, deadline=None)
    )
