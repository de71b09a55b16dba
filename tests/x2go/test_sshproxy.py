"""A hop before the server, as python-x2go's class, on real hosts: who is let in, whose key is believed, what stays."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import paramiko
import pytest

from crl.lab import Lab
from crl.x2go import (
    X2GoParameterError,
    X2GoSSHProxyAuthenticationException,
    X2GoSSHProxyException,
    X2GoSSHProxyHostKeyException,
    X2GoSSHProxyPasswordRequiredException,
)
from crl.x2go.cleanup import x2go_cleanup
from crl.x2go.sshproxy import X2GoSSHProxy, X2goSSHProxy, _place
from tests.x2go.tunnelling import Left, nobody_here

pytestmark = pytest.mark.lab


class Asked:
    """A session whose hook says what it is told to."""

    def __init__(self, *, answer: bool) -> None:
        self.answer = answer
        self.questions: list[tuple[Any, ...]] = []

    def HOOK_check_host_dialog(self, *question: Any, **more: Any) -> bool:
        self.questions.append((*question, *more.values()))
        return self.answer


@pytest.fixture
def gateway(lab: Lab) -> dict[str, Any]:
    """What leads to the gateway, in the arguments for a hop."""
    host = lab.host("gateway")
    return {
        "sshproxy_host": f"{host.address}:{host.port}",
        "sshproxy_user": host.users["both"].login,
        "sshproxy_key_filename": str(lab.key("both")),
        "known_hosts": lab.known_hosts,
    }


@contextlib.contextmanager
def connected(**arguments: Any) -> Iterator[X2GoSSHProxy]:
    left = Left()
    proxy = X2GoSSHProxy(**arguments)
    try:
        yield proxy
    finally:
        proxy.stop_thread()
    left.check()


def banner(host: str, port: int) -> bytes:
    with socket.create_connection((host, port), 10) as sock:
        sock.settimeout(10)
        return sock.recv(4)


def test_a_tunnel_through_the_hop(gateway: dict[str, Any], lab: Lab) -> None:
    beta = lab.host("beta")
    with (
        nobody_here() as taken,
        connected(**gateway, sshproxy_tunnel=f"localhost:{taken}:{beta.address}:{beta.port}") as proxy,
    ):
        assert (proxy.get_remote_host(), proxy.get_remote_port()) == (beta.address, beta.port)
        proxy.start()
        assert proxy.get_local_proxy_host() == "127.0.0.1"
        assert proxy.get_local_proxy_port() not in (0, taken)
        assert banner("127.0.0.1", proxy.get_local_proxy_port()) == b"SSH-"
        assert proxy.check_host()
        x2go_cleanup(threads=[proxy])
        assert not proxy.is_alive()


def test_the_connection_is_there_without_a_thread(gateway: dict[str, Any], lab: Lab) -> None:
    beta = lab.host("beta")
    with connected(**gateway) as proxy:
        transport = proxy.get_transport()
        assert transport is not None
        channel = transport.open_channel("direct-tcpip", (beta.address, beta.port), ("127.0.0.1", 0), timeout=10)
        assert channel.recv(4) == b"SSH-"
        channel.close()
    with pytest.raises(X2GoSSHProxyException, match="has ended"):
        proxy.start()


def test_passwords(gateway: dict[str, Any], lab: Lab) -> None:
    user = lab.host("gateway").users["both"]
    assert user.password is not None
    for password in (user.password, user.password.value):
        with connected(**{**gateway, "sshproxy_key_filename": None}, sshproxy_password=password) as proxy:
            assert user.password.value not in repr(vars(proxy))
    left = Left()
    with pytest.raises(X2GoSSHProxyAuthenticationException) as error:
        X2GoSSHProxy(**gateway, sshproxy_password="not his", sshproxy_force_password_auth=True)
    assert "not his" not in str(error.value)
    with pytest.raises(X2GoSSHProxyAuthenticationException):
        X2GoSSHProxy(**{**gateway, "sshproxy_key_filename": None})
    left.check()


def test_a_locked_key(gateway: dict[str, Any], lab: Lab, tmp_path: Path) -> None:
    locked = tmp_path / "locked"
    with locked.open("wb") as stream:
        from cryptography.hazmat.primitives import serialization as form

        key = form.load_ssh_private_key(lab.key("both").read_bytes(), None)
        sealed = form.BestAvailableEncryption(b"open sesame")
        stream.write(key.private_bytes(form.Encoding.PEM, form.PrivateFormat.OpenSSH, sealed))
    arguments = {**gateway, "sshproxy_key_filename": str(locked)}
    with pytest.raises(X2GoSSHProxyPasswordRequiredException):
        X2GoSSHProxy(**arguments)
    with connected(**arguments, sshproxy_passphrase="open sesame") as proxy:
        assert proxy.check_host()


def test_unknown_host_keys(gateway: dict[str, Any], tmp_path: Path) -> None:
    known = tmp_path / "known"
    unknown = {**gateway, "known_hosts": known}
    left = Left()
    with pytest.raises(X2GoSSHProxyHostKeyException, match="is not known"):
        X2GoSSHProxy(**unknown)
    refusing = Asked(answer=False)
    with pytest.raises(X2GoSSHProxyHostKeyException):
        X2GoSSHProxy(**unknown, session_instance=refusing)
    assert len(refusing.questions) == 1
    assert not known.exists()
    left.check()
    with connected(**unknown, session_instance=Asked(answer=True)) as proxy:
        assert proxy.check_host()
    assert len(known.read_text().splitlines()) == 1
    with connected(**unknown) as proxy:  # it is known now
        assert proxy.check_host()
    known.unlink()
    with connected(**unknown, add_to_known_hosts=True):
        assert known.read_text().startswith("|1|")


def test_a_changed_host_key_is_never_taken(gateway: dict[str, Any], lab: Lab, tmp_path: Path) -> None:
    host = lab.host("gateway")
    other = paramiko.ECDSAKey.generate()
    kinds = [line.split()[1:3] for line in lab.known_hosts.read_text().splitlines() if host.address in line]
    assert kinds
    yes = Asked(answer=True)
    known = tmp_path / "known"
    name = host.address if host.port == 22 else f"[{host.address}]:{host.port}"
    for line in (
        f"{name} {other.get_name()} {other.get_base64()}\n",
        "".join(f"@revoked {name} {kind} {key}\n" for kind, key in kinds),
    ):
        known.write_text(line)
        with pytest.raises(paramiko.BadHostKeyException):
            X2GoSSHProxy(**{**gateway, "known_hosts": known}, add_to_known_hosts=True, session_instance=yes)
        assert known.read_text() == line


def test_who_cannot_be_reached(gateway: dict[str, Any]) -> None:
    with nobody_here() as port, pytest.raises(X2GoSSHProxyException, match="no connection to"):
        X2GoSSHProxy(**{**gateway, "sshproxy_host": f"localhost:{port}"})


def test_names_of_hosts() -> None:
    assert _place("hop:2222", 22) == ("hop", 2222)
    assert _place("hop", 2200) == ("hop", 2200)
    assert _place("fe80::1", 22) == ("fe80::1", 22)
    assert _place("[fe80::1]:24", 22) == ("fe80::1", 24)
    assert _place(["localhost"], 22) == ("127.0.0.1", 22)
    nothings: tuple[Any, ...] = (None, "", [])
    for nothing in nothings:
        with pytest.raises(X2GoParameterError):
            _place(nothing, 22)
    with pytest.raises(X2GoParameterError, match="no tunnel"):
        X2GoSSHProxy(hostname="hop", sshproxy_tunnel="nonsense")
    assert X2goSSHProxy is X2GoSSHProxy
