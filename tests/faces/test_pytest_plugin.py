"""The pytest plugin: options, fixtures, what it imports, and what the report of a failing test says."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from PIL import Image

from tests.faces.artefacts import LIMIT, TIMEOUT

if TYPE_CHECKING:
    from pathlib import Path

    from crl.lab import Lab

pytest_plugins = ["pytester"]
pytestmark = TIMEOUT

HEAVY = ("robot", "Xlib", "paramiko", "PIL", "pexpect", "crl.targets", "crl.x2go", "crl.display", "crl.link")


@pytest.fixture(autouse=True)
def _bounded(pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\naddopts = -p no:cacheprovider\nfilterwarnings = error\n")


def run(pytester: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    return pytester.runpytest_subprocess(*arguments, timeout=LIMIT)


def test_nothing_is_imported_before_it_is_used(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        f"""
        import sys

        def test_modules(crl_config, target_factory, x2go_session_factory):
            assert "crl.pytest_plugin" in sys.modules
            assert [name for name in {HEAVY!r} if name in sys.modules] == []
        """
    )
    run(pytester).assert_outcomes(passed=1)


def test_it_can_be_left_out(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("import sys\n\ndef test_modules():\n    assert 'crl.pytest_plugin' not in sys.modules\n")
    run(pytester, "-p", "no:crl").assert_outcomes(passed=1)


def test_options_go_before_the_ini_file(pytester: pytest.Pytester, tmp_path: Path) -> None:
    pytester.makeini(f"[pytest]\ncrl_target = from_ini\ncrl_ssh_config = {tmp_path}/config\ncrl_pictures = pictures\n")
    pytester.makepyfile(
        """
        def test_settings(crl_config, pytestconfig):
            print(f"{crl_config.target} {crl_config.ssh_config.name} {crl_config.pictures}")
            assert crl_config.pictures == pytestconfig.rootpath / "pictures"
        """
    )
    run(pytester, "-s").stdout.fnmatch_lines(["*from_ini config *"])
    run(pytester, "-s", "--crl-target=given", "--crl-ssh-config=other").stdout.fnmatch_lines(["*given other *"])


def test_markers_and_fixtures_are_documented(pytester: pytest.Pytester) -> None:
    run(pytester, "--markers").stdout.fnmatch_lines(["*crl_target(name)*", "*x2go_session(?*params)*"])
    shown = run(pytester, "--fixtures", "-v").stdout.str()
    names = ["crl_config", "crl_inventory", "target_factory", "target", "terminal"]
    names += ["x2go_session_factory", "x2go_session"]
    for name in names:
        described = shown.split(f"\n{name} ", 1)[1].split("\n", 2)
        assert "crl/pytest_plugin.py" in described[0]
        assert described[1].startswith("    "), f"{name} is not described"


def test_without_a_target_it_is_said_what_to_do(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_nothing(target):\n    assert target\n")
    result = run(pytester)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*crl: why it failed*", "UsageError: which target[?]", "*: give --crl-target*"])


def test_errors_are_explained_with_their_cause(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        from crl.errors import RemoteWorldError
        from crl.secrets import Secret

        def test_error():
            Secret("hunter2-hunter2")
            try:
                raise RemoteWorldError("the disk is full", host="web1", doing="copying", advice="make room",
                                       transcript="df: 100 % hunter2-hunter2")
            except RemoteWorldError as error:
                raise ValueError("no copy") from error
        """
    )
    result = run(pytester)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "*crl: why it failed*",
            "RemoteWorldError: web1: copying: the disk is full",
            "What to do: make room",
            "*| df: 100 % <secret>",
        ]
    )


@pytest.mark.lab
def test_targets_live_as_long_as_they_should(pytester: pytest.Pytester, lab: Lab) -> None:
    pytester.makepyfile(
        conftest="""
        import pytest
        from crl.interactivesessions.shells import SshShell
        from crl.targets import Inventory

        @pytest.fixture(scope="session")
        def crl_inventory(crl_config):
            return {**Inventory({"by file": "alpha"}, config=crl_config.ssh_config),
                    "by shells": [SshShell("alpha", config=crl_config.ssh_config)],
                    "by words": [{"host": "alpha", "config": str(crl_config.ssh_config)}]}

        @pytest.fixture(scope="session", autouse=True)
        def kept():
            found = []
            yield found
            print("AT THE END", [repr(one) for one in found])
        """,
        test_one="""
        import pytest

        def test_target(target, terminal, kept):
            kept.append(target)
            assert terminal is target.terminal
            assert target.run(["hostname"]).stdout == "alpha\\n"

        @pytest.mark.parametrize("name", ["by shells", "by words", "by file"])
        def test_inventory(target_factory, name, kept):
            other = target_factory(name)
            kept.append(other)
            assert (other.name, other.facts.hostname) == (name, "alpha")
        """,
        test_two="""
        import pytest

        pytestmark = pytest.mark.crl_target("by words")

        def test_former_is_closed(target, kept):
            assert [repr(one) for one in kept] == [
                "<Target alpha (closed)>", "<Target by shells (connected)>", "<Target by words (connected)>",
                "<Target by file (connected)>"]
            assert target.name == "by words"

        @pytest.mark.parametrize("target", ["alpha"], indirect=True)
        def test_parameter(target):
            assert target.name == "alpha"
        """,
    )
    result = run(pytester, "-s", "--crl-target=alpha", f"--crl-ssh-config={lab.ssh_config}")
    result.assert_outcomes(passed=6)
    result.stdout.fnmatch_lines(["*AT THE END*(closed)*(closed)*(closed)*"])


@pytest.mark.lab
def test_a_failing_test_shows_the_session(pytester: pytest.Pytester, lab: Lab) -> None:
    pytester.makepyfile(
        """
        import pytest
        from crl.x2go import list_sessions

        names = []

        @pytest.mark.x2go_session(cmd="TERMINAL", geometry="640x480")
        def test_fails(x2go_session):
            names.append(x2go_session.get_session_name())
            x2go_session.wait_for_window("xterm")
            x2go_session.target.python.int("not a number")

        def test_nothing_is_left(target):
            assert names and names[0] not in list_sessions(target)
        """
    )
    report = pytester.path / "report" / "junit.xml"
    result = run(pytester, "--crl-target=beta", f"--crl-ssh-config={lab.ssh_config}", f"--junit-xml={report}")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(
        [
            "*crl: why it failed*",
            "ValueError: invalid literal*",
            "On the target:",
            "*crl: hosts and sessions*",
            "<X2GoSession * on beta: running>",
            "the agent on the server is RUNNING",
            "window *xterm*",
            "picture: *",
        ]
    )
    (picture,) = (report.parent / "crl-pictures").iterdir()
    with Image.open(picture) as image:
        assert image.size == (640, 480)
    assert str(picture) in report.read_text(encoding="utf-8")


