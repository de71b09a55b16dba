"""Session brokers of a few lines that answer whatever a test wants, and the profiles of the real one in the lab."""

from __future__ import annotations

import contextlib
import datetime
import http.server
import ipaddress
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from crl.lab import Lab

Fields = dict[str, str]


@dataclass
class Said:
    """What a broker says to one question; `body` may be an iterator that takes its time."""

    body: bytes | Iterator[bytes] = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=lambda: {"Content-Type": "text/json; charset=utf-8"})


@dataclass
class Peer:
    """A broker that runs.

    Attributes:
        url: Where, in JSON's form.
        asked: The fields of each question.
    """

    url: str
    asked: list[Fields] = field(default_factory=list)

    @property
    def plain_url(self) -> str:
        return self.url.replace("/json/", "/plain/")


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = False
    block_on_close = True
    speaks: Callable[[Fields], Said]
    peer: Peer

    def __init__(self) -> None:
        self.connections: list[socket.socket] = []
        super().__init__(("127.0.0.1", 0), _Handler)

    def get_request(self) -> tuple[socket.socket, Any]:
        found = super().get_request()
        self.connections.append(found[0])
        return found

    def hang_up(self) -> None:
        """End connections that clients keep for further questions."""
        for one in self.connections:
            with contextlib.suppress(OSError):  # it has ended
                socket.socket.shutdown(one, socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that has gone is what some tests are about."""


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_POST(self) -> None:
        length = int(self.headers["Content-Length"])
        text = self.rfile.read(length).decode("ascii")
        fields = {name: values[0] for name, values in parse_qs(text).items()}
        self.server.peer.asked.append(fields)
        said = self.server.speaks(fields)
        self.send_response(said.status)
        for name, value in said.headers.items():
            self.send_header(name, value)
        if isinstance(said.body, bytes):
            self.send_header("Content-Length", str(len(said.body)))
            self.end_headers()
            self.wfile.write(said.body)
            return
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        for part in said.body:
            self.wfile.write(part)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base's name
        """Nothing is printed."""


@contextlib.contextmanager
def broker(speaks: Callable[[Fields], Said], tls: tuple[Path, Path] | None = None) -> Iterator[Peer]:
    """A broker on this machine.

    Args:
        speaks: Gives what it says to the fields of a question.
        tls: Its certificate and key.
    """
    server = _Server()
    if tls is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*tls)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    scheme = "https" if tls else "http"
    server.speaks, server.peer = speaks, Peer(f"{scheme}://127.0.0.1:{server.server_address[1]}/json/")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server.peer
    finally:
        server.shutdown()
        thread.join()
        server.hang_up()
        server.server_close()


def certificate(folder: Path, address: str = "127.0.0.1") -> tuple[Path, Path]:
    """A certificate for an address that signs itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a broker")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    paths = folder / "broker.pem", folder / "broker.key"
    paths[0].write_bytes(made.public_bytes(Encoding.PEM))
    paths[1].write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return paths


def profiles_of(lab: Lab) -> str:
    """Quick profiles for one user, and for the other ones that make the broker ask the agent of its host."""
    alpha, gateway = lab.host("alpha"), lab.host("gateway")
    here = f"alpha ({alpha.address})"
    quick, asked = alpha.user("password").login, alpha.user("both").login
    return f"""[DEFAULT]
command=xterm
rootless=true
fullscreen=false
sound=false
print=false
user=BROKER_USER
sshport={alpha.port}
export="/:1;"
acl-users-deny=ALL
acl-users-order=allow-deny

[term]
name=Terminal
host={here}
autologin=false
broker-session-autologin=false
broker-agent-query-mode=NONE
acl-users-allow={quick}

[pool]
name=Pool
host={here}, gateway ({gateway.address})
command=XFCE
broker-session-autologin=false
broker-agent-query-mode=NONE
acl-users-allow={quick}

[desk]
name=Desk
host={here}
acl-users-allow={asked}

[farm]
name=Farm
host={here}, gateway ({gateway.address})
acl-users-allow={asked},{alpha.user("kbdint").login}
"""


WSGI = """\
# Debian's file for WSGI, served by the standard library. It needs a class that tornado has dropped; this one stands in.
import asyncio
import importlib.machinery
import importlib.util
import ssl
import sys
import types
from wsgiref.simple_server import make_server

import tornado.web
import tornado.wsgi
from tornado.concurrent import Future
from tornado.httputil import HTTPHeaders, HTTPServerRequest


class Answer:
    def __init__(self, environ):
        self.body = b""
        self.context = types.SimpleNamespace(remote_ip=environ["REMOTE_ADDR"], protocol=environ["wsgi.url_scheme"])

    def write_headers(self, start, headers, chunk=None):
        self.start, self.headers = start, headers
        return self.write(chunk or b"")

    def write(self, chunk):
        self.body += chunk
        done = Future()
        done.set_result(None)
        return done

    def finish(self):
        pass

    def set_close_callback(self, callback):
        pass


class WSGIApplication(tornado.web.Application):
    def __call__(self, environ, start_response):
        headers = HTTPHeaders({"Content-Type": environ["CONTENT_TYPE"]})
        body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
        answer = Answer(environ)
        request = HTTPServerRequest(
            environ["REQUEST_METHOD"], environ["PATH_INFO"], headers=headers, body=body, connection=answer
        )
        request._parse_body()

        async def handle():
            done = self.find_handler(request).execute()
            if done is not None:
                await done

        asyncio.run(handle())
        start_response("%d %s" % (answer.start.code, answer.start.reason), list(answer.headers.get_all()))
        return [answer.body]


tornado.wsgi.WSGIApplication = WSGIApplication
sys.modules["wsgilog"] = types.SimpleNamespace(WsgiLog=lambda application, **options: application)
loader = importlib.machinery.SourceFileLoader("broker", "/usr/lib/x2gobroker/wsgi/x2gobroker-wsgi")
module = importlib.util.module_from_spec(importlib.util.spec_from_loader("broker", loader))
loader.exec_module(module)
server = make_server(sys.argv[1], int(sys.argv[2]), module.application)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[3], sys.argv[4])
server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
"""
