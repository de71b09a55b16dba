"""Sessions: stacks of shells that are known, parents that refuse while covered, terminals that leave nothing."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pexpect
import pytest

from crl.channels.base import ChannelInUse
from crl.errors import CrlError, UsageError
from crl.interactivesessions.InteractiveSession import InteractiveSession
from crl.interactivesessions.interactivesessionexceptions import (
    ShellEnded,
    ShellStateError,
    UnexpectedPrompt,
    UnknownShellState,
)
from crl.interactivesessions.runnerexceptions import RunnerTerminalSessionBroken
from crl.interactivesessions.shells import bashshell
from crl.interactivesessions.shells.bashshell import BashShell
from crl.interactivesessions.shells.shell import (
    DEFAULT_STATUS_TIMEOUT,
    DefaultStatusTimeout,
    Shell,
)
from crl.interactivesessions.shells.shell import TimeoutError as ShellTimeout
from tests.link.peers import PATIENCE, eventually

if TYPE_CHECKING:
    from tests.shells.conftest import Open


def bash(open_session: Open, **kwargs: Any) -> tuple[InteractiveSession, BashShell]:
    shell = BashShell("bash --norc", **kwargs)
    return open_session(shell), shell


def once_it_answers(shell: BashShell, command: str) -> str:
    """The output of a command, which the shell may refuse until it has come to itself."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return shell.exec_command(command)
        except ShellStateError:
            assert time.monotonic() < deadline


def test_stack(open_session: Open) -> None:
    session, first = bash(open_session)
    second, third = BashShell("dash"), BashShell("busybox ash")
    session.push(second)
    session.push(third)
    assert session.get_nbr_of_shells() == 3
    assert (session.current_shell(), session.get_parent_shell()) == (third, second)
    assert third.exec_command("echo $0") == "ash\r\n"
    for covered in (first, second):
        with pytest.raises(ChannelInUse, match="pushed over it"):
            covered.exec_command("echo wrong")
    session.pop()
    assert second.exec_command("echo $0") == "dash\r\n"
    session.push(third)
    session.pop_until(first)
    assert first.exec_command("echo $0") == "bash\r\n"
    assert session.pop() is None
    with pytest.raises(RunnerTerminalSessionBroken, match="already closed"):
        session.current_shell()


def test_pop_until_a_shell_that_is_not_there(open_session: Open) -> None:
    session, _ = bash(open_session)
    with pytest.raises(UnknownShellState):
        session.pop_until(BashShell())


def test_the_same_shell_again_in_another_session(open_session: Open) -> None:
    session, parent = bash(open_session)
    shell = BashShell("dash")
    session.push(shell)
    session.close_terminal()
    again = open_session(shell)
    assert again.current_shell().exec_command("echo again") == "again\r\n"
    again.push(parent)
    assert parent.exec_command("echo over") == "over\r\n"


def test_environment_is_the_users(open_session: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CRL_TEST_VALUE", "kept")
    monkeypatch.setenv("PS1", "hostile$?")
    monkeypatch.setenv("PROMPT_COMMAND", "echo noise")
    _, shell = bash(open_session)
    assert shell.exec_command('echo "$CRL_TEST_VALUE $TERM $HOME"') == f"kept dumb {os.environ['HOME']}\r\n"
    assert shell.exec_command('echo "[$HISTFILE$PROMPT_COMMAND$TMOUT]"; stty size') == "[]\r\n400 400\r\n"


NASTY_RC = r"""
PS1='\[\e[31m\]\u@\h:\w\n$(date) password: \[\e[0m\]'
PROMPT_COMMAND='echo prompt command $RANDOM'
PS0='before each command'
TMOUT=1
set -o vi
trap 'echo debug trap' DEBUG
echo 'Welcome! Enter your password: '
"""


def test_nasty_rc_file(open_session: Open, tmp_path: Path) -> None:
    (tmp_path / "rc").write_text(NASTY_RC)
    session = open_session(BashShell(f"bash --rcfile {tmp_path / 'rc'}"))
    shell = session.current_shell()
    assert shell.exec_command("echo exact") == "exact\r\n"
    assert shell.exec_command("false") == ""
    assert shell.get_status_code() == 1


def test_echo(open_session: Open) -> None:
    _, shell = bash(open_session, tty_echo=True)
    assert shell.exec_command("echo with echo") == "with echo\r\n"
    assert shell.get_status_code() == 0
    with pytest.raises(UsageError, match="echoes"):
        shell.exec_command("echo a\necho b")


def test_init_env_and_workdir(open_session: Open, tmp_path: Path) -> None:
    (tmp_path / "env").write_text("crl_loaded=file\n")
    _, shell = bash(open_session, init_env=str(tmp_path / "env"), workdir=str(tmp_path))
    assert shell.exec_command('echo "$crl_loaded $PWD"') == f"file {tmp_path}\r\n"
    _, shell = bash(open_session, init_env="content: crl_loaded=text\ncrl_more=1")
    assert shell.exec_command('echo "$crl_loaded$crl_more"') == "text1\r\n"


def test_failing_init_env_and_workdir_leave_the_parent(open_session: Open) -> None:
    session, parent = bash(open_session)
    with pytest.raises(bashshell.SourceInitFileFailed, match="No such file"):
        session.push(BashShell("dash", init_env="/nonexistent/env"))
    with pytest.raises(bashshell.CdToWorkdirFailed, match="No such file"):
        session.push(BashShell("bash", workdir="/nonexistent"))
    assert parent.exec_command("echo $0") == "bash\r\n"
    assert session.get_nbr_of_shells() == 1


def test_confirmation(open_session: Open) -> None:
    question = BashShell("sh -c 'printf \"Sure (Y/n): \"; read x; echo got $x; exec bash --norc'", "Sure (Y/n):", "Y")
    session = open_session(question)
    assert session.current_shell().exec_command("echo in") == "in\r\n"


@pytest.mark.parametrize("command", ["bash --norc", "dash", "zsh -f", "busybox ash"])
def test_stopped_job_does_not_keep_a_shell_open(open_session: Open, command: str) -> None:
    session, parent = bash(open_session)
    session.push(BashShell(command))
    shell = session.current_shell()
    assert isinstance(shell, BashShell)
    shell.exec_command("sleep 300 & kill -STOP $!; sleep 0.1")
    pid = shell.get_pid()
    began = time.monotonic()
    try:
        session.pop()
    finally:
        with contextlib.suppress(ProcessLookupError):  # most shells end it, zsh does not
            os.kill(pid, signal.SIGKILL)
    assert time.monotonic() - began < 20, "the job ends by itself after 300 s"
    assert parent.exec_command("echo $0") == "bash\r\n"


def test_dead_shell(open_session: Open) -> None:
    session, shell = bash(open_session)
    pid = int(shell.exec_command("echo $$"))
    assert session.isalive()
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(ShellEnded) as caught:
        shell.exec_command("echo dead", timeout=30)
    assert isinstance(caught.value, pexpect.EOF)
    assert not session.isalive()


def test_shell_that_ends_while_a_command_runs(open_session: Open) -> None:
    _, shell = bash(open_session)
    with pytest.raises(ShellEnded, match="exit status 7"):
        shell.exec_command("echo last words; exit 7", timeout=30)


def test_frozen_shell(open_session: Open) -> None:
    _, shell = bash(open_session)
    pid = int(shell.exec_command("echo $$"))
    os.kill(pid, signal.SIGSTOP)
    try:
        began = time.monotonic()
        with pytest.raises(ShellTimeout):
            shell.exec_command("echo frozen", timeout=0.5)
        assert time.monotonic() - began < 20
        with pytest.raises(ShellStateError):
            shell.exec_command("echo refused", timeout=0.5)
    finally:
        os.kill(pid, signal.SIGCONT)
    assert once_it_answers(shell, "echo thawed") == "thawed\r\n"


def test_noise_in_the_terminal(open_session: Open) -> None:
    """Somebody writes to the tty all the time (as wall does): statuses and prompts stay exact."""
    _, shell = bash(open_session)
    tty = shell.exec_command("tty").strip()
    stop = threading.Event()

    def noise() -> None:
        with open(tty, "wb", buffering=0) as terminal:
            while not stop.wait(0.002):
                terminal.write(b"\r\nBroadcast message: password:\r\n")

    thread = threading.Thread(target=noise)
    thread.start()
    try:
        for number in range(100):
            output = shell.exec_command(f"echo value-{number}; (exit {number})")
            assert f"value-{number}" in output
            assert shell.get_status_code() == number
    finally:
        stop.set()
        thread.join()


def test_dumps(open_session: Open, tmp_path: Path) -> None:
    paths = {name: str(tmp_path / name) for name in ("dump_received", "dump_outgoing")}
    session = open_session(BashShell("bash --norc"), **paths)
    session.current_shell().exec_command("echo dumped text")
    session.close_terminal()
    received, outgoing = ((tmp_path / name).read_bytes() for name in paths)
    assert b"NEW TERMINAL" in received
    assert b"NEW TERMINAL" in outgoing
    assert b"dumped text\r\n" in received
    assert b"echo dumped text\n" in outgoing


def test_lane(open_session: Open) -> None:
    _, shell = bash(open_session)
    lane = shell.lane()
    assert lane.host == "localhost"
    with pytest.raises(ChannelInUse, match="the link"):
        shell.exec_command("echo wrong")
    lane.send_line("printf 'pro''gram %s' " + "x" * 6000)
    received = lane.read_pending() + read_until(lane.channel, b"x" * 6000)
    assert b"program " in received
    lane.give_back(received.partition(b"x" * 6000)[2])
    assert shell.exec_command("echo mine") == "mine\r\n"


def test_lane_that_does_not_come_back(open_session: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bashshell, "_LANE_PATIENCE", 0.3)
    _, shell = bash(open_session)
    lane = shell.lane()
    lane.send_line("sleep 300")
    with pytest.raises(ShellStateError, match="did not come back"):
        lane.give_back(b"")
    assert once_it_answers(shell, "echo interrupted") == "interrupted\r\n"


def test_session_with_a_lent_terminal_is_closed_at_once(open_session: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    session, shell = bash(open_session)
    shell.lane()
    began = time.monotonic()
    monkeypatch.setattr(sys.modules[InteractiveSession.__module__], "_POLITE_SECONDS", 60.0)
    session.close_terminal()
    assert time.monotonic() - began < 30, "a shell was asked politely"
    assert not session.isalive()


def read_until(channel: Any, end: bytes) -> bytes:
    poll, data, limit = select.poll(), b"", time.monotonic() + PATIENCE
    poll.register(channel.fileno(), select.POLLIN)
    while end not in data and time.monotonic() < limit:
        if poll.poll(100):
            data += channel.read()
    assert end in data
    return data


def test_status_timeout_is_adjustable() -> None:
    DefaultStatusTimeout.set(20)
    try:
        assert float(DEFAULT_STATUS_TIMEOUT) == 20.0
        assert repr(DEFAULT_STATUS_TIMEOUT) == "20"
    finally:
        DefaultStatusTimeout.reset()
    assert float(DEFAULT_STATUS_TIMEOUT) == 5.0


class PublishedStyleShell(Shell):
    """A shell as users of the published package write it, with the protected helpers and a bytes terminal."""

    def __init__(self) -> None:
        super().__init__()
        self._prompt = "CLI> "

    def get_start_cmd(self) -> str:
        return "sh -c 'stty -echo; printf \"CLI> \"; while read x; do echo \"did $x\"; printf \"CLI> \"; done'"

    def start(self) -> str:
        return self._read_until_prompt(timeout=30)

    def exit(self) -> None:
        self._terminal.sendeof()

    def raw(self) -> bytes:
        self._terminal.sendline("raw")
        self._terminal.expect_exact(self.get_prompt())
        before: bytes = self._terminal.before
        return before


def test_shell_of_a_user(open_session: Open) -> None:
    session, parent = bash(open_session)
    shell = PublishedStyleShell()
    session.push(shell)
    assert shell.exec_command("this") == "did this\r\n"
    assert shell.raw().decode() == "did raw\r\n"
    assert shell.exec_prompting_command("x", [("did x", "y")]) == "\r\n"
    assert shell._read_until_prompt(timeout=30) == "did y\r\n"
    with pytest.raises(UsageError, match="no exit statuses"):
        shell.get_status_code()
    with pytest.raises(UsageError, match="link"):
        shell.lane()
    session.pop()
    assert parent.exec_command("echo back") == "back\r\n"


def test_shell_that_shows_another_prompt(open_session: Open) -> None:
    session, parent = bash(open_session)
    shell = PublishedStyleShell()
    session.push(shell)
    shell._prompt = "OTHER> "
    with pytest.raises(UnexpectedPrompt) as caught:
        session.pop()
    assert caught.value.expected_prompt == "OTHER> "
    assert session.current_shell() is parent


class PexpectShell(BashShell):
    """A shell that brings its own pexpect terminal, as the published package allows."""

    def spawn(self, timeout: float) -> Any:
        return pexpect.spawn("bash --norc", timeout=timeout)


def test_terminal_of_the_users_own(open_session: Open) -> None:
    session = open_session(PexpectShell())
    shell = session.current_shell()
    assert isinstance(shell, BashShell)
    assert shell.exec_command("echo own; (exit 3)") == "own\r\n"
    assert shell.get_status_code() == 3
    with pytest.raises(UsageError, match="terminal of crl"):
        shell.lane()


def test_pages(open_session: Open) -> None:
    _, shell = bash(open_session)
    pager = "for i in 1 2; do echo line$i; printf -- --More--; read -n1 x; done; echo end"
    assert shell.exec_command_expecting_more(pager) == (2, "line1\r\nline2\r\nend\r\n")
    assert shell.get_status_code() == 0


def test_responses_list() -> None:
    assert Shell.create_responses_list("a", "b", "c", "d") == [("a", "b"), ("c", "d")]
    with pytest.raises(ValueError, match="exactly one"):
        Shell.create_responses_list("a")


def test_a_silent_application_is_interrupted_at_once(open_session: Open) -> None:
    # A Ctrl-C between bash's fork and the program's start is lost, or ends bash: seen once in 400 tries.
    _, shell = bash(open_session)
    for number in range(12):
        shell.start_application("cat", expect="")
        assert shell.stop_application(timeout=30).strip() == ""
        assert shell.get_status_code() == 130
        assert shell.exec_command(f"echo {number}") == f"{number}\r\n"


def test_an_application_that_a_first_ctrl_c_was_lost_on_is_interrupted_again(open_session: Open) -> None:
    _, shell = bash(open_session)
    shell.start_application("sh -c 'trap \"trap - INT\" INT; while :; do sleep 0.1; done'", expect="")
    assert shell.stop_application(timeout=30).strip() == ""
    assert shell.exec_command("echo on") == "on\r\n"


def test_application(open_session: Open) -> None:
    _, shell = bash(open_session)
    with pytest.raises(bashshell.FailedToStartApplication) as caught:
        shell.start_application("echo broken; (exit 9)", "is up", timeout=30)
    assert caught.value.args == (9, "broken\r\n")
    shell.exec_command("sleep 300 &")
    pid = shell.get_pid()
    shell.terminate_process_forced(pid)
    with pytest.raises(bashshell.FailedToTerminateProcess):
        shell.terminate_process_forced(2**22 + 1)


def test_interrupt_from_outside_leaves_a_session_that_closes(open_session: Open, tmp_path: Path) -> None:
    """As Robot's timeout or Ctrl-C do: an exception comes up in the middle of a wait."""

    class Stop(BaseException):
        pass

    def stop(*_: object) -> None:
        raise Stop

    def stop_when_it_runs() -> None:
        assert eventually(begun.exists)
        os.kill(os.getpid(), signal.SIGUSR1)

    session, shell = bash(open_session)
    begun = tmp_path / "begun"
    old = signal.signal(signal.SIGUSR1, stop)
    stopping = threading.Thread(target=stop_when_it_runs)
    stopping.start()
    try:
        with pytest.raises(Stop):
            shell.exec_command(f"touch {begun}; sleep 300", timeout=60)
    finally:
        stopping.join()
        signal.signal(signal.SIGUSR1, old)
    session.close_terminal()
    assert not session.isalive()


def test_every_error_is_one_of_ours() -> None:
    named: list[Callable[..., BaseException]] = [
        bashshell.ScpError,
        bashshell.BashError,
        bashshell.IncompleteCommand,
        ShellTimeout,
        ShellEnded,
    ]
    for cls in named:
        assert isinstance(cls("text"), CrlError)
