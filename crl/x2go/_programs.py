"""Programs of the client's user that a job of a session is handed to: viewers, printing commands.

It runs them without a shell, in a process group of their own, until they end, their time is over or the queue that the
job belongs to is stopped, and then ends what is left of the group. A program that hands its work on and ends itself, as
xdg-open does, has done its part: what it started is the user's.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import IO

from crl.deadlines import Deadline

__all__ = ["JobPlace", "ProgramFailed", "current_place", "run_program", "split_command", "working_at"]

END_PATIENCE = 3.0
LOOK = 0.1
SEEN_BYTES = 4000
LARGEST_OUTPUT = 1 << 20  # a viewer that is open all day must not fill the disk with its warnings


@dataclass(frozen=True)
class JobPlace:
    """Whose job the running thread works on.

    Attributes:
        profile_name: Of the session.
        session_name: Of the session.
        ending: Set when the job has to end.
    """

    profile_name: str = "UNKNOWN"
    session_name: str = "UNKNOWN"
    ending: threading.Event = field(default_factory=threading.Event)


_place: ContextVar[JobPlace] = ContextVar("crl_x2go_job")


def current_place() -> JobPlace:
    """Whose job this thread works on; nobody's outside of a queue."""
    return _place.get(JobPlace())


@contextlib.contextmanager
def working_at(place: JobPlace) -> Iterator[None]:
    """Say whose job this thread works on meanwhile."""
    token = _place.set(place)
    try:
        yield
    finally:
        _place.reset(token)


class ProgramFailed(Exception):
    """A program could not be started, or did not do its work.

    Args:
        reason: Why, in one sentence.
        advice: What the reader can do.
        output: The last of what it printed.
    """

    def __init__(self, reason: str, advice: str | None = None, output: str = "") -> None:
        super().__init__(reason)
        self.reason, self.advice, self.output = reason, advice, output


def split_command(command: str | Sequence[str], default: str) -> list[str]:
    """The words of a command that the user wrote; quotes group, and nothing else of a shell means anything.

    Raises:
        ProgramFailed: Its quotes do not close.
    """
    if not isinstance(command, str):
        return list(command)
    try:
        return shlex.split(command) or [default]
    except ValueError as error:
        raise ProgramFailed(f"the command {command!r} cannot be read: {error}", "mend the command's quotes") from error


def run_program(words: Sequence[str], limit: float) -> None:
    """Run a program to its end, for `limit` seconds at most, or until the running job has to end.

    Raises:
        ProgramFailed: It is not there, ended with a failure, or took too long.
    """
    if shutil.which(words[0]) is None:
        raise ProgramFailed(f"{words[0]} is not installed here", f"install {words[0]}, or set another command")
    with tempfile.TemporaryFile("a+b") as output:
        try:
            process = subprocess.Popen(
                list(words), stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
            )
        except OSError as error:
            raise ProgramFailed(f"{words[0]} could not be started: {error.strerror}") from error
        ended_by_us = _wait(process, output, Deadline.after(limit))
        if ended_by_us == "limit":
            raise ProgramFailed(f"{words[0]} took more than {limit:g} seconds and was ended", output=_tail(output))
        if ended_by_us is None and process.returncode != 0:
            reason = f"{words[0]} ended with status {process.returncode}"
            raise ProgramFailed(reason, f"try it by hand: {shlex.join(words[:-1])} FILE", _tail(output))


def _wait(process: subprocess.Popen[bytes], output: IO[bytes], deadline: Deadline) -> str | None:
    """Wait for the end of a program; what made us end it, None when it ended by itself."""
    ending, pause = current_place().ending, LOOK / 10
    try:
        while process.poll() is None:
            if ending.wait(pause):
                return "ending"
            if deadline.expired:
                return "limit"
            pause = min(LOOK, pause * 2)
            if os.fstat(output.fileno()).st_size > LARGEST_OUTPUT:
                os.ftruncate(output.fileno(), 0)
        return None
    finally:
        if process.poll() is None:
            _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a program that runs, with the children that stayed in its group."""
    _signal(process, signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(END_PATIENCE)
        return
    _signal(process, getattr(signal, "SIGKILL", signal.SIGTERM))
    process.wait()


def _signal(process: subprocess.Popen[bytes], number: int) -> None:
    """Send a signal to the group of a process that was not waited for yet."""
    if not hasattr(os, "killpg"):
        process.terminate()
        return
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def _tail(output: IO[bytes]) -> str:
    size = output.seek(0, os.SEEK_END)
    output.seek(max(0, size - SEEN_BYTES))
    return output.read(SEEN_BYTES).decode(errors="replace")
