"""Turns of starts on one server.

Scripts of the server that start sessions beside each other take the same display and port from its database, find out
and try again, each time with new processes: ten at once need several times as long as ten in turn. So a process has two
under way on a server, whatever objects they belong to.
"""

from __future__ import annotations

import contextlib
import threading
from collections import defaultdict
from collections.abc import Iterator

from crl.deadlines import Deadline
from crl.x2go.x2go_exceptions import X2GoTimeOutException

__all__ = ["start_turn"]

AT_ONCE = 2


class _Turns:
    """For each server, by its name, who may start now."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._servers: defaultdict[str, threading.Semaphore] = defaultdict(lambda: threading.Semaphore(AT_ONCE))

    def of(self, host: str) -> threading.Semaphore:
        with self._lock:
            return self._servers[host]


_turns = _Turns()


@contextlib.contextmanager
def start_turn(host: str, deadline: Deadline, *, needed: bool = True) -> Iterator[None]:
    """Wait for a turn on a server, and have it.

    Args:
        host: The server's name.
        deadline: By when.
        needed: False for a start that waits for somebody's permission, which must not hold up others.

    Raises:
        X2GoTimeOutException: None came in time.
    """
    if not needed:
        yield
        return
    turn = _turns.of(host)
    if not turn.acquire(timeout=deadline.remaining()):
        raise X2GoTimeOutException(
            "other sessions that this program starts there took all the time", host=host, doing="starting a session"
        )
    try:
        yield
    finally:
        turn.release()
