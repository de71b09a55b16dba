"""The oldest libraries of the published package: named terminals, executors, self-repairing sessions; and scp."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from crl.interactivesessions.InteractiveExecutor import InteractiveExecutor
from crl.interactivesessions.InteractiveSessionExecutor import (
    FailedToSetWorkingDirectory,
    InteractiveSessionExecutor,
)
from crl.interactivesessions.InteractiveSessions import (
    InteractiveSessionFactory,
    InteractiveSessions,
    NoSuchTerminal,
    TerminalAlreadyExists,
)
from crl.interactivesessions.runnerexceptions import RunnerTerminalSessionBroken
from crl.interactivesessions.RunnerSession import RunnerSession
from crl.interactivesessions.SelfRepairingSession import (
    CommandExecutionFailed,
    FailedToCreateSession,
    FailedToRunInteractiveHandler,
    RestoreTimedOut,
    RunNotStarted,
    SelfRepairingSession,
    SessionNotInitialized,
    UnexpectedTerminalOutput,
)
from crl.interactivesessions.SessionManager import SessionManager
from crl.interactivesessions.shells.bashshell import BashShell, ScpError
from crl.interactivesessions.shells.shell import TimeoutError as ShellTimeout
from crl.interactivesessions.shells.sshshell import SshShell
from tests.link.peers import eventually
from tests.terminals.conftest import nothing_left

if TYPE_CHECKING:
    from crl.interactivesessions.shells.shell import Shell
    from crl.lab import Lab
    from crl.secrets import Secret

__all__ = ["nothing_left"]


class LocalExecutor(InteractiveSessionExecutor):
    """Its logins are shells of this machine."""

    def make_ssh_shell(self, address: str, user: str | None, password: Secret | None) -> Shell:
        return BashShell("bash --norc")


class LocalRunnerSession(RunnerSession, LocalExecutor):
    """The same with Python."""


def local(node: Any, cls: type[InteractiveSessionExecutor] = LocalExecutor, **kwargs: Any) -> Any:
    return cls(node, host_name="here", host_user=None, host_password=None, **kwargs)


# Named terminals


@pytest.fixture
def library(nothing_left: None) -> Iterator[InteractiveSessions]:
    made = InteractiveSessions(InteractiveSessionFactory())
    made.create_terminal()
    made.spawn(BashShell("bash --norc"))
    yield made
    made.close_terminal()


def test_named_terminals(library: InteractiveSessions) -> None:
    assert library.exec_command("echo ' one '") == "one"
    library.exec_command("(exit 3)", timeout="10")  # type: ignore[arg-type]
    assert library.get_status_code() == 3
    answers = library.create_responses_list("name? ", "crl")
    assert library.exec_prompting_command("printf 'name? '; read n; echo hello $n", answers).endswith("hello crl")
    assert library.exec_command_expecting_more("printf a--More--; read -n 1 x; echo b") == (1, "ab\r\n")
    library.exec_command("sleep 600 &")
    pid = library.get_pid()
    os.kill(pid, signal.SIGKILL)
    library.exec_command("wait")
    prompt = library.get_current_prompt()
    library.push(BashShell("sh"))
    assert library.get_current_prompt() != prompt
    library.exit_shell()
    assert library.get_current_prompt() == prompt


def test_names_of_terminals(library: InteractiveSessions) -> None:
    with pytest.raises(TerminalAlreadyExists, match="default_terminal"):
        library.create_terminal()
    with pytest.raises(NoSuchTerminal, match="there are: default_terminal"):
        library.exec_command("true", "second")
    assert library.create_terminal("second") == "second"
    library.set_default_terminal_name("second")
    library.spawn(BashShell("sh"))
    assert library.exec_command("echo two") == "two"
    library.close_terminal()
    library.set_default_terminal_name("default_terminal")
    assert library.exec_command("echo one") == "one"


# Executors


def test_executor(nothing_left: None, tmp_path: Path) -> None:
    executor = local("node", node_ip="anything", work_dir=str(tmp_path / "w d"))
    try:
        assert executor.get_session().get_nbr_of_shells() == 2
        assert executor.run("echo one") == "one"
        assert executor.run_full_output("echo one") == "one\r\n"
        executor.setup_working_directory()
        assert executor.run("pwd") == str(tmp_path / "w d")
        (tmp_path / "text").write_text("sent")
        executor.transfer_text_file(str(tmp_path / "text"))
        assert (tmp_path / "w d/text").read_text() == "sent"
        executor.remove_working_directory()
        assert not (tmp_path / "w d").exists()
        executor.get_session().push(BashShell("sh"))
        executor.reset_session()
        assert executor.get_session().get_nbr_of_shells() == 2
        assert executor.isalive()
        executor._work_dir = "/proc/nowhere"
        with pytest.raises(FailedToSetWorkingDirectory):
            executor.setup_working_directory()
    finally:
        executor.close()
    assert not executor.isalive()


def test_runner_session(nothing_left: None) -> None:
    session = local(None, LocalRunnerSession)
    try:
        assert session.run_python("6 * 7") == 42
        session.import_libraries("os")
        assert session.get_recursive_proxy("os").getpid() == session.runnerterminal.link.facts.pid
        with pytest.raises(AttributeError):
            session.nothing_of_the_kind()
    finally:
        session.close()


# Self-repairing sessions


@pytest.fixture
def repairing(nothing_left: None) -> Iterator[SelfRepairingSession]:
    made = SelfRepairingSession("node", local, sleep_between_retries=0, max_retries=1)
    yield made
    made.close()


def test_commands(repairing: SelfRepairingSession) -> None:
    assert repairing.run("echo out; echo err >&2") == (0, "out", "err")
    assert repairing.run("echo $0", executable="/bin/sh")[1] == "/bin/sh"
    assert repairing.run_no_validate("exit 3") == (3, "", "")
    with pytest.raises(CommandExecutionFailed) as caught:
        repairing.run("echo out; exit 3")
    assert caught.value.args[0] == (3, "out", "")
    assert repairing.run("exit 3", [3])[0] == repairing.run("exit 3", ["*"])[0] == 3
    assert repairing.run("pwd")[1] == repairing._work_dir
    with pytest.raises(ShellTimeout) as late:
        repairing.run("echo begun; sleep 600", timeout=5)
    assert late.value.output == b"begun"
    assert repairing.run_ignore_all_exceptions("sleep 600", timeout=0.1) is None


def test_a_lost_session_is_made_again_and_its_command_is_not_run_again(
    repairing: SelfRepairingSession, tmp_path: Path
) -> None:
    pid = int(repairing.run("echo $PPID")[1])
    with pytest.raises(RestoreTimedOut):
        repairing.run(f"echo run >> {tmp_path}/count; kill -9 {pid}", timeout=20)
    assert (tmp_path / "count").read_text() == "run\n"
    assert repairing.run("echo again")[1] == "again"
    before = repairing._session
    repairing.reset()
    assert repairing._session is not before


def test_a_node_that_breaks_the_rules(repairing: SelfRepairingSession, tmp_path: Path) -> None:
    repairing.run("true")
    assert repairing._terminal is not None
    engine = repairing._terminal.link.engine
    begun = tmp_path / "begun"

    def lie() -> None:
        assert eventually(begun.exists, 20)
        engine.violated("a lie")

    liar = threading.Thread(target=lie)
    liar.start()
    with pytest.raises(UnexpectedTerminalOutput, match="a lie") as caught:
        repairing.run(f"touch {begun}; sleep 600")
    assert isinstance(caught.value, RunnerTerminalSessionBroken)
    liar.join()
    assert repairing.run("echo again")[1] == "again"


def test_what_cannot_be_started(nothing_left: None) -> None:
    repairing = SelfRepairingSession("node", local, max_retries=0)
    with pytest.raises(RunNotStarted, match="FileNotFoundError"):
        repairing.run("true", executable="/no/such/shell")
    repairing.close()
    repairing = SelfRepairingSession("node", local, python_command="no-such-python", max_retries=3)
    with pytest.raises(FailedToCreateSession, match="PythonNotFound") as caught:
        repairing.run("true")
    assert isinstance(caught.value.args[0], FailedToRunInteractiveHandler)

    class Closed:
        closed = False

        def setup_working_directory(self) -> None:
            pass

        def get_session(self) -> None:
            return None

        def close(self) -> None:
            self.closed = True

    never = Closed()
    repairing = SelfRepairingSession("node", lambda *_, **__: never, max_retries=0)
    with pytest.raises(FailedToCreateSession, match="not open") as caught:
        repairing.run("true")
    assert isinstance(caught.value.args[0], SessionNotInitialized)
    assert never.closed


def test_on_a_runner_session(nothing_left: None) -> None:
    repairing = SelfRepairingSession("node", lambda node, work_dir: local(None, LocalRunnerSession, work_dir=work_dir))
    try:
        assert repairing.run("echo out")[1] == "out"
    finally:
        repairing.close()


def test_no_session_can_be_made() -> None:
    calls = []

    def refuse(node: str, work_dir: str) -> None:
        calls.append(node)
        raise ShellTimeout("no way")

    repairing = SelfRepairingSession("node", refuse, max_retries=2, sleep_between_retries=0)
    with pytest.raises(FailedToCreateSession, match="no way"):
        repairing.run("true")
    assert calls == ["node"] * 3


def test_executor_of_nodes(nothing_left: None) -> None:
    executor = InteractiveExecutor(lambda node: SelfRepairingSession(node, local, sleep_between_retries=0))
    try:
        assert executor.run("one", "echo $((6 * 7))") == (0, "42", "")
        assert executor.run("one", "exit 4", timeout="bad")[0] == 4
        with pytest.raises(CommandExecutionFailed):
            executor.run("two", "exit 4", timeout="-5", validate_return_status=True)
        executor.reset()
        assert executor.run_number == 3
    finally:
        executor.close()


def test_session_manager(nothing_left: None) -> None:
    manager = SessionManager(lambda node, subclass_name: local(node))
    assert manager.run("first", "node", "echo one; (exit 5)") == "one"
    assert manager.get_status_code("first", "node") == 5
    assert manager.get_or_create("first", "node") is not manager.get_or_create("second", "node")
    manager.close()


# scp


@pytest.mark.lab
def test_scp_between_hosts(lab: Lab, nothing_left: None) -> None:
    beta = lab.host("beta")
    user = beta.users["password"]
    assert user.password is not None
    secret = user.password.value
    executor = local(None)
    session = executor.get_session()
    try:
        session.push(SshShell("gateway-key", config=str(lab.ssh_config)))
        shell = session.current_shell()
        assert isinstance(shell, BashShell)
        shell.exec_command("mkdir -p ~/.ssh; rm -f ~/.ssh/known_hosts; echo sent > crl-scp")
        with pytest.raises(ScpError, match="key is not known"):
            shell.scp_copy_file("crl-scp", beta.address, user.login, secret, "crl-scp")
        shell.exec_command(f"ssh-keyscan -T 5 {beta.address} 2>/dev/null > ~/.ssh/known_hosts")
        shell.scp_copy_file("crl-scp", beta.address, user.login, secret, "crl-scp")
        shell.scp_download_file("crl-scp", beta.address, user.login, secret, "crl-back")
        assert shell.exec_command("cat crl-back") == "sent\r\n"
        for password in ("wrong one", secret):
            with pytest.raises(ScpError) as caught:
                shell.scp_download_file("nothing", beta.address, user.login, password, "crl-back")
            assert password not in str(caught.value)
        assert shell.exec_command("rm -f crl-scp crl-back ~/.ssh/known_hosts; echo on") == "on\r\n"
    finally:
        executor.close()


def test_signals_are_negative(repairing: SelfRepairingSession) -> None:
    assert repairing.run_no_validate("kill -9 $$")[0] == -signal.SIGKILL
    assert os.path.isdir(repairing._work_dir)
