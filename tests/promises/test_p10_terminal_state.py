"""The state of a terminal is known or refused: no command is ever run by another shell than the one it was given to.

Invariant: whatever is pushed, popped, killed and written into the terminal, each command is answered by its own shell,
exactly, or raises and was run nowhere.
"""

from __future__ import annotations

import os
import signal
import time
from tempfile import TemporaryDirectory
from typing import NamedTuple

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from crl.interactivesessions.InteractiveSession import InteractiveSession
from crl.interactivesessions.interactivesessionexceptions import ShellEnded
from crl.interactivesessions.shells.bashshell import BashShell
from tests.link.peers import alive, eventually

KINDS = ("bash --norc", "dash", "busybox ash", "zsh -f", "sh -c 'exec bash --norc'")
DEEPEST = 4
# What kernels, other users and background jobs write over a terminal.
NOISE = (b"\r\nBroadcast message\r\n", b"[ 1.0] usb 1-1: new device\r\n", b"# $ > ", b"Password: ", b"\x1b[2J")


class Level(NamedTuple):
    shell: BashShell
    name: str
    pid: int


class Terminal(RuleBasedStateMachine):
    """A session beside what it should be: the names that its shells were given."""

    @initialize()
    def start(self) -> None:
        self.folder = TemporaryDirectory(prefix="crl-p10-")
        self.session = InteractiveSession()
        self.levels: list[Level] = []
        self.count = 0
        shell = BashShell("bash --norc")
        self.session.spawn(shell)
        self.tty = shell.exec_command("tty").strip()
        self._name(shell)

    def _name(self, shell: BashShell) -> None:
        self.count += 1
        name = f"shell{self.count}"
        # Not exported: a child does not have it.
        shell.exec_command(f"me={name}")
        self.levels.append(Level(shell, name, int(shell.exec_command("echo $$"))))

    @precondition(lambda self: len(self.levels) < DEEPEST)
    @rule(kind=st.sampled_from(KINDS))
    def push(self, kind: str) -> None:
        shell = BashShell(kind)
        self.session.push(shell)
        self._name(shell)

    @precondition(lambda self: len(self.levels) > 1)
    @rule()
    def pop(self) -> None:
        self.session.pop()
        self.levels.pop()

    @precondition(lambda self: len(self.levels) > 1)
    @rule(data=st.data())
    def pop_until(self, data: st.DataObject) -> None:
        depth = data.draw(st.integers(1, len(self.levels) - 1))
        self.session.pop_until(self.levels[depth - 1].shell)
        del self.levels[depth:]

    @rule(noise=st.sampled_from(NOISE))
    def somebody_writes(self, noise: bytes) -> None:
        with open(self.tty, "wb", buffering=0) as terminal:
            terminal.write(noise)

    @rule(text=st.sampled_from(["$PS1", "'# '", "'> '", "logout", "'exit; exit'"]))
    def output_like_a_prompt(self, text: str) -> None:
        level = self.levels[-1]
        assert level.shell.exec_command(f"echo {text}; (exit 5)").endswith("\r\n")
        assert level.shell.get_status_code() == 5

    @precondition(lambda self: len(self.levels) > 1)
    @rule()
    def the_shell_is_killed(self) -> None:
        """Its parent has the terminal then, and would run what comes."""
        level = self.levels.pop()
        os.kill(level.pid, signal.SIGKILL)
        assert eventually(lambda: not alive(level.pid))
        assert eventually(level.shell.has_ended)
        self._is_refused(level)
        assert self.session.pop() == ""

    @precondition(lambda self: len(self.levels) > 1)
    @rule()
    def the_shell_ends_in_a_command(self) -> None:
        level = self.levels.pop()
        began = time.monotonic()
        self._is_refused(level, "exit 0; ")
        assert time.monotonic() - began < 30, "the command's own limit is 60 s"
        assert self.session.pop() == ""

    def _is_refused(self, level: Level, before: str = "") -> None:
        for _ in range(2):
            try:
                answer = level.shell.exec_command(f"{before}touch {self.folder.name}/ran-by-$me")
            except ShellEnded:
                before = ""
            else:
                raise AssertionError(f"a shell that is gone answered {answer!r}")
        assert os.listdir(self.folder.name) == []

    @invariant()
    def the_top_answers_for_itself(self) -> None:
        if not getattr(self, "levels", None):
            return
        level = self.levels[-1]
        self.count += 1
        assert f"{level.name}-{self.count}\r\n" in level.shell.exec_command(f"echo $me-{self.count}; (exit 3)")
        assert level.shell.get_status_code() == 3
        assert self.session.get_nbr_of_shells() == len(self.levels)

    def teardown(self) -> None:
        if hasattr(self, "session"):
            with self.folder:
                self.session.close_terminal()
                # Those below are buried by others.
                assert eventually(lambda: not any(alive(level.pid) for level in self.levels))


Terminal.TestCase.settings = settings(max_examples=12, stateful_step_count=12, deadline=None)
TestTerminal = Terminal.TestCase
