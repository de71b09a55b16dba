"""One run over the targets of a fleet, in this process: connecting, the function, closing, for each target.

This module knows targets, what their ways begin with, and `_manyatonce`, which does the work. It promises that a target
that the fleet made is closed when its part is done, unless connections are held.
"""

from __future__ import annotations

import asyncio
import os
import resource
import threading
from collections.abc import Callable, Generator, Hashable, Sequence
from concurrent.futures import Future
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any, Final, Generic, Protocol, TypeVar

from crl.interactivesessions._manyatonce import FleetCancelled, Limits, ManyAtOnce, Piece
from crl.interactivesessions.shells._logins import first_hop
from crl.targets.outcomes import Outcome
from crl.targets.spec import TargetSpec
from crl.targets.target import Target

__all__ = ["Bound", "LocalRun", "Member", "OnLoop", "Run", "Steps", "Terms", "make_room"]

# A terminal takes eight; some more while one is being opened.
DESCRIPTORS_EACH: Final = 10
DESCRIPTORS_SPARE: Final = 128

Result = TypeVar("Result")
Steps = Generator[tuple[int, Outcome[Result]], None, None]


@dataclass
class Member:
    """One target of a fleet; one that was given as a description is made when it is first needed."""

    name: str
    spec: TargetSpec | None
    target: Target | None

    def get(self) -> Target:
        """The target."""
        if self.target is None:
            assert self.spec is not None
            self.target = self.spec.renamed(self.name).target()
        return self.target

    def close(self) -> None:
        """Close it where it was made."""
        if self.target is not None:
            self.target.close()


@dataclass(frozen=True)
class Terms:
    """What holds for a run.

    Attributes:
        limits: What goes on at once.
        connect_timeout: Seconds for connecting to one target.
        each: Seconds for the work on one target.
        timeout: Seconds for all.
        stop_after: After so many errors no more is begun.
    """

    limits: Limits
    connect_timeout: float
    each: float | None = None
    timeout: float | None = None
    stop_after: int | None = None


class Run(Protocol[Result]):
    """A run over all targets."""

    def steps(self) -> Steps[Result]:
        """Numbers of targets and their outcomes, as they come; closing it ends the run."""

    def cancel(self) -> None:
        """End it, from any thread; the steps still give an outcome for each target."""


@dataclass(frozen=True)
class Bound:
    """A function with the arguments that follow the target; can be pickled when these can."""

    function: Callable[..., Any]
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = field(default_factory=dict)

    def __call__(self, target: Target) -> Any:
        """Call it."""
        return self.function(target, *self.args, **self.kwargs)


class OnLoop:
    """A coroutine function that threads wait for while it runs in an event loop."""

    def __init__(self, function: Callable[[Target], Any], loop: asyncio.AbstractEventLoop) -> None:
        self._function = function
        self._loop = loop
        self._lock = threading.Lock()
        self._running: dict[Target, Future[Any]] = {}
        self._stopped: set[Target] = set()

    def __call__(self, target: Target) -> Any:
        """Run it there, and wait for it."""
        with self._lock:
            if target in self._stopped:
                raise FleetCancelled("it was ended before it began", host=target.name)
            future = self._running[target] = asyncio.run_coroutine_threadsafe(self._function(target), self._loop)
        try:
            return future.result()
        finally:
            del self._running[target]

    def stop(self, target: Target) -> None:
        """Cancel what runs for a target, and what would begin for it later."""
        with self._lock:
            self._stopped.add(target)
            future = self._running.get(target)
        if future is not None:
            future.cancel()


class LocalRun(Generic[Result]):
    """A run in threads of this process.

    Args:
        members: The targets.
        function: What is called with each.
        terms: What holds.
        hold: Whether connections are kept at the end of a target's part.
    """

    def __init__(
        self, members: Sequence[Member], function: Callable[[Target], Result], terms: Terms, *, hold: bool
    ) -> None:
        self._members = members
        open_at_once = len(members) if hold else min(len(members), terms.limits.at_once)
        make_room(open_at_once * DESCRIPTORS_EACH)
        parts = [_Part(member, function, terms.connect_timeout, hold=hold) for member in members]
        self._many = ManyAtOnce(
            [part.as_piece() for part in parts],
            terms.limits,
            timeout=terms.timeout,
            each=terms.each,
            stop_after=terms.stop_after,
        )

    def steps(self) -> Steps[Result]:
        """As `Run.steps`."""
        with closing(self._many.ends()) as ends:
            for end in ends:
                name = self._members[end.number].name
                yield end.number, Outcome(name, end.value, end.error, end.stage, end.seconds)

    def cancel(self) -> None:
        """As `Run.cancel`."""
        self._many.cancel()


class _Part(Generic[Result]):
    """What is done for one target."""

    def __init__(
        self, member: Member, function: Callable[[Target], Result], connect_timeout: float, *, hold: bool
    ) -> None:
        self._member = member
        self._function = function
        self._connect_timeout = connect_timeout
        self._close_after = member.spec is not None and not hold
        self._stopped = threading.Event()

    def as_piece(self) -> Piece[Result]:
        target = self._member.target
        connected = target is not None and target.terminal.session_id is not None
        way = None if connected else self._way
        return Piece(self._member.name, way, self._open, self._work, self._stop)

    def _way(self) -> Hashable:
        return first_hop(self._member.get().shells)

    def _open(self) -> None:
        try:
            self._check_stopped()
            self._member.get().connect(self._connect_timeout)
            self._check_stopped()
        except BaseException:
            self._close_own()
            raise

    def _check_stopped(self) -> None:
        if self._stopped.is_set():
            raise FleetCancelled("it was ended before it was connected", host=self._member.name)

    def _work(self) -> Result:
        try:
            return self._function(self._member.get())
        finally:
            if self._close_after:
                self._close_own()

    def _close_own(self) -> None:
        if self._member.spec is not None:
            self._member.close()

    def _stop(self) -> None:
        self._stopped.set()
        stop = getattr(self._function, "stop", None)
        if stop is not None and self._member.target is not None:
            stop(self._member.target)
        self._member.close()


def make_room(descriptors: int) -> None:
    """Let this process open so many more descriptors, as far as its hard limit goes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = len(os.listdir("/proc/self/fd")) + descriptors + DESCRIPTORS_SPARE
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if soft != resource.RLIM_INFINITY and wanted > soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
