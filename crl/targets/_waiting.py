"""Waiting for a host: is something listening there, and when is it worth another try.

This module knows sockets and deadlines and nothing of shells.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

from crl.deadlines import Deadline

__all__ = ["is_listening", "tries_until"]

CONNECT_SECONDS = 3.0
FIRST_PAUSE = 0.2
LONGEST_PAUSE = 2.0


def is_listening(address: tuple[str, int], deadline: Deadline) -> bool:
    """Whether a TCP connection to that address can be opened now."""
    left = deadline.sooner(CONNECT_SECONDS).remaining() or 0.0
    try:
        with socket.create_connection(address, timeout=max(left, 0.05)):
            return True
    except OSError:  # Refused, unreachable, unknown yet: whatever it is, nobody answers there now.
        return False


def tries_until(deadline: Deadline, stop: threading.Event) -> Iterator[int]:
    """Numbers of tries with growing pauses between them, until the deadline has passed or `stop` is set."""
    pause, number = FIRST_PAUSE, 0
    while True:
        number += 1
        yield number
        left = deadline.remaining()
        if left is not None and left <= 0:
            return
        if stop.wait(pause if left is None else min(pause, left)):
            return
        pause = min(LONGEST_PAUSE, pause * 1.5)
