"""Folders behind SSH: who gets in, what they get, and what is left; by our own client and by OpenSSH's on a server."""

from __future__ import annotations

import os
import struct
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import paramiko
import pytest

from crl.lab import Lab
from crl.x2go import X2GoParameterError
from crl.x2go._sftpserve import MOST_CONNECTIONS, new_key
from crl.x2go._sftpwire import Kind, Status
from crl.x2go.defaults import CURRENT_LOCAL_USER
from crl.x2go.sftpserver import X2GoRevFwTunnelToSFTP, x2go_rev_forward_sftpchannel_handler
from crl.x2go.x2go_exceptions import X2GoUserException
from tests.x2go.conftest import wait_until
from tests.x2go.sftpraw import CREATE, USER, WRITE, RawSftp, Served, text
from tests.x2go.tunnelling import Left, connection_of, listens_there


@pytest.fixture
def served() -> Iterator[Served]:
    left = Left()
    one = Served()
    yield one
    one.close()
    left.check()


@pytest.fixture
def two(tmp_path: Path) -> list[Path]:
    """Two folders, each with a file that names it."""
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        folder.mkdir()
        (folder / "file").write_text(folder.name)
    return folders


def test_each_key_opens_its_folder(served: Served, two: list[Path]) -> None:
    first, second = (served.share(folder) for folder in two)
    with served.client(first) as one, served.client(second) as other:
        assert (one.read(b"file"), other.read(b"file")) == (b"one", b"two")
        assert one.read(str(two[1] / "file").encode()) is None
        assert first.in_use == second.in_use == 1


def test_the_cipher_is_one_that_needs_no_other_check(served: Served, two: list[Path]) -> None:
    with served.client(served.share(two[0])) as client:
        transport = client.channel.get_transport()
        assert transport._preferred_ciphers[0].endswith("ctr"), "what a client would have had"
        assert transport.local_cipher == transport.remote_cipher == "aes128-gcm@openssh.com"


def test_who_has_no_key_gets_nothing(served: Served, two: list[Path]) -> None:
    export = served.share(two[0])
    with served.transport() as transport:
        for login in (
            lambda: transport.auth_none(USER),
            lambda: transport.auth_password(USER, "password", fallback=False),
            lambda: transport.auth_publickey(USER, new_key()[0]),
            lambda: transport.auth_publickey("root", export.key),
        ):
            with pytest.raises(paramiko.AuthenticationException):
                login()  # type: ignore[no-untyped-call]
        with pytest.raises(paramiko.SSHException):
            transport.open_session(timeout=5)


def test_a_key_that_is_only_shown_opens_nothing(served: Served, two: list[Path]) -> None:
    """A client that has proved its own key shows another share's public key."""
    first, second = (served.share(folder) for folder in two)
    with served.transport() as transport:
        transport.auth_publickey(USER, first.key)
        shown = paramiko.Message()
        shown.add_byte(bytes([50]))  # a request to log in, without a signature
        for word in (USER, "ssh-connection", "publickey"):
            shown.add_string(word)
        shown.add_boolean(False)  # noqa: FBT003 - paramiko's
        shown.add_string(second.key.get_name())
        shown.add_string(second.key.asbytes())
        transport._send_message(shown)  # type: ignore[attr-defined]
        channel = transport.open_session(timeout=20)
        channel.invoke_subsystem("sftp")
        assert RawSftp(channel).read(b"file") == b"one"


def test_nothing_but_files_is_to_be_had(served: Served, two: list[Path]) -> None:
    export = served.share(two[0])
    with served.transport() as transport:
        transport.auth_publickey(USER, export.key)
        with pytest.raises(paramiko.ChannelException):
            transport.open_channel("direct-tcpip", ("127.0.0.1", 22), ("127.0.0.1", 1), timeout=20)
        with pytest.raises(paramiko.SSHException):
            transport.request_port_forward("127.0.0.1", 0)
        channel = transport.open_session(timeout=20)
        for ask in (
            lambda: channel.exec_command("id"),
            channel.invoke_shell,
            channel.get_pty,
            lambda: channel.invoke_subsystem("shell"),
            lambda: channel.set_environment_variable("LD_PRELOAD", "x"),
        ):
            with pytest.raises(paramiko.SSHException):
                ask()  # type: ignore[no-untyped-call]
            if channel.closed:
                break
        with pytest.raises(paramiko.ChannelException):
            transport.open_session(timeout=20)


def test_taking_back_ends_what_is_open(served: Served, two: list[Path]) -> None:
    export = served.share(two[0])
    with served.client(export) as client:
        opened = client.open(b"file", WRITE | CREATE)
        assert opened.status == Status.OK
        served.exports.remove(export)
        with pytest.raises((EOFError, OSError)):
            read_for_ever(client)
    with served.transport() as transport, pytest.raises(paramiko.AuthenticationException):
        transport.auth_publickey(USER, export.key)


def read_for_ever(client: RawSftp) -> None:
    while True:
        client.read(b"file")


def test_garbage_ends_the_connection_and_nothing_else(served: Served, two: list[Path]) -> None:
    export = served.share(two[0])
    with served.client(export) as good:
        with served.client(export) as bad:
            bad.send_packet(b"")
            assert bad.channel.recv(1) == b""
        with served.socket() as sock:
            sock.sendall(b"GET / HTTP/1.1\r\n\r\n" * 100)
        assert good.read(b"file") == b"one"
    assert any("no SFTP" in said for said in served.said)


@pytest.mark.parametrize("how", ["little room", "new keys"])
def test_many_questions_at_once_are_answered_in_order(
    served: Served, two: list[Path], monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """Also when the answers have to wait: for room, or until both sides have changed their keys in the middle."""
    if how == "new keys":
        monkeypatch.setattr("paramiko.packet.Packetizer.REKEY_BYTES", 1 << 20)
    piece, count = 30_000, 300
    data = os.urandom(count * piece)
    (two[0] / "file").write_bytes(data)
    export = served.share(two[0])
    with served.transport() as transport:
        transport.auth_publickey(USER, export.key)
        channel = transport.open_session(window_size=2 * piece if how == "little room" else None, timeout=20)
        channel.invoke_subsystem("sftp")
        client = RawSftp(channel)
        for _ in range(2):
            handle = text(client.open(b"file").first)
            for number in range(count):
                place = struct.pack(">QI", number * piece, piece)
                client.send_packet(bytes([Kind.READ]) + struct.pack(">I", number) + handle + place)
            for number in range(count):
                answer = client.packet()
                assert answer[:5] == bytes([Kind.DATA]) + struct.pack(">I", number)
                assert answer[9:] == data[number * piece : (number + 1) * piece]
            assert client.ask(Kind.CLOSE, handle).status == Status.OK
        assert client.read(b"file") == data[:4096]


def test_weak_keys_and_missing_folders_are_refused(two: list[Path]) -> None:
    class Transport:
        def reverse(self) -> None: ...

    weak: list[Any] = [paramiko.RSAKey.generate(2048), paramiko.ECDSAKey.generate(), "a key", object()]
    for key in weak:
        with pytest.raises(X2GoParameterError, match="guards no shared folder"):
            X2GoRevFwTunnelToSFTP(0, Transport(), key)
        with pytest.raises(X2GoParameterError, match="guards no shared folder"):
            x2go_rev_forward_sftpchannel_handler(None, key, folder=two[0])
    tunnel = X2GoRevFwTunnelToSFTP(0, Transport(), paramiko.RSAKey.generate(3072), folder=two[0])
    with pytest.raises(X2GoUserException, match="No such file"):
        tunnel.share(two[0] / "missing")
    first = tunnel.exports.all()[0]
    with pytest.raises(X2GoParameterError, match="another folder"):
        tunnel.share(two[1], key=first.key)
    assert tunnel.share(two[1]).key != first.key
    assert first.key is tunnel.auth_key
    tunnel.exports.close()


# On a server.

READ = r"""
umask 077; d=$(mktemp -d) && cd "$d" && cat > key && echo "[127.0.0.1]:$1 $2" > known
printf 'ls -l\nget file\nput key sent\nget ../file outside\nbye\n' > batch
timeout 20 sftp -P "$1" -i key -o UserKnownHostsFile=known -o IdentitiesOnly=yes -b - "$3@127.0.0.1:" < batch
echo "status $?"; cat file; echo; ls; rm -rf "$d"
"""


@pytest.fixture(scope="module", params=["paramiko", "target"])
def connection(request: pytest.FixtureRequest, lab: Lab) -> Iterator[Any]:
    with connection_of(request.param, lab) as made:
        yield made


@pytest.mark.lab
def test_sftp_of_openssh_over_a_tunnel(connection: Any, lab: Lab, two: list[Path]) -> None:
    left = Left()
    key, secret = new_key()
    tunnel = X2GoRevFwTunnelToSFTP(0, connection, key, folder=two[0])
    tunnel.start()
    wait_until(lambda: tunnel.ready)
    identity = f"{tunnel.host_key.get_name()} {tunnel.host_key.get_base64()}"
    command = ["sh", "-c", READ, "sh", str(tunnel.server_port), identity, CURRENT_LOCAL_USER]
    done = lab.host("alpha").exec(command, "zshuser", input=secret.value.encode(), timeout=60)
    told = done.stdout.decode() + done.stderr.decode()
    assert "status 1" in told, told  # the last one but one is refused, and ends the batch
    assert "one" in done.stdout.decode().splitlines()
    assert "outside" not in done.stdout.decode().split("status")[1]
    assert (two[0] / "sent").read_text() == secret.value
    port = tunnel.server_port
    tunnel.pause()
    assert not listens_there(lab, port)
    tunnel.resume()
    assert listens_there(lab, port)
    tunnel.stop_thread()
    tunnel.stop_thread()
    assert not listens_there(lab, port)
    left.check()


@pytest.mark.lab
def test_connections_are_bounded(connection: Any, lab: Lab, two: list[Path]) -> None:
    tunnel = X2GoRevFwTunnelToSFTP(0, connection, folder=two[0])
    tunnel.listen()
    tunnel.start()
    held = lab.host("alpha").exec(
        ["/usr/bin/python3", "-c", HOLD, str(tunnel.server_port), str(MOST_CONNECTIONS + 8)], "zshuser", timeout=60
    )
    assert held.stdout.decode().strip() == str(MOST_CONNECTIONS), held.stderr.decode()
    wait_until(lambda: not tunnel.open_channels)
    tunnel.stop_thread()
    assert not [one for one in threading.enumerate() if one.name.startswith("crl-x2go-sftp")]


HOLD = r"""
import socket, sys
held = [socket.create_connection(("127.0.0.1", int(sys.argv[1])), 20) for _ in range(int(sys.argv[2]))]
def greeted(sock):
    sock.settimeout(20)
    try:
        return sock.recv(4) == b"SSH-"
    except OSError:
        return False
print(sum(map(greeted, held)))
"""
