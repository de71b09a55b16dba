"""The texts of the lab are understood, as they are meant, by the programs that read them."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from crl.lab import texts
from crl.lab.plan import HOSTS, ROLES, make_plan

if TYPE_CHECKING:
    from pathlib import Path

    from crl.lab.plan import RoleSpec

PLAN = make_plan("lab", "10.207.1.0/24")
PASSWD = """\
root:x:0:0:root:/root:/bin/bash
sshd:x:103:65534::/run/sshd:/bin/false
anna:x:1000:1000::/home/anna:/bin/sh
nobody:x:65534:65534::/:/bin/false
"""


def settings(tmp_path: Path, alias: str, folder: str = "/lab dir/100%") -> dict[str, str]:
    config = tmp_path / "ssh_config"
    config.write_text(texts.ssh_config_text(PLAN, folder))
    said = subprocess.run(["ssh", "-G", "-F", config, alias], capture_output=True, text=True, check=True).stdout
    return dict(line.split(" ", 1) for line in said.splitlines() if " " in line)


@pytest.mark.parametrize("host", [spec.name for spec in HOSTS])
@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.role)
def test_ssh_understands_each_alias(tmp_path: Path, host: str, role: RoleSpec) -> None:
    found = settings(tmp_path, f"{host}-{role.role}")
    plan = PLAN.hosts[host]
    assert (found["hostname"], found["port"], found["user"]) == (plan.link.address, "22", role.login)
    assert found["stricthostkeychecking"] == "true"
    assert found["userknownhostsfile"] == "/lab dir/100%/known_hosts" or "100%" in found["userknownhostsfile"]
    assert found["preferredauthentications"] == ",".join(role.methods)
    assert found.get("proxyjump") == plan.via
    if role.has_key:
        assert found["identityfile"].replace("%%", "%") == f"/lab dir/100%/keys/{role.role}"
    else:
        assert found["pubkeyauthentication"] == "false"


def test_bare_name_is_the_default_user(tmp_path: Path) -> None:
    assert settings(tmp_path, "beta")["user"] == "keyuser"


@pytest.mark.skipif(os.geteuid() != 0, reason="sshd -T needs root")
@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.role)
def test_sshd_understands_each_user(tmp_path: Path, role: RoleSpec) -> None:
    config = tmp_path / "sshd_config"
    lines = [
        line for line in texts.sshd_config_text(PLAN.hosts["alpha"]).splitlines() if not line.startswith("HostKey")
    ]
    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-N", "", "-t", "ed25519", "-f", key], check=True)
    config.write_text(f"HostKey {key}\n" + "\n".join(lines) + "\n")
    command = ["/usr/sbin/sshd", "-T", "-f", str(config), "-C", f"user={role.login},host=x,addr=127.0.0.1"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    said = result.stdout.splitlines()
    assert "authenticationmethods " + " ".join(role.methods) in said
    assert ("banner /etc/ssh/banner.nasty" in said) == (role.role == "nasty")
    assert "maxstartups 100:30:100" in said


def test_known_hosts_finds_a_host_by_name_and_address(tmp_path: Path) -> None:
    keys = {
        name: [f"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEk{index:040d}= comment"] for index, name in enumerate(PLAN.hosts)
    }
    file = tmp_path / "known_hosts"
    file.write_text(texts.known_hosts_text(PLAN, keys))
    for name, host in PLAN.hosts.items():
        for wanted in (name, host.link.address):
            said = subprocess.run(
                ["ssh-keygen", "-F", wanted, "-f", file], capture_output=True, text=True, check=True
            ).stdout
            assert said.splitlines()[1].endswith(keys[name][0].split()[1])


def test_accounts_of_people_are_left_out() -> None:
    merged = texts.merged_accounts(PASSWD, texts.passwd_text(PLAN.hosts["alpha"].users.values()))
    names = [line.split(":")[0] for line in merged.splitlines()]
    assert names == ["root", "sshd", "nobody", *(role.login for role in ROLES)]
    shadow = texts.merged_accounts(
        "root:!:1::::::\nanna:hash:1::::::\n", texts.shadow_text({"root": "*"}), names_left=names
    )
    assert shadow == f"\nroot:*:{texts.SHADOW_DAYS}:0:99999:7:::\n"


def test_sudoers_is_valid(tmp_path: Path) -> None:
    file = tmp_path / "sudoers"
    file.write_text(texts.SUDOERS.replace("@includedir /etc/sudoers.d\n", ""))
    file.chmod(0o440)
    result = subprocess.run(["visudo", "-cf", file], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert "use_pty" in texts.SUDOERS
    assert "NOPASSWD" not in texts.SUDOERS


def test_hosts_file_names_everybody_and_localhost() -> None:
    lines = [line.split("\t") for line in texts.hosts_text(PLAN, "gamma").splitlines() if "::" not in line]
    table = {name: address for address, name in lines}
    assert table["localhost"] == "127.0.0.1"
    assert set(table) == {"localhost", "alpha", "beta", "gamma", "gateway", "controller"}


@pytest.mark.parametrize(("words", "signal"), [([], "USR2"), (["-r", "now"], "INT"), (["-h", "now"], "USR2")])
def test_shutdown_script_asks_pid_1(tmp_path: Path, words: list[str], signal: str) -> None:
    script = tmp_path / "shutdown"
    script.write_text(
        texts.power_script("shutdown", "USR2").replace("exec kill", "exec echo kill").replace("$(id -u)", "0")
    )
    script.chmod(0o755)
    said = subprocess.run([script, *words], capture_output=True, text=True, check=True).stdout
    assert said == f"kill -s {signal} 1\n"
