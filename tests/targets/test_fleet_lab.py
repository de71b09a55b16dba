"""Fleets on the lab's hosts: many logins at once, by a gateway too, and 500 sessions in one process.

Invariant: the limit by first hop keeps an sshd with default MaxStartups from dropping anybody, threads do not grow with
the targets, and at the end nothing is left here.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from crl.targets import Fleet, FleetProgress
from tests.link.peers import eventually

if TYPE_CHECKING:
    from crl.lab import Lab

pytestmark = pytest.mark.lab

HOSTS = ("alpha", "gateway", "beta", "gamma")
ROLES = ("key", "bash", "dash", "both")
DESCRIPTORS_EACH = 8
MIB = 1024


def _aliases(number: int) -> list[str]:
    all_of_them = [f"{host}-{role}" for host in HOSTS for role in ROLES]
    return [all_of_them[turn % len(all_of_them)] for turn in range(number)]


def _descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def _memory(place: str, name: str) -> float:
    """A figure of /proc in MiB."""
    line = next(line for line in Path(place).read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) / MIB


def _hold(lab: Lab, number: int, figure: Callable[[str], None]) -> None:
    """So many sessions at once in this process, each used, and all closed."""
    before, descriptors = threading.active_count(), _descriptors()
    available, own = _memory("/proc/meminfo", "MemAvailable"), _memory("/proc/self/status", "VmRSS")
    most = 0

    def count(_: FleetProgress) -> None:
        nonlocal most
        most = max(most, threading.active_count() - before)

    with Fleet(_aliases(number), config=lab.ssh_config, progress=count, connect_timeout=120) as fleet:
        began = time.monotonic()
        fleet.connect().raise_errors()
        connected = time.monotonic() - began
        # One for the links, whatever their number; all that opened are gone.
        assert eventually(lambda: threading.active_count() - before <= 1)
        opened = _descriptors() - descriptors
        assert opened <= number * DESCRIPTORS_EACH + 16
        used = available - _memory("/proc/meminfo", "MemAvailable")
        grown = _memory("/proc/self/status", "VmRSS") - own
        began = time.monotonic()
        names = fleet.run(["hostname"]).grouped(lambda outcome: outcome.result().stdout.strip())
        ran = time.monotonic() - began
        assert {name: len(found) for name, found in names.items()} == {
            host: sum(alias.startswith(host) for alias in _aliases(number)) for host in HOSTS
        }
        began = time.monotonic()
    closed = time.monotonic() - began
    assert eventually(lambda: threading.active_count() <= before and _descriptors() <= descriptors)
    figure(
        f"{number} targets: connected in {connected:.1f} s with at most {most} threads, then 1; {opened} descriptors,"
        f" {grown:.0f} MiB here, {used:.0f} MiB for all with ssh, sshd and Python of both ends; hostname on all in"
        f" {ran:.1f} s, closed in {closed:.1f} s; {os.cpu_count()} cores, load {os.getloadavg()[0]:.0f}"
    )


def test_forty_sessions_in_one_process(lab: Lab, figure: Callable[[str], None]) -> None:
    _hold(lab, 40, figure)


@pytest.mark.long
@pytest.mark.timeout(900)
def test_five_hundred_sessions_in_one_process(lab: Lab, figure: Callable[[str], None]) -> None:
    _hold(lab, 500, figure)


def test_a_host_with_default_limits_drops_nobody(lab: Lab) -> None:
    # Its sshd refuses some at random from ten logins under way on (MaxStartups 10:30:100); all go by the gateway.
    aliases = [f"gamma-{role}" for role in ROLES] * 6
    fleet = Fleet(aliases, config=lab.ssh_config, connect_timeout=120)
    assert len(fleet.run(["true"], check=True).values()) == len(aliases)


def test_what_is_wrong_with_one_is_its_own(lab: Lab) -> None:
    password = lab.host("alpha").user("password")
    targets = {
        "good": "alpha",
        "nowhere": "no-such-host.invalid",
        "refused": {"host": "alpha-password", "config": str(lab.ssh_config), "password": "not that one"},
        "let in": {"host": "alpha-password", "config": str(lab.ssh_config), "password": password.password},
        "behind": "beta",
    }
    fleet = Fleet(targets, config=lab.ssh_config)
    outcomes = fleet.run(["hostname"])
    assert [outcome.name for outcome in outcomes.failed] == ["nowhere", "refused"]
    assert "could not be resolved" in str(outcomes["nowhere"].error)
    assert "did not let the user" in str(outcomes["refused"].error)
    assert "not that one" not in repr(outcomes) + str(outcomes["refused"].error)
    assert outcomes["behind"].result().stdout == "beta\n"
