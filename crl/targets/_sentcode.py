"""Functions of this end, as source for the target.

This module reads the source of what it is given and of what that uses, in whatever module that is; it knows no
terminal. It promises to send nothing that was not named or used, in namespaces that are named like the modules here, at
the lines of their files, and to say clearly what has no source.
"""

from __future__ import annotations

import builtins
import functools
import inspect
import pickle
import pickletools
import sys
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from crl.errors import UsageError
from crl.link.sources import Sources, is_own_file, is_own_module
from crl.targets._pieces import Piece, piece_of

__all__ = ["SentFunction", "sent_function"]

DOING = "sending a function to the target"
LAMBDA = "<lambda>"
CACHED = type(functools.cache(len))
Space = tuple[str, str]


@dataclass
class SentFunction:
    """What the target needs for a function.

    Attributes:
        module: The function's module.
        name: Its name there.
        steps: What is defined and imported, in order.
        data: Values that it uses, by module and name.
        modules: Names of modules of this end that it imports.
    """

    module: str = ""
    name: str = ""
    steps: list[tuple[object, ...]] = field(default_factory=list)
    data: dict[str, dict[str, Any]] = field(default_factory=dict)
    modules: list[str] = field(default_factory=list)


def sent_function(function: Callable[..., Any], sources: Sources, *, bare: bool) -> SentFunction:
    """A function, with what it uses: imports, other functions and classes, and values.

    Args:
        function: Defined where Python finds its source: by ``def``, or as a lambda.
        sources: What may be sent as modules; the package or directory of the function's module is added.
        bare: The target's Python is older than 3.7: annotations of functions stay here.

    Raises:
        UsageError: It has no source, is a method, or uses something that cannot be sent.
    """
    inner = inspect.unwrap(function)
    if not isinstance(inner, types.FunctionType):
        raise UsageError(
            f"{function!r} cannot be sent", doing=DOING, advice="give a function, or the text of an expression there"
        )
    collector = _Collector(sources, bare=bare)
    collector.sent.module, collector.sent.name = collector.define(inner)
    collector.sent.steps += collector.late
    collector.choose_modules(inner)
    return collector.sent


class _Collector:
    """Follows what functions and classes use."""

    def __init__(self, sources: Sources, *, bare: bool) -> None:
        self._bare = bare
        self.sent = SentFunction()
        self.late: list[tuple[object, ...]] = []
        self._sources = sources
        self._bound: dict[Space, Any] = {}
        self._defined: dict[int, tuple[Space, bool]] = {}
        self._imported: set[str] = set()
        self._own_modules: set[str] = set()

    def define(self, thing: Any) -> Space:
        """Have a function or class defined in the namespace of its module; returns where and under what name."""
        if isinstance(thing, types.FunctionType):
            thing = inspect.unwrap(thing)
        known = self._defined.get(id(thing))
        if known is not None:
            return known[0]
        name = f"lambda_{len(self._defined)}" if thing.__name__ == LAMBDA else thing.__name__
        place = (thing.__module__ or "__main__", name)
        self._defined[id(thing)] = (place, False)
        piece = piece_of(thing, name, bare=self._bare)
        self._imported |= piece.imports
        for used, value in _used_by(thing, piece):
            self._bind(place[0], used, value, piece)
        self._claim(place, thing)
        self.sent.steps.append(("source", place[0], piece.text, piece.path, piece.line, piece.futures))
        self._defined[id(thing)] = (place, True)
        return place

    def _claim(self, place: Space, thing: Any) -> None:
        if self._bound.setdefault(place, thing) is not thing:
            raise UsageError(
                f"two different things are called {place[1]!r} in what {place[0]} sends",
                doing=DOING,
                advice="give them different names",
            )

    def _bind(self, space: str, name: str, value: Any, piece: Piece) -> None:
        """Give something used a name in a namespace of the target."""
        inner = inspect.unwrap(value) if isinstance(value, types.FunctionType | CACHED) else value
        value = inner if isinstance(inner, types.FunctionType) and _is_own(inner) else value
        if (space, name) in self._bound and self._bound[space, name] is value:
            return
        if isinstance(value, types.ModuleType):
            self._bind_module(space, name, value, piece)
        elif isinstance(value, types.FunctionType | type) and _is_own(value):
            place = self.define(value)
            if place == (space, name):
                return
            finished = self._defined[id(value)][1]
            (self.sent.steps if finished else self.late).append(("alias", space, name, *place))
        elif isinstance(value, types.FunctionType | types.BuiltinFunctionType | type) and value.__module__:
            self.sent.steps.append(("import", space, name, value.__module__, value.__qualname__))
        else:
            self.sent.data.setdefault(space, {})[name] = _checked(name, value)
        self._claim((space, name), value)

    def _bind_module(self, space: str, name: str, module: types.ModuleType, piece: Piece) -> None:
        """A module and those of its submodules that are imported here and may be meant."""
        start = module.__name__ + "."
        meant = [
            other
            for other in sorted(sys.modules)
            if other.startswith(start) and set(other.removeprefix(start).split(".")) <= piece.attributes
        ]
        self._own_modules.update(other for other in (module.__name__, *meant) if is_own_module(other))
        for other in (*meant, module.__name__):
            self.sent.steps.append(("import", space, name, other, None))

    def choose_modules(self, function: types.FunctionType) -> None:
        """The modules of this end that have to be there."""
        if not self._own_modules | self._imported:
            return
        home = sys.modules.get(function.__module__)
        if home is not None and is_own_module(home.__name__):
            self._sources.add_home(home)
        missing = sorted(name for name in self._own_modules if not self._sources.has(name))
        if missing:
            raise UsageError(
                f"{function.__name__} uses the module {missing[0]}, which is not allowed to be sent",
                doing=DOING,
                advice=f"allow it: target.python.allow({missing[0].partition('.')[0]!r})",
            )
        self.sent.modules = sorted(name for name in self._own_modules | self._imported if self._sources.has(name))


def _checked(name: str, value: Any) -> Any:
    """A value, when it can be sent at all."""
    reason = None
    try:
        pickled = pickle.dumps(value, protocol=2)
    except (pickle.PicklingError, TypeError, AttributeError, RecursionError) as error:
        reason = str(error)
    else:
        named = {str(item) for code, item, _ in pickletools.genops(pickled) if code.name == "GLOBAL"}
        own = sorted(item for item in named if is_own_module(item.split(" ")[0]))
        if own:
            reason = f"the target does not know {own[0].replace(' ', '.')}"
    if reason is not None:
        raise UsageError(
            f"the value {name!r} that the function uses cannot be sent: {reason}",
            doing=DOING,
            advice="make it in the function, or give it as an argument",
        )
    return value


def _used_by(thing: Any, piece: Piece) -> Iterator[tuple[str, Any]]:
    """What a function or a class takes from around it, by name."""
    around = _around(thing)
    names = set(piece.names)
    if isinstance(thing, types.FunctionType):
        around = {**dict(_defaults(thing, piece)), **around}
        names &= set(_names_in(thing.__code__)) | piece.outer_names
    for name in sorted(names):
        if name in around:
            value = around[name]
            if value is not thing and getattr(value, "__wrapped__", None) is not thing:
                yield name, value


def _around(thing: Any) -> dict[str, Any]:
    """The names that are known where a function or class was defined, builtins left out."""
    functions = [thing] if isinstance(thing, types.FunctionType) else list(_functions_of(thing))
    known: dict[str, Any] = dict(vars(sys.modules[thing.__module__])) if thing.__module__ in sys.modules else {}
    for function in functions:
        known.update(function.__globals__)
    for function in functions:
        for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
            if name != "__class__":
                known[name] = _content(name, cell)
    return {name: value for name, value in known.items() if value is not getattr(builtins, name, known)}


def _defaults(function: types.FunctionType, piece: Piece) -> Iterator[tuple[str, Any]]:
    """Values of defaults that are names of an enclosing function, which may be over."""
    code = function.__code__
    positional = reversed(code.co_varnames[: code.co_argcount])
    values = dict(zip(positional, reversed(function.__defaults__ or ()), strict=False))
    values.update(function.__kwdefaults__ or {})
    return ((name, values[argument]) for argument, name in piece.default_names.items() if argument in values)


def _functions_of(cls: type) -> Iterator[types.FunctionType]:
    for member in vars(cls).values():
        inner = getattr(member, "__func__", getattr(member, "fget", member))
        if isinstance(inner, types.FunctionType):
            inner = inspect.unwrap(inner)
            if inner.__module__ == cls.__module__ and inner.__qualname__.startswith(cls.__qualname__ + "."):
                yield inner


def _content(name: str, cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError as error:
        raise UsageError(
            f"the variable {name!r} that the function uses has no value yet", doing=DOING, advice="send it later"
        ) from error


def _names_in(code: types.CodeType) -> Iterator[str]:
    yield from code.co_names
    yield from code.co_freevars
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _names_in(constant)


def _is_own(thing: Any) -> bool:
    """Whether it is the user's: neither of the standard library nor installed, so that the target may not have it."""
    if thing.__module__ == "__main__":
        return True
    try:
        return is_own_file(inspect.getfile(inspect.unwrap(thing)))
    except (TypeError, OSError):
        return False
