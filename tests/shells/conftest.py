"""Fixtures of the shells' tests: sessions that are closed and whose processes are gone, shells into the lab."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from crl.interactivesessions.InteractiveSession import InteractiveSession
from crl.interactivesessions.shells.sshshell import SshShell
from tests.link.peers import eventually

if TYPE_CHECKING:
    from crl.interactivesessions.shells.shell import Shell
    from crl.lab import Lab

THREAD_END = 15.0
Open = Callable[..., InteractiveSession]


def children() -> set[str]:
    with open(f"/proc/self/task/{os.getpid()}/children") as source:
        return set(source.read().split())


@pytest.fixture
def open_session() -> Iterator[Open]:
    """Opens sessions with a stack of shells; at the end all are closed, and no child, thread or descriptor is left."""
    before_children, before_descriptors = children(), len(os.listdir("/proc/self/fd"))
    before_threads = set(threading.enumerate())
    opened: list[InteractiveSession] = []

    def opening(*shells: Shell, **kwargs: Any) -> InteractiveSession:
        session = InteractiveSession(**kwargs)
        opened.append(session)
        session.spawn(shells[0])
        for shell in shells[1:]:
            session.push(shell)
        return session

    yield opening
    for session in opened:
        session.close_terminal()
    for thread in set(threading.enumerate()) - before_threads:
        thread.join(THREAD_END)
        assert not thread.is_alive()
    # A link's thread that serves all of them ends, with its descriptors, some time after the last one.
    assert eventually(lambda: children() <= before_children), "children stay"
    assert eventually(lambda: len(os.listdir("/proc/self/fd")) <= before_descriptors), "descriptors stay"


@pytest.fixture
def shell_to(lab: Lab) -> Callable[..., SshShell]:
    """Makes shells to hosts of the lab: ``shell_to("alpha", "password")``."""

    def making(host: str, role: str = "key", **kwargs: Any) -> SshShell:
        user = lab.host(host).users[role]
        kwargs.setdefault("config", str(lab.ssh_config))
        if "publickey" not in user.methods:
            kwargs.setdefault("password", user.password)
        return SshShell(f"{host}-{role}", **kwargs)

    return making
