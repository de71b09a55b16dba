"""Functions of many kinds that tests send to targets; nothing here needs anything of the test's own."""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from tests.targets import sent

if TYPE_CHECKING:
    from decimal import Decimal

LIMIT = 5
SIZES = {"small": 1}


def louder(function: Callable[..., str]) -> Callable[..., str]:
    """A decorator."""

    @functools.wraps(function)
    def wrapped(*args: Any) -> str:
        return function(*args).upper()

    return wrapped


@louder
def shout(text: str) -> str:
    """Decorated."""
    return text + "!"


def typed(first: list[int], *rest: int, limit: int = LIMIT, price: Decimal | None = None) -> dict[str, int]:
    """Annotations that old Pythons do not know."""
    total: int = sum(first) + sum(rest)
    missing: int
    missing = limit
    return {"total": total, "missing": missing}


@functools.lru_cache(maxsize=8)
def once(number: int) -> list[int]:
    """Gives the same list again."""
    return [number]


def cached() -> bool:
    """Uses what is cached."""
    return once(3) is once(3)


def even(number: int) -> bool:
    """Calls what calls it."""
    return number == 0 or odd(number - 1)


def odd(number: int) -> bool:
    """Calls what calls it."""
    return number != 0 and even(number - 1)


@contextlib.contextmanager
def entered(log: list[str]) -> Iterator[None]:
    """A generator that is decorated by the standard library."""
    log.append("in")
    yield
    log.append("out")


def managed() -> list[str]:
    """Uses it."""
    log: list[str] = []
    with entered(log):
        log.append("here")
    return log


class Base(object):  # noqa: UP004 - of Python 2 too
    """A base class."""

    limit = LIMIT

    @property
    def size(self) -> int:
        """A property that uses a value."""
        return SIZES["small"] + self.limit


class Derived(Base):
    """With a base class."""

    def size_of(self, factor: int = 2) -> int:
        """Uses its base class."""
        return super(Derived, self).size * factor  # noqa: UP008 - of Python 2 too


def classes() -> int:
    """Uses both."""
    return Derived().size_of()


def of_a_module() -> int:
    """Uses a module of the same package."""
    return sent.twice(21)


def imports_inside() -> int:
    """Imports one when it is called."""
    from tests.targets.sent import FACTOR

    return FACTOR


def fails(number: int) -> float:
    """Raises in this line."""
    return os.getpid() / number  # the line that fails


times = [lambda number: number * 2, lambda number: number * LIMIT]
pair = (lambda number: number + 1), (lambda number: number + 2)
