"""The lane: what the link gets from the shells above it.

A lane is a terminal, or a pair of pipes, at whose far end a known shell waits for a line. The link borrows it: it
promises to give it back with every byte that is not its own, or to say that it could not. With a recipe for another one
of the same kind, a link outlives its lane.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from crl.channels.base import Channel
from crl.deadlines import Deadline
from crl.errors import UsageError
from crl.link.startline import Ahead
from crl.link.wire import armour

__all__ = ["CLEAN", "FLOW_CONTROL", "PRINTABLE", "TELNET", "UNSURE", "Lane", "LaneKind"]


@dataclass(frozen=True)
class LaneKind:
    """What a lane carries; the link armours its frames for one that does not carry every byte.

    Attributes:
        forbidden: Bytes that it swallows, changes or acts upon, in either direction; they are sent as two others.
        printable: Whether only printable ASCII in lines is sure to come through; costs a third.
        columns: With `printable`, the longest line.
        rate: Bytes a second that it carries at least, where those are few: the start then has the time for them.
        unsure: Whether that has to be tried: the link sends every byte first, which costs a round trip; where not all
            come through, it is started in printable lines on a fresh terminal.

    Raises:
        UsageError: No armour can do that.
    """

    forbidden: bytes = b""
    printable: bool = False
    columns: int = 76
    rate: int = 0
    unsure: bool = False

    def __post_init__(self) -> None:
        try:
            armour.make(self.armour, toward_target=True)
        except ValueError as error:
            raise UsageError(
                f"a lane of this kind cannot carry a link: {error}",
                doing="declaring a lane",
                advice="use LaneKind(printable=True), with lines that fit",
            ) from error

    def through(self, other: LaneKind) -> LaneKind:
        """What a lane carries that leads through one of this kind and one of the other."""
        rates = [rate for rate in (self.rate, other.rate) if rate]
        return LaneKind(
            bytes(sorted({*self.forbidden, *other.forbidden})),
            self.printable or other.printable,
            min(self.columns, other.columns),
            min(rates, default=0),
            self.unsure or other.unsure,
        )

    @property
    def armour(self) -> str:
        """What both ends put on; see `armour.make`."""
        if self.printable:
            return f"{armour.LINES}:{self.columns}"
        return f"{armour.ESCAPES}:{self.forbidden.hex()}" if self.forbidden else ""


CLEAN: Final = LaneKind()
"""Every byte comes through as it is."""
FLOW_CONTROL: Final = LaneKind(forbidden=armour.XON_XOFF)
"""A line with software flow control (XON and XOFF)."""
UNSURE: Final = LaneKind(unsure=True)
"""Nobody knows: it is tried."""
TELNET: Final = LaneKind(forbidden=b"\x00\n\r\x11\x13\x1d\xff")
"""A telnet session that need not be in binary mode: line ends and NUL may change, and Ctrl-] may be a command."""
PRINTABLE: Final = LaneKind(printable=True)
"""Printable text in lines of 76 columns: 7 bits, parity, consoles, whatever echoes or changes line ends."""


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
        beside: Opens a lane without a terminal beside this one, on the same SSH connection to the same host as the same
            user, before the deadline, or raises; the link moves bulk over it while this one waits, and relies on SSH
            for what damages bytes. None where that cannot be done, or is not wanted.
        take_over: On a lane made by `reopen`: called once when it takes the place of the old one, whose terminal is
            then closed by the shell stack. Raises when the shell stack has been closed meanwhile.
        discard: On a lane made by `reopen`: called once instead, when it is not needed: its terminal is closed. On one
            made by `beside`: called once when it is not needed any more.
        kind: What bytes it carries.
        keep: On a lane made by `reopen`: called once instead, when it was given back and the program for which it was
            opened is gone: its shell waits for who opens a new session. None: `discard` is called then.
        ahead: A start line that runs there already; nothing is typed then.
        trip: How many seconds the way there and back takes at most, where that was seen.
        under: What shows that the terminal is another shell's again, because the one that the link runs in has ended.
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
    kind: LaneKind = CLEAN
    keep: Callable[[], None] | None = None
    ahead: Ahead | None = None
    trip: float | None = None
    under: Sequence[bytes] = ()
