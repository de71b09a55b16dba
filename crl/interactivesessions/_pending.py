"""A call that was sent and whose answer may still come: what stands behind a `RemoteTimeout`.

This module knows the link's calls and nothing of proxies. It promises that the answer of a call that nobody can ask for
any more is dropped on the target, and that nothing blocks or locks when that is found out in a ``__del__``.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable
from typing import Any

from crl.link import Call, CallTimeout

__all__ = ["Bin", "PendingResponse"]

LET_GO_AT_A_TIME = 4

_numbers = itertools.count(1)


class Bin:
    """What this end needs no more and the target still holds: handles of objects and calls without a reader.

    Filled by ``__del__`` methods, which may run at any moment in any thread, so nothing here takes a lock: appending to
    and popping from a deque are atomic.

    Args:
        session_id: The session that all of it belongs to.
    """

    def __init__(self, session_id: str) -> None:
        self.session_id = session_id
        self._handles: deque[str] = deque()
        self._calls: deque[tuple[Call, object]] = deque()

    def add_handle(self, handle: str) -> None:
        """Note that an object on the target is not used any more."""
        self._handles.append(handle)

    def add_call(self, call: Call, needs: object) -> None:
        """Note that nobody waits for a call any more, and what has to live on the target until it is over."""
        self._calls.append((call, needs))

    def __len__(self) -> int:
        """How many handles are waiting to be released."""
        return len(self._handles)

    def take_handles(self) -> list[str]:
        """Take out all handles."""
        return _drain(self._handles)

    def let_go(self) -> None:
        """Forget calls that nobody waits for, once they are over; some at a time, so that no caller is held up.

        A call that keeps its result on the target has to end before that result can be released.
        """
        for _ in range(min(len(self._calls), LET_GO_AT_A_TIME)):
            try:
                call, needs = self._calls.popleft()
            except IndexError:  # Another thread was faster.
                return
            if not call.done:
                if needs:
                    self._calls.append((call, needs))
                else:
                    call.abandon()


def _drain(queue: deque[str]) -> list[str]:
    taken = []
    while queue:
        try:
            taken.append(queue.popleft())
        except IndexError:  # Another thread was faster.
            break
    return taken


class PendingResponse:
    """One call under way.

    Args:
        call: The link's call.
        session_id: The session it was made in.
        unused: Where it goes when nobody wants the answer any more.
        needs: What has to live on the target as long as the call runs; only held here.
    """

    def __init__(self, call: Call, session_id: str, unused: Bin, needs: object = None) -> None:
        self.response_id = next(_numbers)
        self.session_id = session_id
        self._call = call
        self._unused = unused
        self._needs = needs
        self._over = False

    def result(self, timeout: float | None) -> Any:
        """Wait for the answer.

        Args:
            timeout: Seconds; None means for ever, or until the session is lost.

        Raises:
            CallTimeout: It has not come; ask again later.
            Exception: What the code on the target raised, or the link's own error.
        """
        try:
            answer = self._call.result(timeout)
        except CallTimeout:
            raise
        except Exception:
            self._over = True
            raise
        self._over = True
        return answer

    def done(self) -> bool:
        """Whether the answer is here."""
        return self._call.done

    def watch(self, on_done: Callable[[], object]) -> None:
        """Have `on_done` called when the answer is here, in a thread that reads; perhaps twice."""
        self._call.watch(on_done)

    def cancel(self, patience: float) -> bool:
        """Stop the call on the target; whether it has ended within that many seconds."""
        return self._call.cancel(patience)

    def __del__(self) -> None:
        if not self._over:
            self._unused.add_call(self._call, self._needs)
