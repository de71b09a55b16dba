"""Calls, streams and side effects that run through everything a test does to a link, and the judgement at the end."""

from __future__ import annotations

import os
import threading
import time
from contextlib import suppress

from crl.errors import CrlError
from crl.link import Link

__all__ = ["Storm"]

PREPARE = """
import threading, time
counted = []
lock = threading.Lock()
def bump(number):
    with lock:
        counted.append(number)
    return number
def slow_bump(number):
    time.sleep(0.3)
    return bump(number)
"""
PIECE = 20_000


class Storm:
    """Load on one link, from several threads, until `end`.

    Args:
        link: The link.
        callers: How many threads call.
    """

    def __init__(self, link: Link, callers: int = 4) -> None:
        self.link = link
        self.answers = 0
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._next = 0
        self._trouble: list[str] = []
        link.evaluate(PREPARE)
        self._handle = link.new_handle()
        link.evaluate(f"{self._handle} = ['a handle']")
        self._threads = [threading.Thread(target=self._call, args=(n,)) for n in range(callers)]
        self._threads.append(threading.Thread(target=self._stream))
        for thread in self._threads:
            thread.start()

    def _number(self) -> int:
        with self._lock:
            self._next += 1
            return self._next

    def _call(self, index: int) -> None:
        function = "slow_bump" if index == 0 else "bump"
        while not self._stop.is_set() and not self._trouble:
            number = self._number()
            try:
                answer = self.link.invoke(function, number, timeout=90)
            except (CrlError, OSError) as error:
                self._trouble.append(f"call {number}: {error}")
                return
            if answer != number:
                self._trouble.append(f"call {number} was answered with {answer}")
            self.answers += 1

    def _stream(self) -> None:
        """A process that echoes: every byte comes back once and in order."""
        process = self.link.start_process(["cat"])
        try:
            while not self._stop.is_set() and not self._trouble:
                piece = os.urandom(PIECE)
                process.write(piece, 90)
                back = b""
                while len(back) < PIECE:
                    back += process.read_stdout(90)
                if back != piece:
                    self._trouble.append("a stream came back otherwise")
            process.close_stdin()
            if process.wait(90) != 0:
                self._trouble.append(f"the process ended with {process.status}")
        except (CrlError, OSError) as error:
            self._trouble.append(f"stream: {error}")

    def pause_after(self, cut_at: float, timeout: float) -> float:
        """Seconds from a cut to the next answer of a call that was made after it."""
        self.link.invoke("bump", self._number(), timeout=timeout)
        return time.monotonic() - cut_at

    def end(self) -> int:
        """Stop, and check that nothing was lost, doubled or changed; how many calls there were."""
        self._stop.set()
        for thread in self._threads:
            thread.join(120)
        assert not any(thread.is_alive() for thread in self._threads), "a thread hangs"
        assert self._trouble == []
        counted = self.link.evaluate("counted")
        assert len(set(counted)) == len(counted), "a call was run twice"
        assert sorted(counted) == list(range(1, self._next + 1)), "a call was lost"
        assert self.link.evaluate(self._handle) == ["a handle"]
        return len(counted)

    def abort(self) -> None:
        """Stop without judgement."""
        self._stop.set()
        with suppress(Exception):  # the test has failed already
            self.link.close()
        for thread in self._threads:
            thread.join(60)
