"""Copies by the ``scp`` of the host that a shell runs on, for `BashShell`.

It types one command and answers one question. It promises that the password is sent once and only to a question for it,
that a question about a host key is never answered, and that the shell is at its prompt again afterwards.
"""

from __future__ import annotations

import re
import shlex
from typing import Any, Final

from crl.interactivesessions.interactivesessionexceptions import InteractiveSessionError
from crl.secrets import Secret, to_secret

__all__ = ["ScpError", "place", "scp"]

_TIMEOUT: Final = 3600.0
_ASKS: Final = re.compile(rb"(?i)pass(?:word|code)[^\n]{0,80}: ?\Z")
_HOST_KEY: Final = re.compile(rb"(?i)are you sure you want to continue connecting")
_OPTIONS: Final = "-q -o NumberOfPasswordPrompts=1 -o PreferredAuthentications=keyboard-interactive,password"


class ScpError(InteractiveSessionError):
    """A copy with scp failed."""


def place(user: str, address: str, path: str) -> str:
    """A file of another host, as scp takes it."""
    return f"{user}@{f'[{address}]' if ':' in address else address}:{path}"


def scp(shell: Any, source: str, destination: str, password: str | Secret) -> str:
    """Copy, and return what scp printed.

    Args:
        shell: A `BashShell` at its prompt.
        source: A path, or a `place`.
        destination: A path, or a `place`.
        password: The password of the other host.

    Raises:
        ScpError: It failed; the text says why.
    """
    secret = to_secret(password)
    command = f"LC_ALL=C scp {_OPTIONS} -- {shlex.quote(source)} {shlex.quote(destination)}"
    doing = f"copying {source} to {destination}"
    shell._exec_cmd(command)  # noqa: SLF001 - published helper names of shells
    answered = False
    while (found := shell._expect([shell.get_prompt(), _ASKS, _HOST_KEY], _TIMEOUT)) != 0:  # noqa: SLF001
        if found == 2 or answered or secret is None:
            shell._send_interrupt()  # noqa: SLF001
            shell._read_until_prompt()  # noqa: SLF001
            why = "the host's key is not known where scp runs" if found == 2 else "the password was not accepted"
            raise ScpError(why, host=shell.host, doing=doing, advice="log in there by hand, or use files of a link")
        shell._terminal.send_secret(secret)  # noqa: SLF001
        answered = True
    output = str(shell._before())  # noqa: SLF001
    if shell.get_status_code() != 0:
        lines = output.strip().splitlines()
        raise ScpError(lines[-1] if lines else "scp failed", host=shell.host, doing=doing, transcript=output)
    return output
