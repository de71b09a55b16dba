"""The lane: what the link gets from the shells above it.

A lane is a terminal, or a pair of pipes, at whose far end a known shell waits for a line. The link borrows it: it
promises to give it back with every byte that is not its own, or to say that it could not.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from crl.channels.base import Channel

__all__ = ["Lane"]


@dataclass(frozen=True)
class Lane:
    """A channel at whose far end a known shell is idle.

    Attributes:
        channel: The bytes; owned by the shell stack, borrowed by the link.
        send_line: Types one line for the shell (and adds the line end); the shell's echo is off.
        read_pending: Takes the bytes that were read from the channel before it was handed over.
        give_back: Called once when the remote program has ended in order, with the bytes that follow its own: the
            beginning of what the shell says next.
        host: The target's name for error texts.
    """

    channel: Channel
    send_line: Callable[[str], None]
    read_pending: Callable[[], bytes]
    give_back: Callable[[bytes], None]
    host: str
