"""Fixtures and options of all tests: the shared lab, and ``--long``."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

from crl.lab import Lab, requirements
from tests.link.ways import WAYS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


FIGURE = "figure"


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Give each worker of pytest-xdist but the first a lab of its own: the first has the one that is there already."""
    # A run that a script has put into the background ignores Ctrl-C, and with it tests that interrupt themselves.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # `timeout` ends a run by another signal: what tests have made goes then as well.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    # How quick the machine is says nothing of what is tested.
    settings.register_profile("crl", deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.load_profile("crl")
    worker = getattr(config, "workerinput", {}).get("workerid", "gw0")
    if worker != "gw0":
        folder = tempfile.mkdtemp(prefix=f"crl-lab-{worker}-")
        config.add_cleanup(partial(shutil.rmtree, folder))
        os.environ["CRL_LAB_DIR"] = str(Path(folder) / "lab")
        os.environ["CRL_LAB_NAME"] = f"{worker}{os.getpid() % 10_000}"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="run the long form of the tests too")
    parser.addoption(
        "--over", choices=("here", *WAYS), default="here", help="how the tests of the link reach their shells"
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--long"):
        return
    skip = pytest.mark.skip(reason="the long form: give --long")
    for item in items:
        if "long" in item.keywords:
            item.add_marker(skip)


@pytest.fixture(scope="session", autouse=True)
def own_home() -> Iterator[None]:
    """A home without files for shells of this machine: what theirs do is not to be tested, waited for or written to."""
    # No TemporaryDirectory, and nothing that ends with this block: tests fork children that exit in the ordinary way,
    # and those would remove it.
    home = tempfile.mkdtemp(prefix="crl-home-")
    with pytest.MonkeyPatch.context() as patch:
        # The shared lab stays where it is.
        patch.setenv("CRL_LAB_DIR", str(Lab().folder))
        patch.setenv("HOME", home)
        yield
    shutil.rmtree(home)


@pytest.fixture
def figure(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Notes a measured figure, which is printed at the end of the run, whichever process the test ran in."""
    properties = request.node.user_properties
    return lambda text: properties.append((FIGURE, text))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    reports = [report for kind in terminalreporter.stats.values() for report in kind]
    # The last report of a test has all that was noted.
    ends = [report for report in reports if isinstance(report, pytest.TestReport) and report.when == "teardown"]
    figures = [f"{end.head_line}: {text}" for end in ends for name, text in end.user_properties if name == FIGURE]
    if figures:
        terminalreporter.section("figures")
        terminalreporter.write("\n".join(figures) + "\n")


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    """The lab of the default folder, up; taken down at the end only when it was brought up here."""
    found = requirements()
    if not found.ok:
        pytest.skip("this machine cannot run the lab: " + "; ".join(found.missing))
    shared = Lab()
    # One that is there already is somebody's, even while one of its hosts reboots.
    was_there = shared.status().exists
    shared.up()
    yield shared
    if not was_there:
        shared.down()
