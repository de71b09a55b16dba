"""Several threads of the target write to one terminal: each thing that was posted is written, whoever comes in between.

Where a switch between two threads has to fall into one instruction, the terminal of the real remote program is wrapped
so that it does.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

from crl.link import Link
from crl.link.remote.terminal import Terminal
from crl.link.remote.world import Output
from tests.link.peers import INTERPRETERS, eventually

LARGE = 100_000
# The next thread that lets go of the terminal finds another one with frames that may block, and its writer at work.
MEDDLE = """
import sys, threading
from _crl.wire import messages
program = sys.modules['_crl'].program
here, gate, stuck = program.terminal, threading.Event(), threading.Event()
unlock, write = here.unlock, here.write
def write_late(frame):
    stuck.set()
    gate.wait(60)
    return write(frame)
def leave_frames():
    program.post(messages.pack(messages.OUTPUT, 1, b'x' * 8000))
    program.flush()
    stuck.wait(60)
def unlock_and_meddle():
    here.unlock, here.write = unlock, write_late
    unlock()
    other = threading.Thread(target=leave_frames)
    other.start()
    other.join()
"""


@pytest.mark.parametrize("python", [INTERPRETERS[0], INTERPRETERS[-1]], ids=lambda path: path.split("/")[-3])
def test_frames_that_another_thread_leaves_wake_their_writer_once(make_link: Callable[..., Link], python: str) -> None:
    link = make_link(python=python)
    seen: list[bytes] = []
    link.on_output(lambda event: seen.append(event.data))
    # From now on the terminal has a thread for what may block.
    assert len(link.evaluate(f"'x' * {LARGE}")) == LARGE
    link.evaluate(MEDDLE)
    # Its answer may stand behind the frames that are held up.
    meddled = link.submit_evaluate("here.unlock = unlock_and_meddle")
    link.evaluate("stuck.wait(20); gate.set()", timeout=20)
    meddled.result(20)
    for _ in range(3):
        assert len(link.evaluate(f"'x' * {LARGE}", timeout=20)) == LARGE
    assert eventually(lambda: len(b"".join(seen)) == 8000)


@pytest.fixture
def quiet() -> Iterator[tuple[Terminal, Output, dict[str, int]]]:
    """A terminal of the remote program, what user code prints beside it, and the other ends of both."""
    ends = dict(
        zip(("keys", "in", "out", "screen", "pipe", "print"), (*os.pipe(), *os.pipe(), *os.pipe()), strict=True)
    )
    here = Terminal(ends["keys"], ends["screen"], -1, "m", "")
    try:
        yield here, Output(None, [(ends["pipe"], 1)]), ends
    finally:
        here.retire()
        here.close_input()
        for name in ("in", "out", "pipe", "print"):
            os.close(ends[name])


def test_an_answer_goes_at_once_only_where_there_is_room_and_nothing_was_printed(
    quiet: tuple[Terminal, Output, dict[str, int]],
) -> None:
    here, output, ends = quiet
    assert here.is_quiet(output)
    os.write(ends["print"], b"printed")
    assert not here.is_quiet(output)
    os.read(ends["pipe"], 100)
    assert here.is_quiet(output)
    os.set_blocking(ends["screen"], False)
    with suppress(BlockingIOError):
        while os.write(ends["screen"], bytes(4096)):
            continue
    assert not here.is_quiet(output)


@pytest.mark.parametrize("looked", [True, False])
def test_a_terminal_that_was_closed_takes_no_answer(
    quiet: tuple[Terminal, Output, dict[str, int]], looked: bool
) -> None:
    here, output, _ = quiet
    assert not looked or here.is_quiet(output)
    here.retire()
    assert not here.is_quiet(output)
