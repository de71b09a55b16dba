"""An unbuffered interactive Python as a shell, under the published package's name.

It is a `PythonShellBase`. The published one put the terminal into raw mode for what was built on it; that is the link's
work now, and this shell speaks to Python by its prompts.
"""

from __future__ import annotations

from crl.interactivesessions.shells.pythonshellbase import PythonShellBase
from crl.interactivesessions.shells.registershell import RegisterShell

__all__ = ["RawPythonShell"]


@RegisterShell()
class RawPythonShell(PythonShellBase):
    """An interactive Python without buffers.

    Args:
        start_cmd: The command that starts it; a plain ``python`` in it is python3 where only that exists.
    """

    def __init__(self, start_cmd: str = "python -u") -> None:
        super().__init__(start_cmd)

    def set_tty_echo(self, tty_echo: bool) -> None:
        """Has no effect: the echo of a Python stays as it was made."""
