"""Python's own parser for many threads.

It knows nothing of the rest. Python 3.11 counts the depth of all syntax trees that are being made in one place, so that
two threads which parse at the same time may get a `SystemError`; here one waits for the other.
"""

from __future__ import annotations

import ast
import threading
from typing import Final

__all__ = ["parse"]

_one_at_a_time: Final = threading.Lock()


def parse(text: str | bytes) -> ast.Module:
    """As `ast.parse`."""
    with _one_at_a_time:
        return ast.parse(text)
