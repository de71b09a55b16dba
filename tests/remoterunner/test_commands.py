"""Commands of RemoteRunner: results, output while it runs, ends that are proved, and what is refused."""

from __future__ import annotations

import logging
import os
import signal
import threading
from pathlib import Path

import pytest

from crl.interactivesessions._process import FailedToKillProcess, RunnerTimeout
from crl.interactivesessions.remoterunner import (
    BackgroundExecIdAlreadyInUse,
    RemoteRunner,
    RunResult,
    TargetIsNotSet,
)
from crl.interactivesessions.runnerexceptions import RunnerTerminalSessionBroken, SessionInitializationFailed
from crl.interactivesessions.shells.registershell import UnregisteredShell
from crl.link import Link
from tests.link.peers import eventually


def link_of(runner: RemoteRunner, target: str = "default") -> Link:
    handle = runner.targets[target]
    with handle.pools.active_terminal(handle.shelldicts, handle.properties.properties) as terminal:
        return terminal.terminal.link


def alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as source:
            return source.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_result_is_text_without_space_at_its_end(runner: RemoteRunner) -> None:
    result = runner.execute_command_in_target("echo foo; echo; echo bar >&2; printf '\\377' >&2; exit 3")
    assert result == RunResult("3", "foo", "bar\n\\xff")
    assert result == ("3", "foo", "bar\n\\xff")


def test_a_signal_is_a_negative_status(runner: RemoteRunner) -> None:
    assert runner.execute_command_in_target("kill -9 $$").status == "-9"


def test_a_command_is_one_request(runner: RemoteRunner) -> None:
    runner.execute_command_in_target("true")
    link = link_of(runner)
    before = link.statistics.requests
    runner.execute_command_in_target("true")
    assert link.statistics.requests == before + 1


def test_executable_and_environment(runner: RemoteRunner) -> None:
    assert runner.execute_command_in_target("echo $0", executable="/bin/sh").stdout == "/bin/sh"
    runner.set_target_property("default", "default_executable", "/bin/sh")
    runner.set_target_property("default", "update_env_dict", {"CRL_SET": "yes", "HOME": None})
    assert runner.execute_command_in_target('echo "$0 $CRL_SET [$HOME]"').stdout == "/bin/sh yes []"
    with pytest.raises(FileNotFoundError):
        runner.execute_command_in_target("true", executable="/bin/no-such-shell")
    assert runner.execute_command_in_target("echo on").stdout == "on"


def test_timeout_kills_the_process_group_and_tells_what_came(runner: RemoteRunner) -> None:
    runner.execute_command_in_target("true")
    command = "echo $$; sleep 600 & echo $!; wait"
    with pytest.raises(RunnerTimeout) as caught:
        runner.execute_command_in_target(command, timeout=5)
    result = caught.value.args[0]
    assert isinstance(result, RunResult)
    assert isinstance(result.stdout, bytes)
    pids = [int(pid) for pid in result.stdout.split()]
    assert len(pids) == 2
    assert not any(alive(pid) for pid in pids)
    assert command in str(caught.value)


def test_timeout_of_a_command_that_ignores_sigterm(runner: RemoteRunner) -> None:
    runner.set_target_property("default", "termination_timeout", "0.2")
    runner.execute_command_in_target("true")
    with pytest.raises(RunnerTimeout) as caught:
        runner.execute_command_in_target("trap '' TERM; echo $$; while :; do sleep 0.1; done", timeout=5)
    assert caught.value.result.status == "-9"
    assert not alive(int(caught.value.result.stdout))


def test_timeout_is_given_as_text_by_robot(runner: RemoteRunner) -> None:
    assert runner.execute_command_in_target("echo yes", timeout="5").stdout == "yes"  # type: ignore[arg-type]


def test_output_is_logged_while_the_command_runs(runner: RemoteRunner, caplog: pytest.LogCaptureFixture) -> None:
    seen: list[str] = []

    class Answering(logging.Handler):
        """Lets the command go on when its first line is in the log."""

        def emit(self, record: logging.LogRecord) -> None:
            seen.append(record.getMessage())
            if seen[-1].endswith("(stdout) first"):
                runner_of_answer.execute_command_in_target(f"touch {flag}")

    flag = f"/tmp/crl-progress-{os.getpid()}"
    runner_of_answer = runner
    handler = Answering()
    logger = logging.getLogger("crl.interactivesessions.remoterunner")
    caplog.set_level(logging.INFO, logger.name)
    logger.addHandler(handler)
    try:
        result = runner.execute_command_in_target(
            f"echo first; until [ -e {flag} ]; do sleep 0.02; done; rm {flag}; echo oops >&2; printf last",
            timeout=20,
            progress_log=True,
        )
    finally:
        logger.removeHandler(handler)
    assert result == RunResult("0", "first\nlast", "oops")
    assert {line.partition("(")[2] for line in seen} == {"stdout) first", "stderr) oops", "stdout) last"}


def test_progress_log_keeps_its_timeout(runner: RemoteRunner) -> None:
    runner.execute_command_in_target("true")
    with pytest.raises(RunnerTimeout) as caught:
        runner.execute_command_in_target("echo begun; sleep 600", timeout=5, progress_log=True)
    assert caught.value.result.stdout == b"begun\n"


def test_background_executions(runner: RemoteRunner) -> None:
    runner.execute_background_command_in_target("echo one; exit 4", exec_id="one")
    # A number of its own: runs beside this one look for theirs.
    sleeping = f"sleep 6543.{os.getpid()}"
    runner.execute_background_command_in_target(f"echo two; {sleeping}", exec_id="two")
    with pytest.raises(BackgroundExecIdAlreadyInUse, match="'two'"):
        runner.execute_background_command_in_target("true", exec_id="two")
    assert runner.wait_background_execution("one") == RunResult("4", "one", "")
    assert eventually(lambda: runner.execute_command_in_target(f"pgrep -x -f '{sleeping}'").status == "0")
    killed = runner.kill_background_execution("two")
    assert killed == RunResult("-15", "two", "")
    assert runner.kill_background_execution("two") == killed
    assert runner.wait_background_execution("two") == killed
    for keyword in (runner.wait_background_execution, runner.kill_background_execution):
        with pytest.raises(KeyError):
            keyword("two")


def test_waiting_too_long_kills_and_keeps_the_result(runner: RemoteRunner) -> None:
    runner.execute_background_command_in_target("echo $$; exec sleep 600")
    with pytest.raises(RunnerTimeout) as caught:
        runner.wait_background_execution("background", timeout=5)
    assert not alive(int(caught.value.result.stdout))
    assert runner.wait_background_execution("background").status == "-15"


def test_nohup_outlives_the_connection(runner: RemoteRunner) -> None:
    pid = runner.execute_nohup_background_in_target("sleep 600 & wait")
    try:
        runner.close()
        assert os.getpgid(pid) == pid
        assert alive(pid)
    finally:
        os.killpg(pid, signal.SIGKILL)
    assert eventually(lambda: not alive(pid))


def test_close_ends_commands_and_forgets_targets(runner: RemoteRunner) -> None:
    sleeping = f"sleep 6544.{os.getpid()}"
    runner.execute_background_command_in_target(f"exec {sleeping}", exec_id="left")
    found = f"pgrep -x -f '{sleeping}'"
    assert eventually(lambda: runner.execute_command_in_target(found).status == "0")
    pid = int(runner.execute_command_in_target(found).stdout)
    runner.close()
    assert eventually(lambda: not alive(pid))
    with pytest.raises(TargetIsNotSet, match="'default'"):
        runner.execute_command_in_target("true")


def test_a_lost_session_is_said_and_the_next_command_connects_again(runner: RemoteRunner, tmp_path: Path) -> None:
    file = tmp_path / "pid"
    runner.execute_background_command_in_target(f"echo $$ >{file}; exec sleep 600", exec_id="lost")
    assert eventually(lambda: file.exists() and file.read_text().endswith("\n"))
    os.kill(link_of(runner).facts.pid, signal.SIGKILL)
    os.kill(int(file.read_text()), signal.SIGKILL)  # nobody else ends it now
    with pytest.raises(RunnerTerminalSessionBroken):
        runner.wait_background_execution("lost", timeout=20)
    assert runner.execute_command_in_target("echo again").stdout == "again"


def test_many_threads_share_one_connection(runner: RemoteRunner) -> None:
    runner.execute_command_in_target("true")
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for turn in range(5):
                assert runner.execute_command_in_target(f"echo {number} {turn}").stdout == f"{number} {turn}"
        except BaseException as error:  # noqa: BLE001 - told to the test's own thread
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not failures
    assert runner.terminalpools.size == 1


def test_targets_that_are_wrong(runner: RemoteRunner) -> None:
    with pytest.raises(TargetIsNotSet, match="there are: default"):
        runner.execute_command_in_target("true", target="nowhere")
    with pytest.raises(AttributeError, match="no target property"):
        runner.set_target_property("default", "no_such", 1)
    runner.set_target([{"shellname": "NoSuchShell"}], "unregistered")
    with pytest.raises(UnregisteredShell):
        runner.execute_command_in_target("true", target="unregistered")
    runner.set_target([{"host": "no-such-host.invalid"}], "nobody")
    with pytest.raises(SessionInitializationFailed, match="could not be resolved"):
        runner.execute_command_in_target("true", target="nobody")


def test_default_properties(runner: RemoteRunner) -> None:
    runner.set_default_target_property("termination_timeout", "3")
    runner.set_default_target_property("of_my_own", "value")
    properties = runner.get_target_properties("default")
    assert (properties["termination_timeout"], properties["of_my_own"]) == (3, "value")
    assert set(properties) == {
        "default_executable", "max_processes_in_target", "prompt_timeout", "termination_timeout", "update_env_dict",
        "of_my_own",
    }  # fmt: skip


def test_error_of_a_process_that_cannot_be_killed_is_readable() -> None:
    error = FailedToKillProcess(17, "sleep 600", host="alpha")
    assert error.args == (17, "sleep 600")
    assert "process 17 is alive" in str(error)
