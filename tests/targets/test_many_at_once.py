"""Many pieces of work at once.

Invariant: no limit is ever passed, every piece ends exactly once in every course of events, and none is begun after the
end was told.
"""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Callable, Hashable
from contextlib import closing
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crl.errors import UsageError
from crl.interactivesessions import _manyatonce
from crl.interactivesessions._manyatonce import (
    Ended,
    FleetCancelled,
    FleetTimeout,
    Limits,
    ManyAtOnce,
    Piece,
    Schedule,
    Stage,
)

pytestmark = pytest.mark.usefixtures("nothing_left")

HOPS = st.sampled_from([None, "gateway", "alpha", "beta"])
LONG = 60.0


@given(
    hops=st.lists(HOPS, max_size=40),
    at_once=st.integers(1, 8),
    per_hop=st.integers(1, 4),
    openings=st.integers(1, 8),
    seed=st.integers(),
)
def test_the_schedule_keeps_its_limits_and_forgets_nobody(
    hops: list[str | None], at_once: int, per_hop: int, openings: int, seed: int
) -> None:
    schedule, chance = Schedule(Limits(at_once, per_hop, openings)), random.Random(seed)
    unknown, opening, open_now, begun = list(range(len(hops))), [], [], []  # type: ignore[var-annotated]
    while unknown or opening or open_now or len(begun) < len(hops):
        while (number := schedule.next()) is not None:
            begun.append(number)
            (open_now if hops[number] is None else opening).append(number)
        by_hop = Counter(hops[number] for number in opening)
        assert len(opening) + len(open_now) <= at_once
        assert len(opening) <= openings
        assert all(count <= per_hop for count in by_hop.values())
        # There is always something that can go on: nobody waits for nothing.
        moves = [name for name, group in (("know", unknown), ("open", opening), ("end", open_now)) if group]
        assert moves
        match chance.choice(moves):
            case "know":
                number = unknown.pop(chance.randrange(len(unknown)))
                schedule.add(number, hops[number])
            case "open":
                number = opening.pop(chance.randrange(len(opening)))
                if chance.random() < 0.3:
                    schedule.ended(number)
                else:
                    schedule.opened(number)
                    open_now.append(number)
            case _:
                schedule.ended(open_now.pop(chance.randrange(len(open_now))))
    assert sorted(begun) == list(range(len(hops)))


def test_of_those_that_may_begin_the_first_is_next() -> None:
    schedule = Schedule(Limits(at_once=8, per_hop=1))
    for number, hop in enumerate(["a", "a", "b", None]):
        schedule.add(number, hop)
    assert [schedule.next() for _ in range(4)] == [0, 2, 3, None]
    schedule.opened(0)
    assert schedule.next() == 1


@pytest.mark.parametrize("name", ["at_once", "per_hop", "openings"])
def test_limits_are_positive(name: str) -> None:
    with pytest.raises(UsageError, match=name):
        Limits(**{name: 0})


class Work:
    """Pieces that wait until they may go on or are stopped, and count what is under way."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.now: Counter[str] = Counter()
        self.most: Counter[str] = Counter()
        self.go_on = threading.Event()
        self.began = threading.Semaphore(0)
        self.stopped: list[str] = []

    def count(self, what: str, change: int) -> None:
        with self.lock:
            self.now[what] += change
            self.most[what] = max(self.most[what], self.now[what])

    def piece(
        self,
        name: str,
        hop: Hashable | None = None,
        work: Callable[[], Any] | None = None,
        *,
        deaf: bool = False,
        failing: bool = False,
    ) -> Piece[Any]:
        stop = threading.Event()

        def wait() -> str:
            self.count("works", 1)
            self.began.release()
            try:
                while not self.go_on.wait(0.01):
                    if stop.is_set() and not deaf:
                        raise ConnectionError("closed")
                return name
            finally:
                self.count("works", -1)

        def open_it() -> None:
            if hop is not None:
                self.count(str(hop), 1)
                self.count("openings", 1)
                threading.Event().wait(0.005)
                self.count("openings", -1)
                self.count(str(hop), -1)
            if failing:
                raise OSError("not to be opened")

        def end() -> None:
            self.stopped.append(name)
            stop.set()

        return Piece(name, None if hop is None else lambda: hop, open_it, work or wait, end)


@pytest.fixture
def work() -> Work:
    return Work()


def in_order(ends: list[Ended[Any]]) -> list[Ended[Any]]:
    assert len({end.number for end in ends}) == len(ends)
    return sorted(ends, key=lambda end: end.number)


def test_limits_hold_and_all_is_done(work: Work) -> None:
    work.go_on.set()
    pieces = [work.piece(f"{number}", f"hop{number % 3}") for number in range(40)]
    ends = in_order(list(ManyAtOnce(pieces, Limits(at_once=9, per_hop=2, openings=5)).ends()))
    assert [end.value for end in ends] == [f"{number}" for number in range(40)]
    assert work.most["openings"] <= 5
    assert all(work.most[f"hop{number}"] <= 2 for number in range(3))
    assert work.most["works"] <= 9


def test_an_error_is_its_pieces_own(work: Work) -> None:
    work.go_on.set()
    pieces = [work.piece("good", "a"), work.piece("closed", "a", failing=True), work.piece("bad", None, lambda: 1 // 0)]
    good, closed, bad = in_order(list(ManyAtOnce(pieces, Limits()).ends()))
    assert (good.value, good.error, good.stage) == ("good", None, Stage.RUNNING)
    assert isinstance(closed.error, OSError)
    assert closed.stage is Stage.CONNECTING
    assert isinstance(bad.error, ZeroDivisionError)
    assert bad.seconds >= 0


def test_the_time_of_a_piece_begins_with_its_work(work: Work) -> None:
    # One after another, each of them far longer than the share of the whole that it would otherwise get.
    def take_a_while() -> int:
        return len([threading.Event().wait(0.1)])

    pieces = [work.piece(f"{number}", None, take_a_while) for number in range(5)]
    ends = list(ManyAtOnce(pieces, Limits(at_once=1), each=LONG).ends())
    assert [end.value for end in ends] == [1] * 5


def test_a_piece_beyond_its_time_is_ended(work: Work) -> None:
    pieces = [work.piece("slow"), work.piece("quick", None, lambda: "done")]
    slow, quick = in_order(list(ManyAtOnce(pieces, Limits(), each=2.0).ends()))
    assert isinstance(slow.error, FleetTimeout)
    assert slow.error.host == "slow"
    assert isinstance(slow.error.__cause__, ConnectionError)
    assert quick.value == "done"
    assert work.stopped == ["slow"]


def test_what_a_piece_gives_after_it_was_ended_does_not_count(work: Work) -> None:
    stop = threading.Event()

    def give_in() -> str:
        stop.wait(LONG)
        return "half"

    (end,) = ManyAtOnce([Piece("late", None, bool, give_in, stop.set)], Limits(), each=0.1).ends()
    assert end.value is None
    assert isinstance(end.error, FleetTimeout)


def test_what_does_not_end_is_left_behind_and_said(work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_manyatonce, "GRACE", 0.2)
    pieces = [work.piece("deaf", deaf=True), work.piece("next", None, lambda: "turn")]
    deaf, following = in_order(list(ManyAtOnce(pieces, Limits(at_once=1), each=2.0).ends()))
    assert isinstance(deaf.error, FleetTimeout)
    assert "still goes on" in deaf.error.__notes__[0]
    assert following.value == "turn"
    work.go_on.set()


def test_the_time_of_the_whole(work: Work) -> None:
    pieces = [work.piece(f"{number}") for number in range(4)]
    ends = in_order(list(ManyAtOnce(pieces, Limits(at_once=2), timeout=0.3).ends()))
    assert [type(end.error) for end in ends] == [FleetTimeout] * 4
    assert [end.stage for end in ends] == [Stage.RUNNING] * 2 + [Stage.WAITING] * 2
    assert sorted(work.stopped) == ["0", "1"]


def test_cancelling(work: Work) -> None:
    pieces = [work.piece(f"{number}", "hop") for number in range(4)]
    many = ManyAtOnce(pieces, Limits(at_once=2))

    def cancel() -> None:
        work.began.acquire(timeout=LONG)
        work.began.acquire(timeout=LONG)
        many.cancel()

    thread = threading.Thread(target=cancel)
    thread.start()
    ends = list(many.ends())
    thread.join()
    assert sorted(end.number for end in ends) == [0, 1, 2, 3]
    assert all(isinstance(end.error, FleetCancelled) for end in ends)
    assert len(work.stopped) == 2


def test_enough_errors_stop_the_rest(work: Work) -> None:
    pieces = [work.piece(f"{number}", None, lambda: 1 // 0) for number in range(5)]
    ends = in_order(list(ManyAtOnce(pieces, Limits(at_once=1), stop_after=2).ends()))
    assert [type(end.error) for end in ends] == [ZeroDivisionError] * 2 + [FleetCancelled] * 3
    assert "2 targets have failed" in str(ends[4].error)


def test_an_interrupt_while_a_piece_begins_ends_the_others(work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    start = threading.Thread.start

    def interrupted_at_the_second(thread: threading.Thread) -> None:
        if thread.name == "crl-many-1":
            raise KeyboardInterrupt
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", interrupted_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        list(ManyAtOnce([work.piece("0"), work.piece("1")], Limits()).ends())
    assert work.now["works"] == 0
    assert sorted(work.stopped) == ["0", "1"]


def test_leaving_early_ends_what_is_under_way(work: Work) -> None:
    pieces = [work.piece("quick", None, lambda: "done"), *(work.piece(f"{number}") for number in range(3))]
    with closing(ManyAtOnce(pieces, Limits(at_once=3)).ends()) as ends:
        assert next(ends).value == "done"
    assert work.now["works"] == 0
    assert all(name in work.stopped for name in ("0", "1"))
