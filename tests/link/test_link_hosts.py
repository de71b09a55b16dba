"""The link over real sshd: a terminal at the far end, and what a kill or a cut network does to it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from crl.channels.process import ProcessChannel
from crl.lab import Lab
from crl.link import CallTimeout, Link, LinkLost
from crl.link._engine import SUSPECT_AFTER
from tests.link.peers import Shell, alive, eventually

pytestmark = pytest.mark.lab
MakeShell = Callable[..., Shell]


def remote_shell(lab: Lab, make_shell: MakeShell, alias: str = "alpha") -> Shell:
    """A shell on a host of the lab behind `ssh -tt`."""
    argv = ["ssh", "-F", str(lab.ssh_config), "-tt", "-e", "none", alias, "exec /bin/sh"]
    return make_shell("ssh", channel=ProcessChannel(argv, name=f"ssh {alias}"))


def test_a_host_behind_a_terminal(lab: Lab, make_shell: MakeShell) -> None:
    shell = remote_shell(lab, make_shell)
    before = shell.ask("stty -g")
    link = Link.start(shell.lane(), timeout=30)
    every_byte = bytes(range(256)) * 40 + b"\r~.\n~.\r\n"
    assert link.invoke("bytes", every_byte) == every_byte
    data = os.urandom(3_000_000)
    assert link.run(["cat"], stdin=data).stdout == data
    assert link.run("hostname").stdout.strip() == b"alpha"
    assert link.close(20)
    assert shell.ask("stty -g") == before


def test_a_call_costs_one_round_trip_and_no_more(lab: Lab, make_shell: MakeShell) -> None:
    link = Link.start(remote_shell(lab, make_shell).lane(), timeout=30)
    before = link.statistics.requests
    link.evaluate("1")
    link.invoke("len", "abc")
    assert link.statistics.requests == before + 2
    assert link.close(20)


def test_a_killed_ssh_is_noticed_at_once(
    lab: Lab, make_shell: MakeShell, monkeypatch: pytest.MonkeyPatch
) -> None:
    shell = remote_shell(lab, make_shell)
    link = Link.start(shell.lane(), timeout=30)
    owned = link.start_process(["sleep", "306"])
    # It is not known by silence.
    monkeypatch.setattr("crl.link._engine.SUSPECT_AFTER", 1000.0)
    call = link.submit_invoke("__import__('time').sleep", (30,))
    assert {link.facts.pid, owned.pid} <= _living(lab)
    os.kill(shell.pid, signal.SIGKILL)
    with pytest.raises(LinkLost):
        call.result(25)
    assert not link.close()
    # Their numbers are those of the host's own process table.
    ours = {link.facts.pid, owned.pid}
    assert eventually(lambda: not ours & _living(lab))


def _living(lab: Lab) -> set[int]:
    """The processes of alpha that live, by their number there."""
    return {process.pid for process in lab.host("alpha").processes() if process.state not in "ZX"}


def test_a_cut_host_keeps_no_caller_beyond_its_deadline(lab: Lab, make_shell: MakeShell) -> None:
    link = Link.start(remote_shell(lab, make_shell).lane(), timeout=30)
    alpha = lab.host("alpha")
    alpha.cut(drop=True)
    try:
        started = time.monotonic()
        with pytest.raises(CallTimeout):
            link.evaluate("1", timeout=0.5)
        assert time.monotonic() - started < SUSPECT_AFTER
        call = link.submit_evaluate("6 * 7")
    finally:
        alpha.restore()
    assert call.result(60) == 42
    assert link.close(20)


CONTROLLER = """
import sys, time
sys.path.insert(0, {root!r})
from tests.link.peers import Shell
from crl.link import Link
link = Link.start(Shell({kind!r}).lane(), timeout=60)
process = link.start_process("sleep 307 & setsid sleep 308 & echo $!; wait")
stray = int(process.read_stdout(60))
print(link.facts.pid, process.pid, stray, link.start_detached(["sleep", "309"]).pid, flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("kind", ["pipe", "pty"])
def test_a_killed_controller_leaves_nothing_but_what_is_detached(kind: str) -> None:
    code = CONTROLLER.format(root=str(Path(__file__).parents[2]), kind=kind)
    controller = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert controller.stdout is not None
    with controller.stdout:
        *ours, detached = map(int, controller.stdout.readline().split())
        try:
            assert len(ours) == 3
            assert all(map(alive, ours))
            controller.kill()
            controller.wait(60)
            assert eventually(lambda: not any(map(alive, ours)))
            assert alive(detached)
        finally:
            os.kill(detached, signal.SIGKILL)
