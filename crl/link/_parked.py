"""The terminal that a link has left for a lane beside it, and to which it goes back.

Nothing that matters comes there meanwhile but its end, or the last words of a remote program that was killed; both are
told. It promises to read on, so that nobody at the far end is stuck in a write, and to keep little of it.
"""

from __future__ import annotations

import select
import threading
from collections.abc import Callable
from typing import Final

from crl.channels.base import ChannelClosed
from crl.link._attachment import Attachment
from crl.link._driver import driver
from crl.link.lane import Lane
from crl.link.remote import tiny

__all__ = ["Parked"]

# What two pipes of a killed program's output hold, and more.
KEPT: Final = 256 * 1024


class Parked:
    """A terminal that waits.

    Args:
        lane: The terminal's lane.
        left: How it was attached, until now.
        on_last_words: Called once in the I/O thread when the remote program is dead.

    Attributes:
        lane: The terminal's lane.
        mark: Its end mark.
        unfinished: What has to be written before anything else can be understood there.
    """

    def __init__(self, lane: Lane, left: Attachment, on_last_words: Callable[[], None]) -> None:
        self.lane = lane
        self.mark = left.mark
        self.unfinished = left.unfinished()
        self._find_end = left.find_end
        self._ended = False
        self._tail = b""
        self._lock = threading.Lock()
        self._left = False
        self._on_last_words: Callable[[], None] | None = on_last_words
        left.close()
        self._registration = driver.add(lane.channel.fileno(), self._on_readable, 0)
        self._registration.arm(select.EPOLLIN)

    def _on_readable(self, _events: int) -> None:
        with self._lock:
            # What comes after we have left is somebody else's.
            if self._left or not self._read():
                return
            self._registration.arm(select.EPOLLIN)
        told = self._on_last_words
        if told is not None and self._is_dead():
            self._on_last_words = None
            told()

    def _read(self) -> bool:
        try:
            data = self.lane.channel.read()
        except BlockingIOError:
            return True
        except (ChannelClosed, OSError):
            data = b""
        self._ended = not data
        self._tail = (self._tail + data)[-KEPT:]
        return bool(data)

    @property
    def ended(self) -> bool:
        """Whether the terminal is gone, or who waited there for the program, and nobody else, was killed."""
        left_to_the_shell = not self._is_dead() and self._find_end(self._tail) is not None
        return self._ended or self.lane.channel.closed or left_to_the_shell

    def _is_dead(self) -> bool:
        return self.mark + tiny.DEAD in self._tail

    def leave(self) -> bytes:
        """Read it no more; the last that came."""
        with self._lock:
            self._left = True
        self._registration.remove()
        return self._tail
