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
        self.error: LinkError | None = None

    def collect(self) -> None:
        """Keep all that comes, however much: the target never has to wait for a reader."""
        with self._lock:
            self._collecting = True

    def take(self, data: bytes) -> None:
        """Bytes have arrived; called by the reading thread."""
        with self._lock:
            self._pieces.append(data)
            waiter, collecting = self._waiter, self._collecting
        if collecting:
            self._link.grant(self._number, len(data))
        if waiter is not None:
            waiter.finish()

    def end(self, error: LinkError | None = None) -> None:
        """Nothing more will arrive; called by the reading thread."""
        with self._lock:
            self._ended = True
            self.error = self.error or error
            waiter = self._waiter
        if waiter is not None:
            waiter.finish()

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
                    data = b"".join(self._pieces)
                    self._pieces.clear()
                    break
                if self._ended:
                    if self.error is not None:
                        raise self.error
                    return b""
                self._waiter = waiter = Waiter()
            if not self._link.engine.wait(waiter, deadline):
                raise CallTimeout(
                    f"no output within {timeout:g} s", host=self._link.host, doing="reading a process's output"
                )
        if not self._collecting:
            self._link.grant(self._number, len(data))
        return data

    def collected(self) -> bytes:
        """Take all that has come, without waiting."""
        with self._lock:
            data = b"".join(self._pieces)
            self._pieces.clear()
        return data

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
        self._credit = messages.STREAM_CREDIT
        self._waiter: Waiter | None = None
        self._over = False

    def more_credit(self, count: int) -> None:
        """The target has used `count` bytes; called by the reading thread."""
        with self._lock:
            self._credit += count
            waiter = self._waiter
        if waiter is not None:
            waiter.finish()

    def end(self) -> None:
        """The target takes nothing any more; called by the reading thread."""
        with self._lock:
            self._over = True
            waiter = self._waiter
        if waiter is not None:
            waiter.finish()

    def write(self, data: bytes | memoryview, timeout: float | None = None) -> None:
        """Send all of `data`, waiting for credit.

        Raises:
            BrokenPipeError: Nobody reads at the target's end.
            CallTimeout: The target did not take it in that time; part of it may have been taken.
        """
        deadline = Deadline.after(timeout)
        view = memoryview(data)
        while view:
            count = min(len(view), PIECE, self._wait_for_credit(deadline, timeout))
            with self._lock:
                self._credit -= count
            self._link.send(messages.pack(messages.DATA, self._number, bytes(view[:count])), self._number)
            view = view[count:]

    def close(self) -> None:
        """Tell the target that nothing follows."""
        with self._lock:
            over, self._over = self._over, True
        if not over:
            self._link.send(messages.pack(messages.END, self._number), self._number)

    def _wait_for_credit(self, deadline: Deadline, timeout: float | None) -> int:
        while True:
            with self._lock:
                if self._over:
                    raise BrokenPipeError(f"nobody reads this stream on {self._link.host} any more")
                if self._credit > 0:
                    return self._credit
                self._waiter = waiter = Waiter()
            if not self._link.engine.wait(waiter, deadline):
                raise CallTimeout(
                    f"the target took no more input within {timeout:g} s",
                    host=self._link.host,
                    doing="writing to a process",
                )
