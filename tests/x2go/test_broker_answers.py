"""What brokers say, read and judged without any broker.

Invariant: any bytes are an answer with options of the right types and hosts that are hosts, or are refused as
`X2GoBrokerAnswerRefused`; never another error, and never half of it.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crl.secrets import Secret
from crl.x2go._broker.address import parse_address
from crl.x2go._broker.answers import MAX_ANSWER, parse_json, parse_plain
from crl.x2go._broker.keys import key_of_text, line_of_key, new_key
from crl.x2go._broker.offers import OF_THIS_MACHINE, checked_profiles, is_host, require_host
from crl.x2go.defaults import session_profile_defaults
from crl.x2go.x2go_exceptions import X2GoBrokerAnswerRefused, X2GoBrokerConnectionException, X2GoParameterError

PLAIN = """\
AUTHID:2dd4bb43
Access granted
START_USER_SESSIONS

[farm]
name=Farm
host=ts1.example.org,ts2.example.org
command=XFCE
rootless=0
user=pat
applications=TERMINAL,WWWBROWSER
dpi=96
setdpi=0
export=
key=<will-be-exchanged-during-session-selection>

END_USER_SESSIONS
"""
LIST = {
    "auth-status": "Access granted",
    "task": "listprofiles",
    "next-authid": "2dd4bb43",
    "mutable_profile_ids": ["farm"],
    "profiles": {
        "farm": {
            "name": "Farm", "host": ["ts1.example.org", "ts2.example.org"], "command": "XFCE", "rootless": False,
            "user": "pat", "applications": ["TERMINAL", "WWWBROWSER"], "dpi": 96, "setdpi": 0, "export": "",
            "key": "<will-be-exchanged-during-session-selection>",
        },
    },
}  # fmt: skip


def _json(**changes: Any) -> bytes:
    return json.dumps({**LIST, **changes}).encode()


def _profile(**options: Any) -> dict[str, dict[str, Any]]:
    return {"farm": {"name": "Farm", "host": ["ts1.example.org"], **options}}


def test_both_forms_say_the_same() -> None:
    plain, other = parse_plain(PLAIN.encode()), parse_json(_json())
    assert plain.granted
    assert other.granted
    assert plain.next_authid == other.next_authid == Secret("2dd4bb43")
    assert plain.profiles is not None
    assert other.profiles is not None
    checked = checked_profiles(plain.profiles)
    assert checked == checked_profiles(other.profiles)
    assert checked["farm"]["host"] == ["ts1.example.org", "ts2.example.org"]
    assert (checked["farm"]["rootless"], checked["farm"]["setdpi"], checked["farm"]["dpi"]) == (False, False, 96)
    assert "key" not in checked["farm"]
    assert other.mutable_ids == {"farm"}


def test_a_selection_in_both_forms() -> None:
    key = "-----BEGIN RSA PRIVATE KEY-----\nMIIB\nAAAA\n-----END RSA PRIVATE KEY-----\n"
    info = "1|pat-50-1395312547_stDXFCE_dp24|50|ts1|S|a|b|c|1|2|d|pat|3|4"
    plain = parse_plain(f"AUTHID:a\nAccess granted\nSERVER:ts1.example.org:2222\n{key}SESSION_INFO:{info}\n".encode())
    selected = {"server": "ts1.example.org", "port": "2222", "key": key, "session_info": info}
    other = parse_json(_json(selected_session=selected))
    assert plain.chosen == other.chosen
    assert plain.chosen is not None
    assert (plain.chosen.host, plain.chosen.port, plain.chosen.session_info) == ("ts1.example.org", 2222, info)
    assert plain.chosen.key == Secret(key)
    assert "MIIB" not in repr(plain)
    six = parse_plain(b"Access granted\nSERVER:[2001:db8::7]:22\n").chosen
    assert six is not None
    assert six.host == "2001:db8::7"


@pytest.mark.parametrize(
    "answer",
    [
        b"[]", b"null", b"1", b'"Access granted"', b"{", b"\xff\xfe", b'{"a": NaN}', b'{"task": 1, "task": 2}',
        b"[" * 100_000, b'{"port": ' + b"9" * 10_000 + b"}", b" " * (MAX_ANSWER + 1),
        _json(profiles=[]), _json(profiles={"farm": []}), _json(profiles={"a": {str(n): 1 for n in range(400)}}),
        _json(profiles={str(number): {} for number in range(3000)}), _json(mutable_profile_ids=[1]),
        _json(mutable_profile_ids={}), _json(**{"next-authid": 7}), _json(**{"next-authid": "a b"}),
        _json(**{"next-authid": "x" * 1000}), _json(**{"auth-status": True}), _json(selected_session=[]),
        _json(selected_session={"server": ["a"]}), _json(selected_session={"server": "a", "port": "22; id"}),
        _json(selected_session={"server": "a", "port": 70000}), _json(selected_session={"server": "a", "port": True}),
        _json(selected_session={"server": "a", "key": "-----BEGIN RSA PRIVATE KEY-----\n\x1b[2J"}),
        _json(selected_session={"server": "a", "session_info": "x" * 20_000}),
    ],
)  # fmt: skip
def test_json_that_is_refused(answer: bytes) -> None:
    with pytest.raises(X2GoBrokerAnswerRefused) as error:
        parse_json(answer)
    assert "its answer is refused" in error.value.message
    assert len(str(error.value)) < 500


@pytest.mark.parametrize(
    "answer",
    [
        "Access granted\nSTART_USER_SESSIONS\n[a]\nname=x\n",
        "Access granted\nSTART_USER_SESSIONS\nname=x\nEND_USER_SESSIONS\n",
        "Access granted\nSTART_USER_SESSIONS\n[a]\nname=x\nname=y\nEND_USER_SESSIONS\n",
        "Access granted\nSTART_USER_SESSIONS\n[a]\n[a]\nEND_USER_SESSIONS\n",
        "Access granted\nSTART_USER_SESSIONS\n[a]\nnonsense\nEND_USER_SESSIONS\n",
        "AUTHID:a\nAUTHID:b\nAccess granted\n",
        "Access granted\nSERVER:a\nSERVER:b\n",
        "Access granted\nSERVER:a:b:c\n",
        "Access granted\nSERVER:a:99999\n",
        "Access granted\nSERVER:a\n-----BEGIN RSA PRIVATE KEY-----\nxx\n",
    ],
)
def test_plain_text_that_is_refused(answer: str) -> None:
    with pytest.raises(X2GoBrokerAnswerRefused):
        parse_plain(answer.encode())


def test_what_does_not_say_that_access_is_granted_grants_none() -> None:
    assert not parse_plain(b"").granted
    assert not parse_plain(PLAIN.replace("Access granted", "Access denied").encode()).granted
    assert not parse_json(_json(**{"auth-status": "denied"})).granted


@pytest.mark.parametrize(
    "options",
    [
        {"host": 5}, {"host": ["a", 5]}, {"host": ["ts1; reboot"]}, {"host": ["-oProxyCommand=id"]}, {"host": "$(id)"},
        {"host": ["a"] * 2000}, {"user": "pat`id`"}, {"user": "-l"}, {"user": ["pat"]}, {"command": "xterm; id"},
        {"command": "$(id)"}, {"command": "a\nb"}, {"command": ["xterm"]}, {"rdpserver": "a|b"},
        {"sshproxyhost": "-J evil"}, {"sshport": "22a"}, {"sshport": True}, {"sshport": 1e9}, {"sshport": None},
        {"rootless": "perhaps"}, {"rootless": []}, {"rootless": 7}, {"name": {"a": 1}}, {"name": "\x1b[31mred"},
        {"name": "a\u202eb"}, {"name": "x" * 20_000}, {"export": ["/"]}, {"dpi": "9" * 40}, {"a\nb": "c"}, {"": "c"},
        {"applications": ["xterm", "a;b"]}, {"unheard-of": {"deep": 1}}, {"unheard-of": "\x00"}, {"speed": 2.5},
        {"rdpoptions": "-u a -p b; id"},
    ],
)  # fmt: skip
def test_profiles_that_are_refused(options: dict[str, Any]) -> None:
    trusted = OF_THIS_MACHINE
    with pytest.raises(X2GoBrokerAnswerRefused, match=r"profile 'farm'|option"):
        checked_profiles(_profile(**options), trusted)


def test_options_that_nobody_knows_are_kept() -> None:
    checked = checked_profiles(_profile(status="S", directory="/a b", load=5, list=["a", "b"], empty=""))["farm"]
    assert (checked["status"], checked["load"], checked["list"], checked["empty"]) == ("S", 5, ["a", "b"], "")


def test_what_opens_this_machine_is_left_out_unless_it_is_trusted() -> None:
    options = {"export": "/home/pat:1;", "forwardsshagent": True, "key": "~/.ssh/id_rsa", "usemimebox": True}
    assert set(checked_profiles(_profile(**options))["farm"]) == {"name", "host"}
    trusting = checked_profiles(_profile(**options), ["export", "forwardsshagent"])["farm"]
    assert (trusting["export"], trusting["forwardsshagent"]) == ({"/home/pat": True}, True)
    assert "key" not in trusting


def test_a_profile_without_a_name_is_called_by_its_id() -> None:
    assert checked_profiles({"a b": {}})["a b"]["name"] == "a b"
    with pytest.raises(X2GoBrokerAnswerRefused):
        checked_profiles({" ": {}})


HOSTS = ["ts1.pool.example.org", "ts2"]


@pytest.mark.parametrize(
    "host",
    [
        "ts1.pool.example.org", "TS1.pool.example.org.", "ts9.pool.example.org", "ts2", "ts3", "10.1.2.3", "fd00::5",
        "192.0.2.7", "broker.example.net", "other.example.net",
    ],
)  # fmt: skip
def test_servers_that_a_broker_may_choose(host: str) -> None:
    addresses = {"ts1.pool.example.org": frozenset({"192.0.2.7"})}
    found = require_host(host, HOSTS, "broker.example.net", look_up=lambda name: addresses.get(name, frozenset()))
    assert found == host


@pytest.mark.parametrize(
    "host",
    ["evil.example.com", "ts1.pool.example.org.evil.com", "8.8.8.8", "pool.example.org", "example.org", "ts2.org"],
)
def test_servers_that_are_foreign(host: str) -> None:
    with pytest.raises(X2GoBrokerAnswerRefused, match="foreign") as error:
        require_host(host, HOSTS, "broker.example.net", look_up=lambda _: frozenset())
    assert error.value.advice is not None
    assert host in error.value.advice
    assert require_host(host, HOSTS, "broker.example.net", [host]) == host


def test_allowed_hosts_decide_alone() -> None:
    allowed = ["*.pool.example.org", "10.1.0.0/16", "2001:db8::/32"]
    for host in ("ts5.pool.example.org", "10.1.9.9", "2001:db8::1"):
        assert require_host(host, [], "b", allowed) == host
    for host in ("ts2", "10.2.0.1", "fd00::1", "evil.example.com"):
        with pytest.raises(X2GoBrokerAnswerRefused, match="allowed"):
            require_host(host, HOSTS, "b", allowed)


@pytest.mark.parametrize(
    "host", ["a;b", "-oX", "a b", "$(id)", "user@host", "a/b", "a\nb", "ü", "x" * 300, "..", "a:b"]
)
def test_servers_that_are_no_hosts(host: str) -> None:
    assert not is_host(host)
    with pytest.raises(X2GoBrokerAnswerRefused, match="no host"):
        require_host(host, HOSTS, "b", ["*"])


@pytest.mark.parametrize("host", ["no-server-available", "no-X2Go-Server-available", ""])
def test_a_broker_without_a_server(host: str) -> None:
    with pytest.raises(X2GoBrokerConnectionException, match="no server for this session"):
        require_host(host, HOSTS, "b")


# Invariants.

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=6,
)
OPTIONS = st.dictionaries(
    st.sampled_from(sorted(session_profile_defaults())) | st.text(max_size=12), VALUES, max_size=4
)
WORDS = st.sampled_from(
    ["AUTHID:", "Access granted", "START_USER_SESSIONS", "END_USER_SESSIONS", "[a]", "name=", "SERVER:", "\n", "\r\n",
     "-----BEGIN RSA PRIVATE KEY-----", "-----END RSA PRIVATE KEY-----", "SESSION_INFO:", "22", ":", "<br>", "OK"]
)  # fmt: skip


@given(st.binary() | st.text().map(str.encode) | VALUES.map(lambda value: json.dumps(value).encode()))
def test_any_json_is_an_answer_or_refused(data: bytes) -> None:
    try:
        parse_json(data)
    except X2GoBrokerAnswerRefused:
        return


@given(st.binary() | st.lists(WORDS | st.text(max_size=5)).map(lambda parts: "".join(parts).encode()))
def test_any_plain_text_is_an_answer_or_refused(data: bytes) -> None:
    try:
        parse_plain(data)
    except X2GoBrokerAnswerRefused:
        return


@settings(max_examples=50)
@given(st.dictionaries(st.text(max_size=8), OPTIONS, max_size=3))
def test_any_profiles_are_typed_or_refused(profiles: dict[str, dict[str, Any]]) -> None:
    kinds = {name: type(value) for name, value in session_profile_defaults().items()}
    try:
        checked = checked_profiles(profiles)
    except X2GoBrokerAnswerRefused:
        return
    for options in checked.values():
        assert all(type(value) is kinds.get(name, type(value)) for name, value in options.items())
        assert all(is_host(host) for host in options.get("host", ()))
        assert not OF_THIS_MACHINE & options.keys()


# Addresses and keys.


@pytest.mark.parametrize(
    ("url", "seen", "form"),
    [
        ("https://broker.example/", "https://broker.example/json/", "json"),
        ("https://pat:s%20ecret@broker.example:8443/plain/", "https://broker.example:8443/plain/", "plain"),
        ("https://[2001:db8::1]/x2gobroker/plain/inifile", "https://[2001:db8::1]/x2gobroker/plain/inifile", "plain"),
        ("http://localhost:8080/json/", "http://localhost:8080/json/", "json"),
        ("ssh://pat@broker.example", "ssh://broker.example/usr/bin/x2gobroker-ssh", "plain"),
        ("ssh://broker.example:2222/usr/bin/mine", "ssh://broker.example:2222/usr/bin/mine", "plain"),
    ],
)
def test_addresses(url: str, seen: str, form: str) -> None:
    address = parse_address(url)
    assert (address.url, address.is_plain) == (seen, form == "plain")
    assert "s ecret" not in repr(address)
    if "pat:" in url:
        assert (address.username, address.password) == ("pat", Secret("s ecret"))


@pytest.mark.parametrize(
    "url",
    [
        "", "broker.example", "ftp://broker.example/", "https://", "https://a b/", "https://broker:port/",
        "https://pat:geheim@-x/", "https://broker/json/?a=b", "https://broker/#a", "ssh://broker/usr/bin/x; id",
        "ssh://broker/$(id)", "ssh://-oProxyCommand=id/",
    ],
)  # fmt: skip
def test_what_is_no_address(url: str) -> None:
    with pytest.raises(X2GoParameterError) as error:
        parse_address(url)
    assert "geheim" not in str(error.value)


def test_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("crl.x2go.defaults._local_user", lambda: "p;at")
    key = new_key()
    assert key.can_sign()
    line = line_of_key(key)
    assert line.startswith("no-X11-forwarding,no-user-rc ssh-ed25519 AAAA")
    assert ";" not in line
    with pytest.raises(X2GoBrokerAnswerRefused):
        key_of_text(Secret("-----BEGIN RSA PRIVATE KEY-----\nAAAA\n-----END RSA PRIVATE KEY-----\n"))
