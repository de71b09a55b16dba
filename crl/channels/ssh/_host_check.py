"""Whether the host of a paramiko connection is the one it says it is.

It knows known_hosts files and host certificates. It promises that a host is accepted by one of its known keys, or by a
certificate of a known authority, or not at all, before anything about the user is sent.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Final

import paramiko

from crl.channels.ssh._certificates import CERTIFIED, AuthorityRevoked, CertificateError, require_certified
from crl.channels.ssh._places import Place
from crl.channels.ssh._transport import Transport
from crl.channels.ssh.errors import HostKeyChanged
from crl.channels.ssh.known_hosts import HostKey, KnownHosts, Standing, lookup_name, remember
from crl.channels.ssh.resolve import ResolvedHost
from crl.channels.ssh.settings import SshSettings
from crl.deadlines import Deadline

__all__ = ["HostCheck"]

_ALGORITHMS: Final = {"ssh-rsa": ("rsa-sha2-512", "rsa-sha2-256")}


@dataclass(frozen=True)
class HostCheck:
    """Whether a host is the one it says it is.

    Args:
        settings: The policy and its file.
        known: What is known.
        host: The host as its keys are filed.
        port: Its port as its keys are filed.
        place: Where we are, for errors.
    """

    settings: SshSettings
    known: KnownHosts
    host: str
    port: int
    place: Place

    @classmethod
    def load(cls, settings: SshSettings, host: ResolvedHost, place: Place) -> HostCheck:
        """Read the known_hosts files of a host.

        Raises:
            SshLoginError: A file cannot be read.
        """
        try:
            known = KnownHosts.load(() if settings.policy == "off" else host.known_hosts_files)
        except OSError as error:
            raise place.other(f"the known_hosts file {error.filename}: {error.strerror}") from error
        name, port = (host.host_key_alias, 22) if host.host_key_alias else (host.hostname, host.port)
        return cls(settings, known, name, port, place)

    def wanted_types(self) -> tuple[str, ...]:
        """The types of host keys to ask for: certificates where an authority is known, then those of known keys."""
        ours: tuple[str, ...] = paramiko.Transport._preferred_keys  # type: ignore[attr-defined]  # noqa: SLF001
        types = self.known.key_types(self.host, self.port)
        named = [name for kind in types for name in _ALGORITHMS.get(kind, (kind,))]
        certified = [f"{name}{CERTIFIED}" for name in ours] if self.known.authorities(self.host, self.port) else []
        plain = [name for name in named if name in ours]
        return (*certified, *(plain or ours))

    def verify(self, transport: Transport, deadline: Deadline) -> None:
        """Exchange keys with a host and look at the one it shows.

        Raises:
            HostKeyUnknown: No key of the host is known.
            HostKeyChanged: It is another key than known, or a revoked one.
        """
        remaining = deadline.remaining()
        if remaining is not None:
            transport.banner_timeout = transport.handshake_timeout = transport.auth_timeout = max(remaining, 0.1)
        done = threading.Event()
        transport.start_client(done)
        if not done.wait(remaining):
            raise TimeoutError
        if not transport.is_active():
            raise transport.get_exception() or paramiko.SSHException("the connection was closed")
        shown = transport.get_remote_server_key()
        certificate = getattr(shown.public_blob, "key_blob", None) if shown.public_blob else None
        self._judge(HostKey(shown.get_name(), shown.asbytes()), certificate)

    def _judge(self, key: HostKey, certificate: bytes | None) -> None:
        if self.settings.policy == "off":
            return
        verdict = self.known.check(self.host, self.port, key)
        if verdict.standing is Standing.REVOKED:
            raise self._changed(key, verdict.location, revoked=True)
        because = "" if certificate is None else self._why_not_certified(certificate)
        if verdict.standing is Standing.KNOWN or (certificate is not None and not because):
            return
        if verdict.standing is Standing.UNKNOWN:
            self._unknown(key, f"{key.type} {key.base64}", because)
        else:
            raise self._changed(key, verdict.location)

    def _why_not_certified(self, blob: bytes) -> str:
        """Why a certificate does not tell that this is the host; empty when it does."""
        try:
            require_certified(self.known, self.host, self.port, blob)
        except AuthorityRevoked as error:
            raise self._changed(error.authority, error.location, revoked=True) from error
        except CertificateError as error:
            return f"; its certificate does not count: {error}"
        return ""

    def _changed(self, key: HostKey, location: str | None, *, revoked: bool = False) -> HostKeyChanged:
        return self.place.key_changed(
            key.short_type,
            location=location,
            fingerprint=key.fingerprint,
            key_base64=f"{key.type} {key.base64}",
            revoked=revoked,
        )

    def _unknown(self, key: HostKey, text: str, because: str) -> None:
        if self.settings.policy == "accept-new":
            self._remember(f"{lookup_name(self.host, self.port)} {text}\n")
            return
        if not because and self.known.authorities(self.host, self.port):
            because = "; only a certificate authority is, and the host shows no certificate"
        raise self.place.key_unknown(key.short_type, fingerprint=key.fingerprint, key_base64=text, because=because)

    def _remember(self, line: str) -> None:
        """Add a line to the known_hosts file."""
        path = self.place.known_hosts
        try:
            remember(path, line)
        except OSError as error:
            raise self.place.other(f"the new host key could not be written to {path}: {error.strerror}") from error
