"""OpenSSH's certificates of hosts: who vouches for a key, for which names, and when.

It knows the format of OpenSSH's PROTOCOL.certkeys and is total: any bytes give a certificate or `CertificateError`. It
does no input or output but asking the clock.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Final

import paramiko

from crl.channels.ssh.known_hosts import HostKey, KnownHosts, Standing

__all__ = ["CERTIFIED", "AuthorityRevoked", "Certificate", "CertificateError", "require_certified"]

#: What the names of certificate algorithms end with.
CERTIFIED: Final = "-cert-v01@openssh.com"
_HOST: Final = 2
_KEY_FIELDS: Final = {"ssh-ed25519": 1, "ssh-rsa": 2}  # the others are of ECDSA and have two: curve and point
_SIGNATURES: Final = {
    "ssh-ed25519": ("ssh-ed25519",),
    "ssh-rsa": ("rsa-sha2-512", "rsa-sha2-256"),
}
_MOST_PRINCIPALS: Final = 256


class CertificateError(ValueError):
    """A certificate does not vouch for a host; the text says why."""


class AuthorityRevoked(CertificateError):
    """The authority of a certificate is revoked for this host.

    Args:
        authority: The authority's key.
        location: File and line that revoke it.
    """

    def __init__(self, authority: HostKey, location: str | None) -> None:
        super().__init__(f"its authority is revoked ({location})")
        self.authority, self.location = authority, location


def require_certified(known: KnownHosts, host: str, port: int, blob: bytes) -> None:
    """See that a certificate tells that this is the host, by an authority that known_hosts files trust for it.

    Raises:
        AuthorityRevoked: The authority is revoked for this host.
        CertificateError: It does not tell that.
    """
    certificate = Certificate.parse(blob)
    authority = certificate.authority
    verdict = known.check(host, port, authority)
    if verdict.standing is Standing.REVOKED:
        raise AuthorityRevoked(authority, verdict.location)
    if not any(entry.key == authority for entry in known.authorities(host, port)):
        raise CertificateError(f"it is of an authority that is not known ({authority.fingerprint})")
    certificate.check(host)


@dataclass(frozen=True)
class Certificate:
    """A certificate, as it came over the wire.

    Args:
        key_id: The authority's name for it.
        kind: 1 for users, 2 for hosts.
        principals: The names it is valid for; none is refused.
        valid: From when and until before when, in seconds since 1970.
        critical: The names of its critical options.
        authority: The key that signed it.
        signed: What was signed.
        signature: The signature.
    """

    key_id: str
    kind: int
    principals: tuple[str, ...]
    valid: tuple[int, int]
    critical: tuple[str, ...]
    authority: HostKey
    signed: bytes
    signature: bytes

    @classmethod
    def parse(cls, blob: bytes) -> Certificate:
        """Take a certificate apart.

        Raises:
            CertificateError: It is none.
        """
        try:
            return _parse(blob)
        except (ValueError, IndexError, paramiko.SSHException, MemoryError, OverflowError) as error:
            raise CertificateError(f"it cannot be read ({error})") from error

    def check(self, host: str, now: float | None = None) -> None:
        """See that the certificate is sound and for a host; whether its authority is trusted is asked elsewhere.

        Args:
            host: The host's name as the user or the configuration says it, without port.
            now: The time, in seconds since 1970; None is that of the clock.

        Raises:
            CertificateError: It is not.
        """
        moment = time.time() if now is None else now
        if self.kind != _HOST:
            raise CertificateError("it is for a user, not for a host")
        if not self.valid[0] <= moment < self.valid[1]:
            raise CertificateError("it is not valid now; compare the clocks")
        if self.critical:
            raise CertificateError(f"it has options that are not understood ({', '.join(self.critical)})")
        if not any(fnmatchcase(host.lower(), name.lower().replace("[", "[[]")) for name in self.principals):
            raise CertificateError(f"it is for {', '.join(self.principals) or 'no name at all'}, not for {host}")
        if not self._is_signed():
            raise CertificateError("its signature is wrong")

    def _is_signed(self) -> bool:
        try:
            algorithm = paramiko.Message(self.signature).get_text()
            if algorithm not in _SIGNATURES.get(self.authority.type, (self.authority.type,)):
                return False
            key = paramiko.PKey.from_type_string(self.authority.type, self.authority.blob)
            return bool(key.verify_ssh_sig(self.signed, paramiko.Message(self.signature)))
        except (paramiko.SSHException, ValueError, IndexError, TypeError):
            return False


def _parse(blob: bytes) -> Certificate:
    message = paramiko.Message(blob)
    name = message.get_text()
    if not name.endswith(CERTIFIED):
        raise CertificateError(f"{name!r} is no type of certificate")
    message.get_string()  # the nonce
    for _ in range(_KEY_FIELDS.get(name.removesuffix(CERTIFIED), 2)):
        message.get_string()
    message.get_int64()  # the serial number
    kind, key_id = message.get_int(), message.get_text()
    principals = _strings(message.get_string())
    valid = message.get_int64(), message.get_int64()
    critical = _strings(message.get_string())[::2]
    message.get_string()  # extensions: unknown ones are to be ignored, and hosts have none
    message.get_string()  # reserved
    authority = message.get_string()
    signed = message.get_so_far()
    signature = message.get_string()
    if message.get_remainder() or len(signed) + 4 + len(signature) != len(blob):
        raise CertificateError("its length is wrong")
    authority_type = paramiko.Message(authority).get_text()
    return Certificate(key_id, kind, principals, valid, critical, HostKey(authority_type, authority), signed, signature)


def _strings(data: bytes) -> tuple[str, ...]:
    """The texts in a list of them."""
    message = paramiko.Message(data)
    found: list[str] = []
    while message.get_remainder():
        if len(found) > _MOST_PRINCIPALS:
            raise CertificateError("it has too many entries")
        found.append(message.get_text())
    return tuple(found)
