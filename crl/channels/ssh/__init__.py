"""SSH logins: settings, host keys, errors, OpenSSH's ssh as a program, and paramiko inside this process.

`paramiko_client` is loaded when `connect` or `SshConnection` is first used, because importing paramiko is slow.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from crl.channels.ssh.diagnosis import Stop, diagnose
from crl.channels.ssh.errors import (
    AuthenticationFailed,
    ConnectionClosedByHost,
    ConnectionRefused,
    HostKeyChanged,
    HostKeyUnknown,
    HostUnreachable,
    NameNotResolved,
    NoCommonAlgorithm,
    SshLoginError,
)
from crl.channels.ssh.known_hosts import HostKey, KnownHosts, Standing, Verdict
from crl.channels.ssh.openssh import local_environment, nested_line, ssh_argv
from crl.channels.ssh.resolve import ResolvedHost, resolve, with_explicit_jumps
from crl.channels.ssh.settings import SshSettings

if TYPE_CHECKING:
    from crl.channels.ssh.paramiko_client import SshConnection, connect, connect_many

__all__ = [
    "AuthenticationFailed",
    "ConnectionClosedByHost",
    "ConnectionRefused",
    "HostKey",
    "HostKeyChanged",
    "HostKeyUnknown",
    "HostUnreachable",
    "KnownHosts",
    "NameNotResolved",
    "NoCommonAlgorithm",
    "ResolvedHost",
    "SshConnection",
    "SshLoginError",
    "SshSettings",
    "Standing",
    "Stop",
    "Verdict",
    "connect",
    "connect_many",
    "diagnose",
    "local_environment",
    "nested_line",
    "resolve",
    "ssh_argv",
    "with_explicit_jumps",
]

_LAZY = ("SshConnection", "connect", "connect_many")


def __getattr__(name: str) -> Any:
    """Load what needs paramiko."""
    if name in _LAZY:
        from crl.channels.ssh import paramiko_client

        return getattr(paramiko_client, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
