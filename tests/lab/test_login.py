"""Every user of every host logs in with his own method, and with nothing else."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from crl.lab.plan import HOSTS, ROLES

if TYPE_CHECKING:
    from crl.lab import Lab
    from tests.lab.sshing import Ssh

pytestmark = pytest.mark.lab

HOST_NAMES = [spec.name for spec in HOSTS]
AT_ONCE = 4
PARENT = 'import os, sys; print(open("/proc/%d/comm" % os.getppid()).read().strip()); print(sys.prefix)'


@pytest.mark.parametrize("host", HOST_NAMES)
def test_each_user_logs_in_with_his_method_and_shell(ssh: Ssh, host: str) -> None:
    def login(role: str) -> tuple[str, str]:
        result = ssh.as_role(host, role, f"id -un; hostname; python3 -c '{PARENT}'; true")
        assert result.returncode == 0, result.stderr
        return role, result.stdout

    with ThreadPoolExecutor(AT_ONCE) as pool:
        answers = dict(pool.map(login, [role.role for role in ROLES]))
    for role in ROLES:
        login_name, name, shell, prefix = answers[role.role].splitlines()
        assert (login_name, name, prefix) == (role.login, host, "/usr")
        assert shell == role.shell.rsplit("/", 1)[-1]


@pytest.mark.parametrize("host", HOST_NAMES)
def test_sshd_offers_each_user_only_his_methods(ssh: Ssh, host: str) -> None:
    def offered(role: str) -> tuple[str, set[str]]:
        result = ssh(f"{host}-{role}", "true", "-o", "PreferredAuthentications=none")
        denied = re.search(r"Permission denied \(([\w,-]+)\)", result.stderr)
        assert result.returncode == 255
        assert denied is not None, result.stderr
        return role, set(denied[1].split(","))

    with ThreadPoolExecutor(AT_ONCE) as pool:
        answers = dict(pool.map(offered, [role.role for role in ROLES]))
    assert answers == {role.role: set(role.methods) for role in ROLES}


def test_key_of_another_user_is_refused(lab: Lab, ssh: Ssh) -> None:
    result = ssh("alpha-key", "true", "-o", f"IdentityFile={lab.key('bash')}", "-o", "IdentityFile=none")
    assert result.returncode == 0, "the key of the alias itself comes first"
    config = f"keyuser@{lab.host('alpha').address}"
    result = ssh(config, "true", "-i", str(lab.key("bash")))
    assert result.returncode == 255
    assert "Permission denied (publickey)" in result.stderr


def test_password_of_another_host_is_refused(lab: Lab, ssh: Ssh) -> None:
    other = lab.host("gateway").users["password"].password
    assert other is not None
    result = ssh("alpha-password", "true", "-o", "NumberOfPasswordPrompts=1", password=other.value)
    assert result.returncode == 255
    assert "Permission denied (password)" in result.stderr


def test_root_cannot_log_in(lab: Lab, ssh: Ssh) -> None:
    host = lab.host("alpha")
    result = ssh(f"root@{host.address}", "true", "-o", "NumberOfPasswordPrompts=1", password=host.root_password.value)
    assert result.returncode == 255
    assert "Permission denied" in result.stderr


@pytest.mark.parametrize("host", ["beta", "gamma"])
def test_hosts_behind_the_gateway_are_not_reached_directly(ssh: Ssh, host: str) -> None:
    result = ssh(host, "true", "-o", "ProxyJump=none", "-o", "ConnectTimeout=2")
    assert result.returncode == 255
    assert re.search("timed out|unreachable|No route", result.stderr)


def test_sudo_asks_for_the_password(lab: Lab, ssh: Ssh) -> None:
    password = lab.host("alpha").users["both"].password
    assert password is not None
    refused = ssh("alpha-both", "sudo -n id -u")
    assert refused.returncode == 1
    assert "a password is required" in refused.stderr
    granted = ssh("alpha-both", f"echo {password.value} | sudo -S -p '' id -u")
    assert (granted.returncode, granted.stdout) == (0, "0\n"), granted.stderr
    nobody = ssh("alpha-key", "sudo -n id -u")
    assert nobody.returncode == 1


def test_wrong_host_key_is_refused(ssh: Ssh, lab: Lab) -> None:
    beta_key = next(line for line in lab.known_hosts.read_text().splitlines() if line.startswith("beta,"))
    file = ssh.askpass.with_name("known_hosts")
    file.write_text(f"{lab.host('alpha').address} {beta_key.split(' ', 1)[1]}\n")
    result = ssh("alpha", "true", "-o", f"UserKnownHostsFile={file}")
    assert result.returncode == 255
    assert "Host key verification failed" in result.stderr


def test_nasty_user_gets_banner_prompt_and_motd(ssh: Ssh, lab: Lab) -> None:
    result = ssh("alpha-nasty", "exit 3", "-tt")
    assert result.returncode == 3
    assert "password:" in result.stderr
    shown = ssh("alpha-nasty", "bash -i", "-tt", typed="exit\n")
    assert "Login chatter" in shown.stdout
    assert "password: ]" in shown.stdout
    motd = lab.host("alpha").exec(["cat", "/etc/motd.nasty"], "nasty")
    login = ssh("alpha-nasty", "", "-tt", typed="exit\n")
    assert motd.stdout.decode().splitlines()[-1] in login.stdout
