"""One terminal of a link, as the engine serves it: the channel, who is told of it, and what is not written yet.

A link has one at a time; when another takes its place, the old one is only let go here: the channel belongs to the
shells.
"""

from __future__ import annotations

import os
import re
import select
from collections import deque
from collections.abc import Callable

from crl.channels.base import Channel
from crl.link._driver import driver

__all__ = ["Attachment"]


class Attachment:
    """A channel in use.

    Args:
        channel: The bytes; borrowed.
        end_mark: What the shell prints before a status and ``;`` when the program at the other end was ended by force.
        wake: A descriptor that ends the wait for input.
        on_readable: Called in the I/O thread when there is input.
        on_writable: Called in the I/O thread when there is room again.

    Attributes:
        unsent: Frames that are not written yet.
        mark: The end mark.
        noise: How much noise had come when the end was last looked for.
    """

    def __init__(
        self,
        channel: Channel,
        end_mark: bytes,
        wake: int,
        on_readable: Callable[[int], None],
        on_writable: Callable[[int], None],
    ) -> None:
        self.channel = channel
        self.unsent: deque[memoryview] = deque()
        self.noise = 0
        self.mark = end_mark
        self._end_mark = re.compile(re.escape(end_mark) + rb":(\d+);")
        descriptor = channel.fileno()
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLIN)
        self._poll.register(wake, select.POLLIN)
        self._wake = wake
        # A second descriptor of the same channel, so that reading and writing are armed apart.
        self._second = os.dup(descriptor)
        self.incoming = driver.add(descriptor, on_readable, 0)
        self.outgoing = driver.add(self._second, on_writable, 0)

    def wait(self, milliseconds: int) -> bool:
        """Wait for input, or to be woken; whether there is input."""
        woken = False
        for descriptor, _ in self._poll.poll(milliseconds):
            if descriptor != self._wake:
                return True
            woken = True
        if woken:
            os.eventfd_read(self._wake)
        return False

    def find_end(self, seen: bytes) -> tuple[int, bytes, bytes] | None:
        """The status that the shell has printed, what came before it and what after; None before the end."""
        end = self._end_mark.search(seen)
        return None if end is None else (int(end.group(1)), seen[: end.start()], seen[end.end() :])

    def close(self) -> None:
        """Serve it no more."""
        self.incoming.remove()
        self.outgoing.remove()
        os.close(self._second)
