"""Bulk moves a link to a channel beside its terminal and the link finds back: every message once, the prompt exact."""

from __future__ import annotations

import fcntl
import os
import random
import signal
import termios
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from crl.channels.base import Channel
from crl.channels.process import ProcessChannel
from crl.deadlines import Deadline
from crl.errors import CrlError, RemoteWorldError
from crl.interactivesessions._beside import lane_beside
from crl.link import Call, Lane, Link, LinkLost
from crl.link._engine import Engine
from crl.link.link import MANY, MANY_SECONDS
from tests.link.peers import INTERPRETERS, Shell, alive, eventually
from tests.link.storm import Storm

pytestmark = pytest.mark.clean_only("a terminal that needs armour is not left for another channel")
MUCH = 8 * 1024 * 1024
WIDE = 256 * 1024


class Changing:
    """A link over a local shell that can go over to pipes beside it.

    Args:
        kind: As of `Shell`.
        python: The interpreter to use.
        run: Opens the channel beside; a local one by itself.
        lane_change: As of `Link.start`.
    """

    def __init__(
        self,
        kind: str = "pty",
        python: str | None = None,
        run: Callable[[str, Deadline], Channel] | None = None,
        *,
        lane_change: bool = True,
    ) -> None:
        self.shells = [Shell(kind)]
        self.channels: list[ProcessChannel] = []
        self._run = run or self.run
        lane = replace(self.shells[0].lasting_lane(made=self.shells), beside=self._open)
        self.link = Link.start(lane, timeout=60, python=python, grace=20.0, lane_change=lane_change)
        assert eventually(lambda: self.link.resumable), self.link.why_not_resumable

    def run(self, command: str, deadline: Deadline) -> ProcessChannel:
        del deadline
        self.channels.append(ProcessChannel(["/bin/sh", "-c", command], name="beside", dialogue=False))
        return self.channels[-1]

    def _open(self, deadline: Deadline) -> Lane:
        return lane_beside(self._run, "localhost", deadline)

    def move(self) -> None:
        """Bulk, and with it the change."""
        before = self.link.statistics.lane_changes

        def has_moved() -> bool:
            self.little_is_bulk()
            return self.link.statistics.lane_changes > before

        assert eventually(has_moved, 20), self.link.why_no_lane_change

    def little_is_bulk(self) -> None:
        """Have the link take the next kilobytes for bulk, and send them."""
        self.link.engine.bulk.start(1, self.link._change_lane)
        assert self.link.invoke("len", bytes(10_000), timeout=60) == 10_000

    def kill_beside(self) -> None:
        """End the channel beside, with all that runs there."""
        self.channels[-1].close()

    def close(self) -> None:
        """End the link and all shells."""
        self.link.close()
        for shell in self.shells:
            shell.close()
        assert eventually(lambda: not alive(self.link.facts.pid)), "the remote program stays"
        assert all(channel.closed for channel in self.channels), "a channel stays"


@pytest.fixture
def changing() -> Iterator[Callable[..., Changing]]:
    made: list[Changing] = []

    def make(*args: object, **kwargs: object) -> Changing:
        made.append(Changing(*args, **kwargs))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for one in made:
        one.close()


def _prompt_is_exact(one: Changing) -> bool:
    return one.link.close(20) and one.shells[-1].ask("echo $((6 * 7))") == "42"


def test_who_expects_much_moves_the_link_at_once(changing: Callable[..., Changing]) -> None:
    one, stays = changing(), changing(lane_change=False)
    for each in (one, stays):
        each.link.expect_much()
    assert eventually(lambda: one.link.beside, 20), one.link.why_no_lane_change
    one.link.expect_much()
    assert one.link.evaluate("6 * 7") == stays.link.evaluate("6 * 7") == 42
    assert (one.link.statistics.lane_changes, stays.link.statistics.lane_changes) == (1, 0)
    assert _prompt_is_exact(one)


@pytest.mark.parametrize("direction", ["push", "pull", "value there", "value back", "output", "input"])
def test_the_first_bulk_moves_the_link(changing: Callable[..., Changing], tmp_path: Path, direction: str) -> None:
    one = changing()
    link = one.link
    for number in range(50):
        assert link.invoke("abs", -number) == number
    assert not link.beside
    assert link.why_no_lane_change is None
    data = os.urandom(MUCH)
    (tmp_path / "here").write_bytes(data)
    if direction == "push":
        link.files.push(tmp_path / "here", str(tmp_path / "there"))
        assert (tmp_path / "there").read_bytes() == data
    elif direction == "pull":
        link.files.pull(str(tmp_path / "here"), tmp_path / "there")
        assert (tmp_path / "there").read_bytes() == data
    elif direction == "value there":
        assert link.invoke("len", data) == MUCH
    elif direction == "value back":
        assert link.invoke("bytes", MUCH) == bytes(MUCH)
    elif direction == "output":
        assert link.run(["cat", str(tmp_path / "here")]).stdout == data
    else:
        assert link.run(["wc", "-c"], stdin=data).stdout.split() == [str(MUCH).encode()]
    assert eventually(lambda: link.beside, 20), link.why_no_lane_change
    # Counted right after.
    assert eventually(lambda: link.statistics.lane_changes == 1, 20)
    assert link.invoke("bytes", data, timeout=60) == data
    assert _prompt_is_exact(one)


def _call(link: Link, times: int) -> None:
    under_way = [link.submit_invoke("abs", (-number,)) for number in range(times)]
    assert [call.result(60) for call in under_way] == list(range(times))


def test_many_calls_in_a_short_time_move_the_link(changing: Callable[..., Changing]) -> None:
    one = changing()
    _call(one.link, MANY // 2)
    # Half of them long ago: then all of them were no storm.
    one.link._looked -= 2 * MANY_SECONDS
    _call(one.link, MANY)
    assert one.link.statistics.lane_changes == 0
    assert not one.channels

    def has_moved() -> bool:
        _call(one.link, MANY)
        return one.link.beside

    assert eventually(has_moved, 60), one.link.why_no_lane_change
    assert len(one.channels) == 1
    assert one.link.evaluate("6 * 7", timeout=60) == 42


@pytest.mark.parametrize("python", INTERPRETERS)
def test_every_interpreter_goes_there_and_back(changing: Callable[..., Changing], python: str) -> None:
    one = changing("pty", python)
    one.link.evaluate("counted = []")
    for number in range(3):
        one.move()
        assert one.link.evaluate(f"counted.append({number})", timeout=60) is None
        one.kill_beside()
        assert one.link.evaluate(f"counted.append({number} + 10)", timeout=60) is None
        assert eventually(lambda: not one.link.beside)
    assert one.link.evaluate("counted") == [0, 10, 1, 11, 2, 12]
    assert eventually(lambda: one.link.statistics.resumed == 3)
    assert _prompt_is_exact(one)


@pytest.mark.parametrize("kind", ["pty", "pipe"])
def test_the_prompt_comes_back_from_both_lanes(changing: Callable[..., Changing], kind: str) -> None:
    one = changing(kind)
    one.move()
    child = one.link.evaluate("__import__('subprocess').Popen(['sleep', '300']).pid")
    one.link.evaluate("import os, time")
    forked = one.link.evaluate("os.fork() or time.sleep(30)")
    try:
        assert _prompt_is_exact(one)
        assert alive(child)
        assert alive(forked)
    finally:
        os.kill(child, signal.SIGKILL)
        os.kill(forked, signal.SIGKILL)


def test_switched_off_the_link_stays(changing: Callable[..., Changing]) -> None:
    one = changing(lane_change=False)
    assert one.link.why_no_lane_change == "it is switched off"
    assert len(one.link.run(["cat"], stdin=bytes(MUCH)).stdout) == MUCH
    assert one.channels == []
    assert not one.link.beside


def test_without_a_channel_beside_the_link_stays(changing: Callable[..., Changing]) -> None:
    def refuse(command: str, deadline: Deadline) -> Channel:
        del command, deadline
        raise RemoteWorldError("one session is enough")

    one = changing(run=refuse)
    assert len(one.link.run(["cat"], stdin=bytes(MUCH)).stdout) == MUCH
    assert eventually(lambda: one.link.why_no_lane_change is not None)
    assert "one session is enough" in str(one.link.why_no_lane_change)
    assert not one.link.beside
    assert _prompt_is_exact(one)


@pytest.mark.parametrize("command", ["exit 3", "echo others; exec sleep 300", "kill -9 $$", "exec cat >/dev/null"])
def test_a_host_that_runs_another_command_keeps_the_link(
    changing: Callable[..., Changing], command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("crl.link._resume.CHANGE_SECONDS", 1.0)
    one: Changing = changing(run=lambda _command, deadline: one.run(command, deadline))
    assert len(one.link.run(["cat"], stdin=bytes(MUCH)).stdout) == MUCH
    assert eventually(lambda: one.link.why_no_lane_change is not None)
    assert not one.link.beside
    assert one.link.evaluate("1 + 1") == 2
    assert _prompt_is_exact(one)


def test_a_program_that_went_over_unheard_is_called_back(
    changing: Callable[..., Changing], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The program answers on the other channel, and its answer never arrives."""
    monkeypatch.setattr("crl.link._resume.CHANGE_SECONDS", 3.0)
    # What comes after the interpreter's announcement is lost on the way.
    lossy = "sh -c '{}' | {{ dd bs=1 count=52 2>/dev/null; sleep 300; }}"
    one: Changing = changing(run=lambda command, deadline: one.run(lossy.format(command.split("'", 2)[1]), deadline))
    link = one.link
    link.evaluate("counted = []")
    calls: list[Call] = []
    one.little_is_bulk()
    while link.why_no_lane_change is None:
        calls.append(link.submit_evaluate(f"counted.append({len(calls)})"))
        time.sleep(0.01)
    for call in calls:
        call.result(60)
    # They start in order, but one that is held up does not hold up the next.
    assert sorted(link.evaluate("counted")) == list(range(len(calls)))
    assert link.engine.session.epoch > 2
    assert not link.beside
    assert _prompt_is_exact(one)


def test_a_program_killed_on_the_other_lane_is_told_with_its_last_words(changing: Callable[..., Changing]) -> None:
    one = changing()
    one.move()
    said: list[bytes] = []
    one.link.on_output(lambda event: said.append(event.data))
    one.link.evaluate("import os")
    call = one.link.submit_evaluate("(os.write(2, b'last words'), os.kill(os.getpid(), 9))")
    with pytest.raises(LinkLost) as caught:
        call.result(60)
    assert "SIGKILL" in str(caught.value)
    one.link.settle_output()
    assert b"".join(said) == b"last words"
    assert _prompt_is_exact(one)


def test_the_terminal_may_end_under_the_other_lane(changing: Callable[..., Changing]) -> None:
    one = changing()
    one.move()
    one.shells[-1].close()
    for number in range(10):
        assert one.link.invoke("abs", number, timeout=60) == number
    assert one.link.beside
    one.kill_beside()
    # Nothing is left to go back to, so that a fresh terminal is opened.
    assert one.link.evaluate("7", timeout=15) == 7
    assert eventually(lambda: len(one.shells) == 2)
    assert _prompt_is_exact(one)


def test_who_waits_beside_may_be_killed(changing: Callable[..., Changing]) -> None:
    one = changing()
    one.move()
    os.kill(one.channels[-1].pid, signal.SIGKILL)
    # Here the program still holds the pipes; a host's sshd would close them.
    assert one.link.evaluate("7", timeout=60) == 7
    assert _prompt_is_exact(one)


def test_who_waits_in_the_terminal_may_be_killed(changing: Callable[..., Changing]) -> None:
    one = changing()
    waiting = one.link.evaluate("__import__('os').getppid()")
    one.move()
    parked = one.link._resumer._parked
    assert parked is not None
    os.kill(waiting, signal.SIGKILL)
    assert one.link.evaluate("7", timeout=60) == 7
    assert eventually(lambda: parked.ended)
    one.kill_beside()
    # That terminal's shell has its prompt again, so that a fresh one is opened.
    assert one.link.evaluate("7", timeout=15) == 7
    assert eventually(lambda: len(one.shells) == 2)
    assert _prompt_is_exact(one)


class LateLock:
    """The engine's lock, behind which the first thread that has noted the end of a terminal comes late."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._lock = threading.Lock()
        self.late = False

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_exc: object) -> None:
        late = self._engine.down is not None and not self.late
        self.late = self.late or late
        self._lock.release()
        assert not late or eventually(lambda: self._engine.down is None)


def test_the_link_is_back_before_the_end_of_a_lane_was_dealt_with(changing: Callable[..., Changing]) -> None:
    one = changing()
    one.move()
    late = LateLock(one.link.engine)
    one.link.engine._lock = late  # type: ignore[assignment]
    one.kill_beside()
    assert one.link.evaluate("7", timeout=60) == 7
    assert late.late
    assert one.link.alive
    assert _prompt_is_exact(one)


# The thread that reads is late between the look which terminal it is and reading from it.
READS_LATE = """
import os, time
program = __import__('sys').modules['_crl'].program
read = program._read
def read_late(here):
    program._read = read
    while program.terminal is here or not os.path.exists({go_on!r}):
        time.sleep(0.01)
    read(here)
program._read = read_late
"""


def test_the_way_back_is_found_by_a_program_that_is_late_to_leave(
    changing: Callable[..., Changing], tmp_path: Path
) -> None:
    one = changing()
    go_on = tmp_path / "go on"
    one.link.evaluate(READS_LATE.format(go_on=str(go_on)))
    call = one.link.submit_evaluate("6 * 7")
    one.link.expect_much()
    assert eventually(lambda: one.link.beside), one.link.why_no_lane_change
    one.kill_beside()
    assert eventually(lambda: not one.link.beside)
    # The greeting is in the terminal now.
    assert eventually(lambda: (back := one.link.engine._attachment) is not None and not back.unsent)
    go_on.touch()
    assert call.result(60) == 42
    assert _prompt_is_exact(one)
    assert len(one.shells) == 1, "a terminal was opened although there was one"


def test_a_link_that_is_closed_while_it_changes(changing: Callable[..., Changing]) -> None:
    chance = random.Random(5)
    for _ in range(8):
        one = changing()
        one.little_is_bulk()
        time.sleep(chance.uniform(0.0, 0.12))
        assert _prompt_is_exact(one)


@pytest.mark.parametrize("seed", range(2))
def test_there_and_back_at_random_moments_under_load(changing: Callable[..., Changing], seed: int) -> None:
    chance = random.Random(seed)
    one = changing()
    storm = Storm(one.link)
    try:
        for _ in range(12):
            one.move()
            time.sleep(chance.uniform(0.0, 0.05))
            one.kill_beside()
            assert eventually(lambda: not one.link.beside)
            time.sleep(chance.uniform(0.0, 0.03))
        storm.end()
    except BaseException:
        storm.abort()
        raise
    assert eventually(lambda: one.link.statistics.lane_changes == 12)
    assert len(one.shells) == 1, "a terminal was opened although there was one"
    assert _prompt_is_exact(one)


def test_transfers_go_on_over_every_change(changing: Callable[..., Changing], tmp_path: Path) -> None:
    chance = random.Random(9)
    one = changing()
    data = os.urandom(MUCH)
    (tmp_path / "here").write_bytes(data)
    for number in range(4):
        echo = one.link.start_process(["cat"])
        one.move()
        one.link.files.push(tmp_path / "here", str(tmp_path / f"there{number}"))
        echo.write(b"on both")
        one.kill_beside()
        time.sleep(chance.uniform(0.0, 0.02))
        one.link.files.pull(str(tmp_path / f"there{number}"), tmp_path / f"back{number}")
        echo.close_stdin()
        assert b"".join(iter(echo.read_stdout, b"")) == b"on both"
        assert (tmp_path / f"back{number}").read_bytes() == data
    assert _prompt_is_exact(one)


def _relay_of_output(channel: ProcessChannel) -> int:
    """The process id of the second `cat` of `_through_pipes`."""
    children = Path(f"/proc/{channel.pid}/task/{channel.pid}/children").read_text(encoding="ascii").split()
    return int(children[-1])


def _in_pipe(pid: int) -> tuple[int, int]:
    """How many bytes stand in the pipe that a process reads, and how many it holds."""
    descriptor = os.open(f"/proc/{pid}/fd/0", os.O_RDONLY | os.O_NONBLOCK)
    try:
        count = fcntl.ioctl(descriptor, termios.FIONREAD, bytes(4))
        return int.from_bytes(count, "little"), fcntl.fcntl(descriptor, fcntl.F_GETPIPE_SZ)
    finally:
        os.close(descriptor)


@pytest.mark.parametrize("python", INTERPRETERS)
def test_a_full_pipe_beside_holds_up_nothing_but_itself(changing: Callable[..., Changing], python: str) -> None:
    """Where sshd gives pipes, they are wide, and a frame that stands in one in part comes whole over the terminal."""

    def through_pipes(command: str, deadline: Deadline) -> Channel:
        return one.run(f"cat | ({command}) | cat", deadline)

    one: Changing = changing("pty", python, through_pipes)
    one.move()
    one.link.evaluate("import sys; sys.modules['_crl'].program.session.sender._set_window(1 << 20)")
    relay = _relay_of_output(one.channels[-1])
    os.kill(relay, signal.SIGSTOP)
    try:
        call = one.link.submit_evaluate(f"u'x' * {MUCH}")
        assert eventually(lambda: _in_pipe(relay)[0] > WIDE * 3 // 4), _in_pipe(relay)
        assert _in_pipe(relay)[1] == WIDE
    finally:
        one.kill_beside()
    assert call.result(60) == "x" * MUCH
    assert not one.link.beside
    assert _prompt_is_exact(one)


def test_nothing_is_executed_by_the_shell_that_waits(changing: Callable[..., Changing], tmp_path: Path) -> None:
    """What stood in the terminal when the link left it, and when it came back."""
    one = changing()
    evil = f"\n\n:; touch {tmp_path}/evil #\n".encode() * 20_000
    for _ in range(3):
        calls = [one.link.submit_invoke("len", (evil,)) for _ in range(4)]
        one.move()
        calls += [one.link.submit_invoke("len", (evil,)) for _ in range(4)]
        one.kill_beside()
        assert [call.result(60) for call in calls] == [len(evil)] * 8
    assert _prompt_is_exact(one)
    assert list(tmp_path.iterdir()) == []


def test_errors_of_the_lane_beside_are_ours(changing: Callable[..., Changing]) -> None:
    one = changing()
    with pytest.raises(CrlError, match="ended"):
        lane_beside(lambda _command, deadline: one.run("exit 3", deadline), "localhost", Deadline.after(20))
    with pytest.raises(CrlError, match="in time"):
        lane_beside(lambda _command, deadline: one.run("exec sleep 60", deadline), "localhost", Deadline.after(0.2))
    assert all(channel.closed for channel in one.channels)
