"""Ending what a client left running."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Any

from crl.x2go.log import X2GoLogger, loglevel_ERROR

__all__ = ["x2go_cleanup"]

_logger = X2GoLogger(tag="cleanup")


def x2go_cleanup(e: BaseException | None = None, threads: Iterable[Any] | None = None) -> None:
    """End threads of the X2Go client: proxies, tunnels, guardians, queues.

    Args:
        e: Raised again at the end, whatever it is; also SystemExit.
        threads: What to end; anything with `stop_thread` or, as paramiko's transports, `close`. By default all threads
            of this process that are of the X2Go client and of nobody else.

    Raises:
        ExceptionGroup: Some could not be ended; all others were, and each failure is logged. Not raised over `e`.
    """
    failures: list[Exception] = []
    for thread in _ours() if threads is None else list(threads):
        if thread is threading.current_thread():
            continue
        try:
            _end(thread)
        except Exception as failure:  # noqa: BLE001 - one that fails must not keep the others running
            _logger(f"{thread} could not be ended: {failure}", loglevel=loglevel_ERROR)
            failures.append(failure)
    if e is not None:
        raise e
    if failures:
        raise ExceptionGroup("threads of the X2Go client could not be ended", failures)


def _ours() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if hasattr(thread, "stop_thread") and _is_ours(type(thread))]


def _is_ours(kind: type[Any]) -> bool:
    return any(base.__module__.startswith("crl.x2go.") for base in kind.__mro__)


def _end(thread: Any) -> None:
    stop = getattr(thread, "stop_thread", None) or getattr(thread, "close", None)
    if stop is not None:
        stop()
