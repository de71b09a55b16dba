"""Targets on the lab's hosts: stacks of shells, another user, a reboot that is really one.

Invariant: after a reboot the same target object serves again, and everything of the time before is refused.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from crl.interactivesessions import SshShell, SudoShell
from crl.interactivesessions.runnerexceptions import InvalidProxySession
from crl.lab import Lab
from crl.targets import Target

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
