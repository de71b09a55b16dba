"""OpenSSH's real ssh, called as we call it: where the marker arrives, and what we make of its errors."""

from __future__ import annotations

import os
import pickle
import select
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crl.channels import ProcessChannel
from crl.channels.conformance import read_exactly, write_all
from crl.channels.ssh import (
    AuthenticationFailed,
    ConnectionClosedByHost,
    ConnectionRefused,
    HostKeyChanged,
    HostKeyUnknown,
    KnownHosts,
    NameNotResolved,
    NoCommonAlgorithm,
    SshLoginError,
    SshSettings,
    Stop,
    diagnose,
    local_environment,
    nested_line,
    ssh_argv,
)
from crl.errors import UsageError
from tests.link.peers import PATIENCE

from .conftest import Sshd, drain, free_port

NONCE = "m4rk3rN0nce1234"


def attempt(wanted: SshSettings, answers: tuple[str, ...] = ()) -> SshLoginError:
    """Try to log in; what `diagnose` makes of the failure."""
    argv = ssh_argv(wanted, command="true", tty=False, password=bool(answers))
    channel = ProcessChannel(argv, env=local_environment())
    try:
        for answer in answers:
            prompt = b""
            while not prompt.endswith(b": "):
                byte = read_exactly(channel.dialogue, 1)
                assert byte, f"no question after {prompt!r}"
                prompt += byte
            write_all(channel.dialogue, answer.encode() + b"\n")
        assert drain(channel) == b""
        text = drain(channel.stderr).decode()
        assert channel.wait(PATIENCE) == 255
    finally:
        channel.close()
    return diagnose(text, wanted)


@pytest.mark.parametrize("tty", [False, True])
def test_the_marker_is_the_first_thing_on_the_data_channel(sshd: Sshd, *, tty: bool) -> None:
    argv = ssh_argv(sshd.settings(), command="echo hello", tty=tty, nonce=NONCE)
    assert not any(NONCE in word for word in argv)
    channel = ProcessChannel(argv, env=local_environment())
    try:
        assert drain(channel) == NONCE.encode() + b"hello" + (b"\r\n" if tty else b"\n")
        assert NONCE.encode() not in drain(channel.stderr)
    finally:
        channel.close()


def test_no_marker_comes_when_the_login_fails(sshd: Sshd) -> None:
    wanted = sshd.settings(identity=sshd.folder / "other", options=("BatchMode=yes",))
    channel = ProcessChannel(ssh_argv(wanted, nonce=NONCE))
    try:
        assert drain(channel) == b""
        assert isinstance(diagnose(drain(channel.stderr).decode(), sshd.settings()), AuthenticationFailed)
    finally:
        channel.close()


def test_a_login_shell_that_runs_nothing_does_not_lose_the_marker(sshd: Sshd) -> None:
    env = local_environment({**os.environ, "SHELL": "/usr/sbin/nologin"})
    channel = ProcessChannel(ssh_argv(sshd.settings(), command="true", tty=False, nonce=NONCE), env=env)
    try:
        assert drain(channel) == NONCE.encode()
    finally:
        channel.close()


def test_a_bash_that_greets_does_not_stand_in_the_channel(sshd: Sshd, tmp_path: Path) -> None:
    (tmp_path / ".bashrc").write_text("echo welcome\n", encoding="utf-8")
    wanted = {**os.environ, "SHELL": "/bin/bash", "SHLVL": "0", "HOME": str(tmp_path)}
    channel = ProcessChannel(
        ssh_argv(sshd.settings(), command="true", tty=False, nonce=NONCE), env=local_environment(wanted)
    )
    try:
        assert drain(channel) == NONCE.encode()
    finally:
        channel.close()


def test_the_password_prompt_comes_in_the_dialogue_and_a_wrong_one_is_definite(sshd: Sshd) -> None:
    error = attempt(sshd.settings(identity=None, options=("PubkeyAuthentication=no",)), ("wrong password",))
    assert type(error) is AuthenticationFailed
    assert error.definite
    assert "password" in str(error)
    assert "user root" in str(error)


def test_the_passphrase_of_a_key_is_asked_for_in_the_dialogue(sshd: Sshd) -> None:
    argv = ssh_argv(sshd.settings(identity=sshd.folder / "locked"), command="echo in", tty=False, nonce=NONCE)
    channel = ProcessChannel(argv, env=local_environment())
    try:
        assert read_exactly(channel.dialogue, 7) == b"\rEnter "
        write_all(channel.dialogue, b"open sesame\n")
        assert drain(channel) == NONCE.encode() + b"in\n"
    finally:
        channel.close()


def test_an_unknown_host_key_ends_the_login_and_nothing_is_written(sshd: Sshd, tmp_path: Path) -> None:
    file = tmp_path / "my known hosts %h"
    error = attempt(sshd.settings(known_hosts=file))
    assert type(error) is HostKeyUnknown
    assert (error.key_type, error.port, error.definite) == ("ED25519", sshd.port, True)
    assert f"ssh-keyscan -p {sshd.port} 127.0.0.1 >> '{file}'" in str(error)
    assert not file.exists()


def test_a_changed_host_key_is_told_with_its_place(sshd: Sshd, tmp_path: Path) -> None:
    file = tmp_path / "known_hosts"
    other = " ".join((sshd.folder / "other.pub").read_text().split()[:2])
    file.write_text(f"# mine\n[127.0.0.1]:{sshd.port} {other}\n")
    for policy in ("verify", "accept-new"):
        error = attempt(sshd.settings(known_hosts=file, host_keys=policy))
        assert type(error) is HostKeyChanged
        assert error.location == f"{file}:2"
        assert error.fingerprint is not None
        assert error.fingerprint.startswith("SHA256:")
        assert f"ssh-keygen -f {file} -R '[127.0.0.1]:{sshd.port}'" in str(error)


def test_a_revoked_host_key_is_told(sshd: Sshd, tmp_path: Path) -> None:
    file = tmp_path / "known_hosts"
    file.write_text(f"{sshd.line()}@revoked * {sshd.host_key('ed25519')}\n")
    error = attempt(sshd.settings(known_hosts=file))
    assert type(error) is HostKeyChanged
    assert "revoked" in str(error)


def test_accept_new_writes_the_key_and_off_writes_nothing(sshd: Sshd, tmp_path: Path) -> None:
    for policy, written in (("off", False), ("accept-new", True)):
        file = tmp_path / "known_hosts"
        wanted = sshd.settings(known_hosts=file, host_keys=policy)
        channel = ProcessChannel(ssh_argv(wanted, command="echo in", tty=False), env=local_environment())
        try:
            assert drain(channel) == b"in\n"
        finally:
            channel.close()
        assert file.exists() == written
    assert sshd.host_key("ed25519") in file.read_text()


def test_nothing_listens(sshd: Sshd) -> None:
    error = attempt(sshd.settings(port=free_port()))
    assert type(error) is ConnectionRefused
    assert not error.definite


def test_a_name_without_address(sshd: Sshd) -> None:
    error = attempt(sshd.settings(host="no-such-host.invalid"))
    assert type(error) is NameNotResolved
    assert "no-such-host.invalid" in str(error)


@contextmanager
def server(answer: Callable[[socket.socket], None]) -> Iterator[int]:
    """A TCP server that treats one connection badly."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                answer(connection)

        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1]
        thread.join(20)


def test_a_host_that_closes_at_once(sshd: Sshd) -> None:
    with server(lambda connection: connection.close()) as port:
        error = attempt(sshd.settings(port=port))
    assert type(error) is ConnectionClosedByHost
    assert not error.definite


def test_a_host_that_says_nothing(sshd: Sshd) -> None:
    with server(drain_socket) as port:
        error = attempt(sshd.settings(port=port, connect_timeout=1))
    assert not error.definite
    assert "banner exchange" in str(error)


def drain_socket(connection: socket.socket) -> None:
    while connection.recv(4096):
        continue


def test_no_common_host_key_type(sshd: Sshd) -> None:
    error = attempt(sshd.settings(options=("HostKeyAlgorithms=ssh-dss",)))
    assert type(error) is NoCommonAlgorithm
    assert "ssh-ed25519" in str(error)


def test_an_option_that_does_not_exist_is_named(sshd: Sshd) -> None:
    assert "nosuchoption" in str(attempt(sshd.settings(options=("NoSuchOption=1",))))


def test_a_hop_is_gone_through_with_our_key_file_and_policy(sshd: Sshd) -> None:
    wanted = sshd.settings(jump=(f"root@127.0.0.1:{sshd.port}", f"root@localhost:{sshd.port}"))
    with_localhost = sshd.folder / "both names"
    with_localhost.write_text(sshd.known_hosts.read_text() + sshd.line().replace("127.0.0.1", "localhost"))
    wanted = sshd.settings(jump=wanted.jump, known_hosts=with_localhost)
    channel = ProcessChannel(ssh_argv(wanted, command="echo $SSH_CONNECTION", tty=False, nonce=NONCE))
    try:
        assert drain(channel).startswith(NONCE.encode() + b"127.0.0.1 ")
        assert b"Warning" not in drain(channel.stderr)
    finally:
        channel.close()


def test_an_unknown_key_of_a_hop_is_told_as_that_hops(sshd: Sshd) -> None:
    error = attempt(sshd.settings(jump=(f"localhost:{sshd.port}",)))
    assert type(error) is HostKeyUnknown
    assert (error.host, error.hop) == ("127.0.0.1", "localhost")


def test_a_refusal_behind_a_hop_is_the_targets(sshd: Sshd) -> None:
    error = attempt(sshd.settings(port=free_port(), jump=(f"127.0.0.1:{sshd.port}",)))
    assert type(error) is ConnectionRefused
    assert error.hop is None


@pytest.mark.parametrize("shell", ["sh", "bash", "dash", "zsh", "fish", "tcsh", "busybox ash"])
@pytest.mark.parametrize("travel", [True, False])
def test_a_nested_login_takes_our_host_keys_along(sshd: Sshd, shell: str, *, travel: bool) -> None:
    known = KnownHosts.load([sshd.known_hosts]) if travel else None
    wanted = sshd.settings(known_hosts=None if travel else sshd.known_hosts)
    line = nested_line(wanted, known, command="echo 'it'; readlink /proc/$$/fd/0", tty=False, nonce=NONCE)
    assert "\n" not in line
    assert NONCE not in line
    channel = ProcessChannel([*shell.split(), "-c", line])
    try:
        assert drain(channel).startswith(NONCE.encode() + b"it\n"), drain(channel.stderr)
        assert channel.wait(PATIENCE) == 0
    finally:
        channel.close()


def test_a_nested_login_refuses_what_we_do_not_know_and_leaves_no_file(sshd: Sshd, tmp_path: Path) -> None:
    line = nested_line(sshd.settings(), KnownHosts([]), command="echo in", tty=False)
    channel = ProcessChannel(["sh", "-c", line], env={**os.environ, "TMPDIR": str(tmp_path)})
    try:
        assert drain(channel) == b""
        assert isinstance(diagnose(drain(channel.stderr).decode(), sshd.settings()), HostKeyUnknown)
    finally:
        channel.close()
    assert list(tmp_path.iterdir()) == []


def test_a_nested_line_that_a_terminal_cannot_take_is_refused(sshd: Sshd) -> None:
    many = KnownHosts.load([sshd.known_hosts] * 1).entries
    entries = [entry.__class__("", f"[127.0.0.1]:{sshd.port}", type(entry.key)(f"x{n}", entry.key.blob), "f", n)
               for n in range(20) for entry in many]  # fmt: skip
    with pytest.raises(UsageError, match="too long"):
        nested_line(sshd.settings(), KnownHosts(entries))


@pytest.mark.parametrize("host", ["", "-oProxyCommand=x", "a b", "a;b", "$(x)", "a'b", "a\nb", "`x`"])
def test_a_host_name_that_could_be_more_is_refused(host: str) -> None:
    with pytest.raises(UsageError):
        SshSettings(host)
    with pytest.raises(UsageError):
        SshSettings("good", jump=(host,))


@pytest.mark.parametrize("changes", [{"user": "-x"}, {"port": 0}, {"port": 65536}, {"connect_timeout": 0},
                                     {"options": ("x",)}, {"host_keys": "no"}, {"jump": ("a:99999",)}])  # fmt: skip
def test_an_impossible_setting_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        SshSettings("host", **changes)  # type: ignore[arg-type]


def test_the_policy_comes_from_the_environment_when_it_is_not_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CRL_HOST_KEYS", "accept-new")
    assert SshSettings("host").policy == "accept-new"
    assert SshSettings("host", host_keys="off").policy == "off"
    monkeypatch.setenv("CRL_HOST_KEYS", "maybe")
    with pytest.raises(UsageError, match="CRL_HOST_KEYS"):
        SshSettings("host")
    monkeypatch.delenv("CRL_HOST_KEYS")
    assert SshSettings("host").policy == "verify"


def test_a_marker_must_be_plain() -> None:
    with pytest.raises(UsageError):
        ssh_argv(SshSettings("host"), nonce="a b; rm -rf")


def test_the_argument_list_ends_with_the_host_and_one_command() -> None:
    argv = ssh_argv(SshSettings("host", user="me"), command="echo 'a b'")
    assert argv[-3:] == ["--", "host", "echo 'a b'"]
    assert argv[argv.index("-l") + 1] == "me"


@settings(deadline=None)
@given(st.text(max_size=400))
def test_any_text_gives_a_login_error(text: str) -> None:
    error = diagnose(text, SshSettings("host", host_keys="verify"))
    assert isinstance(error, SshLoginError)
    assert error.host == "host"
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


FRAGMENTS = [
    *("Connection closed by ", "UNKNOWN", " port ", "65535", "Host key for ", " has changed and you have requested"),
    *(" strict checking.", "channel 0: open failed: ", "connect failed: ", "\r\n", "ssh: connect to host ", "a"),
    *("Permission denied (", ")", ": ", "Received disconnect from ", "No ED25519 host key is known for ", "[h]:9"),
]


@settings(deadline=None)
@given(st.lists(st.sampled_from(FRAGMENTS), max_size=30).map("".join))
def test_pieces_of_messages_give_a_login_error(text: str) -> None:
    hop = Stop("gw", "10.0.0.1", 22)
    error = diagnose(text, SshSettings("host", host_keys="verify"), (hop, Stop("host", "10.0.0.2", 22)))
    assert isinstance(error, SshLoginError)


def test_the_stops_name_the_hop_of_a_message_that_has_only_an_address() -> None:
    stops = (Stop("gw", "10.0.0.1", 22), Stop("host", "10.0.0.2", 22))
    text = "me@10.0.0.1: Permission denied (publickey).\r\nConnection closed by UNKNOWN port 65535\r\n"
    error = diagnose(text, SshSettings("host", host_keys="verify"), stops)
    assert (type(error), error.hop) == (AuthenticationFailed, "gw")


def test_an_idle_login_is_not_ready_to_read(sshd: Sshd) -> None:
    channel = ProcessChannel(ssh_argv(sshd.settings(), command="cat", tty=False, nonce=NONCE), env=local_environment())
    try:
        assert read_exactly(channel, len(NONCE)) == NONCE.encode()
        poll = select.poll()
        poll.register(channel.fileno(), select.POLLIN)
        assert not poll.poll(50)
    finally:
        channel.close()


@pytest.mark.parametrize(
    "text",
    [
        "ssh_dispatch_run_fatal: Connection to 10.0.0.2 port 22: Broken pipe",
        "ssh_dispatch_run_fatal: Connection to 10.0.0.2 port 22: message authentication code incorrect",
        "packet_write_wait: Connection to 10.0.0.2 port 22: Broken pipe",
        "banner exchange: Connection to 10.0.0.2 port 22: Broken pipe",
        "banner exchange: Connection to UNKNOWN port 65535: Broken pipe",
        "client_loop: send disconnect: Broken pipe",
        "Read from remote host 10.0.0.2: Connection reset by peer",
        "Connection to 10.0.0.2 closed by remote host.",
    ],
)
def test_a_login_that_broke_in_the_middle_may_be_tried_again(text: str) -> None:
    error = diagnose(f"Warning: something else\n{text}\n", SshSettings("host"))
    assert isinstance(error, ConnectionClosedByHost)
    assert not error.definite
    assert text.rpartition(": ")[2] in str(error)


def test_what_nobody_knows_may_be_tried_again() -> None:
    error = diagnose("mumble\n", SshSettings("host"))
    assert (type(error), error.definite) == (SshLoginError, False)
    assert "mumble" in str(error)
