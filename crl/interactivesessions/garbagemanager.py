"""Garbage of a session, collected until it is worth a clean-up.

It knows nothing of what the garbage is or how it is cleaned away. It promises that garbage of another session is never
handed to the clean-up, that what was not cleaned is kept, and that any threads may add to it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

__all__ = ["GarbageManager"]


class GarbageManager:
    """Collects garbage of one session at a time.

    Args:
        clean: Is called with the list of what was collected.
        max_garbage: How much may be collected without a clean-up.
    """

    def __init__(self, clean: Callable[[list[Any]], object], max_garbage: int) -> None:
        self._clean = clean
        self._max_garbage = max_garbage
        self._session_id: object = None
        self._garbage: list[Any] = []
        # Also taken by finalizers, which may run in the thread that holds it.
        self._lock = threading.RLock()

    def add(self, session_id: object, garbage: Any) -> None:
        """Add one piece; garbage of an earlier session went with that and is forgotten."""
        with self._lock:
            if session_id != self._session_id:
                self._session_id, self._garbage = session_id, []
            self._garbage.append(garbage)

    def clean_if_needed(self, session_id: object) -> None:
        """Have it cleaned away, when there is more of this session than is allowed.

        Raises:
            Exception: What the clean-up raises; the garbage is kept for the next one.
        """
        with self._lock:
            if session_id != self._session_id or len(self._garbage) <= self._max_garbage:
                return
            taken, self._garbage = self._garbage, []
        try:
            self._clean(taken)
        except BaseException:
            with self._lock:
                if session_id == self._session_id:
                    self._garbage[:0] = taken
            raise

    def __len__(self) -> int:
        """How much there is."""
        return len(self._garbage)
