"""Terminals on this machine, an sshd of our own, and a look at what tests leave behind."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from crl.interactivesessions.autorecoveringterminal import AutoRecoveringTerminal
from crl.interactivesessions.autorunnerterminal import AutoRunnerTerminal
from crl.interactivesessions.shells.bashshell import BashShell
from tests.link.peers import PATIENCE
from tests.terminals.sshd import Sshd

Make = Callable[..., AutoRunnerTerminal]


def inventory() -> tuple[set[str], set[int], int]:
    """Names of threads, process ids of children and number of descriptors of this process."""
    children: set[int] = set()
    for task in Path("/proc/self/task").iterdir():
        # A thread may end while one looks.
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            children.update(map(int, (task / "children").read_text().split()))
    return {thread.name for thread in threading.enumerate()}, children, len(os.listdir("/proc/self/fd"))


def reopen(terminal: AutoRunnerTerminal) -> None:
    """Make a closed terminal usable again."""
    assert terminal.session is not None
    terminal.initialize(terminal.session)


def gate(terminal: AutoRunnerTerminal) -> Callable[[], object]:
    """Make a gate on the target, where code waits with ``gate.wait(30)`` until what is returned is called.

    A test that wants a call to be under way opens it when it has seen that, however long that takes.
    """
    terminal.run_python("gate = __import__('threading').Event()")
    return lambda: terminal.run_python("gate.set()", timeout=60)


@pytest.fixture
def nothing_left() -> Iterator[None]:
    """Fails the test when a thread, child or descriptor that it made is there at its end."""
    before = inventory()
    yield
    deadline = time.monotonic() + PATIENCE
    while True:
        after = inventory()
        if after[0] <= before[0] and after[1] <= before[1] and after[2] <= before[2]:
            return
        assert time.monotonic() < deadline, f"{before} before, {after} after"
        time.sleep(0.02)


@pytest.fixture
def make(nothing_left: None) -> Iterator[Make]:
    """Makes terminals on this machine; they are closed at the end, and nothing of them may be left."""
    made: list[AutoRunnerTerminal] = []

    def make_one(shells: Any = None, cls: type[AutoRunnerTerminal] = AutoRunnerTerminal, **kwargs: Any) -> Any:
        terminal = cls()
        session = AutoRecoveringTerminal()
        session.initialize(shells or BashShell(), sleep_between_tries=0)
        terminal.initialize(session, **kwargs)
        made.append(terminal)
        return terminal

    yield make_one
    for terminal in made:
        terminal.close()


@pytest.fixture
def opened(make: Make) -> AutoRunnerTerminal:
    """An open terminal on this machine."""
    terminal = make()
    terminal.initialize_if_needed()
    return terminal


@pytest.fixture(scope="module")
def shared() -> Iterator[AutoRunnerTerminal]:
    """An open terminal on this machine for all tests of a module that leave it as it is."""
    terminal = AutoRunnerTerminal()
    terminal.initialize_with_shells(BashShell())
    terminal.initialize_if_needed()
    terminal.import_libraries("os", "os.path", "sys", "time", "threading")
    yield terminal
    terminal.close()


@pytest.fixture(scope="session")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    """An sshd on the loopback, for a key of its own."""
    with Sshd(tmp_path_factory.mktemp("sshd")) as server:
        yield server
