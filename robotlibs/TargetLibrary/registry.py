"""What a suite has opened, targets or fleets: the aliases, which one is in use, and who has to close them.

It knows them by their `close` only. It promises that what is opened is closed once, last opened first, and that
what stands on a target (sessions, tunnels) is closed before it.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from crl.errors import UsageError
from crl.targets import Target

__all__ = ["OpenTargets", "Opened"]


class _Closable(Protocol):
    def close(self) -> None: ...


T = TypeVar("T", bound=_Closable)


@dataclass
class _Entry(Generic[T]):
    opened: T
    owner: str
    before: ExitStack = field(default_factory=ExitStack)


class Opened(Generic[T]):
    """What is open, by alias.

    Args:
        kind: What it is called in texts.
    """

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._entries: dict[str, _Entry[T]] = {}
        self._current: str | None = None

    @property
    def aliases(self) -> list[str]:
        """The aliases in use, first opened first."""
        return list(self._entries)

    @property
    def current(self) -> str | None:
        """The alias of the one in use."""
        return self._current

    def add(self, alias: str, opened: T, owner: str) -> None:
        """Take what was opened, and use it.

        Raises:
            UsageError: The alias is taken.
        """
        self.refuse_taken(alias)
        self._entries[alias] = _Entry(opened, owner)
        self._current = alias

    def refuse_taken(self, alias: str) -> None:
        """Make sure that an alias is free.

        Raises:
            UsageError: It is not.
        """
        if alias in self._entries:
            raise UsageError(
                f"there is an open {self._kind} {alias!r}", advice="give another alias, or close that one first"
            )

    def find(self, wanted: str | T | None) -> T:
        """That of an alias; the one in use for None; one itself.

        Raises:
            UsageError: There is none.
        """
        return self._entries[self.alias_of(wanted)].opened

    def alias_of(self, wanted: str | T | None) -> str:
        """The alias of what `find` takes.

        Raises:
            UsageError: There is none.
        """
        if wanted is None:
            if self._current is None:
                keyword = self._kind.title()
                raise UsageError(
                    f"no {self._kind} is in use", advice=f"use the keyword Open {keyword}, or Switch {keyword}, first"
                )
            return self._current
        for alias, entry in self._entries.items():
            if wanted in (alias, entry.opened):
                return alias
        known = ", ".join(map(repr, self._entries)) or "none"
        raise UsageError(f"no open {self._kind} {wanted!r}", advice=f"open are: {known}")

    def use(self, wanted: str | T) -> str | None:
        """Use one; gives the alias of the one used until now."""
        before, self._current = self._current, self.alias_of(wanted)
        return before

    def before_closing(self, opened: T, close: Callable[[], object]) -> None:
        """Call `close` just before that is closed."""
        self._entries[self.alias_of(opened)].before.callback(close)

    def close(self, wanted: str | T | None) -> None:
        """Close one and what stands on it; without one in use, the last opened of the others is used then."""
        alias = self.alias_of(wanted)
        entry = self._entries.pop(alias)
        if self._current == alias:
            self._current = next(reversed(self._entries), None)
        with ExitStack() as stack:
            stack.callback(entry.opened.close)
            stack.push(entry.before)

    def close_all(self, owner: str | None = None) -> None:
        """Close all, or those of one owner, last opened first; all of them, also when one fails."""
        with ExitStack() as stack:
            for alias, entry in self._entries.items():
                if owner in (None, entry.owner):
                    stack.callback(self.close, alias)


class OpenTargets(Opened[Target]):
    """The open targets, by alias."""

    def __init__(self) -> None:
        super().__init__("target")
