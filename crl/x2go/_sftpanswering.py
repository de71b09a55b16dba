"""Questions about a folder, answered in the thread that reads them: one that waits for them would have to be woken.

`Questions` takes the place of what paramiko's channel keeps for its reader. While the other side has room for the
answers, they go out where the questions come in; as soon as it has not, the thread that serves the connection goes on,
for the reading one has to hear of more room. It promises that one thread at a time answers, in order, and that no more
is kept than the window of the channel.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from typing import Final

import paramiko

from crl.x2go._sftpsession import SftpSession, together
from crl.x2go._sftpwire import SftpGarbage

__all__ = ["Questions"]

PIECE: Final = 256 * 1024


class Questions:
    """What comes on a channel, from its beginning.

    Args:
        channel: The channel; made in the thread that reads for it, before anything has come.
    """

    def __init__(self, channel: paramiko.Channel) -> None:
        self._channel = channel
        self._transport = channel.get_transport()
        self._changed = threading.Condition()
        self._data = bytearray(channel.in_buffer.empty())
        self._closed = False
        # Held by who answers.
        self._answering = threading.Lock()
        self._session: SftpSession | None = None
        # Whether the reading thread answers, what it has left to the other one, and why it cannot go on.
        self._here = False
        self._left: Iterator[bytes] | None = None
        self._error: Exception | None = None
        channel.in_buffer = self  # type: ignore[assignment]

    # -- what a channel does with its buffer -----------------------------------------------------------------------

    def feed(self, data: bytes) -> None:
        """Something has come; called by the reading thread."""
        with self._changed:
            self._data += data
            here = self._here
        if here:
            self._answer_here()

    def read(self, size: int, timeout: float | None = None) -> bytes:  # noqa: ARG002 - what is not there is not asked for
        """Take what has come."""
        with self._changed:
            taken = bytes(self._data[:size])
            del self._data[:size]
        return taken

    def close(self) -> None:
        """Nothing more comes."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    # -- answers -----------------------------------------------------------------------------------------------------

    def answer(self, session: SftpSession) -> None:
        """Answer all until the channel ends; called by the thread that serves the connection.

        Raises:
            SftpGarbage: What comes is no request.
            OSError: The connection has ended.
        """
        self._session = session
        try:
            while self._answer_there(session):
                self._let_the_reader()
        finally:
            self._here = False
            # Not while the other one still uses it.
            with self._answering:
                self._session = None

    def _answer_there(self, session: SftpSession) -> bool:
        """Answer what waits, waiting for room; whether more may come."""
        left, self._left = self._left, None
        while True:
            if left is not None:
                with self._answering:
                    for answers in left:
                        self._send(answers)
            with self._changed:
                if not self._data:
                    self._here = not self._closed
                    return self._here
            left = together(session.answers(self._channel.recv(PIECE)))

    def _let_the_reader(self) -> None:
        """Wait while the reading thread answers."""
        with self._changed:
            self._changed.wait_for(lambda: not self._here or self._closed)
            if self._error is not None:
                raise self._error

    def _answer_here(self) -> None:
        """Answer what waits, as far as there is room; the rest is left to the other thread."""
        with self._answering:
            if self._session is None:
                return
            if not self._has_room(0):
                # To take what came may be told to the other side, which waits while keys change.
                self._leave(None)
                return
            try:
                answers = together(self._session.answers(self._channel.recv(PIECE)))
                for joined in answers:
                    if not self._has_room(len(joined)):
                        self._leave(itertools.chain((joined,), answers))
                        return
                    self._send(joined)
            except (SftpGarbage, OSError, EOFError) as error:
                self._error = error
                self._leave(None)

    def _leave(self, left: Iterator[bytes] | None) -> None:
        with self._changed:
            self._left = left
            self._here = False
            self._changed.notify_all()

    def _has_room(self, size: int) -> bool:
        """Whether so much can be sent without waiting for something that the reading thread has to read."""
        return self._channel.out_window_size >= size and self._transport.clear_to_send.is_set()

    def _send(self, answers: bytes) -> None:
        view = memoryview(answers)
        packet = self._channel.out_max_packet_size
        while view:
            view = view[self._channel.send(bytes(view[:packet])) :]
