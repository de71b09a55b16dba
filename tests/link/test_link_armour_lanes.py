"""Links over lines that eat, change, break and echo bytes, or are slow: everything works, and the shell comes back."""

from __future__ import annotations

import hashlib
import random
import socket
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from crl.channels.process import ProcessChannel
from crl.link import Lane, Link, LinkLost, LinkStartError, PythonNotFound
from crl.link.lane import FLOW_CONTROL, PRINTABLE, TELNET, UNSURE, LaneKind
from tests.link.peers import INTERPRETERS, Shell, alive, eventually

Figure = Callable[[str], None]
LINE = Path(__file__).with_name("awkward.py")
EVERY_BYTE = bytes(range(256))

LANES = {
    "flow": (FLOW_CONTROL, ["eat=1113"]),
    "telnet": (TELNET, ["eat=000d11131dff"]),
    "seven-bits": (PRINTABLE, ["strip"]),
    "line-ends": (PRINTABLE, ["strip", "crlf", "eat=001113"]),
    "echo": (FLOW_CONTROL, ["eat=1113", "echo"]),
    "cr-only": (PRINTABLE, ["strip", "cr"]),
    "console": (PRINTABLE, ["strip", "crlf", "eat=001113", "break=80", "echo"]),
}


class AwkwardShell(Shell):
    """A local shell behind an awkward line.

    Args:
        kind: What is said of the line.
        words: What the line does; see `awkward`.
    """

    def __init__(self, kind: LaneKind, words: list[str]) -> None:
        channel = ProcessChannel([sys.executable, str(LINE), *words], name="awkward line")
        super().__init__("awkward", channel=channel)
        self._kind = kind
        self._again = lambda: AwkwardShell(kind, words)

    def lane(self, *args: object, **kwargs: object) -> Lane:
        del args, kwargs
        return replace(super().lane(), kind=self._kind)


MakeAwkward = Callable[..., AwkwardShell]


@pytest.fixture
def make_awkward() -> Iterator[MakeAwkward]:
    shells: list[AwkwardShell] = []

    def make(name: str, *words: str) -> AwkwardShell:
        kind, others = LANES[name]
        shells.append(AwkwardShell(kind, [*others, *words]))
        return shells[-1]

    yield make
    for shell in shells:
        shell.close()


@pytest.fixture(params=LANES)
def shell(request: pytest.FixtureRequest, make_awkward: MakeAwkward) -> AwkwardShell:
    return make_awkward(request.param)


def test_calls_streams_and_the_way_back(shell: AwkwardShell) -> None:
    link = Link.start(shell.lane())
    data = random.Random(3).randbytes(300_000) + EVERY_BYTE
    assert link.invoke("bytes", data) == data
    assert [call.result(60) for call in [link.submit_invoke("abs", (-n,)) for n in range(200)]] == list(range(200))
    said = link.run(["sha256sum"], stdin=data, timeout=60).stdout
    assert said.split()[0].decode() == hashlib.sha256(data).hexdigest()
    assert link.close(20)
    assert "back" in shell.ask("echo ba''ck")


@pytest.mark.parametrize("python", INTERPRETERS)
def test_every_interpreter_wears_it(make_awkward: MakeAwkward, python: str) -> None:
    link = Link.start(make_awkward("console").lane(), python=python)
    assert link.invoke("bytearray", EVERY_BYTE * 100) == bytearray(EVERY_BYTE * 100)
    assert link.close(20)


def test_a_line_that_damages_bytes_loses_nothing(make_awkward: MakeAwkward) -> None:
    # The start itself has no repeats: what damages it fails the start.
    link = Link.start(make_awkward("seven-bits", "damage=60013").lane())
    data = random.Random(5).randbytes(300_000)
    assert link.invoke("bytes", data, timeout=60) == data
    assert link.engine.session.decoder.noise_bytes or link.engine.session.decoder.damaged
    link.close()


@pytest.mark.parametrize("name", ["flow", "line-ends"])
def test_others_may_write_to_the_terminal(make_awkward: MakeAwkward, name: str) -> None:
    shell = make_awkward(name)
    # It ends by itself when the terminal is gone.
    shell.say("while sleep 0.005 && printf 'tick {AAAA} \\376\\r\\n'; do :; done & crl_job=$!")
    link = Link.start(shell.lane())
    data = random.Random(6).randbytes(100_000)
    for number in range(50):
        assert link.invoke("abs", -number, timeout=60) == number
    assert link.invoke("bytes", data, timeout=60) == data
    assert link.close(20)
    shell.ask("kill $crl_job; wait")


def test_a_tunnel(shell: AwkwardShell) -> None:
    link = Link.start(shell.lane())
    with socket.create_server(("127.0.0.1", 0)) as server:
        tunnel = link.forward(server.getsockname()[:2])
        address = tunnel.address
        assert isinstance(address, tuple)
        with socket.create_connection(address) as near:
            far, _ = server.accept()
            with far:
                for one, other in ((near, far), (far, near)):
                    one.sendall(EVERY_BYTE * 40)
                    one.shutdown(socket.SHUT_WR)
                    other.settimeout(60)
                    assert b"".join(iter(lambda end=other: end.recv(65536), b"")) == EVERY_BYTE * 40  # type: ignore[misc]
    link.close()


def test_a_program_that_is_killed_is_seen_at_once(shell: AwkwardShell) -> None:
    link = Link.start(shell.lane(), grace=0)
    with pytest.raises(LinkLost, match="SIGKILL"):
        link.evaluate("__import__('os').kill(__import__('os').getpid(), 9)", timeout=60)
    assert link.close(20)
    assert "back" in shell.ask("echo ba''ck")


@pytest.mark.parametrize("size", [30, 50, 61])
def test_a_mark_that_a_console_breaks_in_two_is_known(make_awkward: MakeAwkward, size: int) -> None:
    shell = make_awkward("console")
    link = Link.start(shell.lane(), grace=0)
    said: list[bytes] = []
    link.on_output(lambda event: said.append(event.data))
    words = f"os.write(1, b'x' * {size}) and os.kill(os.getpid(), 9)"
    link.evaluate("import os")
    with pytest.raises(LinkLost, match="SIGKILL"):
        link.evaluate(words, timeout=60)
    assert eventually(lambda: b"x" * size in b"".join(said).translate(None, b"\r\n"))
    assert link.close(20)
    assert "back" in shell.ask("echo ba''ck")


def test_a_missing_interpreter_is_named(shell: AwkwardShell) -> None:
    with pytest.raises(PythonNotFound, match="looked for /no/python"):
        Link.start(shell.lane(), python="/no/python")


@pytest.mark.parametrize("name", ["telnet", "console"])
def test_a_link_is_resumed_over_an_awkward_line(make_awkward: MakeAwkward, name: str) -> None:
    shell = make_awkward(name)
    made: list[Shell] = []
    link = Link.start(shell.lasting_lane(made=made))
    try:
        assert eventually(lambda: link.resumable)
        call = link.submit_evaluate("__import__('time').sleep(1) or bytes(range(256)) * 1000")
        shell.close()
        assert call.result(60) == EVERY_BYTE * 1000
        assert eventually(lambda: link.statistics.resumed >= 1)
        assert link.invoke("bytes", EVERY_BYTE * 1000) == EVERY_BYTE * 1000
        assert link.close(20)
        assert "back" in made[-1].ask("echo ba''ck")
    finally:
        link.close()
        for fresh in made:
            fresh.close()
    assert eventually(lambda: not alive(link.facts.pid))


@pytest.mark.parametrize(
    ("words", "armour"), [([], ""), (["eat=13"], "lines"), (["strip"], "lines")], ids=["clean", "flow", "seven-bits"]
)
def test_what_nobody_knows_is_tried(monkeypatch: pytest.MonkeyPatch, words: list[str], armour: str) -> None:
    if not armour:
        # However long it takes here, it is no sign of a lane that eats bytes.
        monkeypatch.setattr("crl.link._unsure.PATIENCE", 30.0)
    shell = AwkwardShell(UNSURE, words)
    made: list[Shell] = []
    lane = shell.lasting_lane(made=made)
    try:
        link = Link.start(lane)
        assert link.invoke("bytes", EVERY_BYTE * 100) == EVERY_BYTE * 100
        assert len(made) == bool(armour)
        pid = link.facts.pid
        assert link.close(20)
        assert eventually(lambda: not alive(pid))
    finally:
        for one in (shell, *made):
            one.close()


def test_an_unknown_lane_that_cannot_be_opened_again_is_an_error() -> None:
    shell = AwkwardShell(UNSURE, ["eat=13"])
    try:
        with pytest.raises(LinkStartError, match="there is no other one to try"):
            Link.start(shell.lane())
    finally:
        shell.close()


@pytest.mark.long
def test_a_line_of_1200_bytes_a_second_carries_a_link(figure: Figure) -> None:
    kind = LaneKind(printable=True, rate=1200)
    shell = AwkwardShell(kind, ["strip", "rate=1200"])
    try:
        begun = time.monotonic()
        link = Link.start(shell.lane())
        figure(f"start {time.monotonic() - begun:.1f} s")
        assert eventually(lambda: link.resumable is False and not link._door_asked, 20)
        bulk = link.submit_invoke("bytes", (EVERY_BYTE * 40,))
        begun = time.monotonic()
        assert link.invoke("abs", -1, timeout=60) == 1
        figure(f"a call beside bulk {time.monotonic() - begun:.1f} s")
        assert bulk.result(90) == EVERY_BYTE * 40
        assert link.close(20)
        assert "back" in shell.ask("echo ba''ck")
    finally:
        shell.close()
