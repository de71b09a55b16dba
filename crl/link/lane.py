"""The lane: what the link gets from the shells above it.

A lane is a terminal, or a pair of pipes, at whose far end a known shell waits for a line. The link borrows it: it
promises to give it back with every byte that is not its own, or to say that it could not. With a recipe for another one
of the same kind, a link outlives its lane.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from crl.channels.base import Channel
from crl.deadlines import Deadline

__all__ = ["Lane"]


def _nothing() -> None:
    """What a first lane does when it is told about its place."""


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
        reopen: Opens another lane to the same shell of the same host beside this one, before the deadline, or raises;
            an error whose ``definite`` is true is final. None where that cannot be done.
        beside: Opens a lane without a terminal beside this one, on the same connection to the same host as the same user,
            before the deadline, or raises; the link moves bulk over it while this one waits. None where that cannot be
            done, or is not wanted.
        take_over: On a lane made by `reopen`: called once when it takes the place of the old one, whose terminal is
            then closed by the shell stack. Raises when the shell stack has been closed meanwhile.
        discard: On a lane made by `reopen`: called once instead, when it is not needed: its terminal is closed. On one
            made by `beside`: called once when it is not needed any more.
    """

    channel: Channel
    send_line: Callable[[str], None]
    read_pending: Callable[[], bytes]
    give_back: Callable[[bytes], None]
    host: str
    reopen: Callable[[Deadline], Lane] | None = None
    beside: Callable[[Deadline], Lane] | None = None
    take_over: Callable[[], None] = _nothing
    discard: Callable[[], None] = _nothing
