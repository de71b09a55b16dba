"""Waiting for a host: when it is worth another try, and a session that tries soon.

This module knows sessions, and the door of a host through `Patience`. It promises that a wait ends with its deadline,
at once when it is stopped, and soon after the host can be reached again.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Final

from crl.deadlines import Deadline
from crl.interactivesessions._patience import HasDoor, Patience
from crl.interactivesessions.autorecoveringterminal import AutoRecoveringTerminal

__all__ = ["LONGEST_PAUSE", "SHUT_SECONDS", "PatientSession", "tries_until"]

LONGEST_PAUSE: Final = 1.0
SHUT_SECONDS: Final = 5.0
"""How long a shut door keeps from a try: what opens it may not be seen from here."""


class PatientSession(AutoRecoveringTerminal):
    """A session whose pauses between tries nobody has chosen: they grow, and end when the host can be reached."""

    def find_door(self) -> HasDoor | None:
        """The door of the first host on the way, when there is one."""
        return self._shells[0].find_door() if self._shells else None

    def _pauses(self) -> Callable[[], bool]:
        patience = Patience(self.find_door, LONGEST_PAUSE)
        return lambda: patience.wait(self._cancelled, Deadline.after(None))


def tries_until(deadline: Deadline, stop: threading.Event, patience: Patience) -> Iterator[int]:
    """Numbers of tries with pauses between them, until the deadline has passed or `stop` is set."""
    number = 0
    while True:
        number += 1
        yield number
        if deadline.expired or patience.wait(stop, deadline):
            return
