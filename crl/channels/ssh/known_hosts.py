"""A reader of OpenSSH's known_hosts files that looks at all keys of a host.

It knows the format of sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT": lists of patterns with wildcards and negation, hashed
names, ``[host]:port``, ``@revoked`` and ``@cert-authority``. Parsing and looking up do no input or output and are
total: a line that cannot be read is skipped, as OpenSSH skips it. A new line is added without touching the others.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import hmac
import os
import re
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from pathlib import Path
from typing import Final

from crl.channels.ssh._home import expanded

__all__ = ["HostKey", "KnownHost", "KnownHosts", "Standing", "Verdict", "lookup_name", "parse_known_hosts", "remember"]

_SSH_PORT: Final = 22
_MARKERS: Final = ("@revoked", "@cert-authority")
_SHORT_NAMES: Final = {"ssh-ed25519": "ED25519", "ssh-rsa": "RSA", "ssh-dss": "DSA"}


@dataclass(frozen=True)
class HostKey:
    """The public key of a host: its type, as ``ssh-ed25519``, and its bytes as they go over the wire."""

    type: str
    blob: bytes

    @property
    def base64(self) -> str:
        """The key as it stands in a known_hosts file."""
        return base64.b64encode(self.blob).decode()

    @property
    def fingerprint(self) -> str:
        """The fingerprint as ssh shows it: ``SHA256:`` and 43 characters."""
        digest = base64.b64encode(hashlib.sha256(self.blob).digest()).decode().rstrip("=")
        return f"SHA256:{digest}"

    @property
    def short_type(self) -> str:
        """The type as ssh says it to people: ``ED25519``."""
        if self.type.startswith("ecdsa-"):
            return "ECDSA"
        return _SHORT_NAMES.get(self.type, self.type)


@dataclass(frozen=True)
class KnownHost:
    """One usable line of a known_hosts file.

    Args:
        marker: ``""``, ``"@revoked"`` or ``"@cert-authority"``.
        names: Its first field: patterns separated by commas, or one hashed name.
        key: The key it tells.
        file: The file it stands in.
        line: Its number there, from 1.
    """

    marker: str
    names: str
    key: HostKey
    file: str
    line: int

    @property
    def location(self) -> str:
        """File and line, as ``/etc/ssh/ssh_known_hosts:3``."""
        return f"{self.file}:{self.line}"

    def names_host(self, name: str) -> bool:
        """Whether the line is about a host, whose name is as `lookup_name` makes it."""
        if self.names.startswith("|"):
            return _matches_hash(self.names, name)
        found = False
        for pattern in self.names.split(","):
            negated = pattern.startswith("!")
            if _matches_pattern(pattern[negated:].lower(), name):
                if negated:
                    return False
                found = True
        return found


class Standing(Enum):
    """What the files say about a host's key."""

    KNOWN = "known"
    UNKNOWN = "unknown"
    CHANGED = "changed"
    REVOKED = "revoked"


@dataclass(frozen=True)
class Verdict:
    """What the files say about a key that a host showed.

    Args:
        standing: The outcome.
        entry: The line that decided it; for CHANGED the one with another key, preferably of the same type. None for
            UNKNOWN.
    """

    standing: Standing
    entry: KnownHost | None = None

    @property
    def location(self) -> str | None:
        """File and line that decided it."""
        return self.entry.location if self.entry else None


class KnownHosts:
    """All lines of one or several known_hosts files."""

    def __init__(self, entries: Iterable[KnownHost]) -> None:
        self.entries = tuple(entries)

    @classmethod
    def load(cls, paths: Iterable[str | Path]) -> KnownHosts:
        """Read files, the first one first; one that does not exist is as an empty one.

        Raises:
            OSError: A file exists and cannot be read.
        """
        entries: list[KnownHost] = []
        for path in paths:
            with contextlib.suppress(FileNotFoundError):
                text = expanded(path).read_bytes().decode("utf-8", "surrogateescape")
                entries += parse_known_hosts(text, str(path))
        return cls(entries)

    def of_host(self, host: str, port: int = _SSH_PORT) -> tuple[KnownHost, ...]:
        """All lines about a host, whatever their marker."""
        name = lookup_name(host, port)
        return tuple(entry for entry in self.entries if entry.names_host(name))

    def key_types(self, host: str, port: int = _SSH_PORT) -> tuple[str, ...]:
        """The types of all plain keys known for a host, in the order of the files."""
        types = [entry.key.type for entry in self._plain(host, port)]
        return tuple(dict.fromkeys(types))

    def authorities(self, host: str, port: int = _SSH_PORT) -> tuple[KnownHost, ...]:
        """The certificate authorities that may vouch for a host; on another port than 22 those of its bare name too."""
        entries = self.of_host(host, port) if port == _SSH_PORT else (*self.of_host(host, port), *self.of_host(host))
        return tuple(entry for entry in entries if entry.marker == "@cert-authority")

    def check(self, host: str, port: int, key: HostKey) -> Verdict:
        """What the files say about a plain key that a host showed; certificates are not looked at.

        As with OpenSSH, a revoked key is refused whatever else is said, and a host on another port than 22 is known by
        a matching key of its bare name too.
        """
        verdict = _judge(self.of_host(host, port), key)
        if verdict.standing is Standing.UNKNOWN and port != _SSH_PORT:
            bare = _judge(self.of_host(host), key)
            if bare.standing in (Standing.KNOWN, Standing.REVOKED):
                return bare
        return verdict

    def _plain(self, host: str, port: int) -> list[KnownHost]:
        plain = [entry for entry in self.of_host(host, port) if not entry.marker]
        if not plain and port != _SSH_PORT:
            plain = [entry for entry in self.of_host(host) if not entry.marker]
        return plain


def _judge(entries: Iterable[KnownHost], key: HostKey) -> Verdict:
    found: KnownHost | None = None
    other: KnownHost | None = None
    for entry in entries:
        if entry.marker == "@revoked" and entry.key == key:
            return Verdict(Standing.REVOKED, entry)
        if entry.marker:
            continue
        if entry.key == key:
            found = found or entry
        elif other is None or (other.key.type != key.type and entry.key.type == key.type):
            other = entry
    if found is not None:
        return Verdict(Standing.KNOWN, found)
    return Verdict(Standing.UNKNOWN) if other is None else Verdict(Standing.CHANGED, other)


def lookup_name(host: str, port: int = _SSH_PORT) -> str:
    """The name under which a host stands in the files: ``host``, or ``[host]:port`` for another port than 22."""
    return host.lower() if port == _SSH_PORT else f"[{host.lower()}]:{port}"


def remember(path: str | Path, line: str) -> None:
    """Add a line to a file; one write, so that two at once do not mix.

    Raises:
        OSError: It cannot be written.
    """
    file = expanded(path)
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(file, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        size = os.fstat(descriptor).st_size
        broken = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
        os.write(descriptor, ("\n" * broken + line).encode())
    finally:
        os.close(descriptor)


def parse_known_hosts(text: str, file: str) -> list[KnownHost]:
    """All usable lines of a known_hosts file; total for any text."""
    entries = []
    for number, line in enumerate(text.split("\n"), 1):
        entry = _parse_line(line, file, number)
        if entry is not None:
            entries.append(entry)
    return entries


def _parse_line(line: str, file: str, number: int) -> KnownHost | None:
    fields = [field for field in re.split(r"[ \t\r]+", line) if field]
    if not fields or fields[0].startswith("#"):
        return None
    marker = fields.pop(0) if fields[0].startswith("@") else ""
    if (marker and marker not in _MARKERS) or len(fields) < 3:
        return None
    names, key_type, encoded = fields[:3]
    key = _parse_key(key_type, encoded)
    return None if key is None else KnownHost(marker, names, key, file, number)


def _parse_key(key_type: str, encoded: str) -> HostKey | None:
    """A key, if it is well-formed: the bytes must begin with the type that stands before them."""
    try:
        blob = base64.b64decode(encoded, validate=True)
        (length,) = struct.unpack_from(">I", blob)
    except (binascii.Error, ValueError, struct.error):
        return None
    if blob[4 : 4 + length] != key_type.encode("utf-8", "surrogateescape") or len(blob) <= 4 + length:
        return None
    return HostKey(key_type, blob)


def _matches_hash(field: str, name: str) -> bool:
    """Whether a hashed name, ``|1|salt|hash`` with HMAC-SHA1, is that of a host."""
    parts = field.split("|")
    if len(parts) != 4 or parts[1] != "1":
        return False
    try:
        salt, digest = (base64.b64decode(part, validate=True) for part in parts[2:])
    except (binascii.Error, ValueError):
        return False
    return hmac.compare_digest(hmac.new(salt, name.encode("utf-8", "surrogateescape"), hashlib.sha1).digest(), digest)


def _matches_pattern(pattern: str, name: str) -> bool:
    """Whether a name matches a pattern of OpenSSH, in which only ``*`` and ``?`` are special."""
    if "*" not in pattern and "?" not in pattern:
        return pattern == name
    return _compiled(pattern).fullmatch(name) is not None


@lru_cache(maxsize=512)
def _compiled(pattern: str) -> re.Pattern[str]:
    # Runs of stars are one star; the parts between are found one after the other, without backtracking into them.
    parts = re.sub(r"\*+", "*", pattern).split("*")
    translated = ["".join("." if char == "?" else re.escape(char) for char in part) for part in parts]
    if len(translated) == 1:
        return re.compile(translated[0], re.DOTALL)
    head, *middle, tail = translated
    inner = "".join(f"(?>.*?{part})" for part in middle)
    return re.compile(f"{head}{inner}.*{tail}", re.DOTALL)
