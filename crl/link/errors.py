"""The errors of the link.

They sit under `RemoteWorldError`, since what they tell is about the target or the way to it. `definite` says that
trying again cannot help. Errors that the target's own code raised are made in `crl.link.exceptions`.
"""

from __future__ import annotations

import copy

from crl.errors import RemoteWorldError, WrongArgument

__all__ = [
    "ArgumentNotTransferable",
    "CallCancelled",
    "CallTimeout",
    "LinkError",
    "LinkLost",
    "LinkStartError",
    "ProgramGone",
    "ProtocolViolation",
    "PythonNotFound",
    "PythonTooOld",
    "RemoteError",
    "ValueNotTransferable",
]


class LinkError(RemoteWorldError):
    """Base of the link's errors."""

    definite = False

    def again(self) -> LinkError:
        """A fresh copy, so that each thread that raises it has a traceback of its own."""
        return copy.copy(self)


class LinkStartError(LinkError):
    """The remote program could not be started in the shell."""


class PythonNotFound(LinkStartError):
    """No Python interpreter was found on the target."""

    definite = True


class PythonTooOld(LinkStartError):
    """The target's Python is older than 2.7, or a 3 before 3.6."""

    definite = True


class LinkLost(LinkError):
    """The link to the remote program is gone; whether a call under way was done is unknown."""


class ProgramGone(LinkLost):
    """A fresh terminal was opened, and the remote program is not there any more."""

    definite = True


class CallTimeout(LinkError):
    """A call has not been answered in time; it goes on, and its result can still be fetched."""


class CallCancelled(LinkError):
    """The call was cancelled: it did not begin, or was interrupted, and what it had done until then is done."""


class ValueNotTransferable(LinkError):
    """The call was done, and its value cannot cross: its type is not in the codec, or it is too deep or cyclic."""


class ArgumentNotTransferable(WrongArgument):
    """An argument can cross neither as a value nor as a pickle; nothing was sent."""


class ProtocolViolation(LinkLost):
    """The target sent what the protocol forbids; the link was given up."""


class RemoteError(RemoteWorldError):
    """Code on the target raised an exception whose class is not rebuilt here.

    Args:
        message: Text of the remote exception.
        class_name: Module and name of its class on the target.
        remote_traceback: The traceback as the target printed it.
        host: The target's name.
    """

    def __init__(
        self, message: str, class_name: str = "", remote_traceback: str = "", *, host: str | None = None
    ) -> None:
        doing = f"code on the target raised {class_name}"
        super().__init__(message, class_name, remote_traceback, host=host, doing=doing)
        self.class_name = class_name
        self.remote_traceback = remote_traceback
