"""The stream of one file transfer on the controller's side: pieces in both directions, with credit.

The thread that transfers sends and receives here; the reading thread hands in what has come. It promises that no wait
is longer than the patience it was given without a sign of the target, and that memory stays below the credit.
"""

from __future__ import annotations

import threading
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from crl.deadlines import Deadline
from crl.link._engine import Waiter
from crl.link.errors import CallTimeout, LinkError
from crl.link.wire import messages
from crl.link.wire.credit import credit_for

if TYPE_CHECKING:
    from crl.link.link import Link

__all__ = ["Answered", "FileStream"]

# On a short way; a long one gets more.
CREDIT: Final = 1024 * 1024
RESET_PATIENCE: Final = 5.0


class Answered(Exception):
    """The target has said something before all was sent: it takes no more."""


class FileStream:
    """One stream of records.

    Args:
        link: The link that carries it.
        number: The stream's number.
        patience: Seconds to wait for a sign of the target; None waits for ever.

    Attributes:
        number: The stream's number.
        credit: How many bytes may be under way in each direction.
    """

    # Whoever transfers is back in a moment and reads for himself: a second thread would only get in his way.
    unattended = False

    def __init__(self, link: Link, number: int, patience: float | None) -> None:
        self._link = link
        self._patience = patience
        self.number = number
        self._lock = threading.Lock()
        self._pieces: deque[bytes] = deque()
        self._last: bytes | None = None
        self._received = self._used = self._granted = 0
        self.credit = max(CREDIT, credit_for(link.delay))
        self._sent, self._limit = 0, self.credit
        self._waiter: Waiter | None = None
        self._ended = False
        self._error: LinkError | None = None

    # -- the reading thread ----------------------------------------------------------------------------------------

    def take(self, message: bytes) -> bool:
        """A message with bytes has arrived, or arrives again after an interruption; False when it was not allowed."""
        with self._lock:
            if message is not self._last:
                self._pieces.append(message)
                self._received += len(message) - messages.HEAD.size
            self._last = message
            allowed = self._received <= self._granted + self.credit
        self._ring()
        return allowed

    def allow(self, limit: int) -> None:
        """The target takes `limit` bytes in all."""
        with self._lock:
            self._limit = max(self._limit, limit)
        self._ring()

    def end(self, error: LinkError | None = None) -> None:
        """The target says nothing more; with an error, the link is lost."""
        with self._lock:
            self._ended = True
            self._error = self._error or error
        self._ring()

    def reset(self) -> None:
        """The target's end is over."""
        self.end()

    def _ring(self) -> None:
        waiter = self._waiter
        if waiter is not None:
            waiter.finish()

    # -- the thread that transfers ---------------------------------------------------------------------------------

    def send(self, parts: list[bytes]) -> None:
        """Send bytes as soon as the target takes them.

        Raises:
            Answered: The target has an answer already.
            CallTimeout: It took nothing for too long.
            LinkLost: The link is gone.
        """
        size = sum(map(len, parts))
        while True:
            with self._lock:
                if self._error is not None:
                    raise self._error.again()
                if self._pieces or self._ended:
                    raise Answered
                if self._sent + size <= self._limit:
                    self._sent += size
                    break
                waiter = self._fresh()
            self._wait(waiter)
        head = messages.HEAD.pack(messages.DATA, self.number)
        self._link.send(b"".join((head, *parts)), self.number)

    def finish(self) -> None:
        """Tell the target that nothing follows."""
        self._link.send(messages.pack(messages.END, self.number), self.number)

    def receive(self) -> bytes | None:
        """The next message of the target, its head included; None at the end.

        Raises:
            CallTimeout: Nothing came for too long.
            LinkLost: The link is gone.
        """
        while True:
            with self._lock:
                if self._pieces:
                    message = self._pieces.popleft()
                    self._used += len(message) - messages.HEAD.size
                    grant = self._used - self._granted >= self.credit // 4
                    if grant:
                        self._granted = self._used
                    break
                if self._ended:
                    if self._error is not None:
                        raise self._error.again()
                    return None
                waiter = self._fresh()
            self._wait(waiter)
        if grant:
            self._link.grant(self.number, self._used + self.credit)
        return message

    def give_up(self, wait: bool) -> None:
        """Let the target drop the transfer; with `wait` until it has put its things in order, or for a few seconds."""
        with suppress(LinkError):  # a lost link has dropped everything
            self._link.send(messages.pack(messages.RESET, self.number))
            deadline = Deadline.after(RESET_PATIENCE)
            while wait and not deadline.expired:
                with self._lock:
                    self._pieces.clear()
                    if self._ended:
                        return
                    waiter = self._fresh()
                self._link.engine.wait(waiter, deadline)

    def _fresh(self) -> Waiter:
        self._waiter = Waiter()
        return self._waiter

    def _wait(self, waiter: Waiter) -> None:
        if not self._link.engine.wait(waiter, Deadline.after(self._patience)):
            raise CallTimeout(
                f"nothing has moved for {self._patience or 0:g} s",
                host=self._link.host,
                doing="transferring files",
                advice="give it a longer timeout, or look what holds up the target's disk",
            )
