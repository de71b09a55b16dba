"""The link over lanes of paramiko: with and without a terminal at the far end, and a lost connection."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest

from crl.channels.ssh import SshConnection, connect
from crl.link import Link, LinkLost
from tests.channels.conftest import Sshd, running_sshd
from tests.link.peers import Shell, alive, eventually


@pytest.fixture(scope="module")
def server() -> Iterator[Sshd]:
    with running_sshd() as started:
        yield started


@pytest.fixture
def connection(server: Sshd) -> Iterator[SshConnection]:
    with connect(server.settings()) as made:
        yield made


@pytest.fixture(params=["pipe", "terminal"])
def shell(request: pytest.FixtureRequest, connection: SshConnection, make_shell: Callable[..., Shell]) -> Shell:
    terminal = request.param == "terminal"
    channel = connection.open_channel("exec /bin/sh", pty=terminal)
    return make_shell("terminal" if terminal else "pipe", channel=channel)


@pytest.fixture
def lent(shell: Shell) -> Iterator[Link]:
    link = Link.start(shell.lane(), timeout=30)
    yield link
    link.close()


def test_every_byte_and_a_few_megabytes(lent: Link) -> None:
    data = bytes(range(256)) * 8 + b"\r~.\n~.\r\n" + os.urandom(3_000_000)
    assert lent.invoke("bytes", data) == data
    assert lent.run(["cat"], stdin=data).stdout == data


def test_many_calls_one_after_the_other_and_at_once(lent: Link) -> None:
    assert [lent.evaluate(f"{number} + 1") for number in range(100)] == list(range(1, 101))
    calls = [lent.submit_evaluate(f"{number} * 2") for number in range(200)]
    assert [call.result(60) for call in calls] == [number * 2 for number in range(200)]


def test_an_error_of_the_target_arrives(lent: Link) -> None:
    with pytest.raises(ZeroDivisionError):
        lent.evaluate("1 / 0")


def test_the_shell_comes_back(shell: Shell) -> None:
    link = Link.start(shell.lane(), timeout=30)
    pid = link.facts.pid
    assert link.close(20)
    assert shell.ask("echo $((6 * 7))") == "42"
    assert eventually(lambda: not alive(pid))


def test_a_lost_connection_fails_what_is_under_way(shell: Shell, connection: SshConnection) -> None:
    link = Link.start(shell.lane(), timeout=30)
    call = link.submit_invoke("__import__('time').sleep", (30,))
    pid = link.facts.pid
    connection.close()
    with pytest.raises(LinkLost):
        call.result(60)
    assert not link.close()
    assert eventually(lambda: not alive(pid))
