"""Shells: what can be spawned in a terminal and pushed over one another.

One shell a module. The names here load their module when they are first used. Private modules hold what shells share;
`conformance` is the suite that every shell passes, for people who write their own.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from crl.interactivesessions.shells.autocompletableshell import AutoCompletableShell
    from crl.interactivesessions.shells.bashshell import BashShell, CommandResult
    from crl.interactivesessions.shells.namespaceshell import NamespaceShell
    from crl.interactivesessions.shells.pythonshell import PythonShell
    from crl.interactivesessions.shells.registershell import RegisteredShells, RegisterShell
    from crl.interactivesessions.shells.serialshell import SerialShell
    from crl.interactivesessions.shells.shell import Shell
    from crl.interactivesessions.shells.shellstack import DefaultSshShell, ShellStack
    from crl.interactivesessions.shells.sshshell import SshShell
    from crl.interactivesessions.shells.sudoshell import SudoShell
    from crl.interactivesessions.shells.telnetshell import TelnetShell

__all__ = [
    "AutoCompletableShell",
    "BashShell",
    "CommandResult",
    "DefaultSshShell",
    "NamespaceShell",
    "PythonShell",
    "RegisterShell",
    "RegisteredShells",
    "SerialShell",
    "Shell",
    "ShellStack",
    "SshShell",
    "SudoShell",
    "TelnetShell",
]

_HOMES: Final = {
    "AutoCompletableShell": "autocompletableshell",
    "BashShell": "bashshell",
    "CommandResult": "bashshell",
    "DefaultSshShell": "shellstack",
    "NamespaceShell": "namespaceshell",
    "PythonShell": "pythonshell",
    "RegisterShell": "registershell",
    "RegisteredShells": "registershell",
    "SerialShell": "serialshell",
    "Shell": "shell",
    "ShellStack": "shellstack",
    "SshShell": "sshshell",
    "SudoShell": "sudoshell",
    "TelnetShell": "telnetshell",
}


def __getattr__(name: str) -> Any:
    try:
        home = _HOMES[name]
    except KeyError:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None
    return getattr(importlib.import_module(f"{__name__}.{home}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
