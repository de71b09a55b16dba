"""Objects of registered classes cross by value in both directions, and only those; expressions resolve anywhere."""

from __future__ import annotations

import collections
import dataclasses
import enum
import traceback
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest

from crl.errors import UsageError
from crl.link import Expression, Link, RemoteError, ValueNotTransferable, register_type
from crl.link.wire import records, values
from crl.link.wire.errors import NotTransferable, ProtocolError
from tests.link.peers import INTERPRETERS

MakeLink = Callable[..., Link]


class Pair(NamedTuple):
    left: int
    right: Any


class Colour(enum.Enum):
    RED = 1
    BLUE = "b"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 9


class Rights(enum.Flag):
    READ = 1
    WRITE = 2


@dataclasses.dataclass(frozen=True)
class Disk:
    path: str
    free: int = 0
    parts: list[Any] = dataclasses.field(default_factory=list)
    shout: str = dataclasses.field(init=False, default="")

    made = 0

    def __post_init__(self) -> None:
        Disk.made += 1
        object.__setattr__(self, "shout", self.path.upper())


@dataclasses.dataclass(slots=True)
class Slotted:
    a: int


CLASSES = (Pair, Colour, Level, Rights, Disk, Slotted)
THERE = """
import collections, dataclasses, enum
Pair = collections.namedtuple("Pair", "left right")
class Colour(enum.Enum):
    RED = 1
    BLUE = "b"
class Level(enum.IntEnum):
    LOW = 1
    HIGH = 9
class Rights(enum.Flag):
    READ = 1
    WRITE = 2
@dataclasses.dataclass
class Disk:
    path: str
    free: int = 0
    parts: list = dataclasses.field(default_factory=list)
    shout: str = "there"
@dataclasses.dataclass
class Slotted:
    a: int
"""


@pytest.fixture
def registered() -> Iterator[None]:
    for cls in CLASSES:
        register_type(cls, f"__main__.{cls.__name__}")
    yield
    for cls in CLASSES:
        del records.TYPES[records.NAMES.pop(cls)]


def test_they_cross_in_both_directions(registered: None, link: Link) -> None:
    link.evaluate(THERE)
    made = Disk.made
    came = link.evaluate(
        "[Pair(1, [Colour.RED]), Colour.BLUE, Level.HIGH, Rights.READ | Rights.WRITE, Disk('/', 3, [Slotted(5)])]"
    )
    disk = came.pop()
    assert came == [Pair(1, [Colour.RED]), Colour.BLUE, Level.HIGH, Rights.READ | Rights.WRITE]
    assert [type(one) for one in came] == [Pair, Colour, Level, Rights]
    assert (type(disk), disk.path, disk.free, disk.parts, disk.shout) == (Disk, "/", 3, [Slotted(5)], "there")
    assert Disk.made == made
    link.evaluate("def look(one): return type(one) is globals()[type(one).__name__], repr(one)")
    for one in (Pair(1, 2), Colour.RED, Level.LOW, Slotted(4)):
        assert link.invoke("look", one) == (True, repr(one))
    assert link.invoke("look", Disk("/x")) == (True, "Disk(path='/x', free=0, parts=[], shout='/X')")


def test_many_of_one_class_cross_as_columns(registered: None) -> None:
    disks = [Disk(f"/{number}", number) for number in range(1000)]
    data = values.encode(disks)
    assert values.decode(data) == disks
    assert len(data) < 30_000
    assert values.decode(values.encode([Level.LOW] * 50)) == [Level.LOW] * 50


def test_without_registration_they_are_their_base_or_nothing(link: Link) -> None:
    link.evaluate(THERE)
    assert link.evaluate("[Pair(1, 2), Level.HIGH]") == [(1, 2), 9]
    for expression in ("Colour.RED", "[Disk('/')]", "{'a': Slotted(1)}", "Rights.READ"):
        with pytest.raises(ValueNotTransferable, match="not registered") as caught:
            link.evaluate(expression)
        assert "register_type" in str(caught.value)
    assert link.alive
    assert link.invoke("len", Pair(1, 2)) == 2


def test_a_class_that_looks_otherwise_costs_that_call_only(registered: None, link: Link) -> None:
    link.evaluate(THERE)
    link.evaluate("Pair = collections.namedtuple('Pair', 'left right more')\nColour = enum.Enum('Colour', 'PINK')")
    for expression in ("Pair(1, 2, 3)", "Colour.PINK"):
        with pytest.raises(ValueNotTransferable, match=r"looks otherwise|no such member"):
            link.evaluate(expression)
    assert link.alive


def test_lies_about_objects_make_nothing(registered: None) -> None:
    def lie(name: str, kind: Any, content: Any) -> bytes:
        return b"r" + values.encode(b"=" + name.encode())[1:] + values.encode((kind, content))

    lies: list[tuple[str, Any, Any]] = [
        ("__main__.Disk", "enum", ("RED", 1, False)),
        ("__main__.Disk", "dataclass", {"path": 1}),
        ("__main__.Disk", "dataclass", {"path": 1, "free": 2, "parts": 3, "__class__": 4}),
        ("__main__.Disk", "namedtuple", (1, 2)),
        ("__main__.Colour", "enum", ("mro", 1, True)),
        ("__main__.Colour", "enum", ("__class__", 1, True)),
        ("__main__.Colour", "enum", (["RED"], [1], True)),
        ("__main__.Rights", "enum", ("", "1", True)),
        ("__main__.Pair", "namedtuple", range(2)),
        ("__main__.Pair", "namedtuple", [1, 2]),
        ("__main__.Pair", [1], (1, 2)),
        ("os.system", "dataclass", {"command": "true"}),
        ("unittest.SkipTest", "enum", ("SkipTest", None, True)),
    ]
    for name, kind, content in lies:
        try:
            value = values.decode(lie(name, kind, content))
        except (NotTransferable, ProtocolError):
            continue
        assert value is None, (name, kind, content)


def test_what_is_no_such_class_is_refused() -> None:
    @dataclasses.dataclass
    class Trouble(Exception):
        a: int

    for cls in (int, dict, object, collections.OrderedDict, Trouble):
        with pytest.raises(UsageError, match="cannot"):
            register_type(cls)


@pytest.mark.parametrize("python", [INTERPRETERS[0], INTERPRETERS[-1]])
def test_expressions_resolve_wherever_they_stand(make_link: MakeLink, python: str) -> None:
    link = make_link(python=python)
    link.evaluate("kept = [1, 2]")
    link.evaluate("def same(one): return one['a'] is kept, one['c'][0][1] is kept, type(one['b']).__name__")
    one = {"a": Expression("kept"), "b": object(), "c": [(object(), Expression("kept"))]}
    assert link.invoke("same", one) == (True, True, "object")
    assert link.invoke("len", [Expression("kept"), object(), {1, 2}]) == 3


@pytest.mark.parametrize("code", ["{}['k']", "int('x')", "next(iter([]))", "1 / 0"])
def test_what_an_expression_among_the_arguments_raises_is_that_error(link: Link, code: str) -> None:
    with pytest.raises((KeyError, ValueError, StopIteration, ZeroDivisionError)) as caught:
        link.invoke("len", [Expression(code)])
    assert "Raised on localhost" in caught.value.__notes__[0]


def test_objects_inside_pickles_need_no_module(registered: None, link: Link) -> None:
    link.evaluate(THERE + "\ndef name(one): return type(one['a']) is Disk, one['a'].path")
    assert link.invoke("name", {"a": Disk("/x"), "b": object()}) == (True, "/x")


def test_a_class_that_the_target_lacks_is_an_error_that_says_so(registered: None, link: Link) -> None:
    with pytest.raises(TypeError, match=r"the target has no class __main__\.Disk"):
        link.invoke("repr", Disk("/x"))
    assert link.invoke("tuple", Pair(1, 2)) == (1, 2)


# -- errors ----------------------------------------------------------------------------------------------------------


def test_an_error_brings_notes_attributes_and_its_causes_as_text(link: Link) -> None:
    link.evaluate(
        "def fail():\n"
        "    try:\n"
        "        1 / 0\n"
        "    except ZeroDivisionError as cause:\n"
        "        error = ValueError('outer', 3)\n"
        "        error.code, error.thing = 7, object()\n"
        "        getattr(error, 'add_note', lambda note: None)('look at the disk')\n"
        "        raise error from cause\n"
    )
    with pytest.raises(ValueError, match="outer") as caught:
        link.invoke("fail")
    error: Any = caught.value
    assert (error.args, error.code) == (("outer", 3), 7)
    assert not hasattr(error, "thing")
    assert error.__cause__ is None
    assert "ZeroDivisionError" in error.remote_traceback
    assert "direct cause" in error.remote_traceback
    assert error.__notes__[-1].startswith("Raised on localhost:")
    if link.facts.python >= (3, 11):
        assert error.__notes__[0] == "look at the disk"
    assert "ZeroDivisionError" in "".join(traceback.format_exception(error))


def test_groups_come_with_their_members(make_link: MakeLink) -> None:
    link = make_link(python=INTERPRETERS[-1])
    if link.facts.python < (3, 11):
        pytest.skip("no interpreter here has exception groups")
    link.evaluate(
        "import unittest\n"
        "class Own(Exception): pass\n"
        "def fail():\n"
        "    inner = ExceptionGroup('inner', [Own('mine'), unittest.SkipTest('skip')])\n"
        "    raise ExceptionGroup('outer', [KeyError('k'), inner])\n"
    )
    with pytest.raises(ExceptionGroup) as caught:
        link.invoke("fail")
    key, inner = caught.value.exceptions
    assert (caught.value.message, type(key), key.args) == ("outer", KeyError, ("k",))
    assert isinstance(inner, ExceptionGroup)
    assert [type(one) for one in inner.exceptions] == [RemoteError, RemoteError]
    assert "mine" in str(inner.exceptions[0])


def test_an_argument_that_cannot_cross_is_its_text_and_the_others_stay(link: Link) -> None:
    link.evaluate("def fail(): raise ValueError(1, object(), [2])")
    with pytest.raises(ValueError, match="object object") as caught:
        link.invoke("fail")
    assert (caught.value.args[0], caught.value.args[2]) == (1, [2])
    assert "object object" in caught.value.args[1]
