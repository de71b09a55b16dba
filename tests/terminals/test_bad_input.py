"""Bad input of every kind: an error of its own that says where, what, why and what next, and a session that lives on.

Invariant: after each of these the session answers, unless the error is that it is lost; then it is opened anew.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from crl.errors import CrlError, WrongArgument
from crl.interactivesessions.autorecoveringterminal import AutoRecoveringTerminal
from crl.interactivesessions.autorunnerterminal import AutoRunnerTerminal
from crl.interactivesessions.InteractiveSession import InteractiveSession
from crl.interactivesessions.interactivesessionexceptions import ShellEnded, ShellStateError
from crl.interactivesessions.remoterunner import RemoteRunner
from crl.interactivesessions.runnerexceptions import (
    InvalidProxySession,
    RunnerTerminalSessionBroken,
    RunnerTerminalSessionClosed,
    RunnerTerminalUnableToDeserialize,
)
from crl.interactivesessions.shells.bashshell import BashShell
from crl.interactivesessions.shells.registershell import UnregisteredShell
from crl.interactivesessions.shells.shell import TimeoutError as ShellTimeoutError
from crl.link import ArgumentNotTransferable
from tests.terminals.conftest import Make


def says(error: CrlError, *parts: str) -> None:
    """An error's text has these parts, and something to do next."""
    text = str(error)
    for part in (*parts, "What to do: "):
        assert part in text, text


@pytest.fixture
def lives(shared: AutoRunnerTerminal) -> Iterator[AutoRunnerTerminal]:
    """The shared terminal; afterwards it is the same session."""
    before = shared.session_id
    yield shared
    assert shared.run_python("6 * 7") == 42
    assert shared.session_id == before


@pytest.fixture
def bash() -> Iterator[BashShell]:
    """A bash in a session of its own."""
    session, shell = InteractiveSession(), BashShell()
    session.spawn(shell)
    yield shell
    session.close_terminal()


# -- shells and arguments --------------------------------------------------------------------------------------------

DESCRIPTIONS: list[tuple[Any, type[CrlError], str]] = [
    ([{"shellname": "NoShell"}], UnregisteredShell, "there is no shell 'NoShell'"),
    ([{"shellname": 5}], UnregisteredShell, "there is no shell 5"),
    ([{"shellname": "BashShell", "bogus": 1}], WrongArgument, "bogus"),
    ([{"host": "x", "usr": "y"}], WrongArgument, "no 'usr'"),
    ([{"host": None}], WrongArgument, "the host None"),
    ([{}], CrlError, "needs a 'host'"),
    (["host"], WrongArgument, "'host' does not describe a shell"),
    ("host", WrongArgument, "'host' does not describe a shell"),
    (5, WrongArgument, "5 does not describe a shell"),
]


@pytest.mark.parametrize(("described", "kind", "text"), DESCRIPTIONS)
def test_shells_that_are_none(described: Any, kind: type[CrlError], text: str) -> None:
    with pytest.raises(kind) as caught:
        AutoRunnerTerminal().initialize_with_shelldicts(described)
    says(caught.value, text)


@pytest.mark.parametrize("shells", ["host", BashShell, 5, [BashShell(), "host"], None])
def test_stacks_of_other_things(shells: Any) -> None:
    with pytest.raises(WrongArgument) as caught:
        AutoRecoveringTerminal().initialize(shells)
    says(caught.value, "is no shell", "SshShell")


def test_an_unregistered_shell_says_which_there_are() -> None:
    with RemoteRunner() as runner:
        runner.set_target([{"shellname": "Nix"}])
        with pytest.raises(UnregisteredShell) as caught:
            runner.execute_command_in_target("true")
        says(caught.value, "BashShell", "SudoShell", "@RegisterShell()")
        with pytest.raises(WrongArgument) as wrong:
            runner.set_target("host")  # type: ignore[arg-type]
        says(wrong.value, "does not describe a shell")


def test_arguments_of_the_wrong_kind(lives: AutoRunnerTerminal) -> None:
    anything: Any = lives
    for use in (
        lambda: anything.run_python(5),
        lambda: anything.run_python("1", timeout="soon"),
        lambda: list(anything.stream_python("[]", 0)),
    ):
        with pytest.raises(WrongArgument) as caught:
            use()
        says(caught.value)
    with pytest.raises(AttributeError):
        lives.get_recursive_proxy("os").no_such_name  # noqa: B018
    with pytest.raises(ImportError, match="no_such_module"):
        lives.import_libraries("no_such_module")
    with pytest.raises(NameError, match="no_such_name"):
        lives.run_python("no_such_name")


# -- code ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", ["1 +", "def f(:\n pass", "if True:\nx = 1", "1\0", "'\udcff'"])
def test_syntax_errors_are_that_and_say_where(lives: AutoRunnerTerminal, code: str) -> None:
    with pytest.raises((SyntaxError, UnicodeEncodeError, ValueError)) as caught:
        lives.run_python(code)
    assert f"Raised on {lives.host}" in caught.value.__notes__[-1]


def test_recursion_there_and_in_values(lives: AutoRunnerTerminal) -> None:
    lives.run_python("def deeper(n): return deeper(n + 1)\nround_about = []\nround_about.append(round_about)")
    with pytest.raises(RecursionError):
        lives.run_python("deeper(0)")
    for code in ("round_about", "__import__('functools').reduce(lambda inner, _: [inner], range(1000), [])"):
        with pytest.raises(RunnerTerminalUnableToDeserialize) as caught:
            lives.run_python(code)
        says(caught.value, lives.host, "nested deeper than 100", "proxy")
    nested: list[Any] = []
    for _ in range(100_000):
        nested = [nested]
    with pytest.raises(ArgumentNotTransferable) as deep:
        lives.run_python_call("len", nested)
    says(deep.value, lives.host, "nested too deep")


class Odd:
    """Something that answers pickle with an error of its own."""

    def __reduce__(self) -> Any:
        raise ZeroDivisionError("no")


@pytest.mark.parametrize("argument", [threading.Lock(), Odd(), [Odd()], iter([Odd()])])
def test_arguments_that_cannot_cross(lives: AutoRunnerTerminal, argument: Any) -> None:
    requests = lives.link.statistics.requests
    with pytest.raises(ArgumentNotTransferable) as caught:
        lives.run_python_call("len", argument)
    says(caught.value, lives.host, "cannot cross", "proxy")
    assert lives.link.statistics.requests == requests


@pytest.mark.parametrize("code", ["threading.Lock()", "(i for i in [])", "open('/dev/null')", "{1: [object()]}"])
def test_results_that_cannot_cross(lives: AutoRunnerTerminal, code: str) -> None:
    with pytest.raises(RunnerTerminalUnableToDeserialize) as caught:
        lives.run_python(code)
    says(caught.value, lives.host, "cannot cross", "proxy", "stream_python")
    assert lives.isproxy(lives.get_proxy_object_from_call(f"(lambda: {code})"))


# -- what is too large -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", ["bytes(1 << 30)", "'x' * (1 << 29)"])
def test_a_result_of_a_gibibyte_is_refused_with_advice(lives: AutoRunnerTerminal, code: str) -> None:
    with pytest.raises(RunnerTerminalUnableToDeserialize) as caught:
        lives.run_python(code)
    says(caught.value, lives.host, "268435456", "stream_python")


def test_an_argument_of_a_gibibyte_is_refused_with_advice(lives: AutoRunnerTerminal) -> None:
    with pytest.raises(ArgumentNotTransferable) as caught:
        lives.run_python_call("len", bytes(1 << 30))
    says(caught.value, lives.host, "1073741824", "file")


def test_a_large_value_comes_in_pieces_when_asked(lives: AutoRunnerTerminal) -> None:
    lives.run_python("large = bytes(bytearray(range(256))) * (1 << 14)")
    pieces = list(lives.stream_python("large", 1 << 20))
    assert [len(piece) for piece in pieces] == [1 << 20] * 4
    assert b"".join(pieces) == bytes(range(256)) * (1 << 14)
    assert "".join(lives.stream_python("'ä' * 10", 3)) == "ä" * 10
    assert list(lives.stream_python("(n * n for n in range(5))", 2)) == [[0, 1], [4, 9], [16]]
    assert list(lives.stream_python("{'a': 1, 'b': 2}", 1)) == [["a"], ["b"]]
    assert list(lives.stream_python(lives.get_recursive_proxy("[1, 2, 3]"), 2)) == [[1, 2], [3]]
    assert list(lives.stream_python("[]")) == []
    assert list(lives.stream_python("range(5)", 2)) == [range(2), range(2, 4), range(4, 5)]
    with pytest.raises(ZeroDivisionError):
        list(lives.stream_python("(1 // n for n in (1, 0))", 1))


@pytest.mark.long
@pytest.mark.timeout(600)
def test_a_gibibyte_comes_in_pieces(lives: AutoRunnerTerminal) -> None:
    assert sum(map(len, lives.stream_python("bytes(1 << 30)", 4 << 20))) == 1 << 30


# -- output and disks ------------------------------------------------------------------------------------------------


def test_output_that_is_no_utf8(lives: AutoRunnerTerminal, bash: BashShell) -> None:
    assert bash.exec_command("printf '\\377\\376a\\n'") == "\udcff\udcfea\r\n"
    assert bash.exec_command("echo 1") == "1\r\n"
    assert lives.run_python("b'\\xff\\xfe'.decode('utf-8', 'surrogateescape')") == "\udcff\udcfe"
    with RemoteRunner() as runner:
        runner.set_target([{"shellname": "BashShell"}])
        result = runner.execute_command_in_target("printf '\\377a'; printf '\\376' >&2; exit 3")
        assert result == ("3", "\\xffa", "\\xfe")


def test_a_full_disk_is_the_error_of_who_writes(lives: AutoRunnerTerminal, bash: BashShell) -> None:
    with pytest.raises(OSError, match="No space left on device") as caught:
        lives.run_python_call("(lambda: open('/dev/full', 'w', 1).write('x' * 100000))")
    assert f"Raised on {lives.host}" in caught.value.__notes__[-1]
    assert "No space left" in bash.exec_command("echo x > /dev/full")
    with RemoteRunner() as runner:
        runner.set_target([{"shellname": "BashShell"}])
        result = runner.execute_command_in_target("echo x > /dev/full")
        assert result.status == "1"
        assert "No space left on device" in result.stderr


# -- closed, lost and replaced ---------------------------------------------------------------------------------------


def test_a_closed_terminal(make: Make) -> None:
    terminal = make()
    terminal.initialize_if_needed()
    proxy = terminal.get_proxy_object_from_call("list")
    terminal.close()
    for use in (lambda: terminal.run_python("1"), lambda: terminal.run("1"), terminal.initialize_if_needed):
        with pytest.raises(RunnerTerminalSessionClosed) as caught:
            use()
        says(caught.value, "the terminal is closed", "initialize")
    with pytest.raises(InvalidProxySession, match="closed"):
        proxy.append(1)
    with pytest.raises(RunnerTerminalSessionClosed) as never:
        AutoRunnerTerminal().run_python("1")
    says(never.value, "not open")


def test_a_proxy_of_another_session(lives: AutoRunnerTerminal, make: Make) -> None:
    other = make()
    other.initialize_if_needed()
    foreign = other.get_proxy_object_from_call("list")
    with pytest.raises(InvalidProxySession) as caught:
        lives.run_python_call("len", foreign)
    says(caught.value, "another session", str(foreign.get_proxy_handle()), "as_local_value")
    assert foreign.as_local_value() == []


DEATHS = {
    "os._exit(3)": "ended by force",
    "os.kill(os.getpid(), 9)": "SIGKILL",
    "__import__('ctypes').string_at(0)": "SIGSEGV",
    "os.execv('/bin/sleep', ['sleep', '0'])": "ended by force",
}


@pytest.mark.parametrize("code", DEATHS)
def test_a_python_that_dies(make: Make, code: str) -> None:
    terminal = make()
    proxy = terminal.create_empty_recursive_proxy()
    terminal.initialize_if_needed()
    terminal.import_libraries("os")
    proxy.set_from_remote_proxy(terminal.get_recursive_proxy("os"))
    with pytest.raises(RunnerTerminalSessionBroken) as caught:
        terminal.run_python(code, timeout=20)
    says(caught.value, terminal.host, DEATHS[code], "initialize_if_needed")
    assert "Last seen" not in str(caught.value)
    with pytest.raises(InvalidProxySession) as gone:
        proxy.getpid()
    says(gone.value, "prepare()")
    terminal.initialize_if_needed()
    assert terminal.run_python("6 * 7") == 42


@pytest.mark.parametrize(("command", "status"), [("exec sleep 0.2", "0"), ("exit 3", "3"), ("kill -9 $$", "-9")])
def test_a_shell_that_ends(bash: BashShell, command: str, status: str) -> None:
    with pytest.raises(ShellEnded) as caught:
        bash.exec_command(command, timeout=20)
    says(caught.value, f"status {status}", "open the session anew")
    with pytest.raises(ShellEnded):
        bash.exec_command("echo 1", timeout=5)


def test_a_shell_that_becomes_another_program(bash: BashShell) -> None:
    # What is typed now would go to a Python, so nothing more is.
    with pytest.raises(ShellTimeoutError):
        bash.exec_command("exec python3", timeout=2)
    with pytest.raises(ShellStateError) as caught:
        bash.exec_command("echo 1", timeout=5)
    says(caught.value, "close the session and open it again", ">>>")


def test_commands_that_are_none(bash: BashShell) -> None:
    anything: Any = bash
    uses: list[Callable[[], Any]] = [lambda: anything.exec_command(5), lambda: anything.exec_command("a\0b")]
    for use in uses:
        with pytest.raises(CrlError) as caught:
            use()
        says(caught.value, "running a command")
    assert bash.exec_command("echo 1") == "1\r\n"
    with RemoteRunner() as runner:
        runner.set_target([{"shellname": "BashShell"}])
        command: Any = 5
        with pytest.raises(WrongArgument) as wrong:
            runner.execute_command_in_target(command)
        says(wrong.value, "is no text")
