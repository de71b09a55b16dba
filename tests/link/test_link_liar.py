"""Whatever a lying target sends: one clear error that blames it or a plain value, in bounded memory, and no code runs.

The programs behind these tests have an audit hook that refuses every import, exec, compile, unpickling, start of a
process and opening of a file while a lie is read.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from crl.link import Keep, Link, LinkLost, LinkStartError, ProtocolViolation
from tests.link import liar
from tests.link.lying import lying_lane, lying_link
from tests.link.peers import Shell

MakeShell = Callable[..., Shell]
pytestmark = pytest.mark.clean_only("the liar speaks plain frames")
Print = Callable[[str], None]
ROOT = Path(__file__).parents[2]
# What one message may take at most, and the value that is made of it.
MOST_KIB = 450_000
SLOWEST = 20.0
NAMES = list(liar.LIES)


def audited(figure: Print, *args: str) -> dict[str, str]:
    """What each lie came to in a program under the hook; memory and time are looked at here."""
    ran = subprocess.run(
        [sys.executable, "-m", "tests.link.audited", *args],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr[-3000:]
    came: list[dict[str, Any]] = [json.loads(line) for line in ran.stdout.splitlines()]
    assert [lie["lie"] for lie in came if lie["heard"]] == [], [lie["heard"] for lie in came]
    worst = max(came, key=lambda lie: int(lie["grown"]))
    slowest = max(came, key=lambda lie: float(lie["seconds"]))
    figure(
        f"{len(came)} {args[0]} of a lying target: most memory {worst['grown'] >> 10} MiB more ({worst['lie']}),"
        f" at most {worst['peak'] >> 10} MiB in all, longest {slowest['seconds']:.1f} s ({slowest['lie']})"
    )
    assert worst["grown"] < MOST_KIB
    assert slowest["seconds"] < SLOWEST
    return {lie["lie"]: lie["outcome"] for lie in came}


@pytest.mark.parametrize("lie", [*liar.FRAMES, *NAMES[len(liar.FRAMES) :: 8]])
def test_a_lie_is_one_clear_violation(make_shell: MakeShell, lie: str) -> None:
    link = Link.start(lying_lane(make_shell(), lie), timeout=60)
    call = link.submit_evaluate("1", keep=Keep(None))
    with pytest.raises(ProtocolViolation) as caught:
        call.result(60)
    assert caught.value.host == "liar"
    assert "do not trust" in str(caught.value)
    assert not link.alive
    with pytest.raises(LinkLost):
        link.submit_evaluate("2").result(60)
    with pytest.raises(LinkLost):
        link.evaluate("3")
    assert threading.current_thread() is threading.main_thread()
    link.close()


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("part", range(4))
def test_every_lie_ends_the_link_and_nothing_runs(figure: Print, part: int) -> None:
    names = NAMES[part::4]
    assert audited(figure, "lies", *names) == dict.fromkeys(names, "violation")


def test_lies_without_end_are_ended(figure: Print) -> None:
    assert audited(figure, "lies", *liar.ENDLESS) == dict.fromkeys(liar.ENDLESS, "violation")


def test_no_body_runs_anything_or_takes_much(figure: Print) -> None:
    assert audited(figure, "bodies") == dict.fromkeys([*liar.BODIES, *liar.ERRORS], "violation")


def test_an_odd_value_is_a_value_or_the_error_of_its_call(figure: Print) -> None:
    came = audited(figure, "oddities")
    assert list(came) == list(liar.ODDITIES)
    refused = [name for name, outcome in came.items() if not outcome.startswith("value ")]
    assert refused == ["an object nobody registered", "a member nobody registered"]


def test_no_claim_is_more_than_an_error_of_its_call(figure: Print) -> None:
    came = audited(figure, "claims")
    assert list(came) == list(liar.CLAIMS)
    plain = {"ValueError", "FileNotFoundError", "OSError", "SyntaxError", "AssertionError", "ExceptionGroup"}
    harmless = {f"raised builtins.{name}" for name in (*plain, "TimeoutError")}
    assert {*came.values()} - harmless == {"raised crl.link.errors.RemoteError"}
    foreign = {f"{module}.{name}" for module in liar.DECIDING for name in liar.DECIDING[module]}
    # The name of asyncio for the builtin.
    aliases = {"asyncio.TimeoutError", "concurrent.futures.TimeoutError"}
    assert {came[name] for name in foreign - aliases} == {"raised crl.link.errors.RemoteError"}


def test_only_the_first_answer_to_a_call_counts() -> None:
    with lying_link("twice") as link:
        assert [link.evaluate("1", timeout=60) for _ in range(20)] == list(range(20))


def test_a_greeting_that_is_none_is_refused(make_shell: MakeShell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("crl.link.wire.values.VERSION", 99)
    with pytest.raises(LinkStartError, match="not ours"):
        Link.start(lying_lane(make_shell(), "an unknown kind"), timeout=60)


# -- no failing test passes or is skipped ----------------------------------------------------------------------------

SUITE = '''
import sys
import unittest

import _pytest.outcomes
import pytest
import robot.api.exceptions
import robot.errors

from tests.link import liar
from tests.link.lying import lying_link

SkipTest = unittest.SkipTest


@pytest.fixture(scope="module")
def link():
    with lying_link("claims") as link:
        yield link


@pytest.mark.parametrize("claim", liar.CLAIMS)
def test_of_pytest(link, claim):
    link.evaluate("1")


class TestOfUnittest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.context = lying_link("claims")
        cls.link = cls.context.__enter__()

    @classmethod
    def tearDownClass(cls):
        cls.context.__exit__(None, None, None)


for number in range(len(liar.CLAIMS)):
    setattr(TestOfUnittest, f"test_{number:03}", lambda self: self.link.evaluate("1"))
'''
LIBRARY = '''
from tests.link.lying import lying_link


class AskingLibrary:
    ROBOT_LIBRARY_SCOPE = "SUITE"

    def __init__(self):
        self.context = lying_link("claims")
        self.link = None

    def ask_the_liar(self):
        if self.link is None:
            self.link = self.context.__enter__()
        self.link.evaluate("1")

    def leave_the_liar(self):
        self.context.__exit__(None, None, None)
'''


def run_module(folder: Path, *args: str) -> subprocess.CompletedProcess[str]:
    """Run a test framework as its users do."""
    return subprocess.run(
        [sys.executable, "-m", *args],
        cwd=folder,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": f"{ROOT}:{folder}", "HOME": str(folder)},
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )


def test_no_claim_passes_or_skips_a_test_of_pytest(tmp_path: Path) -> None:
    (tmp_path / "test_suite.py").write_text(SUITE, encoding="utf-8")
    options = ("-q", "-p", "no:cacheprovider", "--tb=no", "--junitxml=out.xml")
    ran = run_module(tmp_path, "pytest", *options, "test_suite.py")
    suite = ElementTree.parse(tmp_path / "out.xml").getroot().find("testsuite")
    assert suite is not None, ran.stdout + ran.stderr
    counts = {name: int(suite.get(name, "-1")) for name in ("tests", "failures", "errors", "skipped")}
    wanted = 2 * len(liar.CLAIMS)
    assert counts == {"tests": wanted, "failures": wanted, "errors": 0, "skipped": 0}, ran.stdout[-3000:]
    assert ran.returncode == 1


def test_no_claim_passes_or_skips_a_test_of_unittest(tmp_path: Path) -> None:
    (tmp_path / "test_suite.py").write_text(SUITE, encoding="utf-8")
    ran = run_module(tmp_path, "unittest", "test_suite.TestOfUnittest")
    assert f"Ran {len(liar.CLAIMS)} tests" in ran.stderr, ran.stderr[-3000:]
    last = ran.stderr.strip().splitlines()[-1]
    assert "skipped" not in last
    assert "expected" not in last
    failed = sum(int("".join(filter(str.isdigit, part))) for part in last.split(","))
    assert failed == len(liar.CLAIMS), last
    assert ran.returncode == 1


def test_no_claim_passes_or_skips_a_test_of_robot(tmp_path: Path) -> None:
    (tmp_path / "AskingLibrary.py").write_text(LIBRARY, encoding="utf-8")
    tests = "".join(f"Claim {number}\n    Ask The Liar\n" for number in range(len(liar.CLAIMS)))
    suite = (
        "*** Settings ***\nLibrary    AskingLibrary\nSuite Teardown    Leave The Liar\n"
        f"*** Test Cases ***\n{tests}"
    )
    (tmp_path / "suite.robot").write_text(suite, encoding="utf-8")
    ran = run_module(tmp_path, "robot", "--output", "out.xml", "--log", "NONE", "--report", "NONE", "suite.robot")
    found = ElementTree.parse(tmp_path / "out.xml").getroot().iter("test")
    states = [status.get("status") for test in found for status in test.findall("status")]
    assert states == ["FAIL"] * len(liar.CLAIMS), ran.stdout[-3000:]
    assert ran.returncode == len(liar.CLAIMS)
