"""What a fleet does on each of its targets: the verbs of `Target`, once more for many.

This module knows targets and the `map` of a fleet. It promises that what is called on each target can be pickled, so
that an executor can spread it, and that what is pulled lands in a folder of its own for each target.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, Unpack

from crl.errors import UsageError
from crl.link import TransferOptions, TransferResult
from crl.targets.facts import TargetFacts
from crl.targets.outcomes import Outcomes
from crl.targets.results import RunResult
from crl.targets.target import Target

if TYPE_CHECKING:
    from crl.targets.fleet import Fleet

__all__ = ["FleetFiles", "FleetPython", "facts_of", "run_on"]

Result = TypeVar("Result")


def run_on(target: Target, command: Any, **options: Any) -> RunResult:
    """Run a command."""
    return target.run(command, **options)


def facts_of(target: Target) -> TargetFacts:
    """The facts."""
    return target.facts


def _call(target: Target, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return target.python.call(function, *args, **kwargs)


def _eval(target: Target, source: str, timeout: float | None) -> Any:
    return target.python.eval(source, timeout)


def _exec(target: Target, source: str, timeout: float | None) -> None:
    target.python.exec(source, timeout)


def _push(target: Target, source: Any, destination: str, options: TransferOptions) -> TransferResult:
    return target.files.push(source, destination, **options)


def _pull(target: Target, source: str, folder: str, options: TransferOptions) -> TransferResult:
    own = Path(folder, target.name)
    own.mkdir(parents=True, exist_ok=True)
    return target.files.pull(source, os.fspath(own) + os.sep, **options)


def _write(target: Target, path: str, data: str | bytes, mode: int | None) -> TransferResult:
    return target.files.write(path, data, mode=mode)


def _read(target: Target, path: str) -> bytes:
    return target.files.read(path)


class FleetPython:
    """Python on all targets of a fleet.

    Args:
        fleet: The fleet.
    """

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet

    def call(self, function: str | Callable[..., Result], *args: Any, **kwargs: Any) -> Outcomes[Any]:
        """Call a function on each target; see `Python.call` of a target."""
        name = function if isinstance(function, str) else getattr(function, "__name__", "function")
        return self._fleet.map(_call, function, args, kwargs, doing=name)

    def eval(self, source: str, timeout: float | None = None) -> Outcomes[Any]:
        """The value of an expression on each target."""
        return self._fleet.map(_eval, source, timeout, doing="eval")

    def exec(self, source: str, timeout: float | None = None) -> Outcomes[None]:
        """Run statements on each target; the names they define last as long as the connections."""
        return self._fleet.map(_exec, source, timeout, doing="exec")


class FleetFiles:
    """Files of all targets of a fleet.

    Args:
        fleet: The fleet.
    """

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet

    def push(
        self, source: str | os.PathLike[str], destination: str, **options: Unpack[TransferOptions]
    ) -> Outcomes[TransferResult]:
        """Copy a file or a folder of this machine to each target; see `TargetFiles.push`."""
        return self._fleet.map(_push, os.fspath(source), destination, options, doing="push")

    def pull(
        self, source: str, folder: str | os.PathLike[str], **options: Unpack[TransferOptions]
    ) -> Outcomes[TransferResult]:
        """Copy a file or a folder of each target into ``FOLDER/NAME/``, where NAME is the target's.

        Args:
            source: Its path there.
            folder: The folder on this machine; with an executor, on the machine that works on the target.
            options: See `TargetFiles.pull`.

        Raises:
            UsageError: A target's name cannot be that of a folder.
        """
        bad = [name for name in self._fleet.names if name in (".", "..") or "/" in name or "\0" in name]
        if bad:
            raise UsageError(
                f"the name {bad[0]!r} cannot be that of a folder",
                doing="pulling from a fleet",
                advice="give names: Fleet({'name': target, …})",
            )
        return self._fleet.map(_pull, source, os.fspath(folder), options, doing="pull")

    def write(self, path: str, data: str | bytes, *, mode: int | None = None) -> Outcomes[TransferResult]:
        """Make a file of these bytes, or of a text as UTF-8, on each target."""
        return self._fleet.map(_write, path, data, mode, doing="write")

    def read(self, path: str) -> Outcomes[bytes]:
        """The content of a file of each target."""
        return self._fleet.map(_read, path, doing="read")
