"""A Python driven by messages: used as suites for the published package use it; cut, killed and kept waiting.

Invariant: after whatever happens in the Python, the shell under it has its terminal again or the session says why not.
"""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

from crl.errors import UsageError
from crl.interactivesessions.autorunnerterminal import AutoRunnerTerminal
from crl.interactivesessions.interactivesessionexceptions import ShellStartError, UnexpectedPrompt
from crl.interactivesessions.shells import BashShell, MsgPythonShell
from crl.interactivesessions.shells.msgpythonshell import ExecCommandError
from crl.interactivesessions.shells.pythonshellbase import UnexpectedOutputInPython
from crl.interactivesessions.shells.remotemodules.exceptions import FatalPythonError
from crl.interactivesessions.shells.remotemodules.msgmanager import Retry
from crl.interactivesessions.shells.remotemodules.msgs import (
    Ack,
    ExecCommandReply,
    ExecCommandRequest,
    ExitRequest,
    SendCommandRequest,
    ServerIdReply,
    ServerIdRequest,
)
from crl.interactivesessions.shells.remotemodules.pythoncmdline import PythonCmdline
from crl.interactivesessions.shells.shell import TimeoutError as ShellTimeout
from crl.interactivesessions.shells.terminalclient import (
    CommandTimeout,
    TerminalClient,
    TerminalClientError,
    TerminalClientFatalError,
)
from tests.link.peers import eventually
from tests.terminals.conftest import nothing_left, sshd
from tests.terminals.sshd import Sshd
from tests.terminals.test_interpreters import interpreters

if TYPE_CHECKING:
    from tests.shells.conftest import Open

__all__ = ["nothing_left", "sshd"]

STACKS = {"first": (MsgPythonShell,), "pushed": (BashShell, MsgPythonShell)}


@pytest.fixture(params=STACKS)
def shell(request: pytest.FixtureRequest, open_session: Open) -> MsgPythonShell:
    top = open_session(*(cls() for cls in STACKS[request.param])).current_shell()
    assert isinstance(top, MsgPythonShell)
    return top


def test_values_statements_and_blocks(shell: MsgPythonShell) -> None:
    assert shell.exec_command("a = 1") == ""
    assert shell.exec_command("a") == "1"
    assert shell.exec_command("'text'") == "text"
    assert shell.exec_command("b'\\xff'") == b"\xff"
    assert shell.exec_command_rstrip("'text\\r\\n'") == "text"
    block = ("class A(object):", "    def one(self):", "        return 1", "    def two(self):", "        return 2")
    for line in block:
        assert shell.exec_command(line) == ""
    assert shell.exec_command("A().one() + A().two()") == "3"
    shell.exec_command("z = (1,")
    shell.exec_command("2)")
    assert shell.exec_command("z") == "(1, 2)"
    assert shell.exec_command("def f():\n  return 7\nx = f()") == ""
    assert shell.exec_command("x") == "7"


def test_errors_are_output(shell: MsgPythonShell) -> None:
    told = shell.exec_command("incorrect syntax")
    assert told.startswith("SyntaxError: invalid syntax")
    assert "incorrect syntax" in told
    shell.exec_command("def f():\n    raise ValueError('msg')")
    told = shell.exec_command("f()")
    assert told.startswith("ValueError: msg\nTraceback")
    assert told.count("File") == 2
    assert shell.exec_command("1") == "1"
    with pytest.raises(ExecCommandError, match="SystemExit"):
        shell.exec_command("raise SystemExit(3)")
    with pytest.raises(UnexpectedOutputInPython):
        shell._single_command_no_output("5")
    assert shell._single_command_no_output("pass") == ""


def test_commands_that_are_only_sent(shell: MsgPythonShell) -> None:
    out = shell.get_stdout_str()
    shell.send_command(f"import time; time.sleep(0.1); n = {out}.write('go on'); {out}.flush()")
    assert shell._read_until("on", timeout=10) == "go "
    shell.send_command("raise ValueError('nobody waits')")
    for number in range(20):
        shell.send_command(f"last = {number}")
    assert shell.exec_command("last") == "19"
    shell.exec_command(f"n = {out}.write('x' * 5000000)")  # which nobody reads
    assert shell.exec_command("last") == "19"


def test_timeouts(shell: MsgPythonShell) -> None:
    with pytest.raises(ShellTimeout) as caught:
        shell.exec_command("import time; time.sleep(0.5); slept = True", timeout=0.05)
    assert isinstance(caught.value, CommandTimeout)
    assert eventually(lambda: shell.exec_command("globals().get('slept')") == "True")
    assert not shell.is_terminal_hung(timeout=10)
    assert shell.get_prompt_from_terminal() == shell.get_prompt()


def test_patience() -> None:
    before = MsgPythonShell._retry
    assert sum(before.timeouts()) == 19
    MsgPythonShell.set_retry(Retry(tries=2, interval=0.5, timeout=1))
    try:
        assert list(MsgPythonShell._retry.timeouts()) == [0.5, 1]
    finally:
        MsgPythonShell.reset_retry()
    assert MsgPythonShell._retry == before


def test_the_shell_under_it(open_session: Open) -> None:
    session = open_session(BashShell("bash --norc"))
    bash = session.current_shell()
    session.push(MsgPythonShell())
    with pytest.raises(UsageError, match="in use by the link"):
        bash.exec_command("echo wrong")
    with pytest.raises(UsageError, match="nothing can be pushed"):
        session.push(BashShell())
    python = session.current_shell()
    with pytest.raises(UsageError, match="cannot carry a link"):
        session.lane()
    assert session.pop() == ""
    assert bash.exec_command("echo on") == "on\r\n"
    with pytest.raises(FatalPythonError, match="was left"):
        python.exec_command("1")
    session.push(python)
    assert python.exec_command("6 * 7") == "42"
    session.pop_until(bash)
    assert bash.exec_command("echo on") == "on\r\n"


def test_no_python(open_session: Open) -> None:
    session = open_session(BashShell("bash --norc"))
    with pytest.raises(ShellStartError, match="no-such-python"):
        session.push(MsgPythonShell(python="no-such-python"))
    assert session.current_shell().exec_command("echo on") == "on\r\n"


def test_a_cut_terminal_is_hardly_noticed(open_session: Open, sshd: Sshd) -> None:
    session = open_session(sshd.shell(), MsgPythonShell())
    shell = session.current_shell()
    assert isinstance(shell, MsgPythonShell)
    shell.exec_command("kept = 1")
    link = shell.link
    assert link is not None
    assert eventually(lambda: link.resumable)
    os.kill(session.terminal.channel.pid, signal.SIGKILL)
    assert shell.exec_command("kept", timeout=30) == "1"
    assert eventually(lambda: link.statistics.resumed == 1)
    assert session.get_nbr_of_shells() == 2
    session.pop()
    assert session.current_shell().exec_command("echo on") == "on\r\n"


def test_a_python_that_is_gone(open_session: Open) -> None:
    session = open_session(BashShell("bash --norc"), MsgPythonShell())
    shell = session.current_shell()
    assert isinstance(shell, MsgPythonShell)
    assert shell.link is not None
    os.kill(shell.link.facts.pid, signal.SIGKILL)
    with pytest.raises(TerminalClientFatalError, match="Connection broken"):
        shell.exec_command("1")
    for _ in range(2):
        with pytest.raises(FatalPythonError, match="FatalPythonError: Connection broken"):
            shell.exec_command("1")
    assert shell.get_prompt() == [">>> ", "... "]
    with pytest.raises(UnexpectedPrompt):
        session.pop()


def test_clients_beside_each_other(open_session: Open) -> None:
    """Two clients on one Python have namespaces of their own; messages are served in their order."""
    session = open_session(BashShell("bash --norc"), MsgPythonShell())
    shell = session.current_shell()
    client = TerminalClient()
    client.set_retry(Retry(tries=1, interval=0, timeout=30))
    client.set_terminal(shell)
    announced = client.receive_and_send_ack(10)
    assert isinstance(announced, ServerIdReply)
    asked = client.send_and_receive(ServerIdRequest.create(), 10)
    assert isinstance(asked, ServerIdReply)
    assert announced.server_id == asked.server_id != shell.get_prompt()
    shell.exec_command("a = 1")
    client.send(SendCommandRequest.create("a = 2"))
    first, second = ExecCommandRequest.create("a"), ExecCommandRequest.create("a + 1")
    for msg in (first, second):
        client.send(msg)
    for msg, out in ((first, "2"), (second, "3")):
        reply = client.receive_and_send_ack(10)
        assert isinstance(reply, ExecCommandReply)
        assert (reply.uid, reply.out) == (msg.uid, out)
    with pytest.raises(UsageError, match="nothing was sent"):
        client.receive_and_send_ack(1)
    with pytest.raises(UsageError, match="nothing that can be asked"):
        client.send(Ack.create())
    client.send(ExitRequest.create())
    with pytest.raises(TerminalClientError, match="no Python is served"):
        client.send_and_receive(first, 1)
    assert shell.exec_command("a") == "1"
    with pytest.raises(UsageError, match="has no Python of crl"):
        client.set_terminal(session.terminal)


def test_a_client_of_a_runner_terminal(nothing_left: None) -> None:
    terminal = AutoRunnerTerminal()
    terminal.initialize_with_shells([BashShell()])
    try:
        terminal.initialize_if_needed()
        client = TerminalClient()
        client.set_terminal(terminal)
        reply = client.send_and_receive(ExecCommandRequest.create("__import__('os').getpid()"), 10)
        assert isinstance(reply, ExecCommandReply)
        assert reply.out == str(terminal.link.facts.pid)
        client.close()
        client.close()
    finally:
        terminal.close()


@pytest.mark.parametrize("python", interpreters())
def test_interpreters(open_session: Open, python: str) -> None:
    shell = open_session(BashShell("bash --norc"), MsgPythonShell(python=python)).current_shell()
    for line in ("def double(number):", "    number = number * 2", "    return number", ""):
        assert shell.exec_command(line) == ""
    assert shell.exec_command("double(4)") == "8"
    assert shell.exec_command("u'h\\xf6flich'") == "höflich"
    assert shell.exec_command("# höflich\n1 / 0").startswith("ZeroDivisionError: ")
    assert "SyntaxError" in shell.exec_command("if True: else")


def test_blocks_of_a_command_line() -> None:
    line = PythonCmdline("name")
    for command in ("seen = []", "for number in range(2):", "    seen.append(number)"):
        assert line.exec_command(command) is None
    for command in ("else:", "    seen.append('end')"):
        assert line.exec_command(command) is None
    assert line.current_cmd is not None
    assert line.namespace["seen"] == []
    assert line.exec_command("seen") == [0, 1, "end"]
    for command in ("x = 1\nif x:", "    x = 2", "    x += 1", "  "):
        assert line.exec_command(command) is None
    assert line.exec_command("x") == 3
    for command in ("try:", "    1 / 0", "except ZeroDivisionError:", "    x = 4"):
        line.exec_command(command)
    assert line.exec_command("x") == 4
    for command in ("@staticmethod", "def f():", "    return 5", ""):
        line.exec_command(command)
    assert "f" in line.namespace
    for wrong in ("    x = 5", "z = )", "def f(:"):
        with pytest.raises(SyntaxError):
            line.exec_command(wrong)
    line.exec_command("if x:")
    with pytest.raises(SyntaxError):
        line.exec_command("y = 1")
    assert line.exec_command("x") == 4
