# ruff: noqa: N999 - the published name of the module
"""A stack of shells in one terminal: the first is spawned, the others are pushed over it and popped again.

It knows the `Shell` interface and the channels that the first shell needs, and nothing of what a shell says. It
promises that after each push and pop the shell on top answered, or that the error says so and the parent is marked.
"""

from __future__ import annotations

import contextlib
import copy
import logging
import os
import shlex
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import IO, TYPE_CHECKING, Any, Final

import pexpect

from crl.channels import Channel, ChannelStartError, LocalPtyChannel
from crl.deadlines import Deadline
from crl.errors import CrlError, UsageError
from crl.interactivesessions._beside import CommandChannel, lane_beside, open_channel
from crl.interactivesessions._patience import HasDoor, wait_for_door
from crl.interactivesessions._spawn import ChannelSpawn
from crl.interactivesessions.interactivesessionexceptions import (
    InteractiveSessionError,
    ShellEnded,
    ShellStateError,
    UnexpectedPrompt,
    UnknownShellState,
)
from crl.interactivesessions.recording import FOLDER_VARIABLE, Logs, Recorder
from crl.interactivesessions.shells._lines import COLUMNS, ROWS
from crl.interactivesessions.shells._logins import login_place
from crl.interactivesessions.shells.bashshell import BashShell
from crl.interactivesessions.shells.namespaceshell import NamespaceShell
from crl.interactivesessions.shells.pythonshell import PythonShell
from crl.interactivesessions.shells.shell import Shell
from crl.interactivesessions.shells.shell import TimeoutError as ShellTimeout
from crl.interactivesessions.shells.sshshell import SshShell

if TYPE_CHECKING:
    from crl.link import Lane

__all__ = [
    "BashShell",
    "InteractiveSession",
    "NamespaceShell",
    "PythonShell",
    "Shell",
    "SshShell",
    "UnexpectedPrompt",
    "UnknownShellState",
]

_BANNER: Final = b"*" * 30 + b"NEW TERMINAL" + b"*" * 30 + b"\n"
_POLITE_SECONDS: Final = 1.5
# sudo and su take about two seconds to end after a refused password, also when interrupted.
_RECOVERY_SECONDS: Final = 15.0
_NOT_INHERITED: Final = frozenset({"PS1", "PS2", "PROMPT_COMMAND", "COLUMNS", "LINES"})
_log = logging.getLogger("crl.interactivesessions")


def _hurry(shell: Shell, seconds: float) -> None:
    """Let a shell's start take no longer than that, where it knows a limit."""
    limit = getattr(shell, "start_timeout", None)
    if isinstance(limit, int | float):
        vars(shell)["start_timeout"] = min(limit, seconds)


def _no_door() -> HasDoor | None:
    """What a shell of a user that derives from none of ours tells of its door."""
    return None


def child_environment() -> dict[str, str]:
    """The environment of a first shell on this machine: the user's, for a dumb terminal."""
    kept = {name: value for name, value in os.environ.items() if name not in _NOT_INHERITED}
    return {**kept, "TERM": "dumb"}


class InteractiveSession:
    """A terminal with a stack of shells.

    Args:
        dump_received: A file to which all bytes received are appended.
        dump_outgoing: A file to which all bytes sent are appended; passwords appear as ``<secret>``.
        recordings: A folder that gets a recording of each terminal, which ``crl replay`` plays; None is the one that
            the environment names in ``CRL_RECORDINGS``, "" is none.
    """

    def __init__(
        self, dump_received: str | None = None, dump_outgoing: str | None = None, *, recordings: str | None = None
    ) -> None:
        self.terminal: Any = None
        self.recordings = os.environ.get(FOLDER_VARIABLE, "") if recordings is None else recordings
        self._recorder: Recorder | None = None
        self.shells: list[Shell] = []
        self.dump_received = dump_received
        self.dump_outgoing = dump_outgoing
        self.terminal_spawn_timeout: float = 30
        self.terminal_expect_timeout: float = 60
        self._changing = threading.Lock()
        self._closed = False
        self._aborted = False
        self._reopening_failed = False
        self._spare: InteractiveSession | None = None
        self._link_python: tuple[str | None] | None = None

    def __enter__(self) -> InteractiveSession:
        return self

    def __exit__(self, *_: object) -> None:
        self.close_terminal()

    def spawn(self, shell: Shell) -> str | None:
        """Start the first shell, in a new terminal.

        Args:
            shell: Any shell. Its own ``spawn(timeout)`` makes the terminal when it has that method; otherwise its
                start command is run in a terminal on this machine.

        Returns:
            What the shell printed while it started.

        Raises:
            InteractiveSessionError: It did not start; the terminal was closed.
        """
        with login_place(shell):
            return self._start_first(shell)

    def expect_link(self, python: str | None) -> None:
        """Say that nothing is wanted of the first shell but its lane, for a link; see `Shell.expect_link`."""
        self._link_python = (python,)

    def _start_first(self, shell: Shell) -> str | None:
        shell.set_parent(None)
        if self._link_python is not None and isinstance(shell, Shell):
            shell.expect_link(*self._link_python)
        self._closed = False
        self.terminal = self._spawn_terminal(shell)
        started = False
        try:
            self._check_aborted()
            self._open_logs(self.terminal, shell)
            self.terminal.timeout = self.terminal_expect_timeout
            shell.set_terminal(self.terminal)
            output = shell.start()
            self.shells.append(shell)
            started = True
        finally:
            # Whatever the error was (a keyboard interrupt too), nothing of a session that did not start is left.
            if not started:
                self._close_now()
        return output

    def _spawn_terminal(self, shell: Shell) -> Any:
        own: Callable[[float], Any] | None = getattr(shell, "spawn", None)
        if own is not None:
            return own(self.terminal_spawn_timeout)
        command = shlex.split(shell.get_start_cmd())
        channel = LocalPtyChannel(command, env=child_environment(), columns=COLUMNS, rows=ROWS)
        return ChannelSpawn(channel, timeout=self.terminal_spawn_timeout)

    def _open_logs(self, terminal: Any, shell: Shell) -> None:
        """Have what goes over the terminal written to dumps and recording, which are closed with it."""
        if self.recordings:
            name = getattr(shell, "host", None) or type(shell).__name__
            self._recorder = Recorder(self.recordings, str(name), columns=COLUMNS, rows=ROWS)
        for attribute, path, direction in (
            ("logfile_send", self.dump_outgoing, "sent"),
            ("logfile_read", self.dump_received, "received"),
        ):
            logs: list[Any] = [] if self._recorder is None else [getattr(self._recorder, direction)]
            if path is not None:
                dump: IO[bytes] = open(path, "ab")  # noqa: SIM115 - closed with the terminal
                dump.write(_BANNER)
                logs.append(dump)
            if logs:
                setattr(terminal, attribute, Logs(logs))

    def note(self, text: str) -> None:
        """Write into the recording of the terminal, where there is one, that something happened."""
        if self._recorder is not None:
            self._recorder.note(text)

    def push(self, shell: Shell, timeout: float = 30) -> str | None:
        """Start a shell from the current one and put it on top.

        Args:
            shell: Any shell.
            timeout: Seconds that the current shell may take to come back when the new one does not start.

        Returns:
            What the shell printed while it started.

        Raises:
            InteractiveSessionError: It did not start. The current shell is usable again, or refuses itself with
                `ShellStateError`.
        """
        parent = self.current_shell()
        parent._require_known()  # noqa: SLF001 - published helper names of shells
        if parent.rides_link:
            raise UsageError(f"nothing can be pushed over a {type(parent).__name__}", advice="pop it first")
        if shell.rides_link:
            return self._push_on_link(shell, parent)
        command = shell.get_start_cmd()
        shell.set_parent(parent)
        parent._read_until_end(chunk_timeout=0)  # noqa: SLF001 - published helper names of shells
        parent._exec_cmd(parent.guard(command))  # noqa: SLF001
        shell.set_terminal(self.terminal)
        parent.cover(shell)
        started = False
        try:
            output = shell.start()
            self.shells.append(shell)
            started = True
        finally:
            if not started:
                parent.cover(None)
                self._recover(parent, timeout)
        return output

    def _push_on_link(self, shell: Shell, parent: Shell) -> str:
        """Start a shell on a link; a parent whose terminal is lent refuses to be used by itself."""
        shell.set_parent(parent)
        output = shell.start_over(self.lane(), self.terminal_expect_timeout)
        self.shells.append(shell)
        return output

    def _recover(self, parent: Shell, timeout: float) -> None:
        """Bring a parent back to its prompt; where that fails it refuses itself, and the first error is what counts."""
        try:
            parent.recover(min(timeout, _RECOVERY_SECONDS))
        except (InteractiveSessionError, pexpect.EOF) as error:
            _log.info("the parent shell did not come back: %s", error)

    def pop(self) -> str | None:
        """Leave the current shell; one that is known to have ended is only taken off.

        Returns:
            What came before the prompt of the shell under it; None when that was the last one.

        Raises:
            UnexpectedPrompt: The current shell does not answer with its prompt; it was taken off the stack.
            ShellStateError: The shell under it does not answer exactly.
        """
        shell = self.current_shell()
        ended = shell.has_ended()
        self._pop()
        if not self.shells:
            return None
        parent = self.current_shell()
        try:
            output = "" if shell.rides_link or ended else parent._read_until_prompt()  # noqa: SLF001
            parent.verify()
        except ShellTimeout as error:
            mark = getattr(parent, "mark_unknown", None)
            if mark is not None:
                mark("the shell over it was left, but its prompt did not come")
            raise ShellStateError(
                "the prompt did not come back", host=parent.host, doing="leaving the shell above it"
            ) from error
        return output

    def _pop(self) -> None:
        shell = self.current_shell()
        try:
            if not shell.has_ended():
                shell.verify()
                shell.exit()
        finally:
            self._take_off()

    def _take_off(self) -> None:
        self.shells.pop().drop()
        if self.shells:
            self.shells[-1].cover(None)

    def pop_until(self, shell: Shell) -> None:
        """Leave shells until `shell` is the current one and answers.

        Raises:
            UnknownShellState: It is not in the stack, or none answered.
        """
        last: InteractiveSessionError | None = None
        while shell in self.shells:
            try:
                if self.current_shell() is shell:
                    shell.verify()
                    return
                self.pop()
            except (UnexpectedPrompt, ShellStateError, ShellEnded) as error:
                _log.info("a shell did not answer while popping: %s", error)
                last = error
                if self.shells and self.current_shell() is shell:
                    raise UnknownShellState("the shell does not answer", host=shell.host) from error
        raise UnknownShellState("the shell is not in the stack, or did not answer", host=shell.host) from last

    def current_shell(self) -> Shell:
        """The shell on top.

        Raises:
            RunnerTerminalSessionBroken: There is none.
        """
        if not self.shells:
            from crl.interactivesessions.runnerexceptions import RunnerTerminalSessionBroken

            raise RunnerTerminalSessionBroken("InteractiveSession is already closed.")
        return self.shells[-1]

    def get_parent_shell(self) -> Shell:
        """The shell under the current one."""
        return self.shells[-2]

    def get_nbr_of_shells(self) -> int:
        """How many shells are stacked."""
        return len(self.shells)

    def isalive(self) -> bool:
        """Whether the terminal's program is there."""
        return self.terminal is not None and bool(self.terminal.isalive())

    def lane(self) -> Lane:
        """Lend the terminal of the current shell to a link, with the way to another one of the same kind.

        When the link asks for it, all shells of the stack are started once more, in a terminal beside the old one;
        it then becomes this session's terminal. User code keeps no shell object over that: `current_shell` gives it.

        Raises:
            UsageError: This kind of shell cannot carry a link.
        """
        lane = self.current_shell().lane()
        return lane if self.shells[0].exclusive else replace(lane, reopen=self._reopen, beside=self._way_beside())

    def _way_beside(self) -> Callable[[Deadline], Lane] | None:
        """How a channel without a terminal is had where the only shell runs: behind a second one is somebody else."""
        shell, run = self.current_shell(), self._runs_beside()
        if run is None or not shell.changes_lane:
            return None
        return lambda deadline: lane_beside(run, shell.host, deadline)

    def _runs_beside(self) -> Callable[[str, Deadline], Channel] | None:
        return None if len(self.shells) > 1 else getattr(self.terminal, "beside", None)

    def open_channel(self, words: Sequence[str], deadline: Deadline) -> CommandChannel:
        """Run a command on the connection of the session's only shell, without a terminal, whatever the shell does.

        Args:
            words: Program and arguments, which no shell changes; what the program writes as errors is lost.
            deadline: When to give up.

        Returns:
            Its stream, which is the caller's to close; it ends with the connection, which a link may outlive.

        Raises:
            ChannelStartError: There is no such connection, or the host runs nothing more on it.
        """
        with self._changing:
            shell, run = self.current_shell(), self._runs_beside()
        if run is None:
            raise ChannelStartError(
                "only a single shell over SSH has a connection on which more can be run",
                host=shell.host,
                doing="opening a channel beside the terminal",
            )
        return open_channel(run, words, shell.host, deadline)

    def _reopen(self, deadline: Deadline) -> Lane:
        if self._reopening_failed:
            self._wait_for_door(deadline)
        self._reopening_failed = True
        twin = self._twin(deadline)
        self._reopening_failed = False
        try:
            lane = twin.current_shell().lane()
        except BaseException:
            twin.discard()
            raise
        return replace(
            lane,
            reopen=self._reopen,
            beside=twin._way_beside(),  # noqa: SLF001 - one of us
            take_over=lambda: self._take_terminal_of(twin),
            discard=twin.discard,
            keep=lambda: self._keep(twin),
        )

    def _wait_for_door(self, deadline: Deadline) -> None:
        """Wait while the first host cannot be reached, but leave half of the time for a try all the same."""
        door = getattr(self.shells[0], "find_door", _no_door)() if self.shells else None
        left = deadline.remaining()
        if door is not None:
            wait_for_door(door, deadline if left is None else deadline.sooner(left / 2), lambda: self._ending)

    @property
    def _ending(self) -> bool:
        return self._closed or self._aborted

    def _twin(self, deadline: Deadline) -> InteractiveSession:
        """The same shells once more, in a terminal of their own."""
        with self._changing:
            shells = [copy.copy(shell) for shell in self.shells if not shell.rides_link]
            if self._ending or not shells:
                raise UsageError("the session is closed", doing="opening its terminal again")
        twin = InteractiveSession(self.dump_received, self.dump_outgoing, recordings=self.recordings)
        twin._link_python = self._link_python if len(shells) == 1 else None
        try:
            with login_place(shells[0], deadline):
                for shell in shells:
                    left = deadline.remaining()
                    if left is not None:
                        twin.terminal_spawn_timeout = left
                        _hurry(shell, left)
                    if twin.shells:
                        twin.push(shell)
                    else:
                        twin._start_first(shell)
        except BaseException:
            twin.discard()
            raise
        return twin

    def _take_terminal_of(self, twin: InteractiveSession) -> None:
        """The twin's terminal and shells become ours; our old ones are closed."""
        with self._changing:
            if self._closed:
                raise UsageError("the session was closed meanwhile", doing="opening its terminal again")
            riding = [shell for shell in self.shells if shell.rides_link]
            old, self.terminal, self.shells = self.terminal, twin.terminal, [*twin.shells, *riding]
            twin.terminal, twin.shells = None, []
            self._recorder = twin._recorder
        self.note("a link goes on over this terminal")
        if old is not None:
            old.close(force=True)

    def _keep(self, twin: InteractiveSession) -> None:
        """A twin that stands at its shell, though what it was opened for is gone."""
        with self._changing:
            keeps = not self._closed and self._spare is None
            if keeps:
                self._spare = twin
        if not keeps:
            twin.discard()

    def take_spare(self) -> InteractiveSession | None:
        """A session of the same shells that is open already, left by a link that could not be resumed; once."""
        with self._changing:
            spare, self._spare = self._spare, None
        return spare

    def abort(self) -> None:
        """Have a `spawn` or `push` that is under way in another thread, or comes later, fail as soon as it can."""
        self._aborted = True
        hang_up = getattr(self.terminal, "hang_up", None)
        if hang_up is not None:
            hang_up()

    def _check_aborted(self) -> None:
        if self._aborted:
            raise InteractiveSessionError("the session was closed while it was being opened", doing="opening a session")

    def discard(self) -> None:
        """End the terminal at once, without leaving the shells politely; again is harmless."""
        self._close_now()

    def close_terminal(self) -> None:
        """Leave all shells, politely for at most about two seconds, and end the terminal; again is harmless."""
        with self._changing:
            self._closed = True
        if self.terminal is None:
            return
        try:
            self._leave_politely(Deadline.after(_POLITE_SECONDS))
        finally:
            self._close_now()
            self.dump_received = None
            self.dump_outgoing = None

    def _leave_politely(self, deadline: Deadline) -> None:
        self.terminal.timeout = _POLITE_SECONDS
        with contextlib.suppress(CrlError, pexpect.ExceptionPexpect):  # closing the terminal ends them anyway
            while self.shells and not deadline.expired:
                shell = self.shells[-1]
                shell.exit()
                self._take_off()
                if self.shells and not shell.rides_link:
                    self.shells[-1]._read_until_prompt(deadline.remaining())  # noqa: SLF001

    def _close_now(self) -> None:
        with self._changing:
            self._closed = True
        spare = self.take_spare()
        if spare is not None:
            spare.discard()
        for shell in self.shells:
            shell.cover(None)
            shell.drop()
        self.shells = []
        terminal, self.terminal = self.terminal, None
        if terminal is not None:
            terminal.close(force=True)
