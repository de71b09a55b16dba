"""What a value of the codec is made of: its tags, its limits and the two things that only the target takes.

Both halves of the codec, `writing` and `reading`, have this from here; it knows neither of them.
"""

# ruff: noqa: F401 - names in type comments look unused.

import struct
import sys

MYPY = False
if MYPY:
    from collections.abc import Callable
    from typing import Any

VERSION = 2
MAX_DEPTH = 100
# How many items the containers of one value may have in all: what a peer sends in a byte may take fifty in memory.
MAX_ITEMS = 1 << 24
# What a container counts as besides its items: it is an object of its own, though it may stand in two bytes.
CONTAINER_COST = 8
FAST_FROM = 8
MIXED_FROM = 32
WIDEST_TABLE = 64
# How many comparisons for each key a dict of a hostile peer may cost.
COMPARISONS = 256

PY2 = sys.version_info[0] == 2
if PY2:
    text_type = unicode  # type: ignore[name-defined]  # noqa: F821
    # Lone surrogates pass, as they do there by default.
    TEXT_ERRORS = "strict"
    long_type = long  # type: ignore[name-defined]  # noqa: F821
else:
    text_type = str
    TEXT_ERRORS = "surrogatepass"
    long_type = int

COUNT = struct.Struct("<I")
INT64 = struct.Struct("<q")
DOUBLE = struct.Struct("<d")
COMPLEX = struct.Struct("<dd")
TAGGED_INT64 = struct.Struct("<cq")
INT64_MIN = -(1 << 63)
INT64_MAX = (1 << 63) - 1

# How the items of a sequence stand.
PLAIN = b"\x00"
INTS = b"\x01"
SHORT_INTS = b"\x02"
FLOATS = b"\x03"
TEXTS = b"\x04"
NONES = b"\x05"
BOOLS = b"\x06"
ROWS = b"\x07"
DICTS = b"\x08"
RAGGED = b"\x09"
MIXED = b"\x0a"
RECORDS = b"\x0b"


def byte_of(number):
    # type: (int) -> bytes
    """One byte."""
    return bytes(bytearray((number,)))


# What stands before short things: a tag and a length of one byte. An int below 128 is one byte of its own.
SMALL_INTS = [byte_of(128 + number) for number in range(128)]
SHORT_TEXTS, SHORT_NATIVES, SHORT_LISTS, SHORT_TUPLES, SHORT_DICTS = (
    [tag + byte_of(length) for length in range(256)] for tag in (b"u", b"n", b"L", b"U", b"M")
)
SEQUENCES = {list: b"l", tuple: b"t", dict: b"m"}
MAKERS = {b"l": list, b"t": tuple, b"m": dict}  # type: dict[bytes, Callable[[Any], Any]]


class Expression(object):
    """An expression that the target evaluates in its user namespace where it stands among arguments."""

    __slots__ = ("source",)

    def __init__(self, source):
        # type: (str) -> None
        self.source = source


class Pickled(object):
    """A value outside the codec on its way to the target, which trusts the controller.

    Args:
        data: The pickle; its persistent ids are values of the codec.
    """

    __slots__ = ("data",)

    def __init__(self, data):
        # type: (bytes) -> None
        self.data = data
