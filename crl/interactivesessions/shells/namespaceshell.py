"""Bash in a network namespace.

It is a `BashShell` with another start command, and promises what that one does.
"""

from __future__ import annotations

import shlex
from typing import Any

from crl.interactivesessions.shells.bashshell import BashShell
from crl.interactivesessions.shells.registershell import RegisterShell

__all__ = ["NamespaceShell"]


@RegisterShell()
class NamespaceShell(BashShell):
    """A shell in a network namespace of the host where it is started (``ip netns exec``); needs root there.

    Args:
        namespace: The name of the namespace.
        *args: As of `BashShell`; the first is the shell to start.
        **kwargs: As of `BashShell`.
    """

    def __init__(self, namespace: str, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.namespace = namespace

    def get_start_cmd(self) -> str:
        """``ip netns exec NAMESPACE bash``."""
        return f"ip netns exec {shlex.quote(self.namespace)} {super().get_start_cmd()}"

    def _what(self) -> str:
        return f"{self._name()} ({self.get_start_cmd()})"
