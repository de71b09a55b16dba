"""Fixtures and options of all tests: the shared lab, and ``--long``."""

from __future__ import annotations

import signal
import tempfile
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

from crl.lab import Lab, requirements
from tests.link.ways import WAYS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="run the long form of the tests too")
    parser.addoption(
        "--over", choices=("here", *WAYS), default="here", help="how the tests of the link reach their shells"
    )


def pytest_configure() -> None:
    # A run that a script has put into the background ignores Ctrl-C, and with it tests that interrupt themselves.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # How quick the machine is says nothing of what is tested.
    settings.register_profile("crl", deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.load_profile("crl")


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
    with tempfile.TemporaryDirectory(prefix="crl-home-") as home, pytest.MonkeyPatch.context() as patch:
        # The shared lab stays where it is.
        patch.setenv("CRL_LAB_DIR", str(Lab().folder))
        patch.setenv("HOME", home)
        yield


@pytest.fixture
def tell(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Writes a measured figure into the run's output, whatever is captured."""
    reporter = request.config.pluginmanager.getplugin("terminalreporter")

    def write(text: str) -> None:
        if reporter is not None:
            reporter.ensure_newline()
            reporter.write_line(f"{request.node.name}: {text}")

    return write


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
