"""Tunnels from the server to this machine, over paramiko and over a target: each connection finds its own tunnel."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from crl.lab import Lab
from crl.x2go import X2GoParameterError, X2GoRevFwTunnelException
from crl.x2go.rforward import X2GoRevFwTunnel, x2go_rev_forward_channel_handler, x2go_transport_tcp_handler
from tests.x2go.conftest import wait_until
from tests.x2go.tunnelling import (
    Hooks,
    Left,
    connection_of,
    everything,
    listens_there,
    nobody_here,
    plain_transport,
    send_until_broken,
)

pytestmark = pytest.mark.lab

# Connects, sends a text and an end, and prints what comes back, so many times at once.
CALL = r"""
import socket, sys, threading
def one(text):
    with socket.create_connection(("127.0.0.1", int(sys.argv[1])), 10) as sock:
        sock.sendall(text.encode())
        sock.shutdown(socket.SHUT_WR)
        answer = b""
        while data := sock.recv(65536):
            answer += data
        print(answer.decode(), flush=True)
threads = [threading.Thread(target=one, args=(text,)) for text in sys.argv[2:]]
for thread in threads: thread.start()
for thread in threads: thread.join()
"""


class Answering:
    """Listens here; reads each connection to its end and answers with that and its own name."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._server.getsockname()[1])
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while True:
            try:
                sock = self._server.accept()[0]
            except OSError:
                return
            with sock:
                sock.settimeout(20)
                sock.sendall(everything(sock) + b" " + self.name.encode())

    def close(self) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        self._thread.join(10)
        self._server.close()


@pytest.fixture
def answering() -> Iterator[Answering]:
    one = Answering("one")
    yield one
    one.close()


@pytest.fixture(scope="module", params=["paramiko", "target"])
def connection(request: pytest.FixtureRequest, lab: Lab) -> Iterator[Any]:
    with connection_of(request.param, lab) as made:
        yield made


def call(lab: Lab, port: int, *texts: str) -> list[str]:
    done = lab.host("alpha").exec(["/usr/bin/python3", "-c", CALL, str(port), *texts], "zshuser", timeout=30)
    assert done.returncode == 0 or not texts, done.stderr.decode()
    return sorted(done.stdout.decode().splitlines())


def started(port: int, answering: Answering, connection: Any, **more: Any) -> X2GoRevFwTunnel:
    tunnel = X2GoRevFwTunnel(port, "127.0.0.1", answering.port, connection, **more)
    tunnel.start()
    wait_until(lambda: tunnel.server_port != 0 and tunnel._listening)
    return tunnel


def test_connections_come_out_here(connection: Any, lab: Lab, answering: Answering) -> None:
    left = Left()
    tunnel = started(0, answering, connection)
    texts = [f"call-{number}" for number in range(10)]
    assert call(lab, tunnel.server_port, *texts) == sorted(f"{text} one" for text in texts)
    wait_until(lambda: not tunnel.open_channels)
    assert not tunnel.open_channels
    assert listens_there(lab, tunnel.server_port)
    tunnel.stop_thread()
    tunnel.stop_thread()
    assert not listens_there(lab, tunnel.server_port)
    left.check()


def test_pause_and_resume(connection: Any, lab: Lab, answering: Answering) -> None:
    tunnel = started(0, answering, connection)
    port = tunnel.server_port
    for _ in range(2):
        tunnel.pause()
        assert not listens_there(lab, port)
        tunnel.resume()
        assert tunnel.server_port == port
        assert call(lab, port, "again") == ["again one"]
    tunnel.notify()
    tunnel.stop_thread()
    assert not listens_there(lab, port)


def test_a_pause_ends_what_is_open(connection: Any, lab: Lab) -> None:
    left = Left()
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(20)
        tunnel = X2GoRevFwTunnel(0, "localhost", server.getsockname()[1], connection)
        tunnel.start()
        wait_until(lambda: tunnel._listening)
        calling = threading.Thread(target=call, args=(lab, tunnel.server_port, "held"), daemon=True)
        calling.start()
        with server.accept()[0] as sock:
            sock.settimeout(20)
            assert sock.recv(4) == b"held"
            tunnel.pause()
            with pytest.raises(OSError):  # noqa: PT011 - a reset or a broken pipe
                send_until_broken(sock)
        tunnel.stop_thread()
        calling.join(20)
    left.check()


def test_each_port_its_tunnel(connection: Any, lab: Lab, answering: Answering) -> None:
    other = Answering("other")
    tunnels = [started(0, one, connection) for one in (answering, other)]
    try:
        both: list[list[str]] = []
        callers = [
            threading.Thread(
                target=lambda port=tunnel.server_port: both.append(call(lab, port, *"abcde"))
            )
            for tunnel in tunnels
        ]
        for caller in callers:
            caller.start()
        for caller in callers:
            caller.join(30)
        assert sorted(both) == [[f"{text} {name}" for text in "abcde"] for name in ("one", "other")]
        tunnels[0].stop_thread()
        assert call(lab, tunnels[1].server_port, "still") == ["still other"]
    finally:
        for tunnel in tunnels:
            tunnel.stop_thread()
        other.close()


def test_a_port_that_is_taken_there(connection: Any, lab: Lab, answering: Answering) -> None:
    hooks = Hooks()
    first = started(0, answering, connection)
    with plain_transport(lab) as another:
        second = X2GoRevFwTunnel(first.server_port, "127.0.0.1", answering.port, another, session_instance=hooks)
        second.start()
        wait_until(lambda: bool(hooks.calls))
        assert hooks.calls == [("reverse", {"server_port": first.server_port})]
        second.pause()
        with pytest.raises(X2GoRevFwTunnelException, match="does not listen"):
            second.resume()
        second.stop_thread()
    assert call(lab, first.server_port, "mine") == ["mine one"]
    first.stop_thread()


def test_nobody_here(connection: Any, lab: Lab, answering: Answering) -> None:
    left = Left()
    with nobody_here() as port:
        tunnel = X2GoRevFwTunnel(0, "127.0.0.1", port, connection)
        tunnel.start()
        wait_until(lambda: tunnel._listening)
        done = lab.host("alpha").exec(["/usr/bin/python3", "-c", CALL, str(tunnel.server_port), "x"], "zshuser")
        assert done.stdout in (b"", b"\n")
        tunnel.stop_thread()
    left.check()


def test_what_others_forward_over_the_same_transport_goes_on(lab: Lab, answering: Answering) -> None:
    with plain_transport(lab) as transport:
        came = threading.Event()

        def theirs(chan: Any, origin: Any, server: Any) -> None:
            came.set()
            chan.close()

        port = transport.request_port_forward("127.0.0.1", 0, theirs)
        tunnel = started(0, answering, transport)
        assert call(lab, tunnel.server_port, "ours") == ["ours one"]
        call(lab, port)
        lab.host("alpha").exec(["/usr/bin/python3", "-c", CALL, str(port), "theirs"], "zshuser")
        assert came.wait(10)
        tunnel.stop_thread()


def test_the_table_of_python_x2gos_sessions_counts_too(lab: Lab, answering: Answering) -> None:
    with plain_transport(lab) as transport:
        port = transport.request_port_forward("127.0.0.1", 0, x2go_transport_tcp_handler)
        tunnel = X2GoRevFwTunnel(0, "127.0.0.1", answering.port, transport)
        tunnel.start()
        wait_until(lambda: tunnel._listening)
        transport.reverse_tunnels = {"a session": {"snd": (port, tunnel)}}  # type: ignore[attr-defined]
        assert call(lab, port, "snd") == ["snd one"]
        tunnel.stop_thread()


def test_the_handler_alone(lab: Lab, answering: Answering) -> None:
    left = Left()
    with plain_transport(lab) as transport:
        serving: list[threading.Thread] = []

        def handle(chan: Any, origin: Any, server: Any) -> None:
            arguments = {"chan": chan, "addr": "127.0.0.1", "port": answering.port}
            serving.append(threading.Thread(target=x2go_rev_forward_channel_handler, kwargs=arguments))
            serving[-1].start()

        port = transport.request_port_forward("127.0.0.1", 0, handle)
        assert call(lab, port, "alone") == ["alone one"]
        for thread in serving:
            thread.join(10)
    left.check()


def test_what_makes_no_tunnels(answering: Answering) -> None:
    with pytest.raises(X2GoParameterError, match="makes no tunnels"):
        X2GoRevFwTunnel(0, "127.0.0.1", answering.port, object())
