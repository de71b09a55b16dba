"""Fleets from a suite and from the command line: real runs against the lab, one outcome for each host."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest

from tests.faces.artefacts import LIMIT, TIMEOUT, robot, write_suite

if TYPE_CHECKING:
    from pathlib import Path

    from crl.lab import Lab

pytestmark = [pytest.mark.lab, TIMEOUT]

SUITE = """\
Library    OperatingSystem

*** Variables ***
@{HOSTS}    alpha    gateway

*** Test Cases ***
A Command Runs On All
    Open Fleet    @{HOSTS}    config=${SSH_CONFIG}
    ${outcomes}    Run Command On Fleet    hostname
    Should Be Equal    ${outcomes.names}    ${HOSTS}
    Should Be Equal    ${outcomes['gateway'].value.stdout}    gateway\\n

What Fails On One Names It
    Run Keyword And Expect Error    *not done on 1 of 2 targets:*gateway: CommandFailed:*
    ...    Run Command On Fleet    test $(hostname) = alpha
    ${outcomes}    Run Command On Fleet    test $(hostname) = alpha    may_fail=True
    Should Be Equal    ${outcomes.failed.names}    ${{['gateway']}}
    ${outcomes}    Run Command On Fleet    test $(hostname) = alpha    check=False
    Should Be Equal    ${{[outcome.value.status for outcome in $outcomes]}}    ${{[0, 1]}}

Python And Files
    ${sums}    Call Remote Function On Fleet    operator.add    ${40}    ${2}
    Should Be Equal    ${sums.values()}    ${{[42, 42]}}
    Create File    ${FOLDER}/greeting    hello
    Push Files To Fleet    ${FOLDER}/greeting    /tmp/fleet-greeting
    Pull Files From Fleet    /tmp/fleet-greeting    ${FOLDER}/pulled
    File Should Exist    ${FOLDER}/pulled/alpha/fleet-greeting
    File Should Exist    ${FOLDER}/pulled/gateway/fleet-greeting

Several Fleets And An Inventory
    VAR    &{root}    shellname=SudoShell    cmd=sudo -n bash
    VAR    &{host}    host=alpha-both    config=${SSH_CONFIG}
    VAR    @{shells}    ${host}
    VAR    &{targets}    other=${shells}
    Open Fleet    some    alias=listed    inventory=${INVENTORY}    config=${SSH_CONFIG}    targets=${targets}
    ${outcomes}    Run Command On Fleet    id -un
    Should Be Equal    ${outcomes.names}    ${{['first', 'other']}}
    ${before}    Switch Fleet    fleet
    Should Be Equal    ${before}    listed
    Close Fleet    listed
    Run Keyword And Expect Error    *no open fleet 'listed'*    Switch Fleet    listed

Who Cannot Be Reached
    Run Keyword And Expect Error    *not connected to 1 of 2 targets:*nobody: SessionInitializationFailed:*
    ...    Open Fleet    alpha    nobody    alias=half    config=${SSH_CONFIG}
    Open Fleet    alpha    nobody    alias=half    config=${SSH_CONFIG}    may_fail=True
    ${outcomes}    Run Command On Fleet    true    may_fail=True
    Should Be Equal    ${outcomes.succeeded.names}    ${{['alpha']}}
"""
INVENTORY = '[targets]\nfirst = "alpha"\n[groups]\nsome = ["first"]\n'


def test_keywords(lab: Lab, tmp_path: Path) -> None:
    inventory = tmp_path / "hosts.toml"
    inventory.write_text(INVENTORY)
    given = ("--variable", f"INVENTORY:{inventory}", "--variable", f"FOLDER:{tmp_path / 'files'}")
    ended = robot(tmp_path, write_suite(tmp_path, SUITE), *given, env={"CRL_LAB_DIR": str(lab.folder)})
    assert (ended.status, ended.errors) == (0, ""), ended.output
    results = ET.parse(tmp_path / "results" / "output.xml").getroot().findall(".//test/status")
    assert [result.get("status") for result in results] == ["PASS"] * 5


def crl_run(lab: Lab, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "crl.cli", "run", "--config", str(lab.ssh_config), *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, check=False)


def test_one_host_is_as_if_it_ran_here(lab: Lab) -> None:
    done = crl_run(lab, "alpha", "hostname; echo oh >&2; exit 3")
    assert (done.returncode, done.stdout, done.stderr) == (3, "alpha\n", "oh\n")
    assert crl_run(lab, "alpha", "kill -9 $$").returncode == 128 + 9


def test_many_hosts(lab: Lab, tmp_path: Path) -> None:
    done = crl_run(lab, "alpha,gateway", "--", "hostname", "-s")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "alpha: status 0\n  alpha\ngateway: status 0\n  gateway\n"
    inventory = tmp_path / "hosts.toml"
    inventory.write_text(INVENTORY)
    done = crl_run(lab, "some,nobody", "--json", "--inventory", str(inventory), "--", "hostname")
    first, nobody = json.loads(done.stdout)
    assert (done.returncode, first["host"], first["status"], first["stdout"]) == (1, "first", 0, "alpha\n")
    assert (nobody["ok"], nobody["error"], nobody["stage"]) == (False, "SessionInitializationFailed", "connecting")
    done = crl_run(lab, "alpha,gateway", "--stop-after", "1", "--at-once", "1", "--", "false")
    assert done.returncode == 1
    assert done.stdout == "alpha: status 1\n"
    assert "gateway: FleetCancelled" in done.stderr


def test_wrong_words(lab: Lab) -> None:
    for words in (("alpha",), (",", "--", "true"), ("alpha", "--inventory", "/no/such/file", "--", "true")):
        done = crl_run(lab, *words)
        assert (done.returncode, done.stdout) == (2, ""), words
        assert done.stderr
