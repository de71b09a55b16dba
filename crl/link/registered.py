"""Classes of the controller whose objects cross by value: dataclasses, enumerations and namedtuples.

Only what was registered here is ever made of what a target sends, whatever it names. This module knows the codec's
table of names.
"""

from __future__ import annotations

from typing import Final, TypeVar

from crl.errors import UsageError
from crl.link.wire import records

__all__ = ["register_type"]

Class = TypeVar("Class", bound=type)

ADVICE: Final = "register a dataclass, an Enum or a namedtuple"


def register_type(cls: Class, name: str | None = None) -> Class:
    """Let objects of a class cross by value, in both directions; usable as a decorator.

    The target knows the class by its module and name. An object comes over as its fields, without a run of its
    constructor, so its fields may be of any types. Objects of classes that were not registered cross as their builtin
    base where they have one (a namedtuple as a tuple), and otherwise not at all.

    Args:
        cls: A dataclass, a class made by `typing.NamedTuple` or `collections.namedtuple`, or an `enum.Enum`.
        name: Module and name on the target; None takes those of `cls`.

    Raises:
        UsageError: It is another kind of class.

    Example:
        >>> @register_type
        ... @dataclass
        ... class Disk:
        ...     path: str
        ...     free: int
    """
    kind = records.kind_of(cls)
    if kind is None:
        raise UsageError(f"{cls!r} cannot cross by value", doing="registering a class", advice=ADVICE)
    if kind == "dataclass":
        try:
            object.__new__(cls)
        except TypeError as error:
            raise UsageError(f"{cls!r} cannot be made: {error}", doing="registering a class", advice=ADVICE) from None
    name = name or records.class_name(cls)
    records.TYPES[name] = cls
    records.NAMES[cls] = name
    return cls
