"""Ways to log in by paramiko: certificates of a real authority, a real agent, and what the configuration allows."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import signal
import socket
import subprocess
import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from crl.channels.conformance import read_exactly, write_all
from crl.channels.ssh import (
    AuthenticationFailed,
    HostKeyChanged,
    HostKeyUnknown,
    SshConnection,
    SshLoginError,
    SshSettings,
    connect,
)
from crl.channels.ssh._certificates import Certificate, CertificateError
from tests.link.peers import PATIENCE, eventually

from .conftest import Sshd, drain, run, running_sshd


def keygen(*arguments: object) -> None:
    status, text = run("ssh-keygen", "-q", *map(str, arguments))
    assert status == 0, text


def output(connection: SshConnection, command: str) -> bytes:
    channel = connection.open_channel(command, pty=False)
    try:
        return drain(channel)
    finally:
        channel.close()


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a certificate authority, whose key is `ca`."""
    folder = tmp_path_factory.mktemp("authority")
    keygen("-t", "ed25519", "-N", "", "-f", folder / "ca")
    keygen("-t", "rsa", "-N", "", "-f", folder / "ca_rsa")
    return folder


@pytest.fixture(scope="module")
def certified(authority: Path) -> Iterator[Sshd]:
    """An sshd with a certificate for each of its keys, that trusts certificates of the authority for users."""
    with running_sshd(f"TrustedUserCAKeys {authority}/ca.pub\nAuthorizedKeysFile none\n", authority / "ca") as server:
        yield server


def with_authority(server: Sshd, path: Path, key: Path, pattern: str = "") -> Path:
    public = " ".join(key.with_suffix(".pub").read_text().split()[:2])
    path.write_text(f"@cert-authority {pattern or f'[127.0.0.1]:{server.port}'} {public}\n")
    return path


def user_certificate(authority: Path, folder: Path, *more: str) -> Path:
    keygen("-t", "ed25519", "-N", "", "-f", folder / "me")
    keygen("-s", authority / "ca", "-I", "me", "-n", "root", *more, folder / "me.pub")
    return folder / "me"


def failure(settings: SshSettings, **passwords: object) -> SshLoginError:
    with pytest.raises(SshLoginError) as caught:
        connect(settings, **passwords).close()  # type: ignore[arg-type]
    return caught.value


@pytest.mark.parametrize("pattern", ["", "127.0.0.1", "*"])
def test_both_sides_may_show_certificates(certified: Sshd, authority: Path, tmp_path: Path, pattern: str) -> None:
    known = with_authority(certified, tmp_path / "known", authority / "ca", pattern)
    wanted = certified.settings(identity=user_certificate(authority, tmp_path), known_hosts=known)
    with connect(wanted) as connection:
        assert output(connection, "echo in") == b"in\n"


def test_a_certificate_of_another_authority_is_refused(certified: Sshd, authority: Path, tmp_path: Path) -> None:
    known = with_authority(certified, tmp_path / "known", authority / "ca_rsa")
    error = failure(certified.settings(known_hosts=known))
    assert type(error) is HostKeyUnknown
    assert "an authority that is not known" in str(error)


def test_a_revoked_authority_is_refused(certified: Sshd, authority: Path, tmp_path: Path) -> None:
    known = with_authority(certified, tmp_path / "known", authority / "ca")
    known.write_text(known.read_text() + known.read_text().replace("@cert-authority", "@revoked"))
    error = failure(certified.settings(known_hosts=known))
    assert type(error) is HostKeyChanged
    assert "revoked" in str(error)


def test_an_expired_certificate_of_a_user_is_refused(certified: Sshd, authority: Path, tmp_path: Path) -> None:
    known = with_authority(certified, tmp_path / "known", authority / "ca")
    expired = user_certificate(authority, tmp_path, "-V", "20200101:20200102")
    assert type(failure(certified.settings(identity=expired, known_hosts=known))) is AuthenticationFailed


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (["-h", "-n", "other"], "not for good"),
        (["-h", "-n", "good", "-V", "20200101:20200102"], "not valid now"),
        (["-n", "good"], "for a user"),
        (["-h"], "no name at all"),
        (["-h", "-n", "x,g*"], ""),
    ],
)
@pytest.mark.parametrize("key", ["ca", "ca_rsa"])
def test_what_a_certificate_is_good_for(
    authority: Path, tmp_path: Path, key: str, options: list[str], why: str
) -> None:
    keygen("-t", "ecdsa", "-N", "", "-f", tmp_path / "host")
    keygen("-s", authority / key, "-I", "id", *options, tmp_path / "host.pub")
    blob = _blob(tmp_path / "host-cert.pub")
    certificate = Certificate.parse(blob)
    if why:
        with pytest.raises(CertificateError, match=why):
            certificate.check("good")
        return
    certificate.check("good")
    for position in range(0, len(blob), 7):
        damaged = bytearray(blob)
        damaged[position] ^= 1
        with pytest.raises(CertificateError):
            Certificate.parse(bytes(damaged)).check("good")


def _blob(path: Path) -> bytes:
    import base64

    return base64.b64decode(path.read_text().split()[1])


@hypothesis_settings(deadline=None)
@given(st.binary(max_size=300), st.booleans())
def test_any_bytes_are_a_certificate_or_refused(data: bytes, named: bool) -> None:
    name = b"ssh-ed25519-cert-v01@openssh.com"
    blob = len(name).to_bytes(4, "big") + name + data if named else data
    with pytest.raises(CertificateError):
        Certificate.parse(blob).check("host")


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Path]:
    """The socket of a real ssh-agent."""
    path = tmp_path / "agent"
    process = subprocess.Popen(["ssh-agent", "-D", "-a", str(path)], stdout=subprocess.DEVNULL)
    try:
        assert eventually(lambda: takes_connections(path)), "the agent does not come up"
        yield path
    finally:
        process.terminate()
        process.wait(PATIENCE)


def takes_connections(path: Path) -> bool:
    """Whether somebody listens at a socket: its name is there a moment before."""
    with socket.socket(socket.AF_UNIX) as one, contextlib.suppress(OSError):
        one.connect(str(path))
        return True
    return False


def add_to(agent: Path, *keys: Path) -> None:
    for key in keys:
        subprocess.run(
            ["ssh-add", "-q", str(key)], env={**os.environ, "SSH_AUTH_SOCK": str(agent)}, check=True, stdin=-3
        )


@pytest.mark.parametrize("by", ["environment", "option"])
def test_a_key_of_the_agent(sshd: Sshd, agent: Path, monkeypatch: pytest.MonkeyPatch, by: str) -> None:
    add_to(agent, sshd.folder / "other", sshd.folder / "id")
    options: tuple[str, ...] = ()
    if by == "environment":
        monkeypatch.setenv("SSH_AUTH_SOCK", str(agent))
    else:
        monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
        options = (f"IdentityAgent={agent}",)
    with connect(sshd.settings(identity=None, options=options)) as connection:
        assert output(connection, "echo in") == b"in\n"


def test_identities_only_keeps_other_keys_of_the_agent_back(
    sshd: Sshd, agent: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    add_to(agent, sshd.folder / "id")
    monkeypatch.setenv("SSH_AUTH_SOCK", str(agent))
    assert type(failure(sshd.settings(identity=sshd.folder / "other"))) is AuthenticationFailed
    # A public key in the place of a private one names the agent's key.
    (tmp_path / "named.pub").write_text((sshd.folder / "id.pub").read_text())
    connect(sshd.settings(identity=tmp_path / "named")).close()


def test_a_certificate_in_the_agent(
    certified: Sshd, authority: Path, agent: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    add_to(agent, user_certificate(authority, tmp_path))
    monkeypatch.setenv("SSH_AUTH_SOCK", str(agent))
    known = with_authority(certified, tmp_path / "known", authority / "ca")
    connect(certified.settings(identity=None, known_hosts=known)).close()


def test_several_identities_are_tried_in_order(sshd: Sshd) -> None:
    options = (f"IdentityFile={sshd.folder}/other", f"IdentityFile={sshd.folder}/id", "IdentitiesOnly=yes")
    connect(sshd.settings(identity=None, options=options)).close()


def test_a_method_that_the_configuration_does_not_allow_is_not_tried(sshd: Sshd) -> None:
    for option in ("PreferredAuthentications=password", "PubkeyAuthentication=no"):
        error = failure(sshd.settings(options=(option,)), password="not the password")
        assert type(error) is AuthenticationFailed
        assert "publickey, password" in str(error)


def test_algorithms_of_the_configuration_are_kept_to(sshd: Sshd) -> None:
    with connect(sshd.settings(options=("Ciphers=aes256-ctr", "MACs=hmac-sha2-512"))) as connection:
        transport = vars(connection.transport)
        assert (transport["remote_cipher"], transport["remote_mac"]) == ("aes256-ctr", "hmac-sha2-512")


@pytest.mark.parametrize("limit", ["256K", "default none"])
def test_keys_are_exchanged_anew_in_the_middle_of_a_transfer(limit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if limit != "256K":
        monkeypatch.setattr("paramiko.packet.Packetizer.REKEY_BYTES", 1 << 20)
        limit = "default none"
    data = os.urandom(8 << 20)
    with running_sshd(f"RekeyLimit {limit}\n") as server, connect(server.settings()) as connection:
        channel = connection.open_channel("cat", pty=False)
        back = bytearray()
        for start in range(0, len(data), 1 << 17):
            piece = data[start : start + (1 << 17)]
            write_all(channel, piece)
            back += read_exactly(channel, len(piece))
        channel.close()
        assert bytes(back) == data
        assert connection.alive


def test_a_host_that_is_silent_is_given_up(sshd: Sshd) -> None:
    with connect(sshd.settings()) as connection:
        channel = connection.open_channel("echo $PPID $$; exec sleep 100", pty=False)
        server, sleeper = map(int, (read_exactly(channel, 1) + _line(channel)).split())
        connection.transport.watch_over(0.5)  # type: ignore[attr-defined]
        os.kill(server, signal.SIGSTOP)
        try:
            assert drain(channel, 60) == b""
            assert not connection.alive
        finally:
            os.kill(server, signal.SIGCONT)
            channel.close()
            # Without a terminal nobody tells it of the end.
            os.kill(sleeper, signal.SIGKILL)


def _line(channel: object) -> bytes:
    text = b""
    while not text.endswith(b"\n"):
        byte = read_exactly(channel, 1)  # type: ignore[arg-type]
        assert byte, f"it ended after {text!r}"
        text += byte
    return text


def test_no_session_is_left(sshd: Sshd) -> None:
    from crl.channels import ChannelStartError

    with running_sshd("MaxSessions 1\n") as server, connect(server.settings()) as connection:
        first = connection.open_channel("cat", pty=False)
        with pytest.raises(ChannelStartError, match="MaxSessions"):
            connection.open_channel("true")
        first.close()


def test_a_hop_that_does_not_forward_says_so(sshd: Sshd, tmp_path: Path) -> None:
    with running_sshd("AllowTcpForwarding no\n") as hop:
        known = tmp_path / "known"
        known.write_text(hop.known_hosts.read_text() + sshd.known_hosts.read_text())
        key = str(hop.folder / "id")
        wanted = sshd.settings(jump=(f"root@127.0.0.1:{hop.port}",), known_hosts=known, identity=key)
        error = failure(wanted)
    assert "does not forward connections" in str(error)


CANARY = "c4nary-Passphrase"


def test_no_secret_is_seen_anywhere(sshd: Sshd, caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    keygen("-t", "ed25519", "-N", CANARY, "-f", tmp_path / "locked")
    key_text = "".join((tmp_path / "locked").read_text().split("\n")[1:-2])
    seen = []
    with caplog.at_level(logging.DEBUG):
        for changes, password in (({"identity": None}, CANARY + "1"), ({"identity": tmp_path / "locked"}, CANARY)):
            try:
                connect(sshd.settings(**changes), password).close()
            except SshLoginError as error:
                seen += [*traceback.format_exception(error), repr(error), str(error.__dict__)]
        with connect(sshd.settings(), CANARY) as connection:
            seen += [repr(connection), repr(connection.transport), Path("/proc/self/cmdline").read_text()]
    text = "\n".join(seen) + caplog.text
    assert re.search("publickey", text)
    assert CANARY not in text
    assert key_text[:40] not in text.replace("\n", "")
