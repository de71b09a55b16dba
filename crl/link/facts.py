"""What is known of a link: what the remote program says of itself, and counters.

Data only. What the greeting of a hostile target claims is checked before it becomes facts.
"""

from __future__ import annotations

from dataclasses import dataclass

from crl.link.errors import LinkStartError
from crl.link.wire import values
from crl.link.wire.errors import ProtocolError

__all__ = ["LinkFacts", "Statistics", "read_facts"]


@dataclass(frozen=True)
class LinkFacts:
    """What the remote program says of itself.

    Attributes:
        python: Version of the target's Python.
        executable: Path of its interpreter.
        pid: Process id of the remote program.
        uid: User id that it runs as.
    """

    python: tuple[int, int, int]
    executable: str
    pid: int
    uid: int


@dataclass
class Statistics:
    """Counters of a link.

    Attributes:
        requests: Round trips asked for so far.
        resumed: How many times the link went on over another terminal.
        longest_pause: The longest time from the last sign of life on one terminal to the first on another, in seconds.
        lane_changes: How many times bulk, or many calls, made the link go over to a channel without a terminal.
    """

    requests: int = 0
    resumed: int = 0
    longest_pause: float = 0.0
    lane_changes: int = 0


def read_facts(hello: bytes, host: str) -> LinkFacts:
    """The facts of a greeting, checked."""
    try:
        plain = values.decode(hello)
    except ProtocolError:
        plain = None
    if isinstance(plain, dict) and plain.get("codec") == values.VERSION:
        python, executable, pid, uid = (plain.get(name) for name in ("python", "executable", "pid", "uid"))
        if isinstance(python, tuple) and len(python) == 3 and isinstance(pid, int) and isinstance(uid, int):
            return LinkFacts((int(python[0]), int(python[1]), int(python[2])), str(executable), pid, uid)
    raise LinkStartError("the remote program greets in a way that is not ours", host=host, doing="starting the link")
