"""Brokers that lie, stall, break and impersonate, and ones that can more than Debian's.

Invariant: whatever a broker does, the user gets what he asked for or an error of ours that says why, in time; his
password goes to that broker only, and is in no text; nothing is left open.
"""

from __future__ import annotations

import gzip
import json
import logging
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from crl.secrets import Secret
from crl.x2go import X2GoClient
from crl.x2go.backends.profiles.httpbroker import X2GoSessionProfiles
from crl.x2go.broker import Broker
from crl.x2go.x2go_exceptions import (
    X2GoBrokerAnswerRefused,
    X2GoBrokerAuthenticationFailed,
    X2GoBrokerConnectionException,
    X2GoParameterError,
    X2GoProfileException,
)
from tests.link.peers import eventually
from tests.x2go.broker_peers import Fields, Peer, Said, broker, certificate

PASSWORD = "tr0ub4dor&3 of pat"
PROFILES = {
    "farm": {"name": "Farm", "host": ["ts1.example.org"], "command": "xterm", "user": "pat"},
    "term": {"name": "Terminal", "host": ["127.0.0.1"], "command": "TERMINAL", "user": ""},
}
SELECTED = {"server": "127.0.0.1", "port": "22"}


def says(**more: Any) -> Said:
    return Said(json.dumps({"auth-status": "Access granted", **more}).encode())


def honest(fields: Fields) -> Said:
    """A broker as it should be."""
    if fields.get("password") != PASSWORD and "authid" not in fields:
        return Said(b"401", 401)
    authid: dict[str, Any] = {"next-authid": f"id-{len(fields)}"}
    if fields.get("task") == "listprofiles":
        return says(profiles=PROFILES, mutable_profile_ids=["term"], **authid)
    if fields.get("task") == "selectsession":
        return says(selected_session=SELECTED, **authid)
    return says(**authid)


@pytest.fixture(autouse=True)
def nothing_left(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every thread and descriptor of a test has ended with it."""
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    threads, descriptors = threading.active_count(), len(os.listdir("/proc/self/fd"))
    yield
    assert eventually(lambda: threading.active_count() <= threads)
    assert eventually(lambda: len(os.listdir("/proc/self/fd")) <= descriptors)


def asks(peer: Peer, **options: Any) -> Broker:
    return Broker(peer.url, "pat", PASSWORD, **{"timeout": 20, **options})


def test_the_password_goes_once() -> None:
    with broker(honest) as peer, asks(peer) as one:
        before = one.authenticated
        one.login()
        assert one.profiles()["farm"]["host"] == ["ts1.example.org"]
        assert one.select("Terminal").host == "127.0.0.1"
        assert (before, one.authenticated) == (None, True)
    assert [("password" in fields, fields.get("authid")) for fields in peer.asked] == [
        (True, None), (False, "id-2"), (False, "id-3"),
    ]  # fmt: skip
    assert peer.asked[2]["pubkey"].startswith("no-X11-forwarding,no-user-rc ssh-ed25519 ")
    assert PASSWORD not in repr(one)


def test_a_proxy_of_the_environment_does_not_hear_the_password(monkeypatch: pytest.MonkeyPatch) -> None:
    with broker(honest) as proxy, broker(honest) as peer:
        monkeypatch.setenv("http_proxy", proxy.url)
        monkeypatch.setenv("all_proxy", proxy.url)
        with asks(peer) as one:
            one.login()
    assert (len(proxy.asked), len(peer.asked)) == (0, 1)


def test_an_authentication_id_that_has_lapsed_is_not_the_end() -> None:
    def forgetful(fields: Fields) -> Said:
        return Said(b"", 401) if "authid" in fields else honest(fields)

    with broker(forgetful) as peer, asks(peer) as one:
        one.login()
        assert sorted(one.profiles()) == ["farm", "term"]
    assert ["password" in fields for fields in peer.asked] == [True, False, True]


def test_a_refusal_is_tried_once_and_shows_no_password(caplog: pytest.LogCaptureFixture) -> None:
    wrong = "not the password of pat"
    with caplog.at_level(logging.DEBUG), broker(honest) as peer:
        with Broker(peer.url, "pat", wrong) as one, pytest.raises(X2GoBrokerAuthenticationFailed) as error:
            one.login()
        assert one.authenticated is None
        profiles = X2GoSessionProfiles(broker_url=peer.url, broker_username="pat")
        assert not profiles.broker_simpleauth("pat", wrong)
        profiles.close()
    assert len(peer.asked) == 2
    shown = str(error.value) + repr(error.value.__cause__) + caplog.text + repr(profiles.__dict__)
    assert wrong not in shown
    assert wrong.replace(" ", "+") not in shown


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(status: int) -> None:
    with broker(honest) as other:

        def elsewhere(fields: Fields) -> Said:
            return Said(b"", status, {"Location": other.url})

        with broker(elsewhere) as peer, asks(peer) as one:
            with pytest.raises(X2GoBrokerAnswerRefused, match="sends us elsewhere") as error:
                one.login()
            assert other.url in str(error.value)
    assert other.asked == []


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (Said(b"<html>login</html>", headers={"Content-Type": "text/html"}), "of the type 'text/html'"),
        (Said(b"no", 500), "answers 500 Internal Server Error"),
        (Said(b"no", 404), "no broker at /json/"),
        (Said(b""), "no JSON"),
        (Said(b"{", headers={"Content-Type": "text/json"}), "no JSON"),
        (Said(gzip.compress(b"{}"), headers={"Content-Type": "text/json", "Content-Encoding": "gzip"}), "encoded as"),
        (Said(b"x" * (5 * 1024 * 1024)), "more than 4194304 bytes"),
        (says(profiles={"a": {"host": "x; reboot"}}), "shell would act"),
        (says(profiles={"a": {"sshport": [22]}}), "not a whole number"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_answers_that_are_refused(said: Said, why: str) -> None:
    with broker(lambda _: said) as peer, asks(peer) as one:
        with pytest.raises(X2GoBrokerConnectionException) as error:
            one.profiles()
        assert why in str(error.value)
        assert error.value.host == "127.0.0.1"


def test_an_answer_without_an_end_is_cut() -> None:
    sent = []

    def endless() -> Iterator[bytes]:
        while True:
            sent.append(1)
            yield b" " * 65536

    with broker(lambda _: Said(endless())) as peer, asks(peer) as one, pytest.raises(X2GoBrokerAnswerRefused):
        one.profiles()
    assert len(sent) < 1000


def test_an_answer_that_drips_ends_by_the_deadline() -> None:
    over = threading.Event()

    def drip() -> Iterator[bytes]:
        while not over.wait(0.1):
            yield b" "

    with broker(lambda _: Said(drip())) as peer, asks(peer, timeout=1) as one:
        began = time.monotonic()
        with pytest.raises(X2GoBrokerConnectionException, match="did not answer in time"):
            one.login()
        over.set()
        assert time.monotonic() - began < 15


def test_headers_that_drip_end_by_the_deadline() -> None:
    over = threading.Event()

    def slow(fields: Fields) -> Said:
        over.wait(30)
        return Said(b"{}")

    with broker(slow) as peer, asks(peer, timeout=1) as one:
        with pytest.raises(X2GoBrokerConnectionException, match="did not answer in time"):
            one.login()
        over.set()


def test_nobody_there() -> None:
    with broker(honest) as peer:
        pass
    with asks(peer) as one, pytest.raises(X2GoBrokerConnectionException, match="cannot be reached") as error:
        one.login()
    assert "curl http://127.0.0.1" in str(error.value)


# Who the broker is.


def test_certificates_are_verified(tmp_path: Path) -> None:
    files = certificate(tmp_path)
    with broker(honest, files) as peer:
        with asks(peer) as one, pytest.raises(X2GoBrokerConnectionException, match="not trusted") as error:
            one.login()
        assert "ca_file" in str(error.value)
        with asks(peer, ca_file=files[0]) as one:
            one.login()
        with asks(peer, verify=False) as one:
            one.login()
    assert len(peer.asked) == 2


def test_a_certificate_of_another_host_is_refused(tmp_path: Path) -> None:
    files = certificate(tmp_path, "192.0.2.1")
    with broker(honest, files) as peer:
        one = asks(peer, ca_file=files[0])
        with one, pytest.raises(X2GoBrokerConnectionException, match="not trusted"):
            one.login()
    assert peer.asked == []


def test_passwords_go_unencrypted_to_this_machine_only(tmp_path: Path) -> None:
    with pytest.raises(X2GoParameterError, match="unencrypted"):
        Broker("http://broker.example/json/", "pat", PASSWORD)
    with pytest.raises(X2GoParameterError, match="no certificates"):
        Broker("https://broker.example/json/", "pat", PASSWORD, ca_file=tmp_path / "none.pem")
    with pytest.raises(X2GoParameterError, match="behind SSH"):
        Broker("https://broker.example/json/", "pat", PASSWORD, known_hosts="x")
    Broker("http://broker.example/json/", "pat", PASSWORD, verify=False).close()


# What is selected.


@pytest.mark.parametrize(
    ("selected", "why"),
    [
        ({"server": "evil.example.com"}, "foreign"), ({"server": "-oProxyCommand=id"}, "no host"),
        ({"server": "ts1.example.org; id"}, "no host"), ({"server": "no-server-available"}, "no server for"),
        ({}, "names no server"), ({"server": "ts1.example.org", "port": "0"}, "the port is"),
        ({"server": "ts1.example.org", "key": "-----BEGIN RSA PRIVATE KEY-----\nAA\n-----END RSA PRIVATE KEY-----"},
         "cannot be read"),
    ],
)  # fmt: skip
def test_selections_that_are_refused(selected: dict[str, str], why: str) -> None:
    def chooses(fields: Fields) -> Said:
        return says(selected_session=selected) if fields.get("task") == "selectsession" else honest(fields)

    with broker(chooses) as peer, asks(peer) as one, pytest.raises(X2GoBrokerConnectionException, match=why):
        one.select("farm")


def test_a_profile_that_is_not_offered() -> None:
    with broker(honest) as peer, asks(peer) as one:
        with pytest.raises(X2GoProfileException, match="no profile 'Mainframe'") as error:
            one.select("Mainframe")
        assert "Farm, Terminal" in str(error.value)


# Passwords.


def test_a_broker_that_changes_passwords() -> None:
    known = {"pat": PASSWORD}

    def keeper(fields: Fields) -> Said:
        if fields.get("password") != known["pat"]:
            return Said(b"", 401)
        if fields.get("task") == "setpass":
            known["pat"] = fields["newpass"]
        return says()

    with broker(keeper) as peer, asks(peer) as one:
        one.set_password(Secret("another password"))
        assert known["pat"] == "another password"
        one.test()
        with pytest.raises(X2GoParameterError, match="needed"):
            one.set_password("")


def test_a_broker_that_only_says_so_is_found_out() -> None:
    def liar(fields: Fields) -> Said:
        return says() if fields.get("password") == PASSWORD else Said(b"", 401)

    with broker(liar) as peer, asks(peer) as one:
        with pytest.raises(X2GoBrokerConnectionException, match="the old one stands"):
            one.set_password("another password")
        one.test()


# python-x2go's backend and client.


def test_profiles_of_the_backend() -> None:
    with broker(honest) as peer:
        profiles = X2GoSessionProfiles(broker_url=peer.url, broker_username="pat", broker_password=PASSWORD)
        assert profiles.profile_names == ["Farm", "Terminal"]
        assert (profiles.get_broker_type(), profiles.get_broker_url()) == ("http", peer.url)
        assert (profiles.get_broker_username(), profiles.get_broker_noauth()) == ("pat", False)
        assert profiles.is_broker_authenticated()
        assert profiles.get_profile_config("Farm", "host") == ["ts1.example.org"]
        assert profiles.get_profile_config("Terminal", "user") == ""
        assert profiles.get_server_hostname("term") == "127.0.0.1"
        assert profiles.get_server_port("term") == 22
        assert profiles.get_pkey_object("term") is None
        assert profiles.broker_selectsession("term") == {"server": "127.0.0.1", "port": 22}
        assert sum(fields.get("task") == "selectsession" for fields in peer.asked) == 1
        profiles.init_profile_cache("Terminal")
        profiles.broker_selectsession("term")
        assert sum(fields.get("task") == "selectsession" for fields in peer.asked) == 2
        assert sorted(profiles.broker_listprofiles()) == ["farm", "term"]
        profiles.broker_disconnect()
        assert profiles.profile_names == []
        assert not profiles.is_broker_authenticated()
        assert profiles.broker_simpleauth("pat", PASSWORD)
        assert profiles.profile_names == ["Farm", "Terminal"]
        profiles.close()


def test_changes_stay_here() -> None:
    with broker(honest) as peer:
        profiles = X2GoSessionProfiles(broker_url=peer.url, broker_username="pat", broker_password=PASSWORD)
        assert profiles.mutable_profile_ids() == ["term"]
        assert profiles.is_mutable("Terminal")
        profiles.update_value("Terminal", "command", "xterm")
        assert not profiles.write()
        assert profiles.to_session_params("Terminal")["cmd"] == "xterm"
        with pytest.raises(X2GoProfileException, match="allows no changes"):
            profiles.update_value("Farm", "command", "xterm")
        added = profiles.add_profile(name="Mine", host="127.0.0.1", sshport=2222)
        assert (profiles.get_server_hostname(added), profiles.get_server_port(added)) == ("127.0.0.1", 2222)
        profiles.delete_profile("Mine")
        asked = len(peer.asked)
        profiles.update_value("Terminal", "host", "127.0.0.2")
        assert profiles.get_server_hostname("term") == "127.0.0.2"
        assert len(peer.asked) == asked
        profiles.close()


def test_a_broker_without_passwords() -> None:
    def open_to_all(fields: Fields) -> Said:
        return says(profiles=PROFILES)

    with broker(open_to_all) as peer:
        profiles = X2GoSessionProfiles(broker_url=peer.url, broker_noauth=True)
        assert profiles.profile_names == ["Farm", "Terminal"]
        assert profiles.get_broker_noauth()
        profiles.close()
        later = X2GoSessionProfiles(broker_url="HTTP", broker_username="pat")
        assert later.get_broker_url() is None
        with pytest.raises(X2GoBrokerConnectionException, match="nobody has said"):
            later.broker_listprofiles()
        later.set_broker_url(peer.url)
        assert later.profile_names == []
        assert later.broker_simpleauth("pat", "")
        assert later.profile_names == ["Farm", "Terminal"]
        assert later.get_broker_noauth()
        later.close()


class Listening(X2GoClient):
    """A client that notes what it is told about its broker."""

    heard: list[tuple[str, str]]
    goes_on = False

    def HOOK_broker_connection_exception(self, profile_name: str = "UNKNOWN") -> None:
        self.heard.append(("gone", profile_name))

    def HOOK_broker_ignore_connection_problems(
        self, profile_name: str = "UNKNOWN", is_profile_connected: bool = False
    ) -> bool:
        self.heard.append(("ignore?", profile_name))
        return self.goes_on


def test_a_client_whose_broker_goes_down(tmp_path: Path) -> None:
    with broker(honest) as peer:
        url = peer.url.replace("http://", "http://pat@")
        client = Listening(broker_url=url, broker_password=PASSWORD, client_rootdir=tmp_path)
        client.heard = []
        assert client.profile_names == ["Farm", "Terminal"]
    with client:
        with pytest.raises(X2GoBrokerConnectionException, match="cannot be reached"):
            client.register_session(profile_name="Farm")
        assert client.heard == [("ignore?", "Farm"), ("gone", "Farm")]
        client.goes_on = True
        session = client.register_session(profile_name="Farm", return_object=True)
        assert session.server == "ts1.example.org"
        assert client.profile_names == ["Farm", "Terminal"]


def test_a_client_that_is_not_let_in(tmp_path: Path) -> None:
    with broker(honest) as peer, pytest.raises(X2GoBrokerAuthenticationFailed):
        X2GoClient(broker_url=peer.url, broker_password="wrong one", client_rootdir=tmp_path)


def test_a_session_asks_again_when_the_key_may_be_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def accepts(fields: Fields) -> Said:
        chosen = {**SELECTED, "port": "1", "authentication_pubkey": "ACCEPTED"}
        return says(selected_session=chosen) if fields.get("task") == "selectsession" else honest(fields)

    def selections() -> int:
        return sum(fields.get("task") == "selectsession" for fields in peer.asked)

    with broker(accepts) as peer, X2GoClient(
        broker_url=peer.url, broker_password=PASSWORD, client_rootdir=tmp_path, broker_options={"timeout": 20}
    ) as client:
        session = client.register_session(profile_name="Terminal", return_object=True)
        assert session.parameters.control["pkey"] is not None
        with pytest.raises(OSError, match="nothing listens there"):
            client.connect_session(str(session))
        assert selections() == 1
        monkeypatch.setattr("crl.x2go.backends.profiles._broker.KEY_LASTS", 0.0)
        with pytest.raises(OSError, match="nothing listens there"):
            client.connect_session(str(session))
        assert selections() == 2
