"""What can be wrong with a session: each has an error of its own in time, and leaves nothing on either side."""

from __future__ import annotations

import os
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from crl.deadlines import Deadline
from crl.display import DisplayTimeout
from crl.lab import Lab
from crl.targets import Target
from crl.x2go import (
    AgentState,
    ClientDisplay,
    SessionState,
    X2GoAgentDied,
    X2GoClientDisplayError,
    X2GoCommandNotFound,
    X2GoParameterError,
    X2GoProxyEnded,
    X2GoProxyMissing,
    X2GoServerMissing,
    X2GoSessionEnded,
    X2GoSessionLimitReached,
    X2GoSessionNotFound,
    X2GoStateError,
    X2GoTimeOutException,
    X2GoVerificationFailed,
    list_sessions,
)
from crl.x2go.backends.proxy.nx3 import X2GoProxyNX3
from tests.link.peers import eventually
from tests.x2go.conftest import OpenTarget, Session, remains_of, wait_until, wait_until_gone

pytestmark = pytest.mark.lab


@pytest.fixture
def path_without(tmp_path: Path) -> Iterator[None]:
    """A controller on which nxproxy, Xvfb and window managers are not installed, everything else is."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("ssh", "xauth", "sh"):
        found = shutil.which(name)
        if found is not None:
            (folder / name).symlink_to(found)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", str(folder))
        yield


@pytest.mark.usefixtures("nothing_left", "path_without")
def test_no_nxproxy_here(alpha: Target, session: Session) -> None:
    started = time.monotonic()
    one = session(alpha, cmd="xterm")
    with pytest.raises(X2GoProxyMissing, match="nxproxy is not installed on this machine") as caught:
        one.start()
    assert time.monotonic() - started < 40
    assert "apt-get install nxproxy" in str(caught.value)
    assert one.state is SessionState.FAULTY


@pytest.mark.usefixtures("path_without")
def test_no_display_here() -> None:
    with pytest.raises(X2GoClientDisplayError, match="Xvfb is not installed"):
        ClientDisplay.start()


def test_no_display_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    with pytest.raises(X2GoClientDisplayError, match="no DISPLAY"):
        ClientDisplay.existing("$DISPLAY")
    monkeypatch.setenv("DISPLAY", ":4711")
    with pytest.raises(X2GoClientDisplayError, match="no X server answers on :4711"):
        ClientDisplay.existing("$DISPLAY")


def test_a_window_manager_that_ends_at_once(own_temporary_folder: Path) -> None:
    with pytest.raises(X2GoClientDisplayError, match="true did not come up"):
        ClientDisplay.start(window_manager=["true"], timeout=6)
    assert not list(own_temporary_folder.iterdir())


def test_no_x2go_server(open_target: OpenTarget, session: Session) -> None:
    gateway = open_target("gateway")
    with pytest.raises(X2GoServerMissing, match="no X2Go server: x2gostartagent") as caught:
        session(gateway, cmd="xterm").start()
    assert "apt-get install x2goserver" in str(caught.value)
    with pytest.raises(X2GoServerMissing):
        list_sessions(gateway)


@pytest.mark.usefixtures("nothing_left")
@pytest.mark.parametrize(
    ("kind", "cmd"), [("desktop", "no-such-desktop"), ("desktop", "MATE"), ("application", "/no/xterm")]
)
def test_a_command_that_does_not_exist(alpha: Target, session: Session, kind: str, cmd: str) -> None:
    with pytest.raises(X2GoCommandNotFound, match=f"the command '{cmd}' does not exist there"):
        session(alpha, session_type=kind, cmd=cmd).start()


@pytest.fixture
def one_session_only(lab: Lab) -> Iterator[None]:
    """A server that allows the account one session."""
    edit = "s/^\\[limit users\\]$/[limit users]\\nzshuser=1/"
    host = lab.host("alpha")
    assert host.exec(["sed", "-i", edit, "/etc/x2go/x2goserver.conf"]).returncode == 0
    yield
    assert host.exec(["sed", "-i", "/^zshuser=1$/d", "/etc/x2go/x2goserver.conf"]).returncode == 0


@pytest.mark.usefixtures("nothing_left", "one_session_only")
def test_the_limit_of_sessions(alpha: Target, session: Session) -> None:
    with session(alpha, cmd="xterm") as first:
        first.start()
        second = session(alpha, cmd="xterm")
        with pytest.raises(X2GoSessionLimitReached, match="no more sessions") as caught:
            second.start()
        assert "LIMIT" in caught.value.transcript
        assert len(list_sessions(alpha)) == 1
        assert first.is_running()


class AgentKiller(X2GoProxyNX3):
    """Kills the session's agent before the proxy can connect to it."""

    def bring_up(self, deadline: Deadline) -> None:
        assert self.session_info is not None
        target = self.ssh_transport
        assert isinstance(target, Target)
        target.run(["kill", "-9", str(self.session_info.agent_pid)], check=True)
        super().bring_up(deadline)


@pytest.mark.usefixtures("nothing_left")
def test_an_agent_that_dies_during_the_start(alpha: Target, session: Session) -> None:
    started = time.monotonic()
    one = session(alpha, cmd="xterm", proxy_class=AgentKiller)
    with pytest.raises(X2GoAgentDied, match=r"x2goagent .* has died"):
        one.start(timeout=100)
    assert time.monotonic() - started < 80


class CookieLoser(X2GoProxyNX3):
    """Shows the agent a wrong cookie."""

    def bring_up(self, deadline: Deadline) -> None:
        assert self.session_info is not None
        right, self.session_info.cookie = self.session_info.cookie, "0" * 32
        try:
            super().bring_up(deadline)
        finally:
            self.session_info.cookie = right


@pytest.mark.usefixtures("nothing_left")
def test_a_wrong_cookie(alpha: Target, session: Session) -> None:
    one = session(alpha, cmd="xterm", proxy_class=CookieLoser)
    with pytest.raises((X2GoProxyEnded, X2GoAgentDied)) as caught:
        one.start(timeout=90)
    assert one.state is SessionState.FAULTY
    assert caught.value.host in {"alpha", None}


@pytest.mark.usefixtures("nothing_left")
def test_nxproxy_is_killed_while_the_link_serves_others(alpha: Target, session: Session) -> None:
    with session(alpha, cmd="xterm") as one:
        one.start()
        one.wait_for_window("xterm")
        stop, statuses = threading.Event(), []

        def others() -> None:
            while not stop.is_set():
                statuses.append(alpha.run(["echo", "still here"]).stdout)

        worker = threading.Thread(target=others)
        worker.start()
        assert one.terminal_session is not None
        assert one.terminal_session.proxy is not None
        process = one.terminal_session.proxy.proxy
        assert process is not None
        os.kill(process.pid, signal.SIGKILL)
        assert one.wait_for_state(AgentState.SUSPENDED, timeout=30) is AgentState.SUSPENDED
        served = len(statuses)
        wait_until(lambda: len(statuses) > served + 10)
        stop.set()
        worker.join(10)
        assert len(statuses) > served
        assert set(statuses) == {"still here\n"}
        assert not one.session_ok()
        assert one.state is SessionState.SUSPENDED
        with pytest.raises(X2GoStateError, match="suspended cannot be looked at"):
            one.windows()
        one.resume()
        assert one.verify(["xterm"]).ok


@pytest.mark.usefixtures("nothing_left")
def test_a_command_that_ends_at_once(alpha: Target, session: Session) -> None:
    with session(alpha, cmd="false") as one:
        one.start()
        # Whoever comes after the proxy has told of the end finds a session that has ended already.
        with pytest.raises((X2GoSessionEnded, X2GoStateError), match=r"has ended|that is terminated"):
            one.wait_for_window("xterm", 60)
        assert one.get_state() is AgentState.TERMINATED
        with pytest.raises(X2GoVerificationFailed, match="TERMINATED") as caught:
            one.verify(["xterm"])
        assert caught.value.picture is None


@pytest.mark.usefixtures("nothing_left")
def test_what_a_verification_finds(alpha: Target, session: Session, tmp_path: Path) -> None:
    with session(alpha, cmd="xterm") as one:
        one.start()
        one.wait_for_window("xterm")
        assert one.verify(["xterm"]).ok
        with pytest.raises(X2GoVerificationFailed, match="no window matches 'no such window'") as caught:
            one.verify(["xterm", "no such window"], timeout=2, pictures=tmp_path)
        text = str(caught.value)
        sections = "State", "Processes on the server", "Windows of the session", "The agent's log", "nxproxy's log"
        for section in sections:
            assert f"\n{section}:\n" in text
        for part in ("agent is RUNNING", "x2goagent", "XTerm", "Session started at", "Established X server connection"):
            assert part in text
        assert one.info.cookie not in text
        assert caught.value.picture is not None
        assert caught.value.picture in text
        assert Path(caught.value.picture).stat().st_mode & 0o077 == 0
        with Image.open(caught.value.picture) as both:
            assert both.width > one.server_picture().width + one.client_picture().width

        def looks_as_it_did() -> bool:
            one.server_picture().save(tmp_path / "as it is.png")
            return one.verify(["xterm"], tmp_path / "as it is.png").expected == 1.0

        assert eventually(looks_as_it_did), "as soon as the shell in it has drawn its prompt"
        with pytest.raises(X2GoVerificationFailed, match="does not look like the picture"):
            one.verify(["xterm"], Image.new("RGB", (320, 200)), timeout=1, pictures=tmp_path)
        with pytest.raises(DisplayTimeout, match="no window 'other' came within"):
            one.wait_for_window("other", 0.3)
        alpha.run(["kill", "-9", str(one.info.agent_pid)], check=True)
        assert one.wait_for_state(AgentState.TERMINATED, timeout=20) is AgentState.TERMINATED
        found = one.verify(check=False)
        assert not found.ok
        assert one.state is SessionState.TERMINATED


@pytest.mark.usefixtures("nothing_left")
def test_a_start_that_has_no_time(alpha: Target, session: Session, lab: Lab) -> None:
    started = time.monotonic()
    with pytest.raises(X2GoTimeOutException, match="x2gostartagent was not done in time"):
        session(alpha, cmd="xterm").start(timeout=1)
    assert time.monotonic() - started < 30
    # The server's own list forgets what was never finished.
    wait_until(lambda: not list_sessions(alpha), 40)
    wait_until_gone(lambda: [line for line in remains_of(lab, "alpha", "zshuser").server if "x2goagent" in line])


def test_sessions_that_are_not_there(alpha: Target, session: Session) -> None:
    with pytest.raises(X2GoSessionNotFound, match="there is no session zshuser-50-1_stRx_dp24"):
        session(alpha, session_name="zshuser-50-1_stRx_dp24").resume()
    with pytest.raises(X2GoParameterError, match="which session"):
        session(alpha).resume()
    with pytest.raises(X2GoStateError, match="virgin cannot suspend"):
        session(alpha).suspend()
    with pytest.raises(X2GoStateError, match="virgin cannot be looked at"):
        session(alpha).server_picture()
    with pytest.raises(X2GoParameterError, match="no parameter colour"):
        session(alpha, colour="red")
