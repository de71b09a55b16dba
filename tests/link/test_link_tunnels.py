"""Tunnels: exact bytes both ways, each direction with an end of its own, and nothing open after the end."""

from __future__ import annotations

import http.client
import http.server
import os
import random
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from crl.errors import UsageError
from crl.link import Link, TunnelError
from tests.link.peers import INTERPRETERS, Shell, eventually

Server = Callable[[socket.socket], None]
Serve = Callable[..., Any]


def echo(connection: socket.socket) -> None:
    while data := connection.recv(65536):
        connection.sendall(data)


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    listeners: list[socket.socket] = []
    threads: list[threading.Thread] = []

    def start(serving: Server = echo, kind: str = "tcp") -> Any:
        listener = socket.socket(socket.AF_INET if kind == "tcp" else socket.AF_UNIX)
        address: Any = {
            "tcp": ("127.0.0.1", 0),
            "path": str(tmp_path / "server.sock"),
            "abstract": f"\0crl-test-{os.getpid()}",
        }[kind]
        listener.bind(address)
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
        thread.join(60)
        assert not thread.is_alive()


@pytest.fixture
def refusing() -> Iterator[tuple[str, int]]:
    """An address that refuses connections: it is taken, so that nobody else can listen there meanwhile."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()


def receive_all(sock: socket.socket) -> bytes:
    sock.settimeout(20)
    return b"".join(iter(lambda: sock.recv(65536), b""))


@pytest.mark.parametrize("kind", ["tcp", "path", "abstract"])
def test_twenty_megabytes_come_back_exact(link: Link, serve: Serve, kind: str, over: str) -> None:
    # Lines that eat bytes are a program of Python each, and no test of speed.
    data = os.urandom(20_000_000 if over in ("here", "openssh", "paramiko") else 1_000_000)
    with link.connect(serve(kind=kind)) as sock:

        def feed() -> None:
            sock.sendall(data)
            sock.shutdown(socket.SHUT_WR)

        thread = threading.Thread(target=feed)
        thread.start()
        assert receive_all(sock) == data
        thread.join(60)


@pytest.mark.every_way
def test_either_direction_may_end_first(link: Link, serve: Serve) -> None:
    def greet_and_listen(connection: socket.socket) -> None:
        connection.sendall(b"hello")
        connection.shutdown(socket.SHUT_WR)
        heard.append(receive_all(connection))

    heard: list[bytes] = []
    # On a slow line, its part of the program alone takes longer than most want to wait.
    with link.connect(serve(greet_and_listen), timeout=60) as sock:
        assert receive_all(sock) == b"hello"
        sock.sendall(b"still here")
        sock.shutdown(socket.SHUT_WR)
        assert eventually(lambda: heard == [b"still here"])


def test_fifty_connections_at_once(link: Link, serve: Serve) -> None:
    with link.forward(serve()) as tunnel:
        assert tunnel.address[0] == "127.0.0.1"
        socks = [socket.create_connection(tunnel.address, 10) for _ in range(50)]
        for number, sock in enumerate(socks):
            sock.sendall(b"%d" % number * 1000)
            sock.shutdown(socket.SHUT_WR)
        assert [receive_all(sock) for sock in socks] == [b"%d" % number * 1000 for number in range(50)]
        for sock in socks:
            sock.close()
    assert eventually(lambda: not link._inputs)
    assert eventually(lambda: link.engine.busy_streams == 0)


def test_a_refused_connection_says_why(link: Link, refusing: tuple[str, int], tmp_path: Path) -> None:
    with pytest.raises(TunnelError, match="refused"):
        link.connect(refusing)
    with pytest.raises(TunnelError, match="No such file"):
        link.connect(str(tmp_path / "nothing"))
    with pytest.raises(UsageError):
        link.connect("relative")
    with pytest.raises(UsageError, match="loopback"):
        link.forward(("127.0.0.1", 1), listen=("0.0.0.0", 0))
    assert eventually(lambda: link.engine.busy_streams == 0)


@pytest.mark.here_only("it carries sixty megabytes")
def test_a_slow_local_reader_holds_the_target_back(link: Link, serve: Serve) -> None:
    sent: list[int] = []

    def flood(connection: socket.socket) -> None:
        for _ in range(600):
            connection.sendall(bytes(100_000))
            sent.append(100_000)

    with link.connect(serve(flood)) as sock:
        assert eventually(lambda: sent)
        previous = -1
        while previous != sum(sent):
            previous = sum(sent)
            link.invoke("__import__('time').sleep", 0.3)
        assert previous < 20_000_000
        assert len(receive_all(sock)) == 60_000_000


def test_a_reset_at_the_target_ends_the_local_side(link: Link, serve: Serve) -> None:
    def slam(connection: socket.socket) -> None:
        connection.recv(1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")

    address = serve(slam)
    with link.forward(address) as tunnel, socket.create_connection(tunnel.address, 10) as sock:
        sock.sendall(b"x")
        with pytest.raises(ConnectionResetError):
            receive_all(sock)


def test_a_unix_tunnel_is_for_its_user_only_and_is_removed(link: Link, serve: Serve, tmp_path: Path) -> None:
    path = tmp_path / "tunnel.sock"
    with link.forward(serve(), listen=str(path)) as tunnel:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(str(tunnel.address))
            sock.sendall(b"x")
            sock.shutdown(socket.SHUT_WR)
            assert receive_all(sock) == b"x"
    assert not path.exists()


def test_a_closed_tunnel_listens_no_more_and_open_connections_go_on(link: Link, serve: Serve) -> None:
    tunnel = link.forward(serve())
    with socket.create_connection(tunnel.address, 10) as sock:
        sock.sendall(b"a")
        assert sock.recv(1) == b"a"
        tunnel.close()
        tunnel.close()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(tunnel.address, 1)
        sock.sendall(b"b")
        assert sock.recv(1) == b"b"


def test_a_lost_link_ends_connections_and_tunnels(make_shell: Callable[..., Shell], serve: Serve) -> None:
    shell = make_shell()
    link = Link.start(shell.lane(), timeout=60)
    address = serve()
    tunnel = link.forward(address)
    with link.connect(address) as direct, socket.create_connection(tunnel.address, 10) as accepted:
        accepted.sendall(b"x")
        assert accepted.recv(1) == b"x"
        os.kill(link.facts.pid, 9)
        direct.settimeout(20)
        accepted.settimeout(20)
        assert direct.recv(1) == b""
        with pytest.raises(ConnectionResetError):
            accepted.recv(1)
        # Not necessarily before its connections.
        assert eventually(lambda: _refuses(tunnel.address))
    assert link.close(20)


def _refuses(address: tuple[str, int]) -> bool:
    with socket.socket() as sock:
        sock.settimeout(20)
        return sock.connect_ex(address) != 0


def feed(sock: socket.socket, data: bytes) -> None:
    """Send all of it and end."""
    sock.sendall(data)
    sock.shutdown(socket.SHUT_WR)


def reach(address: Any) -> socket.socket:
    """A connection to where a tunnel listens."""
    sock = socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET)
    try:
        sock.settimeout(20)
        sock.connect(address)
    except BaseException:
        sock.close()
        raise
    return sock


@pytest.mark.parametrize("python", INTERPRETERS, ids=lambda path: path.split("/")[-3])
@pytest.mark.parametrize("kind", ["tcp", "path", "abstract"])
def test_a_target_listens_for_us(
    make_link: Callable[..., Link], serve: Serve, tmp_path: Path, python: str, kind: str
) -> None:
    link = make_link(python=python)
    there: Any = {"tcp": ("127.0.0.1", 0), "path": str(tmp_path / "there"), "abstract": f"\0there-{os.getpid()}"}[kind]
    address = serve(kind=kind)
    with link.reverse(there, address) as tunnel:
        if kind == "path":
            assert stat.S_IMODE((tmp_path / "there").stat().st_mode) == 0o600
        data = os.urandom(3_000_000)
        socks = [reach(tunnel.address) for _ in range(20)]
        for number, sock in enumerate(socks[1:]):
            sock.sendall(b"%d" % number * 1000)
            sock.shutdown(socket.SHUT_WR)
        feeder = threading.Thread(target=feed, args=(socks[0], data))
        feeder.start()
        assert receive_all(socks[0]) == data
        feeder.join(60)
        assert [receive_all(sock) for sock in socks[1:]] == [b"%d" % number * 1000 for number in range(19)]
        for sock in socks:
            sock.close()
        assert eventually(lambda: tunnel.connections == 0)
    with pytest.raises(OSError, match=r"refused|No such"):
        reach(tunnel.address)
    assert not (tmp_path / "there").exists()
    assert eventually(lambda: not link._inputs)
    assert eventually(lambda: link.engine.busy_streams == 0)


def test_what_a_target_listens_at_is_checked(link: Link, serve: Serve, tmp_path: Path) -> None:
    address = serve()
    with pytest.raises(UsageError, match="loopback"):
        link.reverse(("0.0.0.0", 0), address)
    with pytest.raises(UsageError, match="address"):
        link.reverse("relative", address)
    with pytest.raises(UsageError, match="none"):
        link.reverse(("127.0.0.1", 0), address, limit=0)
    with pytest.raises(TunnelError, match="cannot listen"):
        link.reverse(str(tmp_path / "no" / "folder"), address)
    with pytest.raises(UsageError, match="unknown"):
        link.reverse(("127.0.0.1", 0), ("no.such.host.invalid", 1))
    with link.reverse(("", 0), address, public=True) as open_to_all, reach(open_to_all.address) as sock:
        sock.sendall(b"x")
        assert sock.recv(1) == b"x"
        assert open_to_all.address[0] == "0.0.0.0"
    assert eventually(lambda: link.engine.busy_streams == 0)


def test_a_server_here_that_is_gone_resets_what_the_target_accepted(
    link: Link, refusing: tuple[str, int], caplog: pytest.LogCaptureFixture
) -> None:
    with link.reverse(("127.0.0.1", 0), refusing) as tunnel:
        with reach(tunnel.address) as sock, pytest.raises(ConnectionResetError):
            sock.recv(1)
        assert eventually(lambda: "cannot connect here: Connection refused" in caplog.text)
        assert eventually(lambda: tunnel.connections == 0)


def test_a_refusal_at_the_target_resets_what_was_accepted_here(
    link: Link, refusing: tuple[str, int], caplog: pytest.LogCaptureFixture
) -> None:
    with link.forward(refusing) as tunnel:
        with reach(tunnel.address) as sock, pytest.raises(ConnectionResetError):
            sock.recv(1)
        assert eventually(lambda: "the target cannot connect" in caplog.text)
        assert eventually(lambda: "refused" in caplog.text)
    assert eventually(lambda: link.engine.busy_streams == 0)


@pytest.mark.parametrize("way", ["forward", "reverse"])
def test_no_more_connections_than_the_limit_are_open_at_once(link: Link, serve: Serve, way: str) -> None:
    address = serve()
    here = ("127.0.0.1", 0)
    tunnel = link.forward(address, limit=3) if way == "forward" else link.reverse(here, address, limit=3)
    with tunnel:
        socks = [reach(tunnel.address) for _ in range(5)]
        for sock in socks:
            sock.sendall(b"x")
        assert [sock.recv(1) for sock in socks[:3]] == [b"x"] * 3
        assert tunnel.connections == 3
        socks[3].settimeout(0.3)
        with pytest.raises(TimeoutError):
            socks[3].recv(1)
        for sock in socks[:2]:
            sock.close()
        socks[3].settimeout(20)
        assert [sock.recv(1) for sock in socks[3:]] == [b"x"] * 2
        assert tunnel.connections == 3
        assert "3 connections" in repr(tunnel)
        for sock in socks[2:]:
            sock.close()
        assert eventually(lambda: tunnel.connections == 0)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody else")
@pytest.mark.parametrize("way", ["forward", "reverse"])
def test_another_user_is_not_let_in(link: Link, serve: Serve, way: str) -> None:
    address = serve()
    name = f"\0crl-private-{os.getpid()}-{way}"
    ask = (
        "import os, socket, sys; os.setuid(65534); s = socket.socket(socket.AF_UNIX); s.settimeout(20);"
        "s.connect(sys.argv[1]); s.send(b'x'); print(s.recv(1))"
    )

    def stranger() -> str:
        argv = [sys.executable, "-c", ask.replace("sys.argv[1]", repr(name))]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        return done.stdout.strip() or done.stderr.splitlines()[-1]

    with link.forward(address, name) if way == "forward" else link.reverse(name, address):
        assert "x" not in stranger().replace("ConnectionResetError", "").replace("BrokenPipe", "")
    with link.forward(address, name, public=True) if way == "forward" else link.reverse(name, address, public=True):
        assert stranger() == "b'x'"


def test_bytes_go_ahead_of_the_answer(link: Link, serve: Serve) -> None:
    """A connection costs no round trip of its own: its first bytes follow the question for it."""
    address = serve()
    with link.forward(address) as tunnel:
        with reach(tunnel.address) as sock:
            sock.sendall(b"warm")
            assert sock.recv(4) == b"warm"
        link.evaluate("import threading\ngate = threading.Event()")
        before = link.statistics.requests
        with reach(tunnel.address) as sock:
            # The target is busy; nothing of it is waited for here.
            busy = link.submit_evaluate("gate.wait(60)")
            sock.sendall(b"first")
            assert sock.recv(5) == b"first"
            assert not busy.done
            assert link.statistics.requests == before + 2
            link.evaluate("gate.set()")
            assert busy.result(60) is True


@pytest.mark.parametrize("way", ["forward", "reverse"])
@pytest.mark.parametrize("seconds", [2.5, pytest.param(60.0, marks=pytest.mark.long)])
def test_requests_on_kept_connections_all_come_back(link: Link, way: str, seconds: float, over: str) -> None:
    """HTTP with keep-alive, eight clients at once: each answer is the one to its question, none is missing."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # The answer's head and body are two writes, which Nagle's algorithm would hold apart.
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            answer = body[::-1]
            self.send_response(200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_args: object) -> None:
            return

    # How many there are in that time depends on the machine and on what the lane carries.
    least = 10 if over == "here" else 1

    def client(number: int) -> None:
        randomness = random.Random(number)
        connection = http.client.HTTPConnection(tunnel.address[0], tunnel.address[1], timeout=20)
        asked = 0
        until = time.monotonic() + seconds
        while time.monotonic() < until or asked < least:
            question = randomness.randbytes(randomness.choice([1, 100, 10_000, 200_000]))
            connection.request("POST", "/", question)
            assert connection.getresponse().read() == question[::-1]
            asked += 1
        connection.close()

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = False
        serving = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        serving.start()
        try:
            host, port = server.server_address[:2]
            address = (str(host), port)
            here = ("127.0.0.1", 0)
            with link.forward(address) if way == "forward" else link.reverse(here, address) as tunnel:
                with ThreadPoolExecutor(8) as pool:
                    list(pool.map(client, range(8)))
                assert eventually(lambda: tunnel.connections == 0)
        finally:
            server.shutdown()
            serving.join(60)


def test_tunnels_say_what_they_are(link: Link, serve: Serve) -> None:
    address = serve()
    with link.forward(address) as tunnel, link.reverse(("127.0.0.1", 0), address) as back:
        way = f"{tunnel.address!r} here to {address!r} of localhost"
        assert repr(tunnel) == f"<Forward {way}: listening, 0 connections>"
        assert repr(back) == f"<Reverse {back.address!r} of localhost to {address!r} here: listening, 0 connections>"
        port: int = tunnel.address[1]
        assert port > 0
    assert "closed" in repr(back)


def test_a_lost_link_ends_what_the_target_accepted(make_shell: Callable[..., Shell], serve: Serve) -> None:
    link = Link.start(make_shell().lane(), timeout=60)
    address = serve()
    tunnel = link.reverse(("127.0.0.1", 0), address)
    with reach(tunnel.address) as sock:
        sock.sendall(b"x")
        assert sock.recv(1) == b"x"
        os.kill(link.facts.pid, 9)
        # The kernel closed the target's end.
        with suppress(ConnectionResetError):
            assert sock.recv(1) == b""
    assert link.close(20)
    assert "closed" in repr(tunnel)
