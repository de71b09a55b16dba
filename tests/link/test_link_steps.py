"""Every operator of a proxy is one step of the link, with the same result as here, on every interpreter."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from crl.link import Keep, Link
from tests.link.peers import INTERPRETERS, Shell

BINARY: dict[str, Callable[[Any, Any], Any]] = {
    "add": operator.add,
    "sub": operator.sub,
    "mul": operator.mul,
    "truediv": operator.truediv,
    "floordiv": operator.floordiv,
    "mod": operator.mod,
    "pow": pow,
    "divmod": divmod,
    "and": operator.and_,
    "or": operator.or_,
    "xor": operator.xor,
    "lshift": operator.lshift,
    "rshift": operator.rshift,
}
UNARY: dict[str, Callable[[Any], Any]] = {
    "abs": abs,
    "neg": operator.neg,
    "pos": operator.pos,
    "invert": operator.invert,
    "int": int,
    "float": float,
    "complex": complex,
    "index": operator.index,
    "bool": bool,
    "str": str,
    "repr": repr,
    "bytes": bytes,
    "round": round,
    "trunc": math.trunc,
    "floor": math.floor,
    "ceil": math.ceil,
}
CLASS = """
class Noting(object):
    def __init__(self):
        self.done = []
    def note(self, name):
        def method(other):
            self.done.append((name, other))
            return self
        return method
    def __getattr__(self, name):
        return self.note(name)
for name in "add sub mul truediv floordiv mod pow and or xor lshift rshift matmul".split():
    exec("def __i{0}__(self, other): self.done.append(('i{0}', other)); return self".format(name))
    exec("Noting.__i{0}__ = __i{0}__".format(name))
    exec("def __r{0}__(self, other): return ('r{0}', other)".format(name))
    exec("Noting.__r{0}__ = __r{0}__".format(name))
noting = Noting()
"""


@pytest.fixture(scope="module", params=INTERPRETERS, ids=lambda path: path.split("/")[-3])
def link(request: pytest.FixtureRequest) -> Iterator[Link]:
    shell = Shell()
    with Link.start(shell.lane(), timeout=60, python=request.param) as link:
        yield link
    shell.close()


@pytest.fixture
def nothing_stays() -> None:
    """The link of this module lives longer than a test; it is looked at when it ends."""


def step(link: Link, name: str, *args: Any, of: str = "29") -> Any:
    return link.submit_step(of, name, args).result(60)


@pytest.mark.parametrize("name", BINARY)
def test_operators_of_two(link: Link, name: str) -> None:
    assert step(link, name, 3) == BINARY[name](29, 3)
    assert step(link, "r" + name, 2) == BINARY[name](2, 29)


@pytest.mark.parametrize("name", UNARY)
def test_operators_of_one(link: Link, name: str) -> None:
    assert step(link, name) == UNARY[name](29)
    if name in ("trunc", "floor", "ceil"):
        got = step(link, name, of="-2.5")
        assert (got, type(got)) == (UNARY[name](-2.5), int)


def test_formats_and_rounds_with_arguments(link: Link) -> None:
    assert step(link, "format", "05d") == "00029"
    assert step(link, "round", 1, of="2.6789") == 2.7
    assert step(link, "contains", 3, of="[1, 3]") is True
    assert bytes(step(link, "bytes", of="b'\\x00ab'")) == b"\x00ab"


@pytest.mark.parametrize("name", [*(name for name in BINARY if name != "divmod"), "matmul"])
def test_operators_in_place_and_of_the_right_operand(link: Link, name: str) -> None:
    link.evaluate(CLASS)
    if name == "matmul" and link.facts.python < (3, 5):
        with pytest.raises(TypeError, match=r"Python 2\.7 has no operator matmul"):
            step(link, "matmul", 7, of="noting")
        return
    keep = Keep(handle="same")
    link.submit_step("noting", "i" + name, (7,), keep=keep).result(60)
    assert link.evaluate("(same is noting, noting.done)") == (True, [("i" + name, 7)])
    if name != "pow":
        assert step(link, "r" + name, 8, of="noting") == ("r" + name, 8)


def test_an_operator_that_nobody_has_is_an_error_of_its_call(link: Link) -> None:
    with pytest.raises(TypeError, match="no operator frobnicate"):
        step(link, "frobnicate")
    assert step(link, "add", 1) == 30
