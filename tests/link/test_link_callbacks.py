"""What a hostile target can do with functions that it was given: call those, so many at once, or be lost.

The target here is the real remote program, whose user code sends what an honest one never would.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import pytest

from crl.link import Expression, Link, LinkLost, ProtocolViolation, callbacks
from crl.link.wire import messages
from tests.link.peers import Shell, alive, eventually

FORGE = """
import sys
from _crl.wire import messages, values
def forge(kind, number, content, times=1):
    program = sys.modules['_crl'].program
    for one in range(times):
        body = content if isinstance(content, bytes) else values.encode(content)
        program.send(messages.pack(kind, number + one, body))
def call(function, *args): return function(*args)
"""
FIRST = 10_000


@pytest.fixture
def forging(make_shell: Callable[..., Shell]) -> Iterator[Link]:
    """A link that does not outlive its terminal, so that a lost one leaves nothing."""
    shell = make_shell()
    with Link.start(shell.lane(), timeout=60, grace=0) as link:
        link.evaluate(FORGE)
        yield link
    shell.close()
    assert eventually(lambda: not alive(link.facts.pid))


def is_lost(link: Link, match: str) -> None:
    assert eventually(lambda: not link.alive)
    with pytest.raises(ProtocolViolation, match=match):
        link.evaluate("1")


def test_functions_and_objects_cross_without_a_terminal(forging: Link) -> None:
    got: list[object] = []
    assert forging.invoke("call", forging.callbacks.expression_of(got.__add__), [1]) == [1]
    thing = Expression("object()")
    assert forging.invoke("(lambda f, o: f(o) is o)", forging.callbacks.expression_of(lambda one: one), thing) is True


def test_a_flood_of_calls_is_bounded_and_loses_the_link(forging: Link) -> None:
    go, ran = threading.Event(), []

    def block() -> None:
        ran.append(1)
        go.wait(60)

    forging.submit_invoke("call", (forging.callbacks.expression_of(block),))
    assert eventually(lambda: ran == [1])
    forging.submit_invoke("forge", (messages.ASK, FIRST, (1, (), {}, {}), 5000))
    is_lost(forging, "faster than")
    assert len(ran) <= messages.MOST_ASKED
    go.set()


def test_a_flood_of_bytes_is_bounded(forging: Link, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(callbacks, "MOST_BYTES", 8 << 20)
    go = threading.Event()
    forging.submit_invoke("call", (forging.callbacks.expression_of(lambda *_: go.wait(60)),))
    forging.evaluate("big = bytes(1 << 20)")
    forging.submit_evaluate(f"[forge({messages.ASK}, {FIRST} + n, (1, (big,), {{}}, {{}})) for n in range(20)]")
    try:
        # Twenty megabytes take their time where each is armoured.
        assert eventually(lambda: not forging.alive, 60)
    finally:
        go.set()


def test_who_calls_what_it_was_not_given_loses_the_link(forging: Link) -> None:
    ran: list[int] = []
    forging.invoke("call", forging.callbacks.expression_of(ran.append), 1)
    before = threading.active_count()
    forging.submit_invoke("forge", (messages.ASK, FIRST, (4711, (1,), {}, {}), 100))
    time.sleep(0.2)
    assert forging.alive
    forging.submit_invoke("forge", (messages.ASK, FIRST + 100, (4711, (1,), {}, {}), 20))
    is_lost(forging, "not passed")
    assert ran == [1]
    assert eventually(lambda: threading.active_count() <= before)


def test_a_question_that_is_repeated_is_asked_once(forging: Link) -> None:
    ran: list[int] = []
    forging.evaluate("kept = []")
    forging.invoke("kept.append", forging.callbacks.expression_of(ran.append))
    for _ in range(5):
        forging.invoke("forge", messages.ASK, FIRST, (1, (1,), {}, {}))
    assert forging.evaluate("6 * 7") == 42
    assert eventually(lambda: ran == [1])
    assert ran == [1]


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        (messages.ASK, b""),
        (messages.ASK, b"cos\nabort\n(tR."),
        (messages.ASK, ("1", (), {}, {})),
        (messages.ASK, (1, [], {}, {})),
        (messages.ASK, (1, (), {1: 2}, {})),
        (messages.ASK, (1, (None,), {}, {0: "os.system"})),
        (messages.ASK, (1, (None,), {}, {0: -1})),
        (messages.ASK, (Expression("1"), (), {}, {})),
        (messages.GONE, b"x"),
        (messages.GONE, [1]),
        (messages.GONE, [(1, -5)]),
        (messages.GONE, {"a": 1}),
    ],
)
def test_what_is_no_question_loses_the_link(forging: Link, kind: int, content: object) -> None:
    ran: list[object] = []
    forging.invoke("call", forging.callbacks.expression_of(ran.append), 1)
    if isinstance(content, tuple) and isinstance(content[0], Expression):
        forging.evaluate("body = values.encode((values.Expression('1'), (), {}, {}))")
        forging.submit_evaluate(f"forge({kind}, {FIRST}, body)")
    else:
        forging.submit_invoke("forge", (kind, FIRST, content))
    assert eventually(lambda: not forging.alive)
    with pytest.raises(LinkLost):
        forging.evaluate("1")
    assert ran == [1]


def test_a_link_that_passed_nothing_is_asked_nothing(forging: Link) -> None:
    forging.submit_invoke("forge", (messages.ASK, FIRST, (1, (), {}, {})))
    is_lost(forging, "never used")


def test_letting_go_of_others_does_nothing(forging: Link) -> None:
    forging.evaluate("kept = []")
    forging.invoke("kept.append", forging.callbacks.expression_of(lambda: 7))
    forging.invoke("forge", messages.GONE, 0, [(4711, 1), (1, 0)])
    assert forging.evaluate("kept[0]()") == 7
    forging.invoke("forge", messages.GONE, 0, [(1, 1 << 70)])
    with pytest.raises(PermissionError):
        forging.evaluate("kept[0]()")
