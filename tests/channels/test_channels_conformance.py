"""Every channel of ours passes the conformance suite, paramiko and ssh through a real sshd."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence

import pytest

from crl.channels import Channel, LocalPtyChannel, ProcessChannel
from crl.channels.conformance import ChannelConformance
from crl.channels.ssh import SshConnection, connect, local_environment, ssh_argv

from .conftest import Sshd


class TestProcessChannel(ChannelConformance):
    def make_channel(self, argv: Sequence[str]) -> Channel:
        return ProcessChannel(argv)


class TestProcessChannelWithoutDialogue(ChannelConformance):
    def make_channel(self, argv: Sequence[str]) -> Channel:
        return ProcessChannel(argv, dialogue=False)


class TestLocalPtyChannel(ChannelConformance):
    def make_channel(self, argv: Sequence[str]) -> Channel:
        return LocalPtyChannel(argv)


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
