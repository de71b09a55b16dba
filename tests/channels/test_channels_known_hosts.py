"""For any text the reader gives entries or skips lines, never an error, and it finds what ssh-keygen -F finds."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import struct
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crl.channels.ssh.known_hosts import HostKey, KnownHosts, Standing, lookup_name, parse_known_hosts

from .conftest import run


def make_key(seed: int, kind: str = "ssh-ed25519") -> HostKey:
    """A well-formed key; its numbers mean nothing, which neither we nor ssh-keygen -F look at."""
    body = hashlib.sha256(str(seed).encode()).digest()
    return HostKey(kind, struct.pack(">I", len(kind)) + kind.encode() + struct.pack(">I", 32) + body)


def hashed(name: str, salt: bytes = b"0123456789abcdef0123") -> str:
    digest = hmac.new(salt, name.encode(), hashlib.sha1).digest()
    return f"|1|{base64.b64encode(salt).decode()}|{base64.b64encode(digest).decode()}"


def known(*lines: str) -> KnownHosts:
    return KnownHosts(parse_known_hosts("\n".join(lines), "file"))


def line(names: str, key: HostKey, marker: str = "") -> str:
    return f"{marker} {names} {key.type} {key.base64} a comment".strip()


ED, OTHER, RSA = make_key(1), make_key(2), make_key(3, "ssh-rsa")


@pytest.mark.parametrize("position", range(3))
@pytest.mark.parametrize("kind", ["ssh-ed25519", "ssh-rsa", "ecdsa-sha2-nistp256"])
def test_a_key_is_known_at_whatever_position_it_stands(position: int, kind: str) -> None:
    key = make_key(9, kind)
    lines = [line("host", RSA), line("host", OTHER)]
    lines.insert(position, line("host", key))
    verdict = known(*lines).check("host", 22, key)
    assert verdict.standing is Standing.KNOWN
    assert verdict.location == f"file:{position + 1}"


@pytest.mark.parametrize(
    ("names", "host", "port", "found"),
    [
        ("host", "HOST", 22, True),
        ("Host", "host", 22, True),
        ("a,host,b", "host", 22, True),
        ("*.example.org", "x.example.org", 22, True),
        ("*.example.org", "example.org", 22, False),
        ("h?st", "host", 22, True),
        ("*,!host", "host", 22, False),
        ("!host,*", "other", 22, True),
        ("[host]:2222", "host", 2222, True),
        ("[host]:2222", "host", 22, False),
        ("host", "host", 2222, True),
        ("h[o]st", "host", 22, False),
        (hashed("host"), "host", 22, True),
        (hashed("host"), "other", 22, False),
        (hashed("[host]:2222"), "host", 2222, True),
        ("|1|x|y", "host", 22, False),
        ("|2|eHh4|eHh4", "host", 22, False),
    ],
)
def test_which_hosts_a_line_is_about(names: str, host: str, port: int, found: bool) -> None:
    verdict = known(line(names, ED)).check(host, port, ED)
    assert verdict.standing is (Standing.KNOWN if found else Standing.UNKNOWN)


def test_another_key_is_changed_and_the_line_of_its_type_is_named() -> None:
    verdict = known(line("host", RSA), "# comment", line("host", OTHER)).check("host", 22, ED)
    assert (verdict.standing, verdict.location) == (Standing.CHANGED, "file:3")


def test_a_revoked_key_is_refused_although_it_is_known() -> None:
    verdict = known(line("host", ED), line("*", ED, "@revoked")).check("host", 22, ED)
    assert (verdict.standing, verdict.location) == (Standing.REVOKED, "file:2")


def test_a_key_revoked_for_the_bare_name_is_refused_on_another_port() -> None:
    assert known(line("host", ED, "@revoked")).check("host", 2222, ED).standing is Standing.REVOKED


def test_an_authority_is_no_key_of_the_host() -> None:
    hosts = known(line("host", ED, "@cert-authority"))
    assert hosts.check("host", 22, ED).standing is Standing.UNKNOWN
    assert [entry.key for entry in hosts.authorities("host")] == [ED]


def test_all_key_types_of_a_host_are_told() -> None:
    hosts = known(line("host", RSA), line("host", ED), line("host", OTHER, "@revoked"), line("other", make_key(5, "x")))
    assert hosts.key_types("host") == ("ssh-rsa", "ssh-ed25519")
    assert hosts.key_types("host", 2222) == ("ssh-rsa", "ssh-ed25519")


UNREADABLE = ["host 1024 37 1234", "@odd host ssh-rsa AAAA", "host ssh-rsa", "host ssh-rsa ????", "x"]


@pytest.mark.parametrize("text", UNREADABLE)
def test_a_line_that_cannot_be_read_is_skipped(text: str) -> None:
    good = line("host", ED)
    assert parse_known_hosts(f"{text}\n{good}", "file") == parse_known_hosts(f"\n{good}", "file")


def test_a_key_of_another_type_than_it_says_is_skipped() -> None:
    assert parse_known_hosts(f"host ssh-rsa {ED.base64}", "file") == []


def test_a_file_that_does_not_exist_is_empty(tmp_path: Path) -> None:
    (tmp_path / "there").write_bytes(line("host", ED).encode() + b"\n\xff\xfe bad utf-8\n")
    hosts = KnownHosts.load([tmp_path / "missing", tmp_path / "there"])
    assert [entry.location for entry in hosts.entries] == [f"{tmp_path}/there:1"]


@settings(deadline=None)
@given(st.text(max_size=300), st.text(max_size=20), st.integers(1, 65535))
def test_any_text_gives_a_verdict(text: str, host: str, port: int) -> None:
    assert known(text).check(host, port, ED).standing in Standing


@settings(deadline=None)
@given(st.text("ab*?!,.", min_size=1, max_size=40), st.text("ab.", max_size=30))
def test_wildcards_are_matched_as_openssh_matches_them(names: str, host: str) -> None:
    entries = parse_known_hosts(line(names, ED), "file")
    assert len(entries) == 1
    assert entries[0].names_host(host) == _slowly(names, host)


def _slowly(names: str, host: str) -> bool:
    """The same by plain regular expressions."""

    def matches(pattern: str) -> bool:
        return bool(re.fullmatch("".join({"*": ".*", "?": "."}.get(c, re.escape(c)) for c in pattern), host))

    patterns = names.split(",")
    if any(pattern[0:1] == "!" and matches(pattern[1:]) for pattern in patterns):
        return False
    return any(pattern[0:1] != "!" and matches(pattern) for pattern in patterns)


def test_many_stars_take_no_time() -> None:
    assert not known(line("a*" * 60 + "b", ED)).of_host("a" * 5000)


NAMES = [
    *("host", "Host.Example.org", "*.example.org", "h?st", "*,!host", "!x.example.org,*.example.org", "10.0.0.*"),
    *("[host]:2222", "[*.example.org]:2222", "a,b,host", hashed("host"), hashed("[host]:2222"), hashed("10.0.0.7")),
]
HOSTS = [("host", 22), ("host", 2222), ("x.example.org", 22), ("x.example.org", 2222), ("10.0.0.7", 22), ("b", 22)]


def test_it_finds_the_lines_that_ssh_keygen_finds(tmp_path: Path) -> None:
    markers = ["", "@revoked", "@cert-authority"]
    lines = [line(names, make_key(n), marker) for n, names in enumerate(NAMES) for marker in markers]
    file = tmp_path / "known_hosts"
    file.write_text("# comment\n\n" + "\n".join(lines) + "\n")
    hosts = KnownHosts.load([file])
    for host, port in HOSTS:
        name = lookup_name(host, port)
        _, text = run("ssh-keygen", "-F", name, "-f", str(file))
        theirs = {int(number) for number in re.findall(r"^# Host .* found: line (\d+)", text, re.MULTILINE)}
        assert {entry.line for entry in hosts.of_host(host, port)} == theirs, name
        assert theirs
