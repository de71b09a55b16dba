"""Bash, and every POSIX-like shell: commands with exact output and status in one round trip.

It knows the base `Shell`, how a shell is made known (`_adopt`) and what lines are typed (`_lines`). It promises that
after `start` the shell answered exactly, and that a shell which stopped doing so is refused by `ShellStateError`
rather than typed into.
"""

from __future__ import annotations

import contextlib
import logging
import re
import shlex
from typing import TYPE_CHECKING, Any, Final

from crl.deadlines import Deadline
from crl.errors import UsageError
from crl.interactivesessions._spawn import ChannelSpawn
from crl.interactivesessions.interactivesessionexceptions import InteractiveSessionError, ShellStateError
from crl.interactivesessions.shells._adopt import Adoption
from crl.interactivesessions.shells._guard import Guard
from crl.interactivesessions.shells._lines import LINE_LIMIT, command_lines, line_limit
from crl.interactivesessions.shells._prompt import Nonce, ShellPrompt
from crl.interactivesessions.shells._scp import ScpError, place, scp
from crl.interactivesessions.shells.autocompletableshell import AutoCompletableShell
from crl.interactivesessions.shells.basherrors import (
    BashError,
    BashShellTypeError,
    CdToWorkdirFailed,
    FailedToStartApplication,
    FailedToTerminateProcess,
    IncompleteCommand,
    SourceInitFileFailed,
)
from crl.interactivesessions.shells.registershell import RegisterShell
from crl.interactivesessions.shells.shell import DEFAULT_STATUS_TIMEOUT, CommandResult, DefaultStatusTimeout
from crl.interactivesessions.shells.shell import TimeoutError as ShellTimeout
from crl.secrets import Secret, redact

if TYPE_CHECKING:
    from crl.link import Lane

__all__ = [
    "BashError",
    "BashShell",
    "BashShellTypeError",
    "CdToWorkdirFailed",
    "CommandResult",
    "FailedToStartApplication",
    "FailedToTerminateProcess",
    "IncompleteCommand",
    "ScpError",
    "SourceInitFileFailed",
]

START_TIMEOUT: Final = 30.0
_RESYNC_PATIENCE: Final = 0.9
# A zsh answers a Ctrl-C late, and throws away what was typed until then: the second question has to come after that.
_RECOVERY_PATIENCE: Final = 6.0
_FIRST_INTERRUPT: Final = 0.2
_START_OF_A_PROGRAM: Final = 0.3
_LOST_INTERRUPT: Final = 2.0
_VERIFY_PATIENCE: Final = 10.0
_ANY_OUTPUT: Final = re.compile(b"(?s)(?=.)")
_LEAVE_PATIENCE: Final = 5.0
_LANE_PATIENCE: Final = 10.0
_CONTENT: Final = "content:"
_log = logging.getLogger("crl.interactivesessions.shells")


@RegisterShell()
class BashShell(AutoCompletableShell):
    """A bash, on this machine when it is the first shell of a session, otherwise where its parent runs.

    Dash, busybox ash and zsh are spoken to as they are. A fish, csh, tcsh or ksh (``cmd="su - user"`` may give one) is
    replaced in its place by bash, or sh where there is none.

    Args:
        cmd: The command that starts the shell.
        confirmation_msg: A question that the command asks first.
        confirmation_rsp: The answer to it.
        tty_echo: Whether the terminal echoes what is typed.
        set_rand_promt: Accepted for the published package's sake; the prompt is always ours.
        init_env: A file to source at the end of the start, or ``content:`` followed by the lines themselves.
        workdir: The folder to change to.
        banner_timeout: Accepted for the published package's sake; the end of a banner is known exactly.
        start_timeout: Seconds that the start may take.
    """

    def __init__(
        self,
        cmd: str = "bash",
        confirmation_msg: str | None = None,
        confirmation_rsp: str = "Y",
        tty_echo: bool = False,
        set_rand_promt: bool = True,
        init_env: str | None = None,
        workdir: str | None = None,
        banner_timeout: float = 0.1,
        *,
        start_timeout: float = START_TIMEOUT,
    ) -> None:
        super().__init__(tty_echo=tty_echo)
        for name, text in (("cmd", cmd), ("init_env", init_env), ("workdir", workdir)):
            if not isinstance(text, str | None):
                raise BashShellTypeError(f"{name} of a {type(self).__name__} must be a text, not {text!r}")
        self._start_cmd = cmd
        self._confirmation_msg = confirmation_msg
        self._confirmation_rsp = confirmation_rsp
        self.set_rand_promt = set_rand_promt
        self.init_env = init_env
        self.workdir = workdir
        self.banner_timeout = banner_timeout
        self.start_timeout = start_timeout
        self._new_prompt()
        self._trouble: str | None = None
        self._status: int | None = None
        self._continuations = 0
        self._may_be_starting: Deadline | None = None
        self._line_limit = LINE_LIMIT
        self._kind = ""
        self._guard: Guard | None = None

    def _new_prompt(self) -> None:
        self._shell_prompt: ShellPrompt = ShellPrompt()
        self._prompt = self._shell_prompt.end

    # Start and end

    def get_start_cmd(self) -> str:
        """The command given."""
        return self._start_cmd

    def start(self) -> str:
        """Make the shell known; returns what it printed before.

        Raises:
            ShellStartError: It did not start, or has ended.
            ShellStateError: It does not answer exactly.
            SourceInitFileFailed: `init_env` failed; the shell was left again.
            CdToWorkdirFailed: `workdir` cannot be entered; the shell was left again.
        """
        output = ""
        if self._confirmation_msg:
            output = self._read_until(self._confirmation_msg)
            self._terminal.sendline(self._confirmation_rsp)
        return output + self._set_bash_environment()

    def _set_bash_environment(
        self, kind: str | None = None, deadline: Deadline | None = None, *, settled: bool = False
    ) -> str:
        """Make the shell known, then do what the user asked for at the start; see `Adoption.run`."""
        adoption = self._adoption(deadline or Deadline.after(self.start_timeout))
        banner = adoption.run(adoption.identify() if settled else kind)
        self._kind, self._line_limit = adoption.kind, line_limit(adoption.kind)
        self._trouble = None
        self._status = None
        try:
            return banner + self._init_env_if_needed() + self._cd_to_workdir_if_needed()
        except InteractiveSessionError:
            self._leave()
            raise

    def _leave(self) -> None:
        """Leave the shell and see the parent's prompt: a Ctrl-C that came sooner would take the line away again."""
        with contextlib.suppress(InteractiveSessionError):  # the error that made us leave is what counts
            self.exit()
            if self._parent_prompt is not None:
                self._read_until(self._parent_prompt, _LEAVE_PATIENCE)

    def _adoption(self, deadline: Deadline) -> Adoption:
        self._register_prompt()
        return Adoption(
            self._terminal,
            prompt=self._shell_prompt,
            deadline=deadline,
            what=self._what(),
            host=self.host,
            parent=self._parent_status,
            echo=self._tty_echo,
        )

    def _register_prompt(self) -> None:
        if isinstance(self._terminal, ChannelSpawn):
            self._terminal.add_prompt(self._shell_prompt)

    def _what(self) -> str:
        return redact(f"{self._name()} ({self._start_cmd})")

    def set_prompt(self) -> None:
        """Set the shell's prompt again, after something changed it.

        Raises:
            ShellStateError: The shell does not answer exactly.
        """
        self._set_prompt_again()

    def _set_prompt_again(self) -> None:
        adoption = self._adoption(Deadline.after(self.start_timeout))
        adoption.run(adoption.identify())
        self._kind, self._line_limit = adoption.kind, line_limit(adoption.kind)

    def _init_env_if_needed(self) -> str:
        if self.init_env is None:
            return ""
        if self.init_env.startswith(_CONTENT):
            return self._at_start(self.init_env[len(_CONTENT) :].strip("\r\n"), SourceInitFileFailed, "setting up")
        return self._at_start(f". {self.init_env}", SourceInitFileFailed, f"sourcing {self.init_env}")

    def _cd_to_workdir_if_needed(self) -> str:
        if self.workdir is None:
            return ""
        return self._at_start(f"cd {self.workdir}", CdToWorkdirFailed, f"changing to {self.workdir}")

    def _at_start(self, command: str, error: type[InteractiveSessionError], doing: str) -> str:
        output = self.exec_command(command)
        if self.get_status_code() != 0:
            raise error(output, host=self.host, doing=doing)
        return output

    def exit(self) -> None:
        """Leave the shell; does not wait for its end."""
        self._end_guard()
        # Twice in one line: a shell with stopped jobs refuses the first one.
        self._send_input_line("exit; exit")

    # State

    @property
    def trouble(self) -> str | None:
        """Why the shell's state is unknown; None while it is known."""
        return self._trouble

    def mark_unknown(self, reason: str) -> None:
        """Say that the shell's state is unknown: nothing is typed into it until it has answered exactly again."""
        self._trouble = reason
        _log.warning("%s: state unknown: %s", self._what(), reason)

    def _require_known(self) -> None:
        super()._require_known()
        if self._trouble is not None:
            try:
                self.resync(_RECOVERY_PATIENCE, interrupt=True)
            except ShellTimeout:
                raise ShellStateError(
                    self._trouble,
                    host=self.host,
                    doing=self._what(),
                    advice="close the session and open it again",
                    transcript=self._tail(),
                ) from None

    def resync(self, timeout: float, *, interrupt: bool = False) -> None:
        """Come to a prompt that is surely the answer to a line of ours, and forget all output before it.

        Args:
            timeout: Seconds for the answer.
            interrupt: Whether to send Ctrl-C first.

        Raises:
            TimeoutError: The shell does not answer.
        """
        deadline = Deadline.after(timeout)
        if interrupt and not (self._guard is not None and self._guard.waits):
            self._interrupt(deadline.sooner(timeout / 2))
        if not self._answers(deadline.sooner(timeout / 2)):
            # A shell that handles Ctrl-C late throws away what has been typed meanwhile.
            self._ask(deadline)
        self._trouble = None
        self._status = None

    def _interrupt(self, deadline: Deadline) -> None:
        """Send Ctrl-C until the prompt comes: one that arrives just before a program reads may be lost."""
        wait = _FIRST_INTERRUPT
        while not deadline.expired:
            self._send_interrupt()
            with contextlib.suppress(ShellTimeout):  # the next one, or the question afterwards, will tell
                self._read_until(self._prompt, min(wait, deadline.remaining() or 0.0))
                return
            wait *= 2

    def _answers(self, deadline: Deadline) -> bool:
        with contextlib.suppress(ShellTimeout):
            self._ask(deadline)
            return True
        return False

    def _ask(self, deadline: Deadline) -> None:
        nonce = Nonce()
        self._end_guard()
        self._send_input_line(f"echo {nonce.quoted}")
        self._read_until(nonce.text, deadline.remaining())
        self._read_until(self._prompt, deadline.remaining())
        if self._guard is not None:
            self._guard.forget()
            self._guard = None

    def set_terminal(self, terminal: Any) -> None:
        """Use this pexpect-like terminal from now on; a guard in another one is not this shell's any more."""
        super().set_terminal(terminal)
        self._guard = None

    def guard(self, command: str) -> str:
        """The command with what keeps this shell from reading what was meant for the one that it starts."""
        if not isinstance(self._terminal, ChannelSpawn):
            return command
        self._guard = Guard(self._terminal, self._shell_prompt, self._kind)
        return self._guard.line(command)

    def _end_guard(self) -> None:
        if self._guard is not None:
            with self._own_errors():
                self._guard.end()

    def verify(self, timeout: float = _VERIFY_PATIENCE) -> None:
        """See that the shell answers a nonce and its prompt.

        Raises:
            ShellStateError: It does not.
            ShellEnded: It has ended.
        """
        self._require_there()
        try:
            self.resync(timeout)
        except ShellTimeout as error:
            self.mark_unknown("the shell does not answer")
            raise ShellStateError(
                "the shell does not answer", host=self.host, doing=self._what(), transcript=self._tail()
            ) from error

    def recover(self, timeout: float) -> None:
        """Come back to the prompt after a child failed to start here.

        Raises:
            ShellStateError: The prompt does not come; the shell is marked unknown.
        """
        # Ctrl-C comes first: a line would be an answer where the child waits at a question for a password.
        with contextlib.suppress(ShellTimeout):  # then it is unknown, as said below
            self.resync(timeout, interrupt=True)
            return
        self.mark_unknown("a shell started from here may still be in its terminal")
        raise ShellStateError(
            self._trouble, host=self.host, doing=self._what(), advice="close the session", transcript=self._tail()
        )

    # Commands

    def exec_command(self, cmd: str, timeout: float | None = -1) -> str:
        r"""Run a command and return what it printed on the terminal (lines end with ``\r\n``).

        The command may have several lines and any length. Its status is known afterwards without another round trip.

        Args:
            cmd: The command.
            timeout: Seconds; -1 is the terminal's default (60), None an hour.

        Raises:
            TimeoutError: It did not end in time. It was interrupted; where that did not help, the shell's state is
                unknown and the next command raises `ShellStateError`.
            IncompleteCommand: A quote or bracket is not closed; nothing was run.
            ShellStateError: The shell is in an unknown state.
            ShellEnded: The shell or the connection has ended.
            ChannelInUse: The terminal is used by a shell pushed over this one, or lent.
            UsageError: The command holds a NUL.
        """
        return super().exec_command(cmd, timeout)

    def run_command(self, cmd: str, timeout: float | None = -1) -> CommandResult:
        """As `exec_command`, with the status and the output byte for byte as the command wrote it."""
        self.exec_command(cmd, timeout)
        output = bytes(self._terminal.before)
        return CommandResult(self.get_status_code(), output.replace(b"\r\n", b"\n"))

    def _exec_cmd(self, cmd: str) -> None:
        typed = "\n".join(command_lines(cmd, self._line_limit))
        if "\n" in typed and self._tty_echo:
            raise UsageError("a command of several or very long lines cannot be run while the terminal echoes")
        self._continuations = typed.count("\n")
        self._status = None
        self._send_input_line(typed)

    def _read_until_prompt(self, timeout: float | None = -1, suppress_timeout: bool = False) -> str:
        """Read up to the prompt; the prompts for the further lines of a command are left out."""
        deadline = self._deadline(timeout, self._terminal.timeout or 60.0)
        try:
            for _ in range(self._continuations):
                if self._expect([self._shell_prompt.more, self._prompt], deadline.remaining()) == 1:
                    return self._command_output()
            if self._expect([self._prompt, self._shell_prompt.more], deadline.remaining()) == 1:
                self._refuse_incomplete()
        except ShellTimeout:
            if not suppress_timeout:
                raise
        return self._command_output()

    def _command_output(self) -> str:
        self._continuations = 0
        dropped = getattr(self._terminal, "dropped", 0)
        if dropped:
            self._terminal.dropped = 0
            return f"[{dropped} bytes of output were dropped here]\r\n{self._before()}"
        return self._before()

    def _expect(self, trigger: Any, timeout: float | None = -1) -> int:
        index = super()._expect(trigger, timeout)
        if self._terminal.after == self._shell_prompt.text:
            self._note_status()
        return index

    def _note_status(self) -> None:
        if isinstance(self._terminal, ChannelSpawn):
            self._status = self._terminal.last_status
            return
        match = self._shell_prompt.status_pattern.search(self._terminal.before)
        if match is not None:  # a terminal of the user's own: the mark is still there
            self._status = int(match.group(1))
            self._terminal.before = self._terminal.before[: match.start()]

    def _refuse_incomplete(self) -> None:
        self._continuations = 0
        try:
            self.resync(2 * _RESYNC_PATIENCE, interrupt=True)
        except ShellTimeout:
            self.mark_unknown("the shell waits for the rest of a command")
        raise IncompleteCommand(
            "the command is not complete: a quote, bracket or keyword is not closed; it was not run",
            host=self.host,
            doing="running a command",
        )

    def _after_timeout(self) -> None:
        try:
            self.resync(_RESYNC_PATIENCE, interrupt=True)
        except ShellTimeout:
            self.mark_unknown("a command did not end in time and could not be interrupted")

    def get_status_code(self, timeout: float | DefaultStatusTimeout = DEFAULT_STATUS_TIMEOUT) -> int:
        """The exit status of the last command; costs no round trip, since it came with the prompt.

        Raises:
            BashError: There has been no command.
        """
        if self._status is None:
            answer = super().exec_command("echo $?", timeout=float(timeout))
            if not re.fullmatch(r"\d+\s*", answer):
                raise BashError(f"the shell answered {answer!r} instead of a status", host=self.host)
            return int(answer)
        return self._status

    def get_pid(self) -> int:
        """The process id of the last background process (``$!``)."""
        return int(self.exec_command("echo $!"))

    # Applications

    def start_application(self, cmd: str, expect: str, timeout: float = 60) -> str:
        """Start a program that stays in the foreground and wait until it prints `expect`.

        Raises:
            FailedToStartApplication: It ended before.
        """
        self.start_application_without_confirmation(cmd)
        return self.confirm_application_was_started(expect, timeout)

    def start_application_without_confirmation(self, cmd: str) -> None:
        """Start a program that stays in the foreground."""
        self._require_known()
        self._read_until_end(chunk_timeout=0)
        self._exec_cmd(cmd)
        self._may_be_starting = Deadline.after(_START_OF_A_PROGRAM)

    def confirm_application_was_started(self, expect: str, timeout: float = 60) -> str:
        """Wait until the program started prints `expect`; returns what was before it.

        Raises:
            FailedToStartApplication: It ended before.
        """
        if self._expect([expect, self._prompt], timeout) == 1:
            raise FailedToStartApplication(self.get_status_code(), self._before(), host=self.host)
        if expect:
            self._may_be_starting = None
        return self._before()

    def stop_application(self, timeout: float = 30) -> str:
        """Interrupt the program (Ctrl-C) and return its last output.

        A program that was not seen to run is given a moment to come: bash loses a Ctrl-C that arrives between its fork
        and the program's own start, or reads on, in the background, and ends. One that takes longer to come, and stays
        silent, is interrupted again.
        """
        deadline = self._deadline(timeout, self._terminal.timeout or 60.0)
        wait = deadline.remaining() or 0.0 if self._is_seen_to_run() else _LOST_INTERRUPT
        while True:
            self._send_interrupt()
            try:
                return self._read_until_prompt(deadline.sooner(wait).remaining())
            except ShellTimeout:
                if deadline.expired:
                    raise
            wait *= 2

    def _is_seen_to_run(self) -> bool:
        """Whether the program that was started has printed something, by when it should run."""
        if self._may_be_starting is not None:
            try:
                self._expect(_ANY_OUTPUT, self._may_be_starting.remaining())
            except ShellTimeout:
                return False
        return True

    def scp_copy_file(
        self, source_file: str, dest_ip: str, dest_user: str, dest_pass: str | Secret, dest_file: str
    ) -> str:
        """Copy a file of this shell's host to another one with ``scp``; the other's host key must be known here.

        Args:
            source_file: The file here.
            dest_ip: The other host.
            dest_user: The user there.
            dest_pass: The password of that user.
            dest_file: The path there.

        Raises:
            ScpError: It failed.
        """
        return scp(self, source_file, place(dest_user, dest_ip, dest_file), dest_pass)

    def scp_download_file(
        self, source_file: str, source_ip: str, source_user: str, source_pass: str | Secret, dest_file: str
    ) -> str:
        """Copy a file of another host to this shell's host with ``scp``; see `scp_copy_file`."""
        return scp(self, place(source_user, source_ip, source_file), dest_file, source_pass)

    def terminate_process_forced(self, pid: int) -> None:
        """Kill a process (signal 9).

        Raises:
            FailedToTerminateProcess: It is not there, or is not ours.
        """
        output = self.exec_command(f"kill -9 {shlex.quote(str(pid))}")
        if self.get_status_code() != 0:
            raise FailedToTerminateProcess(f"process {pid}: {output.strip()}", host=self.host)

    # The link

    def lane(self) -> Lane:
        """Lend the terminal to a link, until it gives it back; using the shell meanwhile raises `ChannelInUse`.

        Raises:
            ShellStateError: The shell is in an unknown state.
            UsageError: The terminal is not one of crl's.
        """
        from crl.link import Lane
        from crl.link.lane import CLEAN

        self._require_known()
        terminal = self._terminal
        if not isinstance(terminal, ChannelSpawn):
            raise UsageError("a link needs a terminal of crl; this shell made its own", doing=self._what())
        self._read_until_end(chunk_timeout=0)
        channel = terminal.lend("the link")
        return Lane(
            channel=channel,
            send_line=self._type_for_link,
            read_pending=terminal.take_pending,
            give_back=self._back_from_link,
            host=self.host,
            kind=self.carries or CLEAN,
            under=[prompt.encode("ascii") for prompt in self._prompts_under().values()],
        )

    def _type_for_link(self, line: str) -> None:
        typed = "\n".join(command_lines(line, self._line_limit))
        self._terminal.write_lent(typed.encode("utf-8") + b"\n")

    def _back_from_link(self, leftover: bytes) -> None:
        self._terminal.take_back(leftover)
        try:
            self._read_until(self._prompt, _LANE_PATIENCE)
            self.resync(_LANE_PATIENCE)
        except ShellTimeout as error:
            self.mark_unknown("the shell's prompt did not come back after the link")
            raise ShellStateError(
                self._trouble, host=self.host, doing="taking the terminal back", transcript=self._tail()
            ) from error

