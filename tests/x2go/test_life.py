"""Whole lives of sessions on real servers: directly, behind a gateway and as another user."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from crl.display import Display
from crl.lab import Lab
from crl.targets import Target
from crl.x2go import AgentState, ClientDisplay, SessionState, Transition, X2GoSession, list_sessions
from crl.x2go._remote import await_agent_listening
from tests.x2go.conftest import OpenTarget, Session, remains_of, wait_until, wait_until_gone

pytestmark = pytest.mark.lab

S = SessionState
WHOLE_LIFE = [
    S.STARTING, S.RUNNING, S.SUSPENDING, S.SUSPENDED, S.RESUMING, S.RUNNING, S.TERMINATING, S.TERMINATED,
]  # fmt: skip


def argument_lists() -> Iterator[bytes]:
    """The arguments of all processes of this machine, of which some end meanwhile."""
    for entry in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            yield Path(f"/proc/{entry}/cmdline").read_bytes()


def live(one: X2GoSession, pictures: Path) -> None:
    """Start, look, suspend, resume, look again, terminate."""
    one.start()
    name = one.get_session_name()
    assert name is not None
    assert one.get_state() is AgentState.RUNNING
    assert list_sessions(one.target)[name].is_running()
    seen = one.verify(["xterm"])
    assert seen.likeness is not None
    assert seen.likeness > 0.97
    assert seen.server_picture is not None
    assert seen.client_picture is not None
    seen.server_picture.save(pictures / "server.png")
    seen.client_picture.save(pictures / "client.png")
    one.suspend()
    assert one.get_state() is AgentState.SUSPENDED
    assert not one.session_ok()
    assert list_sessions(one.target)[name].is_suspended()
    one.resume()
    assert one.get_state() is AgentState.RUNNING
    assert one.verify(["xterm"]).ok
    one.terminate()
    assert one.get_state() is AgentState.TERMINATED
    assert name not in list_sessions(one.target)


@pytest.mark.usefixtures("nothing_left")
def test_application(alpha: Target, session: Session, tmp_path: Path) -> None:
    steps: list[Transition] = []
    one = session(alpha, cmd="xterm", on_change=steps.append)
    live(one, tmp_path)
    assert [step.after for step in steps] == WHOLE_LIFE
    assert one.get_session_type() == "R"


@pytest.mark.usefixtures("nothing_left")
def test_desktop(alpha: Target, session: Session, tmp_path: Path) -> None:
    with session(alpha, session_type="desktop", cmd="OPENBOX") as one:
        one.start()
        with Display(alpha, one.server_display.name) as display:
            assert display.wait_for_window("Openbox", 20).wm_class == ("", "")
        alpha.start(["xterm"], env={**one.get_environment(), "HOME": "/home/zshuser"}, detached=True)
        seen = one.verify(["xterm"])
        title = one.get_session_title()
        (shown,) = [window for window in seen.client_windows if window.name == title]
        assert (shown.geometry.width, shown.geometry.height) == (640, 480)
        assert one.server_picture().size == (640, 480)
        assert one.client_picture(session_only=True).size == (640, 480)
        assert seen.likeness is not None
        assert seen.likeness > 0.97
        one.suspend()
        one.resume()
        assert one.verify(["xterm"]).ok
    assert one.state is SessionState.TERMINATED


def test_behind_a_gateway(open_target: OpenTarget, session: Session, lab: Lab, tmp_path: Path) -> None:
    before = remains_of(lab, "beta", "zshuser")
    live(session(open_target("beta"), cmd="xterm"), tmp_path)
    wait_until_gone(lambda: remains_of(lab, "beta", "zshuser").server - before.server)


def test_as_another_user_through_sudo(open_target: OpenTarget, session: Session, lab: Lab, tmp_path: Path) -> None:
    before = remains_of(lab, "alpha", "ashuser")
    target = open_target("alpha", "both", sudo_to="ashuser")
    one = session(target, cmd="xterm")
    live(one, tmp_path)
    assert one.info.username == "ashuser"
    wait_until_gone(lambda: remains_of(lab, "alpha", "ashuser").server - before.server)


@pytest.mark.usefixtures("nothing_left")
def test_another_object_takes_a_session_over(alpha: Target, session: Session) -> None:
    first = session(alpha, cmd="xterm", at_exit="leave")
    first.start()
    second = session(alpha, session_name=first.get_session_name())
    second.resume()
    assert second.verify(["xterm"]).ok
    wait_until(lambda: not first.session_ok())
    assert not first.session_ok()
    first.close()
    assert second.is_running()
    second.terminate()


@pytest.mark.usefixtures("nothing_left")
def test_a_session_outlives_its_object_when_asked(alpha: Target, session: Session) -> None:
    with session(alpha, cmd="xterm", at_exit="suspend") as one:
        one.start()
    name = one.get_session_name()
    assert one.get_state() is AgentState.SUSPENDED
    later = session(alpha, session_name=name)
    later.terminate()
    assert later.has_terminated()


@pytest.mark.usefixtures("nothing_left")
def test_two_sessions_share_a_display_and_a_link(alpha: Target, session: Session) -> None:
    with ClientDisplay.start((1280, 1024)) as display:
        both = [session(alpha, cmd="xterm", client_display=display) for _ in range(2)]
        starts = [threading.Thread(target=one.start) for one in both]
        for start in starts:
            start.start()
        for start in starts:
            start.join(200)
        assert {one.get_state() for one in both} == {AgentState.RUNNING}
        assert len({one.info.display for one in both}) == 2
        for one in both:
            one.wait_for_window("xterm")
        both[0].terminate()
        assert both[1].verify(["xterm"]).shown
        both[1].terminate()
        assert display.screen.size() == (1280, 1024)


@pytest.mark.usefixtures("nothing_left")
def test_the_server_keeps_no_number_of_an_sshd(alpha: Target, session: Session) -> None:
    with session(alpha, cmd="xterm") as one:
        one.start()
        folder = one.info.remote_container
        assert alpha.run(["ls", folder]).stdout.split()
        assert not alpha.run(["test", "-e", f"{folder}/sshd.pid"]).ok
        one.suspend()
        one.resume()
        assert not alpha.run(["test", "-e", f"{folder}/sshd.pid"]).ok


@pytest.mark.usefixtures("nothing_left")
def test_the_cookie_is_in_no_argument_list(alpha: Target, session: Session) -> None:
    with session(alpha, cmd="xterm") as one:
        one.start()
        cookie = one.info.cookie.encode()
        assert len(cookie) == 32
        lines = list(argument_lists())
        assert any(b"nxproxy" in line for line in lines)
        assert not any(cookie in line for line in lines)
        options = Path(one.info.local_container) / "options"
        assert options.stat().st_mode & 0o777 == 0o600
        assert cookie in options.read_bytes()
        # Nor can another user of the controller reach the agent through the tunnel.
        assert b"connect=unix:" in options.read_bytes()
        (door,) = options.parent.parent.glob("graphics")
        assert door.is_socket()
        assert door.parent.stat().st_mode & 0o077 == 0


def test_the_port_of_an_agent_is_waited_for(alpha: Target) -> None:
    server = alpha.python.socket.socket()
    server.bind(("127.0.0.1", 0))
    server.listen(1)
    port = int(server.getsockname()[1])
    assert await_agent_listening(alpha, "no-session", 1, port, 5.0)
    server.close()
    assert not await_agent_listening(alpha, "no-session", 1, port, 0.0)
