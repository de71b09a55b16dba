"""Both backends give an error of the same class, place and firmness for each reason why a login can fail."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from crl.channels import ProcessChannel
from crl.channels.conformance import read_exactly, write_all
from crl.channels.ssh import (
    AuthenticationFailed,
    ConnectionClosedByHost,
    ConnectionRefused,
    HostKeyChanged,
    HostKeyUnknown,
    HostUnreachable,
    NameNotResolved,
    NoCommonAlgorithm,
    SshLoginError,
    SshSettings,
    connect,
    diagnose,
    local_environment,
    resolve,
    ssh_argv,
)

from .conftest import Sshd, drain, free_port, run, running_sshd

NO_NAME = f"no-such-host.{'x' * 64}"


@dataclass(frozen=True)
class Case:
    """A login that fails, and what the error has to be."""

    settings: SshSettings
    kind: type[SshLoginError]
    words: str
    password: str | None = None
    hop: str | None = None


@pytest.fixture(scope="module")
def closed_hop() -> Iterator[Sshd]:
    with running_sshd("AllowTcpForwarding no\n") as server:
        yield server


@pytest.fixture(scope="module")
def silent() -> Iterator[int]:
    """A port that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


@pytest.fixture(scope="module")
def dying() -> Iterator[Sshd]:
    """One that dies when it is to say what it thinks of a key."""
    command = "AuthorizedKeysCommand /bin/sh -c 'kill -9 $PPID'\nAuthorizedKeysCommandUser root\n"
    with running_sshd(command + "AuthorizedKeysFile none\n") as server:
        yield server


@pytest.fixture(scope="module")
def few_tries() -> Iterator[Sshd]:
    """One that has enough of a user after one key that it does not know."""
    with running_sshd("MaxAuthTries 1\n") as server:
        for name in ("third", "fourth"):
            run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(server.folder / name))
        yield server


def _known(sshd: Sshd, path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def case(name: str, sshd: Sshd, hop: Sshd, silent: int, path: Path) -> Case:
    """One of the cases by name."""
    other = " ".join((sshd.folder / "other.pub").read_text().split()[:2])
    here = f"[127.0.0.1]:{sshd.port}"
    both = sshd.known_hosts.read_text() + hop.known_hosts.read_text()
    through = f"root@127.0.0.1:{sshd.port}"
    cases: dict[str, Callable[[], Case]] = {
        "name": lambda: Case(sshd.settings(host="no-such-host.invalid"), NameNotResolved, "no-such-host.invalid"),
        # Nobody is asked for it: it can be no name.
        "no name": lambda: Case(sshd.settings(host=NO_NAME), NameNotResolved, "Name or service not known"),
        "refused": lambda: Case(sshd.settings(port=free_port()), ConnectionRefused, "nothing listens"),
        "silent": lambda: Case(sshd.settings(port=silent, connect_timeout=1), HostUnreachable, "was not reached"),
        "unknown": lambda: Case(sshd.settings(known_hosts=_known(sshd, path, "")), HostKeyUnknown, here),
        "changed": lambda: Case(
            sshd.settings(known_hosts=_known(sshd, path, f"{here} {other}\n")), HostKeyChanged, f"{path}:1"
        ),
        "revoked": lambda: Case(
            sshd.settings(known_hosts=_known(sshd, path, f"{sshd.line()}@revoked * {sshd.host_key('ed25519')}\n")),
            HostKeyChanged,
            "revoked",
        ),
        "password": lambda: Case(sshd.settings(identity=None), AuthenticationFailed, "password", "wrong-password"),
        "key": lambda: Case(
            sshd.settings(identity=sshd.folder / "other", options=("BatchMode=yes",)), AuthenticationFailed, "publickey"
        ),
        "methods": lambda: Case(
            sshd.settings(options=("PreferredAuthentications=hostbased",)), AuthenticationFailed, "publickey"
        ),
        "ciphers": lambda: Case(sshd.settings(options=("Ciphers=3des-cbc",)), NoCommonAlgorithm, "cipher"),
        "behind": lambda: Case(
            sshd.settings(port=free_port(), jump=(through,)), ConnectionRefused, "nothing listens"
        ),
        "forwarding": lambda: Case(
            sshd.settings(
                jump=(f"root@127.0.0.1:{hop.port}",),
                known_hosts=_known(sshd, path, both),
                options=(f"IdentityFile={hop.folder}/id",),
            ),
            SshLoginError,
            "does not forward connections",
        ),
        "hop": lambda: Case(
            sshd.settings(jump=(f"root@localhost:{sshd.port}",)), HostKeyUnknown, "localhost", hop="localhost"
        ),
        "proxy": lambda: Case(
            sshd.settings(options=("ProxyCommand=echo gone >&2; exit 3",)), ConnectionClosedByHost, "ended"
        ),
    }
    return cases[name]()


CASES = ["name", "no name", "refused", "silent", "unknown", "changed", "revoked", "password", "key", "methods"]
CASES += ["ciphers", "behind", "forwarding", "hop", "proxy"]


def by_paramiko(wanted: SshSettings, password: str | None) -> SshLoginError:
    with pytest.raises(SshLoginError) as caught:
        connect(wanted, password).close()
    return caught.value


def by_openssh(wanted: SshSettings, password: str | None) -> SshLoginError:
    channel = ProcessChannel(
        ssh_argv(wanted, command="true", tty=False, password=password is not None), env=local_environment()
    )
    try:
        if password is not None:
            prompt = b""
            while not prompt.endswith(b": "):
                byte = read_exactly(channel.dialogue, 1)
                assert byte, f"no question after {prompt!r}"
                prompt += byte
            write_all(channel.dialogue, password.encode() + b"\n")
        assert drain(channel) == b""
        text = drain(channel.stderr).decode()
    finally:
        channel.close()
    return diagnose(text, wanted, resolve(wanted).stops)


@pytest.mark.parametrize("backend", [by_paramiko, by_openssh], ids=["paramiko", "openssh"])
def test_a_host_that_goes_away_has_not_refused_the_user(
    dying: Sshd, backend: Callable[[SshSettings, str | None], SshLoginError]
) -> None:
    error = backend(dying.settings(options=("PreferredAuthentications=publickey",)), None)
    assert type(error) is ConnectionClosedByHost, error
    assert not error.definite


@pytest.mark.parametrize("backend", [by_paramiko, by_openssh], ids=["paramiko", "openssh"])
def test_too_many_keys_are_a_refusal(
    few_tries: Sshd, backend: Callable[[SshSettings, str | None], SshLoginError]
) -> None:
    keys = tuple(f"IdentityFile={few_tries.folder}/{name}" for name in ("other", "third", "fourth"))
    error = backend(few_tries.settings(identity=None, options=(*keys, "IdentitiesOnly=yes", "BatchMode=yes")), None)
    assert type(error) is AuthenticationFailed, error


@pytest.mark.parametrize("backend", [by_paramiko, by_openssh], ids=["paramiko", "openssh"])
@pytest.mark.parametrize("name", CASES)
def test_each_reason_has_its_error(
    sshd: Sshd,
    closed_hop: Sshd,
    silent: int,
    tmp_path: Path,
    name: str,
    backend: Callable[[SshSettings, str | None], SshLoginError],
) -> None:
    wanted = case(name, sshd, closed_hop, silent, tmp_path / "known")
    error = backend(wanted.settings, wanted.password)
    assert type(error) is wanted.kind, error
    assert (error.host, error.hop) == (wanted.settings.host, wanted.hop)
    # A name server that does not answer says nothing for good.
    assert error.definite == (wanted.kind.definite and "Temporary failure" not in str(error))
    assert wanted.words in str(error)
    assert error.advice or wanted.kind is SshLoginError
    assert "wrong-password" not in str(error) + repr(error.__dict__)
