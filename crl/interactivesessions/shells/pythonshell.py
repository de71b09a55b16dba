"""An interactive Python as a shell: statements line by line, blocks, small text files.

It stands on `PythonShellBase`. For calls, objects and big data use the link (`crl.targets`); this is for people who
want the prompt itself.
"""

from __future__ import annotations

import base64
import os
from typing import Any, Final

import pexpect

from crl.interactivesessions.interactivesessionexceptions import InteractiveSessionError
from crl.interactivesessions.shells.pythonshellbase import PythonShellBase
from crl.interactivesessions.shells.registershell import RegisterShell
from crl.interactivesessions.shells.shell import TimeoutError as ShellTimeout

__all__ = ["PythonRunNotStarted", "PythonShell"]

_TRIGGER_TIMEOUT: Final = 1.0
_PIECE: Final = 2400


class PythonRunNotStarted(InteractiveSessionError):
    """A statement did not print its trigger; the argument is the reason."""


@RegisterShell()
class PythonShell(PythonShellBase):
    r"""An interactive Python, with ``pickle`` and ``base64`` imported.

    Args:
        start_cmd: The command that starts it; ``python`` is python3 where only that exists.
        tty_echo: Whether the terminal echoes; a parent shell does not change it.
        readline_init: A line for ``readline.parse_and_bind``.
    """

    def __init__(self, start_cmd: str = "python", tty_echo: bool = False, readline_init: str | None = None) -> None:
        super().__init__(start_cmd)
        self._readline_init = readline_init
        self._tty_echo = tty_echo

    def set_tty_echo(self, tty_echo: bool) -> None:
        """Has no effect: the echo of a Python stays as it was made."""

    def start(self) -> str:
        """Wait for the prompt and import what the methods need; returns the banner."""
        banner = super().start()
        if self._readline_init:
            self.single_command_no_output("import readline", self.short_timeout)
            self.single_command_no_output(f"readline.parse_and_bind({self._readline_init!r})", self.short_timeout)
        self.single_command_no_output("import pickle, base64", self.short_timeout)
        return banner

    def single_command_no_output(self, cmd: str, timeout: float = 10) -> str:
        """Run a statement that prints nothing.

        Raises:
            UnexpectedOutputInPython: It printed something.
            TimeoutError: The prompt did not come in time.
        """
        return self._single_command_no_output(cmd, timeout=timeout)

    def single_command(self, cmd: str, timeout: float = 10) -> str:
        """Run a statement and return what it printed."""
        self._send_input_line(cmd)
        return self._read_until(self._prompt[0], timeout=timeout)

    def exec_single_with_trigger(self, cmd: str, trigger: str, timeout: float = 10) -> str:
        """Run a statement that prints `trigger` first (within a second); returns what it prints afterwards.

        Raises:
            PythonRunNotStarted: The trigger did not come.
        """
        try:
            self._send_input_line(cmd)
            self._read_until(trigger, timeout=_TRIGGER_TIMEOUT)
        except (InteractiveSessionError, pexpect.ExceptionPexpect) as error:
            raise PythonRunNotStarted(error, host=self.host) from error
        return self._read_until(self._prompt[0], timeout=timeout)

    def block_exec(self, cmd: str, timeout: float = 10) -> str:
        """Send one line of a block; the block goes on."""
        self._send_input_line(cmd)
        return self._verify_and_return_output(self._read_until(self._prompt[1], timeout=timeout))

    def block_end_no_output(self, timeout: float = 10) -> str:
        """End a block that prints nothing."""
        return self.single_command_no_output("", timeout=timeout)

    def stop_run(self, timeout: float = 3) -> str:
        """Interrupt what runs (Ctrl-C) and return its output."""
        self._send_interrupt()
        return self._read_until(self._prompt[0], timeout=timeout)

    def transfer_text_file(self, source_path: str, destination_dir: str = "") -> None:
        """Write a local file of text to the shell's host, under its own name.

        Args:
            source_path: The file on this machine.
            destination_dir: The folder on the host; "" is the Python's working directory.
        """
        with open(source_path, "rb") as source:
            content = source.read()
        target = os.path.join(destination_dir, os.path.basename(source_path))
        self.single_command_no_output(f"_f = open({target!r}, 'wb')")
        for start in range(0, len(content), _PIECE):
            piece = base64.b64encode(content[start : start + _PIECE]).decode("ascii")
            self.single_command_no_output(f"_n = _f.write(base64.b64decode('{piece}'))")
        self.single_command_no_output("_f.close()")

    def exec_command(self, cmd: str, timeout: float | None = -1) -> str:
        """Send a line and return what came before either prompt; see `Shell.exec_command`."""
        return super().exec_command(cmd, timeout)

    def recover(self, timeout: float) -> None:
        """Come back to the first prompt, interrupting a statement or block.

        Raises:
            TimeoutError: The prompt does not come.
        """
        try:
            self._read_until(self._prompt[0], timeout)
        except ShellTimeout:
            self._send_interrupt()
            self._read_until(self._prompt[0], timeout)

    def get_status_code(self, timeout: Any = None) -> int:
        """Python statements have no exit status.

        Raises:
            UsageError: Always.
        """
        return super().get_status_code(timeout)
