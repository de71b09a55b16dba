"""A test's timeout may raise anywhere in the calling thread: no call is lost or doubled, and the link stays usable.

Robot's timeouts and Ctrl-C do that: a signal handler raises between any two instructions of the main thread.
"""

from __future__ import annotations

import dis
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from types import CodeType, FrameType
from typing import Any

import pytest

from crl.link import Link
from crl.link._engine import LOOKS_BEFORE_FREEING
from tests.link.storm import PREPARE

CALLS = 10_000
TICK = 0.003
IN_A_ROW = 20
UNRAISABLE = "unraisable_hook"

Figure = Callable[[str], None]


class Tick(BaseException):
    """What the interval timer raises."""


@contextmanager
def ticking(struck: CodeType) -> Iterator[list[int]]:
    """Raise `Tick` every few milliseconds where the main thread is in that function; gives how often that was.

    Nowhere else, for neither the end of this nor what runs tests can bear it: there pytest also notes what could not be
    raised, as out of a finalizer that was struck.
    """
    ticks = [0]

    def tick(_number: int, frame: FrameType | None) -> None:
        while frame is not None and frame.f_code is not struck:
            if frame.f_code.co_name == UNRAISABLE:
                return
            frame = frame.f_back
        if frame is not None:
            ticks[0] += 1
            raise Tick

    before = signal.signal(signal.SIGALRM, tick)
    # The timer that limits the test is the same one.
    limit = signal.setitimer(signal.ITIMER_REAL, TICK, TICK)
    try:
        yield ticks
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        signal.setitimer(signal.ITIMER_REAL, *limit)


def _bump(link: Link, number: int) -> bool:
    return bool(link.invoke("bump", number, timeout=30) == number)


def _calls_under_the_timer(link: Link, count: int) -> tuple[int, set[int], list[int]]:
    """How often it ticked, the calls that were answered, and all that were tried."""
    answered: set[int] = set()
    tried: list[int] = []
    interval, in_a_row = TICK, 0
    with ticking(_bump.__code__) as ticks:
        while len(answered) < count:
            tried.append(len(tried) + 1)
            try:
                if _bump(link, tried[-1]):
                    answered.add(tried[-1])
                in_a_row = 0
            except Tick:
                in_a_row += 1
                if in_a_row >= IN_A_ROW:
                    # A call over this way takes longer than that.
                    interval, in_a_row = 2 * interval, 0
                    signal.setitimer(signal.ITIMER_REAL, interval, interval)
    return ticks[0], answered, tried


def _check(link: Link, count: int, figure: Figure) -> None:
    link.evaluate(PREPARE)
    ticks, answered, tried = _calls_under_the_timer(link, count)
    assert link.evaluate("6 * 7", timeout=60) == 42
    counted = link.evaluate("counted", timeout=30)
    assert len(set(counted)) == len(counted), "a call was run twice"
    assert answered <= set(counted) <= set(tried), "a call was lost"
    assert ticks > count / 200
    figure(f"{len(tried)} calls, interrupted {ticks} times: 0 lost, 0 doubled")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("kind", ["pty", "pipe"])
def test_ten_thousand_calls_under_an_interval_timer(make_link: Callable[..., Link], kind: str, figure: Figure) -> None:
    _check(make_link(kind), CALLS, figure)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_other_threads_do_not_suffer(link: Link) -> None:
    link.evaluate(PREPARE)
    stop = threading.Event()
    wrong: list[object] = []

    def work(base: int) -> None:
        number = base
        while not stop.is_set():
            number += 1
            if link.invoke("bump", number, timeout=30) != number:
                wrong.append(number)

    workers = [threading.Thread(target=work, args=(base,)) for base in (10**6, 2 * 10**6)]
    for worker in workers:
        worker.start()
    try:
        _calls_under_the_timer(link, 500)
    finally:
        stop.set()
        for worker in workers:
            worker.join(60)
    assert not any(worker.is_alive() for worker in workers)
    assert wrong == []
    counted = link.evaluate("counted", timeout=30)
    assert len(set(counted)) == len(counted)


class _Late:
    """The lock of the reader's role, whose owner is late when he gives it back: the role is taken away meanwhile."""

    def __init__(self, link: Link) -> None:
        self._engine: Any = link.engine
        self._lock = threading.RLock()
        self.acquire, self.release = self._lock.acquire, self._lock.release
        self.late = 0

    def _is_owned(self) -> bool:
        owned: bool = self._lock._is_owned()  # type: ignore[attr-defined]
        while owned and self._engine._reading is self:
            self.late += 1
            self._engine._free_the_role()
        return owned


def test_a_reader_whose_role_is_taken_away_when_he_gives_it_back(link: Link) -> None:
    late = _Late(link)
    link.engine._reading = late  # type: ignore[assignment]
    for number in range(10):
        assert link.invoke("abs", -number, timeout=60) == number
    assert late.late > LOOKS_BEFORE_FREEING


class _Strike:
    """A tracer that raises at the n-th point of the link's code at which a signal's handler may run.

    Those are behind calls, behind jumps backwards, and at the beginning of functions.
    """

    def __init__(self, at: int) -> None:
        self._left = at
        self._before: dict[FrameType, tuple[str, int]] = {}
        self.struck = ""

    def __call__(self, frame: FrameType, event: str, _arg: Any) -> Any:
        if "/crl/link/" not in frame.f_code.co_filename:
            return None
        frame.f_trace_opcodes = True
        if event == "opcode":
            before, place = self._before.get(frame, ("", 0))
            self._before[frame] = dis.opname[frame.f_code.co_code[frame.f_lasti]], frame.f_lasti
            if before.startswith("CALL") or before == "RESUME" or frame.f_lasti < place:
                self._left -= 1
                if not self._left:
                    self.struck = f"{frame.f_code.co_qualname}:{frame.f_lineno}"
                    raise Tick
        return self


@pytest.mark.timeout(240)
def test_an_exception_at_any_point_of_a_call_leaves_nothing_behind_that_others_wait_for(link: Link) -> None:
    link.evaluate(PREPARE)
    places = set()
    with ThreadPoolExecutor(1) as other:
        for at in range(1, 10_000):
            strike = _Strike(at)
            before = sys.gettrace()
            sys.settrace(strike)
            try:
                _bump(link, at)
            except Tick:
                pass
            finally:
                sys.settrace(before)
            # The thread that was struck does nothing more.
            assert other.submit(link.invoke, "abs", -at, timeout=20).result() == at, strike.struck
            if not strike.struck:
                break
            places.add(strike.struck)
    assert len(places) > 30
    counted = link.evaluate("counted", timeout=30)
    assert len(set(counted)) == len(counted)
