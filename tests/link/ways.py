"""Other ways to the shells of the link's tests: by OpenSSH and by paramiko, to a real sshd of this machine.

With ``--over`` every test of the link that opens a lane to a local shell opens it over such a way instead.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from crl.channels.base import Channel
from crl.channels.process import ProcessChannel
from crl.channels.ssh import connect
from tests.channels.conftest import Sshd, running_sshd
from tests.link.peers import Program

Way = Callable[[Program], Channel]


@contextmanager
def paramiko_way(server: Sshd) -> Iterator[Way]:
    """A channel each of one connection of paramiko."""
    with connect(server.settings()) as connection:
        yield lambda program: connection.open_channel(program.line, pty=program.kind != "pipe")


@contextmanager
def openssh_way(server: Sshd) -> Iterator[Way]:
    """An ``ssh`` each."""
    options = ["-e", "none", "-F", "none", "-o", f"UserKnownHostsFile={server.known_hosts}", "-p", str(server.port)]
    login = ["-i", str(server.folder / "id"), "-o", "BatchMode=yes", "root@127.0.0.1"]

    def way(program: Program) -> Channel:
        terminal = "-T" if program.kind == "pipe" else "-tt"
        return ProcessChannel(["ssh", terminal, *options, *login, program.line], name="ssh")

    yield way


WAYS = {"paramiko": paramiko_way, "openssh": openssh_way}


@contextmanager
def opened(name: str) -> Iterator[Way]:
    """The way of this name, with an sshd of its own for as long as it is open."""
    with running_sshd("MaxSessions 1000\n") as server, WAYS[name](server) as way:
        yield way
