"""Logins take turns: never more than there are places, and the time of each begins with its turn."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from crl.channels.ssh.door import Door
from crl.deadlines import Deadline
from crl.interactivesessions import BashShell, SshShell
from crl.interactivesessions.InteractiveSession import InteractiveSession
from crl.interactivesessions.shells import _logins
from crl.interactivesessions.shells._logins import first_hop
from crl.interactivesessions.shells.ssherrors import LoginTimeout
from tests.channels.conftest import in_child
from tests.link.peers import eventually

PLACES = 2
SESSIONS = 6


@pytest.fixture(autouse=True)
def places(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Few places; all of them have to be free again at the end. A home without files of the user's."""
    monkeypatch.setenv("HOME", str(tmp_path))
    few = _logins.Places(PLACES)
    monkeypatch.setattr(_logins._this_process, "places", few)
    yield
    assert few.under_way == []


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
        assert in_child(takes_a_place) == 7


def takes_a_place() -> int:
    with _logins.login_place(Counted(), Deadline.after(0.05)):
        return 7


def test_the_first_hop_is_what_ssh_says(tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.write_text("Host inner*\n  ProxyJump user@gate.example:2200\nHost gate.example\n  HostName 192.0.2.7\n")
    gate = first_hop([SshShell("inner1", config=config)])
    assert gate == Door("192.0.2.7", 2200)
    assert gate == first_hop([SshShell("inner2", config=config), BashShell()])
    assert first_hop([SshShell("plain.example", config=config, port=77)]) == Door("plain.example", 77)
    assert first_hop([BashShell()]) == first_hop([BashShell(), BashShell()])
    assert first_hop([BashShell(), SshShell("far.example")]) == "far.example"


class At(BashShell):
    """A shell on a host that counts as a login."""

    logs_in = True

    def __init__(self, hop: str) -> None:
        super().__init__()
        self.hop = hop

    def find_door(self) -> Any:
        return self.hop


def test_logins_by_one_hop_hold_up_no_others(monkeypatch: pytest.MonkeyPatch) -> None:
    places = _logins.Places(100)
    monkeypatch.setattr(_logins._this_process, "places", places)
    nobody_waits = Deadline.after(0)
    with contextlib.ExitStack() as begun:
        for number in range(_logins.PLACES_PER_HOP):
            # Those that began first did not ask which hop is theirs, and count for every hop until they are in.
            begun.enter_context(_logins.login_place(At("gate" if number < _logins.FEW else "other"), nobody_waits))
        for hop in ("gate", "third"):
            begun.enter_context(_logins.login_place(At(hop), nobody_waits))
    with contextlib.ExitStack() as begun:
        for _ in range(_logins.PLACES_PER_HOP):
            begun.enter_context(_logins.login_place(At("gate"), nobody_waits))
        with pytest.raises(LoginTimeout):
            begun.enter_context(_logins.login_place(At("gate"), Deadline.after(0.05)))
        # Somebody who keeps a limit of his own.
        with _logins.hop_is_counted():
            begun.enter_context(_logins.login_place(At("gate"), nobody_waits))
        assert len(places.under_way) == _logins.PLACES_PER_HOP + 1
    assert places.under_way == []


def test_a_free_place_goes_to_who_waited_longest_and_wakes_nobody_else() -> None:
    places = _logins.Places(1)
    held = places.take(At("a"), Deadline.after(0))
    assert held is not None
    got: list[tuple[int, Any]] = []
    threads: list[threading.Thread] = []

    def wait(number: int) -> None:
        got.append((number, places.take(At("a"), Deadline.after(20))))

    for number in range(SESSIONS):
        threads.append(threading.Thread(target=wait, args=(number,)))
        threads[-1].start()
        assert eventually(lambda: len(places._waiting) == len(threads))
    for number in range(SESSIONS):
        places.give_back(held)
        threads[number].join(20)
        assert [who for who, _ in got] == list(range(number + 1))
        held = got[-1][1]
    places.give_back(held)
    assert (places.under_way, places._waiting) == ([], [])


def test_an_exception_in_who_waits_leaves_nothing() -> None:
    places = _logins.Places(1)
    held = places.take(At("a"), Deadline.after(0))
    assert held is not None

    class Interrupted(Exception):
        """As of a signal's handler."""

    def interrupt(_number: int, _frame: object) -> None:
        raise Interrupted

    def send_it() -> None:
        assert eventually(lambda: places._waiting)
        os.kill(os.getpid(), signal.SIGUSR1)

    before = signal.signal(signal.SIGUSR1, interrupt)
    sender = threading.Thread(target=send_it)
    sender.start()
    try:
        with pytest.raises(Interrupted):
            places.take(At("a"), Deadline.after(20))
    finally:
        sender.join(20)
        signal.signal(signal.SIGUSR1, before)
    assert places._waiting == []
    places.give_back(held)
    assert places.under_way == []


def test_a_crowd_is_counted_by_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    processors = os.cpu_count() or 1
    places = _logins.Places(4 * processors)
    monkeypatch.setattr(_logins._this_process, "places", places)
    assert _logins.crowd() == 1
    with contextlib.ExitStack() as begun, _logins.hop_is_counted():
        for _ in range(3 * processors):
            begun.enter_context(_logins.login_place(At("a"), Deadline.after(0)))
        assert _logins.crowd() == 3
    assert _logins.crowd() == 1
