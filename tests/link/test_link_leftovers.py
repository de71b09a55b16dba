"""What was meant for the remote program never reaches the shell behind it, which would execute it."""

from __future__ import annotations

import os
import select
import signal
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from crl.channels.base import Channel
from crl.errors import CrlError
from crl.link import Link, LinkLost
from tests.link.peers import Shell, eventually, freeze
from tests.link.test_link_resume import Lasting

MakeShell = Callable[..., Shell]


def _evil(folder: Path) -> bytes:
    """Lines that a shell would execute, whatever stands before them."""
    return f"\n\n:; touch {folder}/evil #\n".encode() * 2000


def _pour(link: Link, data: bytes) -> threading.Thread:
    """Push through a process as fast as it goes, until the link ends."""

    def work() -> None:
        with suppress(CrlError, OSError):
            process = link.start_process(["cat"])
            process.stdout.collect()
            while True:
                process.write(data)

    thread = threading.Thread(target=work)
    thread.start()
    return thread


@pytest.mark.parametrize("kind", ["pipe", "pty"])
@pytest.mark.parametrize("end", ["close", "kill"])
def test_the_shell_executes_nothing_of_a_push(make_shell: MakeShell, tmp_path: Path, kind: str, end: str) -> None:
    shell = make_shell(kind)
    link = Link.start(shell.lane(), timeout=60)
    thread = _pour(link, _evil(tmp_path))
    seen = link.engine.session.sender
    assert eventually(lambda: seen.next_seq > 40)
    if end == "kill":
        os.kill(link.facts.pid, signal.SIGKILL)
        assert eventually(lambda: not link.alive)
    assert link.close(20)
    thread.join(60)
    assert shell.ask("echo alive") == "alive"
    assert list(tmp_path.iterdir()) == []


class SlowToSwallow:
    """A channel whose shell stands still for a while when it has said that the program is dead."""

    def __init__(self, inner: Channel) -> None:
        self._inner = inner
        self.shell = 0
        self.goes_on: threading.Timer | None = None

    def read(self, size: int = 65536) -> bytes:
        data = self._inner.read(size)
        if b">3>" in data and self.goes_on is None:
            freeze(self.shell)
            self.goes_on = threading.Timer(2.5, os.kill, (self.shell, signal.SIGCONT))
            self.goes_on.start()
        return data

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


def test_a_shell_that_is_slow_to_swallow_what_was_sent_to_the_dead(make_shell: MakeShell, tmp_path: Path) -> None:
    shell = make_shell("pipe")
    slow: list[SlowToSwallow] = []

    def wrap(channel: Channel) -> Channel:
        slow.append(SlowToSwallow(channel))
        return slow[0]

    # So small that what may be under way does not fit.
    with socket.socket(fileno=os.dup(shell.channel.fileno())) as end:
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 32 * 1024)
    link = Link.start(shell.lane(wrap), timeout=60)
    slow[0].shell = link.evaluate("__import__('os').getppid()")
    thread = _pour(link, _evil(tmp_path))
    assert eventually(lambda: link.engine.session.sender.next_seq > 40)
    freeze(link.facts.pid)
    # Now nothing more goes in.
    assert eventually(lambda: not _writable(shell))
    os.kill(link.facts.pid, signal.SIGKILL)
    assert eventually(lambda: not link.alive)
    assert slow[0].goes_on is not None
    slow[0].goes_on.join()
    assert link.close(20)
    thread.join(60)
    assert shell.ask("echo alive") == "alive"
    assert list(tmp_path.iterdir()) == []


def _writable(shell: Shell) -> bool:
    poller = select.poll()
    poller.register(shell.channel.fileno(), select.POLLOUT)
    return bool(poller.poll(0))


@pytest.mark.every_way
def test_an_end_amid_streams_both_ways_gives_the_terminal_back(make_shell: MakeShell, tmp_path: Path) -> None:
    """Where one program carries both directions, the end must go on reading while it writes its last."""
    shell = make_shell("pty")
    link = Link.start(shell.lane(), timeout=60)
    thread = _pour(link, _evil(tmp_path))
    assert eventually(lambda: link.engine.session.backlog > 100_000, 60)
    assert link.close(60)
    thread.join(60)
    assert shell.ask("echo alive") == "alive"
    assert list(tmp_path.iterdir()) == []


def test_a_terminal_that_was_left_executes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The old terminal still has bytes under way, in both directions, when the session goes on over another one."""
    one = Lasting("pty")
    keep = os.dup(one.shells[0].channel.fileno())
    try:
        engine = one.link.engine
        thread = _pour(one.link, _evil(tmp_path))
        assert eventually(lambda: engine.session.sender.next_seq > 40)
        monkeypatch.setattr("crl.link._engine.SUSPECT_AFTER", -1.0)
        assert one.link._resumer.start(engine, LinkLost("the test wants another terminal"))
        assert eventually(lambda: one.link.statistics.resumed >= 1)
        monkeypatch.undo()
        # The old one stays open and full, so whoever writes into it hangs.
        assert one.link.evaluate("6 * 7", timeout=60) == 42
        assert len(one.link.run(["head", "-c", "3000000", "/dev/zero"], timeout=60).stdout) == 3_000_000
        assert one.link.close(20)
        thread.join(60)
        assert list(tmp_path.iterdir()) == []
    finally:
        os.close(keep)
        one.close()
