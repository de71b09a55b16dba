"""Every channel of ours passes the conformance suite, paramiko and ssh through a real sshd."""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from crl.channels import Channel, LocalPtyChannel, ProcessChannel, TelnetChannel
from crl.channels.conformance import ChannelConformance
from crl.channels.ssh import SshConnection, connect, local_environment, ssh_argv

from .conftest import Sshd

TELNET_SERVER = Path(__file__).with_name("telnet_server.py")


class TestProcessChannel(ChannelConformance):
    def make_channel(self, argv: Sequence[str]) -> Channel:
        return ProcessChannel(argv)


class TestProcessChannelWithoutDialogue(ChannelConformance):
    def make_channel(self, argv: Sequence[str]) -> Channel:
        return ProcessChannel(argv, dialogue=False)


class TestLocalPtyChannel(ChannelConformance):
    def make_channel(self, argv: Sequence[str]) -> Channel:
        return LocalPtyChannel(argv)


class TestTelnetChannel(ChannelConformance):
    peer_is_local = False

    @pytest.fixture(autouse=True)
    def _servers(self) -> Iterator[None]:
        self.servers: list[subprocess.Popen[bytes]] = []
        yield
        for server in self.servers:
            server.kill()
            server.wait(5)

    def make_channel(self, argv: Sequence[str]) -> Channel:
        server = subprocess.Popen([sys.executable, str(TELNET_SERVER), *argv], stdout=subprocess.PIPE)
        self.servers.append(server)
        assert server.stdout is not None
        with server.stdout as said:
            return TelnetChannel("127.0.0.1", int(said.readline()))


class TestSshProcess(ChannelConformance):
    peer_is_local = False
    tty = False

    @pytest.fixture(autouse=True)
    def _server(self, sshd: Sshd) -> None:
        self.sshd = sshd

    def make_channel(self, argv: Sequence[str]) -> Channel:
        line = ssh_argv(self.sshd.settings(), command=shlex.join(argv), tty=self.tty)
        return ProcessChannel(line, env=local_environment())


class TestSshProcessWithTerminal(TestSshProcess):
    tty = True


class TestParamiko(ChannelConformance):
    peer_is_local = False
    pty = False

    @pytest.fixture(autouse=True)
    def _connected(self, shared_connection: SshConnection) -> None:
        self.connection = shared_connection

    def make_channel(self, argv: Sequence[str]) -> Channel:
        return self.connection.open_channel(shlex.join(argv), pty=self.pty)


class TestParamikoWithTerminal(TestParamiko):
    pty = True


@pytest.fixture(scope="module")
def shared_connection(sshd: Sshd) -> Iterator[SshConnection]:
    with connect(sshd.settings()) as connection:
        yield connection
