"""The value codec: a closed set of types as bytes, and back.

Only what `encode` can write does `decode` make, so nothing that arrives can name a class, import a module or run code;
the two tags that do run code on the target (expression and pickle) are refused by a decoder that was not told to allow
them. Decoding is total: a value or `ProtocolError`, bounded in depth, and never larger than what was sent allows.
Sequences of one type and records of one shape take a path at C speed.
"""
# ruff: noqa: B905, F401 - on Python 2.7 zip knows no `strict`; names in type comments look unused.

import struct
import sys

from crl.link.wire import records
from crl.link.wire.errors import NotTransferable, ProtocolError

MYPY = False
if MYPY:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Any

    Put = Callable[[bytes], Any]

VERSION = 1
MAX_DEPTH = 100
# How many items the containers of one value may have in all: what a peer sends in a byte may take fifty in memory.
MAX_ITEMS = 1 << 25
# What a row or a record of a table counts as: it is an object of its own, though its items may take one byte each.
ROW_COST = 8
DICT_COST = 16
FAST_FROM = 8

PY2 = sys.version_info[0] == 2
if PY2:
    text_type = unicode  # type: ignore[name-defined]  # noqa: F821
    long_type = long  # type: ignore[name-defined]  # noqa: F821
else:
    text_type = str
    long_type = int

COUNT = struct.Struct(">I")
INT64 = struct.Struct(">q")
DOUBLE = struct.Struct(">d")
COMPLEX = struct.Struct(">dd")
INT64_MIN = -(1 << 63)
INT64_MAX = (1 << 63) - 1

# How the items of a sequence stand.
PLAIN = b"\x00"
INTS = b"\x01"
FLOATS = b"\x02"
TEXTS = b"\x03"
ROWS = b"\x04"
DICTS = b"\x05"

EMPTY = COUNT.pack(0) + PLAIN

SEQUENCES = {list: b"l", tuple: b"t", set: b"e", frozenset: b"f"}
MAKERS = {b"l": list, b"t": tuple, b"e": set, b"f": frozenset}


class Expression(object):
    """An expression that the target evaluates in its user namespace where it stands among arguments."""

    __slots__ = ("source",)

    def __init__(self, source):
        # type: (str) -> None
        self.source = source


class Pickled(object):
    """A value outside the codec on its way to the target, which trusts the controller."""

    __slots__ = ("data",)

    def __init__(self, data):
        # type: (bytes) -> None
        self.data = data


def encode(value):
    # type: (object) -> bytes
    """The bytes of a value.

    Raises:
        NotTransferable: Some part of it is outside the codec, or it is nested deeper than `MAX_DEPTH` (a cycle is).
    """
    out = []  # type: list[bytes]
    try:
        _encode(value, out.append, MAX_DEPTH)
    except RuntimeError as error:
        # The caller's own stack is nearly full, or another thread changes the value while it is read.
        raise NotTransferable("the value cannot be read (%s)" % error)
    return b"".join(out)


def _encode(value, put, depth):
    # type: (object, Put, int) -> None
    writer = WRITERS.get(type(value))
    if writer is None:
        writer = _writer_of_base(value)
    if depth <= 0:
        raise NotTransferable("the value is nested deeper than %d levels, or contains itself" % MAX_DEPTH)
    writer(value, put, depth)


def _writer_of_base(value):
    # type: (object) -> Callable[[Any, Put, int], None]
    """How a value is written whose exact type is unknown: as a registered record, or as its builtin base."""
    if records.plain_of(value) is not None:
        return _write_record
    for base in BASES:
        if isinstance(value, base):
            return WRITERS[base]
    raise NotTransferable("a value of type %s cannot cross" % records.type_name(type(value)))


def _write_none(_value, put, _depth):
    # type: (object, Put, int) -> None
    put(b"N")


def _write_bool(value, put, _depth):
    # type: (bool, Put, int) -> None
    put(b"T" if value else b"F")


def _write_int(value, put, _depth):
    # type: (int, Put, int) -> None
    if INT64_MIN <= value <= INT64_MAX:
        put(b"i" + INT64.pack(value))
        return
    # Two's complement as hexadecimal digits: the one way that is linear and the same on Python 2.
    negative = value < 0
    digits = "%x" % (-value if negative else value)
    put((b"J" if negative else b"I") + COUNT.pack(len(digits)) + digits.encode("ascii"))


def _write_float(value, put, _depth):
    # type: (float, Put, int) -> None
    put(b"d" + DOUBLE.pack(value))


def _write_complex(value, put, _depth):
    # type: (complex, Put, int) -> None
    put(b"c" + COMPLEX.pack(value.real, value.imag))


def _text_bytes(value):
    # type: (str) -> bytes
    return value.encode("utf-8") if PY2 else value.encode("utf-8", "surrogatepass")


def _write_text(value, put, _depth):
    # type: (str, Put, int) -> None
    data = _text_bytes(value)
    put(b"s" + COUNT.pack(len(data)) + data)


def _write_native(value, put, _depth):
    # type: (bytes, Put, int) -> None
    """Python 2's `str`, which is text to its users and bytes to the interpreter."""
    put(b"S" + COUNT.pack(len(value)) + value)


def _write_bytes(value, put, _depth):
    # type: (bytes, Put, int) -> None
    _check_length(len(value))
    put(b"b" + COUNT.pack(len(value)))
    put(value)


def _write_bytearray(value, put, _depth):
    # type: (bytearray, Put, int) -> None
    _check_length(len(value))
    put(b"B" + COUNT.pack(len(value)))
    put(bytes(value))


def _check_length(length):
    # type: (int) -> None
    if length > 0xFFFFFFFF:
        raise NotTransferable("%d bytes are more than one value can hold" % length)


def _write_list(value, put, depth):
    # type: (list[Any], Put, int) -> None
    put(b"l")
    _write_items(value, put, depth)


def _write_tuple(value, put, depth):
    # type: (tuple[Any, ...], Put, int) -> None
    put(b"t")
    _write_items(value, put, depth)


def _write_set(value, put, depth):
    # type: (set[Any], Put, int) -> None
    put(b"e")
    _write_items(list(value), put, depth)


def _write_frozenset(value, put, depth):
    # type: (frozenset[Any], Put, int) -> None
    put(b"f")
    _write_items(list(value), put, depth)


def _write_dict(value, put, depth):
    # type: (dict[Any, Any], Put, int) -> None
    put(b"m")
    _write_items(list(value.keys()), put, depth)
    _write_items(list(value.values()), put, depth)


def _write_items(items, put, depth):
    # type: (Sequence[Any], Put, int) -> None
    """The items of a sequence, by the fastest of the ways that keep every one exact."""
    if not items:
        put(EMPTY)
        return
    put(COUNT.pack(len(items)))
    if len(items) >= FAST_FROM:
        kinds = set(map(type, items))
        if len(kinds) == 1 and _write_fast(items, kinds.pop(), put, depth):
            return
    put(PLAIN)
    depth -= 1
    for item in items:
        _encode(item, put, depth)


def _write_fast(items, kind, put, depth):
    # type: (Sequence[Any], type, Put, int) -> bool
    """Write items of one type in one go; False when they have to go one by one."""
    if kind is int or kind is long_type:
        if not INT64_MIN <= min(items) <= max(items) <= INT64_MAX:
            return False
        put(INTS + struct.pack(">%dq" % len(items), *items))
    elif kind is float:
        put(FLOATS + struct.pack(">%dd" % len(items), *items))
    elif kind is text_type:
        data = _text_bytes(u"\0".join(items))
        # A zero inside an item would cut it in two.
        if data.count(b"\0") != len(items) - 1:
            return False
        put(TEXTS + COUNT.pack(len(data)) + data)
    elif kind is tuple or kind is list:
        return _write_rows(items, SEQUENCES[kind], put, depth)
    elif kind is dict:
        return _write_dicts(items, put, depth)
    else:
        return False
    return True


def _write_rows(items, tag, put, depth):
    # type: (Sequence[Any], bytes, Put, int) -> bool
    width = len(items[0])
    if not 1 <= width <= 64 or depth <= 1 or set(map(len, items)) != {width}:
        return False
    put(ROWS + tag + COUNT.pack(width))
    for column in zip(*items):
        _write_items(column, put, depth - 1)
    return True


def _write_dicts(items, put, depth):
    # type: (Sequence[Any], Put, int) -> bool
    keys = tuple(items[0])
    # The same keys in the same order: the order is part of what a dict shows.
    if not 1 <= len(keys) <= 64 or depth <= 1 or set(map(tuple, items)) != {keys}:
        return False
    put(DICTS)
    _write_items(keys, put, depth - 1)
    for key in keys:
        _write_items([item[key] for item in items], put, depth - 1)
    return True


def _write_record(value, put, depth):
    # type: (object, Put, int) -> None
    record = records.plain_of(value)
    if record is None:
        raise NotTransferable("a value of type %s cannot cross" % records.type_name(type(value)))
    name, plain = record
    put(b"r" + COUNT.pack(len(name)) + name.encode("ascii"))
    _encode(plain, put, depth - 1)


def _write_expression(value, put, _depth):
    # type: (Expression, Put, int) -> None
    data = _text_bytes(text_type(value.source))
    put(b"X" + COUNT.pack(len(data)) + data)


def _write_pickled(value, put, _depth):
    # type: (Pickled, Put, int) -> None
    put(b"P" + COUNT.pack(len(value.data)) + value.data)


WRITERS = {
    type(None): _write_none,
    bool: _write_bool,
    int: _write_int,
    long_type: _write_int,
    float: _write_float,
    complex: _write_complex,
    text_type: _write_text,
    bytes: _write_native if PY2 else _write_bytes,
    bytearray: _write_bytearray,
    list: _write_list,
    tuple: _write_tuple,
    set: _write_set,
    frozenset: _write_frozenset,
    dict: _write_dict,
    Expression: _write_expression,
    Pickled: _write_pickled,
}  # type: dict[type, Callable[[Any, Put, int], None]]
BASES = (int, long_type, float, complex, text_type, bytes, bytearray, dict, list, tuple, set, frozenset)


class Reader(object):
    """Decodes one value.

    Args:
        data: The bytes of exactly one value.
        resolve: Called with an `Expression` or `Pickled` and returns the value in its place; None refuses both tags.
    """

    def __init__(self, data, resolve=None):
        # type: (bytes, Callable[[Expression | Pickled], Any] | None) -> None
        self.data = data
        self.size = len(data)
        self.position = 0
        self.items_left = MAX_ITEMS
        self.resolve = resolve

    def value(self):
        # type: () -> Any
        """The value.

        Raises:
            ProtocolError: The bytes are not exactly one value.
        """
        try:
            value = self.read(MAX_DEPTH)
        except (struct.error, IndexError, UnicodeError, TypeError, ValueError, OverflowError, MemoryError) as error:
            raise ProtocolError("a value that cannot be decoded (%s)" % type(error).__name__)
        except RuntimeError as error:
            # RecursionError, which Python 2 does not know by name: the caller's own stack is nearly full.
            raise ProtocolError("a value that cannot be decoded here (%s)" % error)
        if self.position != self.size:
            raise ProtocolError("%d bytes after the end of a value" % (self.size - self.position))
        return value

    def read(self, depth):
        # type: (int) -> Any
        """The next value, of whatever tag."""
        position = self.position
        tag = self.data[position : position + 1]
        self.position = position + 1
        reader = READERS.get(tag)
        if reader is None:
            raise ProtocolError("unknown tag %r in a value" % tag)
        if depth <= 0:
            raise ProtocolError("a value nested deeper than %d levels" % MAX_DEPTH)
        return reader(self, depth)

    def take(self, count):
        # type: (int) -> bytes
        """The next bytes."""
        end = self.position + count
        if end > self.size:
            raise ProtocolError("a value that says it is longer than what came")
        piece = self.data[self.position : end]
        self.position = end
        return piece

    def count(self):
        # type: () -> int
        """The next count or length."""
        position = self.position
        self.position = position + 4
        return COUNT.unpack_from(self.data, position)[0]  # type: ignore[no-any-return]

    def piece(self):
        # type: () -> bytes
        """Bytes that stand behind their length."""
        start = self.position + 4
        end = start + COUNT.unpack_from(self.data, start - 4)[0]
        if end > self.size:
            raise ProtocolError("a value that says it is longer than what came")
        self.position = end
        return self.data[start:end]

    def number(self, layout):
        # type: (struct.Struct) -> Any
        """A number of fixed size."""
        position = self.position
        self.position = position + layout.size
        return layout.unpack_from(self.data, position)[0]

    def spend(self, items):
        # type: (int) -> None
        """Count items against the limit of one value."""
        self.items_left -= items
        if self.items_left < 0:
            raise ProtocolError("a value of more than %d items" % MAX_ITEMS)

    def items(self, depth):
        # type: (int) -> list[Any]
        """The items of one sequence as a list."""
        position = self.position
        (count,) = COUNT.unpack_from(self.data, position)
        mode = self.data[position + 4 : position + 5]
        self.position = position + 5
        self.items_left -= count
        if self.items_left < 0:
            self.spend(0)
        if mode == PLAIN:
            # Every item takes at least a byte, so that a count is never larger than what really came.
            if count > self.size - self.position:
                raise ProtocolError("a sequence that says it is longer than what came")
            read = self.read
            depth -= 1
            return [read(depth) for _ in range(count)]
        if mode == INTS:
            return list(struct.unpack(">%dq" % count, self.take(8 * count)))
        if mode == FLOATS:
            return list(struct.unpack(">%dd" % count, self.take(8 * count)))
        if mode == TEXTS:
            items = _decode_text(self.piece()).split(u"\0")
            if len(items) != count:
                raise ProtocolError("%d texts where %d were announced" % (len(items), count))
            return items
        if mode == ROWS:
            return self.rows(count, depth)
        if mode == DICTS:
            return self.dicts(count, depth)
        raise ProtocolError("unknown way %r of writing a sequence" % mode)

    def rows(self, count, depth):
        # type: (int, int) -> list[Any]
        """Lists or tuples of one length, which stand by column."""
        make = MAKERS[b"t" if self.take(1) == b"t" else b"l"]
        width = self.count()
        self.spend(ROW_COST * count)
        columns = [self.column(count, depth) for _ in range(self.bounded(width))]
        rows = zip(*columns)
        return [make(row) for row in rows] if make is list else list(rows)

    def dicts(self, count, depth):
        # type: (int, int) -> list[dict[Any, Any]]
        """Dicts of the same keys, which stand by column."""
        keys = self.items(self.deeper(depth))
        self.spend(DICT_COST * count)
        columns = [self.column(count, depth) for _ in keys]
        if not keys:
            raise ProtocolError("records without a key")
        return [dict(zip(keys, row)) for row in zip(*columns)]

    def column(self, count, depth):
        # type: (int, int) -> list[Any]
        """One column of a table."""
        items = self.items(self.deeper(depth))
        if len(items) != count:
            raise ProtocolError("a column of %d items in a table of %d" % (len(items), count))
        return items

    def deeper(self, depth):
        # type: (int) -> int
        """The depth that is left one level down."""
        if depth <= 1:
            raise ProtocolError("a value nested deeper than %d levels" % MAX_DEPTH)
        return depth - 1

    def bounded(self, width):
        # type: (int) -> int
        """A width that a table can have."""
        if not 1 <= width <= 64:
            raise ProtocolError("a table of %d columns" % width)
        return width

    def mapping(self, depth):
        # type: (int) -> dict[Any, Any]
        """A dict: its keys, then its values."""
        keys = self.items(depth)
        values = self.items(depth)
        if len(keys) != len(values):
            raise ProtocolError("a dict of %d keys and %d values" % (len(keys), len(values)))
        return dict(zip(keys, values))

    def digits(self, sign):
        # type: (int) -> int
        """An int beyond 64 bits."""
        return sign * int(self.piece(), 16)

    def resolved(self, wrapped):
        # type: (Expression | Pickled) -> Any
        """What stands for code, where the owner of this reader allows it."""
        if self.resolve is None:
            raise ProtocolError("the peer sent code where only values are allowed")
        return self.resolve(wrapped)

    def record(self, depth):
        # type: (int) -> Any
        """A plain record of the standard library."""
        name = self.piece().decode("ascii")
        return records.build(name, self.read(self.deeper(depth)))


def _decode_text(data):
    # type: (bytes) -> str
    return data.decode("utf-8") if PY2 else data.decode("utf-8", "surrogatepass")


def _decode_native(data):
    # type: (bytes) -> Any
    """What was `str` on Python 2: text, whose undecodable bytes become lone surrogates as in file names."""
    return data if PY2 else data.decode("utf-8", "surrogateescape")


READERS = {
    b"N": lambda _, __: None,
    b"T": lambda _, __: True,
    b"F": lambda _, __: False,
    b"i": lambda reader, _: reader.number(INT64),
    b"I": lambda reader, _: reader.digits(1),
    b"J": lambda reader, _: reader.digits(-1),
    b"d": lambda reader, _: reader.number(DOUBLE),
    b"c": lambda reader, _: complex(*COMPLEX.unpack(reader.take(16))),
    b"s": lambda reader, _: _decode_text(reader.piece()),
    b"S": lambda reader, _: _decode_native(reader.piece()),
    b"b": lambda reader, _: reader.piece(),
    b"B": lambda reader, _: bytearray(reader.piece()),
    b"l": lambda reader, depth: reader.items(depth),
    b"t": lambda reader, depth: tuple(reader.items(depth)),
    b"e": lambda reader, depth: set(reader.items(depth)),
    b"f": lambda reader, depth: frozenset(reader.items(depth)),
    b"m": lambda reader, depth: reader.mapping(depth),
    b"r": lambda reader, depth: reader.record(depth),
    b"X": lambda reader, _: reader.resolved(Expression(_decode_text(reader.piece()))),
    b"P": lambda reader, _: reader.resolved(Pickled(reader.piece())),
}  # type: dict[bytes, Callable[[Reader, int], Any]]


def decode(data, resolve=None):
    # type: (bytes, Callable[[Expression | Pickled], Any] | None) -> Any
    """The value that `encode` wrote; see `Reader`."""
    return Reader(data, resolve).value()
