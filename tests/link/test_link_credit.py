"""Credit and window: who has used all that he was allowed is told more, and nothing stands still for want of it."""

from __future__ import annotations

from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crl.link.wire import frames, messages, sending
from crl.link.wire.credit import MOST_CREDIT, Credit, credit_for

DELAYS = st.one_of(st.none(), st.floats(0.0, 10.0))


@given(st.lists(st.tuples(st.integers(0, 2**20), DELAYS)))
def test_a_receiver_that_takes_all_never_lets_the_sender_wait(uses: list[tuple[int, float | None]]) -> None:
    credit, told = Credit(), messages.STREAM_CREDIT
    for count, delay in uses:
        # No sender sends more than it was told.
        limit = credit.use(min(count, told - credit.used), delay)
        assert limit == 0 or limit > told
        told = max(told, limit)
        assert told == credit.limit
        assert credit.used < told <= credit.used + MOST_CREDIT


def test_a_long_way_gets_more_and_no_way_less_than_it_begins_with() -> None:
    assert credit_for(None) == credit_for(0.0005) == messages.STREAM_CREDIT
    assert credit_for(0.025) == 2_000_000
    assert credit_for(0.06) == credit_for(5.0) == MOST_CREDIT


@given(st.floats(0.001, 1000.0), st.integers(20, 60), st.integers(10_000, sending.FRAME_LIMIT))
def test_a_window_that_shrinks_leaves_room_for_a_frame_that_asks(seconds: float, messages_sent: int, size: int) -> None:
    now = [0.0]
    sender = sending.Sender(sending.WINDOW, sending.FRAME_LIMIT, sending.MAX_MESSAGE, lambda: now[0])
    # As a heartbeat has measured it before anything was under way.
    sender.note_delay(0.001)
    for _ in range(messages_sent):
        sender.post(bytes(size), order=1)
    for _ in range(10 * messages_sent):
        sent: list[bytes] = []
        first = sender.next_seq
        sender.take_frames(1, 1, sent)
        asked = [first + at for at, frame in enumerate(sent) if frames.HEADER.unpack_from(frame)[2] & frames.ASK]
        if not sender.backlog:
            return
        assert asked, "bytes wait and nothing that was sent asks for an acknowledgement"
        now[0] += seconds
        sender.forget(asked[-1] + 1)
    raise AssertionError("the messages never went out")


def _windows(way: float, rounds: list[float], *, beside: bool = False) -> list[int]:
    """The window of a sender that always has more to say, after each round, which takes so many seconds."""
    now = [0.0]
    sender = sending.Sender(sending.WINDOW, sending.WIDE_FRAME, sending.MAX_MESSAGE, lambda: now[0])
    sender.note_delay(way)
    sender.go_beside(beside=beside)
    seen = []
    for seconds in rounds:
        ready: list[bytes] = []
        for _ in range(200):
            sender.post(bytes(64 * 1024), order=1)
        sender.take_frames(1, 1, ready)
        now[0] += seconds
        sender.forget(sender.next_seq)
        seen.append(sender.window)
    return seen


def test_a_long_way_that_loses_packets_is_filled() -> None:
    """Each loss holds up a round for as long as several take; the window must not shrink with each of them."""
    seen = _windows(0.05, [0.05] * 4 + [0.25, 0.2, 0.05, 0.3] * 20)
    assert min(seen[4:]) >= 4 * sending.WINDOW


def test_a_long_way_is_filled_within_a_few_answers() -> None:
    assert _windows(0.05, [0.05] * 3)[-1] >= 4 * sending.WINDOW
    # A lost packet holds up one answer, and then another one.
    assert _windows(0.05, [0.11, 0.05, 0.15, 0.11], beside=True)[-1] >= 8 * sending.WINDOW


def _windows_behind(rate: float, way: float, answers: int) -> tuple[list[int], float]:
    """The windows on a way with so many bytes a second, and the longest time that an answer to what was sent took."""
    now, slowest = [0.0], 0.0
    sender = sending.Sender(sending.WINDOW, sending.WIDE_FRAME, sending.MAX_MESSAGE, lambda: now[0])
    sender.note_delay(way)
    sender.go_beside(beside=True)
    piece = bytes(64 * 1024)
    for _ in range(4000):
        sender.post(piece, order=1)
    seen: list[int] = []
    under_way: deque[tuple[float, int]] = deque()
    free = 0.0
    while len(seen) < answers:
        ready: list[bytes] = []
        first = sender.next_seq
        sender.take_frames(1, 1, ready)
        for number, frame in enumerate(ready, first):
            free = max(free, now[0]) + len(frame) / rate
            under_way.append((free + way, number))
            slowest = max(slowest, free + way - now[0])
        now[0], number = under_way.popleft()
        before = sender.window, len(sender._rates), sum(sender._rates)
        sender.forget(number + 1)
        if before != (sender.window, len(sender._rates), sum(sender._rates)):
            seen.append(sender.window)
    return seen, slowest


@pytest.mark.parametrize(("rate", "most"), [(1e5, 2.8), (1e6, 0.6), (8e6, 0.3), (4e7, 0.15)])
def test_a_long_way_is_not_filled_for_long_beyond_what_goes_through(rate: float, most: float) -> None:
    """A call waits for what is under way: in the beginning not much longer than before anything is known, then not."""
    windows, slowest = _windows_behind(rate, 0.05, 15)
    assert slowest < most
    assert windows[-1] <= max(sending.SLOW_WINDOW, rate / 4, rate * 0.11)


def test_the_window_of_a_near_way_follows_what_goes_through() -> None:
    seen = _windows(0.001, [0.05] * 40)
    assert max(seen[10:]) < sending.WINDOW
