"""Tunnels to the server, over paramiko and over a target: what comes out is what went in, and nothing stays.

Each test runs over both kinds of connection.
"""

from __future__ import annotations

import os
import select
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import paramiko
import pytest

from crl.errors import UsageError
from crl.lab import Lab
from crl.x2go import X2GoParameterError, forward
from crl.x2go.forward import X2GoFwServer, start_forward_tunnel, stop_forward_tunnel
from tests.x2go.conftest import wait_until
from tests.x2go.tunnelling import (
    COUNTING,
    PATIENT,
    Hooks,
    Left,
    connection_of,
    counted,
    everything,
    expected,
    plain_transport,
    program_there,
    send_until_broken,
)

pytestmark = pytest.mark.lab
MOST_UNREAD = 24 << 20


@pytest.fixture(scope="module", params=["paramiko", "target"])
def connection(request: pytest.FixtureRequest, lab: Lab) -> Iterator[Any]:
    """What tunnels are made over."""
    with connection_of(request.param, lab) as made:
        yield made


@pytest.fixture
def counting(lab: Lab) -> Iterator[int]:
    with program_there(lab, COUNTING) as (port, _):
        yield port


def tunnel_to(port: int, connection: Any, **more: Any) -> X2GoFwServer:
    return start_forward_tunnel(local_port=0, remote_port=port, ssh_transport=connection, **more)


def test_many_connections_each_with_halves(connection: Any, counting: int) -> None:
    left = Left()
    server = tunnel_to(counting, connection)
    assert (server.keepalive, server.failed, server.is_active) == (True, False, False)
    data = [os.urandom(1 + 20011 * number) for number in range(12)]
    answers: dict[int, str] = {}

    def one(number: int) -> None:
        with socket.create_connection(server.address, 20) as sock:
            sock.settimeout(30)
            answers[number] = counted(sock, data[number])

    threads = [threading.Thread(target=one, args=(number,)) for number in range(len(data))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert answers == {number: expected(text) for number, text in enumerate(data)}
    assert server.is_active
    assert not server.failed
    stop_forward_tunnel(server)
    assert server.keepalive is False
    left.check()


def test_who_does_not_read_slows_the_sender(connection: Any, lab: Lab) -> None:
    left = Left()
    with (
        program_there(lab, PATIENT) as (port, program),
        tunnel_to(port, connection) as server,
        socket.create_connection(server.address, 20) as sock,
    ):
        sock.settimeout(0.0)
        sent = 0
        while select.select([], [sock], [], 1.0)[1]:
            sent += sock.send(bytes(1 << 20))
            assert sent < MOST_UNREAD
        assert program.stdin is not None
        program.stdin.write(b"\n")
        program.stdin.flush()
        sock.settimeout(60)
        sock.sendall(bytes(1 << 20))
        sock.shutdown(socket.SHUT_WR)
        assert int(everything(sock)) == sent + (1 << 20)
    left.check()


def test_nobody_there(connection: Any, monkeypatch: pytest.MonkeyPatch, lab: Lab) -> None:
    monkeypatch.setattr(forward, "ATTEMPTS", 2)
    hooks = Hooks()
    with program_there(lab, COUNTING) as (port, _):
        pass
    with tunnel_to(port, connection, session_instance=hooks, subsystem="NX Proxy") as server:
        with socket.create_connection(server.address, 20) as sock:
            sock.settimeout(20)
            assert everything(sock) == b""
        wait_until(lambda: bool(hooks.calls))
        assert hooks.calls == [
            ("forward", {"chain_host": "127.0.0.1", "chain_port": port, "subsystem": "NX Proxy"})
        ]
        assert server.failed
        assert not server.is_active


def test_who_listens_late_is_reached(connection: Any, lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = threading.Event()

    class Watched:
        """Opens nothing before the first attempt was made."""

        def __init__(self, ends: Any) -> None:
            self._ends = ends

        def connect(self, *arguments: Any) -> Any:
            try:
                return self._ends.connect(*arguments)
            finally:
                asked.set()

    with program_there(lab, COUNTING) as (port, _):
        pass
    late = COUNTING.replace('("127.0.0.1", 0)', f'("127.0.0.1", {port})')
    with tunnel_to(port, connection) as server:
        server._ends = Watched(server._ends)  # type: ignore[assignment]
        with socket.create_connection(server.address, 20) as sock:
            sock.settimeout(20)
            assert asked.wait(20)
            with program_there(lab, late):
                assert counted(sock, b"late") == expected(b"late")


def test_stopping_in_the_middle_leaves_nothing(connection: Any, counting: int, tmp_path: Path) -> None:
    left = Left()
    path = str(tmp_path / "door")
    server = X2GoFwServer(path, "127.0.0.1", counting, connection)
    server.start()
    assert os.stat(path).st_mode & 0o777 == 0o600
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(path)
        sock.sendall(b"something")
        wait_until(lambda: server.is_active)
        assert server.is_active
        assert server.chan is not None
        server.stop()
        sock.settimeout(10)
        with pytest.raises(OSError):  # noqa: PT011 - a reset or a broken pipe
            send_until_broken(sock)
    assert not os.path.exists(path)
    server.stop()
    left.check()


def test_stopping_while_a_connection_begins(
    connection: Any, counting: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = Left()
    begins, really = threading.Event(), threading.Thread.start

    def late(thread: threading.Thread) -> None:
        if thread.name == "crl-x2go-tunnel":
            begins.set()
            time.sleep(0.3)  # what a busy machine does
        really(thread)

    monkeypatch.setattr(threading.Thread, "start", late)
    server = tunnel_to(counting, connection)
    with socket.create_connection(server.address, 20):
        assert begins.wait(20)
        server.stop()
    left.check()


def test_breaking_one_connection_is_not_an_end(connection: Any, counting: int) -> None:
    with tunnel_to(counting, connection) as server:
        with socket.create_connection(server.address, 20) as sock:
            sock.settimeout(20)
            sock.sendall(b"x")
            wait_until(lambda: server.chan is not None)
            server.close_channel()
            with pytest.raises(ConnectionResetError):
                everything(sock)
        with socket.create_connection(server.address, 20) as sock:
            sock.settimeout(20)
            assert counted(sock, b"next") == expected(b"next")


def test_a_lost_connection_is_a_failure_for_who_waits(lab: Lab, counting: int) -> None:
    left = Left()
    with plain_transport(lab) as transport, tunnel_to(counting, transport) as server:
        with socket.create_connection(server.address, 20) as sock:
            sock.settimeout(20)
            sock.sendall(b"x")
            wait_until(lambda: server.chan is not None)
            transport.close()
            with pytest.raises(ConnectionResetError):
                everything(sock)
        with socket.create_connection(server.address, 20) as sock:
            sock.settimeout(20)
            assert everything(sock) == b""
        wait_until(lambda: server.failed)
        assert server.failed
    left.check()


def test_a_port_that_is_taken(connection: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        server = start_forward_tunnel(local_port=taken.getsockname()[1], ssh_transport=connection)
    assert server.failed
    assert not server.started
    stop_forward_tunnel(server)
    stop_forward_tunnel(None)


def test_only_loopback(connection: Any) -> None:
    with pytest.raises(UsageError, match="loopback"):
        X2GoFwServer(("0.0.0.0", 0), "127.0.0.1", 1, connection)
    with pytest.raises(X2GoParameterError, match="makes no tunnels"):
        X2GoFwServer(("127.0.0.1", 0), "127.0.0.1", 1, object())


def test_a_subclass_may_serve_connections_itself(connection: Any) -> None:
    class Own(X2GoFwServer):
        def x2go_forward_tunnel_handle(self, fw_socket: socket.socket, address: Any) -> None:
            fw_socket.sendall(b"mine")

    class Failing(X2GoFwServer):
        def x2go_forward_tunnel_handle(self, fw_socket: socket.socket, address: Any) -> None:
            raise ValueError("what happens here stays here")

    for kind, answer in ((Own, b"mine"), (Failing, b"")):
        with kind(("127.0.0.1", 0), "127.0.0.1", 1, connection) as server:
            for _ in range(2):
                with socket.create_connection(server.address, 20) as sock:
                    sock.settimeout(20)
                    assert everything(sock) == answer


def test_a_client_of_paramikos_does_too(lab: Lab, counting: int) -> None:
    with plain_transport(lab) as transport:
        client = paramiko.SSHClient()
        client._transport = transport  # type: ignore[attr-defined]
        with tunnel_to(counting, client) as server, socket.create_connection(server.address, 20) as sock:
            sock.settimeout(20)
            assert counted(sock, b"client") == expected(b"client")
