"""The client, its registry, cache and guardian, as far as they need no server.

Invariant: what an application registers is what it gets, whatever its subclass overrides; nothing is lost silently.
"""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import paramiko
import pytest

from crl.x2go import (
    X2GoBackendException,
    X2GoClient,
    X2GoClientException,
    X2GoListSessionsCache,
    X2GoParameterError,
    X2GoPrintActionException,
    X2GoSession,
    X2GoSessionCacheException,
    X2GoSessionException,
    X2GoSessionGuardian,
    X2GoSessionRegistryException,
    x2go_cleanup,
)
from crl.x2go.backends.profiles._broker import BrokerProfiles
from tests.link.peers import eventually

# As x2goclient writes them: with sound, printing and a shared folder, as nearly every profile of a user is.
PROFILES = """
[20260101000000000001]
name=Office
host=office.example
user=pat
sshport=2222
command=XFCE
rootless=false
sound=true
soundsystem=pulse
print=true
usemimebox=true
useexports=true
export="/home/pat/papers:1;"
speed=4
width=1024
height=768

[20260101000000000002]
name=Terminal
host=a.example
command=TERMINAL
"""
OFFICE = "20260101000000000001"


@pytest.fixture
def rootdir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    folder = tmp_path / ".x2goclient"
    folder.mkdir()
    (folder / "sessions").write_text(PROFILES)
    return folder


@pytest.fixture
def client(rootdir: Path) -> Iterator[X2GoClient]:
    with X2GoClient(client_rootdir=rootdir) as one:
        yield one


# Making one.


def test_making_a_client_prints_nothing_and_starts_nothing(
    client: X2GoClient, capfd: pytest.CaptureFixture[str]
) -> None:
    assert client.profile_names == ["Office", "Terminal"]
    assert client.get_profile_config("Office", "host") == ["office.example"]
    assert not client.session_guardian.is_alive()
    assert client.client_registered_sessions() == []
    assert (client.client_has_connected_sessions, client.client_has_associated_sessions) == (False, False)
    assert (client.client_has_running_sessions, client.client_has_suspended_sessions) == (False, False)
    assert capfd.readouterr() == ("", "")


def test_folders(rootdir: Path, tmp_path: Path) -> None:
    with X2GoClient() as default, X2GoClient(client_rootdir=f"{rootdir}/../.x2goclient/") as custom:
        assert default.get_client_rootdir() == custom.get_client_rootdir() == str(rootdir)
        assert not default.has_custom_client_rootdir
        assert custom.has_custom_client_rootdir
        assert default.get_sessions_rootdir() == str(tmp_path / ".x2go")
        assert default.get_ssh_rootdir() == str(tmp_path / ".ssh")
        assert default.profile_names == ["Office", "Terminal"]


def test_profiles_are_changed_and_stored(client: X2GoClient, rootdir: Path) -> None:
    client.set_profile_config("Terminal", "command", "xterm")
    assert "command=xterm" in (rootdir / "sessions").read_text()
    assert client.to_profile_name(OFFICE) == "Office"
    assert client.to_profile_id("Office") == OFFICE
    assert client.to_profile_name("nobody") == ""
    assert client.get_profile_metatype("Office") == "XFCE Desktop"
    assert client.is_session_profile("Office")
    assert not client.is_session_profile("Nowhere")


@pytest.mark.parametrize("backend", ["WINREG", "GCONF", "os; import sys"])
def test_backends_that_are_not_there(rootdir: Path, backend: str) -> None:
    with pytest.raises(X2GoBackendException, match="there is no backend"):
        X2GoClient(client_rootdir=rootdir, profiles_backend=backend)


@pytest.mark.parametrize(
    ("broker", "kind"),
    [
        ({"broker_url": "https://broker.example/json/"}, "http"),
        ({"broker_url": "HTTP"}, "http"),
        ({"broker_url": "SSH"}, "ssh"),
        ({"profiles_backend": "HTTPBROKER"}, "http"),
        ({"profiles_backend": "SSHBROKER"}, "ssh"),
    ],
)
def test_a_client_of_a_broker_that_needs_a_password_asks_nothing(
    rootdir: Path, broker: dict[str, str], kind: str
) -> None:
    with X2GoClient(client_rootdir=rootdir, **broker) as client:  # type: ignore[arg-type]
        profiles = client.get_profiles()
        assert isinstance(profiles, BrokerProfiles)
        assert profiles.get_broker_type() == kind
        assert client.profile_names == []


def test_clients_share_nothing(rootdir: Path) -> None:
    with X2GoClient(client_rootdir=rootdir, use_cache=True) as one, X2GoClient(client_rootdir=rootdir) as other:
        one.register_session("a.example", profile_name="Lab")
        assert other.client_registered_sessions() == []
        assert one.listsessions_cache is not None
        assert one.listsessions_cache.x2go_listsessions_cache is not X2GoListSessionsCache(
            other
        ).x2go_listsessions_cache


# Registering.


def test_a_session_of_a_profile(client: X2GoClient) -> None:
    session = client.register_session(profile_name="Office", return_object=True)
    assert isinstance(session, X2GoSession)
    assert (session.server, session.port, session.get_profile_name()) == ("office.example", 2222, "Office")
    params = session.terminal_params
    assert (params["cmd"], params["session_type"], params["geometry"]) == ("XFCE", "desktop", "1024x768")
    assert (params["link"], params["snd_system"]) == ("lan", "pulse")
    assert session.printing
    assert session.allow_mimebox
    assert (session.mimebox_extensions, session.mimebox_action) == ([], "OPEN")
    assert session.allow_share_local_folders
    assert session.share_local_folders == ["/home/pat/papers"]
    assert client.get_session_username(str(session)) == "pat"


def test_what_is_given_wins_over_the_profile_and_nothing_is_lost(client: X2GoClient) -> None:
    key = paramiko.ECDSAKey.generate()
    given: dict[str, Any] = {"geometry": "640x480", "dpi": 120, "cache_type": "unix-gnome", "pkey": key, "cmd": "xterm"}
    session = client.register_session(profile_id=OFFICE, proxy_options={"shmem": 1}, return_object=True, **given)
    assert {name: session.terminal_params[name] for name in ("geometry", "dpi", "cache_type", "cmd")} == {
        name: given[name] for name in ("geometry", "dpi", "cache_type", "cmd")
    }
    assert session.terminal_params["proxy_options"] == {"shmem": 1}
    assert session.control_params["pkey"] is key
    assert client.get_session_summary(str(session))["control_params"]["pkey"] is key


@pytest.mark.parametrize("where", [{"server": "a.example"}, {"profile_name": "Terminal"}])
def test_printing_and_mimebox_are_had_when_asked_for(client: X2GoClient, where: dict[str, Any]) -> None:
    without = client.register_session(**where, return_object=True)
    assert (without.printing, without.allow_mimebox) == (False, False)
    boxes: dict[str, Any] = {"mimebox_extensions": ["pdf"], "mimebox_action": "SAVEAS"}
    session = client.register_session(
        **where, allow_printing=True, allow_mimebox=True, **boxes, print_action="PDFSAVE",
        print_action_args={"save_to_folder": "letters"}, geometry="640x480", return_object=True,
    )  # fmt: skip
    assert (session.printing, session.allow_mimebox) == (True, True)
    assert {name: getattr(session, name) for name in boxes} == boxes
    assert session.terminal_params["print_action"] == "PDFSAVE"
    assert session.terminal_params["print_action_args"] == {"save_to_folder": "letters"}
    client.set_session_print_action(str(session), "PRINT", printer="hp")
    with pytest.raises(X2GoPrintActionException, match="no print action 'BURN'"):
        client.set_session_print_action(str(session), "BURN")
    printing: dict[str, Any] = {**where, "printing": True}
    assert client.register_session(**printing, return_object=True).printing


def test_neither_profile_nor_server(client: X2GoClient) -> None:
    assert client.register_session() is None
    assert client.register_session(profile_name="Nowhere") is None


def test_a_registration_that_fails_does_no_harm(client: X2GoClient) -> None:
    with pytest.raises(X2GoParameterError):
        client.register_session(profile_name="Terminal", geometry="wide")
    with pytest.raises(X2GoParameterError, match="geometri"):
        client.register_session(profile_name="Terminal", geometri="640x480")
    assert client.session_registry.keys() == []
    uuid = client.register_session(profile_name="Terminal")
    assert client.session_registry.keys() == [uuid]


def test_an_unused_session_of_a_profile_is_given_again(client: X2GoClient) -> None:
    ids = client.register_all_session_profiles()
    assert set(ids) == {"Office", "Terminal"}
    again = client.register_session(profile_name="Terminal", geometry="640x480", return_object=True)
    assert str(again) == ids["Terminal"]
    assert again.terminal_params["geometry"] == "640x480"
    other = client.register_session(profile_name="Terminal", return_object=True)
    assert str(other) != ids["Terminal"]
    assert other.get_control_session() is again.get_control_session()
    assert client.client_registered_sessions_of_profile_name("Terminal") == [str(again), str(other)]


def test_sessions_without_a_profile_have_connections_and_names_of_their_own(client: X2GoClient) -> None:
    first = client.register_session("a.example", profile_name="Lab", return_object=True)
    second = client.register_session("b.example", profile_name="Lab", return_object=True)
    assert (first.get_profile_name(), second.get_profile_name()) == ("Lab", "Lab (1)")
    assert first.get_control_session() is not second.get_control_session()
    assert client.client_control_session_of_profile_name("Lab (1)") is second.get_control_session()
    third = client.register_session("a.example", profile_id=first.get_profile_id(), profile_name="Lab")
    assert third == str(first)  # nobody has used it yet
    fourth = client.register_session(
        "a.example", profile_id=first.get_profile_id(), profile_name="Lab", return_object=True
    )
    assert fourth is not first
    assert fourth.get_control_session() is first.get_control_session()
    assert len(client.client_control_sessions) == 2
    nameless = client.register_session("c.example", return_object=True)
    assert nameless.get_profile_name()
    assert client.register_session("c.example", profile_name="Office", return_object=True).server == "office.example"


def test_finding_sessions(client: X2GoClient) -> None:
    uuid = client.register_session("a.example", profile_name="Lab", session_name="pat-50-1795219417_stDXFCE_dp24")
    session = client.get_session(uuid)
    assert client.with_session(uuid) is session is client.session_registry(uuid)
    assert client.get_session_of_session_name("pat-50-1795219417_stDXFCE_dp24") == uuid
    assert client.client_registered_session_of_name("pat-50-1795219417_stDXFCE_dp24", return_object=True) is session
    assert client.client_has_registered_session_of_name("pat-50-1795219417_stDXFCE_dp24")
    assert not client.client_has_registered_session_of_name("pat-51-1795219417_stDXFCE_dp24")
    assert client.get_session_of_session_name("pat-50-1795219417_stDXFCE_dp24", match_profile_name="Other") is None
    registry = client.session_registry
    assert registry.registered_sessions(return_profile_names=True) == ["Lab"]
    assert registry.registered_sessions(return_profile_ids=True) == [session.get_profile_id()]
    assert registry.virgin_sessions(return_session_names=True) == ["pat-50-1795219417_stDXFCE_dp24"]
    assert registry.non_running_sessions() == [session]
    assert registry.terminated_sessions() == client.client_suspended_sessions() == []
    assert registry.keys() == [uuid]
    summary = client.get_session_summary(uuid)
    assert set(summary) >= {
        "uuid", "profile_id", "profile_name", "session_name", "control_session", "control_params", "terminal_session",
        "terminal_params", "active_threads", "backends", "virgin", "connected", "running", "suspended", "terminated",
        "faulty",
    }  # fmt: skip
    assert set(summary["backends"]) == {"control", "terminal", "info", "list", "proxy"}
    assert "control_session" not in registry.session_summary(uuid, status_only=True)
    registry.forget(uuid)
    registry.forget(uuid)
    assert client.client_control_sessions == {}
    with pytest.raises(X2GoSessionRegistryException, match="no session is registered"):
        client.get_session(uuid)


def test_the_user_of_a_session_can_be_set(client: X2GoClient) -> None:
    uuid = client.register_session("a.example", profile_name="Lab")
    client.set_session_username(uuid, "kim")
    assert client.get_session_username(uuid) == "kim"


def test_the_registry_says_what_it_needs(client: X2GoClient) -> None:
    with pytest.raises(X2GoSessionRegistryException, match="needs one of"):
        client.session_registry.update_status()
    with pytest.raises(X2GoSessionRegistryException, match="needs one of"):
        client.session_registry.update_status(session_uuid="x", profile_name="y")
    with pytest.raises(X2GoSessionRegistryException, match="no state"):
        client.session_registry._sessionsWithState("__class__")


def test_servers_cannot_be_asked_before_they_are_connected(client: X2GoClient) -> None:
    uuid = client.register_session("a.example", profile_name="Lab")
    with pytest.raises(X2GoClientException, match="Lab is not connected"):
        client.list_sessions(uuid)
    with pytest.raises(X2GoClientException, match="Lab is not connected"):
        client.get_server_versions("Lab")
    with pytest.raises(X2GoClientException, match="Lab is not connected"):
        client.suspend_session(uuid, "pat-50-1795219417_stDXFCE_dp24")
    with pytest.raises(X2GoClientException, match="which server"):
        client.list_sessions()
    with pytest.raises(X2GoClientException, match="which session"):
        client.resume_session()
    with pytest.raises(X2GoClientException, match="no registered session is called"):
        client.resume_session(session_name="pat-50-1795219417_stDXFCE_dp24")
    assert not client.is_session_connected(uuid)
    assert not client.is_profile_connected("Lab")
    assert client.client_connected_profiles() == client.client_connected_profiles(return_profile_names=True) == []


def test_folders_are_shared_with_sessions_that_run(client: X2GoClient, tmp_path: Path) -> None:
    uuid = client.register_session("a.example", profile_name="Lab", allow_share_local_folders=True)
    assert not client.is_folder_sharing_available(uuid)
    assert not client.is_folder_sharing_available(profile_name="Lab")
    assert client.get_shared_folders(profile_name="Lab") is None
    assert client.get_shared_folders(uuid) == []
    assert client.get_master_session("Lab") is None
    with pytest.raises(X2GoSessionException, match="start or resume it first"):
        client.share_local_folder(uuid, str(tmp_path))
    assert not client.share_local_folder(profile_name="Lab", local_path=str(tmp_path))
    assert not client.unshare_local_folder(uuid, local_path=str(tmp_path))
    assert client.unshare_all_local_folders(uuid)


def test_a_profile_remembers_what_is_shared_where_that_is_wanted(client: X2GoClient) -> None:
    session = client.register_session(profile_name="Office", return_object=True, restore_shared_local_folders=True)
    assert not session.unshare_local_folder("/home/pat/papers")
    assert session.share_local_folders == []
    assert client.session_profiles.get_profile_config("Office", "export") == {"/home/pat/papers": False}
    other = client.register_session(profile_name="Office", return_object=True)
    assert other.share_local_folders == []


def test_a_client_ends_what_it_has(rootdir: Path) -> None:
    with X2GoClient(client_rootdir=rootdir, auto_update_sessionregistry=True) as client:
        uuid = client.register_session("a.example", profile_name="Lab")
        assert client.session_guardian.is_alive()
    assert not client.session_guardian.is_alive()
    client.close()
    with pytest.raises(X2GoSessionRegistryException):
        client.get_session(uuid)


# Applications.


class App(X2GoClient):
    """An application as those written for python-x2go are: with public methods and hooks of its own."""

    def __init__(self, **options: Any) -> None:
        self.heard: list[tuple[Any, ...]] = []
        self.hashes: dict[str, str] = {}
        super().__init__(**options)

    def register_session(self, s_hash: str) -> str:  # type: ignore[override]
        uuid: str = self._X2GoClient__register_session(  # type: ignore[attr-defined]
            server="a.example", profile_name=s_hash
        )
        self.hashes[s_hash] = uuid
        return uuid

    def get_session(self, s_hash: str, flag: bool) -> X2GoSession:  # type: ignore[override]
        session: X2GoSession = self._X2GoClient__get_session(self.hashes[s_hash])  # type: ignore[attr-defined]
        return session

    def list_sessions(self, s_hash: str) -> list[str]:  # type: ignore[override]
        return sorted(self._X2GoClient__list_sessions(self.hashes[s_hash]))  # type: ignore[attr-defined]

    def get_session_profile_name(self) -> str:  # type: ignore[override]
        raise AssertionError("the client must not call what an application has overridden")

    def disconnect_profile(self) -> bool:  # type: ignore[override]
        raise AssertionError("the client must not call what an application has overridden")

    client_registered_sessions = client_connected_profiles = get_session_profile_name  # type: ignore[assignment]


def test_an_application_overrides_public_methods(rootdir: Path) -> None:
    with App(client_rootdir=rootdir) as app:
        uuid = app.register_session("one")
        assert app.get_session("one", flag=True).get_uuid() == uuid
        with pytest.raises(X2GoClientException, match="one is not connected"):
            app.list_sessions("one")
        with pytest.raises(X2GoClientException, match="one is not connected"):
            app.list_mounts(uuid)
        assert app._X2GoClient__get_session_profile_name(uuid) == "one"  # type: ignore[attr-defined]
        assert app._X2GoClient__profile_names == ["Office", "Terminal"]  # type: ignore[attr-defined]
        assert app.register_all_session_profiles().keys() == {"Office", "Terminal"}
    assert app.session_registry.keys() == []


def test_hooks_only_log(
    client: X2GoClient, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    names = [name for name in dir(X2GoClient) if name.startswith("HOOK_")]
    assert len(names) == 33
    needed = {"cmd": "xterm", "filename": "a.pdf", "profile_name": "Lab", "session_name": "pat-50"}
    for name in names:
        hook = getattr(client, name)
        words = hook.__func__.__code__
        required = words.co_argcount - 1 - len(hook.__func__.__defaults__ or ())
        caplog.clear()
        assert not hook(**{word: needed[word] for word in words.co_varnames[1 : 1 + required]})
        assert len(caplog.records) == (0 if "_on_session" in name or "_on_found" in name else 1)
    assert client.HOOK_check_host_dialog("Lab", "a.example", 22, "aa:bb", "SSH-RSA") is False
    assert client.HOOK_broker_ignore_connection_problems("Lab") is False
    assert capfd.readouterr() == ("", "")


# Guardian.


class Watched(X2GoClient):
    """A client whose looks at its sessions are counted, and the first of which fails."""

    def __init__(self, **options: Any) -> None:
        self.looks = threading.Semaphore(0)
        self.failures = 1
        self.ends_itself = False
        self.ended_itself = threading.Event()
        super().__init__(**options)

    def update_sessionregistry_status_all_profiles(self) -> None:
        self.looks.release()
        if self.failures > 0:
            self.failures -= 1
            raise KeyError("of the application")
        if self.ends_itself:
            self.session_guardian.stop_thread()
            self.ended_itself.set()


def test_the_guardian_logs_what_fails_and_goes_on(rootdir: Path, caplog: pytest.LogCaptureFixture) -> None:
    with Watched(client_rootdir=rootdir, auto_update_sessionregistry=True, refresh_interval=0.01) as client:
        assert client.looks.acquire(timeout=20)
        assert client.looks.acquire(timeout=20)
        assert client.session_guardian.is_alive()
        assert "KeyError: 'of the application'" in caplog.text
    assert not client.session_guardian.is_alive()


def test_the_guardian_can_be_stopped_from_a_hook(rootdir: Path) -> None:
    client = Watched(client_rootdir=rootdir, auto_update_sessionregistry=True, refresh_interval=60)
    client.ends_itself = True
    x2go_cleanup(threads=[client.session_guardian])
    assert not client.session_guardian.is_alive()
    client.session_guardian = X2GoSessionGuardian(client, auto_update_sessionregistry=True, refresh_interval=0.01)
    assert client.ended_itself.wait(20)
    client.session_guardian.join(20)
    assert not client.session_guardian.is_alive()


def test_the_guardian_keeps_no_client_alive(rootdir: Path) -> None:
    client: X2GoClient | None = X2GoClient(client_rootdir=rootdir, auto_register_sessions=True, refresh_interval=3600)
    assert client is not None
    guardian, gone = client.session_guardian, weakref.ref(client)
    client = None
    gc.collect()
    assert gone() is None
    guardian.join(20)
    assert not guardian.is_alive()
    assert guardian.client_instance is None


# Cache.


def test_the_cache_without_connections(rootdir: Path) -> None:
    with X2GoClient(client_rootdir=rootdir, use_cache=True) as client:
        cache = client.listsessions_cache
        assert isinstance(cache, X2GoListSessionsCache)
        uuid = client.register_session("a.example", profile_name="Lab")
        client.update_cache_by_session_uuid(uuid, cache_types=("sessions", "desktops", "mounts"))
        client.update_cache_all_profiles()
        cache.update_all(update_mounts=True)
        cache.check_cache()
        cache.delete("Lab")
        assert not cache.is_cached("Lab")
        assert not cache.is_cached(session_uuid=uuid, cache_type="sessions")
        assert (cache.list_sessions(uuid), cache.list_desktops(uuid), cache.list_mounts(uuid)) == (None, None, None)
        assert not cache.protected
        with pytest.raises(X2GoSessionCacheException, match="not registered"):
            cache.is_cached(session_uuid="gone")
        with pytest.raises(X2GoSessionCacheException, match="no list of prints"):
            cache.is_cached("Lab", cache_type="prints")
    with X2GoClient(client_rootdir=rootdir) as plain:
        assert plain.listsessions_cache is None
        plain.update_cache_all_profiles()
        plain.update_cache_by_profile_name("Lab")


def test_nothing_runs_on(rootdir: Path) -> None:
    before = set(threading.enumerate())
    with X2GoClient(client_rootdir=rootdir, auto_update_sessionregistry=True, auto_register_sessions=True):
        pass
    assert eventually(lambda: not set(threading.enumerate()) - before)
