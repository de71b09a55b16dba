"""The pytest plugin of crl: fixtures for targets, terminals and X2Go sessions, and reports that show them.

It knows the packages below by name only until a fixture is used: loading it imports neither them nor Robot Framework,
paramiko or Xlib. It promises that each fixture closes what it opened, and that a failing test's report has the reason,
the hosts and the last picture.

Command line and ini file:

* ``--crl-target`` / ``crl_target``: the name of the target for the fixture `target`;
* ``--crl-ssh-config`` / ``crl_ssh_config``: the SSH configuration whose names are targets;
* ``--crl-pictures`` / ``crl_pictures``: the folder for pictures of sessions of failing tests.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from crl._pytest_report import SESSIONS, add_sections
from crl.errors import UsageError

if TYPE_CHECKING:
    from crl.interactivesessions.autorunnerterminal import AutoRunnerTerminal
    from crl.targets import Target
    from crl.x2go import X2GoSession

__all__ = ["CrlConfig", "TargetFactory", "X2GoSessionFactory"]


@dataclass(frozen=True)
class CrlConfig:
    """The plugin's settings.

    Attributes:
        target: Name of the target for the fixture `target`.
        ssh_config: The SSH configuration; None is the user's own.
        pictures: Folder for pictures of failing tests; None is beside the report that is written, else pytest's cache.
    """

    target: str | None = None
    ssh_config: Path | None = None
    pictures: Path | None = None


class TargetFactory(Protocol):
    """What the fixture `target_factory` gives."""

    def __call__(self, name: str | None = None, *, shells: Any = None, **options: Any) -> Target:
        """A connected target; closed at the end of the run, or earlier by its own `close`.

        Args:
            name: A name of `crl_inventory`, else of the SSH configuration; None is the configured one.
            shells: A shell, shells or dictionaries instead of what the name stands for.
            options: As of `crl.targets.Target`.
        """


class X2GoSessionFactory(Protocol):
    """What the fixture `x2go_session_factory` gives."""

    def __call__(self, *, target: Target | None = None, start: bool = True, **params: Any) -> X2GoSession:
        """A session, started unless told otherwise; terminated at the end of the test.

        Args:
            target: Its server; None is the fixture `target`.
            start: Whether to start it.
            params: As of `crl.x2go.X2GoSession`.
        """


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options; called by pytest."""
    group = parser.getgroup("crl", "hosts and X2Go sessions (crl)")
    group.addoption("--crl-target", metavar="NAME", help="name of the host for the fixture 'target'")
    group.addoption("--crl-ssh-config", metavar="FILE", type=Path, help="the SSH configuration whose names are targets")
    group.addoption("--crl-pictures", metavar="DIR", type=Path, help="folder for pictures of failing tests' sessions")
    parser.addini("crl_target", "name of the host for the fixture 'target'")
    parser.addini("crl_ssh_config", "the SSH configuration whose names are targets", type="paths", default=[])
    parser.addini("crl_pictures", "folder for pictures of failing tests' sessions", type="paths", default=[])


def pytest_configure(config: pytest.Config) -> None:
    """Declare the markers; called by pytest."""
    config.addinivalue_line("markers", "crl_target(name): the host that the fixture 'target' stands for in a module")
    config.addinivalue_line("markers", "x2go_session(**params): how the fixture 'x2go_session' starts its session")


def settings_of(config: pytest.Config) -> CrlConfig:
    """The settings that command line and ini file give; the command line goes first."""

    def path(name: str) -> Path | None:
        given: Path | None = config.getoption(name)
        return given if given is not None else next(iter(config.getini(name)), None)

    target = config.getoption("crl_target") or config.getini("crl_target") or None
    return CrlConfig(target, path("crl_ssh_config"), path("crl_pictures"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[Any]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add sections to the report of a failing test; called by pytest."""
    report = yield
    if report.failed:
        add_sections(item, call, report, settings_of(item.config).pictures)
    return report


@pytest.fixture(scope="session")
def crl_config(pytestconfig: pytest.Config) -> CrlConfig:
    """The settings; redefine it in ``conftest.py`` to take them from elsewhere."""
    return settings_of(pytestconfig)


@pytest.fixture(scope="session")
def crl_inventory() -> Mapping[str, Any]:
    """Targets by name: a shell, shells, or dictionaries for them; or a `crl.targets.Inventory`.

    Empty; redefine it in ``conftest.py``.
    """
    return {}


@pytest.fixture(scope="session")
def target_factory(crl_config: CrlConfig, crl_inventory: Mapping[str, Any]) -> Iterator[TargetFactory]:
    """Makes connected targets; at the end of the run all of them are closed, last made first."""
    with ExitStack() as stack:

        def make(name: str | None = None, *, shells: Any = None, **options: Any) -> Target:
            __tracebackhide__ = True
            from crl.targets import Target, TargetSpec

            name = name or crl_config.target
            shells = crl_inventory.get(name) if shells is None and name else shells
            if isinstance(shells, TargetSpec):
                made = shells.renamed(name or shells.name).target(**options)
            elif shells is not None:
                made = Target(shells, name=name, **options)
            elif name is not None:
                config = crl_config.ssh_config
                made = Target.from_ssh_alias(name, config=None if config is None else str(config), **options)
            else:
                raise UsageError("which target?", advice="give --crl-target NAME, or mark the module: crl_target(NAME)")
            stack.callback(made.close)
            return made.connect()

        yield make


@pytest.fixture(scope="module")
def target(request: pytest.FixtureRequest, target_factory: TargetFactory) -> Iterator[Target]:
    """The target of a module: connected, closed after the module's last test.

    Its name is the fixture's parameter (``indirect``), else that of the marker ``crl_target`` on the module, else the
    configured one.
    """
    marker = request.node.get_closest_marker("crl_target")
    made = target_factory(getattr(request, "param", None) or (marker.args[0] if marker else None))
    yield made
    made.close()


@pytest.fixture(scope="module")
def terminal(target: Target) -> AutoRunnerTerminal:
    """The `AutoRunnerTerminal` of the module's target; it ends with the target."""
    return target.terminal


@pytest.fixture
def x2go_session_factory(request: pytest.FixtureRequest) -> Iterator[X2GoSessionFactory]:
    """Makes X2Go sessions; at the end of the test all of them are terminated and their displays here closed."""
    made = request.node.stash.setdefault(SESSIONS, [])
    with ExitStack() as stack:

        def make(*, target: Target | None = None, start: bool = True, **params: Any) -> X2GoSession:
            __tracebackhide__ = True
            from crl.x2go import X2GoSession

            server: Any = request.getfixturevalue("target") if target is None else target
            session = X2GoSession(target=server, **params)
            made.append(session)
            stack.callback(session.close)
            if start:
                session.start()
            return session

        yield make


@pytest.fixture
def x2go_session(request: pytest.FixtureRequest, x2go_session_factory: X2GoSessionFactory) -> X2GoSession:
    """A running desktop session on the module's target; terminated at the end of the test.

    The marker ``x2go_session`` says how it is to be: ``@pytest.mark.x2go_session(cmd="MATE", geometry="1280x800")``.
    """
    marker = request.node.get_closest_marker("x2go_session")
    return x2go_session_factory(**({"session_type": "desktop"} | (marker.kwargs if marker else {})))
