"""Several threads of the target write to one terminal: each thing that was posted is written, whoever comes in between.

Where a switch between two threads has to fall into one instruction, the terminal of the real remote program is wrapped
so that it does.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from crl.link import Link
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
    link.evaluate("here.unlock = unlock_and_meddle")
    link.evaluate("gate.set()", timeout=20)
    for _ in range(3):
        assert len(link.evaluate(f"'x' * {LARGE}", timeout=20)) == LARGE
    assert eventually(lambda: len(b"".join(seen)) == 8000)
