"""What a host of the lab is: apart from the machine and from its neighbours."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from crl.errors import UsageError
from crl.lab import LabTimeout
from crl.lab.plan import HOSTS
from tests.link.peers import eventually

if TYPE_CHECKING:
    from crl.lab import Lab, LabHost

pytestmark = pytest.mark.lab

HOST_NAMES = [spec.name for spec in HOSTS]
KINDS = ("net", "mnt", "uts", "pid", "ipc")


def text(host: LabHost, *argv: str, user: str = "root") -> str:
    result = host.exec(argv, user)
    assert result.returncode == 0, result.stderr
    return result.stdout.decode()


def shell(host: LabHost, line: str, user: str = "root") -> str:
    return text(host, "sh", "-c", line, user=user)


def test_hosts_have_their_own_names_and_namespaces(lab: Lab) -> None:
    seen = {kind: {os.readlink(f"/proc/self/ns/{kind}")} for kind in KINDS}
    for name in HOST_NAMES:
        host = lab.host(name)
        assert text(host, "hostname") == f"{name}\n"
        for kind in KINDS:
            seen[kind].add(text(host, "readlink", f"/proc/self/ns/{kind}"))
    assert {kind: len(found) for kind, found in seen.items()} == dict.fromkeys(KINDS, 1 + len(HOST_NAMES))


@pytest.mark.parametrize("name", HOST_NAMES)
def test_pid_1_is_a_reaper(lab: Lab, name: str) -> None:
    host = lab.host(name)
    first = host.processes()[0]
    assert (first.pid, first.uid) == (1, 0)
    assert "init.py" in first.command
    orphan = int(shell(host, "(sh -c 'echo $$; exec >/dev/null; read x </dev/null; exit 5' &)"))
    assert eventually(lambda: orphan not in {process.pid for process in host.processes()})


def test_tmp_run_and_homes_are_each_hosts_own(lab: Lab) -> None:
    folders = ("/tmp", "/run", "/home", "/root", "/var/lib", "/etc", "/usr/lib")
    name = f"lab-test-{os.getpid()}"
    try:
        for host in HOST_NAMES:
            shell(lab.host(host), f"for d in {' '.join(folders)}; do echo {host} >$d/{name}; done")
        for host in HOST_NAMES:
            seen = shell(lab.host(host), f"for d in {' '.join(folders)}; do cat $d/{name}; done")
            assert seen == f"{host}\n" * len(folders)
        assert not [folder for folder in folders if Path(folder, name).exists()]
    finally:
        for host in HOST_NAMES:
            shell(lab.host(host), f"for d in {' '.join(folders)}; do rm -f $d/{name}; done")


def test_users_exist_on_the_hosts_only(lab: Lab) -> None:
    machine = Path("/etc/passwd").read_text()
    for user in lab.host("alpha").users.values():
        assert f"{user.login}:" not in machine
        assert text(lab.host("beta"), "id", "-un", user=user.role) == f"{user.login}\n"


def test_hosts_know_each_other_by_name(lab: Lab) -> None:
    for name in HOST_NAMES:
        table = shell(
            lab.host(name),
            "getent hosts localhost >&2 && getent ahostsv4 alpha gateway beta gamma controller localhost",
        )
        assert {line.split()[0] for line in table.splitlines()} >= {lab.host(name).address, "127.0.0.1"}


def test_gateway_forwards_nothing(lab: Lab) -> None:
    assert shell(lab.host("gateway"), "cat /proc/sys/net/ipv4/ip_forward") == "0\n"
    near = lab.plan.hosts["gateway"].link.address
    assert lab.host("beta").exec(["ping", "-c1", "-W1", lab.host("alpha").address]).returncode == 2
    assert lab.host("beta").exec(["ping", "-c1", "-W1", near]).returncode == 2


def test_machine_is_out_of_reach_of_the_hosts_root(lab: Lab) -> None:
    host = lab.host("alpha")
    for user in ("root", "key"):  # read only: trying it out would set the machine's clock if it were not so
        bounds = int(shell(host, "sed -n s/^CapBnd://p /proc/self/status", user), 16)
        assert not bounds & (1 << 16 | 1 << 17 | 1 << 25)
    first = int(shell(host, "sed -n s/^CapBnd://p /proc/1/status"), 16)
    assert not first & (1 << 16 | 1 << 17 | 1 << 25)
    assert host.exec(["sh", "-c", "echo 1 >/proc/sys/kernel/printk_delay"]).returncode != 0
    assert host.exec(["sh", "-c", "echo 0 >/proc/sys/net/ipv4/ip_forward"]).returncode == 0
    devices = set(shell(host, "ls /dev").split())
    assert {"null", "tty", "ptmx", "fuse"} <= devices
    assert not [name for name in devices if name.startswith(("vd", "sd", "nvme", "kmsg", "mem"))]


def test_default_limits_of_gamma(lab: Lab) -> None:
    settings = shell(lab.host("gamma"), "sshd -T -C user=keyuser,host=x,addr=127.0.0.1").splitlines()
    assert {"maxstartups 10:30:100", "maxsessions 10"} <= set(settings)


def test_inner_namespace_of_alpha(lab: Lab) -> None:
    host = lab.host("alpha")
    assert "inner" in text(host, "ip", "netns", "list")
    here = text(host, "readlink", "/proc/self/ns/net")
    assert text(host, "ip", "netns", "exec", "inner", "readlink", "/proc/self/ns/net") != here
    outside = shell(host, "ip -4 -o addr show inner0").split()[3].split("/")[0]
    assert host.exec(["ip", "netns", "exec", "inner", "ping", "-c1", "-W2", outside]).returncode == 0


def test_exec_passes_input_status_and_user(lab: Lab) -> None:
    host = lab.host("gamma")
    result = host.exec(["sh", "-c", "cat; echo oops >&2; pwd; exit 9"], "tcsh", b"hello\n")
    assert (result.returncode, result.stdout, result.stderr) == (9, b"hello\n/home/tcshuser\n", b"oops\n")
    with pytest.raises(UsageError, match="no user 'nobody-here'"):
        host.exec(["true"], "nobody-here")


@pytest.mark.parametrize("user", ["root", "key"])
def test_exec_that_takes_too_long_is_killed_there(lab: Lab, user: str) -> None:
    host = lab.host("gamma")
    with pytest.raises(LabTimeout, match="was killed"):
        host.exec(["sleep", "4321"], user, timeout=0.3)
    # What was killed takes a moment to be gone.
    assert eventually(lambda: not [process for process in host.processes() if "4321" in process.argv])


def test_hosts_without_x2go_have_no_trace_of_it(lab: Lab) -> None:
    for name in ("gateway", "gamma"):
        assert lab.host(name).exec(["sh", "-c", "command -v x2golistsessions"], "key").returncode == 127
