"""What python-x2go put into paramiko's classes, as functions that change nothing.

paramiko is not patched: `monkey_patch_paramiko` is there for programs that call it, and what they expect of it holds
without, because keys are written and known_hosts files are kept by code of our own.
"""

from __future__ import annotations

from typing import IO, Any

import paramiko

__all__ = ["monkey_patch_paramiko"]


def _Pkey_write_private_key(self: Any, f: IO[str], key: Any, format: Any, password: Any = None) -> None:  # noqa: A002
    """Write a private key as paramiko does."""
    write = getattr(paramiko.PKey, "_write_private_key")  # noqa: B009 - paramiko's types do not know it
    write(self, f, key, format, password)


def _SSHClient_save_host_keys(self: paramiko.SSHClient, filename: str) -> None:
    """Write a client's host keys."""
    paramiko.SSHClient.save_host_keys(self, filename)


def _HostKeys_load(self: paramiko.HostKeys, filename: str) -> None:
    """Read host keys."""
    paramiko.HostKeys.load(self, filename)


def _HostKeys_add(
    self: paramiko.HostKeys, hostname: str, keytype: str, key: paramiko.PKey, hash_hostname: bool = True
) -> None:
    """Add a host key, its host's name hashed unless that is not wanted or it is so already."""
    hashed = hash_hostname and not hostname.startswith("|1|")
    paramiko.HostKeys.add(self, paramiko.HostKeys.hash_host(hostname) if hashed else hostname, keytype, key)


def monkey_patch_paramiko() -> None:
    """Accepted without effect."""
