"""The spawn keeps its deadlines on a flood, its memory bounded, and its hands off a channel that is lent."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator

import pexpect
import pytest

from crl.channels import LocalPtyChannel, ProcessChannel
from crl.channels.base import ChannelInUse
from crl.interactivesessions._spawn import ChannelSpawn
from crl.interactivesessions.shells._prompt import ShellPrompt
from crl.secrets import Secret


def shell(script: str) -> ProcessChannel:
    return ProcessChannel(["sh", "-c", script], dialogue=False)


@pytest.fixture
def cat() -> Iterator[ChannelSpawn]:
    spawn = ChannelSpawn(ProcessChannel(["cat"]), timeout=60)
    yield spawn
    spawn.close()


@pytest.mark.parametrize("text", ["plain", "⏎ 日本 höflich", b"\xff\xfe bytes"])
def test_patterns_of_any_characters(cat: ChannelSpawn, text: str | bytes) -> None:
    encoded = text.encode() if isinstance(text, str) else text
    cat.sendline(b"before " + encoded + b" after")
    assert cat.expect_exact(["nothing", text]) == 1
    assert (cat.before, cat.after) == (b"before ", encoded)
    cat.sendline(encoded)
    assert cat.expect([re.escape(encoded), "other"]) == 0
    assert cat.match.group() == encoded


def test_regular_expressions_and_lists(cat: ChannelSpawn) -> None:
    cat.sendline("value=42;")
    assert cat.expect(r"value=(\d+);") == 0
    assert cat.match.group(1) == b"42"
    cat.sendline("late")
    assert cat.expect_list([re.compile(b"never"), re.compile(b"late")], timeout=60) == 1
    assert cat.expect([pexpect.TIMEOUT, "never"], timeout=0.05) == 0


def test_timeout_and_end() -> None:
    spawn = ChannelSpawn(shell("echo last; exit 3"), timeout=60)
    try:
        assert spawn.expect(pexpect.EOF) == 0
        assert spawn.before == b"last\n"
        with pytest.raises(pexpect.EOF):
            spawn.read_nonblocking(1, timeout=1)
        assert not spawn.isalive()
        assert spawn.channel.wait(60) == spawn.returncode == 3  # type: ignore[attr-defined]
    finally:
        spawn.close()


def test_deadline_holds_on_a_flood() -> None:
    spawn = ChannelSpawn(shell("exec yes"), timeout=60, output_cap=100_000)
    try:
        began = time.monotonic()
        with pytest.raises(pexpect.TIMEOUT):
            spawn.expect_exact("never", timeout=0.4)
        assert time.monotonic() - began < 30, "its own limit is 60 s"
        assert spawn.dropped > 0
        assert len(spawn.before) < 3_000_000
    finally:
        spawn.close()


def test_flood_keeps_the_tail() -> None:
    spawn = ChannelSpawn(shell("seq 400000; echo done"), timeout=60, output_cap=10_000)
    try:
        assert spawn.expect_exact("done") == 0
        assert spawn.before.endswith(b"399999\n400000\n")
        total = sum(len(str(number)) + 1 for number in range(1, 400_001))
        assert spawn.dropped + len(spawn.before) == total
    finally:
        spawn.close()


def test_writing_more_than_a_pipe_holds_while_the_program_writes_too(cat: ChannelSpawn) -> None:
    line = b"x" * 1000 + b"\n"
    assert cat.send(line * 3000) == 3000 * len(line)
    cat.sendline("end")
    cat.expect_exact("end", timeout=60)
    assert cat.before == line * 3000


def test_stderr_that_nobody_asks_for_does_not_block() -> None:
    channel = shell("head -c 300000 /dev/zero >&2; echo tail >&2; echo through; exec cat")
    spawn = ChannelSpawn(channel, sides=[channel.stderr], timeout=60)
    try:
        assert spawn.expect_exact("through") == 0
        assert spawn.drain_sides().endswith(b"tail\n")
        assert len(spawn.side_tail) <= 8192
    finally:
        spawn.close()


def test_lent_channel(cat: ChannelSpawn) -> None:
    cat.sendline("ahead")
    cat.expect_exact("a")
    channel = cat.lend("the link")
    for use in (
        lambda: cat.send("x"),
        lambda: cat.expect_exact("x"),
        lambda: cat.read_nonblocking(1, 0),
        lambda: cat.lend("another"),
    ):
        with pytest.raises(ChannelInUse, match="the link"):
            use()
    assert cat.take_pending() == b"head\n"
    assert cat.isalive()
    assert channel is cat.channel
    cat.take_back(b"leftover\n")
    cat.sendline("mine")
    cat.expect_exact("mine")
    assert cat.before == b"leftover\n"


def test_status_is_taken_out_of_before(cat: ChannelSpawn) -> None:
    prompt = ShellPrompt()
    cat.add_prompt(prompt)
    cat.send(f"output{prompt.mark}42{prompt.end}")
    cat.expect_exact(prompt.end)
    assert (cat.before, cat.last_status) == (b"output", 42)
    cat.send(f"output{prompt.end}")
    cat.expect_exact(prompt.end)
    assert (cat.before, cat.last_status) == (b"output", None)


def test_secret_is_sent_and_not_logged(cat: ChannelSpawn, tmp_path: os.PathLike[str]) -> None:
    path = os.path.join(tmp_path, "log")
    cat.logfile_send = open(path, "ab")  # noqa: SIM115 - the spawn closes it
    cat.send_secret(Secret("canary-5f3e"))
    cat.expect_exact("canary-5f3e\n")
    assert "canary-5f3e" not in str(cat)
    cat.close()
    with open(path, "rb") as log:
        assert log.read() == b"<secret>\n"


def test_terminal_size() -> None:
    spawn = ChannelSpawn(LocalPtyChannel(["sh", "-c", "read x; stty size"]), timeout=60)
    try:
        spawn.setwinsize(33, 77)
        spawn.sendline()
        assert spawn.expect_exact("33 77") == 0
    finally:
        spawn.close()


def test_control_characters() -> None:
    spawn = ChannelSpawn(LocalPtyChannel(["sh", "-c", "trap 'echo caught; exit 5' INT; echo up; read x"]), timeout=60)
    try:
        spawn.expect_exact("up")
        spawn.sendcontrol("c")
        assert spawn.expect_exact("caught") == 0
    finally:
        spawn.close()
