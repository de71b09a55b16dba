"""Many targets as one: a function, a command or a file for each of them, beside each other.

This module joins targets with `_fleetrun`, which works on them here, and `_spread`, which hands parts to other
processes. It promises one outcome for each target in the order of the targets, that every run ends by its timeouts and
on Ctrl-C, and that what the fleet has made and connected is closed.
"""

from __future__ import annotations

import asyncio
import copy
import inspect
import os
import threading
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from concurrent.futures import Executor
from contextlib import closing
from typing import Any, Self, TypeVar, overload

from crl.errors import UsageError
from crl.interactivesessions._manyatonce import Limits
from crl.link.given import CommandLine, Environment, RemoteName
from crl.targets._fleetrun import Bound, LocalRun, Member, OnLoop, Run, Terms
from crl.targets._fleetverbs import FleetFiles, FleetPython, facts_of, run_on
from crl.targets._progress import OnFleetProgress, reported
from crl.targets._spread import SpreadRun
from crl.targets.facts import TargetFacts
from crl.targets.outcomes import FleetCancelled, FleetProgress, Outcome, Outcomes, Stage
from crl.targets.results import RunResult
from crl.targets.spec import TargetSpec
from crl.targets.target import RUN_TIMEOUT, Target

__all__ = ["Fleet"]

CONNECT_TIMEOUT = 60.0
PARTS = 8

Result = TypeVar("Result")
TargetLike = Target | TargetSpec | str | Mapping[str, Any] | Iterable[Mapping[str, Any]]


class Fleet:
    r"""Many targets.

    In a ``with`` block its targets stay connected from run to run, and all are closed at its end. Outside of one, a run
    connects to each target and closes it when its part is done; `Target` objects that you gave are left open.

    Args:
        targets: `Target` objects, descriptions (`TargetSpec`), names of hosts of the ssh configuration, dictionaries of
            shells or lists of such; or a mapping from names to any of these.
        config: The ssh configuration for those given by name; None is the user's own.
        at_once: On how many targets something is done at the same time.
        per_hop: How many logins may be under way at the same time by the same first hop: sshd drops connections when
            more than ten are (``MaxStartups``).
        openings: How many logins may be under way in all; None is 16 for each processor.
        connect_timeout: Seconds for connecting to one target, from when it is its turn.
        executor: Where runs are spread to: any `concurrent.futures.Executor`. Targets are then descriptions or names,
            functions and results have to be picklable, and connections last for one run.
        parts: Into how many parts a run is divided for `executor`.
        progress: Called with a `FleetProgress` for each target that is done, in the thread that runs; True is a bar on
            standard error, False nothing, None a bar where standard error is a terminal (and rich is installed).

    Attributes:
        python: Python on all: ``fleet.python.call(function, *args)``.
        files: Files on all: ``fleet.files.push("tree", "/srv/tree")``.
        latest: The outcomes of the latest run, also of one that was interrupted.

    Raises:
        UsageError: A target is none, or cannot be used with `executor`.

    Example:
        >>> with Fleet(["alpha", "beta"]) as fleet:
        ...     fleet.run(["uname", "-s"]).values()[0].stdout
        'Linux\n'
    """

    def __init__(
        self,
        targets: Iterable[TargetLike] | Mapping[str, TargetLike],
        *,
        config: str | os.PathLike[str] | None = None,
        at_once: int = 64,
        per_hop: int = 8,
        openings: int | None = None,
        connect_timeout: float = CONNECT_TIMEOUT,
        executor: Executor | None = None,
        parts: int = PARTS,
        progress: OnFleetProgress | bool | None = None,
    ) -> None:
        self._limits = Limits(at_once, per_hop, openings)
        self._connect_timeout = connect_timeout
        self._executor = executor
        self._parts = parts
        self._progress = progress
        self._members = _members(targets, config)
        self._held = False
        self.latest: Outcomes[Any] = Outcomes(())
        self.python = FleetPython(self)
        self.files = FleetFiles(self)
        if parts < 1:
            raise UsageError(f"parts must be 1 or more, not {parts}", doing="making a fleet")
        if executor is not None and any(member.spec is None for member in self._members):
            raise UsageError(
                "Target objects do not travel to an executor",
                doing="making a fleet",
                advice="give names of hosts, dictionaries of shells or TargetSpec",
            )

    def __repr__(self) -> str:
        return f"<Fleet of {len(self)} targets>"

    def __len__(self) -> int:
        return len(self._members)

    @property
    def names(self) -> list[str]:
        """The names of the targets; each is there once: a second ``alpha`` is ``alpha#2``."""
        return [member.name for member in self._members]

    def __iter__(self) -> Iterator[Target]:
        return (member.get() for member in self._members)

    def __getitem__(self, name: str) -> Target:
        return next(member.get() for member in self.only([name])._members)  # noqa: SLF001 - another one of ours

    def only(self, names: Iterable[str] | Outcomes[Any]) -> Fleet:
        """A fleet of some of the same targets, for example of ``outcomes.failed``; it closes none of them.

        Raises:
            UsageError: There is no target of a name.
        """
        wanted = list(names.names if isinstance(names, Outcomes) else names)
        unknown = sorted(set(wanted) - set(self.names))
        if unknown:
            raise UsageError(f"there is no target {', '.join(unknown)} in the fleet", doing="taking a part of a fleet")
        part = copy.copy(self)
        part.python, part.files, part.latest = FleetPython(part), FleetFiles(part), Outcomes(())
        kept = [member for member in self._members if member.name in wanted]
        part._members = kept  # noqa: SLF001 - another one of ours
        return part

    # Connection

    def __enter__(self) -> Self:
        self._held = True
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def connect(self, timeout: float | None = None) -> Outcomes[Target]:
        """Connect to all, and keep the connections until `close`.

        Args:
            timeout: Seconds for all of it.

        Raises:
            UsageError: The fleet has an executor: connections do not travel.
        """
        if self._executor is not None:
            raise UsageError("a fleet with an executor holds no connections", doing="connecting a fleet")
        self._held = True
        return self.map(_itself, timeout=timeout, doing="connect")

    def close(self) -> None:
        """Close all targets, beside each other; again is harmless."""
        self._held = False
        threads = [
            threading.Thread(target=member.close, name=f"crl-closing-{member.name}", daemon=True)
            for member in self._members
            if member.target is not None
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    # Runs

    def map(
        self,
        function: Callable[..., Result],
        *args: Any,
        timeout: float | None = None,
        each: float | None = None,
        stop_after: int | None = None,
        doing: str | None = None,
    ) -> Outcomes[Result]:
        """Call a function with each target, in threads of this process or by the executor.

        Args:
            function: Called with a connected `Target` and the further arguments.
            *args: Further arguments; `functools.partial` binds those by name.
            timeout: Seconds for all of it; what is not done then is ended, or not begun.
            each: Seconds for the function on one target. Then the target is closed, which ends what waits for it.
            stop_after: After so many errors no further target is begun.
            doing: What the bar of the progress says.

        Returns:
            One outcome for each target in their order; errors of targets are not raised. ``values()`` of it gives the
            values, or raises all errors as one group.

        Raises:
            KeyboardInterrupt: Ctrl-C: what was under way was ended and its targets closed; `latest` has the outcomes.
        """
        run = self._run(Bound(function, args), timeout, each, stop_after)
        return self._collected(run, doing or _name_of(function))

    def as_completed(
        self,
        function: Callable[..., Result],
        *args: Any,
        timeout: float | None = None,
        each: float | None = None,
        stop_after: int | None = None,
    ) -> Iterator[Outcome[Result]]:
        """As `map`, but gives each outcome when it comes; leaving the loop early ends what is under way."""
        with closing(self._run(Bound(function, args), timeout, each, stop_after).steps()) as steps:
            for _, outcome in steps:
                yield outcome

    @overload
    async def amap(
        self,
        function: Callable[..., Awaitable[Result]],
        *args: Any,
        timeout: float | None = ...,
        each: float | None = ...,
        stop_after: int | None = ...,
    ) -> Outcomes[Result]: ...

    @overload
    async def amap(
        self,
        function: Callable[..., Result],
        *args: Any,
        timeout: float | None = ...,
        each: float | None = ...,
        stop_after: int | None = ...,
    ) -> Outcomes[Result]: ...

    async def amap(
        self,
        function: Callable[..., Any],
        *args: Any,
        timeout: float | None = None,
        each: float | None = None,
        stop_after: int | None = None,
    ) -> Outcomes[Any]:
        """As `map`, for asyncio: the loop goes on meanwhile, and cancelling the task ends the run.

        Args:
            function: As of `map`, called in threads; or a coroutine function, which runs in this loop once its target
                is connected.
            *args: As of `map`.
            timeout: As of `map`.
            each: As of `map`.
            stop_after: As of `map`.

        Raises:
            UsageError: A coroutine function for a fleet with an executor.
        """
        work: Any = Bound(function, args)
        if inspect.iscoroutinefunction(function):
            if self._executor is not None:
                raise UsageError("a coroutine does not travel to an executor", doing="running on a fleet")
            work = OnLoop(work, asyncio.get_running_loop())
        run = self._run(work, timeout, each, stop_after)
        collecting = asyncio.ensure_future(asyncio.to_thread(self._collected, run, _name_of(function)))
        try:
            return await asyncio.shield(collecting)
        except asyncio.CancelledError:
            run.cancel()
            await collecting
            raise

    def _run(
        self,
        function: Callable[[Target], Any],
        timeout: float | None,
        each: float | None,
        stop_after: int | None,
    ) -> Run[Any]:
        terms = Terms(self._limits, self._connect_timeout, each, timeout, stop_after)
        if self._executor is not None:
            return SpreadRun(self._members, function, terms, self._executor, self._parts)
        return LocalRun(self._members, function, terms, hold=self._held)

    def _collected(self, run: Run[Result], doing: str) -> Outcomes[Result]:
        found: dict[int, Outcome[Result]] = {}
        failed = 0
        try:
            with reported(self._progress, doing, len(self)) as tell, closing(run.steps()) as steps:
                for number, outcome in steps:
                    found[number] = outcome
                    failed += not outcome.ok
                    tell(FleetProgress(len(self), len(found) - failed, failed, outcome))
        finally:
            self.latest = Outcomes([found.get(number) or _missing(name) for number, name in enumerate(self.names)])
        return self.latest

    # Verbs

    def run(
        self,
        command: CommandLine,
        *,
        check: bool = False,
        timeout: float | None = RUN_TIMEOUT,
        env: Environment | None = None,
        cwd: RemoteName | None = None,
        input: str | bytes | None = None,  # noqa: A002 - the name of subprocess.run
        become: str | None = None,
        stop_after: int | None = None,
    ) -> Outcomes[RunResult]:
        """Run a command on each target.

        Args:
            command: As of `Target.run`.
            check: Count a status other than 0 as an error (`CommandFailed`).
            timeout: Seconds for the command on one target.
            env: As of `Target.run`.
            cwd: As of `Target.run`.
            input: As of `Target.run`.
            become: As of `Target.run`.
            stop_after: As of `map`.
        """
        options = {"check": check, "timeout": timeout, "env": env, "cwd": cwd, "input": input, "become": become}
        return self._collected(self._run(Bound(run_on, (command,), options), None, None, stop_after), "run")

    def facts(self) -> Outcomes[TargetFacts]:
        """What each target says of itself."""
        return self.map(facts_of, doing="facts")


def _members(targets: Iterable[TargetLike] | Mapping[str, TargetLike], config: Any) -> list[Member]:
    named: list[tuple[str | None, TargetLike]]
    if isinstance(targets, Mapping):
        named = [(str(name), target) for name, target in targets.items()]
    elif isinstance(targets, str):
        raise UsageError("a fleet is made of several targets", doing="making a fleet", advice=f"write [{targets!r}]")
    else:
        named = [(None, target) for target in targets]
    members: list[Member] = []
    taken: set[str] = set()
    for name, target in named:
        spec = None if isinstance(target, Target) else _spec(target, name, config)
        wanted = name or (target.name if isinstance(target, Target) else spec.name if spec else "")
        unique, turn = wanted, 1
        while unique in taken:
            turn += 1
            unique = f"{wanted}#{turn}"
        taken.add(unique)
        members.append(Member(unique, spec, target if isinstance(target, Target) else None))
    return members


def _spec(target: Any, name: str | None, config: Any) -> TargetSpec:
    if isinstance(target, TargetSpec):
        return target
    if isinstance(target, str):
        target = {"host": target, **({} if config is None else {"config": os.fspath(config)})}
    return TargetSpec(target, name=name)


def _itself(target: Target) -> Target:
    return target


def _missing(name: str) -> Outcome[Any]:
    """What stands for an outcome that did not come: the run was interrupted."""
    return Outcome(name, error=FleetCancelled("the run was interrupted", host=name), stage=Stage.WAITING)


def _name_of(function: Any) -> str:
    return str(getattr(function, "__name__", type(function).__name__))
