"""Processes: exact bytes and status, live, in bounded memory; what is killed is gone with all its children."""

from __future__ import annotations

import os
import resource
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from crl.link import CallTimeout, Link, LinkLost, ProcessTimeout
from tests.link.peers import INTERPRETERS, alive, eventually

MakeLink = Callable[..., Link]


@pytest.mark.parametrize("python", INTERPRETERS, ids=lambda path: path.split("/")[-3])
def test_bytes_and_status_are_those_of_a_local_run(make_link: MakeLink, python: str) -> None:
    link = make_link(python=python)
    data = os.urandom(300_000)
    echoed = link.run(["cat"], stdin=data)
    assert (echoed.status, echoed.stdout, echoed.stderr, echoed.complete) == (0, data, b"", True)
    assert link.run("echo out; echo err >&2; exit 7").status == 7
    assert link.run("kill -9 $$").status == -9
    both = link.run("printf 'a\\0b'; printf '\\377' >&2")
    assert (both.stdout, both.stderr) == (b"a\0b", b"\xff")
    assert link.run(["printf", "%s", "$HOME *\u20ac"]).stdout.decode() == "$HOME *\u20ac"
    with pytest.raises(FileNotFoundError):
        link.run(["/no/such/program"])
    with pytest.raises(FileNotFoundError):
        link.run(["true"], cwd="/no/such/folder")
    with pytest.raises(PermissionError):
        link.run(["/etc/passwd"])
    assert link.run("pwd", cwd="/usr").stdout == b"/usr\n"
    assert link.run("echo $A.$HOME", env={"A": "1", "HOME": None}).stdout == b"1.\n"
    open_in_child = link.run(["ls", "/proc/self/fd"]).stdout.split()
    assert open_in_child == [b"0", b"1", b"2", b"3"]


def test_output_comes_while_the_process_runs(link: Link) -> None:
    process = link.start_process("read a; echo got $a; read b; echo and $b; read c; echo $c >&2; cat")
    process.write(b"one\n")
    assert process.read_stdout(5) == b"got one\n"
    process.write(b"two\n")
    assert process.read_stdout(5) == b"and two\n"
    with pytest.raises(CallTimeout):
        process.read_stdout(0.1)
    assert process.status is None
    process.write(b"err\n")
    assert process.read_stderr(5) == b"err\n"
    process.close_stdin()
    assert process.read_stdout(5) == b""
    assert process.wait(5) == 0
    assert process.status == 0


def test_lines_come_one_by_one(link: Link) -> None:
    assert list(link.start_process("printf 'a\\nb\\n\\nlast'").lines(5)) == [b"a", b"b", b"", b"last"]


def test_large_output_with_a_slow_reader_takes_little_memory(link: Link) -> None:
    total = 60_000_000
    process = link.start_process(["head", "-c", str(total), "/dev/zero"])
    time.sleep(0.3)
    target = Path(f"/proc/{link.facts.pid}/status").read_text(encoding="ascii")
    resident = int(target.split("VmRSS:")[1].split()[0])
    assert resident < 60_000
    assert link.evaluate("1") == 1
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    received = 0
    while data := process.read_stdout(20):
        received += len(data)
    assert received == total
    assert process.wait(5) == 0
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 30_000


def test_a_process_that_does_not_read_blocks_its_writer_only(link: Link) -> None:
    process = link.start_process(["sleep", "60"])
    with pytest.raises(CallTimeout):
        process.write(bytes(5_000_000), timeout=0.5)
    assert link.run(["cat"], stdin=b"x").stdout == b"x"
    assert process.kill(0.1) == ()
    assert process.wait(5) in (-signal.SIGTERM, -signal.SIGKILL)


def test_a_process_that_closes_its_input_is_a_broken_pipe(link: Link) -> None:
    process = link.start_process("exec 0<&-; sleep 60")
    with pytest.raises(BrokenPipeError):
        process.write(bytes(10_000_000), timeout=20)
    process.kill(0.1)
    assert link.run(["true"], stdin=bytes(3_000_000)).status == 0


def test_a_timeout_ends_the_command_and_all_its_children(link: Link) -> None:
    command = "echo begun; sleep 301 & setsid sleep 302 & (trap '' TERM; sleep 303) & env -i sleep 304"
    started = time.monotonic()
    with pytest.raises(ProcessTimeout, match="were killed") as caught:
        link.run(command, timeout=0.5)
    assert time.monotonic() - started < 6
    assert caught.value.alive == ()
    assert caught.value.partial[0] == b"begun\n"
    assert caught.value.host == "localhost"
    for seconds in ("301", "302", "303", "304"):
        assert link.run(f"ps ax -o args | grep -c '^sleep {seconds}'").stdout == b"0\n"


def test_signals_go_to_the_group(link: Link) -> None:
    process = link.start_process("trap 'echo caught; exit 5' USR1; echo ready; while :; do sleep 0.05; done")
    assert process.read_stdout(5) == b"ready\n"
    assert process.send_signal(signal.SIGUSR1)
    assert process.wait(5) == 5
    assert process.read_stdout(5) == b"caught\n"
    assert not process.send_signal(signal.SIGUSR1)


def test_a_child_left_behind_does_not_hold_the_end_up(link: Link) -> None:
    started = time.monotonic()
    result = link.run("echo now; sleep 30 & echo $! >&2")
    assert time.monotonic() - started < 5
    assert (result.status, result.stdout, result.complete) == (0, b"now\n", False)
    os.kill(int(result.stderr), signal.SIGKILL)


def test_owned_processes_end_with_the_link_and_detached_ones_stay(make_link: MakeLink) -> None:
    link = make_link()
    owned = link.start_process("sleep 300 & setsid sleep 300 & echo $! & wait")
    stray = int(owned.read_stdout(5))
    detached = link.start_detached(["sleep", "300"])
    try:
        assert link.close()
        assert eventually(lambda: not alive(owned.pid) and not alive(stray))
        # Its end may or may not have come before that of the link.
        with suppress(LinkLost):
            assert owned.wait(5) in (-signal.SIGTERM, -signal.SIGKILL)
        with pytest.raises((LinkLost, BrokenPipeError)):
            owned.write(b"x")
        assert alive(detached)
    finally:
        os.kill(detached, signal.SIGKILL)


def test_an_interrupted_run_leaves_nothing(link: Link) -> None:
    def interrupt(_signum: int, _frame: object) -> None:
        raise KeyboardInterrupt

    old = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.3)
    try:
        with pytest.raises(KeyboardInterrupt):
            link.run(["sleep", "305"])
    finally:
        signal.signal(signal.SIGALRM, old)
    assert eventually(lambda: link.run("ps ax -o args | grep -c '^sleep 305'").stdout == b"0\n")
    assert link.evaluate("1") == 1


def test_many_processes_at_once(link: Link) -> None:
    running = [link.start_process(f"echo {number}; exit {number}") for number in range(30)]
    assert [process.wait(20) for process in running] == list(range(30))
    assert [process.read_stdout(5) for process in running] == [b"%d\n" % number for number in range(30)]
