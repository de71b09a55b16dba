"""The one I/O thread of this process, which serves all links and tunnels.

It waits for all descriptors in one epoll, each armed for one event, so that a caller who reads for himself is not
disturbed; it sends the heartbeats and looks for silence. It runs no user code, ends when nothing is left to serve, and
belongs to the process that started it: in a forked child it is absent.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import os
import select
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

__all__ = ["Driver", "driver"]

logger = logging.getLogger(__name__)

LENT_SECONDS: Final = 0.02


class Driver:
    """Runs handlers when descriptors are ready and when timers are due."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._handlers: dict[int, Callable[[int], None]] = {}
        self._timers: list[tuple[float, int, Callable[[], float | None]]] = []
        self._order = itertools.count()
        self._lent: set[int] = set()
        self._epoll: select.epoll | None = None
        self._thread: threading.Thread | None = None
        self._wake: int = -1
        self._pid = os.getpid()

    def add(self, descriptor: int, handler: Callable[[int], None], events: int) -> None:
        """Serve a descriptor: `handler` gets the events, once for each time it is armed."""
        with self._lock:
            self._check_process()
            self._start()
            self._handlers[descriptor] = handler
            assert self._epoll is not None
            self._epoll.register(descriptor, events | select.EPOLLONESHOT)

    def arm(self, descriptor: int, events: int) -> None:
        """Report the next event of a descriptor; harmless when it is not served any more."""
        with suppress(OSError, ValueError, AttributeError):  # it was removed meanwhile by its owner
            self._epoll.modify(descriptor, events | select.EPOLLONESHOT)  # type: ignore[union-attr]

    def arm_soon(self, descriptor: int) -> None:
        """Report a descriptor's input again after a moment, so that one who reads it now is not disturbed."""
        with self._lock:
            self._lent.add(descriptor)
            self._poke()

    def remove(self, descriptor: int) -> None:
        """Stop serving a descriptor, before its owner closes it."""
        with self._lock:
            if self._handlers.pop(descriptor, None) is not None and self._epoll is not None:
                with suppress(OSError):  # a closed descriptor has left the epoll by itself
                    self._epoll.unregister(descriptor)
            self._lent.discard(descriptor)
            self._poke()

    def call_later(self, seconds: float, timer: Callable[[], float | None]) -> None:
        """Call `timer` after that many seconds; what it returns is the time to its next call, None ends it."""
        with self._lock:
            self._check_process()
            heapq.heappush(self._timers, (time.monotonic() + seconds, next(self._order), timer))
            self._start()
            self._poke()

    # -- the thread --------------------------------------------------------------------------------------------------

    def _check_process(self) -> None:
        """Forget the parent's thread in a forked child."""
        if os.getpid() != self._pid:
            self._handlers, self._timers, self._lent = {}, [], set()
            self._epoll, self._thread, self._wake, self._pid = None, None, -1, os.getpid()

    def _start(self) -> None:
        if self._thread is not None:
            return
        self._epoll = select.epoll()
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._epoll.register(self._wake, select.EPOLLIN)
        self._thread = threading.Thread(target=self._run, name="crl-io", daemon=True)
        self._thread.start()

    def _poke(self) -> None:
        if self._wake >= 0:
            os.eventfd_write(self._wake, 1)

    def _run(self) -> None:
        epoll, wake = self._epoll, self._wake
        assert epoll is not None
        while True:
            with self._lock:
                if not self._handlers:
                    self._end(epoll, wake)
                    return
                timeout = self._timeout()
            for descriptor, events in epoll.poll(timeout):
                if descriptor == wake:
                    with suppress(BlockingIOError):
                        os.eventfd_read(wake)
                    continue
                handler = self._handlers.get(descriptor)
                if handler is not None:
                    self._guarded(handler, events)
            self._run_timers()
            self._rearm_lent()

    def _guarded(self, handler: Callable[[int], None], events: int) -> None:
        try:
            handler(events)
        except Exception:  # noqa: BLE001 - a bug in one handler must not end the thread that serves all links
            logger.exception("an I/O handler failed; please report this")

    def _end(self, epoll: select.epoll, wake: int) -> None:
        """Nothing is left to serve: free everything; the next user starts a new thread."""
        epoll.close()
        os.close(wake)
        self._epoll, self._thread, self._wake, self._timers = None, None, -1, []

    def _timeout(self) -> float:
        due = self._timers[0][0] - time.monotonic() if self._timers else 3600.0
        return max(0.0, min(due, LENT_SECONDS if self._lent else 3600.0))

    def _run_timers(self) -> None:
        now = time.monotonic()
        while True:
            with self._lock:
                if not self._timers or self._timers[0][0] > now:
                    return
                _, _, timer = heapq.heappop(self._timers)
            again = timer()
            if again is not None:
                with self._lock:
                    heapq.heappush(self._timers, (now + again, next(self._order), timer))

    def _rearm_lent(self) -> None:
        with self._lock:
            lent, self._lent = self._lent, set()
        for descriptor in lent:
            self.arm(descriptor, select.EPOLLIN)


driver = Driver()
