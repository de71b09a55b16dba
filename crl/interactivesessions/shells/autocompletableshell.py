"""The base of shells that complete commands, as the published package has it.

It adds one method to `Shell`.
"""

from __future__ import annotations

import contextlib

from crl.interactivesessions.shells.shell import Shell
from crl.interactivesessions.shells.shell import TimeoutError as ShellTimeout

__all__ = ["AutoCompletableShell"]

_CHUNK_SILENCE = 0.1
_LOOKING = 2.0
_BELL = "\a"


class AutoCompletableShell(Shell):
    """A shell whose command line offers completions."""

    def get_command_auto_completion(self, cmd: str, timeout: float = 5.0, autocompletion_trigger: str = "\t\t") -> str:
        r"""What the shell offers to complete a command with.

        Args:
            cmd: The beginning of a command.
            timeout: Seconds to wait for the first of it.
            autocompletion_trigger: What makes the shell complete (``\t\t``).

        Raises:
            TimeoutError: Nothing came; a `BashShell`, whose line editor is off, offers none.
        """
        self._send_input(cmd + autocompletion_trigger)
        try:
            output = self._read_until_end(timeout=timeout, chunk_timeout=_CHUNK_SILENCE)
        except ShellTimeout:
            self._after_timeout()  # what was typed is on the line still
            raise
        if cmd.startswith(output.strip(_BELL)):
            # The line editor has shown what was typed, and may still look for what there is.
            with contextlib.suppress(ShellTimeout):  # there is nothing
                output += self._read_until_end(timeout=min(timeout, _LOOKING), chunk_timeout=_CHUNK_SILENCE)
        self._send_interrupt()
        self._read_until_prompt()
        return output
