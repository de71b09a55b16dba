"""Functions and modules of this end, as source for the target.

This module reads the source of what it is given and of what that uses from its own module; it knows no terminal. It
promises to send nothing that was not named or used, and to say clearly what has no source.
"""

from __future__ import annotations

import inspect
import textwrap
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from crl.errors import UsageError

__all__ = ["DEFINE", "DEFINE_MODULE", "SentFunction", "module_source", "sent_function"]

# Defines what the source says in a namespace of its own and gives the object of that name.
DEFINE = (
    "(lambda s, d, n: (lambda g: (eval(compile(s, '<sent by crl>', 'exec'), g), g[n])[1])"
    "(dict(d, __name__='__crl_sent__')))"
)
# Makes a module of the source and registers it, so that other code can import it.
DEFINE_MODULE = (
    "(lambda s, n, p, m: (__import__('sys').modules.__setitem__(n, m), m.__dict__.__setitem__('__file__', p),"
    " eval(compile(s, p, 'exec'), m.__dict__), m)[3])"
)


@dataclass
class SentFunction:
    """What the target needs for a function.

    Attributes:
        name: The function's name in the source.
        source: Imports, and the definitions of the function and what it uses.
        data: Plain values that it uses, by name.
    """

    name: str
    source: str = ""
    data: dict[str, Any] = field(default_factory=dict)


def sent_function(function: Callable[..., Any]) -> SentFunction:
    """A function, with what it uses of its module: imports, other functions and classes, and values.

    Args:
        function: Defined by ``def`` in a file, or anywhere else where Python finds its source.

    Raises:
        UsageError: It has no source, is a lambda or a method, or uses something that cannot be sent.
    """
    if not isinstance(function, types.FunctionType) or function.__name__ == "<lambda>":
        raise UsageError(
            f"{function!r} cannot be sent",
            doing="sending a function to the target",
            advice="give a function defined by def, or the text of an expression on the target",
        )
    sent = SentFunction(function.__name__)
    pieces: list[str] = []
    _collect(function.__name__, function, sent, pieces, set())
    sent.source = "\n".join(pieces)
    return sent


def _collect(name: str, thing: Any, sent: SentFunction, pieces: list[str], seen: set[str]) -> None:
    if name in seen:
        return
    seen.add(name)
    if isinstance(thing, types.ModuleType):
        pieces.insert(0, f"import {thing.__name__} as {name}" if "." not in thing.__name__ else _dotted(thing, name))
    elif isinstance(thing, types.FunctionType | type) and _is_own(thing):
        for used, value in _used_by(thing):
            _collect(used, value, sent, pieces, seen)
        pieces.append(_source_of(thing))
        if thing.__name__ != name:
            pieces.append(f"{name} = {thing.__name__}")
    elif isinstance(thing, types.FunctionType | types.BuiltinFunctionType | type):
        pieces.insert(0, f"from {thing.__module__} import {thing.__name__} as {name}")
    else:
        sent.data[name] = thing


def _dotted(module: types.ModuleType, name: str) -> str:
    parent, _, last = module.__name__.rpartition(".")
    return f"from {parent} import {last} as {name}"


def _is_own(thing: Any) -> bool:
    """Whether it is the user's: neither of the standard library nor installed, so that the target may not have it."""
    if thing.__module__ == "__main__":
        return True
    try:
        path = Path(inspect.getfile(thing)).resolve()
    except (TypeError, OSError):
        return False
    installed = {"site-packages", "dist-packages"} & set(path.parts)
    return not installed and Path(textwrap.__file__).resolve().parent not in path.parents


def _source_of(thing: Any) -> str:
    try:
        return textwrap.dedent(inspect.getsource(thing))
    except (OSError, TypeError) as error:
        raise UsageError(
            f"the source of {thing!r} is not known: {error}",
            doing="sending a function to the target",
            advice="define it in a file",
        ) from error


def _used_by(thing: Any) -> Iterator[tuple[str, Any]]:
    """Names that a function, or the functions of a class, take from around them."""
    if isinstance(thing, type):
        for base in thing.__bases__:
            if base is not object:
                yield base.__name__, base
        for member in vars(thing).values():
            inner = getattr(member, "__func__", getattr(member, "fget", member))
            if isinstance(inner, types.FunctionType):
                yield from ((name, value) for name, value in _used_by(inner) if value is not thing)
        return
    closed = inspect.getclosurevars(thing)
    yield from ((name, value) for name, value in closed.nonlocals.items() if value is not thing)
    for name in _names_in(thing.__code__):
        if name in thing.__globals__ and thing.__globals__[name] is not thing:
            yield name, thing.__globals__[name]


def _names_in(code: types.CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _names_in(constant)


def module_source(module: str | types.ModuleType) -> tuple[str, str, str]:
    """Name, file and source of a module, given as such or by its path.

    Raises:
        UsageError: There is no such file, or the module has no source.
    """
    if isinstance(module, types.ModuleType):
        name, file = module.__name__, module.__file__
    else:
        name, file = Path(module).stem, module
    if file is None or not file.endswith(".py"):
        raise UsageError(f"the module {name} has no source file", doing="sending a module to the target")
    try:
        return name, file, Path(file).read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(str(error), doing="sending a module to the target") from error
