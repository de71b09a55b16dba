"""Deadlines: one moment by which a whole operation has to be done.

A `Deadline` is made once from the caller's timeout and handed down, so that the parts of an operation share one budget
instead of each starting its own. This module knows nothing of the rest but how an error looks, and
promises monotonic time.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

from crl.errors import WrongArgument

__all__ = ["Deadline"]


@dataclass(frozen=True)
class Deadline:
    """A moment on the monotonic clock, or never.

    Args:
        at: Seconds on `time.monotonic`'s clock; None means that there is no limit.
    """

    at: float | None

    @classmethod
    def after(cls, seconds: float | None) -> Deadline:
        """The deadline that many seconds from now; None makes one that never comes.

        Raises:
            WrongArgument: It is no number.
        """
        if seconds is not None and not isinstance(seconds, (float, int)):
            raise WrongArgument(f"a timeout is a number of seconds or None, not {seconds!r}")
        return cls(None if seconds is None else time.monotonic() + seconds)

    def remaining(self) -> float | None:
        """Seconds left, never negative; None when there is no limit."""
        return None if self.at is None else max(0.0, self.at - time.monotonic())

    @property
    def expired(self) -> bool:
        """Whether the moment has passed."""
        return self.at is not None and time.monotonic() >= self.at

    def poll_ms(self) -> int | None:
        """The time left in whole milliseconds, rounded up, as `select.poll` takes it."""
        left = self.remaining()
        return None if left is None else math.ceil(left * 1000)

    def sooner(self, seconds: float) -> Deadline:
        """The earlier of this deadline and `seconds` from now."""
        other = time.monotonic() + seconds
        return Deadline(other if self.at is None else min(self.at, other))
