"""The raw figures of one run: for each task and contestant one value a round, and what is made of them.

Ratios and differences are taken within a round and the median is taken of them, because absolute times of a shared
machine move from round to round. It knows no task and no row by name.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Figures"]


@dataclass
class Figures:
    """What was measured.

    Attributes:
        values: By task, then contestant: a number or numbers by name for each round, None where there is none.
        reasons: By task, then contestant: why there is none.
        about: When, where, with which versions.
    """

    values: dict[str, dict[str, list[Any]]] = field(default_factory=dict)
    reasons: dict[str, dict[str, str]] = field(default_factory=dict)
    about: dict[str, Any] = field(default_factory=dict)

    def with_later(self, later: Figures) -> Figures:
        """These figures, with those of a later run in the place of its tasks; what is told of that run is kept too."""
        tasks = sorted(later.values)
        run = {**later.about, "tasks": tasks}
        # Of an older run only what still stands.
        before = [one for one in self.about.get("later", []) if not set(one["tasks"]) <= set(tasks)]
        reasons = {task: found for task, found in self.reasons.items() if task not in later.values}
        return Figures(
            values={**self.values, **later.values},
            reasons={**reasons, **later.reasons},
            about={**self.about, "later": [*before, run]},
        )

    def add(self, task: str, who: str, value: Any, why: str = "") -> None:
        """One round's figure."""
        self.values.setdefault(task, {}).setdefault(who, []).append(value)
        if value is None and why:
            self.reasons.setdefault(task, {})[who] = why

    def series(self, figure: str, who: str) -> list[float | None]:
        """One value a round; the figure is a task, or a task, a colon and a name."""
        task, _, name = figure.partition(":")
        found = self.values.get(task, {}).get(who, [])
        return [None if value is None else float(value[name] if name else value) for value in found]

    def median(self, figure: str, who: str) -> float | None:
        """The median over the rounds."""
        found = [value for value in self.series(figure, who) if value is not None]
        return statistics.median(found) if found else None

    def paired(
        self, one: tuple[str, str], other: tuple[str, str], combine: Callable[[float, float], float]
    ) -> float | None:
        """The median of what comes of two figures of the same round.

        Args:
            one: Figure and contestant.
            other: Likewise.
            combine: What to make of a pair.
        """
        pairs = zip(self.series(*one), self.series(*other), strict=False)
        found = [combine(mine, theirs) for mine, theirs in pairs if mine is not None and theirs is not None]
        return statistics.median(found) if found else None

    def why(self, figure: str, who: str) -> str:
        """Why there is no figure."""
        reason = self.reasons.get(figure.partition(":")[0], {}).get(who, "not measured in this run")
        return reason.splitlines()[0].replace("|", "/")
