"""The paramiko backend against a real sshd: host keys before credentials, one error a reason, nothing left behind."""

from __future__ import annotations

import atexit
import contextlib
import gc
import hashlib
import itertools
import logging
import os
import select
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from crl.channels import Channel, ChannelClosed, ChannelStartError
from crl.channels.conformance import read_exactly, read_to_end, write_all
from crl.channels.ssh import (
    AuthenticationFailed,
    ConnectionClosedByHost,
    ConnectionRefused,
    HostKeyChanged,
    HostKeyUnknown,
    HostUnreachable,
    NameNotResolved,
    SshConnection,
    SshLoginError,
    SshSettings,
    connect,
    connect_many,
)
from crl.deadlines import Deadline
from crl.errors import UsageError
from tests.link.peers import PATIENCE, eventually

from .conftest import HOST_KEY_TYPES, Sshd, drain, free_port, in_child, running_sshd

RELAY = Path(__file__).with_name("relay.py")


@pytest.fixture(autouse=True)
def _nothing_left() -> Iterator[None]:
    threads, descriptors = set(threading.enumerate()), len(os.listdir("/proc/self/fd"))
    yield
    left = [thread for thread in threading.enumerate() if thread not in threads]
    for thread in left:
        thread.join(PATIENCE)
    assert not [thread for thread in left if thread.is_alive()]
    # What others had left open may have been closed meanwhile.
    assert eventually(lambda: len(os.listdir("/proc/self/fd")) <= descriptors), "descriptors stay"


def failure(settings: SshSettings, **passwords: object) -> SshLoginError:
    with pytest.raises(SshLoginError) as caught:
        connect(settings, **passwords).close()  # type: ignore[arg-type]
    return caught.value


def output(connection: SshConnection, command: str) -> bytes:
    channel = connection.open_channel(command, pty=False)
    try:
        return drain(channel)
    finally:
        channel.close()


def test_output_errors_and_status_come_back(sshd: Sshd) -> None:
    with connect(sshd.settings()) as connection:
        assert connection.alive
        channel = connection.open_channel("echo out; echo err >&2; exit 7", pty=False)
        assert (drain(channel), drain(channel.stderr)) == (b"out\n", b"err\n")
        assert channel.wait(PATIENCE) == 7
        channel.close()
    assert connection.closed
    with pytest.raises(ChannelClosed):
        connection.open_channel("true")


def test_a_terminal_has_the_size_that_was_asked_for(sshd: Sshd) -> None:
    with connect(sshd.settings()) as connection:
        channel = connection.open_channel("stty size; read _; stty size", columns=91, rows=17)
        assert read_exactly(channel, 7) == b"17 91\r\n"
        channel.resize(123, 45)
        write_all(channel, b"\n")
        assert drain(channel).endswith(b"45 123\r\n")
        assert drain(channel.stderr) == b""


def test_the_login_shell_runs_when_no_command_is_given(sshd: Sshd) -> None:
    with connect(sshd.settings()) as connection:
        channel = connection.open_channel(pty=False)
        write_all(channel, b"echo $((6 * 7))\n")
        channel.end_writing()
        assert b"42\n" in drain(channel)


def test_the_end_of_input_is_passed_on(sshd: Sshd) -> None:
    with connect(sshd.settings()) as connection:
        channel = connection.open_channel("wc -c", pty=False)
        write_all(channel, b"x" * 300_000)
        channel.end_writing()
        assert drain(channel) == b"300000\n"


def test_many_channels_at_once(sshd: Sshd) -> None:
    with connect(sshd.settings()) as connection:
        channels = [connection.open_channel(f"echo {number}", pty=False) for number in range(8)]
        assert [drain(channel) for channel in channels] == [b"%d\n" % number for number in range(8)]


def test_one_channel_that_nobody_reads_does_not_stop_another(sshd: Sshd) -> None:
    with connect(sshd.settings()) as connection:
        flooding = connection.open_channel("cat /dev/zero", pty=False)
        assert read_exactly(flooding, 1) == b"\0"
        assert output(connection, "echo alive") == b"alive\n"


@pytest.mark.parametrize("kind", HOST_KEY_TYPES)
@pytest.mark.parametrize("position", [0, 1])
def test_a_key_of_any_type_at_any_place_is_enough(sshd: Sshd, tmp_path: Path, kind: str, position: int) -> None:
    lines = [sshd.line(kind)]
    lines.insert(1 - position, f"[127.0.0.1]:{sshd.port} ssh-unknown AAAAC3NzaC11bmtub3du\n")
    file = tmp_path / "known_hosts"
    file.write_text("".join(lines))
    with connect(sshd.settings(known_hosts=file)) as connection:
        assert connection.alive


@pytest.mark.parametrize("which", ["unknown", "changed", "revoked", "authority"])
def test_a_bad_host_key_ends_it_before_anything_of_the_user_is_sent(
    sshd: Sshd, tmp_path: Path, which: str
) -> None:
    other = " ".join((sshd.folder / "other.pub").read_text().split()[:2])
    name = f"[127.0.0.1]:{sshd.port}"
    texts = {
        "unknown": "",
        "changed": f"# x\n{name} {other}\n",
        "revoked": f"{sshd.line()}@revoked * {sshd.host_key('ed25519')}\n",
        "authority": f"@cert-authority {name} {other}\n",
    }
    file = tmp_path / "known_hosts"
    file.write_text(texts[which])
    error = failure(sshd.settings(known_hosts=file, user=f"x-{which}"), password="secret-of-the-user")
    failure(sshd.settings(user=f"y-{which}"), password="secret-of-the-user")
    assert eventually(lambda: sshd.auth_requests(f"y-{which}") > 0), "it does not log what it is told"
    assert sshd.auth_requests(f"x-{which}") == 0
    assert type(error) is (HostKeyChanged if which in ("changed", "revoked") else HostKeyUnknown)
    assert (error.port, error.definite) == (sshd.port, True)
    assert error.fingerprint is not None
    if which == "unknown":
        assert error.line == f"{name} {sshd.host_key('ed25519')}"
        assert error.line in str(error)
        assert str(file) in str(error)
    if which == "changed":
        assert error.location == f"{file}:2"
    assert "secret-of-the-user" not in repr(error) + str(error)


def test_the_line_in_the_error_is_what_makes_the_login_work(sshd: Sshd, tmp_path: Path) -> None:
    file = tmp_path / "known_hosts"
    line = failure(sshd.settings(known_hosts=file)).line
    assert line is not None
    file.write_text(line + "\n")
    connect(sshd.settings(known_hosts=file)).close()


def test_accept_new_writes_one_line_and_off_none(sshd: Sshd, tmp_path: Path) -> None:
    file = tmp_path / "known_hosts"
    connect(sshd.settings(known_hosts=file, host_keys="off")).close()
    assert not file.exists()
    file.write_text("# without an end")
    for _ in range(2):
        connect(sshd.settings(known_hosts=file, host_keys="accept-new")).close()
    assert file.read_text() == f"# without an end\n{sshd.line()}"


def test_a_wrong_key_and_a_wrong_password_are_definite(sshd: Sshd) -> None:
    wrong_key = failure(sshd.settings(identity=sshd.folder / "other"))
    wrong_password = failure(sshd.settings(identity=None), password="wrong-password")
    for error in (wrong_key, wrong_password):
        assert type(error) is AuthenticationFailed
        assert error.definite
        assert "user root" in str(error)
        assert "publickey, password" in str(error)


def test_an_encrypted_key_is_opened_by_the_password(sshd: Sshd) -> None:
    wanted = sshd.settings(identity=sshd.folder / "locked")
    connect(wanted, "open sesame").close()
    assert "passphrase" in str(failure(wanted))


def test_the_other_reasons(sshd: Sshd) -> None:
    assert type(failure(sshd.settings(port=free_port()))) is ConnectionRefused
    assert type(failure(sshd.settings(host="no-such-host.invalid"))) is NameNotResolved
    assert "no address" not in str(failure(sshd.settings(identity="/no/such/key")))


def close_two(listener: socket.socket) -> None:
    for _ in range(2):
        listener.accept()[0].close()


def test_a_host_that_closes_or_says_nothing_ends_in_time(sshd: Sshd) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        deadline = Deadline.after(PATIENCE)
        error = failure(sshd.settings(port=port, connect_timeout=0.5))
        assert type(error) is HostUnreachable
        assert not deadline.expired
        closer = threading.Thread(target=close_two, args=(listener,))
        closer.start()
        error = failure(sshd.settings(port=port))
        closer.join(PATIENCE)
    assert type(error) is ConnectionClosedByHost
    assert not error.definite


def test_hops_are_gone_through_and_each_is_verified(sshd: Sshd, tmp_path: Path) -> None:
    hop = f"root@localhost:{sshd.port}"
    error = failure(sshd.settings(jump=(hop,)))
    assert (type(error), error.hop) == (HostKeyUnknown, "localhost")
    file = tmp_path / "known_hosts"
    file.write_text(sshd.line() + sshd.line().replace("127.0.0.1", "localhost"))
    wanted = sshd.settings(jump=(hop, hop), known_hosts=file)
    with connect(wanted) as connection:
        assert output(connection, "echo in") == b"in\n"
    only_hop = tmp_path / "only_hop"
    only_hop.write_text(sshd.line().replace("127.0.0.1", "localhost"))
    error = failure(sshd.settings(jump=(hop,), known_hosts=only_hop))
    assert (type(error), error.hop) == (HostKeyUnknown, None)
    error = failure(sshd.settings(jump=(hop,), known_hosts=file, port=free_port()))
    assert (type(error), error.hop) == (ConnectionRefused, None)


def test_a_proxy_command_is_gone_through(sshd: Sshd) -> None:
    relay = f"{sys.executable} -S {RELAY} %h %p"
    with connect(sshd.settings(options=(f"ProxyCommand={relay}",))) as connection:
        assert output(connection, "head -c 300000 /dev/zero") == bytes(300_000)
    error = failure(sshd.settings(options=("ProxyCommand=echo 'no way there' >&2; exit 3",)))
    assert type(error) is ConnectionClosedByHost
    assert "no way there" in str(error)


def test_use_in_a_forked_child_is_refused(sshd: Sshd) -> None:
    with connect(sshd.settings()) as connection:
        channel = connection.open_channel("cat", pty=False)

        def refused() -> int:
            good = 0
            for use in (channel.read, channel.fileno, connection.open_channel):
                try:
                    use()
                except UsageError as error:
                    good += "fork" in str(error)
            channel.close()
            connection.close()
            return good

        assert in_child(refused) == 3
        write_all(channel, b"still here")
        assert read_exactly(channel, 10) == b"still here"


def test_a_lost_connection_is_an_end(sshd: Sshd) -> None:
    with connect(sshd.settings()) as connection:
        channel = connection.open_channel("kill -KILL $PPID; sleep 5", pty=False)
        assert read_to_end(channel) == b""
        assert not connection.alive
        with pytest.raises(ChannelStartError):
            connection.open_channel("true")


def test_closing_what_a_frozen_host_holds_up_ends(sshd: Sshd) -> None:
    with connect(sshd.settings()) as connection:
        channel = connection.open_channel("echo $PPID; exec cat >/dev/null", pty=False)
        server = int(read_exactly(channel, 1) + read_line(channel))
        os.kill(server, signal.SIGSTOP)
        try:
            block = b"x" * 65536
            poll = select.poll()
            poll.register(channel.fileno(), select.POLLOUT)
            while poll.poll(500):
                channel.write(block)
            # The host would hold it up for ever.
            limit = Deadline.after(PATIENCE)
            channel.close()
            assert not limit.expired
            connection.close()
            assert not limit.expired
        finally:
            os.kill(server, signal.SIGCONT)


def read_line(channel: Channel) -> bytes:
    result = b""
    while not result.endswith(b"\n"):
        byte = read_exactly(channel, 1)
        assert byte, f"it ended after {result!r}"
        result += byte
    return result


def test_no_secret_reaches_a_log(sshd: Sshd, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        failure(sshd.settings(identity=None), password="canary-secret-1234")
        logging.getLogger("paramiko.transport").debug("sent %s", "canary-secret-1234")
    assert "sent <secret>" in caplog.text
    assert "canary-secret-1234" not in caplog.text


def many_at_once(sshd: Sshd, count: int) -> None:
    threads, descriptors = threading.active_count(), len(os.listdir("/proc/self/fd"))
    refused = sshd.settings(port=free_port())
    *connections, error = connect_many([sshd.settings()] * count + [refused])
    made = [connection for connection in connections if isinstance(connection, SshConnection)]
    assert len(made) == count
    assert type(error) is ConnectionRefused
    channels = [connection.open_channel("echo $$", pty=False) for connection in made]
    assert threading.active_count() <= threads + count + 1
    assert len({drain(channel) for channel in channels}) == count
    for connection in made:
        connection.close()
    assert eventually(lambda: threading.active_count() <= threads)
    assert eventually(lambda: len(os.listdir("/proc/self/fd")) <= descriptors)


def test_many_targets_need_one_thread_each(sshd: Sshd) -> None:
    many_at_once(sshd, 20)


@pytest.mark.long
def test_two_hundred_targets_need_one_thread_each(sshd: Sshd) -> None:
    many_at_once(sshd, 200)


def test_a_host_that_sends_more_than_its_window_ends_the_connection(sshd: Sshd) -> None:
    with connect(sshd.settings()) as connection:
        channel = connection.open_channel("cat", pty=False)
        with pytest.raises(ValueError, match="window"):
            channel.session.in_buffer.feed(bytes(4 << 20))
        channel.close()


def test_a_child_that_exits_in_the_ordinary_way_does_not_hurt_its_parent(sshd: Sshd) -> None:
    with connect(sshd.settings(jump=(f"root@127.0.0.1:{sshd.port}",))) as connection:
        channel = connection.open_channel("cat", pty=False)

        def exit_ordinarily() -> int:
            nonlocal channel, connection
            del channel, connection
            gc.collect()
            atexit._run_exitfuncs()
            return 0

        assert in_child(exit_ordinarily) == 0
        write_all(channel, b"still here")
        assert read_exactly(channel, 10) == b"still here"


def test_bulk_in_both_directions_at_once_through_hops_while_keys_are_exchanged() -> None:
    data = os.urandom(24 << 20)
    with running_sshd("RekeyLimit 2M\n") as server:
        hop = f"root@127.0.0.1:{server.port}"
        with connect(server.settings(jump=(hop, hop))) as connection:
            channel = connection.open_channel("cat", pty=False)
            back = to_and_fro(channel, data)
            channel.close()
    assert hashlib.sha256(back).digest() == hashlib.sha256(data).digest()


def to_and_fro(channel: Channel, data: bytes) -> bytes:
    """Write everything in pieces of odd sizes and read what comes back meanwhile."""
    deadline, back, rest, sizes = Deadline.after(110), bytearray(), memoryview(data), itertools.cycle((1, 70_001, 4096))
    poll = select.poll()
    while len(back) < len(data):
        poll.register(channel.fileno(), select.POLLIN | (select.POLLOUT if rest else 0))
        assert poll.poll(deadline.poll_ms()), f"nothing moves after {len(back)} bytes"
        with contextlib.suppress(BlockingIOError):
            back += channel.read()
        if rest:
            rest = rest[channel.write(rest[: next(sizes)]) :]
    return bytes(back)
