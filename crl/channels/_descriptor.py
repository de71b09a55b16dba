"""A channel over one descriptor: the master end of a pty, or one end of a pipe.

It knows nothing of the program at the other end but a question it may ask: has it ended. It promises what `Channel`
promises, and that an error which only means "the peer is gone" becomes an end (`read`) or BrokenPipeError (`write`).
"""

from __future__ import annotations

import errno
import os
import select
import termios
import threading
from collections.abc import Callable

from crl.channels.base import ChannelClosed
from crl.errors import UsageError

__all__ = ["DescriptorChannel", "close_patience", "set_terminal_size"]

_PEER_GONE = frozenset({errno.EIO, errno.ECONNRESET, errno.EPIPE})


def set_terminal_size(descriptor: int, columns: int, rows: int) -> None:
    """Set the size of the terminal behind a descriptor, in characters.

    Raises:
        UsageError: A size is not a number from 0 to 65535.
    """
    if not (0 <= columns <= 0xFFFF and 0 <= rows <= 0xFFFF):
        raise UsageError(f"a terminal cannot have {columns} columns and {rows} rows")
    termios.tcsetwinsize(descriptor, (rows, columns))


def close_patience(owner: int) -> float:
    """Seconds that a close waits for who reads or writes, which nobody does for long.

    Args:
        owner: The process that made the channel: in a forked child the thread that was at it may be missing.
    """
    return 30.0 if os.getpid() == owner else 1.0


def _hung_up(descriptor: int) -> bool:
    poll = select.poll()
    poll.register(descriptor, 0)
    return any(events & select.POLLHUP for _, events in poll.poll(0))


class DescriptorChannel:
    """A channel over one descriptor, which it owns from now on.

    Args:
        descriptor: The descriptor; it is made non-blocking.
        name: What it is connected to, for error texts.
        writable: False for the reading end of a pipe: `write` is then refused.
        terminal: Whether it is a pty's master, which `resize` concerns.
        ended: Asked when nothing is there to read: whether the peer has ended, for descriptors that do not tell.
    """

    def __init__(
        self,
        descriptor: int,
        name: str,
        *,
        writable: bool = True,
        terminal: bool = False,
        ended: Callable[[], bool] | None = None,
    ) -> None:
        os.set_blocking(descriptor, False)
        self._descriptor = descriptor
        self._name = name
        self._writable = writable
        self._terminal = terminal
        self._ended = ended
        self._owner = os.getpid()
        # The number must not become somebody else's while a thread is about to use it; a signal's handler may close
        # what its own thread is at.
        self._reading = threading.RLock()
        self._writing = threading.RLock()

    @property
    def name(self) -> str:
        """What this channel is connected to."""
        return self._name

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._descriptor < 0

    def fileno(self) -> int:
        """The descriptor to poll.

        Raises:
            ChannelClosed: The channel was closed.
        """
        if self._descriptor < 0:
            raise self._is_closed()
        return self._descriptor

    def _is_closed(self) -> ChannelClosed:
        return ChannelClosed(f"{self._name} is closed")

    def read(self, size: int = 65536) -> bytes:
        """Read what is there, at most `size` bytes; ``b""`` is the end.

        Raises:
            BlockingIOError: Nothing is there yet.
            ChannelClosed: The channel was closed.
        """
        with self._reading:
            descriptor = self._descriptor
            if descriptor < 0:
                raise self._is_closed()
            try:
                return os.read(descriptor, size)
            except BlockingIOError:
                if self._ended is None or not self._ended():
                    raise
            except OSError as error:
                if error.errno not in _PEER_GONE:
                    raise
                return b""
            return self._last_words(descriptor, size)

    def _last_words(self, descriptor: int, size: int) -> bytes:
        """Read once more after the peer was seen to have ended: it may have written just before."""
        try:
            return os.read(descriptor, size)
        except OSError as error:
            if error.errno not in _PEER_GONE | {errno.EAGAIN}:
                raise
            return b""

    def write(self, data: bytes | memoryview) -> int:
        """Write what is taken now and return how many bytes that was.

        Raises:
            BrokenPipeError: The peer has ended.
            ChannelClosed: The channel was closed.
            UsageError: This channel is for reading only.
        """
        if not self._writable:
            raise UsageError(f"{self._name} is for reading only")
        with self._writing:
            descriptor = self._descriptor
            if descriptor < 0:
                raise self._is_closed()
            try:
                return os.write(descriptor, data)
            except BlockingIOError as error:
                # A pty whose other side is gone takes no more, and says so only in poll.
                if not self._terminal or not _hung_up(descriptor):
                    return 0
                raise BrokenPipeError(errno.EPIPE, f"{self._name} has ended") from error
            except OSError as error:
                if error.errno not in _PEER_GONE:
                    raise
                raise BrokenPipeError(errno.EPIPE, f"{self._name} has ended") from error

    def resize(self, columns: int, rows: int) -> None:
        """Tell the terminal its size in characters; no effect where there is none.

        Raises:
            ChannelClosed: The channel was closed.
            UsageError: The size is impossible.
        """
        descriptor = self.fileno()
        if self._terminal:
            set_terminal_size(descriptor, columns, rows)

    def close(self) -> None:
        """Give the descriptor back; again is harmless."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor < 0:
            return
        patience = close_patience(self._owner)
        held = [lock for lock in (self._reading, self._writing) if lock.acquire(timeout=patience)]
        try:
            os.close(descriptor)
        finally:
            for lock in held:
                lock.release()
