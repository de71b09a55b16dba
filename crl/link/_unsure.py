"""Starting a link where nobody knows what the lane carries: tried with every byte, and again in printable lines.

It knows a lane that can be opened again. It promises that a link which it returns has carried every byte value and the
sequences that terminals and clients act upon, or is armoured against all of them.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from crl.deadlines import Deadline
from crl.link.errors import LinkError, LinkStartError, PythonNotFound, PythonTooOld
from crl.link.lane import PRINTABLE, Lane

if TYPE_CHECKING:
    from crl.link.link import Link

__all__ = ["EVIL", "start_unsure"]

# Every value, then what ends sessions of ssh, telnet, console servers and containers; the worst comes last.
EVIL: Final = (
    bytes(range(256)) + b"\x10\x11" + b"\x01d" + b"\x1d\r" + b"\xff\xff\xff\xf4" + b"\r\0\r\n\n\r" + b"\r~~\n~?\r~.\r"
)
PATIENCE: Final = 6.0
LAST_PATIENCE: Final = 1.0


def start_unsure(start: Callable[[Lane, float], Link], lane: Lane, timeout: float) -> Link:
    """Start a link, armoured where that is needed.

    Args:
        start: Starts a link on a lane, within so many seconds.
        lane: The lane.
        timeout: Seconds for all of it.

    Raises:
        LinkStartError: It does not start in either way.
    """
    deadline = Deadline.after(timeout)
    clean = replace(lane, kind=replace(lane.kind, unsure=False))
    try:
        link = start(clean, min(PATIENCE, timeout))
        if _carries_all(link, deadline):
            return link
        link.close(LAST_PATIENCE)
    except (PythonNotFound, PythonTooOld):
        raise
    except LinkStartError as error:
        if lane.reopen is None:
            raise _hopeless(lane) from error
    if lane.reopen is None:
        raise _hopeless(lane)
    return _start_armoured(start, lane.reopen(deadline), deadline)


def _carries_all(link: Link, deadline: Deadline) -> bool:
    left = deadline.remaining()
    with suppress(LinkError):  # it stalls, or has ended: that is the answer
        return bool(link.invoke("bytes", EVIL, timeout=PATIENCE if left is None else min(PATIENCE, left)) == EVIL)
    return False


def _start_armoured(start: Callable[[Lane, float], Link], lane: Lane, deadline: Deadline) -> Link:
    """Start it in printable lines, on a terminal that nothing has been done to."""
    left = deadline.remaining()
    try:
        link = start(_armoured(lane), 0.0 if left is None else left)
        lane.take_over()
    except BaseException:
        lane.discard()
        raise
    return link


def _armoured(lane: Lane) -> Lane:
    """The same lane in printable lines, now and whenever it is opened again."""
    reopen = lane.reopen
    again = None if reopen is None else lambda deadline: _armoured(reopen(deadline))
    return replace(lane, kind=replace(PRINTABLE, rate=lane.kind.rate), reopen=again)


def _hopeless(lane: Lane) -> LinkStartError:
    return LinkStartError(
        "the terminal does not carry every byte, and there is no other one to try",
        host=lane.host,
        doing="starting the remote program",
        advice="say what it carries: lane_kind= of the shell, or kind= of the lane",
    )
