"""Tunnels: exact bytes both ways, each direction with an end of its own, and nothing open after the end."""

from __future__ import annotations

import os
import socket
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from crl.errors import UsageError
from crl.link import Link, TunnelError
from tests.link.peers import Shell, eventually

Server = Callable[[socket.socket], None]


def echo(connection: socket.socket) -> None:
    while data := connection.recv(65536):
        connection.sendall(data)


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., object]]:
    listeners: list[socket.socket] = []
    threads: list[threading.Thread] = []

    def start(serving: Server = echo, kind: str = "tcp") -> object:
        listener = socket.socket(socket.AF_INET if kind == "tcp" else socket.AF_UNIX)
        address: object = {
            "tcp": ("127.0.0.1", 0),
            "path": str(tmp_path / "server.sock"),
            "abstract": f"\0crl-test-{os.getpid()}",
        }[kind]
        listener.bind(address)  # type: ignore[arg-type]
        listener.listen(64)
        listeners.append(listener)

        def one(connection: socket.socket) -> None:
            with connection:
                try:
                    serving(connection)
                except OSError:
                    return

        def accept() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                thread = threading.Thread(target=one, args=(connection,))
                threads.append(thread)
                thread.start()

        thread = threading.Thread(target=accept)
        threads.append(thread)
        thread.start()
        return listener.getsockname() if kind == "tcp" else address

    yield start
    for listener in listeners:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
    for thread in threads:
        thread.join(5)
        assert not thread.is_alive()


def receive_all(sock: socket.socket) -> bytes:
    sock.settimeout(20)
    return b"".join(iter(lambda: sock.recv(65536), b""))


@pytest.mark.parametrize("kind", ["tcp", "path", "abstract"])
def test_twenty_megabytes_come_back_exact(link: Link, serve: Callable[..., object], kind: str) -> None:
    data = os.urandom(20_000_000)
    with link.connect(serve(kind=kind)) as sock:  # type: ignore[arg-type]

        def feed() -> None:
            sock.sendall(data)
            sock.shutdown(socket.SHUT_WR)

        thread = threading.Thread(target=feed)
        thread.start()
        assert receive_all(sock) == data
        thread.join(5)


def test_either_direction_may_end_first(link: Link, serve: Callable[..., object]) -> None:
    def greet_and_listen(connection: socket.socket) -> None:
        connection.sendall(b"hello")
        connection.shutdown(socket.SHUT_WR)
        heard.append(receive_all(connection))

    heard: list[bytes] = []
    with link.connect(serve(greet_and_listen)) as sock:  # type: ignore[arg-type]
        assert receive_all(sock) == b"hello"
        sock.sendall(b"still here")
        sock.shutdown(socket.SHUT_WR)
        assert eventually(lambda: heard == [b"still here"])


def test_fifty_connections_at_once(link: Link, serve: Callable[..., object]) -> None:
    with link.forward(serve()) as tunnel:  # type: ignore[arg-type]
        assert tunnel.address[0] == "127.0.0.1"
        socks = [socket.create_connection(tunnel.address, 10) for _ in range(50)]  # type: ignore[arg-type]
        for number, sock in enumerate(socks):
            sock.sendall(b"%d" % number * 1000)
            sock.shutdown(socket.SHUT_WR)
        assert [receive_all(sock) for sock in socks] == [b"%d" % number * 1000 for number in range(50)]
        for sock in socks:
            sock.close()
    assert eventually(lambda: not link._inputs)
    assert link.engine.busy_streams == 0


def test_a_refused_connection_says_why(link: Link, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        address = gone.getsockname()
    with pytest.raises(TunnelError, match="refused"):
        link.connect(address)
    with pytest.raises(TunnelError, match="No such file"):
        link.connect(str(tmp_path / "nothing"))
    with pytest.raises(UsageError):
        link.connect("relative")
    with pytest.raises(UsageError, match="loopback"):
        link.forward(("127.0.0.1", 1), listen=("0.0.0.0", 0))
    assert link.engine.busy_streams == 0


def test_a_slow_local_reader_holds_the_target_back(link: Link, serve: Callable[..., object]) -> None:
    sent: list[int] = []

    def flood(connection: socket.socket) -> None:
        for _ in range(600):
            connection.sendall(bytes(100_000))
            sent.append(100_000)

    with link.connect(serve(flood)) as sock:  # type: ignore[arg-type]
        assert eventually(lambda: sent)
        previous = -1
        while previous != sum(sent):
            previous = sum(sent)
            link.invoke("__import__('time').sleep", 0.3)
        assert previous < 20_000_000
        assert len(receive_all(sock)) == 60_000_000


def test_a_reset_at_the_target_ends_the_local_side(link: Link, serve: Callable[..., object]) -> None:
    def slam(connection: socket.socket) -> None:
        connection.recv(1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")

    address = serve(slam)
    with link.forward(address) as tunnel, socket.create_connection(tunnel.address, 10) as sock:  # type: ignore[arg-type]
        sock.sendall(b"x")
        with pytest.raises(ConnectionResetError):
            receive_all(sock)


def test_a_unix_tunnel_is_for_its_user_only_and_is_removed(
    link: Link, serve: Callable[..., object], tmp_path: Path
) -> None:
    path = tmp_path / "tunnel.sock"
    with link.forward(serve(), listen=str(path)) as tunnel:  # type: ignore[arg-type]
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(str(tunnel.address))
            sock.sendall(b"x")
            sock.shutdown(socket.SHUT_WR)
            assert receive_all(sock) == b"x"
    assert not path.exists()


def test_a_closed_tunnel_listens_no_more_and_open_connections_go_on(link: Link, serve: Callable[..., object]) -> None:
    tunnel = link.forward(serve())  # type: ignore[arg-type]
    with socket.create_connection(tunnel.address, 10) as sock:  # type: ignore[arg-type]
        sock.sendall(b"a")
        assert sock.recv(1) == b"a"
        tunnel.close()
        tunnel.close()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(tunnel.address, 1)  # type: ignore[arg-type]
        sock.sendall(b"b")
        assert sock.recv(1) == b"b"


def test_a_lost_link_ends_connections_and_tunnels(
    make_shell: Callable[..., Shell], serve: Callable[..., object]
) -> None:
    shell = make_shell()
    link = Link.start(shell.lane(), timeout=20)
    address = serve()
    tunnel = link.forward(address)  # type: ignore[arg-type]
    with link.connect(address) as direct, socket.create_connection(tunnel.address, 10) as accepted:  # type: ignore[arg-type]
        accepted.sendall(b"x")
        assert accepted.recv(1) == b"x"
        os.kill(link.facts.pid, 9)
        direct.settimeout(5)
        accepted.settimeout(5)
        assert direct.recv(1) == b""
        with pytest.raises(ConnectionResetError):
            accepted.recv(1)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(tunnel.address, 1)  # type: ignore[arg-type]
    assert link.close()
