"""The terminals of RemoteRunner: shared, taken, limited, keyed without passwords, and closed in time."""

from __future__ import annotations

import gc
import os
import signal
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from crl.interactivesessions._manyatonce import FleetTimeout
from crl.interactivesessions._terminalpools import PoolNotFoundError, TerminalPoolsBusy, _TerminalPools, key_of
from crl.interactivesessions.remoterunner import RemoteRunner
from crl.interactivesessions.runnerexceptions import SessionInitializationFailed
from crl.secrets import Secret
from tests.link.peers import freeze

if TYPE_CHECKING:
    from tests.terminals.sshd import Sshd

LOCAL = [{"shellname": "BashShell"}]
SEPARATE_SECONDS = 8.0


def properties(**changed: Any) -> dict[str, Any]:
    return {"max_processes_in_target": 100, "prompt_timeout": 30, **changed}


def test_there_is_one_for_the_process() -> None:
    assert RemoteRunner().terminalpools is RemoteRunner().terminalpools is _TerminalPools()


def test_a_forked_child_has_pools_of_its_own(runner: RemoteRunner) -> None:
    runner.execute_command_in_target("true")
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        os.write(writing, b"%d" % _TerminalPools().size)
        os._exit(0)
    os.close(writing)
    assert os.read(reading, 10) == b"0"
    os.close(reading)
    os.waitpid(pid, 0)
    assert _TerminalPools().size == 1


def test_keys_tell_passwords_apart_and_do_not_show_them() -> None:
    def key(**shell: Any) -> str:
        return key_of([{"host": "alpha", **shell}])

    assert key(password="first word") == key(password=Secret("first word")) != key(password="second word") != key()
    assert "first" not in key(password="first word")
    assert "hidden" not in key(my_passphrase="hidden") + key(api_token="hidden") + key(other=Secret("hidden"))
    assert key(user="a", port=1) == key_of([{"port": 1, "user": "a", "host": "alpha"}])
    assert key_of(LOCAL, "zone") != key_of(LOCAL)


def test_taken_terminals_are_not_shared_and_come_back(runner: RemoteRunner) -> None:
    first, second = runner.get_terminal(), runner.get_terminal()
    assert first.runnerterminal is not second.runnerterminal
    runner.execute_command_in_target("true")
    assert runner.terminalpools.size == 3
    terminal = first.runnerterminal
    del first
    gc.collect()
    with runner.get_terminal() as again:
        assert again.runnerterminal is terminal
    assert runner.terminalpools.size == 3
    second.give_back()
    second.give_back()


def test_shared_terminals_have_a_limit(runner: RemoteRunner) -> None:
    runner.set_target_property("default", "max_processes_in_target", 2)
    for number in range(3):
        runner.execute_background_command_in_target("read never", exec_id=str(number))
    for number in range(3):
        runner.wait_background_execution(str(number))
    assert runner.terminalpools.size == 2
    runner.execute_command_in_target("true")
    assert runner.terminalpools.size == 2


def test_too_many_are_refused_and_free_ones_make_room(runner: RemoteRunner) -> None:
    runner.set_terminalpools_maxsize(1)
    runner.execute_background_command_in_target("sleep 600")
    runner.set_target([{"shellname": "BashShell", "cmd": "sh"}], "other")
    with pytest.raises(TerminalPoolsBusy, match="all 1 terminals"):
        runner.execute_command_in_target("true", target="other")
    runner.kill_background_execution("background")
    assert runner.execute_command_in_target("echo there", target="other").stdout == "there"
    assert runner.terminalpools.size == 1


def test_terminals_of_no_pool(runner: RemoteRunner) -> None:
    pools = runner.terminalpools
    terminal = pools.get(LOCAL, properties())
    pools.put_incr_shared(terminal)
    pools.decr_shared(terminal)
    assert pools.get(LOCAL, properties()) is terminal
    pools.put(terminal)
    pools.remove(terminal)
    for method in (pools.put, pools.remove, pools.decr_shared, pools.put_incr_shared):
        with pytest.raises(PoolNotFoundError):
            method(terminal)
    assert pools.size == 0


def test_targets_are_opened_beside_each_other(runner: RemoteRunner) -> None:
    # Each start waits until all have begun: one after another would never come to an end.
    folder = f"/tmp/crl-open-{os.getpid()}"
    os.mkdir(folder)
    try:
        for number in range(4):
            waiting = f"content: touch {folder}/{number}; until [ $(ls {folder} | wc -l) -ge 4 ]; do sleep 0.02; done"
            runner.set_target([{"shellname": "BashShell", "init_env": waiting}], str(number))
        runner.open_targets("0", "1", "2", "3")
        assert runner.terminalpools.size == 4
    finally:
        for name in os.listdir(folder):
            os.unlink(f"{folder}/{name}")
        os.rmdir(folder)


def test_a_target_that_cannot_be_opened_is_told(runner: RemoteRunner) -> None:
    runner.set_target([{"shellname": "BashShell", "cmd": "no-such-shell-anywhere"}], "bad")
    runner.set_default_target_property("prompt_timeout", 5)
    with pytest.raises(SessionInitializationFailed):
        runner.open_targets()
    assert runner.execute_command_in_target("echo on").stdout == "on"


def test_all_that_cannot_be_opened_are_told(runner: RemoteRunner) -> None:
    for name in ("bad", "worse"):
        runner.set_target([{"shellname": "BashShell", "cmd": f"no-such-shell-{name}"}], name)
    with pytest.raises(SessionInitializationFailed, match=r"2 of 3 targets .* bad: .*; worse: ") as caught:
        runner.open_targets()
    assert "no-such-shell-worse" in str(caught.value)
    assert runner.execute_command_in_target("echo on").stdout == "on"


def test_a_target_that_is_not_opened_in_time(runner: RemoteRunner) -> None:
    runner.set_target([{"shellname": "BashShell", "cmd": "sh", "init_env": "content:sleep 50"}], "slow")
    with pytest.raises(FleetTimeout, match="slow: "):
        runner.open_targets("slow", timeout=0.5)
    assert runner.terminalpools.size == 0


def test_close_ends_in_time_with_hung_terminals(runner: RemoteRunner, sshd: Sshd) -> None:
    shell = {
        "shellname": "SshShell", "ip": "127.0.0.1", "port": sshd.port, "identity": str(sshd.folder / "user"),
        "known_hosts": str(sshd.folder / "known_hosts"),
    }  # fmt: skip
    programs = []
    for number in range(3):
        runner.set_target([{**shell, "init_env": f"content: NUMBER={number}"}], str(number))
        runner.execute_command_in_target("true", target=str(number))
        handle = runner.targets[str(number)]
        with handle.pools.active_terminal(handle.shelldicts, properties()) as terminal:
            programs.append(terminal.terminal.link.facts.pid)
    for pid in programs:
        freeze(pid)
    began = time.monotonic()
    try:
        assert runner.terminalpools.close() == []
    finally:
        for pid in programs:
            os.kill(pid, signal.SIGKILL)
    # Beside each other: one after another would take three times as long as one.
    assert time.monotonic() - began < 2 * SEPARATE_SECONDS


def test_pools_under_threads(runner: RemoteRunner) -> None:
    pools, failures = runner.terminalpools, []
    runner.set_terminalpools_maxsize(3)

    def work(number: int) -> None:
        try:
            for turn in range(200):
                terminal = pools.get(LOCAL, properties()) if (number + turn) % 2 else pools.share(LOCAL, properties())
                pools.release(terminal)
        except TerminalPoolsBusy:
            pass
        except BaseException as error:  # noqa: BLE001 - told to the test's own thread
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not failures
    assert 1 <= pools.size <= 3
