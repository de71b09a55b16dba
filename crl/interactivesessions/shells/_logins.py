"""How many logins to other hosts are under way at once in this process: in all, and by the same first hop.

A login costs this machine a tenth of a second of computing: of hundreds that begin together each would come to its end
only when all do, and its own time be over before. A usual sshd drops connections when ten are not logged in yet. This
module promises that a login's time begins when its turn has come, and that neither limit is passed.
"""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

from crl.deadlines import Deadline
from crl.interactivesessions.shells.shell import LOCALHOST, Shell
from crl.interactivesessions.shells.ssherrors import LoginTimeout

__all__ = ["PLACES_PER_HOP", "crowd", "first_hop", "hop_is_counted", "login_place", "places_in_all"]

PLACES_PER_HOP: Final = 8
# As many keep all processors busy, also where the hosts are far away.
PLACES_PER_CPU: Final = 16
# So few logins are never too many, and need not ask the ssh configuration which hop is theirs.
FEW: Final = 4

_hop_is_counted: ContextVar[bool] = ContextVar("crl_hop_is_counted", default=False)


def places_in_all() -> int:
    """How many logins may be under way at once in this process."""
    return PLACES_PER_CPU * (os.cpu_count() or 1)


def crowd() -> float:
    """How many logins share each processor, at least 1: each step takes so many times as long as it would alone."""
    return max(1.0, len(_this_process.places.under_way) / (os.cpu_count() or 1))


def first_hop(shells: Sequence[Shell]) -> Hashable:
    """The host that a way begins with: the gateway where there is one, as ssh's configuration says."""
    door = shells[0].find_door() if shells else None
    if door is not None:
        return door
    return next((shell.host for shell in shells if shell.host != LOCALHOST), LOCALHOST)


@contextmanager
def hop_is_counted() -> Iterator[None]:
    """In this block, and in threads that begin in its context, the first hop's limit is somebody else's to keep."""
    before = _hop_is_counted.set(True)
    try:
        yield
    finally:
        _hop_is_counted.reset(before)


class _Login:
    """A login under way, or one that waits for its turn.

    Attributes:
        hop: By which host it goes; None is not known, and any host.
        counts: Whether that host's limit holds for it.
        turn: Set when it has a place.
    """

    def __init__(self, hop: Hashable | None, *, counts: bool) -> None:
        self.hop = hop
        self.counts = counts
        self.turn = threading.Event()


class Places:
    """Places for logins.

    Args:
        in_all: How many there are.

    Attributes:
        under_way: Who has one.
    """

    def __init__(self, in_all: int) -> None:
        self._in_all = in_all
        self._lock = threading.Lock()
        self._waiting: list[_Login] = []
        self.under_way: list[_Login] = []

    def take(self, shell: Shell, deadline: Deadline) -> _Login | None:
        """Wait for a place; None: there was none in time."""
        counts = not _hop_is_counted.get()
        # Unlocked: to know the hop may take a question to ssh.
        hop = first_hop([shell]) if counts and len(self.under_way) >= FEW else None
        login = _Login(hop, counts=counts)
        try:
            with self._lock:
                self._waiting.append(login)
                self._admit()
            if login.turn.wait(deadline.remaining()):
                return login
        except BaseException:
            self.give_back(login)
            raise
        self.give_back(login)
        return None

    def _admit(self) -> None:
        """Give those who have waited longest the places that are free; nobody else is woken."""
        hops = Counter(one.hop for one in self.under_way)
        for login in list(self._waiting):
            if len(self.under_way) >= self._in_all:
                return
            mine = len(self.under_way) if login.hop is None else hops[login.hop] + hops[None]
            if login.counts and mine >= PLACES_PER_HOP:
                continue
            self._waiting.remove(login)
            self.under_way.append(login)
            hops[login.hop] += 1
            login.turn.set()

    def give_back(self, login: _Login) -> None:
        """Let another one have the place; who has none yet wants none any more."""
        with self._lock:
            for known in (self.under_way, self._waiting):
                if login in known:
                    known.remove(login)
            self._admit()


class _OfThisProcess:
    """The places of this process; a forked child has all of its own, for the threads that log in are not in it."""

    def __init__(self) -> None:
        self._renew()
        os.register_at_fork(after_in_child=self._renew)

    def _renew(self) -> None:
        self.places = Places(places_in_all())


_this_process = _OfThisProcess()


@contextmanager
def login_place(shell: Shell, deadline: Deadline | None = None) -> Iterator[None]:
    """Start a first shell when its turn has come; one that logs in nowhere has it always.

    Args:
        shell: The shell.
        deadline: Until when to wait for the turn; None waits as long as the others take, and their times are limited.

    Raises:
        LoginTimeout: There was no turn by then; nothing was begun.
    """
    if not getattr(shell, "logs_in", False):
        yield
        return
    places = _this_process.places
    login = places.take(shell, deadline or Deadline.after(None))
    if login is None:
        raise LoginTimeout(
            "too many other logins were under way",
            host=getattr(shell, "host", None),
            doing="waiting for the turn to log in",
            advice="open fewer targets at once, or give it more time",
        )
    try:
        yield
    finally:
        places.give_back(login)
