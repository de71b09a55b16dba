"""`down` leaves no namespace, process, mount, user, file or interface; not even after an `up` that was killed."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from crl.errors import UsageError
from crl.lab import Lab, LabNotUp, requirements
from crl.lab.processes import wait_end
from tests.link.peers import PATIENCE

pytestmark = pytest.mark.lab

KINDS = ("net", "mnt", "uts", "pid", "ipc")


@pytest.fixture
def other(tmp_path: Path) -> Lab:
    found = requirements()
    if not found.ok:
        pytest.skip("this machine cannot run the lab: " + "; ".join(found.missing))
    return Lab(tmp_path / "deep" / "lab", f"d{os.getpid() % 1_000_000}")


def namespaces_in_use(before: float) -> set[str]:
    """Those of the processes that began before a moment: the numbers of namespaces are soon given to others."""
    found = set()
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            began = int(Path("/proc", pid, "stat").read_text().rpartition(")")[2].split()[19])
            if began <= before * os.sysconf("SC_CLK_TCK"):
                found |= {os.readlink(f"/proc/{pid}/ns/{kind}") for kind in KINDS}
    return found


def namespaces_of(lab: Lab) -> set[str]:
    """All namespaces of the lab's hosts and supervisors that are not this process's own."""
    pids = {"self"}
    for name in lab.plan.hosts:
        condition = lab.host(name).condition
        pids |= {str(condition.pid), str(condition.pid1)}
    own = {os.readlink(f"/proc/self/ns/{kind}") for kind in KINDS}
    return {os.readlink(f"/proc/{pid}/ns/{kind}") for pid in pids for kind in KINDS} - own


def traces(lab: Lab, name: str) -> dict[str, list[str]]:
    """Whatever on this machine has to do with the lab."""
    found: dict[str, list[str]] = {"processes": [], "mounts": [], "interfaces": [], "users": [], "rules": []}
    folder = str(lab.folder)
    for pid in filter(str.isdigit, os.listdir("/proc")):
        if int(pid) == os.getpid():
            continue
        with contextlib.suppress(OSError):  # it has ended meanwhile
            command = Path("/proc", pid, "cmdline").read_bytes().decode(errors="replace")
            if folder in command:
                found["processes"].append(f"{pid} {command}")
            mounts = Path("/proc", pid, "mountinfo").read_text()
            found["mounts"] += [line for line in mounts.splitlines() if f"crl-{name}-" in line or folder in line]
    links = json.loads(subprocess.run(["ip", "-json", "link"], capture_output=True, check=True).stdout)
    found["interfaces"] = [link["ifname"] for link in links if link["ifname"].startswith(f"crl-{name}")]
    found["users"] = re.findall("lab user", Path("/etc/passwd").read_text())
    rules = subprocess.run(["nft", "list", "ruleset"], capture_output=True, text=True, check=True).stdout
    found["rules"] = re.findall("crl_lab", rules)
    return {kind: things for kind, things in found.items() if things}


def test_down_leaves_nothing(other: Lab, tmp_path: Path) -> None:
    passwd = Path("/etc/passwd").read_bytes()
    assert other.up().up
    name = other.plan.name
    namespaces = namespaces_of(other)
    assert len(namespaces) >= 4 * len(KINDS)
    alpha = other.host("alpha")
    alpha.slow(delay=0.01)
    other.host("beta").cut(drop=True)
    stray = subprocess.Popen(alpha.network_command(["sleep", "600"]))
    assert set(traces(other, name)) == {"processes", "mounts", "interfaces"}
    began = time.clock_gettime(time.CLOCK_BOOTTIME)
    assert namespaces <= namespaces_in_use(began)
    other.down()
    assert stray.wait(PATIENCE) == -signal.SIGKILL
    assert traces(other, name) == {}
    assert not namespaces & namespaces_in_use(began)
    assert list(tmp_path.iterdir()) == []
    assert Path("/etc/passwd").read_bytes() == passwd
    assert not other.status().exists
    with pytest.raises(LabNotUp, match="there is no lab"):
        other.host("alpha")
    other.down()


def test_up_twice_is_quick_and_changes_nothing(other: Lab) -> None:
    try:
        first = other.up()
        lines: list[str] = []
        second = other.up(lines.append)
        assert first == second
        assert lines == ["the lab is up already"]
        with pytest.raises(UsageError, match="already a lab named"):
            Lab(other.folder, "another").up()
    finally:
        other.down()


@pytest.mark.parametrize("step", ["making keys", "making hosts", "booting"])
def test_down_after_an_up_that_was_killed(other: Lab, step: str, tmp_path: Path) -> None:
    program = (
        "import os, signal, sys; from crl.lab import Lab\n"
        "def tell(line):\n    if line.startswith(sys.argv[3]): os.kill(os.getpid(), signal.SIGKILL)\n"
        "Lab(sys.argv[1], sys.argv[2]).up(tell)\n"
    )
    name = f"k{os.getpid() % 1_000_000}"
    command = [sys.executable, "-c", program, str(other.folder), name, step]
    assert subprocess.run(command, timeout=60, check=False).returncode == -signal.SIGKILL
    again = Lab(other.folder, name)
    assert not again.status().up
    if step == "booting":
        assert again.up().up
    again.down()
    assert traces(again, name) == {}
    assert list(tmp_path.iterdir()) == []


def test_killed_supervisor_takes_its_host_with_it(other: Lab) -> None:
    other.up()
    try:
        condition = other.host("gamma").condition
        os.kill(condition.pid, signal.SIGKILL)
        assert wait_end(condition.pid1, PATIENCE)
        states = {host.name: host.state for host in other.status().hosts}
        assert states == {"alpha": "up", "gateway": "up", "beta": "up", "gamma": "gone"}
        assert other.up().up
    finally:
        other.down()
