"""Fixtures of the link's tests: links to local shells, and proof that nothing of them stays."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from crl.link import Link
from tests.link.peers import INTERPRETERS, PATIENCE, WAY, Shell, alive, eventually
from tests.link.ways import CLEAN, SLOW, WAYS


def pytest_report_header() -> str:
    return "link: interpreters " + ", ".join(INTERPRETERS)


def _descriptors() -> set[str]:
    return set(os.listdir("/proc/self/fd"))


def _living_children() -> set[int]:
    """The processes that this thread has started."""
    listed = Path(f"/proc/self/task/{os.getpid()}/children").read_text(encoding="ascii")
    return {pid for pid in map(int, listed.split()) if alive(pid)}


def _own_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("crl-")]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Let the chosen tests run over each way also when none is asked for."""
    if "every_way" in metafunc.definition.keywords and metafunc.config.getoption("--over") == "here":
        metafunc.parametrize("over", ["here", *(name for name in WAYS if name != SLOW)], indirect=True, scope="session")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    over = config.getoption("--over")
    for item in items:
        here_only, clean_only = item.get_closest_marker("here_only"), item.get_closest_marker("clean_only")
        if clean_only is not None and over not in ("here", *CLEAN):
            item.add_marker(pytest.mark.skip(reason=f"only over clean ways: {clean_only.args[0]}"))
        elif over != "here" and here_only is not None:
            item.add_marker(pytest.mark.skip(reason=f"only here: {here_only.args[0]}"))
        elif over == SLOW and "every_way" not in item.keywords and item.path.parent == Path(__file__).parent:
            item.add_marker(pytest.mark.skip(reason="takes too long over a slow line"))
        elif over == SLOW:
            # The program alone takes half a minute.
            item.add_marker(pytest.mark.timeout(400))


@pytest.fixture(scope="session", autouse=True)
def over(request: pytest.FixtureRequest) -> Iterator[str]:
    """The way that ``--over`` names, for all tests of the link; and each one for the chosen."""
    name: str = getattr(request, "param", request.config.getoption("--over"))
    if name == "here":
        yield name
        return
    with WAYS[name]() as chosen:
        WAY.append(chosen)
        yield name
        WAY.pop()


@pytest.fixture(autouse=True)
def nothing_stays(request: pytest.FixtureRequest) -> Iterator[None]:
    if "lab" in request.fixturenames:
        # The lab outlives a test.
        yield
        return
    before = len(_descriptors())
    children = _living_children()
    yield
    assert eventually(lambda: not _own_threads()), f"threads stay: {_own_threads()}"
    assert eventually(lambda: len(_descriptors()) <= before), "descriptors stay"
    # One that was killed needs a processor to end.
    assert eventually(lambda: _living_children() <= children), f"processes stay: {_living_children() - children}"


@pytest.fixture
def make_shell() -> Iterator[Callable[..., Shell]]:
    shells: list[Shell] = []

    def make(*args: Any, **kwargs: Any) -> Shell:
        shells.append(Shell(*args, **kwargs))
        return shells[-1]

    yield make
    for shell in shells:
        shell.close()


def _is_gone(pid: int) -> bool:
    return not alive(pid)


@pytest.fixture
def make_link(make_shell: Callable[..., Shell]) -> Iterator[Callable[..., Link]]:
    links: list[Link] = []

    def make(kind: str = "pipe", python: str | None = None, **kwargs: Any) -> Link:
        links.append(Link.start(make_shell(kind, **kwargs).lane(), timeout=60, python=python))
        return links[-1]

    yield make
    for link in links:
        link.close(PATIENCE)
        assert eventually(partial(_is_gone, link.facts.pid)), "the remote program stays"


@pytest.fixture
def link(make_link: Callable[..., Link]) -> Link:
    return make_link()
