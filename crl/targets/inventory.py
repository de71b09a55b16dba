"""A file that names targets and groups of them, for all who work on many: the command line, suites, fixtures.

This module knows descriptions of targets (`TargetSpec`) and TOML, and connects to nothing. It promises that a name that
nobody has written down is an error where the file is meant to be complete, and that no secret stands in an error.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Self

from crl.errors import UsageError
from crl.targets.spec import TargetSpec

__all__ = ["Inventory"]

ALL: Final = "all"
_TABLES: Final = frozenset({"targets", "groups", "complete"})


class Inventory(Mapping[str, TargetSpec]):
    """Targets by name, and groups of them.

    Args:
        targets: What `TargetSpec` takes, by name: a host of the ssh configuration, a dictionary of a shell, or a list
            of such.
        groups: Names of targets and of other groups, by the group's name. ``all`` is there by itself.
        config: The ssh configuration for hosts given by name; None is the user's own.
        complete: Whether there are no other targets; otherwise a name that is not here is a host of the ssh
            configuration.

    Raises:
        UsageError: Something in it is no target or no group, or groups go round in a circle.

    Example:
        >>> inventory = Inventory({"db": {"host": "10.0.0.7"}}, {"back": ["db", "cache"]})
        >>> list(inventory.select("back"))
        ['db', 'cache']
    """

    def __init__(
        self,
        targets: Mapping[str, Any] | None = None,
        groups: Mapping[str, Iterable[str]] | None = None,
        *,
        config: str | os.PathLike[str] | None = None,
        complete: bool = False,
    ) -> None:
        self._config = None if config is None else os.fspath(config)
        self._complete = complete
        self._targets = {name: self._spec(name, given) for name, given in (targets or {}).items()}
        self._groups = {name: _members(name, given) for name, given in (groups or {}).items()}
        both = sorted(self._groups.keys() & {*self._targets, ALL})
        if both:
            raise _wrong(f"{both[0]!r} cannot be the name of a group")
        for name in self._groups:
            list(self._names(name, ()))

    @classmethod
    def read(cls, path: str | os.PathLike[str], *, config: str | os.PathLike[str] | None = None) -> Self:
        """The inventory of a file in TOML, with the tables ``targets`` and ``groups``, and ``complete``.

        Args:
            path: The file.
            config: As of the class.

        Raises:
            UsageError: It cannot be read, or is no inventory.
        """
        try:
            values = tomllib.loads(Path(path).read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise UsageError(f"{os.fspath(path)}: {error}", doing="reading an inventory") from error
        unknown = sorted(set(values) - _TABLES)
        if unknown:
            raise _wrong(f"unknown: {', '.join(unknown)}")
        for name in ("targets", "groups"):
            if not isinstance(values.get(name, {}), dict):
                raise _wrong(f"{name!r} is no table")
        complete = bool(values.get("complete", False))
        return cls(values.get("targets"), values.get("groups"), config=config, complete=complete)

    def __getitem__(self, name: str) -> TargetSpec:
        return self._targets[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._targets)

    def __len__(self) -> int:
        return len(self._targets)

    @property
    def groups(self) -> dict[str, list[str]]:
        """The names of the targets of each group."""
        return {name: list(dict.fromkeys(self._names(name, ()))) for name in (*self._groups, ALL)}

    def select(self, *words: str) -> dict[str, TargetSpec]:
        """The targets that words name, each once and in this order, as a fleet takes them.

        Args:
            words: Names of targets and groups.

        Raises:
            UsageError: The inventory is complete, and a name is not there.
        """
        names = dict.fromkeys(name for word in words for name in self._names(word, ()))
        return {name: self._targets.get(name) or self._of_configuration(name) for name in names}

    def _names(self, word: str, inside: tuple[str, ...]) -> Iterator[str]:
        if word in inside:
            raise _wrong(f"the group {word!r} is a part of itself")
        if word in self._groups:
            for member in self._groups[word]:
                yield from self._names(member, (*inside, word))
        elif word == ALL:
            yield from self._targets
        else:
            yield word

    def _of_configuration(self, name: str) -> TargetSpec:
        if self._complete:
            known = ", ".join((*self._targets, *self._groups)) or "nothing"
            raise UsageError(
                f"there is no target or group {name!r}", doing="looking into the inventory", advice=f"it has {known}"
            )
        return self._spec(name, name)

    def _spec(self, name: str, given: Any) -> TargetSpec:
        if isinstance(given, TargetSpec):
            return given.renamed(name)
        if isinstance(given, str):
            given = {"host": given}
        if isinstance(given, Mapping) and "shells" in given:
            return TargetSpec.from_dict({**given, "name": name})
        if isinstance(given, Mapping) and self._config is not None and "shellname" not in given:
            given = {"config": self._config, **given}
        return TargetSpec(given, name=name)


def _members(name: str, given: object) -> list[str]:
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise _wrong(f"the group {name!r} is no list of names")
    members = list(given)
    if not all(isinstance(one, str) for one in members):
        raise _wrong(f"the group {name!r} is no list of names")
    return members


def _wrong(text: str) -> UsageError:
    return UsageError(text, doing="making an inventory")
