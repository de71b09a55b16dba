"""One run: the phases one after the other, in each the tasks round by round, in each round every contestant in turn.

It knows workers, tasks and the lab's places. It promises that every question ends in a figure or a reason, and that all
workers are ended, whatever happens.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Collection
from contextlib import ExitStack, nullcontext
from pathlib import Path

from benchmarks.contestants import CONTESTANTS, SetUpError, set_up
from benchmarks.figures import Figures
from benchmarks.places import Places
from benchmarks.tasks import PHASES, Phase, Task
from benchmarks.worker import Worker

__all__ = ["measure"]

FAILURES = 2
HOLD_TIMEOUT = 60.0
# No disk of this machine is to be measured.
MEMORY = "/dev/shm" if os.path.isdir("/dev/shm") else None
Tell = Callable[[str], None]


def measure(
    figures: Figures, rounds: int, only: Collection[str], peers: Collection[str], cache: Path, tell: Tell
) -> None:
    """Measure everything.

    Args:
        figures: Gets what is measured, at once.
        rounds: How many at most for each task.
        only: Phases or tasks to do; empty does all.
        peers: Contestants to ask; empty asks all.
        cache: For environments and logs.
        tell: Gets a line for each step.
    """
    with ExitStack() as stack:
        places = stack.enter_context(Places())
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="crl-benchmark-", dir=MEMORY)))
        workers = _workers(figures, peers, places, cache, folder, tell)
        for worker in workers.values():
            stack.callback(worker.close)
        run = _Run(figures, workers, places, rounds, only, tell)
        for phase in PHASES:
            run.phase(phase)
        figures.about["seconds"] = run.seconds
        places.tidy()


def _workers(
    figures: Figures, peers: Collection[str], places: Places, cache: Path, folder: Path, tell: Tell
) -> dict[str, Worker]:
    found, versions, refused = {}, {}, {}
    logs = cache / "log"
    logs.mkdir(parents=True, exist_ok=True)
    for one in CONTESTANTS:
        if peers and one.name not in peers:
            continue
        tell(f"setting up {one.name}")
        try:
            python, versions[one.name] = set_up(one, cache)
        except SetUpError as error:
            refused[one.name] = str(error)
            tell(f"{one.name} cannot be set up: {error}")
            continue
        own = folder / one.name
        own.mkdir()
        found[one.name] = Worker(one, python, places.settings(own, one.option), logs / f"{one.name}.log")
    figures.about.update(versions=versions, refused=refused)
    return found


class _Run:
    """The phases of one run."""

    def __init__(
        self,
        figures: Figures,
        workers: dict[str, Worker],
        places: Places,
        rounds: int,
        only: Collection[str],
        tell: Tell,
    ) -> None:
        self._figures = figures
        self._workers = workers
        self._places = places
        self._rounds = rounds
        self._only = only
        self._tell = tell
        self._failed: Counter[tuple[str, str]] = Counter()
        self._spent: defaultdict[str, float] = defaultdict(float)

    @property
    def seconds(self) -> dict[str, float]:
        """How long each task took in all."""
        return {task: round(seconds, 1) for task, seconds in self._spent.items()}

    def phase(self, phase: Phase) -> None:
        """One phase with its rounds."""
        tasks = [task for task in phase.tasks if not self._only or phase.name in self._only or task.key in self._only]
        if not tasks:
            return
        with self._places.slow(phase.loss) if phase.slow else nullcontext():
            who = [name for name in self._workers if any(name in task.who for task in tasks)]
            held = [name for name in who if phase.place is None or self._hold(name, phase.place, tasks)]
            for number in range(min(self._rounds, max(task.rounds for task in tasks))):
                self._tell(f"{phase.name}: round {number + 1}")
                for task in tasks:
                    if number < task.rounds:
                        self._task(task, phase, held)
            if phase.place is not None:
                for name in held:
                    self._workers[name].ask("drop", HOLD_TIMEOUT)

    def _hold(self, name: str, place: str, tasks: list[Task]) -> bool:
        answer = self._workers[name].ask("hold", HOLD_TIMEOUT, place=place)
        if answer.value is None:
            self._tell(f"{name} cannot connect: {answer.why.splitlines()[0]}")
            for task in tasks:
                if name in task.who:
                    self._figures.add(task.key, name, None, f"cannot connect: {answer.why.splitlines()[0]}")
        return answer.value is not None

    def _task(self, task: Task, phase: Phase, held: list[str]) -> None:
        arguments = dict(task.arguments)
        if task.operation == "tunnel":
            arguments["port"] = self._places.port
        for name in task.who:
            if name not in held or self._failed[task.key, name] >= FAILURES:
                continue
            if task.fresh:
                self._workers[name].close()
            began = time.monotonic()
            answer = self._workers[name].ask(task.operation, task.timeout, **arguments)
            self._spent[task.key] += time.monotonic() - began
            self._figures.add(task.key, name, answer.value, answer.why)
            if answer.value is not None:
                continue
            self._failed[task.key, name] += FAILURES if answer.absent else 1
            if not answer.absent:
                self._tell(f"{task.key} of {name} failed: {answer.why.splitlines()[0]}")
                if phase.place is not None and not self._hold(name, phase.place, []):
                    held.remove(name)
            if task.leader and name == task.who[0]:
                return
