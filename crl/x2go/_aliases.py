"""python-x2go's private names: applications call ``_X2GoSession__start`` and the like.

A subclass that overrides a public method with another signature still finds ours under that name. The aliases are made
from lists of names, and stand for what the class itself defines.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

__all__ = ["mangled_aliases"]

Class = TypeVar("Class", bound=type)


def mangled_aliases(names: Iterable[str]) -> Callable[[Class], Class]:
    """A decorator that gives a class the name-mangled aliases of its methods and properties.

    Args:
        names: Their public names; each has to be an attribute of the class.
    """

    def decorate(cls: Class) -> Class:
        for name in names:
            setattr(cls, f"_{cls.__name__.lstrip('_')}__{name}", cls.__dict__.get(name) or _inherited(cls, name))
        return cls

    return decorate


def _inherited(cls: type, name: str) -> object:
    """What a base of the class defines, unbound."""
    return next(base.__dict__[name] for base in cls.__mro__ if name in base.__dict__)
