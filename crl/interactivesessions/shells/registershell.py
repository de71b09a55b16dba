"""The registry that finds a shell class by its name, for shells described by dictionaries.

It knows the `Shell` base and no shell. Every shell of this package is found by name whether or not its module has been
imported; users' own are registered by the decorator.
"""

from __future__ import annotations

import importlib
import inspect
import threading
from collections.abc import Mapping
from typing import Any, Final, TypeVar

from crl.errors import UsageError, WrongArgument
from crl.interactivesessions.shells.shell import Shell

__all__ = ["RegisterShell", "RegisteredShells", "ShellAlreadyRegistered", "UnregisteredShell"]

_OURS: Final = {
    "BashShell": "bashshell",
    "ContainerShell": "kubernetesshell",
    "DefaultSshShell": "shellstack",
    "KeyAuthenticatedSshShell": "keyauthenticatedsshshell",
    "KubernetesShell": "kubernetesshell",
    "MsgPythonShell": "msgpythonshell",
    "NamespaceShell": "namespaceshell",
    "PythonShell": "pythonshell",
    "RawPythonShell": "rawpythonshell",
    "RemoteShell": "remoteshell",
    "SftpShell": "sftpshell",
    "SshShell": "sshshell",
    "SuShell": "sushell",
    "SudoShell": "sudoshell",
}
_T = TypeVar("_T")


class UnregisteredShell(UsageError):
    """No shell class has that name."""


class ShellAlreadyRegistered(UsageError):
    """Another shell class has that name."""


class RegisteredShells:
    """The shell classes by name; all instances share one dictionary."""

    _shells: dict[str, type[Shell]] = {}
    _lock = threading.Lock()

    def add_shellcls(self, shellcls: type[Shell]) -> None:
        """Register a class under its name; the same class again is harmless.

        Raises:
            ShellAlreadyRegistered: Another class has the name.
        """
        name = shellcls.__name__
        with self._lock:
            known = self._shells.setdefault(name, shellcls)
        if known is not shellcls and (known.__module__, known.__qualname__) != (
            shellcls.__module__,
            shellcls.__qualname__,
        ):
            raise ShellAlreadyRegistered(f"{name} is already {known.__module__}.{known.__qualname__}")

    def get_shellcls(self, shellclsname: str) -> type[Shell]:
        """The class with that name.

        Raises:
            UnregisteredShell: There is none; the text lists those there are.
        """
        if shellclsname not in self._shells and shellclsname in _OURS:
            importlib.import_module(f"crl.interactivesessions.shells.{_OURS[shellclsname]}")
        try:
            return self._shells[shellclsname]
        except KeyError:
            known = ", ".join(sorted({*_OURS, *self._shells}))
            raise UnregisteredShell(
                f"there is no shell {shellclsname!r}",
                advice=f"use one of {known}, or register your class with @RegisterShell()",
            ) from None

    def create_shell(self, shellname: str, **kwargs: Any) -> Shell:
        """Make a shell of the class with that name from keyword arguments.

        Raises:
            UnregisteredShell: There is none of that name.
            WrongArgument: The class does not take these arguments.
        """
        return _made(self.get_shellcls(shellname), kwargs)


def _made(shellcls: type[_T], kwargs: Mapping[str, Any]) -> _T:
    signature = inspect.signature(shellcls)
    try:
        signature.bind(**kwargs)
    except TypeError as error:
        name = shellcls.__name__
        raise WrongArgument(
            f"{name}: {error}", doing="making a shell", advice=f"{name} takes {', '.join(signature.parameters)}"
        ) from None
    return shellcls(**kwargs)


class RegisterShell:
    """Class decorator that registers a shell class under its name: ``@RegisterShell()``."""

    def __call__(self, shellcls: type[_T]) -> type[_T]:
        """Register `shellcls` when it is a `Shell`, and return it."""
        if issubclass(shellcls, Shell):
            RegisteredShells().add_shellcls(shellcls)
        return shellcls
