"""When another try is worth it: pauses that grow, and end at once when the host's door opens.

This module knows a door only as a question that can be asked, and nothing of terminals. It promises that a wait ends at
its own limit, when it is stopped, and soon after the door is open that was shut when the wait began.
"""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Callable
from typing import Final, Protocol

from crl.deadlines import Deadline

__all__ = ["HasDoor", "Patience", "wait_for_door"]

FIRST_PAUSE: Final = 0.2
GROWTH: Final = 2.0
SHORTEST_BREAK: Final = 0.02
LONGEST_BREAK: Final = 0.1


class HasDoor(Protocol):
    """What can be asked whether it is reachable, as a `crl.channels.ssh.door.Door`; equal ones are one door."""

    def __hash__(self) -> int: ...

    def is_open(self) -> bool:
        """Whether somebody answers there now."""


class Patience:
    """The pauses between the tries of one undertaking.

    Args:
        find_door: Finds the door of the host; asked once, when it is first needed. It may give None.
        longest: Seconds that a pause may grow to.
        shut: Seconds to wait for a door that is shut; as much as `longest` unless given.
    """

    def __init__(self, find_door: Callable[[], HasDoor | None], longest: float, shut: float | None = None) -> None:
        self._find_door = functools.cache(find_door)
        self._longest = longest
        self._shut = longest if shut is None else shut
        self._pause = FIRST_PAUSE

    def wait(self, stop: threading.Event, deadline: Deadline) -> bool:
        """Wait until the next try is worth it, or the deadline has come; whether `stop` was set."""
        if not self.wait_for_door(stop, deadline):
            stop.wait(deadline.sooner(self._pause).remaining())
            self._pause = min(self._longest, self._pause * GROWTH)
        return stop.is_set()

    def wait_for_door(self, stop: threading.Event, deadline: Deadline) -> bool:
        """When the door is shut, wait for it; whether it was."""
        door = self._find_door()
        return door is not None and wait_for_door(door, deadline.sooner(self._shut), stop.is_set)


def wait_for_door(door: HasDoor, deadline: Deadline, stopped: Callable[[], bool]) -> bool:
    """Wait until somebody answers at a door, the deadline has come, or the wait is stopped.

    Returns:
        Whether the door was shut at first.
    """
    began, was_shut, pause = time.monotonic(), False, threading.Event()
    while not stopped() and not deadline.expired and not door.is_open():
        was_shut = True
        # A host that is long in coming is not knocked at as often as one that is just away.
        longer = (time.monotonic() - began) / 50
        pause.wait(deadline.sooner(min(LONGEST_BREAK, max(SHORTEST_BREAK, longer))).remaining())
    return was_shut
