"""Connections of a tunnel that end in this program: a stream of the link with the methods of a socket.

Whoever reads from one reads for the link meanwhile, so that what arrives is in the hands of the thread that wants it
without another one being woken. It promises that no more is kept than the credit that the target was given, that the
end of the link is an `OSError`, and that `close` wakes whoever waits.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from crl.link.errors import CallTimeout, LinkError
from crl.link.streams import InputStream, OutputStream
from crl.link.wire import messages

if TYPE_CHECKING:
    from crl.link.link import Link

__all__ = ["End", "Taker"]


class End:
    """One connection that came out here.

    One thread at a time may read, and one may write.

    Args:
        link: The link that carries the stream.
        number: The stream's number.
        on_close: Called once when nothing is left of it.

    Attributes:
        number: The stream's number.
    """

    unattended = False

    def __init__(self, link: Link, number: int, on_close: Callable[[End], None]) -> None:
        self._link = link
        self.number = number
        self._on_close = on_close
        self._input = InputStream(link, number)
        self._output = OutputStream(link, number)
        self._timeout: float | None = None
        self._rest = memoryview(b"")
        self._lock = threading.Lock()
        self._closed = False
        self._gone = False

    def __repr__(self) -> str:
        return f"<End {self.number} with {self._link.host}: {'closed' if self._closed else 'open'}>"

    # -- from the target; called by the reading thread -------------------------------------------------------------

    def take(self, message: bytes) -> bool:
        """Bytes have arrived; False when they are more than was allowed."""
        if len(message) == messages.HEAD.size:
            # It says that there is a connection, which may be closed by now.
            return True
        if self._closed:
            # As a socket does with what comes when nobody can read it any more.
            self.reset_both()
            return True
        return self._input.take(message)

    def end(self, error: LinkError | None = None) -> None:
        """The target's direction has ended; with an error, the link."""
        self._input.end(error)
        if error is not None:
            self._output.end(error)
        if error is not None or self._closed:
            self._forget()

    def reset(self) -> None:
        """The target's end is gone."""
        self._input.reset()
        self._output.reset()
        self._forget()

    def allow(self, limit: int) -> None:
        """The target takes that many bytes in all."""
        self._output.allow(limit)

    # -- as a socket -----------------------------------------------------------------------------------------------

    def settimeout(self, seconds: float | None) -> None:
        """How long `recv` and `send` may wait; None is for ever."""
        self._timeout = seconds

    def recv(self, size: int) -> bytes:
        """The next bytes, at most so many; none at the end.

        Raises:
            TimeoutError: Nothing came in time.
            ConnectionResetError: The link was lost.
        """
        rest = self._rest
        if not rest:
            try:
                rest = memoryview(self._input.read(self._timeout))
            except CallTimeout:
                raise TimeoutError("nothing came in time") from None
            except LinkError as error:
                raise ConnectionResetError(str(error)) from error
        self._rest = rest[size:]
        return bytes(rest[:size])

    def send(self, data: bytes | memoryview) -> int:
        """Send bytes as far as the target takes them; how many.

        Raises:
            TimeoutError: It took none in time.
            BrokenPipeError: It takes nothing any more.
            ConnectionResetError: The link was lost.
        """
        try:
            return self._output.write_some(data, self._timeout)
        except CallTimeout:
            raise TimeoutError("the target took nothing in time") from None
        except LinkError as error:
            raise ConnectionResetError(str(error)) from error

    def close(self) -> None:
        """Take no more and send no more; again is harmless."""
        with self._lock:
            closed, self._closed = self._closed, True
        if closed:
            return
        over = self._input.over
        with suppress(LinkError):  # a lost link has no streams
            self._output.close()
        self._output.end()
        self._input.end()
        if over:
            self._forget()

    def expect_much(self) -> None:
        """Much is about to be asked here: see `Link.expect_much`."""
        self._link.expect_much()

    # -- for the tunnel --------------------------------------------------------------------------------------------

    def reset_both(self) -> None:
        """Break it, at the target too."""
        with suppress(LinkError):  # then the target's end is gone as well
            self._link.send(messages.pack(messages.RESET, self.number), self.number)
        self._closed = True
        self.reset()

    def _forget(self) -> None:
        with self._lock:
            gone, self._gone = self._gone, True
        if not gone:
            self._link.forget_stream(self.number)
            self._on_close(self)


Taker = Callable[[End], object]
"""What is given each connection of a tunnel that ends here, in the reading thread: it must neither wait nor raise."""
