"""Invariant: what `encode` takes comes back as an equal value of the same type; whatever comes in, no code runs."""

from __future__ import annotations

import collections
import datetime
import decimal
import fractions
import grp
import ipaddress
import math
import os
import pathlib
import pwd
import struct
import subprocess
import sys
import time
import tracemalloc
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import crl.link.wire
from crl.link.wire import reading, values, writing
from crl.link.wire.errors import NotTransferable, ProtocolError
from crl.link.wire.reading import LONG_INT, MODES, READERS, SHORT_TEXT, SHORT_TUPLE, SINGLES
from crl.link.wire.tags import (
    BOOLS,
    COUNT,
    DICTS,
    FLOATS,
    INTS,
    MIXED,
    NONES,
    PLAIN,
    RAGGED,
    ROWS,
    SHORT_INTS,
    TEXTS,
)
from crl.link.wire.tags import (
    RECORDS as OBJECTS,
)
from tests.link.peers import INTERPRETERS

# What the interpreters write to each other: no NaN, which equals nothing, and no surrogates, which Python 2 mixes up.
# Python 2 calls bytes and native text by one name: there bytes arrive as text.
texts_and_numbers = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
plain = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.binary()
scalars = (
    plain
    | st.complex_numbers(allow_nan=False)
    | st.text(st.characters(exclude_categories=()))
    | st.binary().map(bytearray)
)
hashable = st.none() | st.integers() | st.text() | st.tuples(st.integers(), st.text())
RECORDS: list[Any] = [
    collections.OrderedDict([("b", 1), ("a", 2)]),
    collections.Counter("abbc"),
    collections.deque([1, "x"], 5),
    datetime.datetime(2024, 2, 29, 12, 30, 1, 5),
    datetime.datetime(2024, 10, 27, 2, 30, fold=1),
    datetime.datetime(2024, 1, 1, tzinfo=datetime.timezone(datetime.timedelta(hours=-3, minutes=30))),
    datetime.date(1, 1, 1),
    datetime.time(23, 59, 59, 999999, datetime.UTC, fold=1),
    datetime.timedelta(-3, 5, 7),
    datetime.UTC,
    decimal.Decimal("1.20e-30"),
    fractions.Fraction(-7, 3),
    ipaddress.ip_address("192.0.2.1"),
    ipaddress.ip_network("2001:db8::/32"),
    os.stat("/"),
    os.uname(),
    pathlib.PurePosixPath("/a/b"),
    pathlib.PureWindowsPath("C:\\x"),
    pwd.getpwuid(0),
    grp.getgrgid(0),
    range(2, 30, 4),
    subprocess.CompletedProcess(["a"], 3, b"out", None),
    time.gmtime(0),
    uuid.UUID(int=7),
]


SHAPES: list[Any] = [
    [float("nan")] * 3,
    [0.5, float("nan"), float("-inf"), -0.0] * 5,
    [1, True] * 10,
    [2**63, -(2**63) - 1, 2**64] * 4,
    -(1 << 100_000),
    ["a\0b", "c"] * 5,
    ["\udc80", "\ud800x"] * 5,
    [""] * 9,
    [()] * 9,
    [[]] * 9,
    [{}] * 9,
    [{"a": 1, "b": 2}] * 5 + [{"b": 2, "a": 1}] * 5,
    [(1, "x", None)] * 9,
    [[[1.0], [2.0]]] * 9,
    {str(number): number for number in range(50)},
    [True, False] * 20,
    [None] * 40,
    [None, True, 1, 2.5, "x", (1,), [1], {"a": 1}, 1 << 70] * 9,
    [[1], [], [1, 2]] * 9,
    [(), (1,), ("x", None)] * 9,
    [{"a": 1}, {}, {"b": 2, "c": [3]}] * 9,
    [{"a": None, "b": True, "c": [1, 2]}] * 9,
    [[(1, 2)] * 9] * 9,
    [2**31, -(2**31), 2**31 - 1] * 9,
    [*range(128), -1, 128, 255, 256],
    "x" * 255,
    "\u00e9" * 128,
    "x" * 256,
    (0,) * 300,
    {number: {"k": number} for number in range(40)},
    {frozenset([1, 2]), frozenset()},
]


def nested(leaves: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.recursive(
        leaves,
        lambda inner: (
            st.lists(inner, max_size=12)
            | st.lists(inner, max_size=12).map(tuple)
            | st.dictionaries(hashable, inner, max_size=10)
            | st.sets(hashable)
            | st.frozensets(hashable)
            | st.lists(st.tuples(inner, inner), min_size=8, max_size=10)
            | st.lists(st.fixed_dictionaries({"a": inner, "b": inner}), min_size=8, max_size=10)
            | st.lists(st.lists(inner, max_size=3), min_size=2, max_size=4).map(lambda rows: rows * 4)
            | st.lists(st.dictionaries(hashable, inner, max_size=2), min_size=2, max_size=4).map(lambda rows: rows * 4)
            | st.lists(inner, min_size=2, max_size=4).map(lambda mixed: mixed * 16)
        ),
        max_leaves=30,
    )


def same(one: Any, other: Any, *, ordered: bool = True) -> bool:
    """Equal, and of equal types all the way down; dicts of Python 2 have no order."""
    if type(one) is not type(other):
        return False
    if type(one) is dict and not ordered:
        return same({*map(repr, one)}, {*map(repr, other)}) and all(same(one[k], other[k], ordered=False) for k in one)
    if isinstance(one, list | tuple) and not hasattr(one, "n_fields"):
        return len(one) == len(other) and all(same(*both, ordered=ordered) for both in zip(one, other, strict=True))
    if type(one) is dict:
        return same(list(one), list(other)) and same(list(one.values()), list(other.values()))
    if isinstance(one, float):
        return struct.pack("d", one) == struct.pack("d", other)
    return bool(one == other)


@settings(deadline=None)
@given(nested(scalars))
def test_values_come_back_with_their_exact_types(value: Any) -> None:
    assert same(values.decode(values.encode(value)), value)


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: type(record).__name__)
def test_plain_records_of_the_library_come_back(record: Any) -> None:
    again = values.decode(values.encode([record, {"in": (record,)}]))[0]
    if isinstance(record, subprocess.CompletedProcess):
        assert vars(again) == vars(record)
        return
    assert type(again) is type(record)
    assert again == record
    assert repr(again) == repr(record)


@pytest.mark.parametrize("index", range(len(SHAPES)))
def test_the_fast_ways_are_exact(index: int) -> None:
    assert same(values.decode(values.encode(SHAPES[index])), SHAPES[index])


class Loud(int):
    """A subclass of a builtin."""


def test_a_subclass_of_a_builtin_crosses_as_its_base() -> None:
    point = collections.namedtuple("point", "x y")
    crossed = values.decode(values.encode([Loud(3), point(1, 2), pathlib.Path("/x")]))
    assert same(crossed, [3, (1, 2), pathlib.PurePosixPath("/x")])


def test_what_cannot_cross_is_named() -> None:
    with pytest.raises(NotTransferable, match=r"type test_link_values\.|type tests\.link"):
        values.encode([1, {"a": type("Odd", (), {"__module__": "tests.link"})()}])


def test_depth_and_cycles_end_clearly() -> None:
    deep: list[Any] = []
    for _ in range(values.MAX_DEPTH - 2):
        deep = [deep]
    assert values.decode(values.encode(deep)) == deep
    cycle: list[Any] = []
    cycle.append(cycle)
    with pytest.raises(NotTransferable, match="contains itself"):
        values.encode(cycle)
    with pytest.raises(ProtocolError):
        values.decode(b"l\0\0\0\1\0" * 5000 + b"N")


def test_shared_references_arrive_as_equal_copies() -> None:
    shared = [1]
    first, second = values.decode(values.encode([shared, shared]))
    assert first == second == [1]
    assert first is not second


# -- hostile bytes ---------------------------------------------------------------------------------------------------

CONSTANTS = {tag for tag in SINGLES if tag < 0x80}
TAGS = sorted({*READERS, *CONSTANTS, *MODES, SHORT_TEXT, SHORT_TUPLE, LONG_INT, 0x80, 0xFF})
FORBIDDEN = ("exec", "compile", "os.", "subprocess.", "socket.", "open", "pickle.", "marshal.", "ctypes.", "code.")
_heard: list[str] = []
_listening = False
_hook_added = False


def _hook(event: str, args: tuple[Any, ...]) -> None:
    if _listening and (event.startswith(FORBIDDEN) or event == "import"):
        _heard.append(f"{event} {args!r:.80}")


@pytest.fixture(scope="module")
def audited() -> list[str]:
    """What the interpreter did that a decoder must not do; the modules of the table are imported beforehand."""
    global _hook_added
    for record in RECORDS:
        values.decode(values.encode(record))
    if not _hook_added:
        sys.addaudithook(_hook)
        _hook_added = True
    return _heard


def quiet_decode(data: bytes) -> Any:
    """Decode hostile bytes: a value or a ProtocolError, and nothing is imported, opened or executed."""
    global _listening
    _heard.clear()
    _listening = True
    try:
        return values.decode(data)
    except ProtocolError as error:
        return error
    finally:
        _listening = False


def test_arbitrary_bytes_give_a_value_or_a_protocol_error(audited: list[str]) -> None:
    @settings(max_examples=300, deadline=None)
    @given(st.binary(max_size=200) | st.lists(st.sampled_from(TAGS), max_size=30).map(bytes))
    def check(data: bytes) -> None:
        quiet_decode(data)
        assert _heard == []

    check()


def test_mutated_encodings_give_a_value_or_a_protocol_error(audited: list[str]) -> None:
    seeds = [values.encode(record) for record in RECORDS]

    @settings(max_examples=300, deadline=None)
    @given(nested(scalars).map(values.encode) | st.sampled_from(seeds), st.data())
    def check(sound: bytes, data: st.DataObject) -> None:
        mutated = bytearray(sound)
        for _ in range(data.draw(st.integers(1, 4))):
            position = data.draw(st.integers(0, max(0, len(mutated) - 1)))
            mutated[position : position + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=5))
        quiet_decode(bytes(mutated))
        assert _heard == []

    check()


@pytest.mark.parametrize(
    "code", [values.Expression("__import__('os').system('true')"), values.Pickled(b"cos\nsystem\n(S'true'\ntR.")]
)
def test_code_is_refused_where_only_values_are_allowed(audited: list[str], code: Any) -> None:
    for value in (code, [code], {"a": (code,)}):
        assert isinstance(quiet_decode(values.encode(value)), ProtocolError)
        assert _heard == []


def test_an_unknown_record_names_no_class(audited: list[str]) -> None:
    name = b"os.system"
    data = b"r" + COUNT.pack(len(name)) + name + values.encode("true")
    assert isinstance(quiet_decode(data), ProtocolError)
    assert _heard == []


def sequence(count: int, mode: bytes, body: bytes = b"", tag: bytes = b"l") -> bytes:
    """A sequence that says what it likes."""
    return tag + COUNT.pack(count) + mode + body


LIE = 0xFFFFFFFF
BOMBS = {
    "list": sequence(LIE, PLAIN),
    "ints": sequence(LIE, INTS),
    "short ints": sequence(LIE, SHORT_INTS),
    "floats": sequence(LIE, FLOATS),
    "nothing": sequence(LIE, NONES),
    "bools": sequence(LIE, BOOLS),
    "text": b"s" + COUNT.pack(LIE) + b"x",
    "short text": b"u\xffx",
    "bytes": b"b" + COUNT.pack(LIE),
    "digits": b"I" + COUNT.pack(LIE),
    "rows": sequence(1 << 24, ROWS, b"t\x01" + sequence(1 << 24, PLAIN)[1:]),
    "no columns": sequence(LIE, ROWS, b"l\x00"),
    "texts": sequence(LIE, TEXTS, COUNT.pack(0)),
    "dict": sequence(LIE, PLAIN, tag=b"m"),
    "records": sequence(1 << 30, DICTS, bytes(5)),
    "ragged": sequence(8, RAGGED, b"l" + sequence(8, SHORT_INTS, struct.pack("<8i", *[1 << 30] * 8))[1:] + bytes(5)),
    "negative": sequence(2, RAGGED, b"l" + sequence(2, SHORT_INTS, struct.pack("<2i", -1, 1))[1:] + bytes(5)),
    "mixed": sequence(LIE, MIXED, b"\xff"),
    "objects": sequence(LIE, OBJECTS, COUNT.pack(5) + b"range"),
}


@pytest.mark.parametrize("bomb", BOMBS.values(), ids=list(BOMBS))
def test_a_length_that_lies_takes_no_memory(bomb: bytes) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(ProtocolError):
            values.decode(bomb)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1_000_000


def test_one_byte_items_do_not_blow_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "MAX_ITEMS", 100_000)
    column = sequence(50_000, PLAIN, b"N" * 50_000)[1:]
    with pytest.raises(ProtocolError, match="items"):
        values.decode(b"t" + sequence(50_000, ROWS, b"l\x01" + column)[1:])
    assert len(values.decode(values.encode([None] * 90_000))) == 90_000


@pytest.mark.parametrize(
    "value",
    [
        [[]] * 1000,
        [()] * 9 + [{}] * 30,
        [{}] * 1000,
        [{"a": 1, "b": None}] * 1000,
        [{"a": 1}, {"b": 2, "c": 3}] * 500,
        [[1], [1, 2]] * 500,
        [datetime.date(2024, 1, 1)] * 1000,
        [1, "a", None, 2.5, (1,)] * 200,
        {number: [number] for number in range(1000)},
        {"a": {"b": [{"c": (1, 2)}]}},
        {1, 2, 3},
    ],
    ids=lambda value: repr(value)[:30],
)
def test_both_ends_count_the_same(value: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that an honest target refuses what is too large itself, and is never taken for a hostile one."""
    data = values.encode(value)
    reader = reading.Reader(data)
    reader.value()
    used = values.MAX_ITEMS - reader.items_left
    monkeypatch.setattr(writing, "MAX_ITEMS", used)
    assert values.encode(value) == data
    monkeypatch.setattr(writing, "MAX_ITEMS", used - 1)
    with pytest.raises(NotTransferable, match="items"):
        values.encode(value)


def test_time_and_memory_grow_with_the_bytes_only(audited: list[str]) -> None:
    """Whatever the bytes, a tenth of a millisecond and 100 bytes for each are more than enough."""
    whole = [values.encode(value) for value in (SHAPES, RECORDS, [[1, "x"]] * 300, {"a": [None] * 400})]

    def seconds(data: bytes) -> float:
        began = time.process_time()
        quiet_decode(data)
        return time.process_time() - began

    @settings(max_examples=200, deadline=None)
    @given(st.sampled_from(whole) | st.binary(max_size=3000), st.data())
    def check(sound: bytes, data: st.DataObject) -> None:
        mutated = bytearray(sound)
        for _ in range(data.draw(st.integers(0, 3))):
            position = data.draw(st.integers(0, max(0, len(mutated) - 1)))
            mutated[position : position + 1] = data.draw(st.binary(max_size=5))
        tracemalloc.start()
        quiet_decode(bytes(mutated))
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 100_000 + 100 * len(mutated)
        # The quickest of three: a collection of all garbage, which takes its time, may fall into one.
        assert min(seconds(bytes(mutated)) for _ in range(3)) < 0.1 + 0.0001 * len(mutated)

    check()


LOOK = """
import sys
before = set(sys.modules)
allowed, imported = set(), set()
heard = [allowed]
sys.addaudithook(lambda event, args: heard[0].add(args[0]) if event == "import" else None)
for name in sorted(records.RECORDS):
    __import__(name.rpartition(".")[0] or "builtins")
for name in set(sys.modules) - before:
    del sys.modules[name]
heard[0] = imported
for data in DATA:
    try:
        values.decode(data)
    except Exception as error:
        assert type(error).__name__ in ("ProtocolError", "NotTransferable"), error
print(sorted(imported - allowed), len(imported))
"""


def test_only_modules_of_the_fixed_table_are_ever_imported() -> None:
    """`decimal` and the like are imported when a record of theirs comes, with what they import; no other name is."""
    names = ["os.system", "antigravity", "=this.Class", "xml.dom", "robot.api", "decimal.getcontext", "ctypes.CDLL"]
    data = [values.encode(record) for record in RECORDS]
    data += [b"r" + COUNT.pack(len(name)) + name.encode() + values.encode(("a",)) for name in names]
    source = f"from crl.link.wire import records, values\nDATA = {data!r}\n{LOOK}"
    argv = [sys.executable, "-S", "-c", f"import sys\nsys.path.insert(0, {_standalone_wire()!r})\n{source}"]
    ran = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False)
    assert ran.returncode == 0, ran.stderr
    unknown, count = ran.stdout.rsplit(None, 1)
    assert unknown == "[]"
    # That it heard anything at all.
    assert int(count) > 3


def test_one_value_inside_another_again_and_again_is_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "MAX_ITEMS", 100_000)
    laughs: Any = ["ha"] * 10
    for _ in range(20):
        laughs = [laughs] * 10
    with pytest.raises(NotTransferable, match="items"):
        values.encode(laughs)


# -- other interpreters ----------------------------------------------------------------------------------------------


class Peer:
    """An interpreter that decodes and encodes again."""

    def __init__(self, python: str) -> None:
        peer = Path(__file__).with_name("codec_peer.py")
        folder = _standalone_wire()
        argv = [python, "-S", str(peer), folder]
        self.process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def echo(self, value: Any) -> Any:
        data = values.encode(value)
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(struct.pack(">I", len(data)) + data)
        self.process.stdin.flush()
        (size,) = struct.unpack(">I", self.process.stdout.read(4))
        return values.decode(self.process.stdout.read(size))

    def close(self) -> None:
        self.process.communicate(timeout=20)
        assert self.process.returncode == 0


def _standalone_wire() -> str:
    """A folder with nothing but the wire in it, which old interpreters can import."""
    return _folder[0]


_folder: list[str] = []


@pytest.fixture(scope="module", autouse=True)
def standalone_wire(tmp_path_factory: pytest.TempPathFactory) -> None:
    target = tmp_path_factory.mktemp("wire")
    _folder[:] = [str(target)]
    package = target / "crl" / "link" / "wire"
    package.mkdir(parents=True)
    for folder in (package.parent, package.parent.parent):
        (folder / "__init__.py").write_text("", encoding="ascii")
    for source in Path(crl.link.wire.__file__).parent.glob("*.py"):
        (package / source.name).write_bytes(source.read_bytes())


@pytest.fixture(params=INTERPRETERS, ids=lambda path: path.split("/")[-3])
def peer(request: pytest.FixtureRequest) -> Iterator[Peer]:
    started = Peer(request.param)
    yield started
    started.close()


def test_every_interpreter_gives_back_what_it_got(peer: Peer) -> None:
    old = peer.echo(b"\xff") != b"\xff"

    @settings(max_examples=60, deadline=None)
    @given(nested(texts_and_numbers if old else scalars))
    def check(value: Any) -> None:
        assert same(peer.echo(value), value, ordered=not old)

    check()
    assert not old or peer.echo(b"\xff") == "\udcff"


@pytest.mark.parametrize("index", range(len(SHAPES)))
def test_every_interpreter_knows_the_fast_ways(peer: Peer, index: int) -> None:
    assert same(peer.echo(SHAPES[index]), SHAPES[index], ordered=peer.echo(b"\xff") == b"\xff")


def test_every_interpreter_knows_the_records(peer: Peer) -> None:
    old = peer.echo(b"\xff") != b"\xff"
    lacking = {"range", "PurePosixPath", "PureWindowsPath", "timezone", "CompletedProcess", "stat_result"}
    lacking |= {"IPv4Address", "IPv6Network", "uname_result"}
    for record in RECORDS:
        if old and (type(record).__name__ in lacking or getattr(record, "tzinfo", None) or getattr(record, "fold", 0)):
            continue
        if isinstance(record, subprocess.CompletedProcess):
            assert vars(peer.echo(record)) == vars(record)
        else:
            assert peer.echo(record) == record
    assert math.isnan(peer.echo(float("nan")))
