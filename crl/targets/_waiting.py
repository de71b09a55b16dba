"""Waiting for a host: when it is worth another try.

This module knows deadlines only; what a try is, its user knows. It promises that a wait ends with its deadline, and at
once when it is stopped.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator

from crl.deadlines import Deadline

__all__ = ["tries_until"]

FIRST_PAUSE = 0.2
LONGEST_PAUSE = 2.0


def tries_until(deadline: Deadline, stop: threading.Event) -> Iterator[int]:
    """Numbers of tries with growing pauses between them, until the deadline has passed or `stop` is set."""
    pause, number = FIRST_PAUSE, 0
    while True:
        number += 1
        yield number
        left = deadline.remaining()
        if left is not None and left <= 0:
            return
        if stop.wait(pause if left is None else min(pause, left)):
            return
        pause = min(LONGEST_PAUSE, pause * 1.5)
