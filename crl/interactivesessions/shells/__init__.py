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
    from crl.interactivesessions.shells.keyauthenticatedsshshell import KeyAuthenticatedSshShell
    from crl.interactivesessions.shells.kubernetesshell import ContainerShell, KubernetesShell
    from crl.interactivesessions.shells.msgpythonshell import MsgPythonShell
    from crl.interactivesessions.shells.namespaceshell import NamespaceShell
    from crl.interactivesessions.shells.pythonshell import PythonShell
    from crl.interactivesessions.shells.rawpythonshell import RawPythonShell
    from crl.interactivesessions.shells.registershell import RegisteredShells, RegisterShell
    from crl.interactivesessions.shells.remoteshell import RemoteShell
    from crl.interactivesessions.shells.serialshell import SerialShell
    from crl.interactivesessions.shells.sftpshell import SftpShell
    from crl.interactivesessions.shells.shell import Shell
    from crl.interactivesessions.shells.shellstack import DefaultSshShell, ShellStack
    from crl.interactivesessions.shells.sshshell import SshShell
    from crl.interactivesessions.shells.sudoshell import SudoShell
    from crl.interactivesessions.shells.sushell import SuShell
    from crl.interactivesessions.shells.telnetshell import TelnetShell

__all__ = [
    "AutoCompletableShell",
    "BashShell",
    "CommandResult",
    "ContainerShell",
    "DefaultSshShell",
    "KeyAuthenticatedSshShell",
    "KubernetesShell",
    "MsgPythonShell",
    "NamespaceShell",
    "PythonShell",
    "RawPythonShell",
    "RegisterShell",
    "RegisteredShells",
    "RemoteShell",
    "SerialShell",
    "SftpShell",
    "Shell",
    "ShellStack",
    "SshShell",
    "SuShell",
    "SudoShell",
    "TelnetShell",
]

_HOMES: Final = {
    "AutoCompletableShell": "autocompletableshell",
    "BashShell": "bashshell",
    "CommandResult": "bashshell",
    "ContainerShell": "kubernetesshell",
    "DefaultSshShell": "shellstack",
    "KeyAuthenticatedSshShell": "keyauthenticatedsshshell",
    "KubernetesShell": "kubernetesshell",
    "MsgPythonShell": "msgpythonshell",
    "NamespaceShell": "namespaceshell",
    "PythonShell": "pythonshell",
    "RawPythonShell": "rawpythonshell",
    "RegisterShell": "registershell",
    "RegisteredShells": "registershell",
    "RemoteShell": "remoteshell",
    "SerialShell": "serialshell",
    "SftpShell": "sftpshell",
    "Shell": "shell",
    "ShellStack": "shellstack",
    "SshShell": "sshshell",
    "SuShell": "sushell",
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
