"""A Python as a shell that is driven by messages over a link: output is exact, whatever is written to the terminal.

It knows the link and the lane that the session gives it, and speaks through a `TerminalClient`. It promises that the
shell under it gets its terminal back when it is left, and that the session of shells survives a command that fails.
"""

from __future__ import annotations

import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Any, ClassVar, Final

from crl.channels import LocalPtyChannel
from crl.channels._descriptor import DescriptorChannel
from crl.interactivesessions._spawn import ChannelSpawn
from crl.interactivesessions.interactivesessionexceptions import (
    InteractiveSessionError,
    ShellStartError,
    ShellStateError,
)
from crl.interactivesessions.shells.bashshell import BashShell
from crl.interactivesessions.shells.rawpythonshell import RawPythonShell
from crl.interactivesessions.shells.registershell import RegisterShell
from crl.interactivesessions.shells.remotemodules.compatibility import to_string
from crl.interactivesessions.shells.remotemodules.exceptions import FatalPythonError
from crl.interactivesessions.shells.remotemodules.msgmanager import Retry
from crl.interactivesessions.shells.remotemodules.msgs import ExecCommandRequest, SendCommandRequest, ServerIdRequest
from crl.interactivesessions.shells.remotemodules.pythoncmdline import STDOUT
from crl.interactivesessions.shells.shell import LOCALHOST, LONGEST_WAIT
from crl.interactivesessions.shells.terminalclient import (
    TerminalClient,
    TerminalClientError,
    TerminalClientFatalError,
)
from crl.link import Link, LinkError

if TYPE_CHECKING:
    from crl.link import Lane, OutputEvent

__all__ = ["ExecCommandError", "MsgPythonShell"]

_CLOSE_TIMEOUT: Final = 5.0
_OUTPUT_ROOM: Final = 1024 * 1024


class ExecCommandError(InteractiveSessionError):
    """A command was run and its output cannot be had: it is too big to cross, or the command ended its thread."""


class _RawOutput:
    """What the Python writes past the messages, as a terminal to read from; what nobody reads is dropped at a limit."""

    def __init__(self, link: Link, timeout: float) -> None:
        reading, self._writing = socket.socketpair()
        self._writing.settimeout(0)
        self._writing.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _OUTPUT_ROOM)
        name = f"the output of the Python on {link.host}"
        self.terminal = ChannelSpawn(DescriptorChannel(reading.detach(), name, writable=False), timeout=timeout)
        self._unsubscribe = link.on_output(self._take)

    def _take(self, event: OutputEvent) -> None:
        with suppress(BlockingIOError, BrokenPipeError):  # nobody reads it; the logger of the target has it
            self._writing.send(event.data)

    def close(self) -> None:
        self._unsubscribe()
        self.terminal.close(force=True)
        self._writing.close()


@RegisterShell()
class MsgPythonShell(RawPythonShell):
    """A Python on the target of the shell under it, or on this machine as first shell.

    A command is an expression, whose value is its output, or statements. A block may come line by line; it runs at an
    empty line, or when a command follows that is not indented. Commands share a namespace of their own.

    Args:
        python: The interpreter; None finds one.
    """

    rides_link = True
    _default_retry: ClassVar[Retry] = Retry(tries=10, interval=1, timeout=RawPythonShell.short_timeout)
    _retry: ClassVar[Retry] = _default_retry

    def __init__(self, *, python: str | None = None) -> None:
        super().__init__()
        self._python = python
        self._client = TerminalClient()
        self._link: Link | None = None
        self._output: _RawOutput | None = None
        self._below: BashShell | None = None
        self._server_id = ""
        self._fatal: FatalPythonError | None = FatalPythonError("the Python was not started yet")

    @classmethod
    def set_retry(cls, retry: Retry) -> None:
        """Let all shells that are started from now on be that patient with a silent target."""
        cls._retry = retry

    @classmethod
    def reset_retry(cls) -> None:
        """Let all shells that are started from now on have the original patience: 19 seconds."""
        cls._retry = cls._default_retry

    @property
    def link(self) -> Link | None:
        """The link to the Python; None while there is none."""
        return self._link

    # Start and end

    def spawn(self, timeout: float) -> ChannelSpawn:
        """Start a shell on this machine for the Python to run in, as first shell."""
        return ChannelSpawn(LocalPtyChannel(["/bin/sh"], name=LOCALHOST), timeout=timeout)

    def start(self) -> str:
        """Start the Python in a shell of this machine.

        Raises:
            ShellStartError: There is no Python.
        """
        below = self._below = BashShell("sh")
        below.set_terminal(self._spawned)
        below.start()
        return self.start_over(below.lane(), self._spawned.timeout)

    def start_over(self, lane: Lane, timeout: float) -> str:
        """Start the Python on the lane of the shell under it; for sessions.

        Args:
            lane: The lane.
            timeout: Default of all waits, in seconds.

        Raises:
            ShellStartError: There is no Python, or it did not start.
        """
        try:
            link = self._link = Link.start(lane, python=self._python)
        except LinkError as error:
            raise ShellStartError(
                error.message, host=error.host, doing=error.doing, advice=error.advice, transcript=error.transcript
            ) from error
        try:
            self._output = _RawOutput(link, timeout)
            self._terminal = self._output.terminal
            self._client.set_retry(self._retry)
            self._client.set_terminal(link)
            self._server_id = self._client.server_id
            self._fatal = None
        except BaseException:
            self.drop()
            raise
        return ""

    def exit(self) -> None:
        """Leave the Python; the shell under it has its terminal again.

        Raises:
            ShellStateError: It does not, for the Python is gone or did not end in time.
        """
        link, timeout = self._link, min(_CLOSE_TIMEOUT, self._spawned.timeout)
        self._end("the Python was left")
        if link is not None and not link.close(timeout):
            raise ShellStateError("the terminal was not given back", host=self.host, doing="leaving a Python")
        if self._below is not None:
            self._below.exit()

    def drop(self) -> None:
        """Let go of the Python, whether or not the shell under it gets its terminal back; for sessions."""
        link = self._link
        if link is not None:
            self._end("the session was closed")
            link.close(0)

    def _end(self, why: str) -> None:
        self._fatal = FatalPythonError(why, host=self.host)
        self._client.close()
        output, self._output, self._link = self._output, None, None
        if output is not None:
            output.close()

    # Commands

    def exec_command(self, cmd: str, timeout: float | None = -1) -> Any:
        """Run a command.

        Args:
            cmd: An expression, statements, or a line of a block.
            timeout: Seconds; -1 is the session's default (60), None an hour.

        Returns:
            Its value: text and bytes as they are, ``""`` for None, otherwise its `repr`; of an error, its name, text
            and traceback.

        Raises:
            CommandTimeout: It did not end in time. It goes on.
            ExecCommandError: It was run, and its output cannot be had.
            TerminalClientFatalError: The Python is gone.
            FatalPythonError: It was gone before.
        """
        return self._ask(ExecCommandRequest.create(cmd), timeout).out

    def _ask(self, msg: Any, timeout: float | None) -> Any:
        if self._fatal is not None:
            raise self._fatal
        seconds = LONGEST_WAIT if timeout is None else self._spawned.timeout if timeout == -1 else timeout
        try:
            return self._client.send_and_receive(msg, seconds)
        except TerminalClientFatalError as error:
            self._fatal = FatalPythonError(error.message, host=error.host, advice=error.advice)
            raise
        except TerminalClientError:
            raise
        except Exception as error:
            raise ExecCommandError(error, host=self.host, doing="running a command in Python") from error

    def exec_command_rstrip(self, cmd: str, timeout: float | None = -1) -> str:
        """As `exec_command`, as text and without the line ends at the end of the output."""
        return str(to_string(self.exec_command(cmd, timeout))).rstrip("\r\n")

    def _single_command_no_output(self, cmd: str, timeout: float = 10) -> str:
        return self._verify_and_return_output(to_string(self.exec_command(cmd, timeout)))

    def send_command(self, cmd: str) -> None:
        """Run a command without waiting for it; the next `exec_command` begins when it is done.

        What it writes to `get_stdout_str` can be read from the shell's terminal (`_read_until` and its like).

        Raises:
            FatalPythonError: The Python is gone.
        """
        if self._fatal is not None:
            raise self._fatal
        self._client.send(SendCommandRequest.create(cmd))

    @staticmethod
    def get_stdout_str() -> str:
        """The name that the Python's standard output has for commands."""
        return STDOUT

    # The prompt: the random name of the Python

    def get_prompt(self) -> Any:
        """The random name of the Python, or the prompts of one when this is gone."""
        return self._server_id if self._fatal is None else super().get_prompt()

    def get_prompt_from_terminal(self, empty_command: str = "", timeout: float = -1) -> str:
        """Ask the Python for its name; what is wrong when it does not tell."""
        del empty_command
        try:
            return str(self._ask(ServerIdRequest.create(), timeout).server_id)
        except InteractiveSessionError as error:
            return str(error)

    def is_terminal_hung(self, empty_command: str = "", timeout: float = -1) -> bool:
        """Whether the Python does not tell its name."""
        return self.get_prompt_from_terminal(empty_command, timeout) != self._server_id
