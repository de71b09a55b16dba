"""Functions of this end on the target: what they use comes along, on every Python."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from crl.errors import UsageError
from crl.interactivesessions.shells.bashshell import BashShell
from crl.link import register_type
from crl.link.wire import records
from crl.targets import Target
from tests.link.peers import INTERPRETERS
from tests.targets import sent_features as features


@pytest.fixture(params=INTERPRETERS)
def target(request: pytest.FixtureRequest) -> Iterator[Target]:
    with Target(BashShell(), name="here", python=request.param) as target:
        yield target


@register_type
@dataclass
class Point:
    x: int
    y: int = 2


def test_functions(target: Target) -> None:
    call = target.python.call
    offset = 10

    def nested(number: int, extra: int = offset) -> int:
        text = """a
        b"""
        assert text == "a\n        b"
        return number + offset + extra

    assert call(features.shout, "hey") == "HEY!"
    assert call(nested, 1) == 21
    assert call(features.even, 10) is True
    assert call(features.odd, 10) is False
    assert call(features.managed) == ["in", "here", "out"]
    assert call(features.classes) == 12
    assert call(lambda number: number + offset, 5) == 15
    assert [call(one, 3) for one in (*features.times, *features.pair)] == [6, 15, 4, 5]
    if target.terminal.link.facts.python >= (3,):
        assert call(features.cached) is True
        assert call(features.once, 4) == [4]
        assert call(features.typed, [1, 2], 3, limit=7) == {"total": 6, "missing": 7}
    if target.terminal.link.facts.python >= (3, 7):
        # The module itself says `from __future__ import annotations`.
        assert call(features.of_a_module) == 42
        assert call(features.imports_inside) == 7


def test_traceback_has_the_lines_of_this_end(target: Target) -> None:
    with pytest.raises(ZeroDivisionError) as caught:
        target.python.call(features.fails, 0)
    line = Path(features.__file__).read_text(encoding="utf-8").splitlines().index(
        "    return os.getpid() / number  # the line that fails"
    )
    trace = caught.value.remote_traceback  # type: ignore[attr-defined]
    assert f'File "{features.__file__}", line {line + 1}, in fails\n    return os.getpid() / number' in trace


def test_classes_cross_by_value(here: Target) -> None:
    def made(x: int) -> Point:
        return Point(x)

    assert Point in records.NAMES
    assert here.python.call(made, 5) == Point(5, 2)


def test_what_a_function_uses_has_limits(here: Target) -> None:
    lock = threading.Lock()
    namespace: dict[str, object] = {}
    exec("def unknown(): return 1", namespace)

    with pytest.raises(UsageError, match="the value 'lock' that the function uses cannot be sent"):
        here.python.call(lambda: lock)
    point = Point(1)
    with pytest.raises(UsageError, match=r"the target does not know tests\.targets\..*Point"):
        here.python.call(lambda: point)
    with pytest.raises(UsageError, match=r"the source of .* is not known"):
        here.python.call(namespace["unknown"])  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="cannot be sent"):
        here.python.call(Point(1).__eq__)
