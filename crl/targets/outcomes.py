"""What came of something that was done on many targets: one outcome for each, in the order of the targets.

This module knows values and errors only. It promises that an outcome says on which target, how far it came and how long
it took, and that no error hides a result.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, overload

from crl.errors import RemoteWorldError
from crl.interactivesessions._manyatonce import FleetCancelled, FleetTimeout, Stage
from crl.secrets import redact

__all__ = ["FleetCancelled", "FleetProgress", "FleetTimeout", "Outcome", "OutcomeLost", "Outcomes", "Stage"]


Result = TypeVar("Result")
SHOWN_FAILURES = 10


class OutcomeLost(RemoteWorldError):
    """What another process found on a target could not be handed over to this one; the text says what it was."""


@dataclass(frozen=True)
class Outcome(Generic[Result]):
    """What came of it on one target.

    Attributes:
        name: The target.
        value: What the function gave; None when there was an error.
        error: What was raised; None when all went well.
        stage: How far it came: ``waiting``, ``connecting`` or ``running``.
        seconds: How long it took, connecting included; 0 when it was not begun.
    """

    name: str
    value: Result | None = None
    error: BaseException | None = None
    stage: Stage = Stage.RUNNING
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        """Whether there was no error."""
        return self.error is None

    def result(self) -> Result:
        """The value.

        Raises:
            BaseException: The error, when there was one.
        """
        if self.error is not None:
            raise self.error
        return self.value  # type: ignore[return-value]

    def __repr__(self) -> str:
        if self.error is None:
            return f"<Outcome of {self.name}: {redact(repr(self.value))} in {self.seconds:.3f} s>"
        return f"<Outcome of {self.name}: {self.stage}, {_said(self.error)}>"


class Outcomes(Sequence[Outcome[Result]]):
    r"""The outcomes of all targets in their order; also to be had by the target's name.

    Example:
        >>> outcomes = fleet.run(["uname", "-r"])
        >>> outcomes["alpha"].result().stdout
        '6.1.0\n'
        >>> [outcome.name for outcome in outcomes.failed]
        []

    Args:
        outcomes: One for each target.
    """

    def __init__(self, outcomes: Sequence[Outcome[Result]]) -> None:
        self._outcomes = tuple(outcomes)

    @overload
    def __getitem__(self, key: int | str) -> Outcome[Result]: ...

    @overload
    def __getitem__(self, key: slice) -> Outcomes[Result]: ...

    def __getitem__(self, key: int | str | slice) -> Outcome[Result] | Outcomes[Result]:
        if isinstance(key, str):
            found = next((outcome for outcome in self._outcomes if outcome.name == key), None)
            if found is None:
                raise KeyError(key)
            return found
        return Outcomes(self._outcomes[key]) if isinstance(key, slice) else self._outcomes[key]

    def __len__(self) -> int:
        return len(self._outcomes)

    def __iter__(self) -> Iterator[Outcome[Result]]:
        return iter(self._outcomes)

    @property
    def ok(self) -> bool:
        """Whether there was no error on any target."""
        return all(outcome.ok for outcome in self._outcomes)

    @property
    def succeeded(self) -> Outcomes[Result]:
        """Those without an error."""
        return Outcomes([outcome for outcome in self._outcomes if outcome.ok])

    @property
    def failed(self) -> Outcomes[Result]:
        """Those with an error."""
        return Outcomes([outcome for outcome in self._outcomes if not outcome.ok])

    @property
    def names(self) -> list[str]:
        """The targets."""
        return [outcome.name for outcome in self._outcomes]

    def values(self) -> list[Result]:
        """The values of all targets in their order.

        Raises:
            ExceptionGroup: There were errors: all of them, each naming its target.
        """
        self.raise_errors()
        return [outcome.result() for outcome in self._outcomes]

    def raise_errors(self) -> None:
        """Raise the errors of all targets as one group; does nothing when there was none."""
        errors = [_named(outcome) for outcome in self.failed]
        if errors:
            raise BaseExceptionGroup(f"{len(errors)} of {len(self)} targets failed", errors)

    def grouped(self, key: Callable[[Outcome[Any]], Any] = lambda outcome: outcome.value) -> dict[Any, list[str]]:
        """The names of the targets that have the same, the largest group first.

        Args:
            key: What is compared; default the value, which must be hashable then. Targets with errors are left out.
        """
        groups: dict[Any, list[str]] = {}
        for outcome in self.succeeded:
            groups.setdefault(key(outcome), []).append(outcome.name)
        return dict(sorted(groups.items(), key=lambda group: -len(group[1])))

    def __repr__(self) -> str:
        failed = self.failed
        text = f"<Outcomes of {len(self)} targets: {len(self) - len(failed)} succeeded, {len(failed)} failed"
        shown = [f"{outcome.name}: {_said(outcome.error)}" for outcome in failed[:SHOWN_FAILURES]]
        if len(failed) > SHOWN_FAILURES:
            shown.append("…")
        return "\n  ".join([text, *shown]) + ">"


@dataclass(frozen=True)
class FleetProgress:
    """How far a run over many targets is.

    Attributes:
        total: Targets in all.
        succeeded: Those that are done without an error.
        failed: Those that are done with one.
        outcome: What came in just now.
    """

    total: int
    succeeded: int
    failed: int
    outcome: Outcome[Any]

    @property
    def done(self) -> int:
        """Targets that are done."""
        return self.succeeded + self.failed


def _said(error: BaseException | None) -> str:
    """The first line of an error."""
    if error is None:
        return ""
    lines = redact(str(error)).splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def _named(outcome: Outcome[Any]) -> BaseException:
    """The error; one that does not name its target gets a note."""
    error = outcome.error
    assert error is not None
    note = f"on {outcome.name}, {outcome.stage}"
    if getattr(error, "host", None) is None and note not in getattr(error, "__notes__", ()):
        error.add_note(note)
    return error
