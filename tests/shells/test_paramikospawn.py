"""Terminals over channels that the caller brings, real ones and such as suites make; frames over raw terminals.

Invariant: what is read is what was sent, with no escapes where they are to be removed, and nothing is left at the end.
"""

from __future__ import annotations

import queue
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import paramiko
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crl.channels import LocalPtyChannel
from crl.errors import UsageError
from crl.interactivesessions._spawn import ChannelSpawn
from crl.interactivesessions.autorunnerterminal import AutoRunnerTerminal
from crl.interactivesessions.shells import conformance
from crl.interactivesessions.shells.bashshell import BashShell
from crl.interactivesessions.shells.paramikospawn import EOF, TIMEOUT, ParamikoSpawn, _Plain
from crl.interactivesessions.shells.terminalclient import TerminalClientFatalError, TerminalComm, Timer, TimerTimeout
from crl.link.wire import frames
from tests.terminals.conftest import nothing_left

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from crl.lab import Lab
    from tests.shells.conftest import Open

__all__ = ["nothing_left"]


class Echo:
    """A channel as suites make it: it gives back what it gets, after what it was made with."""

    def __init__(self, *first: bytes | Exception) -> None:
        self.waiting: queue.SimpleQueue[bytes | Exception] = queue.SimpleQueue()
        for data in first:
            self.waiting.put(data)

    def recv(self, size: int) -> bytes:
        data = self.waiting.get()
        if isinstance(data, Exception):
            raise data
        assert len(data) <= size
        return data

    def send(self, data: bytes) -> int:
        self.waiting.put(data[:3])
        return len(data[:3])

    def close(self) -> None:
        self.waiting.put(b"")


@pytest.fixture
def spawn(nothing_left: None) -> Iterator[Callable[..., ParamikoSpawn]]:
    made: list[ParamikoSpawn] = []

    def make(*first: bytes | Exception, **kwargs: Any) -> ParamikoSpawn:
        made.append(ParamikoSpawn(Echo(*first), **kwargs))
        return made[-1]

    yield make
    for one in made:
        one.close()
        assert not one.isalive()


def test_reading_and_writing(spawn: Callable[..., ParamikoSpawn], tmp_path: Path) -> None:
    terminal = spawn(b"1", b"23", logfile=open(tmp_path / "log", "wb"), timeout=60)  # noqa: SIM115 - it closes it
    terminal.expect_exact("23")
    terminal.writelines(["a", b"b"])
    terminal.sendline("long line")
    terminal.expect("long (l)ine\n")
    assert (terminal.before, terminal.after, terminal.match.group(1)) == (b"ab", b"long line\n", b"l")
    with pytest.raises(TIMEOUT):
        terminal.read_nonblocking(1, 0.01)
    terminal.close()
    assert b"long line" in (tmp_path / "log").read_bytes()
    with pytest.raises(UsageError, match="bytes mode"):
        spawn(encoding="utf-8")


@pytest.mark.parametrize("end", [b"", OSError("gone"), TimeoutError()])
def test_the_end_of_the_channel(spawn: Callable[..., ParamikoSpawn], end: bytes | Exception) -> None:
    terminal = spawn(b"last", end, timeout=60)
    terminal.expect(EOF)
    assert terminal.before == b"last"
    for _ in range(2):
        with pytest.raises(EOF):
            terminal.read_nonblocking(1, 1)
    assert not terminal.isalive()


ESCAPES = (
    *(b"\x1b[31m", b"\x1b[0m", b"\x1b[?2004h"),
    *(b"\x1b]0;title\x07", b"\x1b]8;;x\x1b\\", b"\x1b(B", b"\x1bM", b"\x1b7"),
)


def test_escapes_are_removed(spawn: Callable[..., ParamikoSpawn]) -> None:
    terminal = spawn(b"a\x1b", b"[3", b"1mred", b"\x1b]0;ti", b"tle\x07 b\x1b", b"", timeout=60, remove_ansi_chars=True)
    terminal.expect(EOF)
    assert terminal.before == b"ared b\x1b"


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from((*ESCAPES, b"text", b"\n", b"\xff", b"["))), st.lists(st.integers(1, 7)))
def test_escapes_in_any_pieces(parts: list[bytes], sizes: list[int]) -> None:
    """However a stream is cut, what is left of it is the same."""
    whole, plain, got = b"".join(parts), _Plain(), b""
    for size in [*sizes, len(whole) or 1]:
        piece, whole = whole[:size], whole[size:]
        if piece:
            got += plain(piece)
    got += plain(b"")
    assert got == b"".join(part for part in parts if part not in ESCAPES)


class BroughtShell(BashShell):
    """A shell of a user that makes its own connection."""

    def __init__(self, client: paramiko.SSHClient) -> None:
        super().__init__("bash")
        self.client = client

    def spawn(self, timeout: float) -> ParamikoSpawn:
        return ParamikoSpawn(self.client.invoke_shell(), timeout=timeout)


@pytest.fixture
def client(lab: Lab, nothing_left: None) -> Iterator[paramiko.SSHClient]:
    user = lab.host("alpha").users["password"]
    client = paramiko.SSHClient()
    client.load_host_keys(str(lab.known_hosts))
    assert user.password is not None
    address, password = lab.host("alpha").address, user.password.value
    client.connect(address, username=user.login, password=password, allow_agent=False, look_for_keys=False)
    yield client
    client.close()


@pytest.mark.lab
def test_a_brought_connection_conforms(open_session: Open, client: paramiko.SSHClient) -> None:
    slow = (conformance.stubborn_command, conformance.all_statuses)
    session = open_session(BroughtShell(client))
    conformance.check_shell(session, [check for check in conformance.CHECKS if check not in slow])
    session.close_terminal()


@pytest.mark.lab
def test_a_link_over_a_brought_connection(client: paramiko.SSHClient) -> None:
    terminal = AutoRunnerTerminal()
    terminal.initialize_with_shells([BroughtShell(client)])
    try:
        terminal.initialize_if_needed()
        data = bytes(range(256)) * 1000
        assert terminal.run_python_call("bytes", data) == data
    finally:
        terminal.close()


# Frames and timers


def test_frames_over_a_raw_terminal(nothing_left: None) -> None:
    terminal = ChannelSpawn(LocalPtyChannel(["sh", "-c", "stty raw -echo; echo noise; exec cat"]), timeout=60)
    try:
        terminal.expect("noise")
        comm = TerminalComm(terminal)
        data = bytes(range(256)) * 300
        for start in range(0, len(data), 1000):
            comm.write(data[start : start + 1000])
            terminal.send(b"somebody else's")
        assert comm.read_until_size(len(data)) == data
        comm.set_timeout(0.05)
        with pytest.raises(TimerTimeout):
            comm.read(1)
        terminal.send(frames.encode(frames.DATA, 0, 0, 0, 10_000, 0, b"late"))
        comm.set_timeout(60)
        with pytest.raises(TerminalClientFatalError, match="lost on the way"):
            comm.read(1)
        terminal.sendeof()
        terminal.channel.close()
        with pytest.raises(TerminalClientFatalError, match="has ended"):
            comm.read(1)
    finally:
        terminal.close()


def test_timer() -> None:
    timeouts = Timer(0.05).remaining_timeouts()
    first = next(timeouts)
    assert 0 < first <= 0.05
    with pytest.raises(TimerTimeout, match=re.escape("0.05 s are over")):
        list(timeouts)
