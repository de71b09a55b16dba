"""Functions of this end on the target: called only when passed, in threads of their own, and forgotten after that."""

from __future__ import annotations

import contextvars
import gc
import os
import signal
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any

import pytest

from crl.interactivesessions.autorunnerterminal import AutoRunnerTerminal
from crl.interactivesessions.remoteproxies import _RecursiveProxy
from crl.interactivesessions.runnerexceptions import RemoteTimeout
from crl.link import ArgumentNotTransferable, Callback, CallCancelled
from tests.link.peers import INTERPRETERS, eventually, freeze
from tests.terminals.conftest import Make

CODE = """
import threading
kept = []
class Thing(object):
    def __init__(self): self.name = 'thing'
def keep(function): kept.append(function)
def drop(): del kept[:]
def call(function, *args, **kwargs): return function(*args, **kwargs)
def catch(function):
    try: function()
    except Exception as error: return type(error).__name__, [base.__name__ for base in type(error).__mro__], str(error)
def many(function, count):
    got = []
    threads = [threading.Thread(target=lambda n=n: got.append(function(n))) for n in range(count)]
    for thread in threads: thread.start()
    for thread in threads: thread.join(30)
    return sorted(got)
"""


class Stop(LookupError):
    """An error of these tests."""


class Doubler:
    """An object that can be called."""

    def double(self, number: int) -> int:
        return 2 * number

    __call__ = double


def doubled(number: int) -> int:
    """A function of a module of the user's."""
    return 2 * number


@pytest.fixture(autouse=True)
def code(shared: AutoRunnerTerminal) -> None:
    shared.run_python(CODE)


def waits(condition: Callable[[], bool]) -> None:
    assert eventually(condition)


def test_functions_of_every_kind_are_called_here(shared: AutoRunnerTerminal) -> None:
    seen: list[int] = []
    for function in (doubled, lambda number: 2 * number, Callback(doubled), Callback(Doubler())):
        assert shared.run_python_call("call", function, 4) == 8
    shared.run_python_call("call", seen.append, 4)
    assert seen == [4]
    assert list(shared.get_recursive_proxy("map")(doubled, [1, 2])) == [2, 4]
    assert shared.run_python_call("call", {"f": 1}.get, "f") == 1
    assert shared.run_python_call("(lambda d: d['f'][0](3))", {"f": [doubled]}) == 6
    assert shared.run_python_call("sorted", ["bb", "a"], key=lambda text: -len(text)) == ["bb", "a"]


def test_functions_that_the_target_has_are_called_there(shared: AutoRunnerTerminal) -> None:
    assert shared.run_python_call("call", os.getpid) == shared.link.facts.pid
    assert shared.run_python_call("call", Callback(os.getpid)) == os.getpid()
    assert shared.run_python_call("call", len, [1, 2]) == 2
    assert shared.run_python_call("call", os.path.join, "a", "b") == "a/b"
    assert shared.run_python_call("call", dict.fromkeys, ["a"]) == {"a": None}


@pytest.mark.parametrize("python", [INTERPRETERS[0], INTERPRETERS[-1]])
def test_on_other_interpreters(make: Make, python: str) -> None:
    terminal = make()
    terminal.python = python
    terminal.initialize_if_needed()
    terminal.run_python(CODE)
    assert terminal.run_python_call("call", lambda text, **more: (text, more), "ä", a=1) == ("ä", {"a": 1})
    assert terminal.run_python_call("many", doubled, 8) == [2 * n for n in range(8)]
    with pytest.raises(Stop, match="no more"):
        terminal.run_python_call("call", _stops)


def _stops() -> None:
    raise Stop("no more")


def test_what_it_raises_is_raised_there_and_comes_back(shared: AutoRunnerTerminal) -> None:
    def fail() -> None:
        raise FileNotFoundError(2, "no such thing", "/x")

    with pytest.raises(Stop, match="no more") as caught:
        shared.run_python_call("call", _stops)
    assert "_stops" in getattr(caught.value, "controller_traceback", "")
    name, bases, text = shared.run_python_call("catch", _stops)
    assert (name, bases[1], text) == ("Stop", "LookupError", "no more")
    with pytest.raises(FileNotFoundError) as missing:
        shared.run_python_call("call", fail)
    assert (missing.value.errno, missing.value.filename) == (2, "/x")
    with pytest.raises(RuntimeError, match="out"):
        shared.run_python_call("call", lambda: exec("raise SystemExit('out')"))


def test_what_cannot_cross_becomes_a_proxy_and_back(shared: AutoRunnerTerminal) -> None:
    got: list[Any] = []

    def take(first: Any, thing: Any, more: Any = None) -> Any:
        got.extend((first, thing.name, more.name, type(thing)))
        return thing

    thing = shared.get_proxy_object_from_call("Thing")
    assert shared.run_python_call("(lambda f, t: f(1, t, more=t) is t)", take, thing) is True
    assert got == [1, "thing", "thing", _RecursiveProxy]
    lock = threading.Lock()
    with pytest.raises(TypeError, match="cannot cross"):
        shared.run_python_call("call", lambda: lock)


def test_it_may_use_the_terminal_and_nest(shared: AutoRunnerTerminal) -> None:
    numbers = shared.get_proxy_object_from_call("list", [1]).as_recursive_proxy()

    def count(depth: int) -> int:
        numbers.append(depth)
        return depth + (shared.run_python_call("call", count, depth - 1) if depth else len(numbers))

    assert shared.run_python_call("call", count, 20) == sum(range(21)) + 22


def test_one_that_blocks_holds_up_nobody(shared: AutoRunnerTerminal) -> None:
    go = threading.Event()
    with pytest.raises(RemoteTimeout) as caught:
        shared.run_python_call_with_timeout(-1, "call", (lambda: go.wait(30),))
    assert shared.run_python("6 * 7") == 42
    assert caught.value.done() is False
    go.set()
    assert caught.value.result(30) is True


def test_a_call_that_waits_for_one_can_be_cancelled(shared: AutoRunnerTerminal) -> None:
    go = threading.Event()
    with pytest.raises(RemoteTimeout) as caught:
        shared.run_python_call_with_timeout(-1, "call", (lambda: go.wait(30),))
    assert caught.value.cancel(30)
    with pytest.raises(CallCancelled):
        caught.value.result(30)
    go.set()
    assert shared.run_python("6 * 7") == 42


def test_threads_of_the_target_call_beside_each_other(shared: AutoRunnerTerminal) -> None:
    together = threading.Barrier(20, timeout=20)

    def meet(number: int) -> int:
        together.wait()
        return number

    assert shared.run_python_call("many", meet, 20) == list(range(20))
    waits(lambda: not [thread for thread in threading.enumerate() if thread.name == "crl-callback"])


def test_they_run_in_the_context_of_who_passed_them(shared: AutoRunnerTerminal) -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="outside")
    variable.set("inside")
    assert shared.run_python_call("call", lambda: (variable.get(), threading.current_thread().name)) == (
        "inside",
        "crl-callback",
    )


def test_one_function_is_one_object_there_until_nothing_holds_it(shared: AutoRunnerTerminal) -> None:
    owner = Doubler()
    gone = weakref.ref(owner)
    shared.run_python_call("keep", owner.double)
    shared.run_python_call("keep", owner.double)
    assert shared.run_python("kept[0] is kept[1]") is True
    del owner
    gc.collect()
    assert shared.run_python("kept[0](5)") == 10
    shared.run_python("drop()")
    requests = shared.link.statistics.requests
    assert shared.run_python_call("call", doubled, 1) == 2
    waits(lambda: gone() is None)
    assert shared.link.statistics.requests == requests + 1


def test_what_was_not_passed_is_refused(shared: AutoRunnerTerminal) -> None:
    shared.run_python_call("call", doubled, 1)
    ask = "__import__('sys').modules['_crl.remote.callbacks'].CALLBACKS.ask"
    with pytest.raises(PermissionError, match="not passed"):
        shared.run_python(f"{ask}(4711, (), {{}})")
    assert shared.link.alive


def test_a_function_that_was_sent_is_called_there(shared: AutoRunnerTerminal, tmp_path: Any) -> None:
    from crl.interactivesessions.remoteimporter import RemoteImporter

    (tmp_path / "crl_sent_example.py").write_text("import os\ndef where(): return os.getpid()\n")
    module = RemoteImporter(shared).importfile(str(tmp_path / "crl_sent_example.py"))
    assert shared.run_python_call("call", module.where) == shared.link.facts.pid


def test_a_forked_child_and_the_reader_may_not_call(shared: AutoRunnerTerminal) -> None:
    shared.run_python_call("keep", doubled)
    shared.run_python(
        "def forked():\n"
        "    import os\n"
        "    read, write = os.pipe()\n"
        "    pid = os.fork()\n"
        "    if not pid:\n"
        "        try: kept[-1](1)\n"
        "        except BaseException as error: os.write(write, str(error).encode())\n"
        "        os._exit(0)\n"
        "    os.waitpid(pid, 0)\n"
        "    return os.read(read, 1000).decode()\n"
    )
    assert "forked" in shared.run_python("forked()")
    # A finalizer runs wherever the last reference goes: here in the thread that reads.
    shared.run_python(
        "said = []\n"
        "class Last(object):\n"
        "    def __del__(self):\n"
        "        try: said.append(kept[-1](2))\n"
        "        except BaseException as error: said.append(str(error))\n"
    )
    last = shared.get_proxy_object_from_call("Last")
    name = last.get_proxy_handle()
    del last
    shared.link.release([str(name)])
    waits(lambda: shared.run_python("len(said)") == 1)
    assert "nothing would read" in shared.run_python("said[0]")


def test_what_can_be_no_argument_says_what_to_do(shared: AutoRunnerTerminal) -> None:
    with pytest.raises(ArgumentNotTransferable, match=r"(?s)lock.*cannot pickle.*What to do: .*proxy") as caught:
        shared.run_python_call("len", threading.Lock())
    assert caught.value.host == shared.host
    assert isinstance(caught.value, TypeError)
    assert shared.run_python("1") == 1


def test_the_first_one_waits_no_longer_than_its_call(make: Make) -> None:
    terminal = make()
    terminal.initialize_if_needed()
    freeze(terminal.link.facts.pid)
    started = time.monotonic()
    try:
        with pytest.raises(RemoteTimeout, match="never sent"):
            terminal.run_python_call_with_timeout(0.3, "(lambda f: f(1))", (doubled,))
        plain = terminal.get_recursive_proxy("str")
        plain.set_remote_proxy_timeout(0.3)
        with pytest.raises(RemoteTimeout, match="never sent"):
            plain(doubled)
    finally:
        os.kill(terminal.link.facts.pid, signal.SIGCONT)
    assert time.monotonic() - started < 15
    assert terminal.run_python_call("(lambda f: f(1))", doubled) == 2


def test_the_session_closes_while_one_runs(make: Make) -> None:
    terminal = make()
    terminal.initialize_if_needed()
    begun, go = threading.Event(), threading.Event()

    def wait() -> None:
        begun.set()
        go.wait(30)

    with pytest.raises(RemoteTimeout):
        terminal.run_python_call_with_timeout(-1, "(lambda f: f())", (wait,))
    assert begun.wait(30)
    started = time.monotonic()
    terminal.close()
    assert time.monotonic() - started < 20
    go.set()
