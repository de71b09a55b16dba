"""Lanes to local shells, and the interpreters of this machine, for the link's tests."""

from __future__ import annotations

import os
import select
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from crl.channels.base import Channel
from crl.channels.process import ProcessChannel
from crl.channels.pty import LocalPtyChannel
from crl.deadlines import Deadline
from crl.link import Lane
from crl.link.lane import CLEAN, LaneKind

PATIENCE = 20.0


def interpreters() -> list[str]:
    """One interpreter of every version that this machine has."""
    found: dict[str, str] = {}
    candidates = [
        *sorted(map(str, Path.home().glob(".pyenv/versions/*/bin/python"))),
        "/usr/bin/python3",
        "/usr/bin/python2",
    ]
    for path in candidates:
        if os.access(path, os.X_OK):
            code = "import sys; print('%d.%d' % sys.version_info[:2])"
            answer = subprocess.run([path, "-c", code], capture_output=True, text=True, check=True)
            found.setdefault(answer.stdout.strip(), path)
    return [found[version] for version in sorted(found, key=lambda text: tuple(map(int, text.split("."))))]


INTERPRETERS = interpreters() or [sys.executable]


@dataclass(frozen=True)
class Program:
    """A shell that a test wants at the far end, and the kind of lane to it: ``"pipe"`` or ``"pty"``."""

    kind: str
    argv: Sequence[str]
    env: Mapping[str, str] | None
    cwd: str | None

    @property
    def line(self) -> str:
        """The command line that says its process id and starts it as it would be started here."""
        variables = dict(os.environ if self.env is None else self.env)
        words = ["env", "-i", *(f"{name}={value}" for name, value in variables.items()), *self.argv]
        size = "[ ! -t 0 ] || stty rows 24 cols 80"
        return f"{size}; cd {shlex.quote(self.cwd or os.getcwd())} && echo shell:$$: && exec {shlex.join(words)}"


@dataclass(frozen=True)
class Far:
    """A shell that was reached.

    Attributes:
        channel: Its bytes.
        kind: What the channel carries.
        terminal: Whether there is a terminal although a pipe was asked for.
    """

    channel: Channel
    kind: LaneKind = CLEAN
    terminal: bool = False


def open_here(program: Program) -> Far:
    """A lane to a process of this machine: the way of the links' tests unless another one is asked for."""
    make = ProcessChannel if program.kind == "pipe" else LocalPtyChannel
    env = None if program.env is None else dict(program.env)
    return Far(make(list(program.argv), name="sh", env=env, cwd=program.cwd))


WAY: list[Callable[[Program], Far]] = [open_here]
"""How shells are reached; ``--over`` puts another way last."""


class Shell:
    """A local POSIX shell whose terminal is lent to links.

    Args:
        kind: ``"pipe"`` or ``"pty"``.
        argv: The shell.
        channel: A channel of another kind, at whose end a shell without echo and prompt waits.
    """

    def __init__(
        self,
        kind: str = "pipe",
        argv: Sequence[str] = ("/bin/sh",),
        *,
        env: dict[str, str] | None = None,
        cwd: str | None = None,
        channel: Channel | None = None,
    ) -> None:
        self._again = lambda: Shell(kind, argv, env=env, cwd=cwd)
        far = WAY[-1](Program(kind, argv, env, cwd)) if channel is None else Far(channel)
        self.channel = far.channel
        self.kind = far.kind
        self.returned: list[bytes] = []
        self.pending = b""
        if channel is None and WAY[-1] is not open_here:
            said = b""
            while b"shell:" not in said:
                # What was typed to log in may be echoed before.
                said = self.read_until(b"\n")
            self.pid = int(said.rpartition(b"shell:")[2].split(b":")[0])
        else:
            self.pid = getattr(self.channel, "pid", 0)
        if kind != "pipe" or far.terminal:
            self.say("stty -echo; PS1= PS2=; unset PROMPT_COMMAND; printf 'rea%s' dy.")
            self.read_until(b"ready.")

    def say(self, line: str) -> None:
        """Type a line."""
        data = memoryview(line.encode() + b"\n")
        while data:
            data = data[self.channel.write(data) :]

    def read_until(self, wanted: bytes) -> bytes:
        """All output up to and with some bytes."""
        seen = b"".join(self.returned)
        self.returned.clear()
        deadline = time.monotonic() + PATIENCE
        poller = select.poll()
        poller.register(self.channel.fileno(), select.POLLIN)
        while wanted not in seen:
            assert time.monotonic() < deadline, f"no {wanted!r} in {seen!r}"
            if poller.poll(100):
                try:
                    data = self.channel.read()
                except BlockingIOError:
                    # There was nothing for us: a word of a protocol.
                    continue
                assert data, f"the shell ended after {seen!r}"
                seen += data
        return seen

    def ask(self, command: str) -> str:
        """The output of a command typed at the prompt: the shell must have its terminal."""
        # What is typed may be echoed, and no line may be too long for the lane.
        self.say(f"printf 'be%s' gin.; {command}; printf '\\ndo%s' ne.")
        said = self.read_until(b"done.").partition(b"begin.")[2].partition(b"done.")[0].decode()
        return said.replace("\r", "").strip()

    def lane(self, wrap: Callable[[Channel], Channel] | None = None) -> Lane:
        """Lend the terminal."""

        def take_pending() -> bytes:
            pending, self.pending = self.pending, b""
            return pending

        channel = self.channel if wrap is None else wrap(self.channel)
        return Lane(channel, self.say, take_pending, self.returned.append, "localhost", kind=self.kind)

    def lasting_lane(self, again: Callable[[], Shell] | None = None, made: list[Shell] | None = None) -> Lane:
        """Lend the terminal with a way to open another one.

        Args:
            again: Opens another shell of the same kind; a local one by itself.
            made: Gets every shell that was opened.
        """
        current = [self]

        def reopen(deadline: Deadline) -> Lane:
            del deadline
            fresh = (again or self._again)()

            def take_over() -> None:
                old, current[0] = current[0], fresh
                old.close()
                if made is not None:
                    made.append(fresh)

            return replace(fresh.lane(), reopen=reopen, take_over=take_over, discard=fresh.close)

        return replace(self.lane(), reopen=reopen)

    def close(self) -> None:
        """End the shell."""
        self.channel.close()


def alive(pid: int) -> bool:
    """Whether a process runs and is no zombie."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in ("Z", "X")


def eventually(condition: Callable[[], object], seconds: float = PATIENCE) -> bool:
    """Whether a condition comes true in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def freeze(pid: int) -> None:
    """Stop a process, and come back when it stands still.

    One of its threads takes the signal and has to get a processor for that; until then the others run on.
    """
    os.kill(pid, signal.SIGSTOP)
    assert eventually(lambda: _stands_still(pid)), "it does not stop"


def _stands_still(pid: int) -> bool:
    tasks = Path(f"/proc/{pid}/task").glob("*/stat")
    try:
        return all(task.read_text(encoding="utf-8").rpartition(") ")[2].startswith("T") for task in tasks)
    except (FileNotFoundError, ProcessLookupError):
        # A thread was just ending.
        return False
