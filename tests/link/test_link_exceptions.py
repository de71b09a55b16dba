"""A target's exception is the same class here where that is harmless, and never decides on a test or runs our code."""

from __future__ import annotations

import subprocess
import types
import unittest
from typing import Any

import pytest
import robot.errors
from hypothesis import given
from hypothesis import strategies as st

from crl.link import Link, RemoteError, register_exception
from crl.link.exceptions import rebuild
from crl.link.wire import values
from crl.link.wire.errors import ProtocolError


def described(
    module: str,
    name: str,
    args: Any = (),
    text: str = "text",
    trace: str = "trace\n",
    state: Any = None,
    notes: Any = (),
    members: Any = (),
) -> bytes:
    attributes = values.encode({} if state is None else state)
    return values.encode((module, name, values.encode(args), text, trace, attributes, list(notes), list(members)))


class Ours(Exception):
    """An exception with a constructor of its own, which must not run."""

    ran = 0

    def __init__(self, a: int, b: int) -> None:
        Ours.ran += 1
        super().__init__(a, b)


class OurOsError(OSError):
    """An OSError of ours."""


class Skipper(unittest.SkipTest):
    """What a test module may well define or import."""


class RobotSkip(Exception):
    """Robot Framework skips a test that raises this."""

    ROBOT_SKIP_EXECUTION = True


SkipTest = unittest.SkipTest
PassExecution = robot.errors.PassExecution


@pytest.mark.parametrize(
    ("cls", "args"),
    [
        (ValueError, ("x", 3)),
        (KeyError, ("k",)),
        (OSError, (2, "No such file or directory", "/f")),
        (UnicodeDecodeError, ("utf-8", b"\xff", 0, 1, "bad")),
        (StopIteration, (5,)),
        (MemoryError, ()),
    ],
)
def test_a_builtin_is_the_same_builtin(cls: type[Exception], args: tuple[Any, ...]) -> None:
    local = cls(*args)
    error = rebuild(described("builtins", cls.__name__, args), "alpha")
    assert type(error) is type(local)
    assert error.args == local.args
    assert str(error) == str(local)
    assert "Raised on alpha" in error.__notes__[0]
    assert error.remote_traceback == "trace\n"  # type: ignore[attr-defined]


def test_an_imported_class_is_made_without_its_constructor() -> None:
    error = rebuild(described(__name__, "Ours", (1, 2)), "alpha")
    assert type(error) is Ours
    assert error.args == (1, 2)
    assert Ours.ran == 0
    os_error = rebuild(described(__name__, "OurOsError", (13, "denied", "/f")), "alpha")
    assert type(os_error) is OurOsError
    assert (os_error.errno, os_error.strerror, os_error.filename) == (13, "denied", "/f")


def test_attributes_come_along_but_none_that_matters_here() -> None:
    state = {"returncode": 3, "cmd": ["x"], "output": b"o", "stderr": None, "ROBOT_SKIP_EXECUTION": True, "_x": 1}
    state |= {"with_traceback": 1, "add_note": 2, "__class__": 3, "stdout": b"property"}
    error = rebuild(described("subprocess", "CalledProcessError", (3, ["x"]), state=state), "alpha")
    assert type(error) is subprocess.CalledProcessError
    assert "exit status 3" in str(error)
    assert error.output == b"o"
    assert not hasattr(error, "ROBOT_SKIP_EXECUTION")
    assert not hasattr(error, "_x")
    assert callable(error.with_traceback)


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("unittest", "SkipTest"),
        ("unittest.case", "SkipTest"),
        ("robot.errors", "PassExecution"),
        ("robot.api.exceptions", "SkipExecution"),
        ("_pytest.outcomes", "Skipped"),
        ("pytest", "skip"),
        ("crl.link", "LinkLost"),
        ("concurrent.futures", "CancelledError"),
        (__name__, "SkipTest"),
        (__name__, "PassExecution"),
        (__name__, "Skipper"),
        (__name__, "RobotSkip"),
        ("builtins", "SystemExit"),
        ("builtins", "KeyboardInterrupt"),
        ("builtins", "GeneratorExit"),
        ("builtins", "eval"),
        ("builtins", "int"),
        ("os", "system"),
        ("__main__", "Anything"),
        ("no.such.module", "Error"),
        ("", ""),
    ],
)
def test_what_could_decide_on_a_test_is_a_remote_error(module: str, name: str) -> None:
    error = rebuild(described(module, name, ("x",), "the text"), "alpha")
    assert type(error) is RemoteError
    assert "the text" in str(error)
    assert error.host == "alpha"


def test_a_module_cannot_answer_the_look_with_code(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    class Lazy(types.ModuleType):
        def __getattribute__(self, name: str) -> Any:
            asked.append(name)
            return super().__getattribute__(name)

    monkeypatch.setitem(__import__("sys").modules, "lazy_module_of_a_test", Lazy("lazy_module_of_a_test"))
    asked.clear()
    assert type(rebuild(described("lazy_module_of_a_test", "Error"), "alpha")) is RemoteError
    assert asked == []


def test_a_registered_class_stands_for_a_name_of_the_target() -> None:
    register_exception(Ours, "far.away.Trouble")
    assert type(rebuild(described("far.away", "Trouble", (1, 2)), "alpha")) is Ours


@pytest.mark.parametrize(
    "lie",
    [
        values.encode(None),
        values.encode(("a", "b")),
        values.encode(("builtins", "ValueError", b"junk", "t", "t", b"junk", [], [])),
        values.encode(("builtins", "ValueError", values.encode([]), "t", "t", values.encode({}), [], [])),
        values.encode((1, 2, b"", "t", "t", b"", [], [])),
        values.encode(("builtins", ["ValueError"], values.encode(()), "t", "t", values.encode({}), [], [])),
    ],
)
def test_a_description_that_is_none_is_a_violation(lie: bytes) -> None:
    with pytest.raises(ProtocolError):
        rebuild(lie, "alpha")


@given(
    st.sampled_from(["builtins", "subprocess", "json.decoder", __name__]),
    st.sampled_from(["ValueError", "OSError", "JSONDecodeError", "Ours", "ExceptionGroup", "SyntaxError"]),
    st.lists(st.none() | st.integers() | st.text() | st.lists(st.integers())).map(tuple),
    st.dictionaries(st.text() | st.sampled_from(["args", "errno", "msg", "__dict__"]), st.integers()),
)
def test_lies_about_arguments_give_an_exception_all_the_same(
    module: str, name: str, args: tuple[Any, ...], state: dict[str, int]
) -> None:
    error = rebuild(described(module, name, args, state=state), "alpha")
    assert isinstance(error, Exception)
    assert not isinstance(error, unittest.SkipTest)


def test_end_to_end(link: Link) -> None:
    with pytest.raises(subprocess.CalledProcessError) as called:
        link.evaluate("__import__('subprocess').check_call(['false'])")
    assert called.value.returncode == 1
    with pytest.raises(RemoteError) as skipped:
        link.evaluate("import unittest\nraise unittest.SkipTest('skip me')")
    assert skipped.value.class_name.endswith("SkipTest")
    assert "skip me" in str(skipped.value)
    link.evaluate("class Own(Exception):\n    pass")
    with pytest.raises(RemoteError, match="own text"):
        link.evaluate("raise Own('own text')")
