"""The writing half of the value codec: what may cross, as bytes.

Sequences of one type, records of one shape and mixtures of few types take paths at C speed. It counts what it writes as
the reading half will, so that an honest peer never sends what is refused as too large or too deep.
"""
# ruff: noqa: B905, F401 - on Python 2.7 zip knows no `strict`; names in type comments look unused.

import itertools
import struct

from crl.link.wire import records
from crl.link.wire.errors import NotTransferable
from crl.link.wire.sending import MAX_MESSAGE
from crl.link.wire.tags import (
    BOOLS,
    COMPLEX,
    CONTAINER_COST,
    COUNT,
    DICTS,
    DOUBLE,
    FAST_FROM,
    FLOATS,
    INT64_MAX,
    INT64_MIN,
    INTS,
    MAX_DEPTH,
    MAX_ITEMS,
    MIXED,
    MIXED_FROM,
    NONES,
    PLAIN,
    PY2,
    RAGGED,
    RECORDS,
    ROWS,
    SEQUENCES,
    SHORT_DICTS,
    SHORT_INTS,
    SHORT_LISTS,
    SHORT_NATIVES,
    SHORT_TEXTS,
    SHORT_TUPLES,
    SMALL_INTS,
    TAGGED_INT64,
    TEXT_ERRORS,
    TEXTS,
    WIDEST_TABLE,
    Expression,
    Pickled,
    byte_of,
    long_type,
    text_type,
)

MYPY = False
if MYPY:
    from collections.abc import Callable, Iterable, Sequence, Sized
    from typing import Any

    RecordOf = Callable[[Any], tuple[str, object] | None]


class Written(list):  # type: ignore[type-arg]
    """The pieces written so far, and how many items may still come; `record_of` tells what is written as a record."""

    # `encode` sets both: a constructor would cost as much as a small value.
    __slots__ = ("left", "record_of")
    if MYPY:
        left = MAX_ITEMS
        record_of = staticmethod(records.plain_of)  # type: RecordOf

    def spend(self, items):
        # type: (int) -> None
        """Count items as the reader will."""
        self.left -= items
        if self.left < 0:
            raise NotTransferable("the value has more than %d items in all" % MAX_ITEMS)


def encode(value, record_of=records.plain_of):
    # type: (object, RecordOf) -> bytes
    """The bytes of a value.

    Args:
        value: The value.
        record_of: Name and plain content of what is neither a builtin nor one of its subclasses, None for the rest.

    Raises:
        NotTransferable: Some part of it is outside the codec, it is nested deeper than `MAX_DEPTH` (a cycle is), or it
            has more than `MAX_ITEMS` items.
    """
    if type(value) is int and INT64_MIN <= value <= INT64_MAX:
        # The most frequent answer.
        return SMALL_INTS[value] if 0 <= value < 128 else TAGGED_INT64.pack(b"i", value)
    out = Written()
    out.left = MAX_ITEMS
    out.record_of = record_of
    try:
        _write_each((value,), out, MAX_DEPTH)
    except RuntimeError as error:
        # The caller's own stack is nearly full, or another thread changes the value while it is read.
        raise NotTransferable("the value cannot be read (%s)" % error)
    return b"".join(out)


def _write_other(value, out, depth):
    # type: (Any, Written, int) -> None
    """What has no writer of its own: a record, or an instance of a subclass of a builtin, as that."""
    record = out.record_of(value)
    if record is not None:
        out.append(b"r" + _name(record[0]))
        out.spend(2 * CONTAINER_COST)
        _write_each((record[1],), out, _deeper(depth))
        return
    for base in BASES:
        if isinstance(value, base):
            WRITERS[base](value, out, depth)
            return
    raise NotTransferable("a value of type %s cannot cross" % records.type_name(type(value)))


def _write_none(_value, out, _depth):
    # type: (object, Written, int) -> None
    out.append(b"N")


def _write_bool(value, out, _depth):
    # type: (bool, Written, int) -> None
    out.append(b"T" if value else b"F")


def _write_int(value, out, _depth):
    # type: (int, Written, int) -> None
    if 0 <= value < 128:
        out.append(SMALL_INTS[value])
    elif INT64_MIN <= value <= INT64_MAX:
        out.append(TAGGED_INT64.pack(b"i", value))
    else:
        # Hexadecimal digits: the one way that is linear and the same on Python 2.
        negative = value < 0
        digits = ("%x" % (-value if negative else value)).encode("ascii")
        out.append((b"J" if negative else b"I") + _length(digits) + digits)


def _write_float(value, out, _depth):
    # type: (float, Written, int) -> None
    out.append(b"d" + DOUBLE.pack(value))


def _write_complex(value, out, _depth):
    # type: (complex, Written, int) -> None
    out.append(b"c" + COMPLEX.pack(value.real, value.imag))


def _text_bytes(value):
    # type: (str) -> bytes
    return value.encode("utf-8", TEXT_ERRORS)


def _length(data):
    # type: (bytes | bytearray) -> bytes
    _check_size(data)
    return COUNT.pack(len(data))


def _check_size(data):
    # type: (Sized) -> None
    """Refuse what no message can take, before a copy of it is made."""
    if len(data) > MAX_MESSAGE:
        raise NotTransferable("the value has %d bytes or characters; %d are the limit" % (len(data), MAX_MESSAGE))


def _write_text(value, out, _depth):
    # type: (str, Written, int) -> None
    _check_size(value)
    data = _text_bytes(value)
    out.append(SHORT_TEXTS[len(data)] + data if len(data) < 256 else b"s" + _length(data) + data)


def _write_native(value, out, _depth):
    # type: (bytes, Written, int) -> None
    """Python 2's `str`, which is text to its users and bytes to the interpreter."""
    out.append(SHORT_NATIVES[len(value)] + value if len(value) < 256 else b"S" + _length(value) + value)


def _write_bytes(value, out, _depth):
    # type: (bytes, Written, int) -> None
    out.append(b"b" + _length(value))
    out.append(value)


def _write_bytearray(value, out, _depth):
    # type: (bytearray, Written, int) -> None
    out.append(b"B" + _length(value))
    out.append(bytes(value))


def _write_list(value, out, depth):
    # type: (list[Any], Written, int) -> None
    if len(value) < FAST_FROM:
        _write_few(value, SHORT_LISTS, out, depth)
    else:
        out.append(b"l")
        _write_items(value, out, depth)


def _write_tuple(value, out, depth):
    # type: (tuple[Any, ...], Written, int) -> None
    if len(value) < FAST_FROM:
        _write_few(value, SHORT_TUPLES, out, depth)
    else:
        out.append(b"t")
        _write_items(value, out, depth)


def _write_set(value, out, depth):
    # type: (set[Any], Written, int) -> None
    out.append(b"e")
    _write_items(list(value), out, depth)


def _write_frozenset(value, out, depth):
    # type: (frozenset[Any], Written, int) -> None
    out.append(b"f")
    _write_items(list(value), out, depth)


def _write_dict(value, out, depth):
    # type: (dict[Any, Any], Written, int) -> None
    if len(value) < FAST_FROM:
        _write_few([part for item in value.items() for part in item], SHORT_DICTS, out, depth)
    else:
        out.append(b"m")
        _write_items(list(value.keys()), out, depth)
        _write_items(list(value.values()), out, depth)


def _write_few(items, heads, out, depth):
    # type: (Sequence[Any], list[bytes], Written, int) -> None
    """A short container: as cheap as can be, for every call is made of them."""
    count = len(items)
    out.append(heads[count])
    out.left -= count + CONTAINER_COST
    if out.left < 0 or depth <= 0:
        out.spend(0)
        _deeper(depth)
    _write_each(items, out, depth - 1)


def _deeper(depth):
    # type: (int) -> int
    if depth <= 0:
        raise NotTransferable("the value is nested deeper than %d levels, or contains itself" % MAX_DEPTH)
    return depth - 1


def _write_each(items, out, depth):
    # type: (Iterable[Any], Written, int) -> None
    """Items one by one; the most frequent short ones without a further call."""
    for item in items:
        kind = type(item)
        if kind is text_type:
            data = item.encode("utf-8", TEXT_ERRORS)
            out.append(SHORT_TEXTS[len(data)] + data if len(data) < 256 else b"s" + _length(data) + data)
        elif kind is int and 0 <= item < 128:
            out.append(SMALL_INTS[item])
        elif item is None:
            out.append(b"N")
        elif kind is tuple and len(item) < FAST_FROM:
            _write_few(item, SHORT_TUPLES, out, depth)
        else:
            WRITERS.get(kind, _write_other)(item, out, depth)


def _write_items(items, out, depth):
    # type: (Sequence[Any], Written, int) -> None
    """The items of a sequence, by the fastest of the ways that keep every one exact."""
    out.append(COUNT.pack(len(items)))
    out.spend(len(items) + CONTAINER_COST)
    if len(items) >= FAST_FROM:
        kinds = set(map(type, items))
        if len(kinds) == 1:
            if _write_fast(items, kinds.pop(), out, depth):
                return
        elif len(items) >= MIXED_FROM and len(kinds) < 256:
            _write_mixed(items, kinds, out, depth)
            return
    out.append(PLAIN)
    _write_each(items, out, _deeper(depth))


def _write_fast(items, kind, out, depth):
    # type: (Sequence[Any], type, Written, int) -> bool
    """Write items of one type in one go; False when they have to go one by one."""
    if kind is int or kind is long_type:
        return _write_ints(items, out)
    if kind is text_type:
        data = _text_bytes(u"\0".join(items))
        # A zero inside an item would cut it in two.
        if data.count(b"\0") != len(items) - 1:
            return False
        out.append(TEXTS + _length(data) + data)
    elif kind is float:
        out.append(FLOATS + struct.pack("<%dd" % len(items), *items))
    elif kind is bool:
        out.append(BOOLS + bytes(bytearray(items)))
    elif kind is type(None):
        out.append(NONES + b"\0" * len(items))
    elif kind is dict:
        _write_dicts(items, out, depth)
    elif kind is tuple or kind is list:
        _write_rows(items, SEQUENCES[kind], out, depth)
    else:
        return kind not in WRITERS and _write_records(items, out, depth)
    return True


def _write_ints(items, out):
    # type: (Sequence[int], Written) -> bool
    for mode, code in ((SHORT_INTS, "<%di"), (INTS, "<%dq")):
        try:
            data = struct.pack(code % len(items), *items)
        except (struct.error, OverflowError):
            # One is larger: struct finds it sooner than a look at all of them would.
            continue
        out.append(mode + data)
        return True
    return False


def _write_rows(items, tag, out, depth):
    # type: (Sequence[Any], bytes, Written, int) -> None
    """Lists or tuples: by column when they have one length, else one behind the other."""
    below = _deeper(depth)
    out.spend(CONTAINER_COST * len(items))
    width = len(items[0])
    if 1 <= width <= WIDEST_TABLE and set(map(len, items)) == {width}:
        out.append(ROWS + tag + byte_of(width))
        for column in zip(*items):
            _write_items(column, out, below)
    else:
        out.append(RAGGED + tag)
        _write_items(list(map(len, items)), out, below)
        _write_items(list(itertools.chain.from_iterable(items)), out, below)


def _write_dicts(items, out, depth):
    # type: (Sequence[Any], Written, int) -> None
    """Dicts: by column when they have the same keys in the same order, which is part of what a dict shows."""
    below = _deeper(depth)
    out.spend(2 * CONTAINER_COST * len(items))
    keys = tuple(items[0])
    if 1 <= len(keys) <= WIDEST_TABLE and set(map(tuple, items)) == {keys}:
        out.append(DICTS)
        _write_items(keys, out, below)
        for key in keys:
            _write_items([item[key] for item in items], out, below)
    else:
        out.append(RAGGED + b"m")
        _write_items(list(map(len, items)), out, below)
        _write_items(list(itertools.chain.from_iterable(items)), out, below)
        _write_items(list(itertools.chain.from_iterable(item.values() for item in items)), out, below)


def _write_mixed(items, kinds, out, depth):
    # type: (Sequence[Any], set[type], Written, int) -> None
    """Items of few types: which type stands where, and each type's items together."""
    columns = {kind: [] for kind in kinds}  # type: dict[type, list[Any]]
    numbers = {kind: number for number, kind in enumerate(columns)}
    for item in items:
        columns[type(item)].append(item)
    out.append(MIXED + byte_of(len(columns)) + bytes(bytearray([numbers[type(item)] for item in items])))
    for column in columns.values():
        _write_items(column, out, depth)


def _write_records(items, out, depth):
    # type: (Sequence[Any], Written, int) -> bool
    """Records of one class: the name once, and their contents together."""
    found = list(map(out.record_of, items))
    first = found[0]
    if first is None or any(record is None or record[0] != first[0] for record in found):
        return False
    out.append(RECORDS + _name(first[0]))
    out.spend(2 * CONTAINER_COST * len(items))
    _write_items([record[1] for record in found if record], out, _deeper(depth))
    return True


def _name(name):
    # type: (str) -> bytes
    data = _text_bytes(text_type(name))
    return _length(data) + data


def _write_expression(value, out, _depth):
    # type: (Expression, Written, int) -> None
    out.append(b"X" + _name(value.source))


def _write_pickled(value, out, _depth):
    # type: (Pickled, Written, int) -> None
    out.append(b"P" + _length(value.data) + value.data)


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
}  # type: dict[type, Callable[[Any, Written, int], None]]
BASES = (int, long_type, float, complex, text_type, bytes, bytearray, dict, list, tuple, set, frozenset)
