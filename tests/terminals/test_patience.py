"""When another try is worth it.

Invariant: a wait ends at its own limit, when it is stopped, and when a door that was shut has opened: whichever comes
first.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from crl.deadlines import Deadline
from crl.interactivesessions._patience import FIRST_PAUSE, Patience

LONG = 60.0


class Counted:
    """A door that opens when it is looked at for the `opens_at`-th time."""

    def __init__(self, opens_at: int) -> None:
        self.opens_at = opens_at
        self.looks = 0

    def is_open(self) -> bool:
        self.looks += 1
        return self.looks >= self.opens_at


@pytest.fixture
def stop() -> threading.Event:
    return threading.Event()


def seconds_of(call: Callable[[], object]) -> float:
    began = time.monotonic()
    call()
    return time.monotonic() - began


def test_a_wait_ends_when_the_door_opens(stop: threading.Event) -> None:
    door = Counted(opens_at=4)
    patience = Patience(lambda: door, LONG)
    assert seconds_of(lambda: patience.wait(stop, Deadline.after(None))) < LONG / 2
    assert door.looks == 4
    assert not stop.is_set()


def test_an_open_door_is_no_reason_to_hurry(stop: threading.Event) -> None:
    patience = Patience(lambda: Counted(opens_at=1), LONG)
    spent = [seconds_of(lambda: patience.wait(stop, Deadline.after(None))) for _ in range(2)]
    assert spent[0] >= FIRST_PAUSE
    assert spent[1] >= 2 * FIRST_PAUSE


def test_without_a_door_pauses_grow_to_the_longest(stop: threading.Event) -> None:
    patience = Patience(lambda: None, FIRST_PAUSE * 1.5)
    spent = [seconds_of(lambda: patience.wait(stop, Deadline.after(None))) for _ in range(3)]
    assert all(now >= at_least * FIRST_PAUSE for now, at_least in zip(spent, (1.0, 1.5, 1.5), strict=True))


@pytest.mark.parametrize("way", ["deadline", "shut", "stop"])
def test_a_shut_door_holds_nobody_up_for_ever(stop: threading.Event, way: str) -> None:
    door = Counted(opens_at=1_000_000)
    patience = Patience(lambda: door, LONG, 0.2 if way == "shut" else LONG)
    stopping = threading.Timer(0.1, stop.set if way == "stop" else lambda: None)
    stopping.start()
    deadline = Deadline.after(0.2 if way == "deadline" else None)
    assert seconds_of(lambda: patience.wait(stop, deadline)) < LONG / 2
    stopping.join()
    assert stop.is_set() == (way == "stop")


def test_the_door_is_looked_for_once_and_only_when_needed(stop: threading.Event) -> None:
    found: list[None] = []
    patience = Patience(lambda: found.append(None), 0.01)
    assert found == []
    for _ in range(3):
        patience.wait(stop, Deadline.after(None))
    assert found == [None]
