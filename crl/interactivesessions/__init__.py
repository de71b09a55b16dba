"""Terminals on targets: sessions with stacks of shells, and what stands on them.

The names here load their module when they are first used, so that importing the package costs nothing; `_HOMES` is the
one place to add a name.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

import crl.neighbours  # noqa: F401 - tells by this very line that the files are ours

if TYPE_CHECKING:
    from crl.interactivesessions import InteractiveSession as InteractiveSession
    from crl.interactivesessions.autorecoveringterminal import AutoRecoveringTerminal
    from crl.interactivesessions.autorecoveringterminal import AutoRecoveringTerminal as AutorecoveringTerminal
    from crl.interactivesessions.autorunnerterminal import AutoRunnerTerminal
    from crl.interactivesessions.runnerterminal import RunnerTerminal
    from crl.interactivesessions.shells.autocompletableshell import AutoCompletableShell
    from crl.interactivesessions.shells.bashshell import BashShell
    from crl.interactivesessions.shells.keyauthenticatedsshshell import KeyAuthenticatedSshShell
    from crl.interactivesessions.shells.kubernetesshell import ContainerShell, KubernetesShell
    from crl.interactivesessions.shells.msgpythonshell import MsgPythonShell
    from crl.interactivesessions.shells.namespaceshell import NamespaceShell
    from crl.interactivesessions.shells.pythonshell import PythonShell
    from crl.interactivesessions.shells.rawpythonshell import RawPythonShell
    from crl.interactivesessions.shells.remoteshell import RemoteShell
    from crl.interactivesessions.shells.sftpshell import SftpShell
    from crl.interactivesessions.shells.shell import Shell
    from crl.interactivesessions.shells.shellstack import DefaultSshShell, ShellStack
    from crl.interactivesessions.shells.sshshell import SshShell
    from crl.interactivesessions.shells.sudoshell import SudoShell
    from crl.interactivesessions.shells.sushell import SuShell

__all__ = [
    "AutoCompletableShell",
    "AutoRecoveringTerminal",
    "AutoRunnerTerminal",
    "AutorecoveringTerminal",
    "BashShell",
    "ContainerShell",
    "DefaultSshShell",
    "InteractiveSession",
    "KeyAuthenticatedSshShell",
    "KubernetesShell",
    "MsgPythonShell",
    "NamespaceShell",
    "PythonShell",
    "RawPythonShell",
    "RemoteShell",
    "RunnerTerminal",
    "SftpShell",
    "Shell",
    "ShellStack",
    "SshShell",
    "SuShell",
    "SudoShell",
]

_HOMES: Final = {
    "AutoCompletableShell": "shells.autocompletableshell",
    "AutoRecoveringTerminal": "autorecoveringterminal",
    "AutoRunnerTerminal": "autorunnerterminal",
    "BashShell": "shells.bashshell",
    "ContainerShell": "shells.kubernetesshell",
    "DefaultSshShell": "shells.shellstack",
    "KeyAuthenticatedSshShell": "shells.keyauthenticatedsshshell",
    "KubernetesShell": "shells.kubernetesshell",
    "MsgPythonShell": "shells.msgpythonshell",
    "NamespaceShell": "shells.namespaceshell",
    "PythonShell": "shells.pythonshell",
    "RawPythonShell": "shells.rawpythonshell",
    "RemoteShell": "shells.remoteshell",
    "RunnerTerminal": "runnerterminal",
    "SftpShell": "shells.sftpshell",
    "Shell": "shells.shell",
    "ShellStack": "shells.shellstack",
    "SshShell": "shells.sshshell",
    "SuShell": "shells.sushell",
    "SudoShell": "shells.sudoshell",
}
"""Where each name lives. Modules named as in the published package (``InteractiveSession``) are found by themselves."""

_SPELLINGS: Final = {"AutorecoveringTerminal": "AutoRecoveringTerminal"}
"""Names as the published documents also spell them."""


def __getattr__(name: str) -> Any:
    name = _SPELLINGS.get(name, name)
    if name in _HOMES:
        return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    if name in __all__:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
