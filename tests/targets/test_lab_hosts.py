"""Targets on the lab's hosts: stacks of shells, another user, a reboot that is really one.

Invariant: after a reboot the same target object serves again, and everything of the time before is refused.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from typing import TYPE_CHECKING

import pytest

from crl.interactivesessions import SshShell, SudoShell
from crl.interactivesessions.autorecoveringterminal import AutoRecoveringTerminal
from crl.interactivesessions.autorunnerterminal import AutoRunnerTerminal
from crl.interactivesessions.runnerexceptions import (
    InvalidProxySession,
    RunnerTerminalSessionBroken,
    RunnerTerminalSessionClosed,
)
from crl.lab import Lab
from crl.targets import ConnectTimeout, RebootFailed, Target

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.lab


@pytest.fixture(scope="module")
def own_lab(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A lab whose hosts may be rebooted: the shared one belongs to all tests."""
    assert lab.status().up
    own = Lab(tmp_path_factory.mktemp("lab") / "own", f"r{os.getpid() % 1_000_000}")
    own.up()
    yield own
    own.down()


def _root_on(lab: Lab, host: str) -> list[SshShell | SudoShell]:
    user = lab.host(host).user("both")
    return [SshShell(f"{host}-both", config=lab.ssh_config), SudoShell(password=user.password)]


def test_root_through_sudo(own_lab: Lab) -> None:
    with Target(_root_on(own_lab, "alpha")) as target:
        assert target.run(["id", "-u"]).stdout == "0\n"
        assert target.facts.hostname == "alpha"
        assert target.python.os.geteuid() == 0


def test_second_hop_with_a_password(own_lab: Lab) -> None:
    user = own_lab.host("beta").user("password")
    shells = [
        SshShell("gateway", config=own_lab.ssh_config),
        SshShell("beta", user.login, user.password, known_hosts=own_lab.known_hosts),
    ]
    with Target(shells) as target:
        assert (target.facts.hostname, target.facts.user) == ("beta", user.login)
        assert target.run(["true"]).ok


@pytest.mark.parametrize("host", ["alpha", "beta"])
def test_reboot(own_lab: Lab, host: str) -> None:
    with Target(_root_on(own_lab, host)) as target:
        before = target.facts
        old = target.python.collections.Counter("aab")
        assert old["a"] == 2
        after = target.reboot(timeout=60)
        assert after.boot_id != before.boot_id
        with pytest.raises(InvalidProxySession):
            old["a"]
        assert target.run(["cat", "/proc/sys/kernel/random/boot_id"]).stdout.strip() == after.boot_id


def test_wait_until_up_after_a_cut(own_lab: Lab) -> None:
    host = own_lab.host("alpha")
    with Target(_root_on(own_lab, "alpha")) as target:
        first = target.facts
        host.reboot(hard=True)
        assert target.wait_until_up(timeout=60).boot_id != first.boot_id


def _use_until_lost(terminal: AutoRunnerTerminal) -> None:
    # What goes on over another terminal would still be the old program; after a reboot it is gone.
    with contextlib.suppress(RunnerTerminalSessionBroken, RunnerTerminalSessionClosed):
        while terminal.run_python("6 * 7") == 42:
            threading.Event().wait(0.05)


def test_a_terminal_comes_back_when_its_tries_cover_the_boot(own_lab: Lab) -> None:
    prepared: list[int] = []
    session = AutoRecoveringTerminal()
    session.initialize(_root_on(own_lab, "alpha"), sleep_between_tries=0.2, max_tries=600)
    terminal = AutoRunnerTerminal()
    terminal.initialize(session, prepare=lambda: prepared.append(1))
    try:
        terminal.initialize_if_needed()
        boot = "open('/proc/sys/kernel/random/boot_id').read()"
        before = terminal.run_python(boot)
        rebooting = threading.Thread(target=own_lab.host("alpha").reboot, kwargs={"hard": True})
        rebooting.start()
        _use_until_lost(terminal)
        terminal.initialize_if_needed()
        assert terminal.run_python(boot) != before
        rebooting.join()
        assert len(prepared) == 2
    finally:
        terminal.close()


def test_a_frozen_host_fails_at_the_deadline(own_lab: Lab) -> None:
    host = own_lab.host("alpha")
    target = Target(_root_on(own_lab, "alpha"))
    host.freeze("sshd")
    try:
        began = time.monotonic()
        with pytest.raises(ConnectTimeout):
            target.connect(timeout=1)
        with pytest.raises(RebootFailed, match="not up in time"):
            target.wait_until_up(timeout=2)
        target.close()
        # Far less than the login's own limit of fifteen seconds for each try.
        assert time.monotonic() - began < 15
    finally:
        host.thaw("sshd")
    with Target(_root_on(own_lab, "alpha")) as again:
        assert again.run(["true"]).ok
