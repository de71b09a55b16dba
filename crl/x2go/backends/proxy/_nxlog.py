"""What nxproxy says, read as it comes.

nxproxy ends with status 0 whatever happened, so its words are the only sign. `NXLog` takes any bytes, in any pieces,
keeps the last lines, and answers three questions: is the way to the agent there, is the client's display in use, and
what went wrong. It knows no process.
"""

from __future__ import annotations

from collections import deque

__all__ = ["NXLog"]

KEPT_LINES = 40
LONGEST_LINE = 2000

_CONNECTED = "Connection with remote proxy completed"
_ESTABLISHED = "Established X server connection"
# What nxproxy says, what it means. The order is that of how much each tells: the first that was seen is the reason.
_FAILURES = (
    ("Wrong version or invalid session authentication cookie", "the agent closed the connection or refused the cookie"),
    ("Failure negotiating the session", "the agent closed the connection while it was being set up"),
    ("Connection with remote peer broken", "the connection to the agent broke"),
    ("Your session was closed before reaching a usable state", "the controller's X display did not let nxproxy in"),
    ("Connection to ':", "the controller's X display could not be reached"),
    ("PANIC!", "nxproxy could not reach the tunnel to the agent"),
    ("Aborting the procedure due to signal", "nxproxy was ended by a signal"),
)


class NXLog:
    """The state of an nxproxy as told by its output."""

    def __init__(self) -> None:
        self._partial = b""
        self._lines: deque[str] = deque(maxlen=KEPT_LINES)
        self._seen: set[int] = set()
        self.connected = False
        self.established = False

    def feed(self, data: bytes) -> None:
        """Take the next piece of output."""
        *lines, rest = (self._partial + data).split(b"\n")
        for line in lines:
            self._take(line)
        if len(rest) > LONGEST_LINE:
            self._take(rest)
            rest = b""
        self._partial = rest

    def _take(self, line: bytes) -> None:
        text = line[:LONGEST_LINE].decode("utf-8", "replace").strip()
        if not text:
            return
        self._lines.append(text)
        self.connected = self.connected or _CONNECTED in text
        self.established = self.established or _ESTABLISHED in text
        self._seen.update(place for place, (sign, _) in enumerate(_FAILURES) if sign in text)

    @property
    def reason(self) -> str | None:
        """What went wrong as far as it was said, None when nothing was."""
        return _FAILURES[min(self._seen)][1] if self._seen else None

    @property
    def tail(self) -> str:
        """The last lines."""
        return "\n".join(self._lines)
