"""The errors of an SSH login as shells raise them: each is both the login's own class and the published `SshError`.

So code that catches `SshError` and code that asks for the exact reason both work. It knows the errors of the channels
and adds nothing but that second base.
"""

from __future__ import annotations

from typing import Final

from crl.channels.ssh import errors
from crl.interactivesessions.interactivesessionexceptions import InteractiveSessionError

__all__ = [
    "AuthenticationFailed",
    "ConnectionClosedByHost",
    "ConnectionRefused",
    "HostKeyChanged",
    "HostKeyUnknown",
    "HostUnreachable",
    "LoginTimeout",
    "NameNotResolved",
    "NoCommonAlgorithm",
    "SshError",
    "SshLoginError",
    "as_ssh_error",
]


class SshError(InteractiveSessionError):
    """An SSH shell could not be started."""


class SshLoginError(errors.SshLoginError, SshError):
    """The login failed, for a reason that has no class of its own."""


class NameNotResolved(errors.NameNotResolved, SshError):
    """The host's name has no address."""


class ConnectionRefused(errors.ConnectionRefused, SshError):
    """The host is there and nothing listens on the port."""


class HostUnreachable(errors.HostUnreachable, SshError):
    """Nothing came back from the host's address, or no way leads there."""


class HostKeyUnknown(errors.HostKeyUnknown, SshError):
    """No key of this host is known."""


class HostKeyChanged(errors.HostKeyChanged, SshError):
    """The host showed another key than the one that is known for it."""


class AuthenticationFailed(errors.AuthenticationFailed, SshError):
    """The host did not accept the user with what was offered; never tried again, since that may lock the account."""


class ConnectionClosedByHost(errors.ConnectionClosedByHost, SshError):
    """The host ended the connection before the login was through."""


class NoCommonAlgorithm(errors.NoCommonAlgorithm, SshError):
    """The host and we have no algorithm of some kind in common."""


class LoginTimeout(errors.HostUnreachable, SshError):
    """The login was not through in time; nothing says why."""


_OURS: Final[dict[type[errors.SshLoginError], type[errors.SshLoginError]]] = {
    cls.__bases__[0]: cls
    for cls in (
        SshLoginError,
        NameNotResolved,
        ConnectionRefused,
        HostUnreachable,
        HostKeyUnknown,
        HostKeyChanged,
        AuthenticationFailed,
        ConnectionClosedByHost,
        NoCommonAlgorithm,
    )
}


def as_ssh_error(error: errors.SshLoginError) -> errors.SshLoginError:
    """The same error as a class that is an `SshError` too."""
    cls = _OURS.get(type(error), SshLoginError)
    ours = cls.__new__(cls, *error.args)
    ours.args = error.args
    ours.__dict__.update(error.__dict__)
    return ours
