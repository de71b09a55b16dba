"""Host keys of X2Go servers reached through paramiko: what to do with one that is not known.

The policies are paramiko's kind and are given to a client before it connects. An unknown key is refused unless the
session's hook says yes; new keys are added to the client's file in one write, hashed, and nothing else of the file is
touched.
"""

from __future__ import annotations

import hashlib
import os
import re
import socket
from collections.abc import Callable, Container
from pathlib import Path
from typing import Any

import paramiko

from crl.channels.ssh._certificates import CERTIFIED, CertificateError, require_certified
from crl.channels.ssh.known_hosts import HostKey, KnownHosts, Standing, remember
from crl.x2go.x2go_exceptions import X2GoException, X2GoHostKeyException

__all__ = [
    "KnownHostsPolicy",
    "X2GoAutoAddPolicy",
    "X2GoInteractiveAddPolicy",
    "X2GoMissingHostKeyPolicy",
    "check_ssh_host_key",
    "fingerprint_of",
    "is_certified",
    "prefer_known",
]

CONNECT_TIMEOUT = 20.0
_BRACKETED = re.compile(r"\[(?P<host>[^\]]+)\](?::(?P<port>\d+))?")
_NAMED = re.compile(r"(?P<host>[^:]+):(?P<port>\d+)")


class X2GoMissingHostKeyPolicy(paramiko.MissingHostKeyPolicy):
    """What both policies share: the key that is asked about.

    Args:
        caller: The object that connects. Its `host_key_failure`, an exception class, is raised for a refused key; with
            `unique_hostkey_aliases` the key is kept under its `profile_id` instead of the host's name.
        session_instance: The session whose hook decides.
        fake_hostname: The name to keep the key under, for a server that is reached through a tunnel.
    """

    def __init__(self, caller: Any = None, session_instance: Any = None, fake_hostname: str | None = None) -> None:
        self.caller = caller
        self.session_instance = session_instance
        self.fake_hostname = fake_hostname
        self.client: paramiko.SSHClient | None = None
        self.hostname = ""
        self.key: paramiko.PKey | None = None

    def _take(self, client: paramiko.SSHClient, hostname: str, key: paramiko.PKey) -> None:
        self.client, self.key = client, key
        self.hostname = self.fake_hostname or hostname

    def get_client(self) -> paramiko.SSHClient | None:
        """The client that connects."""
        return self.client

    def get_hostname(self) -> str:
        """The host, as known_hosts files name it."""
        return self.hostname

    def get_hostname_name(self) -> str:
        """The host without its port."""
        return _split(self.hostname)[0]

    def get_hostname_port(self) -> int:
        """The port of the host's SSH server."""
        return _split(self.hostname)[1]

    def get_key(self) -> paramiko.PKey | None:
        """The key that the host showed."""
        return self.key

    def get_key_name(self) -> str:
        """The key's type in capitals, as ``SSH-ED25519``."""
        return "" if self.key is None else self.key.get_name().upper()

    def get_key_fingerprint(self) -> str:
        """The key's MD5 fingerprint in hexadecimal digits."""
        return "" if self.key is None else _md5(self.key)

    def get_key_fingerprint_with_colons(self) -> str:
        """The key's MD5 fingerprint as old versions of ssh show it."""
        return _colons(self.get_key_fingerprint())

    def get_key_fingerprint_sha256(self) -> str:
        """The key's fingerprint as ssh shows it."""
        return "" if self.key is None else HostKey(self.key.get_name(), self.key.asbytes()).fingerprint

    def _name_to_keep(self) -> str:
        if getattr(self.caller, "unique_hostkey_aliases", False):
            return str(self.caller.profile_id)
        return self.hostname

    def _add(self) -> None:
        """Keep the key, in the client and in its file."""
        if self.client is None or self.key is None:
            return
        name = self._name_to_keep()
        self.client.get_host_keys().add(name, self.key.get_name(), self.key)
        path = getattr(self.client, "_host_keys_filename", None)
        if path is not None:
            remember(path, f"{paramiko.HostKeys.hash_host(name)} {self.key.get_name()} {self.key.get_base64()}\n")


class X2GoAutoAddPolicy(X2GoMissingHostKeyPolicy):
    """Takes and keeps the key of any host that has none yet."""

    def missing_host_key(self, client: paramiko.SSHClient, hostname: str, key: paramiko.PKey) -> None:
        """Keep the key."""
        self._take(client, hostname, key)
        self._add()


class X2GoInteractiveAddPolicy(X2GoMissingHostKeyPolicy):
    """Asks the session's hook whether a key is right; without a session, no."""

    def missing_host_key(self, client: paramiko.SSHClient, hostname: str, key: paramiko.PKey) -> None:
        """Take the key if it is known under the name it is kept under, or if the hook says so.

        Raises:
            X2GoHostKeyException: It was refused.
            paramiko.BadHostKeyException: Another key is known under that name.
        """
        self._take(client, hostname, key)
        if _is_known(client, self._name_to_keep(), key):
            return
        hook = getattr(self.session_instance, "HOOK_check_host_dialog", None)
        agreed = hook is not None and hook(
            self.get_hostname_name(),
            self.get_hostname_port(),
            fingerprint=self.get_key_fingerprint_with_colons(),
            fingerprint_type=self.get_key_name(),
        )
        if agreed is not True:
            raise self._refusal()
        self._add()

    def _refusal(self) -> X2GoException:
        kind: type[X2GoException] = getattr(self.caller, "host_key_failure", X2GoHostKeyException)
        line = "" if self.key is None else f"{self.hostname} {self.key.get_name()} {self.key.get_base64()}"
        return kind(
            f"the host's key {self.get_key_name()} {self.get_key_fingerprint_sha256()} is not known",
            host=self.get_hostname_name(),
            doing="checking the host key",
            advice=f"compare the fingerprint with the host's; if it is right, add to known_hosts: {line}",
        )


class KnownHostsPolicy(paramiko.MissingHostKeyPolicy):
    """Judges by a known_hosts file as ssh does: all keys of a host, authorities, patterns; the rest goes to another.

    For a client that has loaded no file itself: paramiko looks only at the first key of a host.

    Args:
        path: The file; one that does not exist is as an empty one.
        unknown: What decides about keys that the file does not know.
    """

    def __init__(self, path: str | os.PathLike[str], unknown: paramiko.MissingHostKeyPolicy) -> None:
        self._known = KnownHosts.load([Path(path)])
        self._unknown = unknown

    def make_transport(self, hostname: str, port: int) -> Callable[..., paramiko.Transport]:
        """What makes transports that ask a host first for the keys that are known of it; for `transport_factory`."""

        def make(sock: Any, **options: Any) -> paramiko.Transport:
            transport = paramiko.Transport(sock, **options)
            prefer_known(transport, self._known, hostname, port)
            return transport

        return make

    def missing_host_key(self, client: paramiko.SSHClient, hostname: str, key: paramiko.PKey) -> None:
        """Take a key that is known; ask about one of which nothing is known.

        Raises:
            paramiko.BadHostKeyException: Another key is known of that host, or this one is revoked.
        """
        name, port = _split(hostname)
        verdict = self._known.check(name, port, HostKey(key.get_name(), key.asbytes()))
        if verdict.standing is not Standing.REVOKED and is_certified(self._known, name, port, key):
            return
        if verdict.standing in (Standing.CHANGED, Standing.REVOKED) and verdict.entry is not None:
            expected = verdict.entry.key
            raise paramiko.BadHostKeyException(
                hostname, key, paramiko.PKey.from_type_string(expected.type, expected.blob)
            )
        if verdict.standing is not Standing.KNOWN:
            self._unknown.missing_host_key(client, hostname, key)


def check_ssh_host_key(
    x2go_sshclient_instance: paramiko.SSHClient, hostname: str, port: int = 22
) -> tuple[bool, str, int, str, str]:
    """Ask a host for its key, without logging in, and look whether the client knows it.

    Returns:
        Whether it is known, the host, the port, the key's MD5 fingerprint with colons and its type in capitals.

    Raises:
        X2GoHostKeyException: The host did not show a key; the text says why.
        paramiko.BadHostKeyException: Another key is known of that host.
    """
    name = hostname if port == 22 else f"[{hostname}]:{port}"
    try:
        with socket.create_connection((hostname, port), CONNECT_TIMEOUT) as sock:
            transport = paramiko.Transport(sock)
            try:
                _prefer_types(transport, x2go_sshclient_instance.get_host_keys().lookup(name) or {})
                transport.start_client(timeout=CONNECT_TIMEOUT)
                key = transport.get_remote_server_key()
            finally:
                transport.close()
    except (OSError, EOFError, paramiko.SSHException) as error:
        raise X2GoHostKeyException(
            f"port {port} showed no host key: {error or type(error).__name__}",
            host=hostname,
            doing="asking for the host key",
            advice=f"see whether an SSH server listens there: ssh-keyscan -p {port} {hostname}",
        ) from error
    return _is_known(x2go_sshclient_instance, name, key), hostname, port, *fingerprint_of(key)


def fingerprint_of(key: paramiko.PKey) -> tuple[str, str]:
    """A key's MD5 fingerprint with colons, and its type in capitals, as the hooks get them."""
    return _colons(_md5(key)), key.get_name().upper()


def prefer_known(transport: paramiko.Transport, known: KnownHosts, host: str, port: int) -> None:
    """Ask a host first for what it can be known by: a certificate, where an authority is known, then its known keys."""
    _prefer_types(transport, known.key_types(host, port))
    if known.authorities(host, port):
        options = transport.get_security_options()
        plain = [kind for kind in options.key_types if not kind.endswith(CERTIFIED)]
        options.key_types = (*(f"{kind}{CERTIFIED}" for kind in plain), *plain)


def is_certified(known: KnownHosts, host: str, port: int, key: paramiko.PKey) -> bool:
    """Whether a key that a host showed came with a certificate of an authority that is known for the host."""
    blob = getattr(key.public_blob, "key_blob", None) if key.public_blob else None
    if blob is None:
        return False
    try:
        require_certified(known, host, port, blob)
    except CertificateError:
        return False
    return True


def _prefer_types(transport: paramiko.Transport, types: Container[str]) -> None:
    """Ask a host first for keys of some types."""
    options = transport.get_security_options()
    known = [kind for kind in options.key_types if ("ssh-rsa" if kind.startswith("rsa-") else kind) in types]
    options.key_types = (*known, *(kind for kind in options.key_types if kind not in known))


def _is_known(client: paramiko.SSHClient, name: str, key: paramiko.PKey) -> bool:
    """Whether a client knows the key of a host; another key of that type is an error."""
    known = client.get_host_keys().lookup(name)
    expected = None if known is None else known.get(key.get_name())
    if expected is not None and expected != key:
        raise paramiko.BadHostKeyException(name, key, expected)
    return expected is not None


def _md5(key: paramiko.PKey) -> str:
    return hashlib.md5(key.asbytes(), usedforsecurity=False).hexdigest()


def _colons(digits: str) -> str:
    return ":".join(digits[at : at + 2] for at in range(0, len(digits), 2))


def _split(hostname: str) -> tuple[str, int]:
    """A host and its port; an address of IPv6 keeps its colons."""
    found = _BRACKETED.fullmatch(hostname) or _NAMED.fullmatch(hostname)
    if found is None:
        return hostname, 22
    return found["host"], int(found["port"] or 22)
