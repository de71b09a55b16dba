"""What was sent to a shell that has ended is executed by no shell under it, and that one is usable as before."""

from __future__ import annotations

import copy
import os
import select
import shutil
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from crl.interactivesessions.interactivesessionexceptions import ShellEnded, ShellStartError
from crl.interactivesessions.shells._guard import Guard
from crl.interactivesessions.shells._lines import command_lines
from crl.interactivesessions.shells._prompt import ShellPrompt
from crl.interactivesessions.shells.bashshell import BashShell
from crl.link.lane import Lane
from tests.link.peers import eventually

if TYPE_CHECKING:
    from tests.shells.conftest import Open

OUTER = ["bash --norc", "dash", "busybox ash", "zsh -f", "fish", "tcsh"]
# How the terminal is when the inner shell is killed: as a link has it, and as a program that reads lines.
RAW = "stty raw -echo; exec sleep 1000"
LINES = "trap '' INT QUIT TSTP; exec sleep 1000"
MANY = 300


def evil(mark: Path) -> bytes:
    """Lines that a shell would execute, each behind a byte that a terminal may take for something else."""
    line = b"touch %s" % os.fsencode(mark)
    return b"".join(between + line for between in (b"\n", b"\x03", b"\n\x1a", b"\n\x1c", b"\r", b"\n\x04", b"\0\n\x13"))


def busy(lane: Lane, pid: int, line: str) -> None:
    """Have the inner shell become a program that reads nothing."""
    lane.send_line(line)
    assert eventually(lambda: Path(f"/proc/{pid}/comm").read_text() == "sleep\n")


def send_all(lane: Lane, data: bytes) -> None:
    view = memoryview(data)
    poller = select.poll()
    poller.register(lane.channel.fileno(), select.POLLOUT)
    limit = time.monotonic() + 60
    while view:
        assert poller.poll(1000) or time.monotonic() < limit, "nobody swallows it"
        view = view[lane.channel.write(view) :]


# A zsh whose own command is stopped by a Ctrl-Z on the way goes on in another process, so that it is tried raw only.
@pytest.mark.parametrize(
    ("outer", "line"),
    [
        *(pytest.param(outer, RAW, id=f"{outer}-raw") for outer in OUTER),
        *(pytest.param(outer, LINES, id=f"{outer}-lines") for outer in OUTER if outer != "zsh -f"),
    ],
)
def test_what_was_meant_for_a_dead_shell_is_not_executed(
    open_session: Open, tmp_path: Path, outer: str, line: str
) -> None:
    if shutil.which(outer.split()[0]) is None:
        pytest.skip(f"there is no {outer.split()[0]} here")
    mark = tmp_path / "executed"
    parent, inner = BashShell(outer), BashShell("bash --norc")
    session = open_session(parent)
    settings = parent.exec_command("stty -g")
    session.push(inner)
    pid = int(inner.exec_command("echo $$"))
    lane = inner.lane()
    busy(lane, pid, line)
    send_all(lane, evil(mark) * 10)
    os.kill(pid, signal.SIGKILL)
    send_all(lane, evil(mark) * MANY)
    with pytest.raises(ShellEnded, match="the prompt of a shell under it"):
        lane.give_back(b"")
    session.pop()
    assert parent.exec_command("echo here") == "here\r\n"
    assert parent.exec_command("stty -g") == settings
    assert parent.exec_command("set | grep '^crl_[glnt]='") == ""
    assert not mark.exists()
    session.push(BashShell("bash --norc"))
    assert session.current_shell().exec_command("echo again") == "again\r\n"


def test_a_command_for_a_shell_that_is_being_killed(open_session: Open, tmp_path: Path) -> None:
    """What was typed in the moment between the look and the end goes nowhere."""
    mark = tmp_path / "executed"
    parent, inner = BashShell("bash --norc"), BashShell("bash --norc")
    session = open_session(parent, inner)
    os.kill(int(inner.exec_command("echo $$")), signal.SIGKILL)
    session.terminal.send(f"touch {mark}\n")
    with pytest.raises(ShellEnded):
        inner.exec_command("echo not here")
    session.pop()
    assert parent.exec_command(f"ls {mark}").startswith("ls: cannot access")


def test_a_shell_that_the_inner_one_was_left_for_answers_at_once(open_session: Open) -> None:
    """Whoever saw the inner one's end does not have to interrupt anything, which nothing would answer."""
    parent = BashShell("bash --norc")
    session = open_session(parent)
    with pytest.raises(ShellStartError, match="exit status 9"):
        session.push(BashShell("sh -c 'exit 9'"))
    assert parent.trouble is None
    assert parent.exec_command("echo here") == "here\r\n"


def test_one_question_is_answered(open_session: Open, tmp_path: Path) -> None:
    """Nothing behind the guard's own word is lost: bash reads ahead from a terminal that gives no lines."""
    sent = tmp_path / "sent"
    session = open_session(BashShell("bash --norc"), dump_outgoing=str(sent))
    session.push(BashShell("bash --norc"))
    before = sent.read_bytes().count(b"\necho ")
    session.pop()
    # One for the shell that is left, and one for the other.
    assert sent.read_bytes().count(b"\necho ") == before + 2


def test_a_twin_does_not_answer_the_guard_of_the_first(open_session: Open) -> None:
    """A shell that is started once more, beside the first, as a link that is resumed does."""
    first = BashShell("bash --norc")
    open_session(first, BashShell("bash --norc"))
    twin = copy.copy(first)
    sent: list[bytes] = []
    first._spawned.send = sent.append  # what a shell holds
    session = open_session(twin)
    twin.verify()
    session.pop()
    assert sent == []
    del first._spawned.send


def test_the_line_that_guards(open_session: Open) -> None:
    prompt = ShellPrompt()
    guard = Guard(open_session(BashShell("bash --norc")).terminal, prompt)
    line = guard.line("ssh host")
    assert prompt.end not in line
    assert prompt.mark not in line
    assert len(command_lines(line, 1000)) == 1, "no longer than any terminal takes"
    assert guard.line("") == ""
    assert guard.line("bash &") == "bash &"
