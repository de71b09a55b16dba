"""Sessions for a server that is logged in on by paramiko: one login, several sessions, and python-x2go's flags."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from crl.lab import Lab
from crl.targets import Target
from crl.x2go import AgentState, ClientDisplay, SessionState, X2GoSession
from crl.x2go.backends.terminal import plain
from crl.x2go.backends.terminal.plain import X2GoTerminalSession
from crl.x2go.x2go_exceptions import (
    X2GoCommandNotFound,
    X2GoDesktopSharingDenied,
    X2GoProxyMissing,
    X2GoSessionException,
    X2GoSessionNotFound,
    X2GoTimeOutException,
)
from tests.x2go.conftest import QUIET, wait_until

pytestmark = pytest.mark.lab

Make = Callable[..., X2GoSession]


class Client:
    """An application's client: remembers which hooks were called, and that nothing else was."""

    def __init__(self) -> None:
        self.told: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("HOOK_"):
            raise AttributeError(name)
        return lambda *args, **kwargs: self.told.append((name, args, kwargs))

    @property
    def names(self) -> list[str]:
        return [name for name, _, _ in self.told]


@pytest.fixture
def display() -> Iterator[ClientDisplay]:
    with ClientDisplay.start((1280, 1024)) as started:
        yield started


@pytest.fixture
def make(lab: Lab, tmp_path: Path, display: ClientDisplay) -> Iterator[Make]:
    """Make sessions of one account; what they leave is ended with the test."""
    made: list[X2GoSession] = []

    def one(**options: Any) -> X2GoSession:
        host = lab.host("alpha")
        given = {
            "server": host.address, "username": host.user("zsh").login, "key_filename": str(lab.key("zsh")),
            "known_hosts": lab.known_hosts, "sessions_rootdir": tmp_path / "x2go", "client_display": display,
            "at_exit": "terminate",
        }  # fmt: skip
        made.append(X2GoSession(**{**QUIET, **given, **options}))
        return made[-1]

    yield one
    for session in made:
        session.close()


def sharing(first: X2GoSession, **options: Any) -> dict[str, Any]:
    return {"control_session": first.control_session, **options}


@pytest.mark.usefixtures("nothing_left")
def test_a_session_and_its_flags(make: Make, tmp_path: Path) -> None:
    one = make(cmd="xterm", profile_name="office")
    assert (one.virgin, one.running, one.suspended, one.terminated, one.faulty) == (True, None, None, None, False)
    one.connect()
    assert (one.connected, one.running, one.suspended) == (True, False, False)
    assert one.list_sessions() == {}
    assert one.list_sessions(raw=True) == (b"", b"")
    assert one.has_server_feature("X2GO_LIST_SHADOWSESSIONS")
    assert one.control_session.query_server_versions()["x2goserver"].startswith("4.")
    progress = threading.Event()
    assert one.start(progress_event=progress)
    assert progress.is_set()
    assert one.get_progress_status() == 100
    name = one.get_session_name()
    assert name is not None
    assert one.session_name == name
    assert one._X2GoSession__get_session_name() == name  # type: ignore[attr-defined]
    assert one.get_session_info() is one.info
    assert (one.virgin, one.running, one.suspended, one.terminated) == (False, True, False, False)
    assert one.has_terminal_session()
    assert one.control_session.associated_terminals == {name: one.terminal_session}
    assert one.color_depth_from_session_name() == 24
    assert (tmp_path / "x2go" / f"S-{name}" / "session.log").exists()
    assert one.verify(["xterm"]).ok
    assert one.list_sessions()[name].is_running()
    assert one.list_mounts() == {name: []}
    assert one.control_session.is_running(name)
    # Another object of the same login sees it, by the list alone, and suspends it.
    other = make(**sharing(one, session_name=name, at_exit="leave"))
    assert other.virgin
    assert other.update_status(force_update=True)
    assert (other.running, other.suspended, other.terminated) == (True, False, False)
    assert other.suspend()
    assert one.is_suspended()
    wait_until(lambda: not one.has_terminal_session())
    assert not one.has_terminal_session()
    assert one.update_status(force_update=True)
    assert (one._current_status["running"], one._current_status["suspended"]) == (False, True)
    assert one.do_auto_start_or_resume(start=False)
    assert one.running
    # The end of the login suspends what it shows.
    assert one.disconnect()
    assert not one.connected
    assert not one.has_terminal_session()
    flags: tuple[bool | None, ...] = (one.running, one.suspended, one.terminated)
    assert flags == (None, None, None)
    one.connect()
    assert one.suspended
    one.clean_sessions()
    assert one.terminated
    assert one.list_sessions() == {}
    assert other.update_status(force_update=True)
    assert other.terminated


@pytest.mark.usefixtures("nothing_left")
def test_a_start_so_slow_that_the_server_has_forgotten_it(
    make: Make, lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its daemon takes sessions out of its database that are without an agent for ten seconds."""
    connect = X2GoTerminalSession._connect

    def connect_and_be_forgotten(self: X2GoTerminalSession, *args: Any) -> None:
        connect(self, *args)
        forget = "use X2Go::Server::DB qw(dbsys_rmsessionsroot); dbsys_rmsessionsroot(shift)"
        forgotten = lab.host("alpha").exec(["perl", "-e", forget, self.session_info.name])
        assert forgotten.returncode == 0, forgotten.stderr

    one = make(cmd="xterm")
    one.connect()
    with monkeypatch.context() as patch:
        patch.setattr(X2GoTerminalSession, "_connect", connect_and_be_forgotten)
        patch.setattr(plain, "FORGOTTEN_AFTER", 0.0)
        one.start()
    name = one.get_session_name()
    listed = one.list_sessions()[name]
    assert listed.is_running()
    for what in ("agent_pid", "display", "cookie", "graphics_port", "snd_port", "sshfs_port", "hostname", "username"):
        assert getattr(listed, what) == getattr(one.info, what), what
    one.suspend()
    one.resume()
    assert one.verify(["xterm"]).ok
    one.terminate()


@pytest.mark.usefixtures("nothing_left")
def test_a_desktop_and_its_window(make: Make, tmp_path: Path, display: ClientDisplay) -> None:
    one = make(
        session_type="desktop", cmd="openbox", geometry="maximize", dpi=120, xinerama=True, clipboard="none",
        kblayout="de", kbvariant="nodeadkeys", set_session_title=True, session_title="my desktop", link="modem",
        pack="16m-jpeg-9",
    )  # fmt: skip
    one.connect()
    assert one.control_session.low_latency
    one.start()
    assert one.is_desktop_session()
    assert display.screen.wait_for_window("my desktop", 20).wm_class[1] == "X2GoAgent"
    window = (tmp_path / "x2go" / f"S-{one.get_session_name()}" / "session.window").read_text()
    assert window.startswith("ID:")
    one.set_session_window_title("another")
    assert display.screen.wait_for_window("another", 20)
    one.raise_session_window()
    assert one.session_params.geometry == "1280x1024"
    options = one.control_session.server.execute(["cat", f"{one.info.remote_container}/options"]).stdout
    for part in ("link=modem", "pack=16m-jpeg-9", "clipboard=none", "geometry=1280x1024", "xinerama=1"):
        assert part in options
    agent = one.control_session.server.execute(["cat", f"/proc/{one.info.agent_pid}/cmdline"]).stdout
    assert "-dpi\x00120\x00" in agent
    env = one.get_environment()
    layout = one.control_session.server.execute(["setxkbmap", "-query"], env=env).stdout.split()
    assert layout[layout.index("layout:") + 1] == "de"
    assert layout[layout.index("variant:") + 1] == "nodeadkeys"
    one.terminate()
    assert not (tmp_path / "x2go" / f"S-{one.get_session_name()}").exists()


@pytest.mark.usefixtures("nothing_left")
def test_published_applications(make: Make) -> None:
    one = make(published_applications=True, cmd="", session_type="application")
    one.connect()
    menu = one.get_published_applications(max_no_submenus=0)
    assert menu == one.get_published_applications(max_no_submenus=0)
    entries = [entry for group in menu["en"].values() for entry in group]
    (terminal,) = [entry for entry in entries if entry["exec"].split()[0] == "xterm"]
    assert terminal["name"]
    assert b"<desktop>" in one.get_published_applications(very_raw=True)
    assert len(one.get_published_applications(raw=True)) == len(entries)
    with pytest.raises(X2GoSessionException, match="not shown here: it is virgin"):
        one.exec_published_application("xterm")
    one.start()
    assert one.is_pubapp_session()
    assert one.is_published_applications_provider()
    assert one.get_session_type() == "P"
    assert one.get_state() is AgentState.RUNNING
    one.exec_published_application("xterm -title 'two words'")
    assert one.wait_for_window("two words")
    with pytest.raises(X2GoCommandNotFound):
        one.exec_published_application("no-such-program")


@pytest.fixture
def other_desktop(alpha: Target) -> Iterator[str]:
    """A desktop of the account that is no X2Go session."""
    server = alpha.start(["Xvfb", ":47", "-screen", "0", "800x600x24", "-nolisten", "tcp"])
    wait_until(lambda: " /tmp/.X11-unix/X47 " in alpha.run(["ss", "-Hlx"]).stdout)
    shown = alpha.start(["xterm", "-title", "on the desktop"], env={"DISPLAY": ":47"})
    yield "zshuser@:47"
    shown.kill()
    server.kill()


@pytest.mark.usefixtures("nothing_left")
@pytest.mark.parametrize("mode", [0, pytest.param(1, marks=pytest.mark.long)])
def test_a_shared_desktop(make: Make, other_desktop: str, mode: int) -> None:
    one = make()
    one.connect()
    assert other_desktop in one.list_desktops()
    assert one.share_desktop(other_desktop, share_mode=mode)
    assert one.is_shadow_session()
    assert one.info.get_share_mode() == str(mode)
    assert one.get_session_type() == "S"
    seen = one.client_display.screen.wait_for_window(one.get_session_title(), 20)
    assert (seen.geometry.width, seen.geometry.height) == (800, 600)
    assert one.get_session_name() in one.list_sessions()
    one.terminate()


def test_a_desktop_that_cannot_be_shared(make: Make) -> None:
    client = Client()
    one = make(client_instance=client, profile_name="office")
    one.connect()
    assert one.share_desktop("zshuser@:99") is False
    assert client.told == [("HOOK_no_such_desktop", (), {"profile_name": "office", "desktop": "zshuser@:99"})]
    assert isinstance(one.last_error, X2GoSessionException)
    # The server of the lab has no x2godesktopsharing, and without it lets nobody in.
    assert one.share_desktop(user="root", display=0, check_desktop_list=False) is False
    assert client.names[1:] == ["HOOK_desktop_sharing_denied"]
    assert isinstance(one.last_error, X2GoDesktopSharingDenied)
    stand_alone = make(**sharing(one))
    with pytest.raises(X2GoSessionException, match="no desktop zshuser@:99"):
        stand_alone.share_desktop("zshuser@:99")
    with pytest.raises(X2GoDesktopSharingDenied, match="has no x2godesktopsharing"):
        stand_alone.share_desktop(user="root", display=":0", check_desktop_list=False)


def test_hooks_instead_of_errors(make: Make) -> None:
    client = Client()
    one = make(client_instance=client, cmd="no-such-command")
    one.connect()
    assert one.start() is False
    assert client.told[0][:2] == ("HOOK_no_such_command", ("no-such-command",))
    assert isinstance(one.last_error, X2GoCommandNotFound)
    assert one.faulty
    assert one.get_progress_status() == -1
    assert one.resume("zshuser-50-1234567890_stRxterm_dp24") is False
    assert client.names[1:] == ["HOOK_session_startup_failed"]
    assert isinstance(one.last_error, X2GoSessionNotFound)
    kdrive = make(**sharing(one, kdrive=True, session_type="desktop", cmd="openbox"))
    with pytest.raises(X2GoProxyMissing, match="x2gokdriveclient is not installed"):
        kdrive.start()


@pytest.mark.long
@pytest.mark.usefixtures("nothing_left")
def test_logins_that_start_by_themselves(make: Make) -> None:
    one = make(cmd="xterm", auto_start_or_resume=True)
    one.connect()
    wait_until(lambda: one.state is SessionState.RUNNING, 60)
    assert one.running
    assert not one.is_locked()
    name = one.get_session_name()
    one.suspend()
    again = make(**sharing(one, auto_connect=True))
    again.do_auto_start_or_resume()
    assert again.get_session_name() == name
    assert again.running
    again.terminate()


@pytest.fixture
def rdesktop(lab: Lab) -> Iterator[None]:
    """A stand-in for the RDP client, which the machines of the tests do not have: it shows how it was called."""
    host, path = lab.host("alpha"), "/usr/local/bin/rdesktop"
    script = '#!/bin/sh\\nexec xterm -title "rdesktop $*"\\n'
    assert host.exec(["sh", "-c", f"printf '{script}' > {path}; chmod 755 {path}"]).returncode == 0
    yield
    host.exec(["rm", "-f", path])


@pytest.mark.long
@pytest.mark.usefixtures("nothing_left", "rdesktop")
def test_a_desktop_of_windows(make: Make) -> None:
    options = "-u X2GO_USER -p X2GO_PASSWORD -r sound:off"
    one = make(cmd="RDP", rdp_server="win.example", rdp_options=options, geometry="800x600")
    one.connect()
    one.start()
    assert one.is_rootless_session()
    assert one.wait_for_window("rdesktop -g 800x600 -N -u zshuser -r sound:off win.example -a 24")


@pytest.mark.long
@pytest.mark.usefixtures("nothing_left")
def test_a_desktop_asked_of_a_host_that_shows_none(make: Make) -> None:
    one = make(session_type="desktop", cmd="XDMCP", xdmcp_server="127.0.0.1")
    one.connect()
    with pytest.raises(X2GoTimeOutException, match="did not begin to run in time") as caught:
        one.start()
    assert "XDM" in caught.value.transcript
    assert one.list_sessions() == {}
