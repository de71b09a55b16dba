"""Functions that tests send to targets."""

from __future__ import annotations

import os
import os.path as paths
from fractions import Fraction

FACTOR = 7
NAMES = {"a": [1, 2]}


class Adder:
    """A class that a function uses."""

    def __init__(self, start: int) -> None:
        self.start = start

    def plus(self, number: int) -> int:
        return self.start + twice(number)


def twice(number: int) -> int:
    return 2 * number


def everything(number: int, *, extra: int = 0) -> tuple[int, str, int, str, list[int]]:
    """Uses imports, a class, another function and values of this module."""
    total = Adder(number).plus(extra) * FACTOR
    return os.getpid(), paths.join("a", "b"), total, str(Fraction(1, 2)), NAMES["a"]


def factorial(number: int) -> int:
    return 1 if number <= 1 else number * factorial(number - 1)


def raises() -> None:
    raise KeyError("from there")
