"""`RunnerTerminal` and `AutoRunnerTerminal`: every listed method, its limits, and what becomes of late calls."""

from __future__ import annotations

import pickle
import threading
import time
import warnings
from typing import Any

import pytest

from crl.errors import UsageError
from crl.interactivesessions.autorecoveringterminal import AutoRecoveringTerminal
from crl.interactivesessions.autorunnerterminal import AutoRunnerTerminal
from crl.interactivesessions.InteractiveSession import InteractiveSession
from crl.interactivesessions.runnerexceptions import (
    InvalidProxySession,
    RemoteTimeout,
    RunnerTerminalSessionBroken,
    RunnerTerminalSessionClosed,
    RunnerTerminalUnableToDeserialize,
)
from crl.interactivesessions.runnerterminal import RunnerTerminal
from crl.interactivesessions.shells.bashshell import BashShell
from tests.terminals.conftest import Make, gate, reopen


def test_run_python(shared: AutoRunnerTerminal) -> None:
    assert shared.run_python("1 + 1") == 2
    assert shared.run_python("number = 5\nnumber += 1") is None
    assert shared.run_python("number") == 6
    assert shared.run_python("{'a': [1, (2.5, None)], b'x': {3}}") == {"a": [1, (2.5, None)], b"x": {3}}
    assert shared.run_python("def twice(x):\n    return 2 * x\n\ntwice") is None
    assert shared.run_python("twice('ä')") == "ää"


def test_exceptions_of_the_target_are_raised_and_break_nothing(shared: AutoRunnerTerminal) -> None:
    session_id = shared.session_id
    with pytest.raises(ZeroDivisionError) as caught:
        shared.run_python("1 / 0")
    assert "ZeroDivisionError" in "".join(caught.value.__notes__)
    with pytest.raises(NameError):
        shared.run_python("nobody_knows_this")
    with pytest.raises(SyntaxError):
        shared.run_python("1 +")
    with pytest.raises(Exception, match="out of here") as left:
        shared.run_python("raise SystemExit('out of here')")
    assert not isinstance(left.value, RunnerTerminalSessionBroken)
    assert shared.session_id == session_id
    assert shared.run_python("1") == 1


def test_what_cannot_cross_fails_alone(shared: AutoRunnerTerminal) -> None:
    for source in ("open('/dev/null')", "lambda: 0", "(x for x in [])", "threading.Lock()", "os"):
        with pytest.raises(RunnerTerminalUnableToDeserialize, match="proxy"):
            shared.run_python(source)
    assert shared.run_python("1") == 1


def test_run_gives_text(shared: AutoRunnerTerminal) -> None:
    assert shared.run("'text'") == "text"
    assert shared.run("b'bytes'") == b"bytes"
    assert shared.run("[1, 2]", timeout=10, _rerun=True) == "[1, 2]"
    assert shared.run("value = 1") == ""
    assert "lambda" in str(shared.run("lambda: 0"))
    with pytest.raises(RunnerTerminalSessionBroken) as caught:
        shared.run("1 / 0")
    assert isinstance(caught.value.args[0], ZeroDivisionError)
    assert shared.run("1") == "1"


def test_run_runs_once(shared: AutoRunnerTerminal) -> None:
    shared.run_python("ran = []\ndef run_me():\n    ran.append(1)\n    return os")
    assert "module 'os'" in str(shared.run("run_me()"))
    assert shared.run_python("len(ran)") == 1


def test_calls(shared: AutoRunnerTerminal) -> None:
    assert shared.run_python_call("os.path.join", "a", "b") == "a/b"
    assert shared.run_python_call("sorted", [1, 3, 2], reverse=True) == [3, 2, 1]
    assert shared.run_python_call_with_timeout(5, "dict", ([("a", 1)],), {"b": 2}) == {"a": 1, "b": 2}
    open_gate = gate(shared)
    with pytest.raises(RemoteTimeout):
        shared.run_python_call_with_timeout(0.05, "gate.wait", (30,), {})
    open_gate()


def test_proxies_as_arguments(shared: AutoRunnerTerminal) -> None:
    numbers = shared.get_proxy_object_from_call("list", [3, 1])
    assert shared.run_python_call("len", numbers) == 2
    assert shared.run_python_call("sorted", numbers) == [1, 3]
    nested = shared.run_python_call("(lambda d, *, k: d['x'][1][0] is k)", {"x": (1, [numbers])}, k=numbers)
    assert nested is True
    assert shared.run_python_call("(lambda f: f(2))", numbers.count) == 0


def test_assign_and_run(shared: AutoRunnerTerminal) -> None:
    answer = shared.assign_and_run_python("kept", "[1, 2]")
    assert not answer.isobj
    assert answer == (False, None)
    assert shared.run_python("kept") == [1, 2]
    assert shared.assign_and_run_python("kept", "'text'", timeout=5) == (True, "text")
    assert shared.run_python("kept") == "text"
    assert shared.run_and_return_handled_python("kept") == (True, "text")
    assert shared.run_and_return_handled_python("os") == (False, None)
    open_gate = gate(shared)
    with pytest.raises(RemoteTimeout) as caught:
        shared.assign_and_run_python("late", "gate.wait(30) and 7", timeout=0.02)
    open_gate()
    assert shared.get_response(caught.value, 30) == (True, 7)
    assert shared.run_python("late") == 7


def test_imports_callable_isproxy_serialize(shared: AutoRunnerTerminal) -> None:
    shared.import_libraries("xml.dom.minidom", "json")
    shared.import_libraries()
    assert shared.run_python("json.dumps(None)") == "null"
    with pytest.raises(ImportError):
        shared.import_libraries("no_such_module")
    assert shared.iscallable("os.getpid")
    assert not shared.iscallable("os.sep")
    proxy = shared.get_proxy_object("os", None)
    assert shared.isproxy(proxy)
    assert RunnerTerminal.isproxy(shared.create_empty_recursive_proxy())
    assert not shared.isproxy(proxy.getpid)
    assert not shared.isproxy("os")
    assert pickle.loads(shared.serialize({"a": 1})) == {"a": 1}


def test_proxies_from_calls(shared: AutoRunnerTerminal) -> None:
    assert shared.get_proxy_object_from_call("int", "5").as_local_value() == 5
    assert shared.get_proxy_or_basic_from_call("int", "5") == 5
    assert shared.isproxy(shared.get_proxy_or_basic_from_call("list", (1,)))
    assert shared.get_proxy_or_basic_from_call_with_timeout(5, "float", ("1.5",), {}) == 1.5
    open_gate = gate(shared)
    with pytest.raises(RemoteTimeout) as caught:
        shared.get_proxy_or_basic_from_call_with_timeout(0.02, "(lambda: gate.wait(30) and [1])", (), {})
    open_gate()
    late = shared.get_response(caught.value, 30)
    assert late.as_local_value() == [1]
    assert shared.get_response(caught.value) is late


def test_timeouts(shared: AutoRunnerTerminal) -> None:
    open_gate = gate(shared)
    started = time.monotonic()
    with pytest.raises(RemoteTimeout) as caught:
        shared.run_python("gate.wait(30) and 'done'", timeout=0.2)
    assert 0.15 < time.monotonic() - started < 15
    with pytest.raises(RemoteTimeout) as again:
        shared.get_response(caught.value, 0.05)
    assert again.value is caught.value
    open_gate()
    assert shared.get_response(caught.value) == "done"
    assert shared.get_response(caught.value, 0) == "done"
    open_gate = gate(shared)
    started = time.monotonic()
    with pytest.raises(RemoteTimeout) as negative:
        shared.run_python("gate.wait(30) and 1", timeout=-1)
    assert time.monotonic() - started < 15
    open_gate()
    assert shared.get_response(negative.value, 30) == 1


def test_late_exceptions_are_redeemed(shared: AutoRunnerTerminal) -> None:
    open_gate = gate(shared)
    with pytest.raises(RemoteTimeout) as caught:
        shared.run_python("gate.wait(30) and 1 / 0", timeout=0)
    open_gate()
    with pytest.raises(ZeroDivisionError):
        shared.get_response(caught.value, 30)


def test_default_timeout(make: Make) -> None:
    terminal = make()
    terminal.initialize_if_needed()
    assert terminal.default_timeout == 3600
    assert terminal.prompt_timeout == 30
    terminal.set_default_timeout(0.1)
    with pytest.raises(RemoteTimeout):
        terminal.run_python("__import__('time').sleep(30)")


def test_many_threads_do_not_wait_for_each_other(shared: AutoRunnerTerminal) -> None:
    answers: dict[int, list[Any]] = {}

    def ask(number: int) -> None:
        answers[number] = [shared.run_python(f"({number}, {step})") for step in range(100)]

    open_gate = gate(shared)
    threads = [threading.Thread(target=shared.run_python, args=("gate.wait(100)",))]
    threads += [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads[1:]:
        thread.join(60)
    assert answers == {number: [(number, step) for step in range(100)] for number in range(8)}
    assert threads[0].is_alive()
    open_gate()
    threads[0].join(30)
    assert not threads[0].is_alive()


def test_closed(make: Make) -> None:
    terminal = make()
    with pytest.raises(RunnerTerminalSessionClosed, match="not open"):
        terminal.run_python("1")
    terminal.initialize_if_needed()
    proxy = terminal.get_recursive_proxy("str")
    assert proxy(1) == "1"
    first = terminal.session_id
    terminal.close()
    with pytest.raises(RunnerTerminalSessionClosed, match="is closed"):
        terminal.run_python("1")
    with pytest.raises(RunnerTerminalSessionClosed):
        terminal.run("1")
    with pytest.raises(RunnerTerminalSessionClosed):
        terminal.initialize_if_needed()
    with pytest.raises(InvalidProxySession):
        proxy(1)
    terminal.close()
    reopen(terminal)
    terminal.initialize_if_needed()
    assert terminal.session_id not in (first, None)
    with pytest.raises(InvalidProxySession):
        proxy(1)


def test_initialize_variants(nothing_left: None) -> None:
    terminal = AutoRunnerTerminal()
    with pytest.raises(RunnerTerminalSessionClosed, match="not initialized"):
        terminal.initialize_if_needed()
    with pytest.raises(TypeError, match="AutoRecoveringTerminal"):
        terminal.initialize(InteractiveSession())  # type: ignore[arg-type]
    terminal.initialize_with_shelldicts([{"shellname": "BashShell"}, {"shellname": "BashShell", "workdir": "/"}])
    terminal.initialize_if_needed()
    assert terminal.run_python("__import__('os').getcwd()") == "/"
    terminal.close()


class Wrapper:
    """What a `RunnerTerminal` is initialized with: something with a session."""

    def __init__(self) -> None:
        self.session: InteractiveSession | None = None

    def get_session(self) -> InteractiveSession | None:
        return self.session


def test_runner_terminal_on_a_session_of_the_user(nothing_left: None) -> None:
    wrapper = Wrapper()
    terminal = RunnerTerminal()
    with pytest.raises(RunnerTerminalSessionClosed):
        terminal.initialize(wrapper)
    with InteractiveSession() as session:
        session.spawn(BashShell())
        wrapper.session = session
        terminal.initialize(wrapper)
        assert terminal.run_python("1 + 1") == 2
        terminal.initialize_if_needed()
        terminal.close()
        with pytest.raises(RunnerTerminalSessionClosed):
            terminal.run_python("1")
        assert session.current_shell().exec_command("echo the shell is back").strip() == "the shell is back"
        terminal.initialize(wrapper)
        assert terminal.run_python("2") == 2
        terminal.close()


def test_a_shell_without_a_lane_is_refused(make: Make) -> None:
    from crl.interactivesessions.shells.pythonshell import PythonShell

    session = AutoRecoveringTerminal()
    session.initialize([BashShell(), PythonShell("python3")], max_tries=3, sleep_between_tries=30)
    terminal = AutoRunnerTerminal()
    terminal.initialize(session)
    with pytest.raises(Exception, match="PythonShell cannot carry a link"):
        terminal.initialize_if_needed()
    terminal.close()


def test_handled_types(make: Make) -> None:
    class Wide(AutoRunnerTerminal):
        HANDLED_TYPES = (int, list)
        _IMPORTS = ("os", "os.path")

    class Named(AutoRunnerTerminal):
        HANDLED_TYPES = "(dict, __import__('collections').OrderedDict)"

    wide = make(cls=Wide)
    wide.initialize_if_needed()
    assert wide.get_proxy_or_basic_from_call("list", (1, 2)) == [1, 2]
    assert wide.isproxy(wide.get_proxy_or_basic_from_call("str", 1))
    assert wide.run_python("os.path.sep") == "/"
    named = make(cls=Named)
    named.initialize_if_needed()
    assert set(named.handled_types) == {"dict", "collections.OrderedDict"}
    assert named.get_proxy_or_basic_from_call("dict") == {}


def test_pickle_is_an_opt_in_with_a_warning(make: Make) -> None:
    class Restricted(pickle.Unpickler):
        pass

    class Pickling(AutoRunnerTerminal):
        UNPICKLER = Restricted

    terminal = make(cls=Pickling)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        terminal.initialize_if_needed()
    assert any("unpickles what the target sends" in str(one.message) for one in caught)
    terminal.import_libraries("fractions")
    value = terminal.run_python("fractions.Fraction(1, 3)")
    assert (value.numerator, value.denominator) == (1, 3)
    assert terminal.run_python("slice(1, 2)") == slice(1, 2)
    assert terminal.run_python_call("slice", 1) == slice(1)
    assert terminal.get_proxy_object("fractions").Fraction(1, 2) == 0.5
    assert terminal.run_python("x = 1") is None
    open_gate = gate(terminal)
    with pytest.raises(RemoteTimeout) as late:
        terminal.run_python("gate.wait(30) and slice(5)", timeout=0.01)
    open_gate()
    assert terminal.get_response(late.value) == slice(5)


def test_context_manager_on_the_target(make: Make) -> None:
    class Wrapped(AutoRunnerTerminal):
        TARGET_CONTEXTMANAGER = "__import__('warnings').catch_warnings"

    terminal = make(cls=Wrapped)
    terminal.initialize_if_needed()
    terminal.import_libraries("warnings")
    terminal.run_python("warnings.simplefilter('error')\nwarnings.marker = 1")
    assert terminal.run_python("any(f[0] == 'error' and f[2] is Warning for f in warnings.filters)") is False
    assert terminal.run_python_call("warnings.filters.__len__") > 0


def test_garbage_goes_with_later_calls(make: Make) -> None:
    terminal = make()
    terminal.initialize_if_needed()
    count = "len(_PROXY_CONTAINER)"
    start = terminal.run_python(count)
    for _ in range(250):
        terminal.get_proxy_object_from_call("list")
    requests = terminal.link.statistics.requests
    assert terminal.run_python(count) - start <= 2 * terminal.MAX_GARBAGE + 2
    assert terminal.link.statistics.requests == requests + 1
    kept = terminal.get_proxy_object_from_call("list")
    terminal.add_handle_to_garbage("another session", kept.get_proxy_handle())
    for _ in range(101):
        terminal.add_handle_to_garbage(str(terminal.session_id), "nobody")
    terminal.run_python("nobody = 1")
    assert kept.as_local_value() == []
    assert terminal.run_python("'nobody' in globals()") is True


def test_answers_nobody_wants_are_dropped(make: Make) -> None:
    terminal = make()
    terminal.initialize_if_needed()
    before = terminal.run_python("len(_PROXY_CONTAINER)")
    for _ in range(120):
        with pytest.raises(RemoteTimeout):
            terminal.get_proxy_or_basic_from_call_with_timeout(-1, "list")
    for _ in range(150):
        terminal.run_python("None")
    assert terminal.run_python("len(_PROXY_CONTAINER)") - before <= terminal.MAX_GARBAGE + 4


def test_usage_errors_do_not_close(make: Make) -> None:
    terminal = make()
    terminal.initialize_if_needed()
    session_id = terminal.session_id
    assert terminal.session is not None
    session = terminal.session.get_session()
    assert session is not None
    with pytest.raises(UsageError, match="in use by"):
        session.current_shell().exec_command("echo")
    with pytest.raises((TypeError, AttributeError, pickle.PicklingError)):
        terminal.run_python_call("len", threading.Lock())
    assert terminal.session_id == session_id
    assert terminal.run_python("1") == 1
