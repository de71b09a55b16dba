"""The examples of the documentation, run for real: the same job as a Robot suite and as a pytest module."""

from __future__ import annotations

import math
import re
import shutil
import struct
import wave
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest

from tests.faces.artefacts import EXAMPLES, PICTURE, TIMEOUT, python, read, robot, secrets_in

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.lab, TIMEOUT]

DOCS = EXAMPLES.parent
NAMES = ("host", "desktop")
EMBEDDED = {"host": 0, "desktop": 6}


def statuses(output: Path) -> dict[str, str]:
    """Each test's name and status."""
    tests = ET.parse(output).iter("test")
    return {test.attrib["name"]: found.attrib["status"] for test in tests for found in test.findall("status")}


@pytest.mark.parametrize("name", NAMES)
def test_robot_example(name: str, tmp_path: Path, lab_env: dict[str, str], secrets: list[str]) -> None:
    done = robot(tmp_path, EXAMPLES / f"{name}.robot", env=lab_env)
    found = statuses(tmp_path / "results" / "output.xml")
    assert done.status == 0, done.output + done.errors
    assert done.errors == ""
    assert found
    assert set(found.values()) == {"PASS"}
    # Robot's log has each text once, however often it was logged: two looks at a still desktop may be one picture.
    assert read(tmp_path / "results" / "output.xml").count(PICTURE) == EMBEDDED[name]
    assert read(tmp_path / "results" / "log.html").count(PICTURE) >= EMBEDDED[name] // 2
    assert secrets_in(done.everything(), secrets) == []


@pytest.mark.parametrize("page", ["robot.md", "pytest.md"])
def test_pages_show_the_examples(page: str) -> None:
    text = (DOCS / page).read_text(encoding="utf-8")
    shown = re.findall(r"\(examples/(\S+)\), shortened:\n+```\w+\n(.*?)```", text, re.DOTALL)
    assert len(shown) == 2
    for name, block in shown:
        real = (EXAMPLES / name).read_text(encoding="utf-8").splitlines()
        assert [line for line in block.splitlines() if line not in real] == [], name


def _write_tone(path: Path, frequency: int) -> None:
    """Twenty seconds of one tone, as a WAV file."""
    second = [int(12000 * math.sin(2 * math.pi * frequency * n / 44100)) for n in range(44100)]
    with wave.open(str(path), "wb") as tone:
        tone.setparams((1, 2, 44100, 0, "NONE", ""))
        tone.writeframes(struct.pack("<44100h", *second) * 20)


def _tests_of(page: str) -> list[str]:
    """The blocks of a page that are no pieces of the example suites."""
    text = (DOCS / page).read_text(encoding="utf-8")
    return re.findall(r"(?<!shortened:\n\n)```robotframework\n(.*?)```", text, re.DOTALL)


def test_the_other_tests_of_the_page_run(tmp_path: Path, lab_env: dict[str, str], secrets: list[str]) -> None:
    blocks = _tests_of("robot.md")
    shutil.copy(EXAMPLES / "lab.py", tmp_path)
    _write_tone(tmp_path / "tone.wav", 440)
    head = "*** Settings ***\nLibrary    TargetLibrary\nLibrary    X2GoLibrary\nVariables    lab.py\n"
    setup = "Suite Setup    Open Target    alpha    config=${SSH_CONFIG}\n\n"
    (tmp_path / "page.robot").write_text(head + setup + "\n".join(blocks), encoding="utf-8")
    done = robot(tmp_path, tmp_path / "page.robot", env=lab_env)
    found = statuses(tmp_path / "results" / "output.xml")
    assert done.status == 0, done.output + done.errors
    assert len(found) == sum(block.count("*** Test Cases ***") for block in blocks) + 1
    assert secrets_in(done.everything(), secrets) == []


@pytest.mark.parametrize("name", NAMES)
def test_robot_dry_run(name: str, tmp_path: Path, lab_env: dict[str, str]) -> None:
    done = robot(tmp_path, EXAMPLES / f"{name}.robot", "--dryrun", env=lab_env)
    assert (done.status, done.errors) == (0, ""), done.output


@pytest.mark.parametrize("name", NAMES)
def test_pytest_example(name: str, tmp_path: Path, lab_env: dict[str, str], secrets: list[str]) -> None:
    options = ["-rA", "-p", "no:cacheprovider", "--log-level=DEBUG", f"--junit-xml={tmp_path / 'junit.xml'}"]
    done = python(tmp_path, "-m", "pytest", *options, EXAMPLES / f"test_{name}.py", env=lab_env)
    suite = ET.parse(tmp_path / "junit.xml").getroot().find("testsuite")
    assert suite is not None
    assert done.status == 0, done.output + done.errors
    assert int(suite.attrib["tests"]) >= 2
    assert (suite.attrib["failures"], suite.attrib["errors"], suite.attrib["skipped"]) == ("0", "0", "0")
    assert secrets_in(done.everything(), secrets) == []
