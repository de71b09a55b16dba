"""The client on real servers: whole lives as in python-x2go's tutorials, applications, the background, two servers.

Invariant: what the hooks heard is what happened, each thing once; and the client's end ends everything.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from crl.lab import Lab
from crl.targets import Target
from crl.x2go import (
    AuthenticationException,
    ClientDisplay,
    X2GoClient,
    X2GoClientException,
    X2GoHostKeyException,
    X2GoSession,
    X2GoSessionNotFound,
    X2GoSessionRegistryException,
)
from tests.link.peers import eventually
from tests.x2go.conftest import QUIET, OpenTarget, Session, remains_of, wait_until_gone

pytestmark = pytest.mark.lab

PATIENCE = 30.0


class Heard(X2GoClient):
    """A client that notes what its hooks are told."""

    def __init__(self, **options: Any) -> None:
        self.heard: list[tuple[str, str, str]] = []
        self.dialogues: list[dict[str, Any]] = []
        self.accepts_keys = False
        super().__init__(**options)

    def _note(self, event: str, session_uuid: str, profile_name: str, session_name: str) -> None:
        assert self.session_registry(session_uuid).get_profile_name() == profile_name
        self.heard.append((event, profile_name, session_name))

    def HOOK_on_session_has_started_by_me(self, **about: str) -> None:  # type: ignore[override]
        self._note("started here", **about)

    def HOOK_on_session_has_started_by_other(self, **about: str) -> None:  # type: ignore[override]
        self._note("started elsewhere", **about)

    def HOOK_on_session_has_resumed_by_me(self, **about: str) -> None:  # type: ignore[override]
        self._note("resumed here", **about)

    def HOOK_on_session_has_resumed_by_other(self, **about: str) -> None:  # type: ignore[override]
        self._note("resumed elsewhere", **about)

    def HOOK_on_found_session_running_after_connect(self, **about: str) -> None:  # type: ignore[override]
        self._note("found running", **about)

    def HOOK_on_session_has_been_suspended(self, **about: str) -> None:  # type: ignore[override]
        self._note("suspended", **about)

    def HOOK_on_session_has_terminated(self, **about: str) -> None:  # type: ignore[override]
        self._note("terminated", **about)

    def HOOK_no_such_command(self, cmd: str, **about: str) -> None:  # type: ignore[override]
        self.heard.append(("no such command", about["profile_name"], cmd))

    def HOOK_on_control_session_death(self, profile_name: str) -> None:
        self.heard.append(("connection lost", profile_name, ""))

    def HOOK_check_host_dialog(self, **about: Any) -> bool:  # type: ignore[override]
        self.dialogues.append(about)
        return self.accepts_keys

    def hears(self, event: str, session_name: str | None) -> bool:
        """Whether an event is heard in time; it is taken out."""

        def those() -> list[tuple[str, str, str]]:
            return [one for one in self.heard if one[0] == event and one[2] == session_name]

        found = eventually(those, PATIENCE)
        # From this very list: another thread may put the next one into it meanwhile.
        for one in those():
            self.heard.remove(one)
        return found


@pytest.fixture(scope="module")
def display() -> Iterator[ClientDisplay]:
    with ClientDisplay.start() as one:
        one.screen.windows()  # connected before a test counts descriptors
        yield one


@pytest.fixture
def account(lab: Lab, display: ClientDisplay, tmp_path: Path) -> dict[str, Any]:
    """How sessions of the tests' account on alpha are registered."""
    alpha = lab.host("alpha")
    return {
        "server": alpha.address, "port": alpha.port, "username": alpha.users["zsh"].login,
        "key_filename": str(lab.key("zsh")), "known_hosts": str(lab.known_hosts), "look_for_keys": False,
        "client_display": display, "cmd": "xterm", **QUIET,
    }  # fmt: skip


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., Heard]]:
    """Make clients whose files are in the test's folder; closed at the end, and with them every thread."""
    before = set(threading.enumerate())
    made: list[Heard] = []

    def one(**options: Any) -> Heard:
        places = {"client_rootdir": tmp_path / "config", "sessions_rootdir": tmp_path / "x2go"}
        made.append(Heard(refresh_interval=0.5, **places, **options))
        return made[-1]

    yield one
    for client in made:
        client.close()
    assert eventually(lambda: not set(threading.enumerate()) - before, PATIENCE)


@pytest.mark.usefixtures("nothing_left")
def test_a_whole_life(make: Callable[..., Heard], account: dict[str, Any]) -> None:
    """The tutorial: one session, every question that an application asks about it."""
    client = make(use_cache=True, auto_update_listsessions_cache=True, auto_update_sessionregistry=True)
    uuid = client.register_session(profile_name="Lab", **account)
    assert client.check_session_host(uuid)
    assert client.session_can_auto_connect(uuid)
    assert not client.session_uses_sshproxy(uuid)
    assert client.connect_session(uuid)
    assert client.connect_session(uuid)
    assert client.is_session_connected(uuid)
    assert client.is_profile_connected("Lab")
    assert client.client_has_connected_sessions
    assert client.client_connected_profiles(return_profile_names=True) == ["Lab"]
    assert client.get_session_username(uuid) == "zshuser"
    assert client.get_session_server_hostname(uuid) == account["server"]
    assert client.get_session_server_peername(uuid) == (account["server"], 22)
    assert client.is_x2goserver(uuid)
    assert client.get_server_versions("Lab", "x2goserver").startswith("4.")
    with pytest.raises(X2GoClientException, match="no component 'x2gofly'"):
        client.get_server_components("Lab", "x2gofly")
    assert "X2GO_LIST_DESKTOPS" in client.get_server_features("Lab")
    assert client.has_server_feature("Lab", "X2GO_CLIPBOARD_MODES")
    assert client.server_is_alive(uuid)
    assert client.all_servers_are_alive()
    assert client.server_valid_x2gouser(uuid)
    assert not client.server_has_running_sessions(uuid)
    started(client, uuid)
    suspended_and_resumed(client, uuid)
    name = client.get_session_name(uuid)
    assert client.terminate_session(uuid)
    assert client.hears("terminated", name)
    assert client.has_session_terminated(uuid)
    assert client.has_session_terminated(uuid, name)
    assert name not in client.list_sessions(uuid)
    assert client.get_session(uuid).terminated
    assert client.heard == []
    client.disconnect_session(uuid)
    assert not client.is_session_connected(uuid)
    assert client.listsessions_cache is not None
    assert not client.listsessions_cache.is_cached("Lab")


def started(client: Heard, uuid: str) -> None:
    asked_at, listed = time.monotonic(), client.list_sessions(uuid, no_cache=True)
    assert client.start_session(uuid)
    name = client.get_session_name(uuid)
    assert name is not None
    assert client.hears("started here", name)
    # What was listed before the start says nothing of the session, and so it has not ended.
    client.session_registry.update_status(uuid, session_list=listed, force_update=True, listed_at=asked_at)
    assert client.session_ok(uuid)
    assert client.is_session_running(uuid)
    assert client.is_session_running(uuid, name)
    assert client.client_has_running_sessions
    assert client.client_has_associated_sessions
    assert client.client_running_sessions_of_profile_name("Lab", return_session_names=True) == [name]
    assert client.client_suspended_sessions() == []
    info = client.get_session_info(uuid)
    assert (info.name, info.username, info.get_session_type()) == (name, "zshuser", "R")
    listed = client.list_sessions(profile_name="Lab")
    assert listed[name].is_running()
    assert client.list_sessions(uuid, with_command="xterm").keys() == {name}
    assert client.list_sessions(uuid, with_command="xter") == {}
    assert name.encode() in client.list_sessions(uuid, raw=True)[0]
    assert client.listsessions_cache is not None
    assert eventually(lambda: client.listsessions_cache.is_cached("Lab", cache_type="sessions"), PATIENCE)  # type: ignore[union-attr]
    assert client.listsessions_cache.list_sessions(uuid).keys() == {name}  # type: ignore[union-attr]
    assert client.server_has_running_session_of_name(uuid, name)
    assert client.get_session_of_session_name(name) == uuid
    summary = client.get_session_summary(uuid)
    flags = [summary[flag] for flag in ("running", "suspended", "virgin", "terminated", "faulty")]
    assert flags == [True, False, False, False, False]
    assert client.get_master_session("Lab", return_object=False, return_session_name=True) == name
    assert client.get_session(uuid).verify(["xterm"]).ok


def suspended_and_resumed(client: Heard, uuid: str) -> None:
    name = client.get_session_name(uuid)
    assert client.suspend_session(uuid)
    assert client.hears("suspended", name)
    assert client.is_session_suspended(uuid)
    assert client.client_suspended_sessions() == [uuid]
    assert client.client_has_suspended_sessions
    assert not client.client_has_running_sessions
    assert client.server_suspended_sessions(uuid) == [name]
    assert client.resume_session(session_name=name)
    assert client.hears("resumed here", name)
    assert client.session_ok(uuid)


@pytest.mark.usefixtures("nothing_left")
def test_what_others_do_is_heard(
    make: Callable[..., Heard], account: dict[str, Any], alpha: Target, session: Session
) -> None:
    """The guardian finds sessions that come and go outside, and forgets them."""
    watcher = make(use_listsessions_cache=True, auto_update_listsessions_cache=True, auto_register_sessions=True)
    before = session(alpha, cmd="xterm")
    before.start()
    mine = watcher.register_session(profile_name="Lab", **account)
    watcher.connect_session(mine)
    assert watcher.hears("found running", before.get_session_name())
    assert watcher.get_session_name(mine) is None  # what was found has an object of its own
    other = session(alpha, cmd="xterm")
    other.start()
    name = other.get_session_name()
    assert watcher.hears("started elsewhere", name)
    found = watcher.get_session_of_session_name(str(name))
    assert found != mine
    before.terminate()
    assert watcher.hears("terminated", before.get_session_name())
    other.suspend()
    assert watcher.hears("suspended", name)
    other.resume()
    assert watcher.hears("resumed elsewhere", name)
    # A session that somebody else shows is taken from there, by name alone.
    other.suspend()
    assert watcher.hears("suspended", name)
    assert watcher.resume_session(session_name=name)
    assert watcher.hears("resumed here", name)
    assert watcher.terminate_session(mine, session_name=name)
    assert watcher.hears("terminated", name)
    assert watcher.heard == []
    with pytest.raises(X2GoSessionRegistryException):
        watcher.get_session(str(found))
    assert watcher.client_registered_sessions(return_objects=False) == [mine]


def test_two_servers_at_once(
    make: Callable[..., Heard], account: dict[str, Any], open_target: OpenTarget, lab: Lab, display: ClientDisplay
) -> None:
    """One client, two servers, one of them behind a gateway; each knows its own sessions only."""
    before = {host: remains_of(lab, host, "zshuser") for host in ("alpha", "beta")}
    client = make(use_cache=True, auto_update_listsessions_cache=True, auto_update_sessionregistry=True)
    near = client.register_session(profile_name="Lab", **account)
    there: dict[str, Any] = {"target": open_target("beta"), "client_display": display, "cmd": "xclock", **QUIET}
    far = client.register_session(profile_name="Lab", **there)
    client.connect_session(near)
    client.connect_session(far)
    assert [client.get_session_profile_name(one) for one in (near, far)] == ["Lab", "Lab (1)"]
    both = [threading.Thread(target=client.start_session, args=(one,)) for one in (near, far)]
    for thread in both:
        thread.start()
    for thread in both:
        thread.join(60)
    names = {one: client.get_session_name(one) for one in (near, far)}
    assert all(client.hears("started here", name) for name in names.values())
    assert [list(client.list_sessions(one)) for one in (near, far)] == [[names[near]], [names[far]]]
    assert set(client.client_running_sessions()) == {near, far}
    client.terminate_session(near)
    assert client.hears("terminated", names[near])
    assert client.is_session_running(far)
    assert client.session_ok(far)
    assert client.disconnect_profile("Lab")
    assert client.client_connected_profiles(return_profile_names=True) == ["Lab (1)"]
    client.clean_sessions(far)
    assert client.hears("terminated", names[far])
    client.close()
    for host, remains in before.items():
        wait_until_gone(lambda: remains_of(lab, host, "zshuser").server - remains.server)  # noqa: B023


class Application(Heard):
    """A program in the style of those for python-x2go: methods of its own by short names, private names inside."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.uuid = ""

    def register_session(self, **account: Any) -> None:  # type: ignore[override]
        self.uuid = self._X2GoClient__register_session(**account)  # type: ignore[attr-defined]

    def connect_session(self, password: str | None = None) -> bool:  # type: ignore[override]
        connected: bool = self._X2GoClient__connect_session(self.uuid, password=password)  # type: ignore[attr-defined]
        return connected

    def list_sessions(self, wanted: str) -> list[str]:  # type: ignore[override]
        listed = self._X2GoClient__list_sessions(self.uuid)  # type: ignore[attr-defined]
        return [name for name in listed if wanted in name]

    def start_session(self, command: str) -> bool:  # type: ignore[override]
        done: bool = self._X2GoClient__start_session(self.uuid, cmd=command)  # type: ignore[attr-defined]
        return done

    def get_session_name(self) -> str:  # type: ignore[override]
        return str(self._X2GoClient__get_session_name(self.uuid))  # type: ignore[attr-defined]

    def terminate_session(self) -> bool:  # type: ignore[override]
        done: bool = self._X2GoClient__terminate_session(self.uuid)  # type: ignore[attr-defined]
        return done


def test_an_application(lab: Lab, account: dict[str, Any], tmp_path: Path) -> None:
    """Passwords, host keys that are asked about, commands that are not there, and a life by private names."""
    before = remains_of(lab, "alpha", "pwuser")
    user = lab.host("alpha").users["password"]
    known = tmp_path / "known_hosts"
    mine = {**account, "username": user.login, "known_hosts": str(known), "allow_agent": False}
    del mine["key_filename"]
    with Application(
        client_rootdir=tmp_path / "config", sessions_rootdir=tmp_path / "x2go", auto_update_sessionregistry=True,
        refresh_interval=0.5,
    ) as app:  # fmt: skip
        app.register_session(profile_name="App", **mine)
        password = user.password.value if user.password else ""
        with pytest.raises(X2GoHostKeyException, match="is not known"):
            app.connect_session(password)
        assert app.dialogues[0]["profile_name"] == "App"
        assert app.dialogues[0]["host"] == account["server"]
        assert not known.exists() or not known.read_text()
        app.accepts_keys = True
        with pytest.raises(AuthenticationException):
            app.connect_session("wrong")
        assert known.read_text()
        assert app.connect_session(password)
        assert not app.start_session("no-such-program")
        assert app.heard.pop() == ("no such command", "App", "no-such-program")
        assert app.list_sessions("_st") == []
        assert app.start_session("xterm")
        assert app.list_sessions("_stRxterm") == [app.get_session_name()]
        assert app.hears("started here", app.get_session_name())
        assert app.terminate_session()
        assert app.hears("terminated", app.get_session_name())
        assert password not in repr(app.session_registry.session_summary(app.uuid))
    wait_until_gone(lambda: remains_of(lab, "alpha", "pwuser").server - before.server)


def test_a_profile_of_x2goclient(make: Callable[..., Heard], lab: Lab, tmp_path: Path) -> None:
    """With sound, printing and shared folders switched on, as the profiles of users have it."""
    alpha = lab.host("alpha")
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "sessions").write_text(
        f"[20260101000000000001]\nname=Office\nhost={alpha.address}\nuser=zshuser\nkey={lab.key('zsh')}\n"
        'sound=true\nprint=true\nusemimebox=true\nexport="/home/zshuser:1;"\ncommand=XFCE\nrootless=false\n'
    )
    client = make(auto_update_sessionregistry=True)
    uuid = client.register_session(profile_name="Office", known_hosts=str(lab.known_hosts))
    assert client.connect_session(uuid)
    assert client.client_connected_profiles() == ["20260101000000000001"]
    assert client.list_sessions(profile_id="20260101000000000001") == {}
    assert client.list_desktops(uuid) == []
    assert client.list_mounts(uuid) == {}
    assert client.disconnect_profile("Office")
    assert not client.disconnect_profile("Office")


class Returning(Heard):
    """A client that connects again as soon as it hears of a lost connection."""

    def HOOK_on_control_session_death(self, profile_name: str) -> None:
        super().HOOK_on_control_session_death(profile_name)
        for session in self.client_registered_sessions():
            session.connect()


def test_who_connects_again_at_once_stays_connected(account: dict[str, Any], tmp_path: Path) -> None:
    places = {"client_rootdir": tmp_path / "config", "sessions_rootdir": tmp_path / "x2go"}
    with Returning(**places) as client:
        uuid = client.register_session(profile_name="Lab", **account)
        client.connect_session(uuid)
        session = client.get_session(uuid)
        lost = session.get_control_session().get_transport()
        lost.sock.close()
        assert eventually(lambda: not lost.is_active(), PATIENCE)
        # Both by the session itself and by a look at all servers.
        assert not session.is_alive()
        assert client.heard == [("connection lost", "Lab", "")]
        assert client.is_session_connected(uuid)
        assert client.list_sessions(uuid) == {}
        lost = session.get_control_session().get_transport()
        lost.sock.close()
        assert eventually(lambda: not lost.is_active(), PATIENCE)
        client.update_sessionregistry_status_all_profiles()
        assert client.heard == [("connection lost", "Lab", "")] * 2
        assert client.is_session_connected(uuid)
        assert client.list_sessions(uuid) == {}


def test_a_lost_connection_is_told(make: Callable[..., Heard], account: dict[str, Any], lab: Lab) -> None:
    """The guardian notices, the hook hears it once, and the session connects again under its id."""
    client = make(use_cache=True, auto_update_listsessions_cache=True)
    uuid = client.register_session(profile_name="Lab", **account)
    client.connect_session(uuid)
    for step in (client.suspend_session, client.terminate_session):
        with pytest.raises(X2GoSessionNotFound, match="there is no session zshuser-99"):
            step(uuid, session_name="zshuser-99-1795219417_stRxterm_dp24")
    assert client.is_session_connected(uuid)
    session = client.get_session(uuid)
    assert isinstance(session, X2GoSession)
    session.get_control_session().get_transport().sock.close()
    assert client.hears("connection lost", "")
    assert not client.is_session_connected(uuid)
    assert client.connect_session(uuid)
    assert client.list_sessions(uuid, no_cache=True) == {}
    assert client.heard == []
