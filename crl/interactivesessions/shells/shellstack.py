"""A stack of shells described by dictionaries, as inventories and Robot suites write them.

It knows the registry and turns names into shells; it starts nothing. It never changes the dictionaries it is given.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from typing import Any

from crl.errors import UsageError, WrongArgument
from crl.interactivesessions.shells.registershell import RegisteredShells, RegisterShell
from crl.interactivesessions.shells.shell import Shell
from crl.interactivesessions.shells.sshshell import SshShell
from crl.secrets import redact

__all__ = ["DefaultSshShell", "ShellStack", "described", "is_secret_name"]

_SECRET_WORDS = ("pass", "secret", "token")


@RegisterShell()
class DefaultSshShell(SshShell):
    """An `SshShell` from the words of a dictionary: ``host`` is its `ip`, ``user`` or ``username`` its `username`.

    Args:
        **kwargs: ``host`` (needed) and whatever else `SshShell` takes.

    Raises:
        UsageError: There is no ``host``.
    """

    def __init__(self, **kwargs: Any) -> None:
        words = dict(kwargs)
        if "host" not in words:
            raise UsageError("a shell without 'shellname' needs a 'host'", advice="write {'host': 'NAME', …}")
        words["ip"] = words.pop("host")
        if not isinstance(words["ip"], str) or not words["ip"]:
            raise WrongArgument(f"the host {words['ip']!r} is no name", advice="write {'host': 'NAME', …}")
        user = words.pop("user", None)
        words.setdefault("username", user)
        _check_words(words)
        super().__init__(**words)
        self.kwargs = {name: value for name, value in kwargs.items() if not is_secret_name(name)}

    def __str__(self) -> str:
        return redact(f"**{self.kwargs}")


class ShellStack:
    """Shells made from dictionaries, the first one at the bottom."""

    def __init__(self) -> None:
        self._shelldicts: list[dict[str, Any]] = []
        self._shells: list[Shell] = []

    def initialize(self, shelldicts: Iterable[Mapping[str, Any]]) -> None:
        """Take the descriptions.

        Args:
            shelldicts: For each shell its class name as ``shellname`` (a `DefaultSshShell` without one) and the
                keyword arguments of that class.

        Raises:
            WrongArgument: One is no dictionary.
        """
        self._shelldicts = described(shelldicts)
        self._shells = []

    @property
    def shells(self) -> list[Shell]:
        """The shells, made at the first look.

        Raises:
            UnregisteredShell: A name is not registered.
            WrongArgument: A class does not take these arguments.
        """
        if not self._shells:
            self._shells = [_create(shelldict) for shelldict in self._shelldicts]
        return self._shells


def _check_words(words: Mapping[str, Any]) -> None:
    known = inspect.signature(SshShell).parameters
    for word in words:
        if word not in known:
            names = ", ".join(name for name in known if name not in ("ip", "username"))
            raise WrongArgument(
                f"a shell by SSH has no {word!r}", doing="making a shell", advice=f"it takes host, user, {names}"
            )


def described(shelldicts: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Copies of descriptions.

    Raises:
        WrongArgument: One is no dictionary.
    """
    if isinstance(shelldicts, str | Mapping) or not isinstance(shelldicts, Iterable):
        shelldicts = (shelldicts,)
    copies = []
    for shelldict in shelldicts:
        if not isinstance(shelldict, Mapping):
            raise WrongArgument(
                f"{shelldict!r} does not describe a shell",
                doing="reading the description of a target",
                advice="give a list of dictionaries, for example [{'host': 'NAME', 'user': 'USER'}]",
            )
        copies.append(dict(shelldict))
    return copies


def is_secret_name(name: str) -> bool:
    """Whether an argument of a shell is, by its name, a password or the like; users' own shells have such too."""
    return any(word in name.lower() for word in _SECRET_WORDS)


def _create(shelldict: Mapping[str, Any]) -> Shell:
    return RegisteredShells().create_shell(**{"shellname": "DefaultSshShell", **shelldict})
