"""A link whose terminal ends goes on over another one: nothing lost, nothing done twice, handles and calls alive."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from crl.link import CallTimeout, Link, LinkLost, ProgramGone
from tests.link.peers import INTERPRETERS, PATIENCE, Shell, alive, eventually
from tests.link.ways import SLOW

GRACE = 20.0
PREPARE = "counted = []\ndef bump(number):\n    counted.append(number)\n    return number\n"


class Lasting:
    """A link over local shells, and what is needed to cut it."""

    def __init__(self, kind: str, python: str | None = None, grace: float = GRACE) -> None:
        self.shells = [Shell(kind)]
        self.link = Link.start(self.shells[0].lasting_lane(made=self.shells), timeout=60, python=python, grace=grace)
        # What makes it so takes its time on a slow lane.
        assert eventually(lambda: self.link.resumable, 30), self.link.why_not_resumable

    def cut(self) -> None:
        """End the terminal as a closed window does."""
        self.shells[-1].close()

    def close(self) -> None:
        """End the link and all shells."""
        self.link.close(PATIENCE)
        for shell in self.shells:
            shell.close()
        assert eventually(lambda: not alive(self.link.facts.pid)), "the remote program stays"


@pytest.fixture
def lasting() -> Iterator[Callable[..., Lasting]]:
    made: list[Lasting] = []

    def make(*args: object, **kwargs: object) -> Lasting:
        made.append(Lasting(*args, **kwargs))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.mark.parametrize("kind", ["pipe", "pty"])
def test_calls_handles_and_streams_live_through_a_cut(lasting: Callable[..., Lasting], kind: str) -> None:
    one = lasting(kind)
    link = one.link
    link.evaluate(PREPARE)
    running = link.submit_evaluate("[__import__('time').sleep(0.6), 'done'][1]")
    process = link.start_process(["cat"])
    process.write(b"before the cut,")
    pid = link.facts.pid
    one.cut()
    assert link.invoke("bump", 1, timeout=60) == 1
    process.write(b" behind it")
    process.close_stdin()
    assert running.result(60) == "done"
    assert process.wait(60) == 0
    assert b"".join(iter(process.read_stdout, b"")) == b"before the cut, behind it"
    assert link.evaluate("counted") == [1]
    assert link.evaluate("__import__('os').getpid()") == pid
    assert eventually(lambda: link.statistics.resumed == 1)


@pytest.mark.parametrize("python", INTERPRETERS)
def test_every_interpreter_resumes(lasting: Callable[..., Lasting], python: str) -> None:
    one = lasting("pty", python)
    one.link.evaluate(PREPARE)
    for number in range(3):
        one.cut()
        assert one.link.invoke("bump", number, timeout=60) == number
    assert one.link.evaluate("counted") == [0, 1, 2]
    assert one.link.close(20)


@pytest.mark.every_way
def test_the_shell_has_its_terminal_back_after_a_resumed_link(lasting: Callable[..., Lasting]) -> None:
    one = lasting("pty")
    one.cut()
    assert one.link.evaluate("1", timeout=60) == 1
    assert one.link.close(20)
    assert one.shells[-1].ask("echo back") == "back"


@pytest.mark.long
@pytest.mark.timeout(400)
@pytest.mark.parametrize("over", [SLOW], indirect=True, scope="session")
def test_a_line_of_1200_bytes_a_second_is_resumed(
    lasting: Callable[..., Lasting], figure: Callable[[str], None]
) -> None:
    one = lasting("pty")
    link = one.link
    link.evaluate(PREPARE)
    process = link.start_process(["cat"])
    process.write(b"before the cut,")
    running = link.submit_evaluate("[__import__('time').sleep(5), 'done'][1]")
    times = []
    for number in range(2):
        one.cut()
        started = time.monotonic()
        assert link.invoke("bump", number, timeout=60) == number
        times.append(time.monotonic() - started)
    process.write(b" behind it")
    process.close_stdin()
    assert running.result(60) == "done"
    assert process.wait(60) == 0
    assert b"".join(iter(process.read_stdout, b"")) == b"before the cut, behind it"
    assert link.evaluate("counted") == [0, 1]
    assert eventually(lambda: link.statistics.resumed == 2)
    assert link.close(60)
    assert one.shells[-1].ask("echo back") == "back"
    figure(f"next result after a cut at 1,200 bytes a second: {', '.join(f'{one:.1f} s' for one in times)}")


@pytest.mark.parametrize("seed", range(4))
def test_random_cuts_under_load(lasting: Callable[..., Lasting], seed: int) -> None:
    chance = random.Random(seed)
    one = lasting("pty" if seed % 2 else "pipe")
    one.link.evaluate(PREPARE)
    stop = threading.Event()
    sent: list[int] = []
    wrong: list[object] = []
    numbers = iter(range(10**9))
    lock = threading.Lock()

    def work() -> None:
        while not stop.is_set():
            with lock:
                number = next(numbers)
                sent.append(number)
            answer = one.link.invoke("bump", number, timeout=30)
            if answer != number:
                wrong.append((number, answer))

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    data = os.urandom(4_000_000)
    results: list[bytes] = []
    stream = threading.Thread(target=lambda: results.append(one.link.run(["cat"], stdin=data).stdout))
    stream.start()
    for cut in range(1, 11):
        time.sleep(chance.uniform(0.0, 0.08))
        one.cut()
        assert eventually(lambda cut=cut: one.link.statistics.resumed >= cut, 15)  # type: ignore[misc]
    stop.set()
    for thread in [*workers, stream]:
        thread.join(30)
    assert wrong == []
    assert sorted(one.link.evaluate("counted")) == sent
    assert results == [data]


def test_a_program_that_is_gone_is_told_at_once(lasting: Callable[..., Lasting]) -> None:
    one = lasting("pty")
    call = one.link.submit_invoke("__import__('time').sleep", (30,))
    os.kill(one.link.facts.pid, signal.SIGKILL)
    one.cut()
    started = time.monotonic()
    with pytest.raises(LinkLost) as caught:
        call.result(60)
    assert time.monotonic() - started < GRACE / 2
    assert isinstance(caught.value, ProgramGone) or "by force" in str(caught.value)


def test_who_waits_in_the_shell_may_be_killed(lasting: Callable[..., Lasting]) -> None:
    one = lasting("pipe")
    pid = one.link.facts.pid
    waiting = one.link.evaluate("open('/proc/%d/stat' % __import__('os').getppid()).read()")
    assert "(sh)" in waiting
    os.kill(int(waiting.split()[0]), signal.SIGKILL)
    assert eventually(lambda: one.link.statistics.resumed == 1)
    assert one.link.evaluate("__import__('os').getpid()", timeout=60) == pid


def test_without_grace_the_link_ends_with_its_terminal() -> None:
    shell = Shell("pty")
    link = Link.start(shell.lasting_lane(), timeout=60, grace=0)
    assert not link.resumable
    assert link.why_not_resumable == "its grace is 0"
    shell.close()
    with pytest.raises(LinkLost):
        link.evaluate("1", timeout=60)
    assert eventually(lambda: not alive(link.facts.pid))
    link.close()


def test_a_terminal_that_cannot_be_had_again_ends_the_link_after_the_grace() -> None:
    shell = Shell("pty")

    def again() -> Shell:
        raise ConnectionRefusedError("no way there")

    link = Link.start(shell.lasting_lane(again), timeout=60, grace=3.0)
    assert eventually(lambda: link.resumable)
    owned = link.start_process(["sleep", "311"])
    shell.close()
    with pytest.raises(CallTimeout, match=r"down for .* is being resumed"):
        link.evaluate("1", timeout=0.5)
    started = time.monotonic()
    with pytest.raises(LinkLost, match=r"no other terminal could be opened within .* no way there"):
        link.evaluate("1", timeout=60)
    assert time.monotonic() - started < 15
    assert eventually(lambda: not alive(link.facts.pid) and not alive(owned.pid))
    link.close()


def test_a_wrong_token_and_a_torn_candidate_leave_the_terminal_alone(lasting: Callable[..., Lasting]) -> None:
    one = lasting("pty")
    door = one.link._resumer._recipe.door
    code = (
        "import os, socket, struct\n"
        "def knock(data, descriptors):\n"
        "    s = socket.socket(socket.AF_UNIX)\n"
        f"    s.connect('\\0{door}')\n"
        "    for d in descriptors:\n"
        "        s.sendmsg([b'd'], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack('i', d))])\n"
        "    s.sendall(data)\n"
        "    s.settimeout(20)\n"
        "    try:\n"
        "        return s.recv(1)\n"
        "    except ConnectionResetError:\n"
        "        return b''\n"
        "a, b = socket.socketpair()\n"
    )
    one.link.evaluate(code)
    for data, descriptors in [
        (b"0" * 32 + b" 9 1\n", "[a.fileno(), a.fileno()]"),
        (b"nonsense\n", "[a.fileno(), a.fileno()]"),
        (b"x" * 5000, "[a.fileno(), a.fileno()]"),
        (b"no descriptors at all\n", "[]"),
    ]:
        assert one.link.evaluate(f"knock({data!r}, {descriptors})", timeout=30) == b""
    assert one.link.statistics.resumed == 0
    assert one.link.evaluate("6 * 7", timeout=60) == 42


def test_a_link_may_be_closed_while_its_resume_begins(
    lasting: Callable[..., Lasting], monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, never = threading.Event(), threading.Event()
    start = threading.Thread.start

    def start_late(thread: threading.Thread) -> None:
        if thread.name.startswith("crl-resume"):
            begun.set()
            # Longer than the close needs to look for the thread.
            never.wait(0.5)
        start(thread)

    one = lasting("pty", grace=1.0)
    monkeypatch.setattr(threading.Thread, "start", start_late)
    one.cut()
    assert begun.wait(60)
    one.link.close(timeout=20)
    assert not one.link.alive


def test_a_terminal_that_ends_while_its_resume_comes_to_an_end(
    lasting: Callable[..., Lasting], monkeypatch: pytest.MonkeyPatch
) -> None:
    one = lasting("pty", grace=60.0)
    resuming: list[threading.Thread] = []
    noticed = threading.Event()
    note_resume, ask = one.link._note_resume, one.link.engine._on_doubt

    def note_late(pause: float) -> None:
        note_resume(pause)
        if not resuming:
            resuming.append(threading.current_thread())
            one.cut()
            assert noticed.wait(60)

    def ask_slowly(reason: LinkLost) -> bool:
        answer = ask(reason)
        if resuming:
            noticed.set()
            # The first resume's thread looks for the last time before the answer is acted on.
            resuming[0].join(1)
        return answer

    monkeypatch.setattr(one.link._resumer, "on_resumed", note_late)
    monkeypatch.setattr(one.link.engine, "_on_doubt", ask_slowly)
    one.cut()
    assert eventually(lambda: one.link.statistics.resumed == 2, 30)
    assert one.link.evaluate("6 * 7", timeout=60) == 42


def test_a_closed_link_is_not_resumed(lasting: Callable[..., Lasting]) -> None:
    one = lasting("pty", grace=1.0)
    one.cut()
    one.link.close(timeout=3)
    assert not one.link.alive
    with pytest.raises(LinkLost):
        one.link.evaluate("1")
