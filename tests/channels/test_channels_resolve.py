"""A login goes where ``ssh -G`` says, and our own reader says the same or refuses."""

from __future__ import annotations

import os
import pwd
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from crl.channels.ssh import ResolvedHost, SshLoginError, SshSettings, resolve
from crl.channels.ssh._config_reader import read_config
from crl.channels.ssh.settings import parse_hop
from crl.errors import CrlError, RemoteWorldError, UsageError

CONFIG = """\
# a comment
User first
Host alpha
    HostName 10.0.0.1
    Port 2201
    User = late
Host "be ta" beta *.example.org !no.example.org
    HostName %h.internal
    IdentityFile ~/.ssh/one
    IdentityFile "/keys/two words"
    IdentitiesOnly yes
    UserKnownHostsFile /a/b /c/d
Host gamma
    ProxyJump me@gate:2222,alpha
    HostKeyAlias gamma-key
Host gate
    HostName 10.0.0.9
Host delta
    ProxyJump none
Host *
    ServerAliveInterval 5
    Port 2299
    ProxyJump alpha
Host alpha
    ProxyJump none
"""

# ProxyJump for all but the first hop's own would never end, so alpha says none before the star does.
CONFIG = CONFIG.replace("    HostName 10.0.0.1\n", "    HostName 10.0.0.1\n    ProxyJump none\n")
CONFIG = CONFIG.replace("    HostName 10.0.0.9\n", "    HostName 10.0.0.9\n    ProxyJump none\n")


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "ssh_config"
    path.write_text(CONFIG)
    return path


def core(host: ResolvedHost) -> tuple[object, ...]:
    """What both resolvers must agree on."""
    files = host.known_hosts_files[:2]
    jumps = tuple(core(jump) for jump in host.jumps)
    return host.hostname, host.user, host.port, host.identities_only, files, host.host_key_alias, jumps


NAMES = ["alpha", "beta", "x.example.org", "no.example.org", "gamma", "delta", "other", "gate"]
CHANGES = [{}, {"user": "me", "port": 7}, {"known_hosts": "/my/file x"}, {"identity": "/my/key"}]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("changes", CHANGES)
def test_our_reader_agrees_with_ssh(config: Path, name: str, changes: dict[str, object]) -> None:
    wanted = SshSettings(name, config=config, **changes)  # type: ignore[arg-type]
    assert core(resolve(wanted, program=None)) == core(resolve(wanted))


def test_the_hops_are_resolved_too(config: Path) -> None:
    host = resolve(SshSettings("gamma", config=config))
    assert [(jump.label, jump.hostname, jump.port, jump.user) for jump in host.jumps] == [
        ("gate", "10.0.0.9", 2222, "me"),
        ("alpha", "10.0.0.1", 2201, "first"),
    ]
    assert [stop.label for stop in host.stops] == ["gate", "alpha", "gamma"]


def test_hops_of_the_settings_win(config: Path) -> None:
    host = resolve(SshSettings("other", config=config, jump=("gate",)))
    assert [jump.label for jump in host.jumps] == ["gate"]


def test_identity_files_have_their_tokens_put_in(config: Path) -> None:
    host = resolve(SshSettings("beta", config=config))
    # Where the accounts say, which is not what $HOME says here.
    assert host.identity_files == (f"{pwd.getpwuid(os.getuid()).pw_dir}/.ssh/one", "/keys/two words")


def test_known_hosts_files_with_spaces_are_found(tmp_path: Path) -> None:
    folder = tmp_path / "two words"
    folder.mkdir()
    (folder / "kh").touch()
    path = tmp_path / "config"
    path.write_text(f'Host a\n UserKnownHostsFile /x "{folder}/kh" /y\n')
    for program in ("ssh", None):
        files = resolve(SshSettings("a", config=path), program=program).known_hosts_files
        assert files[:3] == ("/x", f"{folder}/kh", "/y")


def test_a_way_that_goes_round_in_circles_ends(tmp_path: Path) -> None:
    path = tmp_path / "config"
    path.write_text("Host a\n ProxyJump b\nHost b\n ProxyJump a\n")
    for program in ("ssh", None):
        with pytest.raises(CrlError):
            resolve(SshSettings("a", config=path), program=program)


@pytest.mark.parametrize("line", ["Match user x", "Include other", "Ciphers aes128-ctr", "CanonicalizeHostname yes"])
def test_what_our_reader_cannot_honour_is_refused_with_its_place(tmp_path: Path, line: str) -> None:
    path = tmp_path / "config"
    path.write_text(f"Host a\n Port 1\n{line}\n")
    with pytest.raises(UsageError, match=f"{path}:3"):
        resolve(SshSettings("a", config=path), program=None)


def test_a_configuration_that_ssh_refuses_is_a_clear_error(tmp_path: Path) -> None:
    path = tmp_path / "config"
    path.write_text("Host a\n NoSuchThing 1\n")
    with pytest.raises(SshLoginError, match="nosuchthing"):
        resolve(SshSettings("a", config=path))


def test_a_configuration_that_hangs_ends_in_time(tmp_path: Path) -> None:
    path = tmp_path / "config"
    path.write_text('Match exec "sleep 100"\n Port 1\n')
    with pytest.raises(RemoteWorldError, match="did not answer"):
        resolve(SshSettings("a", config=path), timeout=0.3)


LINES = [
    *("HostName %h.example.org", "HostName 10.1.2.3", "User anna", 'User "b c"', "Port 2200", "Port=22", "port 7"),
    *("IdentityFile ~/.ssh/k1", "IdentityFile /k2", 'IdentityFile "/with space"', "IdentitiesOnly yes"),
    *("IdentityAgent none", "IdentityAgent /run/agent", "UserKnownHostsFile /a /b", "GlobalKnownHostsFile none"),
    *("HostKeyAlias other", "ProxyJump me@gate:2222", "ProxyJump none", "ProxyCommand relay %h %p", "# comment"),
    *("ProxyCommand none", "PreferredAuthentications password,publickey", "PubkeyAuthentication no", ""),
    *("PasswordAuthentication no", "KbdInteractiveAuthentication no", "ServerAliveInterval 3", "ForwardAgent yes"),
]
HOSTS = ["Host a", "Host b", "Host *", "Host a b", "Host ?", "Host !a *", "Host *.example.org", "Match all"]


def everything(host: ResolvedHost) -> tuple[object, ...]:
    """All that is resolved but the algorithms, which our own reader leaves open."""
    return (*core(host), host.identity_files, host.identity_agent, host.proxy_command, host.methods)


@hypothesis_settings(deadline=None, max_examples=60)
@given(st.lists(st.sampled_from([*LINES, *HOSTS]), max_size=12), st.sampled_from(["a", "b", "x.example.org"]))
def test_any_configuration_of_these_lines_is_read_as_ssh_reads_it(lines: list[str], name: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "config"
        # The way to the hop must end, and what ssh has by default differs from machine to machine.
        first = ["Host gate", "ProxyJump none", "Host *"]
        last = ["Host *", "IdentityFile /last", "UserKnownHostsFile /kh", "User me", ""]
        path.write_text("\n".join([*first, *lines, *last]))
        wanted = SshSettings(name, config=path)
        assert everything(resolve(wanted, program=None)) == everything(resolve(wanted))


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("host", (None, "host", None)),
        ("me@host:22", ("me", "host", 22)),
        ("ssh://me@host:2222/", ("me", "host", 2222)),
        ("[::1]:22", (None, "::1", 22)),
        ("::1", (None, "::1", None)),
        ("a@b@host", ("a@b", "host", None)),
    ],
)
def test_hops_are_taken_apart(text: str, parts: tuple[str | None, str, int | None]) -> None:
    assert parse_hop(text) == parts


@hypothesis_settings(deadline=None)
@given(st.text(max_size=40))
def test_any_hop_is_taken_apart_or_refused(text: str) -> None:
    try:
        _, host, port = parse_hop(text)
    except UsageError:
        return
    assert host
    assert not set(host) & set(" '\"$`;&|<>\n")
    assert port is None or 0 < port < 65536


@hypothesis_settings(deadline=None)
@given(st.text(max_size=200))
def test_any_configuration_is_read_or_refused(text: str) -> None:
    try:
        values = read_config([("file", text)], SshSettings("host", host_keys="verify"))
    except UsageError:
        return
    assert all(isinstance(value, list) for value in values.values())
