"""Work that runs once for everybody who wants it: the single flight of a recovery.

This module knows threads and deadlines and nothing of terminals. It promises that a waiter leaves at its own deadline
while the work goes on, and that what the work raises reaches every waiter.
"""

from __future__ import annotations

import contextlib
import contextvars
import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from types import TracebackType

from crl.deadlines import Deadline
from crl.errors import RemoteWorldError

__all__ = ["Flight", "RecoveryPending", "is_definite", "is_target_error"]


class RecoveryPending(RemoteWorldError):
    """The session is still being brought up and the caller's time is over; nothing of the caller's was sent."""


class _HandedOver(contextlib.AbstractContextManager[None]):
    """Gives what its block raises to a future, as the result of the block."""

    def __init__(self, future: Future[None]) -> None:
        self._future = future

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        if error is None:
            self._future.set_result(None)
        else:
            self._future.set_exception(error)
        return True


class Flight:
    """One piece of work in a thread of its own, in the context (`contextvars`) of whoever started it.

    Args:
        work: What to do.
        name: Name of the thread.
    """

    def __init__(self, work: Callable[[], None], name: str) -> None:
        self._future: Future[None] = Future()
        self._work = work
        # A daemon, so that an interpreter that ends does not wait for a login; `close` of the owner ends it in time.
        context = contextvars.copy_context()
        self._thread = threading.Thread(target=context.run, args=(self._fly,), name=name, daemon=True)
        self._thread.start()

    def _fly(self) -> None:
        with _HandedOver(self._future):
            self._work()

    @property
    def landed(self) -> bool:
        """Whether the work is done, well or not."""
        return self._future.done()

    def join(self, deadline: Deadline) -> bool:
        """Wait for the end of the work and of its thread, whatever it came to; say whether it came."""
        done, _ = wait((self._future,), deadline.remaining())
        if done:
            # Nothing is left to do in that thread but to return.
            self._thread.join(1.0)
        return bool(done)

    def result(self, deadline: Deadline) -> None:
        """Wait for the work.

        Raises:
            RecoveryPending: It takes longer than that.
            Exception: Whatever the work raised.
        """
        if not self.join(deadline):
            raise RecoveryPending("the session is still being brought up; nothing of this call was sent")
        self._future.result()


def _with_causes(error: BaseException) -> list[BaseException]:
    found: list[BaseException] = []
    following: object = error
    while isinstance(following, BaseException) and following not in found:
        found.append(following)
        following = following.args[0] if following.args and isinstance(following.args[0], BaseException) else None
    return found


def is_definite(error: BaseException) -> bool:
    """Whether an error is a refusal that another try cannot change (wrong password, host key, no Python)."""
    return any(getattr(one, "definite", False) is True for one in _with_causes(error))


def is_target_error(error: BaseException) -> bool:
    """Whether an error was raised by code of the target and so says nothing about the session."""
    return getattr(error, "remote_traceback", None) is not None
