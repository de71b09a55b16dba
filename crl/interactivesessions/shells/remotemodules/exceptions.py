"""What ends the serving of commands, at the import path where suites catch it.

It knows the errors of sessions and nothing else. Each error here is an `InteractiveSessionError`.
"""

from __future__ import annotations

from crl.interactivesessions.interactivesessionexceptions import InteractiveSessionError

__all__ = ["ExitFromServe", "FatalPythonError"]


class ExitFromServe(InteractiveSessionError):
    """The Python was asked to end, so it takes no more commands."""


class FatalPythonError(InteractiveSessionError):
    """The Python is gone, so nothing can be run in it any more; the argument is why."""

    @property
    def message(self) -> str:
        """Why, after the name that the published package puts first."""
        return f"{type(self).__name__}: {super().message}"
