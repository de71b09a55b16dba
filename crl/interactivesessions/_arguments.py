"""Proxies among the arguments of a call: they travel as the names of the objects that they stand for.

This module knows the link's `Expression` and what every proxy has in common; it promises to look into lists, tuples,
sets and dicts of any size at little cost and to leave everything else as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from crl.interactivesessions._pending import Bin
from crl.link import Expression

__all__ = ["HasRemoteName", "RemoteName", "to_expressions"]


class RemoteName:
    """The name under which the target knows an object; the object goes when the last holder of an owned name goes.

    Args:
        text: An expression that gives the object on the target.
        unused: Takes the name when it was owned and nobody holds it any more; None for names that are not owned.
        parent: Another name that this one is built on, kept alive with it.
    """

    __slots__ = ("_unused", "parent", "text")

    def __init__(self, text: str, unused: Bin | None = None, parent: RemoteName | None = None) -> None:
        self.text = text
        self.parent = parent
        self._unused = unused

    def disown(self) -> None:
        """Nothing was kept under this name after all, or somebody else looks after it."""
        self._unused = None

    def __del__(self) -> None:
        if self._unused is not None:
            self._unused.add_handle(self.text)


class HasRemoteName:
    """Base of everything that stands for an object on the target."""

    __slots__ = ()


_CONTAINERS = (list, tuple, dict, set, frozenset)


def to_expressions(value: Any, name_of: Callable[[Any], RemoteName], names: list[RemoteName]) -> Any:
    """Replace proxies by expressions.

    Args:
        value: An argument, or a container of arguments.
        name_of: Gives the name behind a proxy, or raises when it cannot be used now.
        names: Takes the names that were met.

    Returns:
        `value` itself where there is nothing to replace.
    """
    return _replace(value, name_of, names, ())


def _replace(
    value: Any, name_of: Callable[[Any], RemoteName], names: list[RemoteName], outer: tuple[int, ...]
) -> Any:
    kind = type(value)
    if issubclass(kind, HasRemoteName):
        name = name_of(value)
        names.append(name)
        return Expression(name.text)
    if kind not in _CONTAINERS or not value or id(value) in outer:
        return value
    path = (*outer, id(value))
    if kind is dict:
        if not (_may_hold_names(value) or _may_hold_names(value.values())):
            return value
        pairs = [
            (_replace(key, name_of, names, path), _replace(item, name_of, names, path)) for key, item in value.items()
        ]
        changed = any(a is not c or b is not d for (a, b), (c, d) in zip(pairs, value.items(), strict=True))
        return dict(pairs) if changed else value
    if not _may_hold_names(value):
        return value
    items = [_replace(item, name_of, names, path) for item in value]
    changed = any(a is not b for a, b in zip(items, value, strict=True))
    return kind(items) if changed else value


def _may_hold_names(items: Iterable[Any]) -> bool:
    """Look at the types only: one pass at C speed however long the container is."""
    return any(kind in _CONTAINERS or issubclass(kind, HasRemoteName) for kind in set(map(type, items)))
