"""Sessions that are killed, frozen or lost: within the limits, recovered once, and nothing is run twice."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from crl.interactivesessions.autorecoveringterminal import AutoRecoveringTerminal
from crl.interactivesessions.autorunnerterminal import AutoRunnerTerminal
from crl.interactivesessions.runnerexceptions import (
    InvalidProxySession,
    RemoteTimeout,
    RunnerException,
    RunnerTerminalSessionBroken,
    RunnerTerminalSessionClosed,
    SessionInitializationFailed,
)
from crl.interactivesessions.shells.bashshell import BashShell
from crl.interactivesessions.shells.sshshell import SshShell
from tests.link.peers import PATIENCE, eventually, freeze
from tests.terminals.conftest import Make
from tests.terminals.sshd import Sshd

# Nobody may wait for the link to doubt its peer.
DOUBT = 5
# Logins of busy machines take their time; the old package took a minute.
RECOVERY_SECONDS = 30


class Recovered:
    """A terminal with one proxy that its prepare fills, and a log of what was called."""

    def __init__(self, make: Make, shells: Any = None) -> None:
        self.with_ssh = shells is not None
        self.log: list[str] = []
        self.terminal: AutoRunnerTerminal = make(shells, prepare=self.prepare, finalize=self.finalize)
        self.proxy = self.terminal.create_empty_recursive_proxy()

    def prepare(self) -> None:
        self.log.append("prepare")
        self.terminal.import_libraries("os", "time")
        self.proxy.set_from_remote_proxy(self.terminal.get_recursive_proxy("os"))

    def finalize(self) -> None:
        self.log.append("finalize")
        self.proxy.getpid()

    def kill_carrier(self) -> None:
        """End the terminal and what could go on over another one: kill ssh or bash, and Python."""
        link = self.terminal.link
        # The terminal must not be quick enough to tell of the program's end: then nothing would be looked for.
        freeze(self.carrier())
        os.kill(link.facts.pid, signal.SIGKILL)
        self.kill_terminal()
        # Its own attempt to find the program again comes first, which is a login.
        assert eventually(lambda: not link.alive, seconds=60)

    def carrier(self) -> int:
        """The process id of ssh or bash."""
        assert self.terminal.session is not None
        session = self.terminal.session.get_session()
        assert session is not None
        pid: int = session.terminal.channel.pid
        return pid

    def kill_terminal(self) -> None:
        """Kill ssh or bash."""
        os.kill(self.carrier(), signal.SIGKILL)

    def kill_program(self) -> None:
        """Kill Python on the target."""
        os.kill(self.terminal.link.facts.pid, signal.SIGKILL)


@contextlib.contextmanager
def within(seconds: float) -> Iterator[None]:
    started = time.monotonic()
    yield
    assert time.monotonic() - started < seconds


@pytest.fixture(params=["bash", "ssh"])
def recovered(request: pytest.FixtureRequest, sshd: Sshd, make: Make) -> Recovered:
    return Recovered(make, sshd.shell() if request.param == "ssh" else None)


def test_the_next_use_after_a_kill_of_the_carrier(recovered: Recovered) -> None:
    pid, session_id = recovered.proxy.getpid(), recovered.terminal.session_id
    old = recovered.terminal.get_proxy_object_from_call("list", [1])
    recovered.kill_carrier()
    with within(RECOVERY_SECONDS):
        assert recovered.proxy.getpid() != pid
    assert recovered.log == ["prepare", "finalize", "prepare"]
    assert recovered.terminal.session_id != session_id
    with pytest.raises(InvalidProxySession):
        old.as_local_value()
    recovered.terminal.close()
    assert recovered.log[3:] == ["finalize"]


class CountedSsh(SshShell):
    """Counts its logins."""

    logins = 0

    def start(self) -> str:
        type(self).logins += 1
        return super().start()


@pytest.fixture
def counted(sshd: Sshd, make: Make, monkeypatch: pytest.MonkeyPatch) -> Recovered:
    monkeypatch.setattr(CountedSsh, "logins", 0)
    return Recovered(make, sshd.shell(CountedSsh))


def test_a_recovery_logs_in_once(counted: Recovered) -> None:
    counted.proxy.getpid()
    assert eventually(lambda: counted.terminal.link.resumable)
    # The link looks for its program over another terminal, where it is not: the new session uses that terminal.
    counted.kill_carrier()
    logins = CountedSsh.logins
    assert logins >= 2
    assert counted.proxy.getpid() > 0
    assert CountedSsh.logins == logins
    assert counted.log == ["prepare", "finalize", "prepare"]
    assert counted.terminal.session is not None
    session = counted.terminal.session.get_session()
    assert session is not None
    counted.terminal.close_session()
    assert session.current_shell().exec_command("echo $((6 * 7))").strip() == "42"


def test_a_terminal_that_is_there_already_may_have_ended(counted: Recovered) -> None:
    counted.proxy.getpid()
    assert eventually(lambda: counted.terminal.link.resumable)
    assert counted.terminal.session is not None
    session = counted.terminal.session.get_session()
    assert session is not None
    counted.kill_carrier()
    assert session._spare is not None
    os.kill(session._spare.terminal.channel.pid, signal.SIGKILL)
    logins = CountedSsh.logins
    assert counted.proxy.getpid() > 0
    assert CountedSsh.logins == logins + 1


def test_a_terminal_that_nobody_uses_is_closed(counted: Recovered) -> None:
    counted.proxy.getpid()
    assert eventually(lambda: counted.terminal.link.resumable)
    counted.kill_carrier()
    with pytest.raises(RunnerTerminalSessionBroken):
        counted.terminal.run_python("1")
    assert counted.terminal.session is not None
    assert counted.terminal.session.get_session() is None
    counted.terminal.close()


def test_a_close_ends_a_login_under_way(make: Make, tmp_path: Path) -> None:
    begun = tmp_path / "begun"
    terminal = make(BashShell("sh", init_env=f"content:touch {begun}; sleep 60"))
    failures: list[BaseException] = []

    def use() -> None:
        try:
            terminal.initialize_if_needed()
        except RunnerException as error:
            failures.append(error)

    thread = threading.Thread(target=use)
    thread.start()
    assert eventually(begun.exists)
    with within(20):
        terminal.close()
    thread.join(60)
    assert [type(error) for error in failures] == [SessionInitializationFailed]


def test_a_kill_of_the_terminal_alone_is_hardly_noticed(recovered: Recovered) -> None:
    pid, session_id = recovered.proxy.getpid(), recovered.terminal.session_id
    kept = recovered.terminal.get_proxy_object_from_call("list", [1])
    link = recovered.terminal.link
    running = link.submit_evaluate("[time.sleep(1), 'done'][1]")
    assert eventually(lambda: link.resumable)
    recovered.kill_terminal()
    if recovered.with_ssh:
        with within(RECOVERY_SECONDS):
            assert recovered.proxy.getpid() == pid
        assert running.result(30) == "done"
        assert eventually(lambda: recovered.terminal.link.statistics.resumed == 1)
    assert recovered.proxy.getpid() == pid
    assert kept.as_local_value() == [1]
    assert recovered.terminal.session_id == session_id
    assert recovered.log == ["prepare"]
    recovered.terminal.close()
    assert recovered.log == ["prepare", "finalize"]


@contextlib.contextmanager
def when_there(path: Path, do: Callable[[], object]) -> Iterator[None]:
    """Beside the block, do something when a call on the target has made a file."""

    def wait() -> None:
        assert eventually(path.exists, 20)
        do()

    thread = threading.Thread(target=wait)
    thread.start()
    try:
        yield
    finally:
        thread.join()


def test_a_kill_of_the_carrier_in_mid_call(recovered: Recovered, tmp_path: Path) -> None:
    begun = tmp_path / "begun"
    recovered.proxy.getpid()
    with (
        within(RECOVERY_SECONDS),
        pytest.raises(RunnerTerminalSessionBroken) as caught,
        when_there(begun, recovered.kill_carrier),
    ):
        recovered.terminal.run_python(f"open({str(begun)!r}, 'w').close() or time.sleep(100)")
    assert "ended" in str(caught.value)
    with pytest.raises(RunnerTerminalSessionClosed):
        recovered.terminal.run_python("1")
    with within(RECOVERY_SECONDS):
        assert recovered.proxy.getpid() > 0


def test_a_kill_of_python_on_the_target(make: Make, tmp_path: Path) -> None:
    recovered, begun = Recovered(make), tmp_path / "begun"
    recovered.proxy.getpid()
    with (
        within(RECOVERY_SECONDS),
        pytest.raises(RunnerTerminalSessionBroken),
        when_there(begun, recovered.kill_program),
    ):
        recovered.terminal.run_python(f"open({str(begun)!r}, 'w').close() or time.sleep(100)")
    with within(RECOVERY_SECONDS):
        assert recovered.proxy.getpid() > 0
    assert recovered.log == ["prepare", "finalize", "prepare"]


def test_pending_answers_do_not_live_through_a_recovery(make: Make) -> None:
    recovered = Recovered(make)
    recovered.proxy.remote_proxy_use_asynchronous_response()
    handle = recovered.proxy.system("sleep 30")
    waiting: list[BaseException] = []

    def wait() -> None:
        try:
            recovered.proxy.get_remote_proxy_response(handle)
        except RunnerException as error:
            waiting.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    recovered.kill_carrier()
    thread.join(60)
    assert [type(error) for error in waiting] == [InvalidProxySession]
    recovered.proxy.remote_proxy_use_synchronous_response()
    assert recovered.proxy.getpid() > 0
    with pytest.raises(InvalidProxySession):
        recovered.proxy.get_remote_proxy_response(handle)


def test_calls_are_not_run_twice(make: Make, tmp_path: Path) -> None:
    recovered = Recovered(make)
    count = tmp_path / "count"
    recovered.proxy.getpid()
    begun = tmp_path / "begun"
    with pytest.raises(RunnerTerminalSessionBroken), when_there(begun, recovered.kill_carrier):
        recovered.proxy.system(f"echo x >> {count}; touch {begun}; sleep 60")
    assert recovered.proxy.system("true") == 0
    time.sleep(0.2)
    assert count.read_text() == "x\n"


def test_many_callers_are_recovered_once(make: Make) -> None:
    recovered = Recovered(make)
    recovered.proxy.getpid()
    recovered.kill_carrier()
    pids: list[int] = []
    threads = [threading.Thread(target=lambda: pids.append(recovered.proxy.getpid())) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(pids) == 20
    assert len(set(pids)) == 1
    assert recovered.log == ["prepare", "finalize", "prepare"]


def test_a_frozen_target_keeps_nobody_beyond_his_limit(make: Make) -> None:
    recovered = Recovered(make)
    recovered.proxy.getpid()
    pid = recovered.terminal.link.facts.pid
    freeze(pid)
    try:
        uses: list[Callable[[], Any]] = [
            lambda: recovered.terminal.run_python("1", timeout=0.5),
            lambda: recovered.proxy.getpid,
            lambda: len(recovered.proxy),
            lambda: recovered.terminal.run_python("1", timeout=-1),
        ]
        recovered.proxy.set_remote_proxy_timeout(0.5)
        for use in uses:
            with within(DOUBT), pytest.raises(RemoteTimeout):
                use()
        with within(DOUBT):
            repr(recovered.proxy)
    finally:
        os.kill(pid, signal.SIGCONT)
    recovered.proxy.set_remote_proxy_timeout(None)
    assert recovered.proxy.getpid() == pid
    assert recovered.log == ["prepare"]


def test_a_late_answer_of_a_frozen_target_is_redeemed(make: Make) -> None:
    terminal = make()
    terminal.initialize_if_needed()
    pid = terminal.link.facts.pid
    freeze(pid)
    try:
        with pytest.raises(RemoteTimeout) as caught:
            terminal.run_python("6 * 7", timeout=0.3)
    finally:
        os.kill(pid, signal.SIGCONT)
    assert terminal.get_response(caught.value, 30) == 42


def test_close_of_a_frozen_target_ends(make: Make) -> None:
    terminal = make()
    terminal.initialize_if_needed()
    pid = terminal.link.facts.pid
    freeze(pid)
    try:
        with within(30):
            terminal.close()
    finally:
        with contextlib.suppress(ProcessLookupError):  # it may have been ended with its terminal
            os.kill(pid, signal.SIGKILL)


def test_a_recovery_that_takes_too_long_for_a_caller(make: Make, tmp_path: Path) -> None:
    go_on = tmp_path / "go on"
    terminal = make(BashShell(init_env=f"content:while [ ! -e '{go_on}' ]; do sleep 0.05; done"))
    proxy = terminal.get_recursive_proxy("str")
    proxy.set_remote_proxy_timeout(0.4)
    with within(15), pytest.raises(RemoteTimeout, match="nothing of this call was sent") as caught:
        proxy(1)
    with pytest.raises(InvalidProxySession):
        proxy.get_remote_proxy_response(caught.value)
    go_on.touch()
    terminal.initialize_if_needed()
    proxy.set_remote_proxy_timeout(None)
    assert proxy(1) == "1"


def test_verify_of_the_user_is_called_for_each_use(make: Make) -> None:
    terminal = make()
    calls: list[int] = []
    assert isinstance(terminal.session, AutoRecoveringTerminal)
    terminal.session.set_verify(lambda: calls.append(1))
    proxy = terminal.get_recursive_proxy("str")
    assert proxy(1) == "1"
    assert calls == []
    assert proxy.__name__ == "str"
    assert len(calls) == 1
    proxy(2)
    assert len(calls) == 2


def test_a_broken_prepare_is_named(make: Make) -> None:
    def prepare() -> None:
        terminal.import_libraries("no_such_module")

    terminal = make(prepare=prepare)
    with pytest.raises(SessionInitializationFailed, match="no_such_module") as caught:
        terminal.initialize_if_needed()
    assert isinstance(caught.value.args[0], ImportError)


def test_nothing_is_left_on_the_target(make: Make) -> None:
    recovered = Recovered(make)
    recovered.proxy.getpid()
    program = recovered.terminal.link.facts.pid
    recovered.terminal.close()
    assert eventually(lambda: not Path(f"/proc/{program}").exists(), PATIENCE)
