"""Why an SSH login failed: one class a reason.

They are raised by both backends; `crl.channels.ssh.diagnose` makes them from what OpenSSH's ssh wrote. A *definite*
refusal stays the same when tried again, so nobody may retry it: retries lock accounts.
"""

from __future__ import annotations

from typing import Final

from crl.errors import RemoteWorldError

__all__ = [
    "AuthenticationFailed",
    "ConnectionClosedByHost",
    "ConnectionRefused",
    "HostKeyChanged",
    "HostKeyUnknown",
    "HostUnreachable",
    "NameNotResolved",
    "NoCommonAlgorithm",
    "SshLoginError",
]

DOING: Final = "logging in by SSH"


class SshLoginError(RemoteWorldError):
    """A login by SSH failed.

    Args:
        message: Why, in one sentence.
        host: The target of the login.
        hop: The hop where it failed, when that is not the target.
        port: TCP port of the host that it failed at.
        key_type: The type of the host key concerned, as ssh names it to people (``ED25519``).
        fingerprint: The fingerprint of the key that the host showed, ``SHA256:…``, when that is known.
        location: File and line of the known_hosts entry concerned, ``/home/x/.ssh/known_hosts:3``.
        line: The known_hosts line that would accept the key, when the key is known.
        definite: Whether trying again cannot help; None is what the class says.
        doing: What was being done.
        advice: What the reader can do next.
        transcript: The tail of what was seen.
    """

    definite: bool = True

    def __init__(
        self,
        message: object = "",
        *args: object,
        host: str | None = None,
        hop: str | None = None,
        port: int | None = None,
        key_type: str | None = None,
        fingerprint: str | None = None,
        location: str | None = None,
        line: str | None = None,
        definite: bool | None = None,
        doing: str | None = DOING,
        advice: str | None = None,
        transcript: str = "",
    ) -> None:
        super().__init__(message, *args, host=host, hop=hop, doing=doing, advice=advice, transcript=transcript)
        self.port = port
        self.key_type = key_type
        self.fingerprint = fingerprint
        self.location = location
        self.line = line
        if definite is not None:
            self.definite = definite


class NameNotResolved(SshLoginError):
    """The host's name has no address."""


class ConnectionRefused(SshLoginError):
    """The host is there and nothing listens on the port; it may be about to."""

    definite = False


class HostUnreachable(SshLoginError):
    """Nothing came back from the host's address within the time limit, or no way leads there."""

    definite = False


class HostKeyUnknown(SshLoginError):
    """No key of this host is known, so nothing tells whether it is the right one."""


class HostKeyChanged(SshLoginError):
    """The host showed another key than the one that is known for it, or a revoked one."""


class AuthenticationFailed(SshLoginError):
    """The host did not accept the user with what was offered."""


class ConnectionClosedByHost(SshLoginError):
    """The host ended the connection before the login was through; too many logins at once look like that."""

    definite = False


class NoCommonAlgorithm(SshLoginError):
    """The host and we have no algorithm of some kind in common."""
