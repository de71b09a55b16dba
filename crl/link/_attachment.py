"""One terminal of a link, as the engine serves it: the channel, who is told of it, and what is not written yet.

A link has one at a time; when another takes its place, the old one is only let go here: the channel belongs to the
shells.
"""

from __future__ import annotations

import os
import re
import select
import signal
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from crl.channels.base import Channel
from crl.link._armoured import ArmouredChannel
from crl.link._driver import driver
from crl.link._marks import Mark
from crl.link.remote import tiny

__all__ = ["Attachment", "cause_of", "without_marks"]

READ_SIZE: Final = 65536
BULK_READ_SIZE: Final = 4 * READ_SIZE
# What a shell may say behind the mark in the same breath.
TAIL: Final = 16 * 1024
# From this exit status on, the shell says that a signal ended what it ran.
SIGNAL_STATUS: Final = 128


# What the start line prints for us and is nothing for the reader of an error.
MARKS: Final = re.compile(r"[0-9a-f]{16}(>[0-9]>|:[0-9]+;[0-9a-f]*)")


def without_marks(noise: str) -> str:
    """What was seen on a terminal beside our frames, for people."""
    return MARKS.sub("", noise)


def cause_of(status: int) -> str:
    """What a status of the start line says about the remote program's end."""
    try:
        return signal.Signals(status - SIGNAL_STATUS).name
    except ValueError:
        return f"status {status}"


class Attachment:
    """A channel in use.

    Args:
        channel: The bytes; borrowed.
        end_mark: What the shell prints before a status and ``;`` when the program at the other end was ended by force.
        wake: A descriptor that ends the wait for input; -1 when the link is over.
        woken: Takes what made that descriptor readable, if it is still open: nobody but its owner may read it.
        on_readable: Called in the I/O thread when there is input.
        on_writable: Called in the I/O thread when there is room again.
        beside: Whether the channel stands beside a terminal to which the link goes back.
        under: As of `Lane`.

    Attributes:
        unsent: Frames that are not written yet.
        parted: Whether nothing is written any more but what is unsent then, the last line.
        write: Writes frames, and the last line as it is.
        mark: The end mark.
        noise: How much noise had come when the end was last looked for.
        read_size: How many bytes to ask for.
    """

    def __init__(
        self,
        channel: Channel,
        end_mark: bytes,
        wake: int,
        woken: Callable[[], None],
        on_readable: Callable[[int], None],
        on_writable: Callable[[int], None],
        *,
        beside: bool = False,
        under: Sequence[bytes] = (),
    ) -> None:
        self.channel = channel
        self.beside = beside
        self.unsent: deque[bytes | memoryview] = deque()
        self.noise = 0
        self.read_size = READ_SIZE
        self.parted = False
        self.write = channel.write
        self.mark = end_mark
        broken = isinstance(channel, ArmouredChannel) and channel.breaks_lines
        self._says = Mark(end_mark, broken)
        self._under = [Mark(text, broken) for text in under]
        self._tail_size = max(map(len, (end_mark, *under)))
        descriptor = channel.fileno()
        self._watched = [one for one in (descriptor, wake) if one >= 0]
        self._poll = self._new_poll()
        self._wake = wake
        self._woken = woken
        # A second descriptor of the same channel, so that reading and writing are armed apart.
        self._second = os.dup(descriptor)
        self._tail = b""
        self._marked = False
        self.incoming = driver.add(descriptor, on_readable, 0)
        self.outgoing = driver.add(self._second, on_writable, 0)

    def _new_poll(self) -> select.poll:
        poll = select.poll()
        for descriptor in self._watched:
            poll.register(descriptor, select.POLLIN)
        return poll

    def wait(self, milliseconds: int) -> bool:
        """Wait for input, or to be woken; whether there is input."""
        rung = False
        try:
            happened = self._poll.poll(milliseconds)
        except RuntimeError:
            # There are two readers for a moment, and one object cannot serve both.
            self._poll = self._new_poll()
            happened = self._poll.poll(milliseconds)
        for descriptor, _ in happened:
            if descriptor != self._wake:
                return True
            rung = True
        if rung:
            self._woken()
        return False

    def expect_after(self, count: int) -> None:
        """So much was read: more is asked for only behind a full read, since room for it costs a small one time."""
        self.read_size = BULK_READ_SIZE if count >= READ_SIZE else READ_SIZE

    def may_end(self, data: bytes) -> bool:
        """Whether the end mark may have come with what was just read; costs little however much that is."""
        if not self._marked:
            seen = self._tail + data[-TAIL:]
            self._marked = any(mark.may_stand_in(seen) for mark in (self._says, *self._under))
            self._tail = seen[-self._tail_size :]
        return self._marked

    def find_under(self, seen: bytes) -> bytes | None:
        """What was said from the prompt of a shell under the link's own on; None while no such prompt has come."""
        for mark in self._under:
            found = mark.first(seen, b"")
            if found is not None:
                return mark.text + found[1] + self._held()
        return None

    def find_end(self, seen: bytes) -> tuple[int, bytes] | None:
        """The status that the shell has printed, and what follows it; None before the end."""
        end = self._says.status(seen)
        return None if end is None else (end[0], end[1] + self._held())

    def part(self) -> None:
        """Have the mark as our last bytes: what waits at the far end for it then gives the terminal to the shell.

        Whatever was not written is dropped, for the program that it was meant for has ended. The mark goes as soon as
        there is room for it: a shell that swallows what was sent to the dead reads byte by byte.
        """
        if self.parted:
            return
        self.parted = True
        self.unsent.clear()
        # It goes as it is, for a shell may read it.
        if isinstance(self.channel, ArmouredChannel):
            self.write = self.channel.bare().write
        self.unsent.append(tiny.last_line(self.mark))

    def find_clear(self, rest: bytes) -> bytes | None:
        """What follows the program's word that it has read our last byte; None before it."""
        found = self._says.first(rest, tiny.CLEAR)
        return None if found is None else found[1] + self._held()

    def _held(self) -> bytes:
        """What armour has kept of the shell's words because it might have been the beginning of a line."""
        return self.channel.rest() if isinstance(self.channel, ArmouredChannel) else b""

    def find_last_words(self, seen: bytes) -> tuple[bytes, bytes] | None:
        """What the program's code had still written to its outputs when it was killed; None while nobody says so.

        The marks before them come from what waits in the shell; see `crl.link.remote.tiny`.
        """
        words = self._says.last(seen, tiny.DEAD)
        if words is None:
            return None
        both = self._says.last(words[0], b">2>")
        if both is None:
            return b"", b""
        # Without the first mark, more was said than is kept, and the beginning is lost.
        output = self._says.last(both[0], b">1>")
        return both[0] if output is None else output[1], both[1]

    def unfinished(self) -> bytes:
        """The rest of a frame that was written in part: it has to be whole before anything else can be understood."""
        first = self.unsent[0] if self.unsent else b""
        # A whole one is still the bytes that the session gave.
        return bytes(first) if isinstance(first, memoryview) else b""

    def close(self) -> None:
        """Serve it no more."""
        self.incoming.remove()
        self.outgoing.remove()
        os.close(self._second)
