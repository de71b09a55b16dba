"""A real sshd on a loopback port, with host keys, user keys and known_hosts files of its own."""

from __future__ import annotations

import os
import random
import re
import select
import shutil
import signal
import socket
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from crl.channels import Channel, ProcessChannel
from crl.channels.ssh import SshSettings
from crl.deadlines import Deadline

# By itself Linux gives away the ports from 32,768 on, and an X2Go server those from 30,000 on.
OURS = (12_000, 29_000)
HOST_KEY_TYPES = ("ed25519", "rsa", "ecdsa")

CONFIG = """\
ListenAddress 127.0.0.1
Port {port}
PidFile none
StrictModes no
UsePAM no
PermitRootLogin yes
PasswordAuthentication yes
KbdInteractiveAuthentication no
MaxSessions 64
LogLevel DEBUG1
MaxStartups 100
AuthorizedKeysFile {folder}/authorized_keys
# The start files of the user who runs the tests play no part.
SetEnv HOME={folder}
"""


def run(*argv: str, env: dict[str, str] | None = None) -> tuple[int, str]:
    """Run a program to its end; its status and what it wrote as output and errors together."""
    with_errors = ["sh", "-c", 'exec "$@" 2>&1 </dev/null', "sh", *argv]
    channel = ProcessChannel(with_errors, env=env, dialogue=False)
    try:
        # The generation of a key takes its time where the processors are busy.
        text = drain(channel, 60.0)
        status = channel.wait(20)
        assert status is not None
        return status, text.decode("utf-8", "replace")
    finally:
        channel.close()


def drain(channel: Channel, seconds: float = 20.0) -> bytes:
    """Everything until the end of a channel."""
    deadline, result = Deadline.after(seconds), b""
    while not deadline.expired:
        poll = select.poll()
        poll.register(channel.fileno(), select.POLLIN)
        poll.poll(deadline.poll_ms())
        try:
            data = channel.read()
        except BlockingIOError:
            continue
        if not data:
            return result
        result += data
    raise TimeoutError(f"no end after {result!r}")


def in_child(work: Callable[[], int]) -> int:
    """The exit status of a forked child that does some work within a minute, and nothing else whatever it raises."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns of forks in threaded processes
        child = os.fork()
    if not child:
        status = 99
        try:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(60)
            status = work()
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@dataclass(frozen=True)
class Sshd:
    """A running sshd and what is needed to log in to it."""

    folder: Path
    port: int

    @property
    def known_hosts(self) -> Path:
        return self.folder / "known_hosts"

    def host_key(self, kind: str) -> str:
        """Type and base64 of one of its host keys."""
        return " ".join((self.folder / f"host_{kind}.pub").read_text().split()[:2])

    def line(self, kind: str = "ed25519") -> str:
        return f"[127.0.0.1]:{self.port} {self.host_key(kind)}\n"

    def auth_requests(self, user: str = "") -> int:
        """How often anybody, or one user, has said to it who they are.

        What it logs of a login is there when a command of that login has run; of one that failed, some time later.
        """
        return len(re.findall(rf"userauth-request for user {user}\b", (self.folder / "log").read_text()))

    def settings(self, **changes: object) -> SshSettings:
        values: dict[str, object] = {
            "host": "127.0.0.1",
            "port": self.port,
            "user": "root",
            "identity": self.folder / "id",
            "config": "none",
            "known_hosts": self.known_hosts,
            "host_keys": "verify",
        }
        return SshSettings(**{**values, **changes})  # type: ignore[arg-type]


def free_port() -> int:
    """A loopback port on which nothing listens now.

    It is none of those that the kernel gives away: one of them may be another connection's before it is used.
    """
    chance = random.SystemRandom()
    while True:
        port = chance.randrange(*OURS)
        with suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            return port


@contextmanager
def running_sshd(config: str = "", authority: Path | None = None) -> Iterator[Sshd]:
    """A real sshd; root logs in with the key `id`.

    Args:
        config: Lines that come before ours, so they win.
        authority: A key that signs certificates for the host's keys.
    """
    Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="crl-sshd-"))
    for kind in HOST_KEY_TYPES:
        run("ssh-keygen", "-q", "-t", kind, "-N", "", "-f", str(folder / f"host_{kind}"))
    for name, phrase in (("id", ""), ("other", ""), ("locked", "open sesame")):
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", phrase, "-f", str(folder / name))
    keys = [(folder / f"{name}.pub").read_text() for name in ("id", "locked")]
    (folder / "authorized_keys").write_text("".join(keys))
    text = config + "".join(f"HostKey {folder}/host_{kind}\n" for kind in HOST_KEY_TYPES)
    if authority is not None:
        for kind in HOST_KEY_TYPES:
            options = ["-s", str(authority), "-h", "-n", "127.0.0.1", "-I", kind]
            run("ssh-keygen", "-q", *options, str(folder / f"host_{kind}.pub"))
            text += f"HostCertificate {folder}/host_{kind}-cert.pub\n"
    server, channel = _listening_sshd(folder, text)
    try:
        yield server
    finally:
        os.kill(channel.pid, signal.SIGTERM)
        channel.close()
        shutil.rmtree(folder)


def _listening_sshd(folder: Path, config: str) -> tuple[Sshd, ProcessChannel]:
    """Start an sshd on a port that somebody else may have taken in the moment before: then on another one."""
    for _ in range(5):
        server = Sshd(folder, free_port())
        (folder / "config").write_text(config + CONFIG.format(port=server.port, folder=folder))
        server.known_hosts.write_text("".join(server.line(kind) for kind in HOST_KEY_TYPES))
        argv = ["/usr/sbin/sshd", "-D", "-E", str(folder / "log"), "-f", str(folder / "config")]
        channel = ProcessChannel(argv, dialogue=False)
        if _listens(server, channel):
            return server, channel
        channel.close()
    raise AssertionError(f"sshd does not listen: {(folder / 'log').read_text()}")


@pytest.fixture(scope="session")
def sshd() -> Iterator[Sshd]:
    """A real sshd; root logs in with the key `id`."""
    with running_sshd() as server:
        yield server


def _listens(server: Sshd, channel: ProcessChannel) -> bool:
    """Wait until it says that it listens, which a connection cannot tell of it; False when it has ended."""
    log = server.folder / "log"
    deadline = Deadline.after(30)
    while not (log.exists() and f"Server listening on 127.0.0.1 port {server.port}." in log.read_text()):
        if channel.wait(0.02) is not None:
            return False
        assert not deadline.expired, "sshd does not listen"
    return True
