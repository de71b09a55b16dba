"""An epoll also in programs in which gevent has replaced `select`.

gevent takes `select.epoll` away, because whoever waits in it stops all greenlets. There we make one of our own from a
fresh copy of the C module, and wait for its descriptor by the `select.poll` that was put in its place; so greenlets run
while our threads, which are greenlets then, wait.
"""

from __future__ import annotations

import importlib.util
import select
from typing import Any

__all__ = ["new_epoll"]


def new_epoll() -> select.epoll:
    """An epoll whose `poll` lets others run."""
    polled: Any = None if hasattr(select, "epoll") else _PolledEpoll()
    return select.epoll() if polled is None else polled


class _PolledEpoll:
    """An epoll that is waited for by `select.poll`."""

    def __init__(self) -> None:
        spec = importlib.util.find_spec("select")
        assert spec is not None
        assert spec.loader is not None
        fresh: Any = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(fresh)
        self._epoll = fresh.epoll()
        for name in ("register", "modify", "unregister", "close", "fileno"):
            setattr(self, name, getattr(self._epoll, name))

    def poll(self, timeout: float | None = None, maxevents: int = -1) -> list[tuple[int, int]]:
        """As `select.epoll.poll`."""
        poller = select.poll()
        poller.register(self._epoll.fileno(), select.POLLIN)
        poller.poll(None if timeout is None or timeout < 0 else timeout * 1000)
        ready: list[tuple[int, int]] = self._epoll.poll(0, maxevents)
        return ready
