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
        runnerintarget: The target.
    """

    def __init__(self, runnerintarget: _RunnerInTarget) -> None:
        self._target = runnerintarget
        self._pooled = runnerintarget.take_terminal()
        self._importer = RemoteImporter(self._pooled.terminal)
        self._given_back = False

    @property
    def runnerterminal(self) -> AutoRunnerTerminal:
        """The terminal, open."""
        return self._pooled.terminal

    @property
    def remoteimporter(self) -> RemoteImporter:
        """Brings modules there."""
        return self._importer

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
