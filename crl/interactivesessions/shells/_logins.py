"""How many logins to other hosts are under way at once in this process.

A login costs this machine a tenth of a second of computing: of hundreds that begin together each would come to its end
only when all do, and its own time be over before. It promises that a login's time begins when its turn has come.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from crl.deadlines import Deadline
from crl.interactivesessions.shells.shell import Shell
from crl.interactivesessions.shells.ssherrors import LoginTimeout

__all__ = ["PLACES_PER_CPU", "login_place"]

# As many keep all processors busy, also where the hosts are far away.
PLACES_PER_CPU: Final = 16


class _Places:
    """The places of this process; a forked child has all of its own, for the threads that log in are not in it."""

    def __init__(self) -> None:
        self.free = self._new()
        os.register_at_fork(after_in_child=self._renew)

    def _new(self) -> threading.Semaphore:
        return threading.Semaphore(PLACES_PER_CPU * (os.cpu_count() or 1))

    def _renew(self) -> None:
        self.free = self._new()


_places = _Places()


@contextmanager
def login_place(shell: Shell, deadline: Deadline | None = None) -> Iterator[None]:
    """Start a first shell when its turn has come; one that logs in nowhere has it always.

    Args:
        shell: The shell.
        deadline: Until when to wait for the turn; None waits as long as the others take, and their times are limited.

    Raises:
        LoginTimeout: There was no turn by then; nothing was begun.
    """
    if not getattr(shell, "logs_in", False):
        yield
        return
    free = _places.free
    if not free.acquire(timeout=deadline.remaining() if deadline is not None else None):
        raise LoginTimeout(
            "too many other logins were under way",
            host=getattr(shell, "host", None),
            doing="waiting for the turn to log in",
            advice="open fewer targets at once, or give it more time",
        )
    try:
        yield
    finally:
        free.release()
