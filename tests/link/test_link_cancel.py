"""Cancelling: what has not begun never does, what runs in Python is interrupted, and nobody else is hit."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from crl.link import CallCancelled, Link
from tests.link.peers import INTERPRETERS, PATIENCE, eventually

CODE = """
import os, time
begun, done, over = [], [], []
reading, writing = os.pipe()
def busy():
    while True:
        pass
def wait():
    while not over:
        time.sleep(0.01)
def stubborn():
    try:
        begun.append(1)
        wait()
    except BaseException:
        done.append(1)
        wait()
    return 'stubborn'
def work(seconds):
    end = time.time() + seconds
    while time.time() < end:
        pass
    return 'whole'
"""


@pytest.mark.parametrize("python", INTERPRETERS)
def test_a_running_call_is_interrupted(make_link: Callable[..., Link], python: str) -> None:
    link = make_link("pty", python)
    link.evaluate(CODE)
    call = link.submit_invoke("busy")
    other = link.submit_evaluate("[os.read(reading, 1), 'other'][1]")
    assert call.cancel(20)
    with pytest.raises(CallCancelled, match="was cancelled"):
        call.result(60)
    link.evaluate("os.write(writing, b'x')")
    assert other.result(60) == "other"
    assert link.evaluate("6 * 7", timeout=60) == 42


def test_a_call_that_catches_everything_goes_on(link: Link) -> None:
    link.evaluate(CODE)
    call = link.submit_invoke("stubborn")
    assert eventually(lambda: link.evaluate("begun") == [1])
    assert not call.cancel(1.0)
    assert eventually(lambda: link.evaluate("done") == [1])
    link.evaluate("over.append(1)")
    assert call.result(60) == "stubborn"
    assert link.evaluate("done") == [1]


def test_a_call_blocked_in_c_goes_on(link: Link, tmp_path: Path) -> None:
    begun, over = tmp_path / "begun", tmp_path / "over"
    os.mkfifo(begun)
    os.mkfifo(over)
    # One call in C, which says when it has begun.
    call = link.submit_evaluate(f"__import__('os').system('echo 1 >{begun}; read _ <{over}')")
    assert begun.read_bytes() == b"1\n"
    assert not call.cancel(1.0)
    over.write_bytes(b"\n")
    # It was interrupted at the first instruction behind that.
    with pytest.raises(CallCancelled):
        call.result(60)


JUST_BEGINNING = """
import sys, time
program = sys.modules["_crl"].program
looks = [1]
class Slow(list):
    def __contains__(self, number):
        found = list.__contains__(self, number)
        if looks:
            looks.pop()
            while True:
                time.sleep(0.01)
        return found
program._cancelled = Slow([0])
"""


def test_a_call_that_is_just_beginning_is_interrupted(link: Link) -> None:
    link.evaluate(JUST_BEGINNING)
    call = link.submit_evaluate("1")
    assert eventually(lambda: link.evaluate("looks") == [])
    assert call.cancel(20)
    with pytest.raises(CallCancelled):
        call.result(60)
    assert link.evaluate("6 * 7", timeout=60) == 42


STRIKE = """
import ctypes, sys
compat = sys.modules['_crl.wire.compat']
class Struck(Exception):
    pass
def strike():
    here = 0
    for _ in range(100):
        try:
            compat.start_new_thread(list, ())
            me = ctypes.c_ulong(compat.get_ident())
            ctypes.pythonapi.PyThreadState_SetAsyncExc(me, ctypes.py_object(Struck))
            for _ in range(1000):
                pass
        except Struck:
            here += 1
    return here
"""


@pytest.mark.parametrize("python", INTERPRETERS, ids=lambda path: path.split("/")[-3])
def test_a_thread_that_begins_is_never_taken_for_its_starter(make_link: Callable[..., Link], python: str) -> None:
    link = make_link(python=python)
    link.evaluate(STRIKE)
    assert link.invoke("strike", timeout=30) == 100


def test_an_answered_call_keeps_its_answer(link: Link) -> None:
    call = link.submit_evaluate("1 + 1")
    assert eventually(lambda: link.evaluate("1") == 1 and call.done)
    assert call.cancel()
    assert call.result(60) == 2


def test_cancelling_hits_nobody_else(link: Link) -> None:
    """Calls that end just when they are cancelled: the exception must strike them or nobody."""
    link.evaluate(CODE)
    stop = threading.Event()
    wrong: list[object] = []

    def others() -> None:
        while not stop.is_set():
            try:
                if link.evaluate("6 * 7", timeout=60) != 42:
                    wrong.append("answer")
            except CallCancelled as error:
                wrong.append(error)

    workers = [threading.Thread(target=others) for _ in range(3)]
    for worker in workers:
        worker.start()
    outcomes = {"whole": 0, "cancelled": 0}
    deadline = time.monotonic() + PATIENCE
    number = 0
    # Longer ones where cancelling takes as long as they do.
    while number < 150 or (not all(outcomes.values()) and time.monotonic() < deadline):
        number += 1
        call = link.submit_invoke("work", (0.002 * (number % 8) * (1 + number // 150),))
        assert call.cancel(10)
        try:
            outcomes[call.result(60)] += 1
        except CallCancelled:
            outcomes["cancelled"] += 1
    stop.set()
    for worker in workers:
        worker.join(60)
    assert wrong == []
    assert outcomes["cancelled"] > 0
    assert outcomes["whole"] > 0
