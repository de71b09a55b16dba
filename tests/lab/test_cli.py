"""``crl lab``: each subcommand prints JSON when asked, and its exit status tells how it went."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from crl.lab import Lab


def crl(*words: str, lab: Lab | None = None, typed: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CRL_LAB_")}
    if lab is not None:
        environment["CRL_LAB_DIR"] = str(lab.folder)
    command = [sys.executable, "-m", "crl.cli", "lab", *words]
    return subprocess.run(command, input=typed, capture_output=True, env=environment, timeout=60, check=False)


def value(result: subprocess.CompletedProcess[bytes]) -> Any:
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def test_no_lab(tmp_path: Path) -> None:
    folder = str(tmp_path / "none")
    result = crl("status", "--json", "--folder", folder)
    assert result.returncode == 1
    assert json.loads(result.stdout) == {
        "name": "lab",
        "folder": folder,
        "exists": False,
        "network": None,
        "hosts": [],
        "up": False,
    }
    assert value(crl("down", "--json", "--folder", folder)) == {"folder": folder, "up": False}
    result = crl("exec", "--json", "--folder", folder, "alpha", "--", "true")
    assert result.returncode == 1
    assert json.loads(result.stderr)["error"] == "LabNotUp"
    result = crl("cut", "alpha", "--folder", folder)
    assert (result.returncode, result.stdout) == (1, b"")
    assert b"start one: crl lab up" in result.stderr


@pytest.mark.parametrize(
    "words", [["nonsense"], ["cut"], ["slow", "alpha", "--delay", "soon"], ["status", "--nonsense"]]
)
def test_wrong_usage_is_2(words: list[str]) -> None:
    result = crl(*words)
    assert result.returncode == 2
    assert b"--help" in result.stderr
    assert result.stdout == b""


def test_lab_is_imported_only_when_used() -> None:
    program = "import sys; from crl.cli import main; main(['--help']); print(*sys.modules)"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = result.stdout.splitlines()[-1]
    assert "crl.cli" in loaded
    assert "crl.lab" not in loaded


@pytest.mark.lab
def test_status_and_up(own_lab: Lab) -> None:
    found = value(crl("status", "--json", lab=own_lab))
    assert found["up"] is True
    assert [host["name"] for host in found["hosts"]] == ["alpha", "gateway", "beta", "gamma"]
    assert value(crl("up", "--json", lab=own_lab)) == found
    plain = crl("status", lab=own_lab)
    assert plain.returncode == 0
    assert b"\x1b" not in plain.stdout
    assert b"alpha\tup\t" in plain.stdout


@pytest.mark.lab
def test_exec_passes_streams_and_status(own_lab: Lab) -> None:
    result = crl(
        "exec",
        "beta",
        "--user",
        "zsh",
        "--",
        "sh",
        "-c",
        "cat; id -un; echo no >&2; exit 42",
        lab=own_lab,
        typed=b"in\n",
    )
    assert (result.returncode, result.stdout, result.stderr) == (42, b"in\nzshuser\n", b"no\n")
    result = crl("exec", "beta", "--json", "--", "sh", "-c", "echo --json; kill -9 $$", lab=own_lab)
    assert result.returncode == 137
    assert json.loads(result.stdout) == {"host": "beta", "status": -9, "stdout": "--json\n", "stderr": ""}


@pytest.mark.lab
def test_faults(own_lab: Lab) -> None:
    assert value(crl("cut", "gamma", "--drop", "--json", lab=own_lab)) == {"host": "gamma", "link": "dropping"}
    assert own_lab.host("gamma").link.cut == "drop"
    slow = value(crl("slow", "gamma", "--delay", "0.05", "--loss", "0.1", "--json", lab=own_lab))
    assert slow == {"host": "gamma", "delay": 0.05, "jitter": 0.0, "loss": 0.1, "rate": None}
    assert b"slow 0.05 s" in crl("status", lab=own_lab).stdout
    assert value(crl("restore", "gamma", "--json", lab=own_lab)) == {"host": "gamma", "link": "ok"}
    frozen = value(crl("freeze", "gamma", "sshd: /usr/sbin", "--json", lab=own_lab))["frozen"]
    assert [one["argv"][0][:4] for one in frozen] == ["sshd"]
    assert (
        value(crl("thaw", "gamma", str(frozen[0]["pid"]), "--json", lab=own_lab))["thawed"][0]["pid"]
        == frozen[0]["pid"]
    )
    before = own_lab.host("gamma").condition.boot_id
    rebooted = value(crl("reboot", "gamma", "--json", lab=own_lab))
    assert rebooted["state"] == "up"
    assert rebooted["boot_id"] == own_lab.host("gamma").condition.boot_id != before


def test_check_says_whether_it_can_run() -> None:
    result = crl("check", "--json")
    assert result.returncode == (0 if json.loads(result.stdout)["ok"] else 3)
