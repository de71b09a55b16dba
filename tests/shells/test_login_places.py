"""Logins take turns: never more than there are places, and the time of each begins with its turn."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from crl.deadlines import Deadline
from crl.interactivesessions import BashShell, SshShell
from crl.interactivesessions.InteractiveSession import InteractiveSession
from crl.interactivesessions.shells import _logins
from crl.interactivesessions.shells.ssherrors import LoginTimeout

PLACES = 2
SESSIONS = 6


@pytest.fixture(autouse=True)
def places(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Few places; all of them have to be free again at the end. A home without files of the user's."""
    monkeypatch.setenv("HOME", str(tmp_path))
    few = threading.Semaphore(PLACES)
    monkeypatch.setattr(_logins._places, "free", few)
    yield
    for _ in range(PLACES):
        assert few.acquire(blocking=False)
    assert not few.acquire(blocking=False)


class Counted(BashShell):
    """A shell whose start counts as a login."""

    logs_in = True
    lock = threading.Lock()
    now = most = 0

    def start(self) -> str:
        with self.lock:
            Counted.now += 1
            Counted.most = max(Counted.most, Counted.now)
        try:
            return super().start()
        finally:
            with self.lock:
                Counted.now -= 1


class Failing(Counted):
    """One that does not start."""

    def start(self) -> str:
        raise ValueError("no")


def test_no_more_start_at_once_than_there_are_places() -> None:
    done: list[str] = []

    def one() -> None:
        with InteractiveSession() as session:
            session.spawn(Counted())
            done.append(session.current_shell().exec_command("echo in").strip())

    threads = [threading.Thread(target=one) for _ in range(SESSIONS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert done == ["in"] * SESSIONS
    assert 1 <= Counted.most <= PLACES


def test_one_that_fails_gives_its_place_back() -> None:
    for _ in range(PLACES + 1):
        with pytest.raises(ValueError, match="no"):
            InteractiveSession().spawn(Failing())


def test_who_has_a_deadline_does_not_wait_longer() -> None:
    with _logins.login_place(Counted()), _logins.login_place(Counted()):
        waiting = _logins.login_place(SshShell("somewhere"), Deadline.after(0.05))
        with pytest.raises(LoginTimeout, match="too many other logins") as raised:
            waiting.__enter__()
        assert raised.value.host == "somewhere"
        # A shell of this machine logs in nowhere.
        with _logins.login_place(BashShell()):
            pass


def test_a_forked_child_has_all_places() -> None:
    with _logins.login_place(Counted()), _logins.login_place(Counted()):
        child = os.fork()
        if not child:
            with _logins.login_place(Counted(), Deadline.after(0.05)):
                os._exit(7)
        _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 7
