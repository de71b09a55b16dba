"""Calls: each on its own, at most once, with its own answer; timeouts lose nothing; death is told to all at once."""

from __future__ import annotations

import logging
import math
import os
import signal
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import crl.link._engine
from crl.errors import UsageError
from crl.link import CallTimeout, Expression, Keep, Kept, Link, LinkError, LinkLost, RemoteError, ValueNotTransferable
from crl.link._driver import driver
from crl.link._engine import Engine
from tests.link.peers import INTERPRETERS, Shell, alive, eventually, freeze

MakeLink = Callable[..., Link]


def test_a_slow_call_holds_up_no_other(link: Link) -> None:
    link.evaluate("import threading\ngate = threading.Event()")
    slow = link.submit_invoke("gate.wait", (60,))
    for number in range(50):
        assert link.invoke("abs", -number, timeout=60) == number
    assert not slow.done
    link.evaluate("gate.set()")
    assert slow.result(60) is True


def test_sixteen_threads_get_their_own_answers(link: Link) -> None:
    failures: list[object] = []

    def work(base: int) -> None:
        for number in range(base, base + 200):
            answer = link.invoke("abs", -number, timeout=60)
            if answer != number:
                failures.append((number, answer))

    threads = [threading.Thread(target=work, args=(1000 * index,)) for index in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failures == []
    assert not any(thread.is_alive() for thread in threads)


def test_calls_start_in_the_order_sent(link: Link) -> None:
    link.evaluate("import time\nstarted = []\ndef note(n):\n    started.append(n)\n    time.sleep(0.005 * (n % 3))")
    calls = [link.submit_invoke("note", (number,)) for number in range(60)]
    for call in reversed(calls):
        call.result(60)
    assert link.evaluate("started") == list(range(60))


SLOW_TO_BEGIN = """
import sys, time
calls = sys.modules["_crl"].program.calls
run = calls.run
def late(number, message):
    time.sleep(0.01 if number % 7 == 0 else 0)
    return run(number, message)
calls.run = late
"""


def test_a_call_that_is_slow_to_begin_is_not_overtaken(link: Link) -> None:
    """As where a processor is busy; a deputy that reads on meanwhile waits for the call to begin."""
    link.evaluate(SLOW_TO_BEGIN)
    link.evaluate("started = []")
    calls = [link.submit_invoke("started.append", (number,)) for number in range(60)]
    for call in calls:
        call.result(60)
    assert link.evaluate("started") == list(range(60))


def test_large_and_small_arguments_beside_each_other(link: Link) -> None:
    big = os.urandom(3_000_000)
    calls = [(link.submit_invoke("len", (big,)), link.submit_invoke("abs", (-number,))) for number in range(4)]
    assert [(large.result(60), small.result(60)) for large, small in calls] == [(len(big), n) for n in range(4)]
    assert link.evaluate(f"b'x' * {len(big)}") == b"x" * len(big)


def test_an_answer_can_be_asked_for_again_and_by_several(link: Link) -> None:
    call = link.submit_evaluate("__import__('time').sleep(0.3) or [1]")
    got: list[object] = []
    threads = [threading.Thread(target=lambda: got.append(call.result(60))) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert got == [[1]] * 5
    assert call.result(0) == [1]


class Robbed:
    """An engine's role of the reader, which is taken away from who has just looked whether he has it."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._role = threading.RLock()
        self.acquire, self.release = self._role.acquire, self._role.release
        engine._reading = self  # type: ignore[assignment]

    def _is_owned(self) -> bool:
        self._engine._reading = threading.RLock()
        return self._role._is_owned()  # type: ignore[attr-defined,no-any-return]


def test_a_reader_may_lose_his_role_at_any_moment(link: Link) -> None:
    for number in range(20):
        Robbed(link.engine)
        assert link.invoke("abs", -number, timeout=60) == number


def test_after_a_timeout_the_answer_can_still_be_fetched(link: Link) -> None:
    link.evaluate("import threading\ngate = threading.Event()")
    call = link.submit_evaluate("gate.wait(60) and 'late'")
    with pytest.raises(CallTimeout, match=r"0\.1 s"):
        call.result(0.1)
    link.evaluate("gate.set()")
    assert call.result(60) == "late"


def test_an_abandoned_call_is_never_waited_for(link: Link) -> None:
    call = link.submit_evaluate("__import__('time').sleep(0.2)")
    call.abandon()
    with pytest.raises(UsageError, match="abandoned"):
        call.result()
    assert link.evaluate("1") == 1


def test_a_large_call_is_dropped_when_its_cancel_overtakes_it(link: Link) -> None:
    link.evaluate("seen = []")
    # Else all of it might be there before it is cancelled.
    freeze(link.facts.pid)
    try:
        call = link.submit_invoke("seen.append", (bytes(8_000_000),))
        call.abandon()
    finally:
        os.kill(link.facts.pid, signal.SIGCONT)
    link.invoke("len", bytes(9_000_000))
    assert link.evaluate("len(seen)") == 0


class Number(int):
    """Crosses as an int."""


class Text(str):
    """Crosses as a str."""


PLAIN: list[Any] = [
    None, True, False, 0, -1, 127, 128, 2**31 - 1, 2**31, -(2**31) - 1, 2**63 - 1, 2**63, -(2**63), -(2**200),
    0.0, -0.0, 1e300, math.inf, "", "plain", "\0", "\xe4\u20ac\U0001f600", "\ud800 alone", "x" * 300,
]  # fmt: skip
OTHERS: list[Any] = [b"", b"\x00\xff" * 200, bytearray(b"b"), (1, "a"), [None], {"a": 1}]


@pytest.mark.parametrize("python", [INTERPRETERS[0], INTERPRETERS[-1]], ids=lambda path: path.split("/")[-3])
def test_arguments_arrive_as_they_are(make_link: MakeLink, python: str) -> None:
    link = make_link(python=python)
    link.evaluate("def same(*args, **kwargs):\n    return args, kwargs")
    # Bytes are text to the users of Python 2.
    values = PLAIN + (OTHERS if link.facts.python >= (3,) else [])
    one_by_one: list[list[Any]] = [[one] for one in values]
    for given in (*one_by_one, PLAIN, values):
        assert repr(link.invoke("same", *given)) == repr((tuple(given), {}))
        assert repr(link.invoke("same", *given, word=given[0])) == repr((tuple(given), {"word": given[0]}))
    assert repr(link.invoke(Text("same"), Number(7), Text("t"))) == "((7, 't'), {})"
    assert link.evaluate("same(1)[0][0] + 2**70") == 2**70 + 1


def test_kept_objects_and_expressions(link: Link) -> None:
    handle = link.new_handle()
    kept = link.submit_evaluate("object()", keep=Keep(handle)).result(60)
    assert kept == Kept(isobj=False, obj=None, callable=False)
    assert link.invoke("isinstance", Expression(handle), Expression("object")) is True
    assert link.submit_evaluate("3", keep=Keep(handle)).result(60) == Kept(isobj=True, obj=3, callable=False)
    link.release([handle])
    with pytest.raises(KeyError):
        link.evaluate(handle)


def test_what_cannot_cross_costs_that_call_only(link: Link) -> None:
    with pytest.raises(ValueNotTransferable, match="object"):
        link.evaluate("object()")
    with pytest.raises(ValueNotTransferable, match="contains itself"):
        link.evaluate("(lambda l: l.append(l) or l)([])")
    assert link.evaluate("2") == 2


@pytest.mark.parametrize("code", ["raise SystemExit(3)", "raise KeyboardInterrupt", "import sys\nsys.exit()"])
def test_an_exit_on_the_target_is_an_error_and_no_exit_here(link: Link, code: str) -> None:
    with pytest.raises(RemoteError):
        link.evaluate(code)
    assert link.evaluate("1") == 1


def test_errors_that_cannot_be_looked_at_are_errors_all_the_same(link: Link) -> None:
    link.evaluate(
        "class Bad(Exception):\n"
        "    def __init__(self): self.args = (self,)\n"
        "    def __str__(self): raise ValueError('str')\n"
        "    def __repr__(self): raise KeyboardInterrupt"
    )
    with pytest.raises(RemoteError):
        link.evaluate("raise Bad()")
    assert link.evaluate("1") == 1


def test_code_that_forks_never_answers_twice(link: Link) -> None:
    link.evaluate("import os, time")
    pids = {link.evaluate("os.fork()") for _ in range(10)}
    assert len(pids) == 10
    assert 0 not in pids
    child = link.evaluate("os.fork() or time.sleep(30)")
    assert alive(child)
    # The child holds neither the terminal nor the shell's prompt.
    assert link.close(20)
    os.kill(child, signal.SIGKILL)


def test_a_child_of_the_controller_is_told_that_the_link_is_not_its(link: Link) -> None:
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            link.evaluate("1")
        except LinkError as error:
            os.write(writer, str(error).encode())
        finally:
            link.close()
            os._exit(0)
    os.close(writer)
    os.waitpid(pid, 0)
    assert b"parent process" in os.read(reader, 4096)
    os.close(reader)
    assert link.evaluate("2") == 2


# -- death -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def quick_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crl.link._engine, "HEARTBEAT", 0.2)
    monkeypatch.setattr(crl.link._engine, "SILENCE_LIMIT", 6.0)


def test_a_stopped_program_keeps_deadlines_and_is_given_up_at_last(quick_silence: None, make_link: MakeLink) -> None:
    link = make_link()
    freeze(link.facts.pid)
    try:
        started = time.monotonic()
        with pytest.raises(CallTimeout):
            link.evaluate("1", timeout=0.5)
        with pytest.raises(LinkLost, match="silent"):
            link.evaluate("1", timeout=30)
        # Not as long as silence is borne elsewhere.
        assert time.monotonic() - started < 25
        with pytest.raises(LinkLost, match="silent"):
            link.evaluate("1")
    finally:
        os.kill(link.facts.pid, signal.SIGKILL)


def test_a_stopped_program_is_given_up_though_we_stand_still_now_and_then(
    monkeypatch: pytest.MonkeyPatch, make_link: MakeLink
) -> None:
    link = make_link()
    freeze(link.facts.pid)
    monkeypatch.setattr(crl.link._engine, "HEARTBEAT", 0.1)
    monkeypatch.setattr(crl.link._engine, "SUSPECT_AFTER", 1.0)
    monkeypatch.setattr(crl.link._engine, "SILENCE_LIMIT", 1.5)

    def stand_still() -> float:
        # As a machine does that has much else to do: for more than two intervals, and more often than the limit.
        time.sleep(0.4)
        return 0.7

    timer = driver.call_later(0.0, stand_still)
    try:
        with pytest.raises(LinkLost, match="silent"):
            link.evaluate("1", timeout=60)
    finally:
        timer.cancel()
        os.kill(link.facts.pid, signal.SIGKILL)


def test_a_c_call_that_holds_the_interpreter_is_not_death(quick_silence: None, make_link: MakeLink) -> None:
    link = make_link()
    link.evaluate("import ctypes\nhold = ctypes.PyDLL(None).usleep")
    assert link.evaluate("hold(1500000)", timeout=60) == 0
    assert link.alive


@pytest.mark.parametrize("victim", ["program", "shell"])
def test_a_kill_is_told_at_once_to_all_who_wait(
    make_shell: Callable[..., Shell], monkeypatch: pytest.MonkeyPatch, victim: str
) -> None:
    shell = make_shell()
    link = Link.start(shell.lane(), timeout=60)
    told: list[BaseException] = []

    def wait() -> None:
        try:
            link.invoke("__import__('time').sleep", 30)
        except LinkLost as error:
            told.append(error)

    # It is not known by silence.
    monkeypatch.setattr(crl.link._engine, "SUSPECT_AFTER", 1000.0)
    before = link.statistics.requests
    threads = [threading.Thread(target=wait) for _ in range(4)]
    for thread in threads:
        thread.start()
    assert eventually(lambda: link.statistics.requests - before == 4)
    if victim == "program":
        os.kill(link.facts.pid, signal.SIGKILL)
    else:
        os.kill(shell.pid, signal.SIGKILL)
        os.kill(link.facts.pid, signal.SIGKILL)
    # The calls themselves would take longer.
    for thread in threads:
        thread.join(25)
    assert len(told) == 4
    assert len({id(error) for error in told}) == 4
    link.close()


def test_the_mark_of_the_end_is_known_however_it_is_cut(link: Link) -> None:
    attachment = link.engine._attachment
    assert attachment is not None
    pieces = [bytes([byte]) for byte in b"of a frame" + attachment.mark]
    assert [attachment.may_end(piece) for piece in pieces].index(True) == len(pieces) - 1


def test_the_end_of_the_terminal_ends_the_program_and_what_it_owns(make_shell: Callable[..., Shell]) -> None:
    shell = make_shell()
    link = Link.start(shell.lane(), timeout=60)
    process = link.start_process(["sleep", "300"])
    detached = link.start_detached(["sleep", "300"])
    shell.close()
    try:
        assert eventually(lambda: not alive(link.facts.pid))
        assert eventually(lambda: not alive(process.pid))
        with pytest.raises(LinkLost):
            process.wait(60)
        assert alive(detached.pid)
    finally:
        os.kill(detached.pid, signal.SIGKILL)


@pytest.mark.every_way
def test_closing_with_calls_under_way_fails_them(link: Link) -> None:
    call = link.submit_invoke("__import__('time').sleep", (30,))
    told: list[BaseException] = []

    def wait() -> None:
        try:
            call.result()
        except LinkLost as error:
            told.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    time.sleep(0.1)
    assert link.close(20)
    # The call itself would take longer.
    thread.join(60)
    assert "closed" in str(told[0])


def test_a_program_that_loses_its_controller_ends_after_the_grace(
    make_link: MakeLink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("crl.link.link.GRACE", 0.0)
    monkeypatch.setattr("crl.link.link.HEARTBEAT", 0.3)
    monkeypatch.setattr(crl.link._engine, "HEARTBEAT", 60.0)
    link = make_link()
    assert eventually(lambda: not alive(link.facts.pid))
    assert eventually(lambda: not link.alive)


# -- output ----------------------------------------------------------------------------------------------------------


def test_output_of_the_target_is_logged_in_order(
    make_link: MakeLink, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    # However long the target takes between two pieces of a line, they are one.
    monkeypatch.setattr("crl.link._output.LINGER", 60.0)
    caplog.set_level(logging.INFO, "crl.remote")
    link = make_link()
    link.evaluate(
        "import os, sys, warnings, subprocess\n"
        "print('one')\nos.write(1, b'two\\n')\nos.system('echo three')\n"
        "sys.stdout.write('fo')\nsys.stdout.write('ur\\n')\nwarnings.warn('careful')\nsys.stdout.write('no newline')"
    )
    link.evaluate("import atexit\natexit.register(lambda: sys.stdout.write('\\nlast words'))")
    assert link.close(20)
    # Closing waits for the thread that logs, but not for ever.
    assert eventually(lambda: not [one for one in threading.enumerate() if one.name == "crl-output"])
    out = [record.getMessage() for record in caplog.records if record.levelno == logging.INFO]
    errors = " ".join(record.getMessage() for record in caplog.records if record.levelno == logging.WARNING)
    assert out == ["one", "two", "three", "four", "no newline", "last words"]
    assert "careful" in errors
    assert {record.name for record in caplog.records} == {"crl.remote.localhost"}


def test_a_handler_that_uses_the_link_does_not_block_it(link: Link) -> None:
    answers: list[object] = []

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            answers.append(link.evaluate("40 + 2"))

    handler, logger = Handler(), logging.getLogger("crl.remote.localhost")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        link.evaluate("print('x')")
        assert eventually(lambda: answers == [42])
    finally:
        logger.removeHandler(handler)
        logger.setLevel(logging.NOTSET)


def test_a_flood_of_output_does_not_stop_calls(link: Link) -> None:
    call = link.submit_evaluate("[__import__('os').write(1, b'x' * 4000) for _ in range(2000)] and None")
    for number in range(20):
        assert link.invoke("abs", -number, timeout=60) == number
    assert call.result(60) is None


@pytest.mark.parametrize("python", [INTERPRETERS[0], INTERPRETERS[-1]], ids=lambda path: path.split("/")[-3])
def test_writers_on_the_same_terminal_and_closed_descriptors_do_no_harm(
    make_shell: Callable[..., Shell], python: str, over: str
) -> None:
    shell = make_shell("pty")
    size = 5_000_000 if over == "here" else 500_000
    tty = shell.ask("tty")
    link = Link.start(shell.lane(), timeout=60, python=python)
    link.evaluate("import os\nfor d in (0, 1, 2):\n    os.close(d)")
    stop = threading.Event()

    def wall() -> None:
        descriptor = os.open(tty, os.O_WRONLY | os.O_NOCTTY)
        while not stop.is_set():
            os.write(descriptor, b"\r\nBroadcast message: \xc5\x1bRL the system is going down\r\n")
            time.sleep(0.002)
        os.close(descriptor)

    thread = threading.Thread(target=wall)
    thread.start()
    try:
        for number in range(1000):
            assert link.invoke("abs", -number, timeout=60) == number
        assert link.evaluate(f"b'x' * {size}", timeout=60) in (b"x" * size, "x" * size)
        # The other writer needs a processor, too.
        assert eventually(lambda: link.engine.session.decoder.noise_bytes > 1000)
    finally:
        stop.set()
        thread.join(60)
    assert link.close(20)


def _at_most(folder: Path, count: int) -> bool:
    return len(list(folder.iterdir())) <= count


def test_what_holds_the_link_is_freed(make_shell: Callable[..., Shell]) -> None:
    before = len(os.listdir("/proc/self/fd"))
    shell = make_shell()
    opened = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        link = Link.start(shell.lane(), timeout=60)
        for _ in range(3):
            link.run("true")
        target_fds = Path(f"/proc/{link.facts.pid}/fd")
        first = len(list(target_fds.iterdir()))
        for _ in range(20):
            link.run("true")
        assert eventually(partial(_at_most, target_fds, first))
        assert link.close(20)
    assert eventually(lambda: len(os.listdir("/proc/self/fd")) <= opened)
    assert opened >= before
