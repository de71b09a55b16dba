"""Something that a thread can wait for while it reads for others.

It knows no link; the engine rings and the waiting thread looks again.
"""

from __future__ import annotations

import threading

__all__ = ["Waiter"]


class Waiter:
    """Something that a thread can wait for with `Engine.wait`."""

    # Of the class, so that a call, which is one, needs one constructor.
    done = False
    _bell: threading.Lock | None = None

    def finish(self) -> None:
        """Mark as done and wake who waits."""
        self.done = True
        if self._bell is not None:
            self.ring()

    def ring(self) -> None:
        """Wake the waiting thread, if one sleeps, to look again."""
        bell = self._bell
        if bell is not None:
            try:
                bell.release()
            except RuntimeError:
                # It has been rung already and has not looked yet: one waking is enough.
                return

    def sleep(self, seconds: float | None) -> None:
        """Wait until somebody rings."""
        bell = self._bell
        if bell is not None:
            bell.acquire(timeout=-1 if seconds is None else seconds)

    def prepare_to_sleep(self) -> None:
        """Make the bell, before the last look at `done`."""
        if self._bell is None:
            bell = threading.Lock()
            bell.acquire()
            self._bell = bell
