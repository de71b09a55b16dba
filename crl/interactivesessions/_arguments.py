"""Proxies and functions among the arguments of a call: they travel as names of what they stand for.

This module knows the link's `Expression`, what every proxy has in common, and which functions are called at this end.
It promises to look into lists, tuples, sets and dicts of any size at little cost and to leave everything else as it is.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Iterable
from typing import Any

from crl.deadlines import Deadline
from crl.interactivesessions._pending import Bin
from crl.link import Callback, Expression
from crl.link.sources import is_own_module

__all__ = ["HasRemoteName", "RemoteName", "Replacing", "to_expressions"]


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
_FUNCTIONS = frozenset({types.FunctionType, types.MethodType, types.BuiltinMethodType, Callback})
_LOOKED_AT = _FUNCTIONS | {*_CONTAINERS}


class Replacing:
    """How to replace, and what was met.

    Args:
        name_of: Gives the name behind a proxy, or raises when it cannot be used now.
        has_module: Whether the target has a module of that name from this end.
        pass_function: Lets the target call a function here, until the deadline, and gives what stands for it.
        deadline: Until when; None is what `pass_function` likes.

    Attributes:
        names: The names that were met.
    """

    __slots__ = ("deadline", "has_module", "name_of", "names", "pass_function")

    def __init__(
        self,
        name_of: Callable[[Any], RemoteName],
        has_module: Callable[[str], bool],
        pass_function: Callable[[Any, Deadline | None], Expression],
        deadline: Deadline | None,
    ) -> None:
        self.deadline = deadline
        self.name_of = name_of
        self.has_module = has_module
        self.pass_function = pass_function
        self.names: list[RemoteName] = []


def to_expressions(value: Any, how: Replacing) -> Any:
    """Replace proxies, and functions of this end, by expressions.

    Args:
        value: An argument, or a container of arguments.
        how: What to replace them by.

    Returns:
        `value` itself where there is nothing to replace.
    """
    return _replace(value, how, ())


def _replace(value: Any, how: Replacing, outer: tuple[int, ...]) -> Any:
    kind = type(value)
    if issubclass(kind, HasRemoteName):
        name = how.name_of(value)
        how.names.append(name)
        return Expression(name.text)
    if kind not in _LOOKED_AT:
        return value
    if kind in _FUNCTIONS:
        return how.pass_function(value, how.deadline) if _is_called_here(value, how.has_module) else value
    if not value or id(value) in outer:
        return value
    path = (*outer, id(value))
    if kind is dict:
        if not (_may_hold_names(value) or _may_hold_names(value.values())):
            return value
        pairs = [(_replace(key, how, path), _replace(item, how, path)) for key, item in value.items()]
        changed = any(a is not c or b is not d for (a, b), (c, d) in zip(pairs, value.items(), strict=True))
        return dict(pairs) if changed else value
    if not _may_hold_names(value):
        return value
    items = [_replace(item, how, path) for item in value]
    changed = any(a is not b for a, b in zip(items, value, strict=True))
    return kind(items) if changed else value


def _may_hold_names(items: Iterable[Any]) -> bool:
    """Look at the types only: one pass at C speed however long the container is."""
    return any(kind in _LOOKED_AT or issubclass(kind, HasRemoteName) for kind in set(map(type, items)))


def _is_called_here(function: Any, has_module: Callable[[str], bool]) -> bool:
    """Whether a function among the arguments stays at this end, to be called by the target.

    Methods of objects, lambdas and inner functions do, and functions of the user's modules that the target has not got;
    those of the standard library and of installed packages are the target's own ones of that name.
    """
    if type(function) is Callback:
        return True
    owner = getattr(function, "__self__", None)
    if owner is not None and not isinstance(owner, type | types.ModuleType):
        return True
    name = getattr(function, "__qualname__", "")
    if "<" in name:
        return True
    module = getattr(function, "__module__", None) or ""
    return is_own_module(module) and not has_module(module)
