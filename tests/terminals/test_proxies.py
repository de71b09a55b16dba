"""Proxies: every step is one round trip, every operator of the table works, and what must stay here stays here."""

from __future__ import annotations

import asyncio
import copy
import gc
import inspect
import math
import operator
import os
import pickle
import pydoc
import time
from collections.abc import Callable
from typing import Any

import pytest

from crl.interactivesessions._proxytable import READABLE_DUNDERS, OperatorTable
from crl.interactivesessions.autorunnerterminal import AutoRunnerTerminal
from crl.interactivesessions.remoteproxies import _RecursiveProxy, _RemoteProxy
from crl.interactivesessions.runnerexceptions import (
    InvalidProxySession,
    RemoteTimeout,
    RunnerTerminalUnableToDeserialize,
)
from tests.terminals.conftest import Make, gate, reopen

CLASSES = """
class Number(object):
    'A number that does everything.'
    def __init__(self, value): self.value = value
class Manager(object):
    log = []
    def __enter__(self): self.log.append('in'); return self
    def __exit__(self, kind, error, trace):
        self.log.append((kind and kind.__name__, str(error)))
        return kind is KeyError
class Hostile(object):
    def __repr__(self): raise SystemExit('no')
    def __dir__(self): raise ValueError('no')
class Slow(object):
    def __repr__(self): time.sleep(30)
class Property(object):
    answer = 42
    things = [1]
    def method(self): return [self.answer]
"""


@pytest.fixture(autouse=True)
def classes(shared: AutoRunnerTerminal) -> None:
    shared.run_python(CLASSES)


def one(shared: AutoRunnerTerminal, source: str) -> _RecursiveProxy:
    """A recursive proxy for a value, kept on the target."""
    proxy = shared.get_proxy_object_from_call(f"(lambda: {source})")
    assert isinstance(proxy, _RemoteProxy)
    return proxy.as_recursive_proxy()


def local(value: Any) -> Any:
    return value.as_local_value() if isinstance(value, _RemoteProxy) else value


BINARY = ["add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "and_", "or_", "xor", "lshift", "rshift"]
COMPARISONS = ["lt", "le", "eq", "ne", "gt", "ge"]
FRACTION = "__import__('fractions').Fraction(7, 2)"


@pytest.mark.parametrize("name", [*BINARY, *COMPARISONS])
def test_binary_operators_are_one_round_trip(shared: AutoRunnerTerminal, name: str) -> None:
    function = getattr(operator, name)
    for proxy, value, other in ((one(shared, "True"), True, 2), (one(shared, "13"), 13, 3)):
        requests = shared.link.statistics.requests
        assert local(function(proxy, other)) == function(value, other)
        assert local(function(other, proxy)) == function(other, value)
        assert shared.link.statistics.requests == requests + 2


@pytest.mark.parametrize("name", [f"i{name.rstrip('_')}" for name in BINARY])
def test_in_place_operators(shared: AutoRunnerTerminal, name: str) -> None:
    proxy = one(shared, "13")
    assert local(getattr(operator, name)(proxy, 3)) == getattr(operator, name)(13, 3)


def test_in_place_on_a_list_changes_the_remote_object(shared: AutoRunnerTerminal) -> None:
    first = one(shared, "[1]")
    second = first
    second += [2]
    assert first.as_local_value() == [1, 2]
    assert isinstance(second, _RecursiveProxy)


def test_reflected_and_matrix_and_divmod(shared: AutoRunnerTerminal) -> None:
    proxy = one(shared, "13")
    assert list(divmod(proxy, 5)) == [2, 3]
    assert list(divmod(27, proxy)) == [2, 1]
    shared.run_python(
        "class Matrix(object):\n"
        "    def __matmul__(self, other): return 'm'\n"
        "    def __rmatmul__(self, other): return 'r'\n"
        "    def __imatmul__(self, other): return 'i'\n"
    )
    matrix = one(shared, "Matrix()")
    assert matrix @ 1 == "m"
    assert 1 @ matrix == "r"
    matrix @= 1
    assert matrix == "i"


UNARY: list[tuple[Callable[[Any], Any], str, Any]] = [
    (operator.neg, "5", -5),
    (operator.pos, "5", 5),
    (operator.invert, "5", -6),
    (abs, "-5", 5),
    (len, "[1, 2]", 2),
    (bool, "[]", False),
    (bool, "[0]", True),
    (int, FRACTION, 3),
    (float, FRACTION, 3.5),
    (complex, "1.5", 1.5 + 0j),
    (round, "2.6", 3),
    (str, "[1]", "[1]"),
    (bytes, "bytearray(b'ab')", b"ab"),
    (operator.index, "7", 7),
    (list, "[3, 4]", [3, 4]),
    (lambda proxy: list(reversed(proxy)), "[3, 4]", [4, 3]),
    (lambda proxy: 3 in proxy, "[3, 4]", True),
    (lambda proxy: 5 in proxy, "[3, 4]", False),
    (lambda proxy: proxy[1], "[3, 4]", 4),
    (lambda proxy: local(proxy[0:1]), "[3, 4]", [3]),
    (lambda proxy: [10, 20, 30][proxy], "1", 20),
    (lambda proxy: f"{proxy:>4}|{proxy}", "7", "   7|7"),
    (sorted, "[2, 1]", [1, 2]),
    (dict, "[('a', 1)]", {"a": 1}),
    (lambda proxy: {**proxy}, "{'a': 1}", {"a": 1}),
    (next, "iter('ab')", "a"),
    (math.floor, "2.5", 2),
]


@pytest.mark.parametrize(("function", "source", "expected"), UNARY)
def test_unary_operators(
    shared: AutoRunnerTerminal, function: Callable[[Any], Any], source: str, expected: Any
) -> None:
    got = function(one(shared, source))
    assert got == expected
    assert type(got) is type(expected)


def test_items(shared: AutoRunnerTerminal) -> None:
    proxy = one(shared, "{'a': 1, 'b': [2]}")
    requests = shared.link.statistics.requests
    proxy["c"] = 3
    del proxy["a"]
    assert shared.link.statistics.requests == requests + 2
    assert proxy.as_local_value() == {"b": [2], "c": 3}
    with pytest.raises(KeyError):
        proxy["nothing"]
    iterator = iter(one(shared, "[1]"))
    assert isinstance(iterator, _RecursiveProxy)
    assert next(iterator) == 1
    with pytest.raises(StopIteration):
        next(iterator)


def test_with(shared: AutoRunnerTerminal) -> None:
    manager = one(shared, "Manager()")
    with manager as entered:
        assert isinstance(entered, _RecursiveProxy)
    with pytest.raises(OSError, match="lost"), manager:
        raise ConnectionResetError("lost")
    with manager:
        raise KeyError("swallowed")
    assert [one for one in shared.run_python("Manager.log") if one != "in"] == [
        (None, "None"),
        ("ConnectionResetError", "lost"),
        ("KeyError", "\"'swallowed'\""),
    ]


def test_await(shared: AutoRunnerTerminal) -> None:
    shared.run_python("async def slow(x):\n    await __import__('asyncio').sleep(0.2)\n    return x")
    slow = shared.get_recursive_proxy("slow")

    async def main() -> tuple[float, list[Any]]:
        started = time.monotonic()
        return time.monotonic() - started, await asyncio.gather(*(_awaited(slow(n)) for n in range(3)))

    async def _awaited(proxy: Any) -> Any:
        return await proxy

    _, answers = asyncio.run(main())
    assert answers == [0, 1, 2]


def test_hash_is_by_handle_and_local(shared: AutoRunnerTerminal) -> None:
    proxy, other = one(shared, "[1]"), one(shared, "[1]")
    requests = shared.link.statistics.requests
    assert {proxy: 1}[proxy] == 1
    assert hash(proxy) == hash(copy.copy(proxy))
    assert hash(proxy) != hash(other)
    assert shared.link.statistics.requests == requests


def test_chains_cost_one_round_trip_a_step(shared: AutoRunnerTerminal) -> None:
    os_proxy = shared.get_recursive_proxy("os")
    requests = shared.link.statistics.requests
    assert os_proxy.sep == "/"
    assert shared.link.statistics.requests == requests + 1
    assert os_proxy.path.join("a", "b") == "a/b"
    assert shared.link.statistics.requests == requests + 4
    assert shared.run_python_call("os.path.join", "a", "b") == "a/b"
    assert shared.link.statistics.requests == requests + 5


def test_attributes(shared: AutoRunnerTerminal) -> None:
    proxy = one(shared, "Property()")
    requests = shared.link.statistics.requests
    proxy.answer = 43
    assert proxy.answer == 43
    del proxy.answer
    assert proxy.answer == 42
    assert shared.link.statistics.requests == requests + 4
    with pytest.raises(AttributeError):
        proxy.nothing  # noqa: B018
    assert not hasattr(proxy, "nothing")
    assert isinstance(proxy.things, _RecursiveProxy)
    proxy.things = operator.add(proxy.things, [2])
    assert local(proxy.things) == [1, 2]


def test_remote_proxy_gives_values(shared: AutoRunnerTerminal) -> None:
    proxy = shared.get_proxy_object_from_call("Property")
    requests = shared.link.statistics.requests
    assert proxy.things == [1]
    assert shared.link.statistics.requests == requests + 1
    assert proxy.method() == [42]
    assert shared.link.statistics.requests == requests + 3
    proxy.answer = 1
    assert proxy.answer == 1
    del proxy.answer
    numbers = shared.get_proxy_object_from_call("list", [1, 2])
    assert numbers[0] == 1
    numbers[0] = 5
    del numbers[1]
    assert numbers.as_local_value() == [5]
    assert shared.get_proxy_object("os.path.join")("a", "b") == "a/b"
    with pytest.raises(RunnerTerminalUnableToDeserialize, match="proxy"):
        shared.get_proxy_object("os").path  # noqa: B018
    assert shared.get_proxy_object("os").as_recursive_proxy().path.sep == "/"
    assert "method method of" in repr(proxy.method)


class Numbers:
    """A class here whose methods an object there has."""

    def index(self, value: int, start: int = 0) -> int:
        """Where a value is."""
        raise NotImplementedError

    @staticmethod
    def made() -> None:
        """Something without self."""


def test_a_spec_is_the_class_of_the_proxy_here(shared: AutoRunnerTerminal) -> None:
    proxy = shared.get_proxy_object("[1, 2]", Numbers)
    plain = shared.get_proxy_object("[1, 2]")
    requests = shared.link.statistics.requests
    assert isinstance(proxy, Numbers)
    assert isinstance(proxy, _RemoteProxy)
    assert not isinstance(plain, Numbers)
    assert shared.isproxy(proxy)
    assert list(inspect.signature(proxy.index).parameters) == ["value", "start"]
    assert list(inspect.signature(proxy.made).parameters) == []
    assert shared.link.statistics.requests == requests
    assert str(inspect.signature(plain.index)) == "(*args, **kwargs)"
    assert str(inspect.signature(proxy.append)) == "(*args, **kwargs)"
    assert proxy.index(2) == 1


def test_classes_of_the_target_know_their_instances(shared: AutoRunnerTerminal) -> None:
    number: Any = one(shared, "Number(1)")
    cls: Any = shared.get_recursive_proxy("Number")
    assert isinstance(number, cls)
    assert not isinstance(one(shared, "[1]"), cls)
    assert issubclass(cls, cls)
    manager: Any = shared.get_recursive_proxy("Manager")
    assert not issubclass(manager, cls)
    with pytest.raises(TypeError, match="subclasses"):
        exec("class Sub(cls): pass", {"cls": cls})


def test_specs(shared: AutoRunnerTerminal) -> None:
    proxy = shared.get_proxy_object("[1, 2]", list)
    proxy.index  # noqa: B018 - a method of the spec is known without asking
    requests = shared.link.statistics.requests
    assert proxy.index(2) == 1
    assert shared.link.statistics.requests == requests + 1
    with pytest.raises(RuntimeError, match="spec"):
        proxy.set_proxy_spec(dict)
    later = shared.get_proxy_object("{}")
    later.set_proxy_spec(dict)
    assert later.get("a", 5) == 5


def test_doc_help_dir(shared: AutoRunnerTerminal) -> None:
    proxy = one(shared, "Number(1)")
    assert proxy.__doc__ == "A number that does everything."
    assert "A number that does everything." in pydoc.render_doc(proxy)
    assert {"value", "as_local_value"} <= set(dir(proxy))
    assert "getpid" in dir(shared.get_proxy_object("os"))
    assert "as_local_value" in dir(one(shared, "Hostile()"))
    assert _RecursiveProxy.__doc__ is not None
    assert "recursive" in _RecursiveProxy.__doc__


def test_repr_never_raises_and_is_bounded(shared: AutoRunnerTerminal) -> None:
    assert "[1, 2]" in repr(one(shared, "[1, 2]"))
    assert "no repr" in repr(one(shared, "Hostile()"))
    assert len(repr(one(shared, "'x' * 10 ** 7"))) < 2000
    started = time.monotonic()
    assert "no repr" in repr(one(shared, "Slow()"))
    assert time.monotonic() - started < 20
    assert "nothing" in repr(shared.create_empty_recursive_proxy())


NEVER = ["_repr_html_", "_ipython_display_", "_ipython_canary_method_should_not_exist_", "__array__", "__fspath__"]
NEVER += ["__array_interface__", "__reduce__x__", "__wrapped__", "__getstate__", "__deepcopy__", "__set_name__"]


@pytest.mark.parametrize("name", NEVER)
def test_what_never_goes_remote(shared: AutoRunnerTerminal, name: str) -> None:
    shared.run_python(f"setattr(Property, {name!r}, 'remote')")
    proxy, plain = one(shared, "Property()"), shared.get_proxy_object_from_call("Property")
    requests = shared.link.statistics.requests
    for one_proxy in (proxy, plain):
        assert getattr(one_proxy, name, "not asked") != "remote"
    assert shared.link.statistics.requests == requests


def test_proxies_are_not_copied_deeply_or_pickled(shared: AutoRunnerTerminal) -> None:
    proxy = one(shared, "[1]")
    for use in (pickle.dumps, copy.deepcopy):
        with pytest.raises(TypeError, match="as_local_value"):
            use(proxy)
    with pytest.raises(TypeError):
        os.fspath(proxy)
    assert copy.copy(proxy).as_local_value() == [1]


def test_table_is_complete() -> None:
    wanted = (
        "len contains eq lt add getitem setitem delitem enter exit iter next bool hash str format call index int float"
        " complex bytes reversed round await aiter anext aenter aexit instancecheck subclasscheck"
    )
    have = {*vars(OperatorTable), *vars(_RecursiveProxy), *vars(_RemoteProxy)}
    assert {f"__{name}__" for name in wanted.split()} | {"__dir__", "__repr__"} <= have
    assert "__reduce__" not in READABLE_DUNDERS


def test_asynchronous_mode(shared: AutoRunnerTerminal) -> None:
    proxy = shared.get_proxy_object("time")
    recursive = shared.get_recursive_proxy("os")
    open_gate = gate(shared)
    waiting = shared.get_proxy_object("gate")
    for one_proxy in (proxy, recursive, waiting):
        one_proxy.remote_proxy_use_asynchronous_response()
    handles = [waiting.wait(30) for _ in range(5)]
    assert all(isinstance(handle, RemoteTimeout) for handle in handles)
    assert not any(handle.done() for handle in handles)
    open_gate()
    assert [waiting.get_remote_proxy_response(handle) for handle in handles] == [True] * 5
    assert proxy.get_remote_proxy_response(proxy.timezone) == shared.run_python("time.timezone")
    joined = recursive.path.join("a", "b")
    assert isinstance(joined, RemoteTimeout)
    assert recursive.get_remote_proxy_response(joined) == "a/b"
    names = recursive.get_remote_proxy_response(recursive.listdir("/"))
    assert isinstance(names, _RecursiveProxy)
    assert len(names) > 2
    failing = recursive.listdir("/no/such/folder")
    with pytest.raises(FileNotFoundError):
        recursive.get_remote_proxy_response(failing, 30)
    open_gate = gate(shared)
    waiting = shared.get_proxy_object("gate")
    waiting.remote_proxy_use_asynchronous_response()
    late = waiting.wait(30)
    with pytest.raises(RemoteTimeout):
        waiting.get_remote_proxy_response(late, 0.05)
    open_gate()
    waiting.remote_proxy_use_synchronous_response()
    assert waiting.get_remote_proxy_response(late, 30) is True
    assert waiting.is_set() is True
    proxy.remote_proxy_use_synchronous_response()
    assert proxy.sleep(0) is None


def test_timeouts_of_proxies(shared: AutoRunnerTerminal) -> None:
    open_gate, waiting = gate(shared), shared.get_recursive_proxy("gate.wait")
    waiting.set_remote_proxy_timeout(0.1)
    with pytest.raises(RemoteTimeout) as caught:
        waiting(30)
    open_gate()
    assert waiting.get_remote_proxy_response(caught.value) is True
    proxy = shared.get_recursive_proxy("time")
    proxy.set_remote_proxy_timeout(-1)
    for use in (lambda: proxy.sleep(0), lambda: proxy.timezone, lambda: len(proxy)):
        with pytest.raises(RemoteTimeout):
            use()
    with pytest.raises(RemoteTimeout) as caught:
        proxy.timezone  # noqa: B018
    assert proxy.get_remote_proxy_response(caught.value) == shared.run_python("time.timezone")
    proxy.set_remote_proxy_timeout(None)
    assert proxy.sleep(0) is None
    _RemoteProxy.set_remote_proxy_default_timeout(0.1)
    try:
        with pytest.raises(RemoteTimeout):
            proxy.sleep(5)
    finally:
        _RemoteProxy.reset_remote_proxy_default_timeout()
    assert proxy.sleep(0.15) is None


def test_children_take_timeout_and_mode(shared: AutoRunnerTerminal) -> None:
    parent = shared.get_recursive_proxy("os")
    parent.set_remote_proxy_timeout(0.1)
    with pytest.raises(RemoteTimeout):
        parent.system("sleep 5")
    child = _RemoteProxy(shared, "time", parent=parent, is_remote_owned=False)
    with pytest.raises(RemoteTimeout):
        child.sleep(5)


def test_set_from_remote_proxy(shared: AutoRunnerTerminal) -> None:
    receiver = shared.create_empty_remote_proxy()
    with pytest.raises(InvalidProxySession, match="empty"):
        receiver.append(1)
    receiver.set_proxy_spec(list)
    receiver.set_remote_proxy_timeout(7)
    source = shared.get_proxy_object_from_call("list", [1])
    handle = source.get_proxy_handle()
    receiver.set_from_remote_proxy(source)
    assert receiver.get_proxy_handle() == handle
    receiver.append(2)
    assert receiver.as_local_value() == [1, 2]
    assert source.get_proxy_handle() is None
    with pytest.raises(InvalidProxySession):
        source.as_local_value()
    with pytest.raises(RuntimeError):
        receiver.set_proxy_spec(dict)
    receiver.set_from_remote_proxy(receiver)
    assert receiver.as_local_value() == [1, 2]


def test_local_names(shared: AutoRunnerTerminal) -> None:
    proxy = one(shared, "Property()")
    proxy.set_remote_proxy_dict_name("mine", 1)
    requests = shared.link.statistics.requests
    assert proxy.mine == 1
    proxy.mine = 2
    assert proxy.get_remote_proxy_dict() == {"mine": 2}
    del proxy.mine
    assert shared.link.statistics.requests == requests
    proxy.remote_proxy_verify()
    proxy.remote_proxy_autoprepare()


def test_ownership_and_garbage_without_round_trips(shared: AutoRunnerTerminal) -> None:
    owned = one(shared, "[1]")
    handle = owned.get_proxy_handle()
    again = owned.as_recursive_proxy()
    requests = shared.link.statistics.requests
    del owned
    gc.collect()
    assert shared.link.statistics.requests == requests
    assert again.as_local_value() == [1]
    for _ in range(shared.MAX_GARBAGE + 1):
        shared.get_proxy_object_from_call("list")
    shared.run_python("None")
    assert again.as_local_value() == [1]
    del again
    shared.run_python("mine = [1]")
    mine = _RemoteProxy(shared, "mine")
    assert mine.as_local_value() == [1]
    del mine
    requests = shared.link.statistics.requests
    for _ in range(shared.MAX_GARBAGE + 1):
        shared.get_proxy_object_from_call("list")
    shared.run_python("None")
    # What is released goes with calls that are made anyway: no round trip is for it.
    assert shared.link.statistics.requests == requests + shared.MAX_GARBAGE + 2
    assert shared.run_python("'mine' in globals()") is False
    assert shared.run_python(f"{handle!r}.split(\"'\")[1] in _PROXY_CONTAINER") is False


def test_other_sessions(shared: AutoRunnerTerminal, make: Make) -> None:
    other = make()
    other.initialize_if_needed()
    foreign = other.get_proxy_object_from_call("list")
    with pytest.raises(InvalidProxySession, match="another session"):
        shared.run_python_call("len", foreign)
    with pytest.raises(InvalidProxySession, match="another session"):
        shared.run_python_call("len", [{"deep": foreign.append}])
    late = other.get_recursive_proxy("str")
    with pytest.raises(RemoteTimeout) as pending:
        other.run_python("__import__('time').sleep(60)", timeout=-1)
    other.close()
    with pytest.raises(InvalidProxySession):
        other.get_response(pending.value)
    reopen(other)
    other.initialize_if_needed()
    assert "no session" in repr(late)
    for use in (lambda: foreign.append, lambda: len(foreign.as_recursive_proxy()), lambda: late(1)):
        with pytest.raises(InvalidProxySession):
            use()
    with pytest.raises(InvalidProxySession):
        other.get_response(pending.value)


def test_a_proxy_named_before_the_session_opens(make: Make) -> None:
    terminal = make()
    early = terminal.get_recursive_proxy("str")
    assert "not open" in repr(terminal)
    assert early(1) == "1"
    assert "(open)" in repr(terminal)
    terminal.close()
    reopen(terminal)
    with pytest.raises(InvalidProxySession):
        early(1)


def test_instances_of_handled_types_are_values(shared: AutoRunnerTerminal) -> None:
    # The seed: an instance of any of the HANDLED_TYPES is always returned as a local value.
    shared.run_python("import enum\nclass Level(enum.IntEnum):\n    HIGH = 3\nclass Name(str):\n    pass")
    level = shared.get_recursive_proxy("Level").HIGH
    assert (type(level), level) == (int, 3)
    name = shared.get_recursive_proxy("Name")("n")
    assert (type(name), name) == (str, "n")
    assert shared.isproxy(shared.get_recursive_proxy("Property").things)
