"""The Xauthority file format, read and written without touching any file.

An entry is a family (16 bit), then address, display number, protocol name and data, each as a 16-bit length and that
many bytes; all big endian, as in libXau's ``Xauth(3)``. The module knows nothing of X servers; `parse_xauthority` is
total: of a damaged file it gives the entries before the damage.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass, field

__all__ = [
    "FAMILY_LOCAL",
    "FAMILY_WILD",
    "MAGIC_COOKIE",
    "XauthEntry",
    "choose_cookie",
    "format_xauthority",
    "parse_xauthority",
]

FAMILY_LOCAL = 256
FAMILY_WILD = 65535
MAGIC_COOKIE = b"MIT-MAGIC-COOKIE-1"
_SHORT = struct.Struct(">H")


@dataclass(frozen=True)
class XauthEntry:
    """One line of ``xauth list``.

    Args:
        family: `FAMILY_LOCAL`, `FAMILY_WILD`, or another number of the X protocol.
        address: The host's name for `FAMILY_LOCAL`.
        number: The display's number as text; empty means every display.
        protocol: For example `MAGIC_COOKIE`.
        data: The cookie; kept out of ``repr``.
    """

    family: int
    address: bytes
    number: bytes
    protocol: bytes
    data: bytes = field(repr=False)


def parse_xauthority(content: bytes) -> tuple[XauthEntry, ...]:
    """Read the content of an Xauthority file, up to its end or to the first damaged entry."""
    entries = []
    offset = 0
    while offset + _SHORT.size <= len(content):
        (family,) = _SHORT.unpack_from(content, offset)
        fields, offset = _read_fields(content, offset + _SHORT.size)
        if fields is None:
            break
        entries.append(XauthEntry(family, *fields))
    return tuple(entries)


def _read_fields(content: bytes, offset: int) -> tuple[tuple[bytes, bytes, bytes, bytes] | None, int]:
    found: list[bytes] = []
    for _ in range(4):
        if offset + _SHORT.size > len(content):
            return None, offset
        (length,) = _SHORT.unpack_from(content, offset)
        offset += _SHORT.size
        if offset + length > len(content):
            return None, offset
        found.append(content[offset : offset + length])
        offset += length
    address, number, protocol, data = found
    return (address, number, protocol, data), offset


def format_xauthority(entries: Iterable[XauthEntry]) -> bytes:
    """The content of a file with these entries.

    Raises:
        ValueError: A field is longer than 65535 bytes or the family does not fit 16 bits.
    """
    parts = []
    for entry in entries:
        texts = (entry.address, entry.number, entry.protocol, entry.data)
        if not 0 <= entry.family <= FAMILY_WILD or any(len(text) > FAMILY_WILD for text in texts):
            raise ValueError("a field of an Xauthority entry is too large")
        parts.append(_SHORT.pack(entry.family) + b"".join(_SHORT.pack(len(text)) + text for text in texts))
    return b"".join(parts)


def choose_cookie(entries: Iterable[XauthEntry], hostname: str, number: int) -> tuple[bytes, bytes] | None:
    """The protocol and data to show to display `number` of `hostname`'s local X server, as libXau would choose.

    Of equally good entries the last is taken: ``xauth add`` puts the newest at the end. None when there is none.
    """
    host = hostname.encode("utf-8", "surrogateescape")
    wanted = str(number).encode()
    best: tuple[int, XauthEntry] | None = None
    for entry in entries:
        if entry.protocol != MAGIC_COOKIE or entry.number not in (wanted, b""):
            continue
        if entry.family == FAMILY_LOCAL and entry.address == host:
            rank = 2
        elif entry.family == FAMILY_WILD:
            rank = 1
        else:
            continue
        if best is None or rank >= best[0]:
            best = (rank, entry)
    return None if best is None else (best[1].protocol, best[1].data)
