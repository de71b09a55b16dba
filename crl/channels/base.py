"""What a channel is: the bytes of one program, whatever carries them.

This module holds the one Protocol that everything above speaks, and its errors. It may know nothing of shells, SSH or
links. A channel always has a real, non-blocking descriptor, so that one poll can wait for many of them.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from crl.errors import RemoteWorldError, UsageError

__all__ = ["Channel", "ChannelClosed", "ChannelInUse", "ChannelStartError", "NoSuchProgram"]


class ChannelStartError(RemoteWorldError):
    """The program or connection behind a channel could not be started.

    Attributes:
        definite: Whether trying again cannot help: there is no such program.
    """

    definite = False


class NoSuchProgram(ChannelStartError):
    """There is no such program on this machine, or it cannot be executed."""

    definite = True


class ChannelClosed(UsageError):
    """A channel was used after it had been closed."""


class ChannelInUse(UsageError):
    """A channel was used while somebody else had borrowed it."""


@runtime_checkable
class Channel(Protocol):
    """The bytes of one program, in both directions.

    Whoever made a channel closes it. No method blocks: wait with `select.poll` on `fileno()`.
    """

    @property
    def name(self) -> str:
        """What this channel is connected to, for error texts (``"ssh alpha"``); never holds a secret."""

    @property
    def closed(self) -> bool:
        """Whether `close` was called. The end of the peer is not a close: reads then give ``b""``."""

    def fileno(self) -> int:
        """The descriptor to poll: readable when `read` has something (or the end), writable when `write` takes more.

        Raises:
            ChannelClosed: The channel was closed.
        """

    def read(self, size: int = 65536) -> bytes:
        """Read what is there, at most `size` bytes; ``b""`` means that the peer's side has ended.

        Raises:
            BlockingIOError: Nothing is there yet.
            ChannelClosed: The channel was closed.
        """

    def write(self, data: bytes | memoryview) -> int:
        """Write as much of `data` as is taken now and return how many bytes that was, 0 when none.

        Raises:
            BrokenPipeError: The peer has ended.
            ChannelClosed: The channel was closed.
        """

    def resize(self, columns: int, rows: int) -> None:
        """Tell the far terminal its size in characters; no effect where there is no terminal."""

    def close(self) -> None:
        """End the program or connection and free all it holds, in at most about a second; again is harmless."""
