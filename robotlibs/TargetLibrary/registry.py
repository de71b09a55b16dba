"""The targets that a suite has opened: their aliases, which one is in use, and who has to close them.

It knows targets by their `close` only. It promises that what is opened is closed once, last opened first, and that
what stands on a target (sessions, tunnels) is closed before it.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field

from crl.errors import UsageError
from crl.targets import Target

__all__ = ["OpenTargets"]


@dataclass
class _Entry:
    target: Target
    owner: str
    before: ExitStack = field(default_factory=ExitStack)


class OpenTargets:
    """The open targets, by alias."""

    def __init__(self) -> None:
        self._entries: dict[str, _Entry] = {}
        self._current: str | None = None

    @property
    def aliases(self) -> list[str]:
        """The aliases in use, first opened first."""
        return list(self._entries)

    @property
    def current(self) -> str | None:
        """The alias of the target in use."""
        return self._current

    def add(self, alias: str, target: Target, owner: str) -> None:
        """Take a target, and use it.

        Raises:
            UsageError: The alias is taken.
        """
        self.refuse_taken(alias)
        self._entries[alias] = _Entry(target, owner)
        self._current = alias

    def refuse_taken(self, alias: str) -> None:
        """Make sure that an alias is free.

        Raises:
            UsageError: It is not.
        """
        if alias in self._entries:
            raise UsageError(f"there is an open target {alias!r}", advice="give another alias, or close that one first")

    def find(self, wanted: str | Target | None) -> Target:
        """The target of an alias; the one in use for None; a target itself.

        Raises:
            UsageError: There is none.
        """
        return self._entries[self.alias_of(wanted)].target

    def alias_of(self, wanted: str | Target | None) -> str:
        """The alias of what `find` takes.

        Raises:
            UsageError: There is none.
        """
        if wanted is None:
            if self._current is None:
                raise UsageError("no target is in use", advice="use the keyword Open Target, or Switch Target, first")
            return self._current
        for alias, entry in self._entries.items():
            if wanted in (alias, entry.target):
                return alias
        known = ", ".join(map(repr, self._entries)) or "none"
        raise UsageError(f"no open target {wanted!r}", advice=f"open are: {known}")

    def use(self, wanted: str | Target) -> str | None:
        """Use a target; gives the alias of the one used until now."""
        before, self._current = self._current, self.alias_of(wanted)
        return before

    def before_closing(self, target: Target, close: Callable[[], object]) -> None:
        """Call `close` just before the target is closed."""
        self._entries[self.alias_of(target)].before.callback(close)

    def close(self, wanted: str | Target | None) -> None:
        """Close one target and what stands on it; without one in use, the last opened of the others is used then."""
        alias = self.alias_of(wanted)
        entry = self._entries.pop(alias)
        if self._current == alias:
            self._current = next(reversed(self._entries), None)
        with ExitStack() as stack:
            stack.callback(entry.target.close)
            stack.push(entry.before)

    def close_all(self, owner: str | None = None) -> None:
        """Close all targets, or those of one owner, last opened first; all of them, also when one fails."""
        with ExitStack() as stack:
            for alias, entry in self._entries.items():
                if owner in (None, entry.owner):
                    stack.callback(self.close, alias)
