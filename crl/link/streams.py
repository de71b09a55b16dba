"""Streams on the controller's side: bytes to and from the target with credit in both directions.

`InputStream` keeps what the target sends until somebody reads it, never more than the credit; `OutputStream` sends no
more than the target can take. Both know the link only as a sender of messages and a place to wait.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING

from crl.deadlines import Deadline
from crl.link._engine import Waiter
from crl.link.errors import CallTimeout, LinkError
from crl.link.wire import messages

if TYPE_CHECKING:
    from crl.link.link import Link

__all__ = ["InputStream", "OutputStream"]

PIECE = 32 * 1024 - 64


class InputStream:
    """Bytes from the target.

    Args:
        link: The link that carries it.
        number: The stream's number.
    """

    def __init__(self, link: Link, number: int) -> None:
        self._link = link
        self._number = number
        self._lock = threading.Lock()
        self._pieces: deque[bytes] = deque()
        self._ended = False
        self._collecting = False
        self._waiter: Waiter | None = None
        self._last: bytes | None = None
        self._received = 0
        self._used = 0
        self.error: LinkError | None = None

    def collect(self) -> None:
        """Keep all that comes, however much: the target never has to wait for a reader."""
        with self._lock:
            self._collecting = True

    def take(self, message: bytes) -> bool:
        """A message with bytes has arrived; called by the reading thread, which may be interrupted and call again.

        Returns:
            False when the target sends more than it was allowed to.
        """
        size = len(message) - messages.HEAD.size
        with self._lock:
            if message is not self._last and not (self._pieces and message is self._pieces[-1]):
                self._pieces.append(message)
                self._received += size
            self._last = message
            allowed = self._received <= self._used + messages.STREAM_CREDIT
            waiter, collecting = self._waiter, self._collecting
        if waiter is not None:
            waiter.finish()
        if collecting:
            self._grant(size)
        return allowed

    def end(self, error: LinkError | None = None) -> None:
        """Nothing more will arrive; called by the reading thread."""
        with self._lock:
            self._ended = True
            self.error = self.error or error
            waiter = self._waiter
        if waiter is not None:
            waiter.finish()

    def reset(self) -> None:
        """The target's end has failed; called by the reading thread."""
        self.end()

    def read(self, timeout: float | None = None) -> bytes:
        """The next bytes, as many as are there; ``b""`` at the end.

        Raises:
            CallTimeout: Nothing came in that time.
            LinkLost: The link is gone.
        """
        deadline = Deadline.after(timeout)
        while True:
            with self._lock:
                if self._pieces:
                    data = self._joined()
                    break
                if self._ended:
                    if self.error is not None:
                        raise self.error.again()
                    return b""
                waiter = self._waiter = _fresh(self._waiter)
            if not self._link.engine.wait(waiter, deadline):
                raise CallTimeout(
                    f"no output within {timeout:g} s", host=self._link.host, doing="reading a process's output"
                )
        if not self._collecting:
            self._grant(len(data))
        return data

    def collected(self) -> bytes:
        """Take all that has come, without waiting."""
        with self._lock:
            return self._joined()

    def _joined(self) -> bytes:
        if self._pieces:
            self._last = self._pieces[-1]
        data = b"".join([memoryview(piece)[messages.HEAD.size :] for piece in self._pieces])
        self._pieces.clear()
        return data

    def _grant(self, count: int) -> None:
        with self._lock:
            self._used += count
            limit = self._used + messages.STREAM_CREDIT
        self._link.grant(self._number, limit)

    @property
    def ended(self) -> bool:
        """Whether all was read and the target has ended the stream."""
        with self._lock:
            return self._ended and not self._pieces


class OutputStream:
    """Bytes to the target.

    Args:
        link: The link that carries it.
        number: The stream's number.
    """

    def __init__(self, link: Link, number: int) -> None:
        self._link = link
        self._number = number
        self._lock = threading.Lock()
        self._sent = 0
        self._limit = messages.STREAM_CREDIT
        self._waiter: Waiter | None = None
        self._over = False
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
            count = self._reserve(min(len(view), PIECE), deadline, timeout)
            self._link.send(messages.pack(messages.DATA, self._number, bytes(view[:count])), self._number)
            view = view[count:]

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
