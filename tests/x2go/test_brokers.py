"""Debian's session broker on a host of the lab, asked over HTTPS in both forms and over SSH.

Invariant: what the broker's configuration says is what the user gets, by whichever way he asks; what the broker does
not do is said; passwords are in no command line and no log.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from crl.lab import Lab, LabBroker
from crl.lab.plan import UserPlan
from crl.x2go import ClientDisplay, X2GoClient, X2GoSession
from crl.x2go.broker import Broker
from crl.x2go.x2go_exceptions import (
    X2GoBrokerAuthenticationFailed,
    X2GoBrokerConnectionException,
    X2GoException,
    X2GoHostKeyException,
    X2GoParameterError,
    X2GoProfileException,
)
from tests.x2go.broker_peers import WSGI, profiles_of
from tests.x2go.conftest import QUIET, remains_of, wait_until_gone

pytestmark = pytest.mark.lab

FORMS = ["json", "plain"]
COOKIE = "0f5a9fd1-a-cookie-of-the-site"


@pytest.fixture(scope="module")
def real(lab: Lab) -> Iterator[LabBroker]:
    """The broker, which listens."""
    users = [lab.host("alpha").user(name).login for name in ("password", "both")]
    with LabBroker(lab.host("alpha"), profiles_of(lab), ssh_users=users) as one:
        yield one


@pytest.fixture
def pat(lab: Lab) -> UserPlan:
    """A user whose profiles need nobody's help."""
    return lab.host("alpha").user("password")


def asks(real: LabBroker, form: str, user: UserPlan, **more: Any) -> Broker:
    return Broker(real.url(form), user.login, user.password, ca_file=real.ca_file, **more)


@pytest.mark.parametrize("form", FORMS)
def test_login_list_and_select(real: LabBroker, pat: UserPlan, lab: Lab, form: str) -> None:
    before = real.log.count("authentication succeeded")
    with asks(real, form, pat) as one:
        one.login()
        profiles = one.profiles()
        assert {profile_id: options["name"] for profile_id, options in profiles.items()} == {
            "term": "Terminal", "pool": "Pool",
        }  # fmt: skip
        term = profiles["term"]
        assert (term["user"], term["command"], term["host"]) == (pat.login, "xterm", ["alpha"])
        assert (term["rootless"], term["fullscreen"], term["sshport"]) == (True, False, lab.host("alpha").port)
        assert profiles["pool"]["rootless"] is False
        assert "export" not in term
        selected = one.select("Terminal")
        assert (selected.host, selected.port) == (lab.host("alpha").address, lab.host("alpha").port)
        assert (selected.username, selected.pkey, selected.session) == (pat.login, None, None)
        chosen = one.select("pool").host
        assert chosen in {lab.host("alpha").address, lab.host("gateway").address}
        with pytest.raises(X2GoProfileException, match="no profile 'desk'"):
            one.select("desk")
        one.test()
    assert real.log.count("authentication succeeded") == before + 1


@pytest.mark.parametrize("form", FORMS)
def test_a_cookie_that_has_lapsed(real: LabBroker, pat: UserPlan, lab: Lab, form: str) -> None:
    with asks(real, form, pat) as one:
        one.login()
        lab.host("alpha").exec(["sh", "-c", "rm -f /var/lib/x2gobroker/.x2go/broker-cookies/*"])
        assert sorted(one.profiles()) == ["pool", "term"]


def test_the_wsgi_variant(lab: Lab, pat: UserPlan) -> None:
    with LabBroker(lab.host("alpha"), profiles_of(lab), program=WSGI, port=8445) as served:
        for form in FORMS:
            with asks(served, form, pat) as one:
                assert sorted(one.profiles()) == ["pool", "term"]
                assert one.select("Terminal").host == lab.host("alpha").address
                one.test()
        wrong = Broker(served.url(), pat.login, "certainly not", ca_file=served.ca_file)
        with wrong, pytest.raises(X2GoBrokerAuthenticationFailed):
            wrong.login()


def test_a_wrong_password(real: LabBroker, pat: UserPlan, caplog: pytest.LogCaptureFixture) -> None:
    wrong = "certainly not that one"
    one = Broker(real.url(), pat.login, wrong, ca_file=real.ca_file)
    with caplog.at_level(logging.DEBUG), one, pytest.raises(X2GoBrokerAuthenticationFailed) as error:
        one.profiles()
    for text in (str(error.value), caplog.text, repr(one), real.log):
        assert wrong not in text


def test_its_certificate(real: LabBroker, pat: UserPlan) -> None:
    with Broker(real.url(), pat.login, pat.password) as one, pytest.raises(X2GoException, match="not trusted"):
        one.login()
    with Broker(real.url(), pat.login, pat.password, verify=False) as one:
        one.login()


def test_what_is_not_there(real: LabBroker, pat: UserPlan) -> None:
    one = Broker(real.url("json") + "nosuch", pat.login, pat.password, ca_file=real.ca_file)
    with one, pytest.raises(X2GoBrokerConnectionException, match="answers 404"):
        one.login()


def test_debians_broker_changes_no_passwords(real: LabBroker, pat: UserPlan) -> None:
    with asks(real, "json", pat) as one:
        with pytest.raises(X2GoBrokerConnectionException, match="the old one stands"):
            one.set_password("a new password")
        one.login()


def test_an_authentication_id_of_the_site(lab: Lab) -> None:
    settings = {"require-password": "false", "require-cookie": "true", "my-cookie": COOKIE}
    alpha = lab.host("alpha")
    zsh = alpha.user("password").login
    with LabBroker(alpha, profiles_of(lab), settings=settings, port=8444) as one:
        with Broker(one.url(), zsh, auth_id=COOKIE, ca_file=one.ca_file) as asker:
            assert sorted(asker.profiles()) == ["pool", "term"]
        asker = Broker(one.url(), zsh, auth_id="the-id-of-somebody-else", ca_file=one.ca_file)
        with asker, pytest.raises(X2GoBrokerAuthenticationFailed):
            asker.profiles()


# Over SSH.


def by_ssh(real: LabBroker, user: UserPlan, lab: Lab, **more: Any) -> Broker:
    options = {"known_hosts": lab.known_hosts, "look_for_keys": False, "allow_agent": False, **more}
    return Broker(real.ssh_url(user.login), password=user.password, **options)


def test_list_and_select_over_ssh(real: LabBroker, pat: UserPlan, lab: Lab) -> None:
    with by_ssh(real, pat, lab) as one:
        profiles = one.profiles()
        assert sorted(profiles) == ["pool", "term"]
        assert (profiles["term"]["user"], profiles["term"]["rootless"]) == (pat.login, True)
        selected = one.select("Terminal")
        assert (selected.host, selected.port, selected.username) == (
            lab.host("alpha").address, lab.host("alpha").port, pat.login,
        )  # fmt: skip
        with pytest.raises(X2GoParameterError, match="command line"):
            one.set_password("a new password")


def test_what_goes_wrong_over_ssh(real: LabBroker, pat: UserPlan, lab: Lab, tmp_path: Path) -> None:
    one = by_ssh(real, pat, lab, known_hosts=tmp_path / "none")
    with one, pytest.raises(X2GoHostKeyException, match="not known"):
        one.login()
    options: dict[str, Any] = {"known_hosts": lab.known_hosts, "look_for_keys": False, "allow_agent": False}
    one = Broker(real.ssh_url(pat.login), password="wrong one", **options)
    with one, pytest.raises(X2GoBrokerAuthenticationFailed, match="does not let"):
        one.login()
    one = Broker(f"ssh://{pat.login}@{lab.host('alpha').address}/no/such", password=pat.password, **options)
    with one, pytest.raises(X2GoBrokerConnectionException, match="no program /no/such"):
        one.login()


def test_profiles_of_a_client_over_ssh(real: LabBroker, pat: UserPlan, lab: Lab, tmp_path: Path) -> None:
    options: dict[str, Any] = {"known_hosts": lab.known_hosts, "look_for_keys": False, "allow_agent": False}
    url = real.ssh_url(pat.login)
    with X2GoClient(
        broker_url=url, broker_password=pat.password, broker_options=options, client_rootdir=tmp_path
    ) as client:
        assert client.profile_names == ["Pool", "Terminal"]
        assert client.get_profiles().get_broker_type() == "ssh"  # type: ignore[attr-defined]


# With the agent of its host: a key is pushed, servers are chosen by load, sessions found again.


@pytest.fixture(scope="module")
def display() -> Iterator[ClientDisplay]:
    with ClientDisplay.start() as one:
        one.screen.windows()
        yield one


def client_of(real: LabBroker, user: UserPlan, tmp_path: Path) -> X2GoClient:
    url = real.url().replace("https://", f"https://{user.login}@")
    return X2GoClient(
        broker_url=url,
        broker_password=user.password,
        broker_options={"ca_file": real.ca_file},
        client_rootdir=tmp_path,
        sessions_rootdir=tmp_path / "sessions",
        ssh_rootdir=tmp_path / "ssh",
    )


def test_the_key_that_the_broker_makes_lets_in(real: LabBroker, lab: Lab) -> None:
    user = lab.host("alpha").user("both")
    with asks(real, "plain", user) as one:
        selected = one.select("Desk")
    assert selected.pkey is not None
    assert not selected.pubkey_accepted
    how: dict[str, Any] = {"known_hosts": str(lab.known_hosts), "look_for_keys": False, "allow_agent": False}
    with X2GoSession(**selected.login, **how) as session:  # whose key gets no terminal
        assert session.connect()
        assert session.get_username() == user.login
        assert session.list_sessions() == {}


def test_the_life_of_a_session(real: LabBroker, lab: Lab, display: ClientDisplay, tmp_path: Path) -> None:
    alpha = lab.host("alpha")
    user, other = alpha.user("both"), alpha.user("kbdint")
    before = remains_of(lab, "alpha", user.login)
    how: dict[str, Any] = {"known_hosts": lab.known_hosts, "client_display": display, **QUIET}
    with client_of(real, user, tmp_path) as client:
        session = client.register_session(profile_name="Desk", return_object=True, **how)
        assert (session.server, session.port) == (alpha.address, alpha.port)
        assert client.connect_session(str(session))
        assert client.start_session(str(session))
        name = session.get_session_name()
        # Others go to the server that is less busy; this one, below, back to his session.
        for busy, idle in (("alpha", "gateway"), ("gateway", "alpha")):
            real.set_loads({busy: 90, idle: 10})
            assert _chosen_for(real, other, "Farm").host == lab.host(idle).address
        client.suspend_session(str(session))
    with asks(real, "json", user) as one:
        found = one.select("Farm")
        assert found.host == alpha.address
        assert found.session is not None
        assert (found.session.name, found.session.status) == (name, "S")
    with client_of(real, user, tmp_path) as client:
        session = client.register_session(profile_name="Farm", return_object=True, **how)
        assert client.get_profiles().broker_selectsession("farm")["session_info"].name == name  # type: ignore[attr-defined]
        assert client.connect_session(str(session))
        assert client.session_auto_start_or_resume(str(session))
        assert session.get_session_name() == name
        assert client.terminate_session(str(session))
    assert not (tmp_path / "ssh").exists()
    # The server's own programs note the end a moment later.
    wait_until_gone(lambda: remains_of(lab, "alpha", user.login).new_since(before))


def _chosen_for(real: LabBroker, user: UserPlan, profile: str) -> Any:
    with asks(real, "json", user) as one:
        return one.select(profile)


def test_a_broker_that_goes_down(real: LabBroker, pat: UserPlan, tmp_path: Path) -> None:
    heard = []

    class Listening(X2GoClient):
        def HOOK_broker_connection_exception(self, profile_name: str = "UNKNOWN") -> None:
            heard.append(profile_name)

    url = real.url().replace("https://", f"https://{pat.login}@")
    options = {"ca_file": real.ca_file, "timeout": 20}
    with Listening(
        broker_url=url, broker_password=pat.password, broker_options=options, client_rootdir=tmp_path
    ) as client:
        real.stop()
        try:
            with pytest.raises(X2GoBrokerConnectionException, match="cannot be reached"):
                client.register_session(profile_name="Terminal")
        finally:
            real.restart()
        assert heard == ["Terminal"]
        assert client.register_session(profile_name="Terminal") is not None
