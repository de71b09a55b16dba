"""Host keys through paramiko, against real sshds.

Invariant: nothing of an unknown host is believed but what the session's hook, or who chose the policy, said yes to.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import paramiko
import pytest

from crl.channels.ssh.known_hosts import HostKey, KnownHosts, Standing
from crl.lab import Lab
from crl.x2go.checkhosts import (
    X2GoAutoAddPolicy,
    X2GoInteractiveAddPolicy,
    X2GoMissingHostKeyPolicy,
    check_ssh_host_key,
)
from crl.x2go.x2go_exceptions import X2GoHostKeyException, X2GoSSHProxyHostKeyException

pytestmark = pytest.mark.lab


class Session:
    """A session whose hook answers as told and remembers what it was asked."""

    def __init__(self, answer: object) -> None:
        self.answer = answer
        self.asked: list[tuple[Any, ...]] = []

    def HOOK_check_host_dialog(self, host: str, port: int, fingerprint: str, fingerprint_type: str) -> object:
        self.asked.append((host, port, fingerprint, fingerprint_type))
        return self.answer


@pytest.fixture
def client(tmp_path: Path) -> Iterator[paramiko.SSHClient]:
    path = tmp_path / "known_hosts"
    path.write_text("# mine\n@revoked odd AAAA")
    client = paramiko.SSHClient()
    client._host_keys_filename = str(path)  # type: ignore[attr-defined]  # as load_host_keys does, which fails at a marker
    yield client
    client.close()


@pytest.fixture
def address(lab: Lab) -> str:
    return lab.host("alpha").address


def connect(client: paramiko.SSHClient, lab: Lab, address: str) -> None:
    user = lab.host("alpha").user("both")
    password = user.password.value if user.password is not None else None
    client.connect(
        address, username=user.login, password=password, look_for_keys=False, allow_agent=False, timeout=30
    )
    assert client.get_transport() is not None


def remembered(client: paramiko.SSHClient) -> str:
    return Path(client._host_keys_filename).read_text()  # type: ignore[attr-defined]


def test_auto_add_keeps_the_key_and_the_file(client: paramiko.SSHClient, lab: Lab, address: str) -> None:
    client.set_missing_host_key_policy(X2GoAutoAddPolicy())
    connect(client, lab, address)
    transport = client.get_transport()
    assert transport is not None
    key = transport.get_remote_server_key()
    assert remembered(client).startswith("# mine\n@revoked odd AAAA\n|1|")
    file = client._host_keys_filename  # type: ignore[attr-defined]
    known = KnownHosts.load([file])
    assert known.check(address, 22, HostKey(key.get_name(), key.asbytes())).standing is Standing.KNOWN
    client.close()
    client.set_missing_host_key_policy(X2GoInteractiveAddPolicy())
    connect(client, lab, address)  # now it is known


@pytest.mark.parametrize("answer", [False, None, "yes", 1])
def test_a_hook_that_does_not_say_true_refuses(
    client: paramiko.SSHClient, lab: Lab, address: str, answer: object
) -> None:
    session = Session(answer)
    before = remembered(client)
    client.set_missing_host_key_policy(X2GoInteractiveAddPolicy(session_instance=session))
    with pytest.raises(X2GoHostKeyException, match="is not known") as error:
        connect(client, lab, address)
    assert "SHA256:" in str(error.value)
    assert f"known_hosts: {address} " in (error.value.advice or "")
    assert len(session.asked) == 1
    assert remembered(client) == before


def test_a_hook_that_says_true_is_asked_once(client: paramiko.SSHClient, lab: Lab, address: str) -> None:
    session = Session(True)  # noqa: FBT003 - the answer
    policy = X2GoInteractiveAddPolicy(session_instance=session)
    client.set_missing_host_key_policy(policy)
    connect(client, lab, address)
    client.close()
    connect(client, lab, address)
    key = policy.get_key()
    assert key is not None
    digits = hashlib.md5(key.asbytes(), usedforsecurity=False).hexdigest()
    assert policy.get_key_fingerprint() == digits
    colons = ":".join(digits[at : at + 2] for at in range(0, 32, 2))
    assert session.asked == [(address, 22, colons, key.get_name().upper())]
    assert policy.get_client() is client
    assert (policy.get_hostname_name(), policy.get_hostname_port()) == (address, 22)


def test_without_a_session_nobody_says_yes(client: paramiko.SSHClient, lab: Lab, address: str) -> None:
    class Hop:
        host_key_failure = X2GoSSHProxyHostKeyException

    client.set_missing_host_key_policy(X2GoInteractiveAddPolicy(caller=Hop()))
    with pytest.raises(X2GoSSHProxyHostKeyException):
        connect(client, lab, address)


def test_another_name_and_an_alias(client: paramiko.SSHClient, lab: Lab, address: str) -> None:
    class Control:
        unique_hostkey_aliases = True
        profile_id = "20261121"

    client.set_missing_host_key_policy(X2GoAutoAddPolicy(fake_hostname="[inner]:2222"))
    connect(client, lab, address)
    client.close()
    assert client.get_host_keys().lookup("[inner]:2222") is not None
    client.set_missing_host_key_policy(X2GoInteractiveAddPolicy(fake_hostname="[inner]:2222"))
    connect(client, lab, address)
    client.close()
    client.set_missing_host_key_policy(X2GoAutoAddPolicy(caller=Control()))
    connect(client, lab, address)
    assert client.get_host_keys().lookup("20261121") is not None
    assert client.get_host_keys().lookup(address) is None


def test_asking_for_a_key(client: paramiko.SSHClient, lab: Lab, address: str) -> None:
    other = lab.host("gateway").address
    policy = X2GoAutoAddPolicy()
    client.set_missing_host_key_policy(policy)
    with pytest.raises(paramiko.AuthenticationException):
        client.connect(other, username="nobody", password="none", look_for_keys=False, allow_agent=False, timeout=30)
    of_other = policy.get_key()
    assert of_other is not None
    known, host, port, fingerprint, kind = check_ssh_host_key(client, address)
    assert (known, host, port) == (False, address, 22)
    assert len(fingerprint) == 47
    assert kind.startswith(("SSH-", "ECDSA-"))
    client.set_missing_host_key_policy(X2GoAutoAddPolicy())
    connect(client, lab, address)
    assert check_ssh_host_key(client, address)[0] is True
    client.get_host_keys().clear()
    client.get_host_keys().add(address, kind.lower(), of_other)
    with pytest.raises(paramiko.BadHostKeyException):
        check_ssh_host_key(client, address)


def test_a_host_without_a_key_says_why(client: paramiko.SSHClient, address: str) -> None:
    with pytest.raises(X2GoHostKeyException, match="port 1 showed no host key") as error:
        check_ssh_host_key(client, address, port=1)
    assert error.value.host == address


@pytest.mark.parametrize(
    ("hostname", "parts"),
    [
        ("alpha", ("alpha", 22)),
        ("[alpha]:2222", ("alpha", 2222)),
        ("alpha:2222", ("alpha", 2222)),
        ("2001:db8::1", ("2001:db8::1", 22)),
        ("[2001:db8::1]:2222", ("2001:db8::1", 2222)),
    ],
)
def test_host_and_port(hostname: str, parts: tuple[str, int]) -> None:
    policy = X2GoMissingHostKeyPolicy()
    policy._take(paramiko.SSHClient(), hostname, paramiko.ECDSAKey.generate())
    assert (policy.get_hostname_name(), policy.get_hostname_port()) == parts
    assert policy.get_hostname() == hostname
