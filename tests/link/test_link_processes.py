"""Processes: exact bytes and status, live, in bounded memory; what is killed is gone with all its children."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import FrameType

import pytest

from crl.errors import UsageError
from crl.link import CallTimeout, Detached, Link, LinkLost, ProcessTimeout, RemoteProcess
from tests.link.peers import INTERPRETERS, alive, eventually

MakeLink = Callable[..., Link]
# Others may run the same tests: their processes are not ours.
MARK = os.getpid()
every_python = pytest.mark.parametrize("python", INTERPRETERS, ids=lambda path: path.split("/")[-3])


def sleepers() -> list[str]:
    """The processes of these tests that sleep still."""
    found = subprocess.run(["ps", "ax", "-o", "args"], capture_output=True, text=True, check=True).stdout
    return [line for line in found.splitlines() if line.startswith("sleep ") and line.endswith(f".{MARK}")]


@every_python
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
    assert process.read_stdout(60) == b"got one\n"
    process.write(b"two\n")
    assert process.read_stdout(60) == b"and two\n"
    with pytest.raises(CallTimeout):
        process.read_stdout(0.1)
    assert process.status is None
    process.write(b"err\n")
    assert process.read_stderr(60) == b"err\n"
    process.close_stdin()
    assert process.read_stdout(60) == b""
    assert process.wait(60) == 0
    assert process.status == 0


def test_lines_come_one_by_one(link: Link) -> None:
    assert list(link.start_process("printf 'a\\nb\\n\\nlast'").lines(60)) == [b"a", b"b", b"", b"last"]


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
    while data := process.read_stdout(60):
        received += len(data)
    assert received == total
    assert process.wait(60) == 0
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 30_000


def test_a_process_that_does_not_read_blocks_its_writer_only(link: Link) -> None:
    process = link.start_process(["sleep", "60"])
    with pytest.raises(CallTimeout):
        process.write(bytes(5_000_000), timeout=0.5)
    assert link.run(["cat"], stdin=b"x").stdout == b"x"
    assert process.kill(0.1) == ()
    assert process.wait(60) in (-signal.SIGTERM, -signal.SIGKILL)


def test_a_process_that_closes_its_input_is_a_broken_pipe(link: Link) -> None:
    process = link.start_process("exec 0<&-; sleep 60")
    with pytest.raises(BrokenPipeError):
        process.write(bytes(10_000_000), timeout=20)
    process.kill(0.1)
    assert link.run(["true"], stdin=bytes(3_000_000)).status == 0


def test_a_timeout_ends_the_command_and_all_its_children(link: Link) -> None:
    first = f"echo begun; sleep 301.{MARK} & setsid sleep 302.{MARK} & "
    command = first + f"(trap '' TERM; sleep 303.{MARK}) & env -i sleep 304.{MARK}"
    link.run(["true"])
    with pytest.raises(ProcessTimeout, match="were killed") as caught:
        # Long enough for its first line also on a busy machine; the command itself lasts minutes.
        link.run(command, timeout=3.0)
    assert caught.value.alive == ()
    assert caught.value.partial[0] == b"begun\n"
    assert caught.value.host == "localhost"
    assert sleepers() == []


def test_signals_go_to_the_group(link: Link) -> None:
    process = link.start_process("trap 'echo caught; exit 5' USR1; echo ready; while :; do sleep 0.05; done")
    assert process.read_stdout(60) == b"ready\n"
    assert process.send_signal(signal.SIGUSR1)
    assert process.wait(60) == 5
    assert process.read_stdout(60) == b"caught\n"
    assert not process.send_signal(signal.SIGUSR1)


def test_a_child_left_behind_does_not_hold_the_end_up(link: Link) -> None:
    result = link.run("echo now; sleep 300 & echo $! >&2", timeout=60)
    assert (result.status, result.stdout, result.complete) == (0, b"now\n", False)
    os.kill(int(result.stderr), signal.SIGKILL)


HELD_UP = """
import sys, time
cls = sys.modules["_crl.remote.processes"].Running
look_later = cls._look_later
def held_up(self):
    look_later(self)
    time.sleep(0.5)
cls._look_later = held_up
"""


def test_output_that_waits_while_the_target_is_held_up_is_not_taken_for_silence(link: Link) -> None:
    link.run("true")
    link.evaluate(HELD_UP)
    for size in (60_000, 90_000, 120_000):
        result = link.run(["head", "-c", str(size), "/dev/zero"], timeout=60)
        assert (len(result.stdout), result.complete) == (size, True)


def test_owned_processes_end_with_the_link_and_detached_ones_stay(make_link: MakeLink) -> None:
    link = make_link()
    owned = link.start_process(f"sleep 300.{MARK} & setsid sleep 300.{MARK} & echo $! & wait")
    stray = int(owned.read_stdout(60))
    detached = link.start_detached(["sleep", "300"])
    try:
        assert link.close(20)
        assert eventually(lambda: not alive(owned.pid) and not alive(stray))
        # Its end may or may not have come before that of the link.
        with suppress(LinkLost):
            assert owned.wait(60) in (-signal.SIGTERM, -signal.SIGKILL)
        with pytest.raises((LinkLost, BrokenPipeError)):
            owned.write(b"x")
        assert alive(detached.pid)
    finally:
        os.kill(detached.pid, signal.SIGKILL)


def test_an_interrupted_run_leaves_nothing(link: Link) -> None:
    def interrupt(_signum: int, frame: FrameType | None) -> None:
        while frame is not None and frame.f_code is not RemoteProcess.wait.__code__:
            frame = frame.f_back
        if frame is not None:
            raise KeyboardInterrupt
        # Not there yet: nothing else is to be struck.
        signal.setitimer(signal.ITIMER_REAL, 0.1)

    old = signal.signal(signal.SIGALRM, interrupt)
    # The timer that limits the test is the same one.
    limit = signal.setitimer(signal.ITIMER_REAL, 0.3)
    try:
        with pytest.raises(KeyboardInterrupt):
            link.run(["sleep", f"305.{MARK}"])
    finally:
        signal.signal(signal.SIGALRM, old)
        signal.setitimer(signal.ITIMER_REAL, *limit)
    assert eventually(lambda: not sleepers())
    assert link.evaluate("1") == 1


def test_fifty_processes_at_once(link: Link) -> None:
    running = [link.start_process(f"echo {number}; exit {number}") for number in range(50)]
    assert [process.wait(60) for process in running] == list(range(50))
    assert [process.read_stdout(60) for process in running] == [b"%d\n" % number for number in range(50)]
    with ThreadPoolExecutor(50) as pool:
        results = list(pool.map(lambda number: link.run(f"cat; exit {number}", stdin=b"x" * number), range(50)))
    assert [(result.status, len(result.stdout)) for result in results] == [(number, number) for number in range(50)]
    # Who waits for an end may know it before the link has forgotten the process.
    assert eventually(lambda: not link._processes and not link._inputs)


@every_python
def test_a_terminal_of_its_own(make_link: MakeLink, python: str) -> None:
    link = make_link(python=python)
    ask = "stty size; test -t 0 -a -t 1 -a -t 2 && echo all; tty; read line; echo got $line; stty size; cat"
    with link.start_process(ask, pty=(30, 100)) as process:
        seen = b""
        while b"/dev/pts" not in seen:
            seen += process.read_stdout(60)
        assert seen.splitlines()[:2] == [b"30 100", b"all"]
        assert process.resize(50, 132)
        process.write(b"hello\n")
        while b"50 132" not in seen:
            seen += process.read_stdout(60)
        assert b"got hello" in seen
        process.write(b"unfinished")
        process.close_stdin()
        assert process.wait(60) == 0
        assert not process.resize(10, 10)
        assert process.read_stderr(60) == b""
    with pytest.raises(FileNotFoundError):
        link.start_process(["/no/such/program"], pty=(24, 80))


def test_keys_in_a_terminal_are_signals_and_its_hangup_ends_it(link: Link) -> None:
    waiting = "trap 'exit 3' INT; echo ready; sleep 60 & wait"
    with link.start_process(waiting, pty=(24, 80)) as process:
        assert b"ready" in process.read_stdout(60)
        process.write(b"\x03")
        assert process.wait(60) == 3
    with pytest.raises(UsageError, match="terminal"):
        link.start_process(["true"]).resize(1, 1)
    with pytest.raises(UsageError, match="rows"):
        link.start_process(["true"], pty=(0, 80))


@every_python
def test_merged_output_is_in_the_order_it_was_written(make_link: MakeLink, python: str) -> None:
    link = make_link(python=python)
    command = "i=0; while [ $i -lt 300 ]; do echo out $i; echo err $i >&2; i=$((i+1)); done"
    result = link.run(command, merge=True)
    wanted = [f"{name} {number}".encode() for number in range(300) for name in ("out", "err")]
    assert result.stdout.splitlines() == wanted
    assert result.stderr == b""
    assert link.run("umask; umask 0", umask=0o027).stdout == b"0027\n"
    assert link.run("umask", umask=0).stdout == b"0000\n"


def test_lines_of_both_outputs_come_in_order(link: Link) -> None:
    # Two pipes cannot tell what was written first when both have something: each line waits until the last one is here.
    command = "for i in 1 2 3; do echo out $i; read x; echo err $i >&2; read x; done; printf last"
    seen = []
    with link.start_process(command) as process:
        for line in process:
            seen.append(line)
            if line.data != b"last":
                process.write(b"\n")
    wanted = [(name, f"{name[3:]} {i}".encode()) for i in (1, 2, 3) for name in ("stdout", "stderr")]
    assert seen == [*wanted, ("stdout", b"last")]
    with link.start_process("echo first; exec >&-; read x; echo second >&2") as process:
        pieces = process.output(60)
        assert next(pieces)[0] == "stdout"
        process.write(b"\n")
        assert [name for name, _ in pieces] == ["stderr"]
    with link.start_process("sleep 60") as process, pytest.raises(CallTimeout):
        next(process.output(0.1))


def test_a_process_says_what_it_is_and_ends_with_its_block(link: Link) -> None:
    with link.start_process(f"setsid sleep 306.{MARK} & sleep 307.{MARK}") as process:
        assert repr(process) == f"<RemoteProcess {process.pid} on localhost: running>"
    assert process.wait(60) == -signal.SIGTERM
    assert repr(process) == f"<RemoteProcess {process.pid} on localhost: ended with -15>"
    assert sleepers() == []
    with pytest.raises(RuntimeError, match="mine"), link.start_process(f"sleep 308.{MARK}") as process:
        raise RuntimeError("mine")
    assert process.wait(60) == -signal.SIGTERM


@every_python
def test_a_spool_keeps_the_newest_and_tells_what_it_dropped(make_link: MakeLink, python: str) -> None:
    link = make_link(python=python)
    total, spool = 3_000_000, 1_000_000
    lines = "('%09d\\n' * 300 % tuple(range(i, i + 300))).encode()"
    code = f"import os; [os.write(1, {lines}) for i in range(0, 300000, 300)]"
    process = link.start_process([python, "-S", "-c", code], spool=spool)
    # It never waits, though nobody reads; without a spool it would stand still after half a megabyte.
    assert process.wait(60) == 0
    data = b""
    while piece := process.read_stdout(60):
        data += piece
    assert process.stdout.dropped > 0
    assert len(data) + process.stdout.dropped == total
    assert len(data) >= spool
    assert data.startswith(b"000000000\n")
    assert data.endswith(b"%09d\n" % 299999)
    assert process.stderr.dropped == 0


def test_the_end_is_told_though_nobody_reads(link: Link) -> None:
    process = link.start_process("head -c 550000 /dev/zero")
    assert process.wait(60) == 0
    assert len(b"".join(iter(lambda: process.read_stdout(60), b""))) == 550000
    assert eventually(lambda: not link._processes)


def test_children_without_session_and_environment_are_found_too(link: Link) -> None:
    """What leaves session and environment is found by its parents; what loses those too is, where it is contained."""
    left = f"env -i setsid sh -c 'env -i setsid sleep 311.{MARK}; :' & sleep 60"
    lost = f"(env -i setsid sleep 312.{MARK} &) ; sleep 60"
    for command, contain in ((left, False), (lost, True)):
        process = link.start_process(command, contain=contain)
        assert eventually(lambda: len(sleepers()) == 1)
        assert process.kill() == ()
        assert sleepers() == []


def test_what_is_ended_while_it_is_being_started_is_ended_then(link: Link) -> None:
    link.run(["true"])
    link.evaluate(
        "import sys, time\n"
        "processes = sys.modules['_crl.remote.processes']\n"
        "def spawn_late(*args, spawn=processes.spawn):\n"
        "    time.sleep(1)\n"
        "    return spawn(*args)\n"
        "processes.spawn = spawn_late\n"
    )
    with pytest.raises(ProcessTimeout, match="were killed") as caught:
        link.run(["sleep", f"313.{MARK}"], timeout=0.2)
    assert caught.value.alive == ()
    # By then it would have begun.
    link.evaluate("time.sleep(1)")
    assert sleepers() == []


def test_what_is_ended_before_it_was_asked_for_never_starts(link: Link) -> None:
    """A large request is overtaken by what follows it."""
    link.run(["true"])
    process = link.new_process(lambda number: RemoteProcess(link, number, "nonce"))
    assert process.kill() == ()
    with pytest.raises(ProcessLookupError, match="before it began"):
        link.service("process.start", process._number, ["sleep", f"314.{MARK}"], {}, "nonce")
    assert sleepers() == []


@pytest.mark.every_way
def test_input_goes_along_with_a_run(link: Link) -> None:
    link.run(["true"])
    before = link.statistics.requests
    assert link.run(["cat"], stdin=b"with it").stdout == b"with it"
    assert link.run(["cat"]).stdout == b""
    with pytest.raises(FileNotFoundError):
        link.run(["/no/such/program"], stdin=b"x")
    assert link.statistics.requests == before + 3
    assert eventually(lambda: not link._processes)


@pytest.mark.long
def test_a_gigabyte_takes_little_memory(link: Link) -> None:
    total = 1 << 30
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    process = link.start_process(["head", "-c", str(total), "/dev/zero"])
    received = highest = 0
    while data := process.read_stdout(60):
        received += len(data)
        if received % (64 << 20) < len(data):
            status = Path(f"/proc/{link.facts.pid}/status").read_text(encoding="ascii")
            highest = max(highest, int(status.split("VmRSS:")[1].split()[0]))
    assert received == total
    assert process.wait(60) == 0
    assert highest < 30_000
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 12_000


@pytest.fixture
def detached_end() -> Iterator[list[Detached]]:
    """What is put in here is gone after the test, also when it fails."""
    started: list[Detached] = []
    yield started
    for one in started:
        for pid in (one.pid, one.keeper):
            with suppress(ProcessLookupError):
                if pid:
                    os.killpg(pid, signal.SIGKILL)


@every_python
def test_a_detached_process_is_picked_up_by_a_later_link(
    make_link: MakeLink, detached_end: list[Detached], python: str
) -> None:
    first = make_link(python=python)
    command = f"trap 'echo ended; exit 4' TERM; echo begun; echo said >&2; sleep 320.{MARK} & wait"
    detached = first.start_detached(command, spool=1000)
    detached_end.append(detached)
    assert first.close()
    later = make_link(python=python)
    assert detached.is_alive(later)
    assert eventually(lambda: detached.read(later).data == b"begun\nsaid\n")
    assert detached.read(later, 6).data == b"said\n"
    assert detached.read(later).status is None
    assert detached.stop(later, 20.0) == ()
    assert not detached.is_alive(later)
    assert sleepers() == []
    assert eventually(lambda: detached.read(later).status == 4)
    assert detached.read(later).data == b"begun\nsaid\nended\n"
    detached.forget(later)
    assert eventually(lambda: not alive(detached.keeper))
    with pytest.raises(OSError, match="not kept any more"):
        detached.read(later)
    with pytest.raises(FileNotFoundError):
        later.start_detached(["/no/such/program"], spool=1000)


KEEPS = """
import os, struct, sys
os.dup2(os.memfd_create("ring"), 9)
os.write(9, struct.pack(">QQ?q", 10, 10, False, 0).ljust(32) + struct.pack(">Q", 14).ljust(32) + b"abcdefghij")
print("ready", flush=True)
sys.stdin.read()
"""


def test_bytes_whose_place_is_being_taken_are_not_kept_any_more(link: Link) -> None:
    argv = [sys.executable, "-c", KEEPS]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as keeper:
        assert keeper.stdin is not None
        assert keeper.stdout is not None
        assert keeper.stdout.readline() == "ready\n"
        kept = Detached(pid=keeper.pid, keeper=keeper.pid).read(link)
        keeper.stdin.close()
    assert (kept.begin, kept.data, kept.total, kept.status) == (4, b"efghij", 10, None)


def test_what_is_kept_of_a_detached_process_is_bounded(link: Link, detached_end: list[Detached]) -> None:
    detached = link.start_detached("i=0; while [ $i -lt 20000 ]; do echo $i; i=$((i+1)); done", spool=5000, keep=600)
    detached_end.append(detached)
    assert eventually(lambda: detached.read(link).status == 0, 20)
    kept = detached.read(link)
    whole = b"".join(b"%d\n" % number for number in range(20000))
    assert (kept.data, kept.total, kept.end) == (whole[-5000:], len(whole), len(whole))
    detached.forget(link)
    assert not detached.send_signal(link, signal.SIGTERM)
    # Another process of that number is never taken for it.
    stranger = replace(detached, pid=os.getpid())
    assert not stranger.is_alive(link)
    assert stranger.stop(link, 0.1) == ()
    assert eventually(lambda: not alive(detached.keeper))
    quiet = link.start_detached(["sleep", f"321.{MARK}"], umask=0o077)
    with pytest.raises(UsageError, match="not kept"):
        quiet.read(link)
    assert quiet.stop(link, 1.0) == ()
    with pytest.raises(UsageError, match="spool"):
        link.start_detached("true", spool=0)


def test_a_slim_python_gives_terminals_too_and_says_what_it_cannot(link: Link) -> None:
    """Debian's python3-minimal has neither `termios` nor `pty` nor `ctypes`."""
    link.evaluate("__import__('sys').modules.update(termios=None, pty=None, ctypes=None)")
    with link.start_process("stty size; read x; stty size", pty=(11, 22)) as process:
        seen = b""
        while not seen.endswith(b"\n"):
            seen += process.read_stdout(60)
        assert seen == b"11 22\r\n"
        assert process.resize(33, 44)
        process.write(b"\n")
        assert process.wait(60) == 0
        assert b"33 44" in b"".join(iter(lambda: process.read_stdout(60), b""))
    with pytest.raises(OSError, match="needs ctypes"):
        link.run(["true"], contain=True)
    assert link.run(["true"]).status == 0
