"""What ssh has said of its configuration a moment ago, so that a fleet does not ask the same thing again and again.

It knows nothing of ssh but that it tells which files it reads. It promises that an answer serves as long as those files
are as they were and no longer than some seconds, and that who asks what another thread is asking waits for that answer.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Hashable, Iterable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotInTime
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

__all__ = ["Answer", "Answers"]

# A question costs 6 to 30 ms of computing, and one login asks it up to three times.
KEPT_SECONDS: Final = 20.0
MOST_KEPT: Final = 256
# The clock of files goes in steps: what changed so shortly before the question may have changed behind it.
_STEP: Final = 20_000_000

Value = TypeVar("Value")


@dataclass(frozen=True)
class Answer(Generic[Value]):
    """What was said.

    Attributes:
        value: The answer itself; nobody changes it.
        files: The files that decided, also those that are not there; None where more than files decides, so that the
            answer is not kept.
    """

    value: Value
    files: Iterable[str] | None = None


@dataclass
class _Question(Generic[Value]):
    """One that is being asked, or was answered.

    Attributes:
        answered: Gets the answer; None is that there is none to be kept.
        seen: How each file and its folder were.
        until: When the answer is too old, by the monotonic clock.
    """

    answered: Future[Answer[Value] | None] = field(default_factory=Future)
    seen: dict[str, object] = field(default_factory=dict)
    until: float = 0.0

    @property
    def serves(self) -> bool:
        """Whether it is being asked, or has an answer that still holds."""
        if not self.answered.done():
            return True
        return time.monotonic() < self.until and all(_look(path) == seen for path, seen in self.seen.items())


class Answers(Generic[Value]):
    """The answers of this process; a forked child has none, for the threads that ask are not in it."""

    def __init__(self) -> None:
        self._renew()
        os.register_at_fork(after_in_child=self._renew)

    def _renew(self) -> None:
        self._lock = threading.Lock()
        self._questions: dict[Hashable, _Question[Value]] = {}

    def get(self, key: Hashable, ask: Callable[[], Answer[Value]], timeout: float) -> Value:
        """The answer to a question, of now or of a moment ago.

        Args:
            key: The question, with all that decides besides files.
            ask: Asks it.
            timeout: Seconds to wait for the answer to another thread.
        """
        question = self._questions.get(key)
        if question is None or not question.serves:
            new: _Question[Value] = _Question()
            with self._lock:
                mine = self._questions.get(key) is question
                if mine:
                    self._make_room()
                    self._questions[key] = new
            if mine:
                return self._ask(key, new, ask)
            question = self._questions.get(key)
        known = None if question is None else self._wait(key, question, timeout)
        return (known or ask()).value

    def _ask(self, key: Hashable, question: _Question[Value], ask: Callable[[], Answer[Value]]) -> Value:
        kept = None
        began = time.time_ns()
        try:
            answer = ask()
            question.seen = _looks(answer.files or ())
            if question.seen and not any(_is_fresh(look, began) for look in question.seen.values()):
                kept = answer
            return answer.value
        finally:
            if kept is None:
                self._forget(key, question)
            question.until = time.monotonic() + KEPT_SECONDS
            question.answered.set_result(kept)

    def _wait(self, key: Hashable, question: _Question[Value], timeout: float) -> Answer[Value] | None:
        """Another thread's answer; None when it has none for us, or not in time."""
        try:
            return question.answered.result(timeout)
        except NotInTime:
            # An exception from outside may have hit that thread before it could ask.
            self._forget(key, question)
            return None

    def _forget(self, key: Hashable, question: _Question[Value]) -> None:
        with self._lock:
            if self._questions.get(key) is question:
                del self._questions[key]

    def _make_room(self) -> None:
        """Forget all answers when there are many."""
        if len(self._questions) >= MOST_KEPT:
            self._questions = {key: known for key, known in self._questions.items() if not known.answered.done()}


def _looks(paths: Iterable[str]) -> dict[str, object]:
    """How files and their folders are; empty where a path means different files at different times."""
    paths = list(paths)
    if not all(map(os.path.isabs, paths)):
        return {}
    return {path: _look(path) for file in paths for path in (file, os.path.dirname(file))}


def _look(path: str) -> tuple[int, ...]:
    """What changes when a file or a folder changes; empty where there is none."""
    try:
        found = os.stat(path)
    except OSError:
        return ()
    return found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino


def _is_fresh(look: object, began: int) -> bool:
    """Whether it may have changed since then without a trace."""
    return isinstance(look, tuple) and any(stamp > began - _STEP for stamp in look[:2])
