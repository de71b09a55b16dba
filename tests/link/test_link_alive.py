"""Alive or dead: an end is known at once, silence is doubted after five seconds and never given up too soon."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from crl.channels.process import ProcessChannel
from crl.link import CallTimeout, Link, LinkLost
from crl.link._engine import Engine
from crl.link.calls import Call, DoorCall
from tests.link.peers import Shell, alive, eventually, freeze
from tests.link.test_link_resume import Lasting

Figure = Callable[[str], None]
MakeLink = Callable[..., Link]
SUSPICION = 5.0
# Until somebody writes into that.
HOLDS_THE_GIL = (
    "__import__('ctypes').PyDLL(None).read(__import__('os').open({!r}, 2),"
    " __import__('ctypes').create_string_buffer(1), 1)"
)


@pytest.fixture
def silence_is_borne(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is known by silence."""
    monkeypatch.setattr("crl.link._engine.SUSPECT_AFTER", 1000.0)


@pytest.mark.usefixtures("silence_is_borne")
def test_the_end_of_a_terminal_is_known_at_once(make_shell: Callable[..., Shell], figure: Figure) -> None:
    shell = make_shell("pty")
    link = Link.start(shell.lane(), timeout=60)
    call = link.submit_invoke("__import__('time').sleep", (30,))
    closed: list[float] = []

    def close() -> None:
        closed.append(time.monotonic())
        shell.close()

    closing = threading.Timer(0.2, close)
    closing.start()
    with pytest.raises(LinkLost, match="cannot be repeated"):
        call.result(60)
    took = time.monotonic() - closed[0]
    closing.join(60)
    figure(f"known after {took * 1000:.0f} ms")
    assert eventually(lambda: not alive(link.facts.pid))


def test_a_c_call_that_holds_the_interpreter_is_not_taken_for_death(tmp_path: Path, figure: Figure) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    one = Lasting("pty")
    descriptor = os.open(gate, os.O_RDWR)
    try:
        pid = one.link.facts.pid
        started = time.monotonic()
        call = one.link.submit_evaluate(HOLDS_THE_GIL.format(str(gate)))
        doubted = eventually(one.link.engine.in_doubt)
        figure(f"doubted after {time.monotonic() - started:.1f} s")
        # Another terminal is being opened, and nobody takes it.
        time.sleep(1.0)
        os.write(descriptor, b"x")
        assert doubted
        assert call.result(60) == 1
        assert one.link.evaluate("__import__('os').getpid()", timeout=60) == pid
    finally:
        os.close(descriptor)
        one.close()


class HeldUp:
    """An engine's lock: who has noted under it that there is no terminal is held up behind it until there is one.

    Args:
        engine: The engine, which uses it from now on.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._lock = engine._lock
        self.held_up = 0
        engine._lock = self  # type: ignore[assignment]

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_exc: object) -> None:
        ended = self._engine.down is not None and not self.held_up
        self.held_up += ended
        self._lock.release()
        if ended:
            assert eventually(lambda: self._engine.down is None)


def test_who_finds_a_terminal_ended_may_be_slower_than_who_opens_another() -> None:
    one = Lasting("pty")
    try:
        lock = HeldUp(one.link.engine)
        one.cut()
        assert one.link.evaluate("6 * 7", timeout=60) == 42
        assert lock.held_up == 1
    finally:
        one.close()


def test_the_answer_about_the_door_may_be_there_at_once(
    make_shell: Callable[..., Shell], monkeypatch: pytest.MonkeyPatch
) -> None:
    submit = Link._submit_as

    def slow(link: Link, make: Callable[[Link, int], Call], kind: int, body: bytes) -> Call:
        call = submit(link, make, kind, body)
        assert make is not DoorCall or eventually(lambda: call.done)
        return call

    monkeypatch.setattr(Link, "_submit_as", slow)
    with Link.start(make_shell("pty").lasting_lane(), timeout=60) as link:
        assert eventually(lambda: link.evaluate("1", timeout=60) and link.resumable)
    # The thread that asked has gone on.
    assert eventually(lambda: not [one for one in threading.enumerate() if one.name == "crl-io"])
    assert not link._door_asked


def test_a_frozen_program_is_waited_for_as_long_as_the_grace(figure: Figure) -> None:
    one = Lasting("pty", grace=2.0)
    pid = one.link.facts.pid
    freeze(pid)
    heard = one.link.engine.last_heard
    try:
        started = time.monotonic()
        with pytest.raises(CallTimeout):
            one.link.evaluate("1", timeout=0.3)
        assert time.monotonic() - started < SUSPICION
        with pytest.raises(LinkLost, match=r"silent for .* no other terminal could be opened"):
            one.link.evaluate("1", timeout=30)
        figure(f"lost after {time.monotonic() - started:.1f} s")
        assert time.monotonic() - heard > SUSPICION + 1.9
    finally:
        os.kill(pid, signal.SIGKILL)
        one.close()


def test_a_program_that_was_frozen_for_a_while_goes_on() -> None:
    one = Lasting("pty")
    try:
        pid = one.link.facts.pid
        freeze(pid)
        call = one.link.submit_evaluate("6 * 7")
        try:
            assert eventually(one.link.engine.in_doubt)
            time.sleep(1.0)
        finally:
            os.kill(pid, signal.SIGCONT)
        assert call.result(60) == 42
    finally:
        one.close()


class Refused(OSError):
    """A login that must not be tried again."""

    definite = True


def test_a_refused_second_login_takes_nothing_from_a_terminal_that_is_only_silent(figure: Figure) -> None:
    shell = Shell("pty")
    tried: list[float] = []

    def again() -> Shell:
        tried.append(time.monotonic())
        raise Refused("wrong password")

    link = Link.start(shell.lasting_lane(again), timeout=60)
    try:
        assert eventually(lambda: link.resumable)
        freeze(link.facts.pid)
        call = link.submit_evaluate("6 * 7")
        try:
            assert eventually(lambda: tried)
            time.sleep(1.5)
        finally:
            os.kill(link.facts.pid, signal.SIGCONT)
        assert call.result(60) == 42
        figure(f"{len(tried)} login refused, and the link lives")
        assert len(tried) == 1
        shell.close()
        with pytest.raises(LinkLost, match=r"cannot be opened: .*wrong password"):
            link.evaluate("1", timeout=60)
    finally:
        link.close()
        shell.close()
        with contextlib.suppress(ProcessLookupError):  # it waits for the grace, which nobody is here for
            os.kill(link.facts.pid, signal.SIGKILL)


def test_without_a_way_back_silence_is_borne_longer(make_link: MakeLink, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("crl.link._engine.SILENCE_LIMIT", 7.0)
    link = make_link("pty")
    freeze(link.facts.pid)
    heard = link.engine.last_heard
    try:
        # Not as long as silence is borne elsewhere.
        with pytest.raises(LinkLost, match="silent for"):
            link.evaluate("1", timeout=25)
        assert time.monotonic() - heard >= 7.0
    finally:
        os.kill(link.facts.pid, signal.SIGKILL)


RELAYED = """
import sys, time
sys.path.insert(0, {root!r})
from crl.channels.process import ProcessChannel
from crl.link import Link
from tests.link.peers import Shell
shell = Shell("relay", channel=ProcessChannel([sys.executable, {relay!r}]))
link = Link.start(shell.lasting_lane(), grace=1.0)
process = link.start_process(["sleep", "318"])
print(link.facts.pid, process.pid, shell.channel.pid, flush=True)
time.sleep(60)
"""


def test_a_runtime_that_never_hangs_up_leaves_nothing(figure: Figure) -> None:
    relay = str(Path(__file__).with_name("relay.py"))
    code = RELAYED.format(root=str(Path(__file__).parents[2]), relay=relay)
    controller = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert controller.stdout is not None
    with controller.stdout:
        *ours, relay_pid = map(int, controller.stdout.readline().split())
        try:
            assert all(map(alive, ours))
            controller.kill()
            controller.wait(60)
            killed = time.monotonic()
            assert eventually(lambda: not any(map(alive, ours)), 60)
            figure(f"all gone {time.monotonic() - killed:.1f} s after the controller, which nobody told the target")
        finally:
            os.kill(relay_pid, signal.SIGKILL)  # the runtime itself stays, as its like do


@pytest.mark.here_only("its first lane is a clean one of its own, and the next has to be like it")
def test_silence_of_a_relay_is_doubted_and_resumed(make_shell: Callable[..., Shell], figure: Figure) -> None:
    relay = str(Path(__file__).with_name("relay.py"))
    shell = make_shell("relay", channel=ProcessChannel([sys.executable, relay]))
    made: list[Shell] = []
    link = Link.start(shell.lasting_lane(lambda: Shell("pty"), made), timeout=60)
    try:
        assert eventually(lambda: link.resumable)
        freeze(shell.pid)
        heard, started = link.engine.last_heard, time.monotonic()
        assert link.evaluate("6 * 7", timeout=60) == 42
        figure(f"answered after {time.monotonic() - started:.1f} s")
        assert time.monotonic() - heard >= SUSPICION
        assert eventually(lambda: link.statistics.resumed >= 1)
    finally:
        link.close()
        for one in made:
            one.close()


STOPPED = """
import sys, time
sys.path.insert(0, {root!r})
from tests.link.test_link_resume import Lasting
one = Lasting("pty")
one.link.evaluate("n = 0")
print("ready", flush=True)
for _ in range(3):
    sys.stdin.readline()
    print(one.link.evaluate("__import__('os').getpid()", timeout=60) == one.link.facts.pid, flush=True)
one.close()
"""


def test_a_controller_stopped_by_ctrl_z_goes_on() -> None:
    code = STOPPED.format(root=str(Path(__file__).parents[2]))
    controller = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert controller.stdin is not None
    assert controller.stdout is not None
    with controller, controller.stdin, controller.stdout:
        assert controller.stdout.readline() == "ready\n"
        controller.stdin.write("\n")
        controller.stdin.flush()
        assert controller.stdout.readline() == "True\n"
        controller.send_signal(signal.SIGSTOP)
        time.sleep(SUSPICION + 1.5)
        controller.send_signal(signal.SIGCONT)
        for _ in range(2):
            controller.stdin.write("\n")
            controller.stdin.flush()
            assert controller.stdout.readline() == "True\n"
        assert controller.wait(60) == 0
