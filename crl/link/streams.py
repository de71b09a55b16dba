"""Streams on the controller's side: bytes to and from the target with credit in both directions.

`InputStream` keeps what the target sends until somebody reads it, never more than the credit; `OutputStream` sends no
more than the target can take. Both know the link only as a sender of messages and a place to wait.
"""

from __future__ import annotations

import itertools
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from crl.deadlines import Deadline
from crl.link._engine import Waiter
from crl.link.errors import CallTimeout, LinkError
from crl.link.wire import messages
from crl.link.wire.credit import Credit

if TYPE_CHECKING:
    from crl.link.link import Link

__all__ = ["PIECE", "InputStream", "OutputStream", "wait_for_any"]

PIECE = 32 * 1024 - 64
# What one writes and nobody waits behind may be more, and is cut into frames where the lane needs that.
WIDE_PIECE = 4 * PIECE


class InputStream:
    """Bytes from the target.

    Args:
        link: The link that carries it.
        number: The stream's number.
        on_end: Called once nothing more will arrive, in the reading thread.
        stamps: Numbers for what arrives; streams that share them can be read in the order of arrival.

    Attributes:
        dropped: How many bytes a spool on the target did not keep until now, because nobody took them.
    """

    def __init__(
        self,
        link: Link,
        number: int,
        on_end: Callable[[], None] | None = None,
        stamps: Iterator[int] | None = None,
    ) -> None:
        self._link = link
        self._number = number
        self._on_end = on_end
        self._stamps = itertools.count() if stamps is None else stamps
        self._lock = threading.Lock()
        self._pieces: deque[tuple[int, bytes]] = deque()
        self._over = Waiter()
        self._collecting = False
        self._waiters: list[Waiter] = []
        self._last: bytes | None = None
        self._received = 0
        self._credit = Credit()
        self.dropped = 0
        self.error: LinkError | None = None

    def collect(self) -> None:
        """Keep all that comes, however much: the target never has to wait for a reader."""
        with self._lock:
            already, self._collecting = self._collecting, True
            waiting = 0 if already else sum(len(message) - messages.HEAD.size for _, message in self._pieces)
        self._grant(waiting)

    def take(self, message: bytes) -> bool:
        """A message with bytes has arrived; called by the reading thread, which may be interrupted and call again.

        Returns:
            False when the target sends more than it was allowed to.
        """
        size = len(message) - messages.HEAD.size
        with self._lock:
            if message is not self._last:
                self._pieces.append((next(self._stamps), message))
                self._last = message
                self._received += size
            allowed = self._received <= self._credit.limit
            self._wake()
            collecting = self._collecting
        if collecting:
            self._grant(size)
        return allowed

    def skipped(self, message: bytes, count: int) -> None:
        """The target did not keep so many bytes before what follows; called by the reading thread."""
        with self._lock:
            if message is not self._last:
                self._last = message
                self.dropped += count

    def end(self, error: LinkError | None = None) -> None:
        """Nothing more will arrive; called by the reading thread."""
        with self._lock:
            self.error = self.error or error
            self._over.finish()
            self._wake()
        if self._on_end is not None:
            self._on_end()

    def reset(self) -> None:
        """The target's end has failed; called by the reading thread."""
        self.end()

    def read(self, timeout: float | None = None) -> bytes:
        """The next bytes, as many as are there; ``b""`` at the end.

        Raises:
            CallTimeout: Nothing came in that time.
            LinkLost: The link is gone.
        """
        wait_for_any((self,), Deadline.after(timeout), timeout, self._link)
        return self.collected()

    def wait_for_end(self, deadline: Deadline) -> None:
        """Wait until nothing more can arrive; what has arrived is still to be read.

        Raises:
            CallTimeout: It has not ended by then.
        """
        if not self._link.engine.wait(self._over, deadline):
            raise CallTimeout(
                "the output has not ended in time", host=self._link.host, doing="reading a process's output"
            )

    def collected(self) -> bytes:
        """Take all that has come, without waiting."""
        return self._take_until(None)

    def pop(self, other: InputStream) -> bytes:
        """Take what came before anything that waits in another stream."""
        return self._take_until(other.next_stamp)

    def _take_until(self, stamp: int | None) -> bytes:
        with self._lock:
            pieces = self._pieces
            taken = []
            while pieces and (stamp is None or pieces[0][0] < stamp):
                taken.append(memoryview(pieces.popleft()[1])[messages.HEAD.size :])
            data = b"".join(taken)
            collecting = self._collecting
        if data and not collecting:
            self._grant(len(data))
        return data

    def _grant(self, count: int) -> None:
        """Allow as much again as was used."""
        with self._lock:
            limit = 0 if self._over.done else self._credit.use(count, self._link.delay)
        if limit:
            self._link.grant(self._number, limit)

    def _wake(self) -> None:
        # Finished before they are forgotten: whoever is interrupted in between does it again.
        for waiter in self._waiters:
            waiter.finish()
        self._waiters.clear()

    def ready(self, waiter: Waiter) -> bool:
        """Whether something can be read or the end was reached; otherwise have a waiter woken when that changes."""
        with self._lock:
            if self._pieces or self._over.done:
                return True
            self._waiters.append(waiter)
            return False

    def unready(self, waiter: Waiter) -> None:
        """Wake a waiter no more."""
        with self._lock:
            if waiter in self._waiters:
                self._waiters.remove(waiter)

    @property
    def next_stamp(self) -> int | None:
        """When the next piece arrived, by the stamps; None when there is none."""
        with self._lock:
            return self._pieces[0][0] if self._pieces else None

    @property
    def ended(self) -> bool:
        """Whether all was read and the target has ended the stream."""
        with self._lock:
            return self._over.done and not self._pieces

    @property
    def over(self) -> bool:
        """Whether nothing more will arrive."""
        return self._over.done


def wait_for_any(streams: Sequence[InputStream], deadline: Deadline, timeout: float | None, link: Link) -> None:
    """Wait until one of some streams has something to read, or all have ended.

    Raises:
        CallTimeout: Nothing came in that time.
        LinkLost: The link is gone, and nothing is left to read.
    """
    while True:
        waiter = Waiter()
        try:
            # A stream at its end is ready for ever: what counts is what the others still have to say.
            ready = [stream for stream in streams if stream.ready(waiter)]
            if any(stream.next_stamp is not None for stream in ready):
                return
            if len(ready) == len(streams):
                break
            if not link.engine.wait(waiter, deadline):
                raise CallTimeout(f"no output within {timeout:g} s", host=link.host, doing="reading a process's output")
        finally:
            for stream in streams:
                stream.unready(waiter)
    for stream in streams:
        if stream.error is not None:
            raise stream.error.again()


class OutputStream:
    """Bytes to the target.

    Args:
        link: The link that carries it.
        number: The stream's number.
        over: Whether the target takes nothing from the beginning.
    """

    def __init__(self, link: Link, number: int, *, over: bool = False) -> None:
        self._link = link
        self._number = number
        self._lock = threading.Lock()
        self._sent = 0
        self._limit = messages.STREAM_CREDIT
        self._waiter: Waiter | None = None
        self._over = over
        self._error: LinkError | None = None

    def allow(self, limit: int) -> None:
        """The target takes `limit` bytes in all; called by the reading thread."""
        with self._lock:
            self._limit = max(self._limit, limit)
            waiter = self._waiter
        if waiter is not None:
            waiter.finish()

    def end(self, error: LinkError | None = None) -> None:
        """The target takes nothing any more; called by the reading thread."""
        with self._lock:
            self._over = True
            self._error = self._error or error
            waiter = self._waiter
        if waiter is not None:
            waiter.finish()

    def reset(self) -> None:
        """Nobody reads at the target's end any more; called by the reading thread."""
        self.end()

    def write(self, data: bytes | memoryview, timeout: float | None = None) -> None:
        """Send all of `data`, waiting for credit.

        Raises:
            BrokenPipeError: Nobody reads at the target's end.
            LinkLost: The link is gone.
            CallTimeout: The target did not take it in that time; part of it may have been taken.
        """
        deadline = Deadline.after(timeout)
        view = memoryview(data)
        while view:
            view = view[self._write_piece(view[:PIECE], deadline, timeout) :]

    def write_some(self, data: bytes | memoryview, timeout: float | None = None) -> int:
        """Send as many of the first bytes as the target takes now, waiting until it takes any; how many.

        Raises:
            BrokenPipeError: Nobody reads at the target's end.
            LinkLost: The link is gone.
            CallTimeout: The target took none in that time.
        """
        return self._write_piece(memoryview(data)[:WIDE_PIECE], Deadline.after(timeout), timeout)

    def _write_piece(self, view: memoryview, deadline: Deadline, timeout: float | None) -> int:
        count = self._reserve(len(view), deadline, timeout)
        self._link.send(messages.pack(messages.DATA, self._number, bytes(view[:count])), self._number)
        return count

    def close(self) -> None:
        """Tell the target that nothing follows."""
        with self._lock:
            over, self._over = self._over, True
        if not over:
            self._link.send(messages.pack(messages.END, self._number), self._number)

    def _reserve(self, wanted: int, deadline: Deadline, timeout: float | None) -> int:
        """Wait until the target takes more, and take as much of that as is wanted."""
        while True:
            with self._lock:
                if self._error is not None:
                    raise self._error.again()
                if self._over:
                    raise BrokenPipeError(f"nobody reads this stream on {self._link.host} any more")
                count = min(wanted, self._limit - self._sent)
                if count > 0:
                    self._sent += count
                    return count
                waiter = self._waiter = _fresh(self._waiter)
            if not self._link.engine.wait(waiter, deadline):
                raise CallTimeout(
                    f"the target took no more input within {timeout:g} s",
                    host=self._link.host,
                    doing="writing to a process",
                )


def _fresh(waiter: Waiter | None) -> Waiter:
    """A waiter for the next change; threads that wait for the same one share it."""
    return Waiter() if waiter is None or waiter.done else waiter
