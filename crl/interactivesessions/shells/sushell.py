"""A shell of another user by ``su``, with that user's password.

It is a `SudoShell` whose command is ``su``, and promises what that one does.
"""

from __future__ import annotations

import shlex

from crl.errors import UsageError
from crl.interactivesessions.shells.registershell import RegisterShell
from crl.interactivesessions.shells.sudoshell import SudoShell
from crl.secrets import Secret

__all__ = ["SuShell"]


@RegisterShell()
class SuShell(SudoShell):
    """A shell by ``su``.

    Args:
        user: The user to become.
        password: The password of that user, a `str` or a `Secret`; root needs none.
        login: Whether it is a login shell (``su - USER``), with the user's own environment and home.
        init_env: As of `BashShell`.
        workdir: As of `BashShell`.
        start_timeout: As of `BashShell`.

    Raises:
        UsageError: The user's name is none.
    """

    def __init__(
        self,
        user: str = "root",
        password: str | Secret | None = None,
        *,
        login: bool = True,
        init_env: str | None = None,
        workdir: str | None = None,
        start_timeout: float = 30.0,
    ) -> None:
        if not user or user.startswith("-"):
            raise UsageError(f"{user!r} is no name of a user")
        command = f"su {'- ' if login else ''}{shlex.quote(user)}"
        super().__init__(command, password, init_env=init_env, workdir=workdir, start_timeout=start_timeout)
