"""Many pieces of work beside each other, each with something to open first: the core of fleets and of parallel opening.

It knows threads, deadlines and how many logins there may be, and nothing of targets and terminals. It promises that the
limits hold (pieces at once, openings at once, openings by one first hop), that the error of one piece touches no other,
that the time of a piece begins when it begins, and that at its end every piece has ended or was told to.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Generator, Hashable, Iterator, Sequence
from contextlib import suppress
from contextvars import copy_context
from dataclasses import dataclass
from enum import StrEnum
from queue import Empty, SimpleQueue
from time import monotonic
from typing import Any, Final, Generic, TypeVar

from crl.deadlines import Deadline
from crl.errors import RemoteWorldError, UsageError
from crl.interactivesessions.shells._logins import PLACES_PER_HOP, hop_is_counted, places_in_all

__all__ = ["Ended", "FleetCancelled", "FleetTimeout", "Limits", "ManyAtOnce", "Piece", "Schedule", "Stage"]

FINDERS: Final = 4
GRACE: Final = 10.0

Result = TypeVar("Result")

logger = logging.getLogger(__name__)


class FleetTimeout(RemoteWorldError):
    """What was done on one of many targets was not done in its time; it was ended."""


class FleetCancelled(RemoteWorldError):
    """What was to be done on one of many targets was not begun, or was ended, since the whole was."""


class Stage(StrEnum):
    """How far something came."""

    WAITING = "waiting"
    CONNECTING = "connecting"
    RUNNING = "running"


@dataclass(frozen=True)
class Limits:
    """How much goes on at once.

    Attributes:
        at_once: Pieces.
        per_hop: Openings by the same first hop.
        openings: Openings in all; None is as many logins as this process has under way at once.
    """

    at_once: int = 64
    per_hop: int = PLACES_PER_HOP
    openings: int | None = None

    def __post_init__(self) -> None:
        for name in ("at_once", "per_hop", "openings"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UsageError(f"{name} must be 1 or more, not {value}", doing="limiting what goes on at once")

    @property
    def all_openings(self) -> int:
        """Openings in all."""
        return self.openings or places_in_all()


@dataclass(frozen=True)
class Piece(Generic[Result]):
    """One piece of work.

    Attributes:
        name: For texts.
        way: Gives the first hop, so that openings by it can be counted; None: there is nothing to open.
        open: Opens what the work needs, by a limit of its own.
        work: The work.
        stop: Makes `open` and `work` end soon; called in another thread.
    """

    name: str
    way: Callable[[], Hashable] | None
    open: Callable[[], object]
    work: Callable[[], Result]
    stop: Callable[[], object]


@dataclass(frozen=True)
class Ended(Generic[Result]):
    """How a piece ended.

    Attributes:
        number: Which one.
        value: What the work gave.
        error: What it, or the opening, raised; `FleetTimeout` or `FleetCancelled` when it was ended.
        stage: How far it came.
        seconds: From its begin; 0 when it was not begun.
    """

    number: int
    value: Result | None
    error: BaseException | None
    stage: Stage
    seconds: float = 0.0


class Schedule:
    """Says which piece may begin next; does nothing itself.

    Args:
        limits: What may go on at once.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._waiting: dict[Hashable, deque[int]] = {}
        self._opening: dict[int, Hashable] = {}
        self._by_hop: dict[Hashable, int] = {}
        self._begun: set[int] = set()

    def add(self, number: int, hop: Hashable | None) -> None:
        """Know a piece; None as `hop` says that it has nothing to open. Of those that may begin the oldest is next."""
        self._waiting.setdefault(hop, deque()).append(number)

    def next(self) -> int | None:
        """The piece that begins now; None when no more may."""
        if len(self._begun) >= self._limits.at_once:
            return None
        heads = [(queue[0], hop) for hop, queue in self._waiting.items() if self._may_open(hop)]
        if not heads:
            return None
        number, hop = min(heads, key=lambda head: head[0])
        self._waiting[hop].popleft()
        if not self._waiting[hop]:
            del self._waiting[hop]
        self._begun.add(number)
        if hop is not None:
            self._opening[number] = hop
            self._by_hop[hop] = self._by_hop.get(hop, 0) + 1
        return number

    def _may_open(self, hop: Hashable | None) -> bool:
        if hop is None:
            return True
        return (
            len(self._opening) < self._limits.all_openings and self._by_hop.get(hop, 0) < self._limits.per_hop
        )

    def opened(self, number: int) -> None:
        """A piece has opened what it needs."""
        hop = self._opening.pop(number, None)
        if hop is not None:
            self._by_hop[hop] -= 1

    def ended(self, number: int) -> None:
        """A piece has ended."""
        self.opened(number)
        self._begun.discard(number)


@dataclass
class _Begun:
    """A piece under way."""

    piece: Piece[Any]
    thread: threading.Thread
    since: float
    stage: Stage
    limit: Deadline
    fate: RemoteWorldError | None = None
    told: float = 0.0
    stopper: threading.Thread | None = None


class ManyAtOnce(Generic[Result]):
    """Does many pieces of work, once, each in a thread of its own.

    An iteration over `ends` that is left early (also by Ctrl-C) ends what is under way and waits for it, ten seconds at
    most.

    Args:
        pieces: What is to be done.
        limits: How much of it at once.
        timeout: Seconds for all of it; None is no limit.
        each: Seconds for the work of one piece, from when its opening is done; None is no limit.
        stop_after: After so many errors no further piece is begun; None is no limit.
    """

    def __init__(
        self,
        pieces: Sequence[Piece[Result]],
        limits: Limits,
        *,
        timeout: float | None = None,
        each: float | None = None,
        stop_after: int | None = None,
    ) -> None:
        self._pieces = pieces
        self._schedule = Schedule(limits)
        self._timeout = timeout
        self._each = each
        self._stop_after = stop_after
        self._events: SimpleQueue[tuple[Callable[..., Iterator[Ended[Result]]], tuple[Any, ...]]] = SimpleQueue()
        self._waiting = set(range(len(pieces)))
        self._known: dict[int, Hashable | None] = {}
        self._added = 0
        self._begun: dict[int, _Begun] = {}
        self._errors = 0
        self._over = False
        self._no_more = False
        self._finders: list[threading.Thread] = []

    @property
    def running(self) -> int:
        """How many pieces are under way."""
        return len(self._begun)

    def cancel(self) -> None:
        """End it; may be called by any thread. `ends` goes on and gives the ends of all pieces."""
        self._events.put((self._on_cancel, ()))

    def ends(self) -> Generator[Ended[Result], None, None]:
        """Do it; gives the ends of the pieces as they come."""
        deadline = Deadline.after(self._timeout)
        try:
            self._find_ways()
            while self._waiting or self._begun:
                self._begin_what_may()
                yield from self._next_event(deadline)
                if deadline.expired and not self._over:
                    text = f"not done when the {self._timeout:g} s for all targets were over"
                    yield from self._end_all(FleetTimeout(text, advice="give timeout= more seconds"))
                yield from self._check_limits()
        finally:
            self._leave()

    # Beginning

    def _find_ways(self) -> None:
        unknown: SimpleQueue[int] = SimpleQueue()
        for number, piece in enumerate(self._pieces):
            if piece.way is None:
                self._known[number] = None
            else:
                unknown.put(number)
        self._add_known()
        for turn in range(min(FINDERS, unknown.qsize())):
            thread = threading.Thread(target=self._find, args=(unknown,), name=f"crl-ways-{turn}", daemon=True)
            self._finders.append(thread)
            thread.start()

    def _find(self, unknown: SimpleQueue[int]) -> None:
        with suppress(Empty):
            while not self._no_more:
                number = unknown.get_nowait()
                piece = self._pieces[number]
                assert piece.way is not None
                try:
                    hop = piece.way()
                except Exception as error:  # noqa: BLE001 - whatever it is, the opening comes upon it too, and tells
                    logger.debug("%s: what its way begins with is not known: %s", piece.name, error)
                    hop = piece.name
                self._events.put((self._on_way, (number, hop)))

    def _begin_what_may(self) -> None:
        while not self._no_more and (number := self._schedule.next()) is not None:
            piece = self._pieces[number]
            self._waiting.discard(number)
            context = copy_context()
            thread = threading.Thread(
                target=context.run, args=(self._do, number, piece), name=f"crl-many-{piece.name}", daemon=True
            )
            stage = Stage.RUNNING if piece.way is None else Stage.CONNECTING
            self._begun[number] = _Begun(piece, thread, monotonic(), stage, Deadline.after(None))
            thread.start()

    def _do(self, number: int, piece: Piece[Result]) -> None:
        value, error = None, None
        try:
            with hop_is_counted():
                piece.open()
            self._events.put((self._on_opened, (number,)))
            value = piece.work()
        except BaseException as raised:  # noqa: BLE001 - handed over to who waits for the piece
            error = raised
        self._events.put((self._on_ended, (number, value, error, monotonic())))

    # Events, all in the thread that iterates

    def _next_event(self, deadline: Deadline) -> Iterator[Ended[Result]]:
        limits = [begun.limit for begun in self._begun.values()]
        if not self._over:
            limits.append(deadline)
        times = [left for limit in limits if (left := limit.remaining()) is not None]
        try:
            handler, arguments = self._events.get(timeout=min(times) if times else None)
        except Empty:
            return
        yield from handler(*arguments)

    def _on_way(self, number: int, hop: Hashable) -> Iterator[Ended[Result]]:
        self._known[number] = hop
        if not self._no_more:
            self._add_known()
        yield from ()

    def _add_known(self) -> None:
        """Have the pieces begin in their order: one whose way is not known yet holds up those behind it."""
        while self._added in self._known:
            self._schedule.add(self._added, self._known.pop(self._added))
            self._added += 1

    def _on_opened(self, number: int) -> Iterator[Ended[Result]]:
        self._schedule.opened(number)
        begun = self._begun.get(number)
        if begun is not None and begun.fate is None:
            begun.stage, begun.limit = Stage.RUNNING, Deadline.after(self._each)
        yield from ()

    def _on_ended(
        self, number: int, value: Result | None, error: BaseException | None, when: float
    ) -> Iterator[Ended[Result]]:
        begun = self._begun.pop(number, None)
        if begun is None:
            return  # It was given up before.
        begun.thread.join()
        if begun.stopper is not None:
            begun.stopper.join(GRACE)
        self._schedule.ended(number)
        if begun.fate is not None and when > begun.told:
            # What it gives after it was told to end is not what was asked for.
            begun.fate.__cause__ = error
            value, error = None, begun.fate
        yield Ended(number, value, error, begun.stage, monotonic() - begun.since)
        yield from self._count(error)

    def _on_cancel(self) -> Iterator[Ended[Result]]:
        if not self._over:
            yield from self._end_all(FleetCancelled("the whole was cancelled"))

    def _count(self, error: BaseException | None) -> Iterator[Ended[Result]]:
        if error is None or self._no_more:
            return
        self._errors += 1
        if self._stop_after is not None and self._errors >= self._stop_after:
            yield from self._not_begun(FleetCancelled(f"not begun, since {self._errors} targets have failed"))

    # Ending

    def _end_all(self, reason: RemoteWorldError) -> Iterator[Ended[Result]]:
        self._over = True
        for begun in self._begun.values():
            if begun.fate is None:
                self._stop(begun, reason)
        yield from self._not_begun(reason)

    def _not_begun(self, reason: RemoteWorldError) -> Iterator[Ended[Result]]:
        self._no_more = True
        numbers, self._waiting = sorted(self._waiting), set()
        for number in numbers:
            yield Ended(number, None, _for(reason, self._pieces[number]), Stage.WAITING)

    def _stop(self, begun: _Begun, reason: RemoteWorldError) -> None:
        begun.fate, begun.told = _for(reason, begun.piece), monotonic()
        begun.limit = Deadline.after(GRACE)
        name = f"crl-stop-{begun.piece.name}"
        begun.stopper = threading.Thread(target=begun.piece.stop, name=name, daemon=True)
        begun.stopper.start()

    def _check_limits(self) -> Iterator[Ended[Result]]:
        for number, begun in list(self._begun.items()):
            if not begun.limit.expired:
                continue
            if begun.fate is None:
                text = f"it took longer than {self._each:g} s"
                self._stop(begun, FleetTimeout(text, doing="working on the target", advice="give each= more seconds"))
                continue
            # It was told to end, and does not: its thread is left to itself, its place goes to others.
            logger.warning("%s: what runs there does not end; its thread is left behind", begun.piece.name)
            del self._begun[number]
            self._schedule.ended(number)
            begun.fate.add_note("What was to be ended still goes on, in a thread of its own.")
            yield Ended(number, None, begun.fate, begun.stage, monotonic() - begun.since)
            yield from self._count(begun.fate)

    def _leave(self) -> None:
        """End what is still under way, when nobody waits for it any more."""
        if self._begun:
            for _ in self._end_all(FleetCancelled("the whole was left before its end")):
                pass
            until = Deadline.after(GRACE)
            for begun in self._begun.values():
                for thread in (begun.thread, begun.stopper):
                    if thread is not None:
                        _join(thread, until)
        self._no_more = True
        until = Deadline.after(GRACE)
        for finder in self._finders:
            _join(finder, until)


def _join(thread: threading.Thread, until: Deadline) -> None:
    """Wait for the end of a thread, where Ctrl-C has not come before its start."""
    with suppress(RuntimeError):  # it was not started
        thread.join(until.remaining())


def _for(reason: RemoteWorldError, piece: Piece[Any]) -> RemoteWorldError:
    """The same reason as an error of one piece's own."""
    return type(reason)(*reason.args, host=piece.name, doing=reason.doing, advice=reason.advice)
