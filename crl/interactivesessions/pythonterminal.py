"""A terminal with Python on a target that one user has for himself, until nobody refers to it any more.

It knows a target of `RemoteRunner`. It promises that the terminal goes back to its pool with its last reference, or
with the end of a ``with``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from crl.interactivesessions.autorunnerterminal import AutoRunnerTerminal
from crl.interactivesessions.remoteimporter import RemoteImporter

if TYPE_CHECKING:
    from crl.interactivesessions._runnerintarget import _RunnerInTarget

__all__ = ["PythonTerminal"]


class PythonTerminal:
    """A terminal for `RemoteRunner.get_terminal`.

    Args:
        target: The target.

    Attributes:
        runnerterminal: The `AutoRunnerTerminal`, open.
        remoteimporter: Brings modules there.
    """

    def __init__(self, target: _RunnerInTarget) -> None:
        self._target = target
        self._pooled = target.take_terminal()
        self.runnerterminal: AutoRunnerTerminal = self._pooled.terminal
        self.remoteimporter = RemoteImporter(self.runnerterminal)
        self._given_back = False

    def give_back(self) -> None:
        """Put it into its pool, for others; again is harmless."""
        if not self._given_back:
            self._given_back = True
            self._target.give_back(self._pooled)

    def __enter__(self) -> PythonTerminal:
        return self

    def __exit__(self, *_: object) -> None:
        self.give_back()

    def __del__(self) -> None:
        # An instance whose target could not be reached has nothing to give back.
        if not getattr(self, "_given_back", True):
            self.give_back()
