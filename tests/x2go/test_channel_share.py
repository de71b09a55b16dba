"""A folder over a channel of its own: asked by a client that keeps to nothing, cut, mounted again, ended at once.

The program for the mount is the real one in each interpreter; what stands for sshfs is the test's own client.
"""

from __future__ import annotations

import os
import signal
import struct
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from crl.channels import ChannelClosed, ChannelStartError
from crl.deadlines import Deadline
from crl.errors import UsageError
from crl.interactivesessions._beside import CommandChannel, open_channel
from crl.x2go import _channelshare
from crl.x2go._channelshare import NoChannel
from crl.x2go._sftpwire import Kind
from crl.x2go.x2go_exceptions import X2GoFolderSharingException
from tests.link.peers import INTERPRETERS, eventually
from tests.x2go.channelled import WAIT, Channelled, LocalHost
from tests.x2go.sftpraw import text

Make = Callable[..., Channelled]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shared = tmp_path / "shared"
    shared.mkdir()
    (shared / "file").write_bytes(b"inside")
    return shared


@pytest.fixture
def shared(tmp_path_factory: pytest.TempPathFactory, folder: Path) -> Iterator[Make]:
    """Make shares; at the end nothing is left of them, here or there."""
    made: list[Channelled] = []
    descriptors = len(os.listdir("/proc/self/fd"))

    def make(**options: Any) -> Channelled:
        made.append(Channelled(tmp_path_factory.mktemp("c"), folder, **options))
        return made[-1]

    yield make
    for one in made:
        one.close()
        # What removes it there ends a little after the script that it has answered.
        assert eventually(partial(_is_tidy, one.base)), f"{os.listdir(one.base)} are left"
    assert eventually(lambda: len(os.listdir("/proc/self/fd")) <= descriptors)


def _is_tidy(base: Path) -> bool:
    return {path.name for path in base.iterdir()} - {"log", "place.status"} == {"place", "sshfs"}


@pytest.mark.parametrize("python", INTERPRETERS)
def test_the_servers_script_finds_an_sshfs_that_answers(shared: Make, python: str) -> None:
    one = shared(python=python)
    one.begin()
    client = one.client()
    assert client.read(b"file") == b"inside"
    assert one.share._wish.words[1] == "idmap=user,it's=\"$x\"", "words are words"
    client.channel.close()
    assert one.script is not None
    assert one.script.wait(WAIT) == 1, "nothing was mounted, which the script is told"


def test_it_ends_at_once_while_it_is_used(shared: Make) -> None:
    one = shared()
    one.begin()
    client = one.client()
    assert client.read(b"file") == b"inside"
    one.share.end()
    with pytest.raises((EOFError, OSError)):
        client.read(b"file")
    assert one.share.ended
    one.share.end()
    assert not one.gone, "who ends it need not be told"
    client.channel.close()


def test_a_client_that_asks_and_never_reads_holds_nothing_up(shared: Make, folder: Path) -> None:
    (folder / "big").write_bytes(bytes(1 << 20))
    one = shared()
    one.begin()
    client = one.client()
    handle = text(client.open(b"big").first)
    packet = bytes([Kind.READ]) + struct.pack(">I", 7) + handle + struct.pack(">QI", 0, 1 << 17)
    client.channel.settimeout(1.0)
    before = _memory()
    with pytest.raises(TimeoutError):
        client.channel.sendall((struct.pack(">I", len(packet)) + packet) * 200_000)
    assert _memory() - before < 64 * 1024 * 1024
    one.share.end()
    assert one.share.ended
    client.channel.close()


def _memory() -> int:
    fields = Path("/proc/self/statm").read_text().split()
    return int(fields[1]) * os.sysconf("SC_PAGE_SIZE")


def test_what_is_no_request_is_the_end(shared: Make) -> None:
    one = shared()
    one.begin()
    client = one.client()
    client.channel.sendall(b"\xff" * 64)
    assert one.is_gone.wait(WAIT)
    assert isinstance(one.gone[0], X2GoFolderSharingException)
    assert "no SFTP" in str(one.gone[0])
    assert len(one.host.opened) == 1, "nobody is asked again"
    client.channel.close()


def test_it_is_mounted_again_when_the_channel_was_cut(shared: Make) -> None:
    one = shared()
    one.begin()
    for number in range(3):
        client = one.client()
        assert client.read(b"file") == b"inside"
        os.kill(one.host.opened[-1].pid, signal.SIGKILL)
        with pytest.raises((EOFError, OSError)):
            client.read(b"file")
        client.channel.close()
        assert eventually(partial(_has_opened, one, number + 2), WAIT)
    client = one.client()
    assert client.read(b"file") == b"inside"
    one.share.end()
    client.channel.close()
    assert not one.gone


def _has_opened(one: Channelled, number: int) -> bool:
    return len(one.host.opened) == number


def test_a_connection_that_changes_just_now_is_waited_for(shared: Make) -> None:
    one = shared()
    one.begin()
    client = one.client()
    one.host.refusals = [ChannelClosed("the connection is closed"), ChannelStartError("not yet"), OSError("nor now")]
    client.channel.close()
    client = one.client()
    assert client.read(b"file") == b"inside"
    assert one.host.refusals == []
    one.share.end()
    client.channel.close()


def test_a_target_that_was_closed_is_the_end(shared: Make) -> None:
    one = shared()
    one.begin()
    client = one.client()
    one.host.refusals = [UsageError("the target is closed")]
    client.channel.close()
    assert one.is_gone.wait(WAIT)
    assert isinstance(one.gone[0], X2GoFolderSharingException)


def test_an_unmount_in_order_is_not_undone(shared: Make) -> None:
    one = shared()
    one.begin()
    client = one.client()
    Path(f"{one.place}.status").write_text("0")
    client.channel.close()
    assert one.is_gone.wait(WAIT)
    assert one.gone == [None]
    assert len(one.host.opened) == 1


def test_a_place_that_the_server_took_away_is_left_alone(shared: Make) -> None:
    one = shared()
    one.begin()
    client = one.client()
    one.place.rmdir()
    client.channel.close()
    assert one.is_gone.wait(WAIT)
    assert one.gone == [None]
    one.place.mkdir()


def test_what_cannot_be_mounted_again_is_told(shared: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    one = shared(host=LocalHost(limit=1))
    one.begin()
    client = one.client()
    client.channel.close()
    assert one.host.refused.wait(WAIT)
    monkeypatch.setattr(_channelshare, "RESTORING_TIME", 0.0)
    assert one.is_gone.wait(WAIT)
    assert isinstance(one.gone[0], X2GoFolderSharingException)
    assert "no further session" in str(one.gone[0])


def test_its_end_while_it_is_mounted_again(shared: Make) -> None:
    one = shared(host=LocalHost(limit=1))
    one.begin()
    client = one.client()
    client.channel.close()
    assert eventually(lambda: one.share._stream is None, WAIT)
    one.share.end()
    assert one.share.ended
    assert not one.gone


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"folders": ("/proc/none", "/no/such/folder")}, "can be run"),
        ({"python": "/no/such/python"}, "does not run"),
        ({"python": "/bin/cat"}, "does not run"),
    ],
    ids=["no folder", "no python", "another program"],
)
def test_where_it_cannot_be_done_nothing_is(shared: Make, change: dict[str, Any], why: str) -> None:
    one = shared()
    one.share._wish = replace(one.wish, **change)
    with pytest.raises(NoChannel, match=why):
        one.share._begin()


def test_a_host_without_channels(shared: Make) -> None:
    one = shared(host=LocalHost(limit=0))
    with pytest.raises(NoChannel, match="no further session"):
        one.share._begin()


@pytest.mark.parametrize("python", INTERPRETERS)
def test_the_program_ends_with_its_channel(shared: Make, python: str) -> None:
    one = shared(python=python)
    stream = one.host.open_channel(one.wish.command())
    ready = stream.read_line(Deadline.after(WAIT)).split(b" ")
    assert ready[0] == b"ready"
    assert sorted(os.listdir(ready[2])) == [b"answer", b"asked", b"sshfs"]
    stream.hang_up()
    assert stream.wait(WAIT) == 0
    stream.close()


def test_a_stream_gives_lines_bytes_and_its_end() -> None:
    host = LocalHost()
    stream = host.open_channel(["sh", "-c", "echo first; cat; exit 7"])
    assert stream.read_line(Deadline.after(WAIT)) == b"first"
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        stream.read_line(Deadline.after(0.2))
    with pytest.raises(TimeoutError):
        stream.read(timeout=0.1)
    assert time.monotonic() - began < WAIT
    data = os.urandom(3_000)
    stream.write(data)
    came = b""
    while len(came) < len(data):
        came += stream.read(1_000)
    assert came == data
    host.opened[0].end_writing()
    assert stream.read() == b""
    assert stream.wait(WAIT) == 7
    stream.close()
    stream.close()


def test_a_word_with_a_line_end_is_refused() -> None:
    host = LocalHost()
    with pytest.raises(UsageError, match="line end"):
        _opened(host, ["echo", "a\nb"])
    assert host.opened == []


def _opened(host: LocalHost, words: list[str]) -> CommandChannel:
    return open_channel(host._run, words, host.name, Deadline.after(WAIT))
