"""The clock of measurements that have several steps."""

from __future__ import annotations

import time

__all__ = ["Clock", "Times"]

Times = dict[str, float]


class Clock:
    """Notes seconds since the last start."""

    def __init__(self) -> None:
        self.times: Times = {}
        self.start()

    def start(self) -> None:
        """Count from now."""
        self._began = time.perf_counter()

    def note(self, what: str) -> None:
        """That took so long."""
        self.times[what] = time.perf_counter() - self._began
