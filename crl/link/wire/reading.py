"""The reading half of the value codec: bytes as a value, or a `ProtocolError`, whatever the bytes are.

Nothing that arrives can name a class, import a module or run code: the tags that do so on the target (expression,
pickle, a class by name) are refused where the owner of the reader does not allow them. Time and memory are linear in
what came, and bounded.
"""
# ruff: noqa: B905, F401 - on Python 2.7 zip knows no `strict`; names in type comments look unused.

import itertools
import struct

from crl.link.wire import records
from crl.link.wire.errors import ProtocolError
from crl.link.wire.tags import (
    BOOLS,
    COMPARISONS,
    COMPLEX,
    CONTAINER_COST,
    COUNT,
    DICTS,
    DOUBLE,
    FLOATS,
    INT64,
    INTS,
    MAKERS,
    MAX_DEPTH,
    MAX_ITEMS,
    MIXED,
    NONES,
    PLAIN,
    PY2,
    RAGGED,
    RECORDS,
    ROWS,
    SHORT_INTS,
    TEXT_ERRORS,
    TEXTS,
    WIDEST_TABLE,
    Expression,
    Pickled,
    long_type,
    text_type,
)

MYPY = False
if MYPY:
    from collections.abc import Callable, Iterable
    from typing import Any

    Resolve = Callable[[Any], Any]

# What the bytes of a value can make the builders raise; a mixture that lacks items ends in StopIteration.
UNREADABLE = (
    struct.error,
    LookupError,
    TypeError,
    ValueError,
    ArithmeticError,
    MemoryError,
    StopIteration,
    RuntimeError,
)
# What is one byte: the ints from 0 to 127, and the constants.
SINGLES = {tag: tag - 128 for tag in range(128, 256)}  # type: dict[int, Any]
SINGLES.update({ord("N"): None, ord("T"): True, ord("F"): False})
SHORT_TEXT = ord("u")
SHORT_TUPLE = ord("U")
LONG_INT = ord("i")
BOTH = (False, True)
LARGE = 65536
WHOLE_NUMBERS = {int, long_type}


class Reader(object):
    """Decodes one value.

    Args:
        data: The bytes of exactly one value, behind those that are none of it.
        resolve: Called with an `Expression`, a `Pickled` or a `records.Named` and returns the value in its place; None
            refuses the first two, and takes only the names that were registered here.
        start: Where the value begins.
    """

    __slots__ = ("data", "items_left", "position", "resolve", "size")

    def __init__(self, data, resolve=None, start=0):
        # type: (bytes, Resolve | None, int) -> None
        # Indexing gives numbers on every Python.
        self.data = bytearray(data) if PY2 else data  # type: Any
        self.size = len(data)
        self.position = start
        self.items_left = MAX_ITEMS
        self.resolve = resolve

    def value(self):
        # type: () -> Any
        """The value.

        Raises:
            ProtocolError: The bytes are not exactly one value.
            NotTransferable: It holds an object of a class that was not registered here.
        """
        try:
            (value,) = self.each(1, MAX_DEPTH)
        except UNREADABLE as error:
            if self.resolve is not None:
                # The peer is trusted: what failed is the code that stood among the arguments.
                raise
            # A RuntimeError is a RecursionError, which Python 2 does not know: the caller's stack is nearly full.
            raise ProtocolError("a value that cannot be decoded (%s)" % type(error).__name__)
        if self.position != self.size:
            raise ProtocolError("a value that does not end where its bytes end")
        return value

    def each(self, count, depth):
        # type: (int, int) -> list[Any]
        """Items that stand one by one; the most frequent short ones without a further call."""
        data = self.data
        position = self.position
        items = []
        for _ in itertools.repeat(None, count):
            tag = data[position]
            if tag in SINGLES:
                items.append(SINGLES[tag])
                position += 1
            elif tag == SHORT_TEXT:
                start = position + 2
                position = start + data[position + 1]
                items.append(data[start:position].decode("utf-8", TEXT_ERRORS))
            elif tag == SHORT_TUPLE:
                self.position = position + 1
                items.append(tuple(self.few(depth)))
                position = self.position
            elif tag == LONG_INT:
                items.append(INT64.unpack_from(data, position + 1)[0])
                position += 9
            else:
                self.position = position + 1
                items.append(READERS[tag](self, depth))
                position = self.position
        self.position = position
        return items

    def few(self, depth):
        # type: (int) -> list[Any]
        """The items of a short container."""
        position = self.position
        count = self.data[position]
        self.position = position + 1
        self.items_left -= count + CONTAINER_COST
        if self.items_left < 0 or depth <= 0:
            self.spend(0)
            self.deeper(depth)
        return self.each(count, depth - 1)

    def take(self, count):
        # type: (int) -> bytes
        """The next bytes."""
        start = self.position
        self.position = end = start + count
        if end > self.size:
            raise ProtocolError("a value that says it is longer than what came")
        if count > LARGE:
            # Of a bytearray, a slice would be one copy more.
            return memoryview(self.data)[start:end].tobytes()
        return bytes(self.data[start:end])

    def count(self):
        # type: () -> int
        """The next count or length."""
        position = self.position
        self.position = position + 4
        return COUNT.unpack_from(self.data, position)[0]  # type: ignore[no-any-return]

    def piece(self):
        # type: () -> bytes
        """Bytes that stand behind their length."""
        return self.take(self.count())

    def text(self):
        # type: () -> str
        """Text behind its length."""
        return self.piece().decode("utf-8", TEXT_ERRORS)

    def spend(self, items):
        # type: (int) -> None
        """Count items against the limit of one value."""
        self.items_left -= items
        if self.items_left < 0:
            raise ProtocolError("a value of more than %d items" % MAX_ITEMS)

    def deeper(self, depth):
        # type: (int) -> int
        """The depth that is left one level down."""
        if depth <= 0:
            raise ProtocolError("a value nested deeper than %d levels" % MAX_DEPTH)
        return depth - 1

    def items(self, depth):
        # type: (int) -> list[Any]
        """The items of one sequence as a list."""
        count = self.count()
        mode = self.data[self.position]
        self.position += 1
        # Every item takes at least a byte, so that a count is never larger than what really came.
        if count > self.size - self.position:
            raise ProtocolError("a sequence that says it is longer than what came")
        self.spend(count + CONTAINER_COST)
        if mode == ONE_BY_ONE:
            return self.each(count, self.deeper(depth))
        items = MODES[mode](self, count, depth)
        if len(items) != count:
            raise ProtocolError("%d items where %d were announced" % (len(items), count))
        return items

    def numbers(self, code, size, count):
        # type: (str, int, int) -> list[Any]
        """Numbers of one size."""
        return list(struct.unpack(code % count, self.take(size * count)))

    def nones(self, count, _depth):
        # type: (int, int) -> list[None]
        """Nothing, many times."""
        self.take(count)
        return [None] * count

    def bools(self, count, _depth):
        # type: (int, int) -> list[bool]
        """A byte for each."""
        return list(map(BOTH.__getitem__, bytearray(self.take(count))))

    def rows(self, count, depth):
        # type: (int, int) -> list[Any]
        """Lists or tuples of one length, which stand by column."""
        make = MAKERS[self.take(1)]
        columns = self.columns(bytearray(self.take(1))[0], count, depth)
        if make is dict or not columns:
            raise ProtocolError("a table of what is no row")
        return [list(row) for row in zip(*columns)] if make is list else list(zip(*columns))

    def dicts(self, count, depth):
        # type: (int, int) -> list[dict[Any, Any]]
        """Dicts of the same keys, which stand by column."""
        keys = self.items(self.deeper(depth))
        if not 1 <= len(keys) <= WIDEST_TABLE:
            raise ProtocolError("records of %d keys" % len(keys))
        self.spend(CONTAINER_COST * count)
        columns = self.columns(len(keys), count, depth)
        return [dict(zip(keys, row)) for row in zip(*columns)]

    def columns(self, width, count, depth):
        # type: (int, int, int) -> list[list[Any]]
        """The columns of a table."""
        if width > WIDEST_TABLE:
            raise ProtocolError("a table of %d columns" % width)
        self.spend(CONTAINER_COST * count)
        columns = [self.items(self.deeper(depth)) for _ in range(width)]
        if any(len(column) != count for column in columns):
            raise ProtocolError("columns of different lengths")
        return columns

    def ragged(self, count, depth):
        # type: (int, int) -> list[Any]
        """Lists, tuples or dicts of different lengths: the lengths, and all items one behind the other."""
        make = MAKERS[self.take(1)]
        below = self.deeper(depth)
        self.spend((2 if make is dict else 1) * CONTAINER_COST * count)
        lengths = self.items(below)
        items = self.items(below)
        if not set(map(type, lengths)) <= WHOLE_NUMBERS or sum(lengths) != len(items):
            raise ProtocolError("%d items where others were announced" % len(items))
        if make is not dict:
            source = iter(items)  # type: Any
            return [make(itertools.islice(source, length)) for length in lengths]
        values = self.items(below)
        if len(items) != len(values):
            raise ProtocolError("%d keys and %d values" % (len(items), len(values)))
        keys, source = iter(items), iter(values)
        return [
            self.dict_of(list(itertools.islice(keys, length)), itertools.islice(source, length)) for length in lengths
        ]

    def mixed(self, count, depth):
        # type: (int, int) -> list[Any]
        """Items of few types: which type stands where, and each type's items together."""
        width = self.data[self.position]
        self.position += 1
        places = bytearray(self.take(count))
        columns = [self.items(depth) for _ in range(width)]
        if sum(map(len, columns)) != count:
            raise ProtocolError("a mixture of more or fewer items than announced")
        sources = [iter(column) for column in columns]  # type: list[Any]
        turns = [source.next if PY2 else source.__next__ for source in sources]
        return [turns[place]() for place in places]

    def records(self, count, depth):
        # type: (int, int) -> list[Any]
        """Records of one class."""
        name = self.text()
        self.spend(2 * CONTAINER_COST * count)
        return [self.build(name, plain) for plain in self.items(self.deeper(depth))]

    def record(self, depth):
        # type: (int) -> Any
        """One record."""
        name = self.text()
        self.spend(2 * CONTAINER_COST)
        (plain,) = self.each(1, self.deeper(depth))
        return self.build(name, plain)

    def build(self, name, plain):
        # type: (str, Any) -> Any
        """The record of that name; objects of classes are made by the resolver where there is one."""
        if self.resolve is not None and name.startswith(records.OBJECT):
            return self.resolve(records.Named(name[1:], plain))
        return records.build(name, plain)

    def dict_of(self, keys, values):
        # type: (list[Any], Iterable[Any]) -> dict[Any, Any]
        """A dict."""
        self.check_hashes(keys)
        return dict(zip(keys, values))

    def check_hashes(self, keys):
        # type: (list[Any]) -> list[Any]
        """Refuse keys chosen to have one hash, which would take quadratic time; the hashes of texts are secret."""
        if len(keys) > COMPARISONS and set(map(type, keys)) != {text_type}:
            limit = COMPARISONS * len(keys)
            hashes = list(map(hash, keys))
            if (len(hashes) - len(set(hashes))) ** 2 > limit:
                groups = {}  # type: dict[int, int]
                for one in hashes:
                    groups[one] = groups.get(one, 0) + 1
                if sum(size * size for size in groups.values()) > limit:
                    raise ProtocolError("keys that were chosen to take for ever")
        return keys

    def mapping(self, depth):
        # type: (int) -> dict[Any, Any]
        """A dict: its keys, then its values."""
        keys = self.items(depth)
        values = self.items(depth)
        if len(keys) != len(values):
            raise ProtocolError("a dict of %d keys and %d values" % (len(keys), len(values)))
        return self.dict_of(keys, values)

    def short_mapping(self, depth):
        # type: (int) -> dict[Any, Any]
        """A short dict: each key before its value."""
        parts = self.few(depth)
        if len(parts) % 2:
            raise ProtocolError("a dict that lacks a value")
        return dict(zip(parts[::2], parts[1::2]))

    def digits(self, sign):
        # type: (int) -> int
        """An int beyond 64 bits."""
        return sign * int(self.piece(), 16)

    def short_native(self):
        # type: () -> Any
        """A short `str` of Python 2."""
        count = self.data[self.position]
        self.position += 1
        return _decode_native(self.take(count))

    def resolved(self, wrapped):
        # type: (Expression | Pickled) -> Any
        """What stands for code, where the owner of this reader allows it."""
        if self.resolve is None:
            raise ProtocolError("the peer sent code where only values are allowed")
        return self.resolve(wrapped)


def _decode_native(data):
    # type: (bytes) -> Any
    """What was `str` on Python 2: text, whose undecodable bytes become lone surrogates as in file names."""
    return data if PY2 else data.decode("utf-8", "surrogateescape")


READERS = {
    ord("I"): lambda reader, _: reader.digits(1),
    ord("J"): lambda reader, _: reader.digits(-1),
    ord("d"): lambda reader, _: DOUBLE.unpack(reader.take(8))[0],
    ord("c"): lambda reader, _: complex(*COMPLEX.unpack(reader.take(16))),
    ord("s"): lambda reader, _: reader.text(),
    ord("S"): lambda reader, _: _decode_native(reader.piece()),
    ord("n"): lambda reader, _: reader.short_native(),
    ord("b"): lambda reader, _: reader.piece(),
    ord("B"): lambda reader, _: bytearray(reader.piece()),
    ord("L"): Reader.few,
    ord("M"): Reader.short_mapping,
    ord("l"): Reader.items,
    ord("t"): lambda reader, depth: tuple(reader.items(depth)),
    ord("e"): lambda reader, depth: set(reader.check_hashes(reader.items(depth))),
    ord("f"): lambda reader, depth: frozenset(reader.check_hashes(reader.items(depth))),
    ord("m"): Reader.mapping,
    ord("r"): Reader.record,
    ord("X"): lambda reader, _: reader.resolved(Expression(reader.text())),
    ord("P"): lambda reader, _: reader.resolved(Pickled(reader.piece())),
}  # type: dict[int, Callable[[Reader, int], Any]]
ONE_BY_ONE = ord(PLAIN)
MODES = {
    ord(INTS): lambda reader, count, _: reader.numbers("<%dq", 8, count),
    ord(SHORT_INTS): lambda reader, count, _: reader.numbers("<%di", 4, count),
    ord(FLOATS): lambda reader, count, _: reader.numbers("<%dd", 8, count),
    ord(TEXTS): lambda reader, _, __: reader.text().split(u"\0"),
    ord(NONES): Reader.nones,
    ord(BOOLS): Reader.bools,
    ord(ROWS): Reader.rows,
    ord(DICTS): Reader.dicts,
    ord(RAGGED): Reader.ragged,
    ord(MIXED): Reader.mixed,
    ord(RECORDS): Reader.records,
}  # type: dict[int, Callable[[Reader, int, int], list[Any]]]


def decode(data, resolve=None, start=0):
    # type: (bytes, Resolve | None, int) -> Any
    """The value that `encode` wrote; see `Reader`."""
    return Reader(data, resolve, start).value()
