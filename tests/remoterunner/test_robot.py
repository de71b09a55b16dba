"""RemoteRunner in Robot Framework: the example suite of the documentation, and Libdoc."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.faces.artefacts import EXAMPLES, TIMEOUT, python, read, robot, secrets_in
from tests.faces.test_examples import statuses

if TYPE_CHECKING:
    from crl.lab import Lab

pytestmark = TIMEOUT
LIBRARIES = (
    "crl.interactivesessions.remoterunner.RemoteRunner",
    "crl.interactivesessions.InteractiveSessions.InteractiveSessions",
    "crl.interactivesessions.shells.timeouts.Timeouts",
)


@pytest.mark.lab
def test_example(tmp_path: Path, lab: Lab) -> None:
    done = robot(tmp_path, EXAMPLES / "remoterunner.robot", env={"CRL_LAB_DIR": str(lab.folder)})
    assert done.status == 0, done.output + done.errors
    found = statuses(tmp_path / "results" / "output.xml")
    assert len(found) == 5
    assert set(found.values()) == {"PASS"}
    assert "(stdout) progress" in read(tmp_path / "results" / "output.xml")
    password = lab.host("alpha").users["password"].password
    assert password is not None
    assert secrets_in(done.everything(), [password.value]) == []


POOLS = """\
*** Settings ***
Library    crl.interactivesessions.remoterunner.RemoteRunner
Variables    {variables}
Suite Setup    Both Ways
Suite Teardown    Close

*** Test Cases ***
Terminals Of A Pool Serve Many
    Execute Background Command In Target    echo $$; exec sleep 600    target=one    exec_id=kept
    ${{first}}    Execute Command In Target    hostname; id -un    target=one
    ${{second}}    Execute Command In Target    hostname; id -un    target=two
    Should Be Equal    ${{first.stdout}}    ${{second.stdout}}
    Kill Background Execution    kept
    ${{result}}    Wait Background Execution    kept
    Should Be Equal    ${{result.status}}    -15
    Should Match Regexp    ${{result.stdout}}    ^[0-9]+$

*** Keywords ***
Both Ways
    Set Terminalpools Maxsize    2
    VAR    &{{host}}    host=alpha-password    password=${{PASSWORD}}    config=${{SSH_CONFIG}}
    VAR    &{{inner}}    shellname=BashShell
    VAR    @{{one}}    ${{host}}
    VAR    @{{two}}    ${{host}}    ${{inner}}
    Set Target    ${{one}}    name=one
    Set Target    ${{two}}    name=two
    Open Targets    one    two
"""


@pytest.mark.lab
def test_suites_in_several_processes_at_once(tmp_path: Path, lab: Lab) -> None:
    """As pabot runs them: each a process of its own, with pools of its own, on the same host."""

    def run(name: str) -> tuple[int, str]:
        suite = tmp_path / name / "pools.robot"
        suite.parent.mkdir()
        suite.write_text(POOLS.format(variables=EXAMPLES / "lab.py"), encoding="utf-8")
        done = robot(suite.parent, suite, env={"CRL_LAB_DIR": str(lab.folder)})
        return done.status, done.output + done.errors

    with ThreadPoolExecutor(2) as processes:
        for status, said in processes.map(run, ("first", "second")):
            assert status == 0, said


def test_the_page_shows_the_example() -> None:
    page = (EXAMPLES.parent / "remoterunner.md").read_text(encoding="utf-8")
    real = (EXAMPLES / "remoterunner.robot").read_text(encoding="utf-8").splitlines()
    shown = page.partition("```robotframework\n")[2].partition("```")[0]
    assert [line for line in shown.splitlines() if line not in real] == []


@pytest.mark.parametrize("library", LIBRARIES)
def test_libdoc(library: str, tmp_path: Path) -> None:
    done = python(tmp_path, "-m", "robot.libdoc", library, "doc.json")
    assert (done.status, done.errors) == (0, ""), done.output
    doc = json.loads((tmp_path / "doc.json").read_text(encoding="utf-8"))
    assert doc["scope"] == "GLOBAL"
    assert doc["keywords"]
    for keyword in doc["keywords"]:
        assert keyword["doc"], keyword["name"]
        for argument in keyword["args"]:
            assert argument["type"], f"{keyword['name']}: {argument['name']} has no type"
            assert argument.get("doc"), f"{keyword['name']}: {argument['name']} has no description"
