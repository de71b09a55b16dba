"""What differs between the Pythons of the two ends, or costs a needless import.

Everybody who needs one of these takes it from here.
"""

MYPY = False
if MYPY:
    from collections import deque
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

__all__ = ["allocate_lock", "deque", "error", "get_ident", "start_new_thread"]
