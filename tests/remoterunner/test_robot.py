"""RemoteRunner in Robot Framework: the example suite of the documentation, and Libdoc."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.faces.artefacts import EXAMPLES, python, read, robot, secrets_in
from tests.faces.test_examples import statuses

if TYPE_CHECKING:
    from crl.lab import Lab

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
