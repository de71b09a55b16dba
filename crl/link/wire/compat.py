"""What differs between the Pythons of the two ends, or costs a needless import.

Everybody who needs one of these takes it from here.
"""

# ruff: noqa: F401 - names in type comments look unused.

import sys

MYPY = False
if MYPY:
    from collections import deque
    from collections.abc import Callable
    from typing import Any
else:
    # Its module, not `collections`, which is the largest import of the start.
    from _collections import deque

try:
    from _thread import allocate_lock, error, get_ident, start_new_thread
except ImportError:
    from thread import (  # type: ignore[import-not-found,no-redef]
        allocate_lock,
        error,
        get_ident,
        start_new_thread,
    )

if sys.version_info < (3, 12):
    _start = start_new_thread

    def start_new_thread(function, args):  # type: ignore[no-redef]
        # type: (Callable[..., object], tuple[Any, ...]) -> int
        """Start a thread and wait until it runs.

        Until then it bears the number of its starter there, and would be struck by what is to interrupt that one.
        """
        runs = allocate_lock()
        runs.acquire()
        ident = _start(_run, (runs, function, args))
        runs.acquire()
        return ident

    def _run(runs, function, args):
        # type: (Any, Callable[..., object], tuple[Any, ...]) -> None
        runs.release()
        function(*args)


__all__ = ["allocate_lock", "deque", "error", "get_ident", "start_new_thread"]
