"""A terminal of shells opens when needed, recovers once for all, tries as often as said, and runs nothing twice."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from crl.deadlines import Deadline
from crl.errors import RemoteWorldError, UsageError
from crl.interactivesessions._recovery import RecoveryPending
from crl.interactivesessions.autorecoveringterminal import AutoRecoveringTerminal
from crl.interactivesessions.runnerexceptions import SessionInitializationFailed
from crl.interactivesessions.shells.bashshell import BashShell
from crl.interactivesessions.shells.shell import TimeoutError as ShellTimeout
from tests.link.peers import eventually

pytestmark = pytest.mark.usefixtures("nothing_left")


class CountedShell(BashShell):
    """Counts its starts; the first `failures` of them fail with `error`, each after `delay` seconds or `go_on`."""

    def __init__(self, failures: int = 0, error: Exception | None = None, delay: float = 0) -> None:
        super().__init__()
        self.starts = 0
        self.failures = failures
        self.error = error or RemoteWorldError("not yet")
        self.delay = delay
        self.go_on = threading.Event()

    def start(self) -> str:
        self.starts += 1
        self.go_on.wait(self.delay)
        if self.starts <= self.failures:
            raise self.error
        return super().start()


@pytest.fixture
def terminal() -> Iterator[AutoRecoveringTerminal]:
    made = AutoRecoveringTerminal()
    yield made
    made.close()


def kill_shell(terminal: AutoRecoveringTerminal) -> None:
    """End the shell's process behind the terminal's back."""
    session = terminal.get_session()
    assert session is not None
    pid = int(session.current_shell().exec_command("echo $$"))
    os.kill(pid, signal.SIGKILL)
    assert eventually(lambda: not session.isalive())


def test_run_of_the_documents(terminal: AutoRecoveringTerminal) -> None:
    terminal.initialize(BashShell())
    assert terminal.get_session() is None
    assert terminal.run("echo hello world!").strip() == "hello world!"
    assert "localhost (open)" in repr(terminal)


def test_a_stack_of_shells(terminal: AutoRecoveringTerminal) -> None:
    terminal.initialize([BashShell(), BashShell(init_env="content:export DEPTH=2")])
    assert terminal.run("echo $DEPTH").strip() == "2"
    session = terminal.get_session()
    assert session is not None
    assert session.get_nbr_of_shells() == 2


def test_usage(terminal: AutoRecoveringTerminal) -> None:
    with pytest.raises(UsageError, match="at least one shell"):
        terminal.initialize([])
    with pytest.raises(UsageError, match="max_tries"):
        terminal.initialize(BashShell(), max_tries=0)
    with pytest.raises(SessionInitializationFailed, match="initialize was not called"):
        terminal.initialize_terminal()


def test_tries_and_no_sleep_after_the_last(terminal: AutoRecoveringTerminal) -> None:
    shell = CountedShell(failures=9)
    terminal.initialize(shell, sleep_between_tries=0.1, max_tries=3)
    started = time.monotonic()
    with pytest.raises(SessionInitializationFailed):
        terminal.initialize_terminal()
    assert time.monotonic() - started >= 0.2
    assert shell.starts == 3
    terminal.initialize(shell, sleep_between_tries=60, max_tries=1)
    started = time.monotonic()
    with pytest.raises(SessionInitializationFailed) as caught:
        terminal.initialize_terminal()
    assert time.monotonic() - started < 30
    assert caught.value.args[0] is shell.error
    assert "not yet" in str(caught.value)
    assert caught.value.host == "localhost"
    assert terminal.get_session() is None


def test_a_later_try_may_succeed(terminal: AutoRecoveringTerminal) -> None:
    shell = CountedShell(failures=2)
    terminal.initialize(shell, sleep_between_tries=0)
    terminal.initialize_if_needed()
    assert shell.starts == 3
    assert terminal.run("echo up").strip() == "up"


def test_a_definite_refusal_is_not_tried_again(terminal: AutoRecoveringTerminal) -> None:
    error = RemoteWorldError("wrong password", host="alpha")
    error.definite = True  # type: ignore[attr-defined]
    shell = CountedShell(failures=9, error=error)
    terminal.initialize(shell, sleep_between_tries=30)
    with pytest.raises(SessionInitializationFailed, match=r"alpha: .*wrong password"):
        terminal.initialize_terminal()
    assert shell.starts == 1


def test_only_the_exceptions_named_are_tried_again(terminal: AutoRecoveringTerminal) -> None:
    shell = CountedShell(failures=9, error=RemoteWorldError("other"))
    terminal.initialize(shell, init_broken_exceptions=[KeyError, OSError], sleep_between_tries=0)
    with pytest.raises(RemoteWorldError, match="other"):
        terminal.initialize_terminal()
    assert shell.starts == 1
    assert terminal.get_session() is None


def test_recovery_is_single_flight(terminal: AutoRecoveringTerminal) -> None:
    shell = CountedShell(delay=0.3)
    prepared: list[int] = []
    terminal.initialize(shell, prepare=lambda: prepared.append(1))
    threads = [threading.Thread(target=terminal.initialize_if_needed) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert shell.starts == 1
    assert prepared == [1]


def test_each_waiter_leaves_at_its_own_deadline(terminal: AutoRecoveringTerminal) -> None:
    shell = CountedShell(delay=60)
    terminal.initialize(shell)
    started = time.monotonic()
    with pytest.raises(RecoveryPending, match="nothing of this call was sent"):
        terminal.ensure(Deadline.after(0.2))
    assert time.monotonic() - started < 30
    shell.go_on.set()
    terminal.ensure(Deadline.after(20))
    assert terminal.get_session() is not None


def test_waiters_of_a_failure_get_errors_of_their_own(terminal: AutoRecoveringTerminal) -> None:
    terminal.initialize(CountedShell(failures=9, delay=0.2), max_tries=1)
    errors: list[SessionInitializationFailed] = []

    def wait() -> None:
        try:
            terminal.initialize_if_needed()
        except SessionInitializationFailed as error:
            errors.append(error)

    threads = [threading.Thread(target=wait) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len({id(error) for error in errors}) == 4
    assert len({id(error.args[0]) for error in errors}) == 1


def test_prepare_verify_finalize_in_their_order(terminal: AutoRecoveringTerminal) -> None:
    log: list[str] = []
    broken = threading.Event()

    def verify() -> None:
        log.append("verify")
        terminal.auto_setup()  # does not enter again
        if broken.is_set():
            broken.clear()
            raise ValueError("broken")

    def prepare() -> None:
        log.append("prepare")
        terminal.initialize_if_needed()
        with pytest.raises(UsageError, match="prepare"):
            terminal.initialize_terminal()

    terminal.initialize(BashShell(), prepare=prepare, finalize=lambda: log.append("finalize"), verify=verify)
    terminal.initialize_if_needed()
    assert log == ["prepare"]
    terminal.initialize_if_needed()
    assert log == ["prepare", "verify"]
    broken.set()
    terminal.auto_setup()
    assert log == ["prepare", "verify", "verify", "finalize", "prepare"]
    terminal.close()
    assert log[5:] == ["finalize"]
    assert terminal.get_session() is None


def test_set_verify_and_foreign_exceptions_of_it(terminal: AutoRecoveringTerminal) -> None:
    terminal.initialize(BashShell(), broken_exceptions=OSError)
    terminal.initialize_if_needed()
    session = terminal.get_session()

    def verify() -> None:
        raise LookupError("not among the broken exceptions")

    terminal.set_verify(verify)
    with pytest.raises(LookupError):
        terminal.initialize_if_needed()
    assert terminal.get_session() is session


def test_prepare_is_inside_the_tries(terminal: AutoRecoveringTerminal) -> None:
    calls: list[str] = []

    def prepare() -> None:
        calls.append("prepare")
        if len(calls) < 3:
            raise ValueError("not yet")

    terminal.initialize(BashShell(), prepare=prepare, finalize=lambda: calls.append("finalize"), sleep_between_tries=0)
    terminal.initialize_if_needed()
    assert calls == ["prepare", "finalize", "prepare"]
    assert terminal.get_session() is not None


def test_auto_close(terminal: AutoRecoveringTerminal) -> None:
    terminal.initialize(BashShell(), broken_exceptions=OSError)
    terminal.initialize_if_needed()
    with pytest.raises(KeyError), terminal.auto_close():
        raise KeyError("not broken")
    assert terminal.get_session() is not None
    with pytest.raises(ConnectionError), terminal.auto_close():
        raise ConnectionError("broken")
    assert terminal.get_session() is None


def test_errors_of_finalize_are_only_logged(terminal: AutoRecoveringTerminal, caplog: pytest.LogCaptureFixture) -> None:
    def finalize() -> None:
        raise ValueError("the temporary file is gone")

    terminal.initialize(BashShell(), finalize=finalize)
    terminal.initialize_if_needed()
    terminal.close()
    assert "the temporary file is gone" in caplog.text
    terminal.initialize_terminal()
    assert terminal.run("echo again").strip() == "again"


def test_run_recovers_when_the_shell_has_ended(terminal: AutoRecoveringTerminal, tmp_path: Path) -> None:
    count = tmp_path / "count"
    terminal.initialize(BashShell(), sleep_between_tries=0)
    terminal.initialize_if_needed()
    kill_shell(terminal)
    assert terminal.run(f"echo x >> {count}; echo done").strip() == "done"
    assert count.read_text() == "x\n"


def test_run_is_at_most_once(terminal: AutoRecoveringTerminal, tmp_path: Path) -> None:
    count = tmp_path / "count"
    terminal.initialize(BashShell(), sleep_between_tries=0, max_tries=3)
    with pytest.raises(RemoteWorldError):
        terminal.run(f"echo x >> {count}; kill -9 $$")
    assert count.read_text() == "x\n"
    assert terminal.get_session() is None
    assert terminal.run("echo next").strip() == "next"


def test_retry_run_runs_again(terminal: AutoRecoveringTerminal, tmp_path: Path) -> None:
    count = tmp_path / "count"
    terminal.initialize(BashShell(), sleep_between_tries=0, max_tries=3)
    with pytest.raises(RemoteWorldError):
        terminal.retry_run(f"echo x >> {count}; kill -9 $$")
    assert count.read_text() == "x\n" * 3
    line = f"echo x >> {count}; [ $(wc -l < {count}) -ge 5 ] && echo enough || kill -9 $$"
    assert terminal.retry_run(line).strip() == "enough"


def test_run_ends_at_its_timeout(terminal: AutoRecoveringTerminal) -> None:
    terminal.initialize(BashShell(), max_tries=1)
    terminal.initialize_if_needed()
    started = time.monotonic()
    with pytest.raises(ShellTimeout):
        terminal.run("sleep 60", timeout=0.5)
    assert time.monotonic() - started < 30


def test_close_ends_a_recovery_between_its_tries(terminal: AutoRecoveringTerminal) -> None:
    terminal.initialize(CountedShell(failures=9), sleep_between_tries=60)
    with pytest.raises(RecoveryPending):
        terminal.ensure(Deadline.after(0.3))
    started = time.monotonic()
    terminal.close()
    assert time.monotonic() - started < 30
