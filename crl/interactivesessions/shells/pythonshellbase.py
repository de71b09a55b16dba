"""The base of shells that are an interactive Python.

It knows the base `Shell` and Python's two prompts. It promises that a Python which does not come up is reported at once
with what was printed instead.
"""

from __future__ import annotations

import contextlib
from typing import Any, ClassVar, Final

from crl.channels import LocalPtyChannel
from crl.deadlines import Deadline
from crl.interactivesessions._spawn import ChannelSpawn
from crl.interactivesessions.interactivesessionexceptions import (
    InteractiveSessionError,
    ShellStartError,
    ShellStateError,
)
from crl.interactivesessions.shells._prompt import Nonce
from crl.interactivesessions.shells.shell import Shell
from crl.interactivesessions.shells.shell import TimeoutError as ShellTimeout

__all__ = ["PythonShellBase", "UnexpectedOutputInPython"]

_START_TIMEOUT: Final = 30.0
_SHORT_TIMEOUT: Final = 10.0
_INTERRUPT_PATIENCE: Final = 0.9
_ASK_PATIENCE: Final = 3.0
_DEFAULT_COMMAND: Final = "python"
_FIND_PYTHON: Final = "$(command -v python || command -v python3 || echo python)"
# Python 3.13's own line editor paints on the terminal; the variable asks for the plain one, other versions ignore it.
_PLAIN: Final = "env PYTHON_BASIC_REPL=1 TERM=dumb"


class UnexpectedOutputInPython(InteractiveSessionError):
    """A statement that should print nothing printed the argument."""


class PythonShellBase(Shell):
    """An interactive Python that is spoken to by its prompts.

    Args:
        start_cmd: The command that starts it, as a POSIX shell reads it. ``python`` is python3 where only that exists.
    """

    _prompt: Any = (">>> ", "... ")
    _trouble: str | None = None
    short_timeout: ClassVar[float] = _SHORT_TIMEOUT

    def __init__(self, start_cmd: str = _DEFAULT_COMMAND) -> None:
        super().__init__()
        self._start_cmd = start_cmd

    @staticmethod
    def set_short_timeout(timeout: float) -> None:
        """Wait this long for short statements, in all Python shells of the process."""
        PythonShellBase.short_timeout = timeout

    @staticmethod
    def reset_short_timeout() -> None:
        """Wait the original 10 seconds for short statements."""
        PythonShellBase.short_timeout = _SHORT_TIMEOUT

    def spawn(self, timeout: float) -> ChannelSpawn:
        """Start the Python on this machine, as first shell."""
        channel = LocalPtyChannel(["/bin/sh", "-c", f"stty -echo; exec {self.get_start_cmd()}"], name="python")
        return ChannelSpawn(channel, timeout=timeout)

    def get_start_cmd(self) -> str:
        """The command, with what makes Python's prompt a plain one."""
        program, *rest = self._start_cmd.split(" ", 1)
        command = " ".join([_FIND_PYTHON if program == _DEFAULT_COMMAND else program, *rest])
        return f"{_PLAIN} {command}"

    def start(self) -> str:
        """Wait for the prompt; returns the banner.

        Raises:
            ShellStartError: The prompt of the shell below came instead.
            TimeoutError: Nothing came.
        """
        self._trouble = None
        expected = [">>> ", self._parent_prompt] if self._parent_prompt else [">>> "]
        index = self._expect(expected, _START_TIMEOUT)
        banner = self._before()
        if index == 1:
            lines = banner.strip().splitlines()
            raise ShellStartError(
                f"Python did not start: {lines[-1] if lines else 'it printed nothing'}",
                host=self.host,
                doing=f"starting {self._name()} ({self._start_cmd})",
                advice="give the interpreter's command, for example PythonShell('python3')",
                transcript=banner,
            )
        return banner

    # After a timeout a prompt is not surely the answer to the last line: the one for the Ctrl-C may come at any time.

    def _after_timeout(self) -> None:
        self._send_interrupt()
        self._trouble = "a line did not end in time and could not be interrupted"
        with contextlib.suppress(ShellTimeout):  # the caller gets the first one; the next line is refused
            self._come_to_prompt(_INTERRUPT_PATIENCE)

    def _require_known(self) -> None:
        super()._require_known()
        if self._trouble is None:
            return
        try:
            self._come_to_prompt(_ASK_PATIENCE)
        except ShellTimeout:
            raise ShellStateError(
                self._trouble,
                host=self.host,
                doing=f"using {self._name()} ({self._start_cmd})",
                advice="close the session and open it again",
                transcript=self._tail(),
            ) from None

    def _come_to_prompt(self, patience: float) -> None:
        """Come to a prompt that is surely the answer to a line of ours; twice, as a late Ctrl-C takes a line away.

        Raises:
            TimeoutError: The Python does not answer.
        """
        deadline = Deadline.after(patience)
        try:
            self._ask_once(deadline.sooner(patience / 2))
        except ShellTimeout:
            self._ask_once(deadline)
        self._trouble = None

    def _ask_once(self, deadline: Deadline) -> None:
        nonce = Nonce()
        self._send_input_line(f"'{nonce.quoted}'")
        self._read_until(nonce.text, deadline.remaining())
        self._read_until(self._prompt[0], deadline.remaining())

    def exit(self) -> None:
        """Leave the Python."""
        self._send_input_line("exit()")

    def _single_command_no_output(self, cmd: str, timeout: float = 10) -> str:
        self._send_input_line(cmd)
        return self._verify_and_return_output(self._read_until(self._prompt[0], timeout=timeout))

    @staticmethod
    def _verify_and_return_output(output: str, expected_output: str = "") -> str:
        if output != expected_output:
            raise UnexpectedOutputInPython(output)
        return output

    def exec_command_rstrip(self, cmd: str, timeout: float | None = -1) -> str:
        """As `exec_command`, without the line ends at the end of the output."""
        return self.exec_command(cmd, timeout=timeout).rstrip("\r\n")

    def get_prompt(self) -> Any:
        """Python's two prompts."""
        return list(self._prompt)
