"""A given socket as python-xlib sees it: bounded in time and in bytes.

python-xlib opens its own sockets and waits without limit. `Wire` stands in the place of the socket it would have
opened, and `WirePoll` in the place of the `select` module. Both know only the one operation under way: when it has to
be done, and how many bytes of answer it may take.
"""

from __future__ import annotations

import contextlib
import math
import select
import socket
from collections.abc import Sequence

from crl.deadlines import Deadline

__all__ = ["Wire", "WireFull", "WirePoll"]

MAX_ANSWER = 256 * 1024 * 1024


class WireFull(OSError):
    """The X server sent more for one operation than any honest answer needs."""


class Wire:
    """A connected socket with the limits of the operation under way.

    Args:
        sock: The socket; closed with the wire.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self.deadline = Deadline.after(None)
        self._budget = MAX_ANSWER

    def begin(self, deadline: Deadline) -> None:
        """Start an operation that has to be done by `deadline`."""
        self.deadline = deadline
        self._budget = MAX_ANSWER

    def fileno(self) -> int:
        """The socket's descriptor, -1 when closed."""
        return self._socket.fileno()

    def send(self, data: bytes) -> int:
        """Send some of `data`; how many bytes it was."""
        return self._socket.send(data)

    def recv(self, size: int) -> bytes:
        """Read at most `size` bytes.

        Raises:
            WireFull: The answer is larger than any honest one.
        """
        data = self._socket.recv(size)
        self._budget -= len(data)
        if self._budget < 0:
            raise WireFull(f"more than {MAX_ANSWER} bytes came as one answer")
        return data

    def getsockopt(self, level: int, option: int) -> int:
        """As of the socket."""
        return self._socket.getsockopt(level, option)

    def wait(self, *, writing: bool, timeout: float | None) -> tuple[bool, bool]:
        """Wait until the socket can be read, or written if `writing`; both answers, both False when time is over.

        Args:
            writing: Whether room for writing ends the wait.
            timeout: Seconds; None waits up to the operation's deadline, and that passing is an error.

        Raises:
            TimeoutError: The operation's deadline passed.
        """
        poller = select.poll()
        poller.register(self._socket, select.POLLIN | (select.POLLOUT if writing else 0))
        ready = poller.poll(self.deadline.poll_ms() if timeout is None else math.ceil(timeout * 1000))
        if not ready and timeout is None:
            raise TimeoutError("the X server did not answer in time")
        events = ready[0][1] if ready else 0
        broken = events & (select.POLLHUP | select.POLLERR)
        return bool(events & select.POLLIN or broken), bool(writing and (events & select.POLLOUT or broken))

    def close(self) -> None:
        """Close the socket; again is harmless."""
        with contextlib.suppress(OSError):  # the peer may have gone already; close below is what counts
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


class WirePoll:
    """What python-xlib's send-and-receive loop uses of the `select` module, over poll and with deadlines."""

    error = OSError

    @staticmethod
    def select(
        readers: Sequence[Wire], writers: Sequence[Wire], _: Sequence[Wire], timeout: float | None
    ) -> tuple[list[Wire], list[Wire], list[Wire]]:
        """Wait for the one wire in `readers`, for writing too when it is in `writers`."""
        wire = readers[0]
        readable, writable = wire.wait(writing=bool(writers), timeout=timeout)
        return [wire] if readable else [], [wire] if writable else [], []
