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

from crl.channels._epoll import new_epoll

__all__ = ["Driver", "Registration", "Timer", "driver"]

logger = logging.getLogger(__name__)

LENT_SECONDS: Final = 0.02


class Registration:
    """One descriptor that the driver serves; stale ones do nothing, whoever has the descriptor's number by then.

    Args:
        owner: The driver.
        descriptor: What is served.
        handler: Called with the events.
    """

    __slots__ = ("_owner", "descriptor", "handler")

    def __init__(self, owner: Driver, descriptor: int, handler: Callable[[int], None]) -> None:
        self._owner = owner
        self.descriptor = descriptor
        self.handler = handler

    def arm(self, events: int) -> None:
        """Report the next event."""
        self._owner.arm(self, events)

    def arm_soon(self) -> None:
        """Report input again after a moment, so that one who reads it now is not disturbed."""
        self._owner.arm_soon(self)

    def remove(self) -> None:
        """Stop serving, before the descriptor's owner closes it."""
        self._owner.remove(self)


class Timer:
    """Something that is due at a time; made by `Driver.call_later`.

    Args:
        owner: The driver.
        function: What is called; it returns the seconds to its next call, or None.
    """

    __slots__ = ("_owner", "cancelled", "function")

    def __init__(self, owner: Driver, function: Callable[[], float | None]) -> None:
        self._owner = owner
        self.function = function
        self.cancelled = False

    def cancel(self) -> None:
        """Call it no more; one call may be under way."""
        self._owner.cancel(self)


class Driver:
    """Runs handlers when descriptors are ready and when timers are due.

    Attributes:
        pid: The number of this process, of a forked child too: without asking the system for it.
    """

    def __init__(self) -> None:
        self._forget_all()
        os.register_at_fork(after_in_child=self._forget_all)

    def _forget_all(self) -> None:
        """Nothing is served: at the beginning, and in a forked child, which has no thread of its parent's."""
        self.pid = os.getpid()
        self._lock = threading.Lock()
        self._handlers: dict[int, Registration] = {}
        self._timers: list[tuple[float, int, Timer]] = []
        self._order = itertools.count()
        self._lent: set[Registration] = set()
        self._lent_until = 0.0
        self._epoll: select.epoll | None = None
        self._thread: threading.Thread | None = None
        self._fresh: threading.Thread | None = None
        self._wake: int = -1

    def add(self, descriptor: int, handler: Callable[[int], None], events: int) -> Registration:
        """Serve a descriptor: `handler` gets the events, once for each time it is armed."""
        registration = Registration(self, descriptor, handler)
        with self._lock:
            epoll = self._started()
            # Known before it is served, for the thread may hear of it at once.
            self._handlers[descriptor] = registration
            try:
                epoll.register(descriptor, events | select.EPOLLONESHOT)
            except BaseException:
                del self._handlers[descriptor]
                raise
        self._start_thread()
        return registration

    def arm(self, registration: Registration, events: int) -> None:
        """Report the next event of a descriptor; harmless when it is not served any more."""
        with self._lock:
            self._arm(registration, events)

    def _arm(self, registration: Registration, events: int) -> None:
        if self._epoll is not None and self._handlers.get(registration.descriptor) is registration:
            with suppress(OSError):  # its owner closed it without a word: then nothing can happen there
                self._epoll.modify(registration.descriptor, events | select.EPOLLONESHOT)

    def arm_soon(self, registration: Registration) -> None:
        """Report a descriptor's input again after a moment, so that one who reads it now is not disturbed."""
        with self._lock:
            if not self._lent:
                self._lent_until = time.monotonic() + LENT_SECONDS
                if threading.current_thread() is not self._thread:
                    self._poke()
            self._lent.add(registration)

    def remove(self, registration: Registration) -> None:
        """Stop serving a descriptor, before its owner closes it."""
        with self._lock:
            self._lent.discard(registration)
            if self._handlers.get(registration.descriptor) is registration:
                del self._handlers[registration.descriptor]
                if self._epoll is not None:
                    with suppress(OSError):  # a closed descriptor has left the epoll by itself
                        self._epoll.unregister(registration.descriptor)
            self._poke()

    def call_later(self, seconds: float, function: Callable[[], float | None]) -> Timer:
        """Call `function` after that many seconds; what it returns is the time to its next call, None ends it."""
        timer = Timer(self, function)
        with self._lock:
            heapq.heappush(self._timers, (time.monotonic() + seconds, next(self._order), timer))
            self._started()
            self._poke()
        self._start_thread()
        return timer

    def cancel(self, timer: Timer) -> None:
        """Drop a timer; again is harmless."""
        with self._lock:
            timer.cancelled = True
            self._timers = [entry for entry in self._timers if entry[2] is not timer]
            heapq.heapify(self._timers)
            self._poke()

    # -- the thread --------------------------------------------------------------------------------------------------

    def _started(self) -> select.epoll:
        if self._epoll is None:
            self._epoll = new_epoll()
            self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
            self._epoll.register(self._wake, select.EPOLLIN)
            self._thread = self._fresh = threading.Thread(
                target=self._run, args=(self._epoll, self._wake), name="crl-io", daemon=True
            )
        return self._epoll

    def _start_thread(self) -> None:
        """Start the thread if it is new; not under the lock, which the thread takes first (a greenlet would hang)."""
        with self._lock:
            fresh, self._fresh = self._fresh, None
        if fresh is not None:
            fresh.start()

    def _poke(self) -> None:
        if self._wake >= 0:
            os.eventfd_write(self._wake, 1)

    def _run(self, epoll: select.epoll, wake: int) -> None:
        while True:
            with self._lock:
                if not self._handlers and not self._timers:
                    self._end(epoll, wake)
                    return
                timeout = self._timeout()
            for descriptor, events in epoll.poll(timeout):
                if descriptor == wake:
                    with suppress(BlockingIOError):
                        os.eventfd_read(wake)
                    continue
                registration = self._handlers.get(descriptor)
                if registration is not None:
                    self._guarded(registration.handler, events)
            self._run_timers()
            self._rearm_lent()

    def _guarded(self, handler: Callable[[int], None], events: int) -> None:
        # A bug in one handler must not end the thread that serves all links.
        try:
            handler(events)
        except Exception:
            logger.exception("an I/O handler failed; please report this")

    def _end(self, epoll: select.epoll, wake: int) -> None:
        """Nothing is left to serve: free everything; the next user starts a new thread."""
        epoll.close()
        os.close(wake)
        self._epoll, self._thread, self._wake, self._timers = None, None, -1, []

    def _timeout(self) -> float:
        now = time.monotonic()
        due = self._timers[0][0] if self._timers else now + 3600.0
        return max(0.0, min(due, self._lent_until if self._lent else due) - now)

    def _run_timers(self) -> None:
        now = time.monotonic()
        while True:
            with self._lock:
                if not self._timers or self._timers[0][0] > now:
                    return
                _, _, timer = heapq.heappop(self._timers)
            again = None
            try:
                again = timer.function()
            except Exception:
                logger.exception("a timer failed; please report this")
            with self._lock:
                if again is not None and not timer.cancelled:
                    heapq.heappush(self._timers, (now + again, next(self._order), timer))

    def _rearm_lent(self) -> None:
        with self._lock:
            if not self._lent or time.monotonic() < self._lent_until:
                return
            lent, self._lent = self._lent, set()
            for registration in lent:
                self._arm(registration, select.EPOLLIN)


driver = Driver()
