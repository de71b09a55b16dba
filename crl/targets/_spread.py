"""A run over many targets that is spread over processes or machines by any `concurrent.futures.Executor`.

It knows descriptions of targets and executors, and leaves the work in each process to a fleet there. It promises that
what cannot be handed over costs one outcome and not its neighbours', and that a part whose process dies is told as the
errors of its targets.
"""

from __future__ import annotations

import pickle
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from dataclasses import replace
from itertools import pairwise
from threading import Event
from typing import Any, Generic, TypeVar

from crl.deadlines import Deadline
from crl.errors import RemoteWorldError
from crl.interactivesessions._manyatonce import Limits
from crl.secrets import redact
from crl.targets._fleetrun import LocalRun, Member, Steps, Terms
from crl.targets.outcomes import FleetCancelled, FleetTimeout, Outcome, OutcomeLost, Stage
from crl.targets.spec import TargetSpec
from crl.targets.target import Target

__all__ = ["SpreadRun", "divided"]

LATE_PARTS = 15.0
LOOK = 0.5

Result = TypeVar("Result")


def divided(specs: Sequence[TargetSpec], parts: int, limits: Limits) -> list[tuple[list[int], Limits]]:
    """The numbers of the targets in each part, those with the same first hop together, and the limits of each.

    Args:
        specs: All targets.
        parts: Into how many parts.
        limits: Of all parts together; no part gets less than one opening by a first hop.
    """
    count = min(parts, len(specs))
    order = sorted(range(len(specs)), key=lambda number: (specs[number].first_hop, number))
    edges = [len(order) * part // count for part in range(count + 1)] if count else [0]
    groups = [order[start:end] for start, end in pairwise(edges)]
    uses: dict[str, int] = {}
    for group in groups:
        for hop in {specs[number].first_hop for number in group}:
            uses[hop] = uses.get(hop, 0) + 1
    shared = [max(uses[specs[number].first_hop] for number in group) for group in groups]
    return [
        (sorted(group), replace(limits, per_hop=max(1, limits.per_hop // most)))
        for group, most in zip(groups, shared, strict=True)
    ]


class SpreadRun(Generic[Result]):
    """A run whose parts an executor does.

    Args:
        members: The targets, all with descriptions.
        function: What is called with each; it has to be picklable for the executor.
        terms: What holds.
        executor: Where.
        parts: Into how many parts they are divided.
    """

    def __init__(
        self,
        members: Sequence[Member],
        function: Callable[[Target], Result],
        terms: Terms,
        executor: Executor,
        parts: int,
    ) -> None:
        self._specs = [member.spec.renamed(member.name) for member in members if member.spec is not None]
        self._function = function
        self._terms = terms
        self._executor = executor
        self._parts = parts
        self._cancelled = Event()

    def cancel(self) -> None:
        """As `Run.cancel`; what runs in other processes is not waited for."""
        self._cancelled.set()

    def steps(self) -> Steps[Result]:
        """As `Run.steps`."""
        futures: dict[Future[list[Outcome[Any]]], list[int]] = {}
        seconds = self._terms.timeout
        # What a part does not keep by itself, because it began late or its machine is gone.
        deadline = Deadline.after(None if seconds is None else seconds + LATE_PARTS)
        try:
            for numbers, limits in divided(self._specs, self._parts, self._terms.limits):
                specs = [self._specs[number] for number in numbers]
                terms = replace(self._terms, limits=limits)
                futures[self._executor.submit(_do_part, specs, self._function, terms)] = numbers
            while futures and not self._cancelled.is_set() and not deadline.expired:
                done, _ = wait(futures, deadline.sooner(LOOK).remaining(), FIRST_COMPLETED)
                for future in done:
                    yield from self._outcomes_of(future, futures.pop(future))
            yield from self._not_done([number for numbers in futures.values() for number in numbers])
        finally:
            for future in futures:
                future.cancel()

    def _not_done(self, numbers: Sequence[int]) -> Steps[Result]:
        for number in numbers:
            name = self._specs[number].name
            error: RemoteWorldError = FleetTimeout("no answer in time from where it was to be done", host=name)
            if self._cancelled.is_set():
                error = FleetCancelled("the whole was cancelled", host=name)
            yield number, Outcome(name, error=error, stage=Stage.WAITING)

    def _outcomes_of(self, future: Future[list[Outcome[Any]]], numbers: Sequence[int]) -> Steps[Result]:
        try:
            yield from zip(numbers, future.result(), strict=True)
        except Exception as error:  # noqa: BLE001 - whatever an executor raises concerns all targets of the part
            for number in numbers:
                name = self._specs[number].name
                text = f"the process that was to work on it failed: {type(error).__name__}: {error}"
                lost = OutcomeLost(text, host=name, doing="spreading a run")
                lost.__cause__ = error
                yield number, Outcome(name, error=lost)


def _do_part(specs: list[TargetSpec], function: Callable[[Target], Any], terms: Terms) -> list[Outcome[Any]]:
    """Runs in the other process."""
    run: LocalRun[Any] = LocalRun([Member(spec.name, spec, None) for spec in specs], function, terms, hold=False)
    found = dict(run.steps())
    return [_portable(found[number]) for number in range(len(specs))]


def _portable(outcome: Outcome[Any]) -> Outcome[Any]:
    """It, or one that says what it was when it cannot be pickled here or unpickled there."""
    try:
        pickle.loads(pickle.dumps(outcome))
    except Exception as error:  # noqa: BLE001 - what pickling raises is up to the objects
        return replace(outcome, value=None, error=_lost(outcome, error))
    return outcome


def _lost(outcome: Outcome[Any], why: Exception) -> OutcomeLost:
    if outcome.error is None:
        what = f"the value of type {type(outcome.value).__name__} cannot be pickled: {why}"
        return OutcomeLost(what, host=outcome.name, advice="return plain values from the function")
    text = redact("".join(traceback.format_exception(outcome.error)))
    what = f"{type(outcome.error).__name__}: {outcome.error} (which cannot be pickled: {why})"
    return OutcomeLost(what, host=outcome.name, transcript=text)
