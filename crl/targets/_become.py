"""Running a command as another user: the argument list that does it, and what a refusal looks like.

This module knows sudo and setpriv, and asks the target through the two calls it is given. It promises that no value of
the environment and no text of a command is spliced into a shell line, and that nothing ever waits for a password.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from crl.link.given import CommandLine, Environment, command_line

__all__ = ["LOOK_UP", "Account", "as_argv", "prefix_for", "surroundings"]

SHELL = "/bin/sh"
# The account of that name as plain values; KeyError when there is none.
LOOK_UP = "(lambda n: tuple(__import__('pwd').getpwnam(n))[2:])"


@dataclass(frozen=True)
class Account:
    """A user of the target.

    Attributes:
        name: Login name.
        uid: Number of the user.
        gid: Number of the primary group.
        home: Home directory.
        shell: Login shell.
    """

    name: str
    uid: int
    gid: int
    home: str
    shell: str


def as_argv(command: CommandLine) -> list[str]:
    """A command as argument list; a line goes to ``/bin/sh``."""
    words = command_line(command)
    return [SHELL, "-c", words] if isinstance(words, str) else words


def prefix_for(account: Account, our_uid: int, variables: Sequence[str]) -> list[str]:
    """What to put before an argument list so that it runs as `account`.

    Args:
        account: Who is to run it.
        our_uid: Who we are there.
        variables: Names of variables that have to pass.
    """
    if our_uid == account.uid:
        return []
    if our_uid == 0:
        return ["setpriv", f"--reuid={account.uid}", f"--regid={account.gid}", "--init-groups", "--"]
    kept = [f"--preserve-env={','.join(variables)}"] if variables else []
    return ["sudo", "-n", *kept, "-u", account.name, "--"]


def surroundings(account: Account, our_uid: int, env: Environment | None) -> dict[str, str | None] | None:
    """The environment for the command; setpriv, unlike sudo, leaves who we are in it."""
    if our_uid != 0 or account.uid == our_uid:
        return None if env is None else dict(env)
    own: dict[str, str | None] = {
        "HOME": account.home,
        "LOGNAME": account.name,
        "SHELL": account.shell or SHELL,
        "USER": account.name,
    }
    return {**own, **(env or {})}
