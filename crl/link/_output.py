"""What code on the target prints: records of the logger ``crl.remote.<host>``, and events for who asks for them.

Logging handlers and callbacks are code of the user and may do anything, so they never run in the thread that reads from
the target: a thread of its own hands the output on, lives while there is any, and keeps its order. Memory is bounded:
when they are too slow, output is dropped and counted.
"""

from __future__ import annotations

import codecs
import logging
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from crl.deadlines import Deadline

__all__ = ["OutputEvent", "OutputLog"]

WAITING_LIMIT: Final = 8 * 1024 * 1024
LINE_LIMIT: Final = 64 * 1024
LINGER: Final = 0.05
STREAMS: Final = {1: "stdout", 2: "stderr"}
LEVELS: Final = {1: logging.INFO, 2: logging.WARNING}

_trouble = logging.getLogger(__name__)


@dataclass(frozen=True)
class OutputEvent:
    """Something that code on the target has written.

    Attributes:
        stream: ``"stdout"`` or ``"stderr"``.
        data: The bytes, cut anywhere.
    """

    stream: str
    data: bytes


class OutputLog:
    """Logs the standard output (as INFO) and the errors (as WARNING) of code on one target, a record for each line.

    Callbacks get the same as `OutputEvent`, byte for byte; one that raises is logged and called again the next time.

    Args:
        host: The target's name.
    """

    def __init__(self, host: str) -> None:
        self._logger = logging.getLogger(f"crl.remote.{host}")
        self._news = threading.Condition()
        self._waiting: deque[tuple[int, bytes]] = deque()
        self._waiting_bytes = 0
        self._dropped = 0
        self._thread: threading.Thread | None = None
        self._closing = False
        self._decoders = {number: codecs.getincrementaldecoder("utf-8")("replace") for number in LEVELS}
        self._unfinished = dict.fromkeys(LEVELS, "")
        self._begun: set[int] = set()
        self._callbacks: tuple[Callable[[OutputEvent], None], ...] = ()
        self._taken = self._handed_on = 0

    def subscribe(self, callback: Callable[[OutputEvent], None]) -> Callable[[], None]:
        """Have a callback called with all output from now on; returns what ends that."""
        with self._news:
            self._callbacks += (callback,)

        def end() -> None:
            with self._news:
                self._callbacks = tuple(known for known in self._callbacks if known is not callback)

        return end

    def settle(self, timeout: float) -> bool:
        """Wait until all that has been taken so far is handed on; False when that lasts too long.

        In a callback or a logging handler it returns False at once, for what they wait for comes after them.
        """
        deadline = Deadline.after(timeout)
        with self._news:
            wanted = self._taken
            while self._handed_on < wanted:
                if threading.current_thread() is self._thread or not self._news.wait(deadline.remaining()):
                    return False
        return True

    def take(self, number: int, data: bytes) -> None:
        """Bytes that were written to descriptor `number`; called by the reading thread."""
        with self._news:
            if self._waiting_bytes + len(data) > WAITING_LIMIT:
                self._dropped += len(data)
                return
            self._taken += 1
            self._waiting.append((number, data))
            self._waiting_bytes += len(data)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="crl-output", daemon=True)
                self._thread.start()
            else:
                self._news.notify_all()

    def close(self, timeout: float) -> None:
        """Log what is there, at most for that many seconds."""
        with self._news:
            self._closing = True
            thread = self._thread
            self._news.notify_all()
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout)

    def _run(self) -> None:
        while True:
            with self._news:
                if not self._waiting and not self._closing:
                    # The rest of a line that was printed in pieces comes at once, or not for a while.
                    self._news.wait(LINGER)
                taken, self._waiting = self._waiting, deque()
                dropped, self._dropped = self._dropped, 0
            for number, data in taken:
                self._hand_on(number, data)
            if dropped:
                self._hand_on(2, f"[{dropped} bytes of output dropped]\n".encode())
            with self._news:
                self._handed_on += len(taken)
                self._waiting_bytes -= sum(len(data) for _, data in taken)
                self._news.notify_all()
            if not taken:
                self._log_unfinished()
                with self._news:
                    if not self._waiting:
                        self._thread = None
                        return

    def _hand_on(self, number: int, data: bytes) -> None:
        self._log_lines(number, self._decoders[number].decode(data))
        event = OutputEvent(STREAMS[number], data)
        for callback in self._callbacks:
            try:
                callback(event)
            except Exception:  # noqa: BLE001 - a callback of the user may raise anything, the next output still counts
                _trouble.exception("a callback failed on output of the target")

    def _log_lines(self, number: int, text: str) -> None:
        if text and number in self._begun:
            # The end of a line that was logged before it came is no line of its own.
            self._begun.remove(number)
            text = text.removeprefix("\n")
        *lines, rest = (self._unfinished[number] + text).split("\n")
        while len(rest) > LINE_LIMIT:
            lines.append(rest[:LINE_LIMIT])
            rest = rest[LINE_LIMIT:]
        self._unfinished[number] = rest
        for line in lines:
            self._log(number, line)

    def _log_unfinished(self) -> None:
        for number, text in self._unfinished.items():
            if text:
                self._unfinished[number] = ""
                self._begun.add(number)
                self._log(number, text)

    def _log(self, number: int, line: str) -> None:
        try:
            self._logger.log(LEVELS[number], "%s", line)
        except Exception:  # noqa: BLE001 - a handler of the user may raise anything, and the next line still counts
            _trouble.exception("a logging handler failed on a line of the target")
