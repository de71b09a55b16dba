"""Shells by telnet and over serial lines: the login, the shell, the link over it, and its resume."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crl.channels import ChannelStartError
from crl.channels.serial import SerialLineError
from crl.channels.telnet import IAC, TelnetStream
from crl.errors import UsageError
from crl.interactivesessions.InteractiveSession import InteractiveSession
from crl.interactivesessions.shells import BashShell, RegisteredShells, SerialShell, TelnetShell, conformance
from crl.interactivesessions.shells._consolelogin import ConsoleLoginError
from crl.link import TELNET, UNSURE, LaneKind, Link
from crl.link._armoured import ArmouredChannel
from tests.link.peers import eventually
from tests.shells.consoles import LOGIN, PASSWORD, serial_line, telnetd

if TYPE_CHECKING:
    from crl.lab import Lab
    from tests.shells.conftest import Open

EVERY_BYTE = bytes(range(256))


@pytest.fixture
def login(tmp_path: Path) -> str:
    script = tmp_path / "login"
    script.write_text(LOGIN, encoding="ascii")
    script.chmod(0o700)
    return str(script)


@pytest.fixture(params=["telnet", "serial"])
def shell(request: pytest.FixtureRequest, login: str, tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Makes a shell that has to log in."""
    if request.param == "telnet":
        with telnetd(login) as port:
            yield lambda name=None, word=None: TelnetShell("127.0.0.1", name, word, port)
    else:
        with serial_line(tmp_path, login) as device:
            yield lambda name=None, word=None: SerialShell(device, name, word)


def test_the_login_the_shell_and_a_link(shell: Callable[..., Any], open_session: Open) -> None:
    session = open_session(shell("tester", PASSWORD))
    assert session.current_shell().exec_command("echo here") == "here\r\n"
    lane = session.lane()
    assert lane.kind.forbidden
    assert (lane.reopen is None) == isinstance(session.current_shell(), SerialShell)
    link = Link.start(lane)
    assert link.invoke("bytes", EVERY_BYTE * 500) == EVERY_BYTE * 500
    assert link.close()
    assert session.current_shell().exec_command("echo again") == "again\r\n"


@pytest.mark.parametrize(
    ("given_login", "why"),
    [(("tester", "not the password"), "not accepted"), (("tester",), "none was given"), ((), "none was given")],
)
def test_a_refused_login_is_final(shell: Callable[..., Any], given_login: tuple[str, ...], why: str) -> None:
    session = InteractiveSession()
    with pytest.raises(ConsoleLoginError, match=why) as caught:
        session.spawn(shell(*given_login))
    assert caught.value.definite
    assert "not the password" not in str(caught.value).partition("Last seen")[2]


def test_a_link_by_telnet_is_resumed(open_session: Open) -> None:
    with telnetd("/bin/sh") as port:
        session = open_session(TelnetShell("127.0.0.1", port=port))
        link = Link.start(session.lane())
        try:
            assert eventually(lambda: link.resumable)
            call = link.submit_evaluate("__import__('time').sleep(0.5) or bytes(range(256)) * 500")
            with socket.socket(fileno=os.dup(session.terminal.channel.fileno())) as same:
                same.shutdown(socket.SHUT_RDWR)
            assert call.result(60) == EVERY_BYTE * 500
            assert eventually(lambda: link.statistics.resumed == 1)
        finally:
            link.close()


def test_a_telnet_client_that_is_pushed_carries_a_link(open_session: Open) -> None:
    with telnetd("/bin/sh") as port:
        session = open_session(BashShell())
        session.push(TelnetShell("127.0.0.1", port=port, client="busybox telnet"))
        session.push(BashShell("sh"))
        lane = session.lane()
        assert lane.kind == TELNET
        link = Link.start(lane)
        assert link.invoke("bytes", EVERY_BYTE * 500) == EVERY_BYTE * 500
        assert link.close()


def test_the_kinds_of_all_hops_count() -> None:
    slow = LaneKind(printable=True, columns=70, rate=1200)
    both = slow.through(LaneKind(forbidden=b"~", rate=9600))
    assert both == LaneKind(b"~", printable=True, columns=70, rate=1200)
    assert SerialShell("/dev/none", baud=9600, printable=True).carries == LaneKind(printable=True, rate=960)


def test_a_line_is_one_users_alone(tmp_path: Path, open_session: Open) -> None:
    with serial_line(tmp_path, "/bin/sh") as device:
        open_session(SerialShell(device))
        with pytest.raises(SerialLineError, match="in use") as caught:
            InteractiveSession().spawn(SerialShell(device))
        assert caught.value.definite


def test_what_cannot_be_opened_is_said() -> None:
    with pytest.raises(SerialLineError, match="No such file"):
        InteractiveSession().spawn(SerialShell("/dev/no-such-line"))
    with pytest.raises(UsageError, match="12345 baud"):
        InteractiveSession().spawn(SerialShell("/dev/tty", baud=12345))
    with pytest.raises(UsageError, match="first shell"):
        SerialShell("/dev/tty").get_start_cmd()
    with pytest.raises(ChannelStartError, match="no connection"):
        InteractiveSession().spawn(TelnetShell("127.0.0.1", port=1))
    with pytest.raises(ChannelStartError, match="no connection"):
        InteractiveSession().spawn(TelnetShell("x" * 64))


def test_both_are_found_by_name() -> None:
    shells = RegisteredShells()
    assert [shells.get_shellcls(name) for name in ("TelnetShell", "SerialShell")] == [TelnetShell, SerialShell]


def test_they_conform(shell: Callable[..., Any], open_session: Open) -> None:
    slow = (conformance.stubborn_command, conformance.all_statuses)
    session = open_session(shell("tester", PASSWORD))
    conformance.check_shell(session, [check for check in conformance.CHECKS if check not in slow])


@given(st.lists(st.binary(max_size=60)))
def test_a_server_may_say_what_it_likes(said: list[bytes]) -> None:
    whole, cut = TelnetStream(), TelnetStream()
    text = b"".join(cut.feed(part) for part in said)
    assert whole.feed(b"".join(said)) == text
    assert whole.replies == cut.replies
    assert len(whole.replies) <= 20 + 12 * sum(map(len, said))


@given(st.binary(max_size=300), st.integers(1, 20))
def test_every_byte_comes_through_in_binary_mode(data: bytes, step: int) -> None:
    ends = TelnetStream(), TelnetStream()
    for _ in range(4):
        for one, other in (ends, ends[::-1]):
            replies, one.replies = bytes(one.replies), bytearray()
            other.feed(replies)
    assert not any(end.replies for end in ends), "two of them must come to an end"
    assert ends[0].binary
    sent = ends[0].encode(data)
    assert b"".join(ends[1].feed(sent[at : at + step]) for at in range(0, len(sent), step)) == data
    assert IAC not in data or len(sent) > len(data)


@pytest.mark.parametrize("kind", [LaneKind(forbidden=b"~"), UNSURE], ids=["declared", "tried"])
def test_ssh_with_escapes_on(lab: Lab, open_session: Open, kind: LaneKind) -> None:
    # What a user types by hand: ssh acts upon a tilde behind a line's end, and ends at "~.".
    shell = BashShell(f"ssh -tt -F {lab.ssh_config} -e ~ alpha-key")
    shell.lane_kind = kind
    session = open_session(shell)
    link = Link.start(session.lane())
    attachment = link.engine._attachment
    assert attachment is not None
    assert isinstance(attachment.channel, ArmouredChannel)
    evil = b"\r~.\r~?\n~." * 2000
    assert link.invoke("bytes", evil) == evil
    assert link.invoke("bytes", EVERY_BYTE * 500) == EVERY_BYTE * 500
    link.close()
