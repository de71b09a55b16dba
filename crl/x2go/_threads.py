"""Threads that can be waited for also in programs that bring gevent in after our import.

gevent puts a class of its own in the place of `threading.Thread`; what was derived from the old one before runs as a
greenlet, but its end can be neither seen nor waited for. Here the thread itself tells its end.
"""

from __future__ import annotations

import threading

__all__ = ["OwnThread"]


class OwnThread(threading.Thread):
    """A thread that knows its end.

    Its arguments are those of `threading.Thread`; subclasses of users may call that one's constructor instead of ours.
    """

    _done: threading.Event | None = None

    def start(self) -> None:
        """As of any thread."""
        run, done = self.run, threading.Event()

        def run_to_the_end() -> None:
            try:
                run()
            finally:
                done.set()

        self.run = run_to_the_end  # type: ignore[method-assign]
        self._done = done
        super().start()

    def is_alive(self) -> bool:
        """As of any thread."""
        return super().is_alive() if _is_a_thread(self) else self._done is not None and not self._done.is_set()

    def join(self, timeout: float | None = None) -> None:
        """As of any thread."""
        if _is_a_thread(self):
            super().join(timeout)
        elif self._done is None:
            raise RuntimeError("cannot join thread before it is started")
        else:
            self._done.wait(timeout)


def _is_a_thread(thread: object) -> bool:
    """Whether the class of threads is still the one it was at our import."""
    return isinstance(thread, threading.Thread)
