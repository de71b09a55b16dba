"""Others write to the same terminal all the time: every call is right, every stream exact, and nothing ever stalls."""

from __future__ import annotations

import hashlib
import itertools
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from crl.channels.process import ProcessChannel
from crl.lab import Lab
from crl.link import Link, RemoteProcess
from tests.link.peers import Shell

MakeShell = Callable[..., Shell]
Figure = Callable[[str], None]

# A tenth of the full size is the quick form.
SIZES = [pytest.param(1_000, 20, id="tenth"), pytest.param(10_000, 200, id="full", marks=pytest.mark.long)]
INTERVAL = 0.002
STALL = 15.0
CHUNK = 1024 * 1024
MAGIC = b"\xc5\x1bRL"
# As `wall` writes, with what looks like ours, and a line of a job that knows no manners.
NOISE = [
    b"\r\nBroadcast message from root@somewhere (pts/7):\r\n\r\nThe system is going down!\r\n\r\n",
    b"tick\r\n",
    b"\033[2J\033[H" + MAGIC + b"not one of ours",
    MAGIC,
    bytes(range(256)),
]

# Runs in the background of the shell that is lent to the link, so that it has the same terminal.
JOB = (
    "python3 -c 'import sys,time,os\n"
    "n = [bytes.fromhex(w) for w in sys.argv[1:]]\n"
    "i = 0\n"
    "while os.getppid() == {parent}:\n"
    "    os.write(1, n[i % len(n)])\n"
    "    i += 1\n"
    "    time.sleep(0.002)' {words} &"
)


class Pauses:
    """The longest time between two steps, and the number of steps."""

    def __init__(self) -> None:
        self.longest = 0.0
        self._last = time.monotonic()

    def step(self) -> None:
        now = time.monotonic()
        self.longest = max(self.longest, now - self._last)
        self._last = now


def _work_through(link: Link, calls: int, megabytes: int, figure: Figure) -> None:
    """Calls beside a stream each way, all checked."""
    answered, streamed = Pauses(), Pauses()
    wrong: list[object] = []

    def call() -> None:
        for number in range(calls):
            if link.invoke("abs", -number, timeout=60) != number:
                wrong.append(number)
            answered.step()

    thread = threading.Thread(target=call)
    thread.start()
    try:
        expected, got = hashlib.sha256(), hashlib.sha256()
        process = link.start_process(["cat"])
        sender = threading.Thread(target=_feed, args=(process, megabytes, expected))
        sender.start()
        size = 0
        while data := process.read_stdout(60):
            got.update(data)
            size += len(data)
            streamed.step()
        sender.join(60)
        assert process.wait(60) == 0
    finally:
        thread.join(240)
    assert not thread.is_alive()
    assert wrong == []
    assert size == megabytes * CHUNK
    assert got.digest() == expected.digest()
    session = link.engine.session
    figure(
        f"{calls} calls beside {megabytes} MiB both ways: longest pause of calls "
        f"{answered.longest * 1000:.0f} ms, of the stream {streamed.longest * 1000:.0f} ms; "
        f"{session.decoder.noise_bytes} bytes of noise, {session.decoder.damaged} frames damaged"
    )
    assert session.decoder.noise_bytes > 1000
    assert answered.longest < STALL
    assert streamed.longest < STALL


def _feed(process: RemoteProcess, megabytes: int, expected: hashlib._Hash) -> None:
    for number in range(megabytes):
        data = hashlib.sha256(b"%d" % number).digest() * (CHUNK // 32)
        expected.update(data)
        process.write(data, 60)
    process.close_stdin()


@contextmanager
def _wall(write: Callable[[bytes], object]) -> Iterator[None]:
    """Somebody who writes to the terminal every two milliseconds."""
    stop = threading.Event()

    def run() -> None:
        for data in itertools.cycle(NOISE):
            if stop.wait(INTERVAL):
                return
            write(data)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(60)


@pytest.mark.clean_only("the noise has every byte in it: an XOFF stops a line with flow control for good")
@pytest.mark.timeout(600)
@pytest.mark.parametrize(("calls", "megabytes"), SIZES)
def test_noise_on_a_local_terminal(make_shell: MakeShell, calls: int, megabytes: int, figure: Figure) -> None:
    shell = make_shell("pty")
    descriptor = os.open(shell.ask("tty"), os.O_WRONLY | os.O_NOCTTY)
    parent = shell.ask("echo $$")
    shell.say(JOB.format(parent=parent, words=" ".join(word.hex() for word in NOISE)))
    try:
        with Link.start(shell.lane(), timeout=60) as link, _wall(lambda data: os.write(descriptor, data)):
            _work_through(link, calls, megabytes, figure)
            assert link.alive
    finally:
        os.close(descriptor)


@pytest.mark.lab
@pytest.mark.timeout(600)
@pytest.mark.parametrize(("calls", "megabytes"), SIZES)
def test_noise_on_the_terminal_of_a_host(
    lab: Lab, make_shell: MakeShell, calls: int, megabytes: int, figure: Figure
) -> None:
    argv = ["ssh", "-F", str(lab.ssh_config), "-tt", "-e", "none", "alpha", "exec /bin/sh"]
    shell = make_shell("ssh", channel=ProcessChannel(argv, name="ssh alpha"))
    parent = shell.ask("echo $$")
    words = " ".join(word.hex() for word in NOISE)
    # Two jobs: one with the terminal as its output, one that opens it as `wall` does.
    shell.say(JOB.format(parent=parent, words=words))
    shell.say(JOB.format(parent=parent, words=words).removesuffix("&") + ">$(tty) &")
    with Link.start(shell.lane(), timeout=30) as link:
        _work_through(link, calls, megabytes, figure)
        assert link.alive
