"""One thread that waits for the descriptors of all paramiko connections of this process.

It knows descriptors and functions only: a function is called when its descriptor can take more, or has something to
read, and must not block. It promises that the thread exists as long as somebody uses the hub and no longer, and that a
forked child starts afresh.
"""

from __future__ import annotations

import logging
import os
import select
import threading
from collections.abc import Callable
from typing import Final

from crl.channels._epoll import new_epoll

__all__ = ["Hub", "hub"]

_log = logging.getLogger("crl.channels")


class Hub:
    """Calls functions when descriptors become writable or readable, in a thread of its own."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._epoll: select.epoll | None = None
        self._wake = -1
        self._thread: threading.Thread | None = None
        self._calls: dict[int, Callable[[], None]] = {}

    def join(self) -> None:
        """Begin to use the hub; the first user starts its thread."""
        with self._lock:
            self._users += 1
            if self._users > 1:
                return
            self._epoll = new_epoll()
            self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
            self._epoll.register(self._wake, select.EPOLLIN)
            arguments = (self._epoll, self._wake)
            self._thread = threading.Thread(target=self._run, args=arguments, name="crl hub", daemon=True)
            self._thread.start()

    def leave(self) -> None:
        """Use the hub no more; the last user ends its thread and waits for that."""
        with self._lock:
            self._users -= 1
            if self._users:
                return
            epoll, wake, thread = self._epoll, self._wake, self._thread
            self._epoll, self._thread = None, None
            self._calls.clear()
        assert epoll is not None
        assert thread is not None
        os.eventfd_write(wake, 1)
        if thread is not threading.current_thread():
            thread.join()

    def when_writable(self, descriptor: int, call: Callable[[], None]) -> None:
        """Call a function once, from the hub's thread, when a descriptor takes more or has broken.

        A call may come although nothing is taken, so what is called must not block and has to ask again if need be.
        """
        self._await(descriptor, select.EPOLLOUT, call)

    def when_readable(self, descriptor: int, call: Callable[[], None]) -> None:
        """Call a function once, from the hub's thread, when a descriptor has something to read or has ended.

        It is for another descriptor than those of `when_writable`, a duplicate for example.
        """
        self._await(descriptor, select.EPOLLIN, call)

    def _await(self, descriptor: int, event: int, call: Callable[[], None]) -> None:
        with self._lock:
            if self._epoll is None or descriptor < 0:
                return
            known = descriptor in self._calls
            self._calls[descriptor] = call
            if not known:
                self._epoll.register(descriptor, event)

    def forget(self, descriptor: int) -> None:
        """Wait for a descriptor no more; to be said before it is closed."""
        with self._lock:
            if self._calls.pop(descriptor, None) is not None and self._epoll is not None:
                self._epoll.unregister(descriptor)

    def _run(self, epoll: select.epoll, wake: int) -> None:
        try:
            while True:
                for descriptor, _ in epoll.poll():
                    if descriptor == wake:
                        return
                    self._call(epoll, descriptor)
        finally:
            epoll.close()
            os.close(wake)

    def _call(self, epoll: select.epoll, descriptor: int) -> None:
        with self._lock:
            call = self._calls.pop(descriptor, None)
            if call is None or self._epoll is not epoll:
                return
            epoll.unregister(descriptor)
        try:
            call()
        except Exception:  # noqa: BLE001
            # One connection's trouble must not stop the others; this one is noticed by its own reader.
            _log.exception("a connection could not be served")


class _Current:
    """The hub of this process."""

    def __init__(self) -> None:
        self.hub: Final = Hub()


_current = _Current()


def hub() -> Hub:
    """The hub of this process; a forked child has another one than its parent."""
    return _current.hub


def _after_fork() -> None:
    global _current
    _current = _Current()


os.register_at_fork(after_in_child=_after_fork)
