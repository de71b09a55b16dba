"""What goes wrong in a `BashShell`, with the published names, which are found in `bashshell` as well.

It knows the errors of sessions and nothing of shells. It promises that each of them can be caught as what it is: wrong
arguments as a `TypeError`, all else as an `InteractiveSessionError`.
"""

from __future__ import annotations

from crl.interactivesessions.interactivesessionexceptions import InteractiveSessionError

__all__ = [
    "BashError",
    "BashShellTypeError",
    "CdToWorkdirFailed",
    "FailedToStartApplication",
    "FailedToTerminateProcess",
    "IncompleteCommand",
    "SourceInitFileFailed",
]


class BashError(InteractiveSessionError):
    """Base of what goes wrong in a `BashShell`."""


class BashShellTypeError(TypeError):
    """An argument of a `BashShell` has a type that it cannot have."""


class IncompleteCommand(BashError):
    """The shell waits for the rest of a command: a quote or bracket is not closed. The command was not run."""


class FailedToStartApplication(InteractiveSessionError):
    """An application ended before it showed what was expected; the arguments are its status and its output."""


class FailedToTerminateProcess(InteractiveSessionError):
    """There is no such process to kill."""


class SourceInitFileFailed(InteractiveSessionError):
    """The `init_env` file could not be read or returned an error; the argument is what it printed."""


class CdToWorkdirFailed(InteractiveSessionError):
    """The `workdir` could not be entered; the argument is what was printed."""
