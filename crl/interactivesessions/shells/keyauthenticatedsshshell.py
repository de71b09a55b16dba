"""A shell by SSH with a key, under the published package's name.

`SshShell` does all of it; this keeps the old arguments, and the import path of `ShellStartError`.
"""

from __future__ import annotations

from typing import Any

from crl.interactivesessions.interactivesessionexceptions import ShellStartError
from crl.interactivesessions.shells.registershell import RegisterShell
from crl.interactivesessions.shells.sshshell import SshShell

__all__ = ["KeyAuthenticatedSshShell", "ShellStartError"]


@RegisterShell()
class KeyAuthenticatedSshShell(SshShell):
    """A shell on a host that lets the user in by key or agent, and by nothing else.

    Args:
        host: Address, name, or alias of the ssh configuration.
        initial_prompt: Accepted for the published package's sake; the prompt need not be known.
        tty_echo: Whether the terminal echoes what is typed.
        **kwargs: What else `SshShell` takes by keyword, but passwords.
    """

    def __init__(self, host: str, initial_prompt: str | None = None, tty_echo: bool = False, **kwargs: Any) -> None:
        super().__init__(host, tty_echo=tty_echo, **kwargs)
        self.initial_prompt = initial_prompt
