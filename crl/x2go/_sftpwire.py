"""Packets of the SSH file transfer protocol, version 3: taken apart and put together.

It knows bytes only: no file, no connection. Taking apart is total: whatever comes gives values or `SftpGarbage`, needs
no more memory than one packet of the largest size, and time in proportion to what came.
"""

from __future__ import annotations

import os
import stat
import struct
from collections.abc import Iterator
from enum import IntEnum
from typing import Final

from crl.x2go._confined import Attributes

__all__ = [
    "LARGEST",
    "Fields",
    "Kind",
    "Packets",
    "SftpGarbage",
    "Status",
    "long_name",
    "pack",
    "pack_attributes",
    "pack_string",
]

LARGEST: Final = 256 * 1024
"""The largest packet that is taken, without its length."""

_LENGTH: Final = struct.Struct(">I")
_HEADER: Final = struct.Struct(">IBI")
_ATTRIBUTES: Final = struct.Struct(">IQIIIII")
_SIZE, _OWNER, _MODE, _TIMES, _EXTENDED = 0x1, 0x2, 0x4, 0x8, 0x80000000
_MOST_EXTENDED: Final = 16


class SftpGarbage(Exception):
    """What came is no packet of the protocol."""


class Kind(IntEnum):
    """Kinds of packets."""

    INIT = 1
    VERSION = 2
    OPEN = 3
    CLOSE = 4
    READ = 5
    WRITE = 6
    LSTAT = 7
    FSTAT = 8
    SETSTAT = 9
    FSETSTAT = 10
    OPENDIR = 11
    READDIR = 12
    REMOVE = 13
    MKDIR = 14
    RMDIR = 15
    REALPATH = 16
    STAT = 17
    RENAME = 18
    READLINK = 19
    SYMLINK = 20
    STATUS = 101
    HANDLE = 102
    DATA = 103
    NAME = 104
    ATTRS = 105
    EXTENDED = 200
    EXTENDED_REPLY = 201


class Status(IntEnum):
    """What a request came to."""

    OK = 0
    EOF = 1
    NO_SUCH_FILE = 2
    PERMISSION_DENIED = 3
    FAILURE = 4
    BAD_MESSAGE = 5
    OP_UNSUPPORTED = 8


class Packets:
    """Cuts what comes into packets."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def single(self, data: bytes) -> bytes | None:
        """The packet, where what came is exactly one, as when each is waited for; None leaves it to `feed`."""
        if self._rest or len(data) <= _LENGTH.size or int.from_bytes(data[: _LENGTH.size]) != len(data) - _LENGTH.size:
            return None
        return data[_LENGTH.size :] if len(data) <= LARGEST else None

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The packets that are complete now, without their lengths; to be taken before more is fed.

        Raises:
            SftpGarbage: One says that it is empty, or larger than any may be; nothing can follow it.
        """
        rest = self._rest
        rest += data
        begin = 0
        try:
            while len(rest) - begin >= _LENGTH.size:
                (length,) = _LENGTH.unpack_from(rest, begin)
                if not 0 < length <= LARGEST:
                    raise SftpGarbage(f"a packet of {length} bytes")
                end = begin + _LENGTH.size + length
                if len(rest) < end:
                    break
                yield bytes(memoryview(rest)[begin + _LENGTH.size : end])
                begin = end
        finally:
            del rest[:begin]


class Fields:
    """Takes the values of one packet, in order."""

    def __init__(self, packet: bytes, offset: int = 0) -> None:
        self._packet = packet
        self._offset = offset

    def integer(self) -> int:
        """Four bytes."""
        return int.from_bytes(self._take(4))

    def long(self) -> int:
        """Eight bytes."""
        return int.from_bytes(self._take(8))

    def string(self) -> bytes:
        """A length and so many bytes."""
        return self._take(int.from_bytes(self._take(4)))

    def attributes(self) -> Attributes:
        """What is said of a file."""
        flags = self.integer()
        size = self.long() if flags & _SIZE else None
        owner = (self.integer(), self.integer()) if flags & _OWNER else None
        mode = self.integer() if flags & _MODE else None
        times = (float(self.integer()), float(self.integer())) if flags & _TIMES else None
        if flags & _EXTENDED:
            count = self.integer()
            if count > _MOST_EXTENDED:
                raise SftpGarbage(f"{count} extensions of attributes")
            for _ in range(2 * count):
                self.string()
        return Attributes(size, owner, mode, times)

    def _take(self, count: int) -> bytes:
        end = self._offset + count
        if end > len(self._packet):
            raise SftpGarbage("a packet that ends too early")
        taken = self._packet[self._offset : end]
        self._offset = end
        return taken


def pack(kind: Kind, number: int, *parts: bytes) -> bytes:
    """A packet with its length: an answer to the request of that number."""
    length = 5 + sum(map(len, parts))
    return b"".join((_HEADER.pack(length, kind, number), *parts))


def pack_string(value: bytes) -> bytes:
    """A length and the bytes."""
    return _LENGTH.pack(len(value)) + value


def pack_attributes(status: os.stat_result) -> bytes:
    """What is known of a file; the protocol's times end in 2106."""
    return _ATTRIBUTES.pack(
        _SIZE | _OWNER | _MODE | _TIMES, status.st_size, status.st_uid, status.st_gid, status.st_mode,
        _seconds(status.st_atime), _seconds(status.st_mtime),
    )  # fmt: skip


def long_name(name: bytes, status: os.stat_result) -> bytes:
    """The line that clients show in long lists; owners by number, as names are nobody's business there."""
    words = f"{stat.filemode(status.st_mode)} 1 {status.st_uid} {status.st_gid} {status.st_size:>8} "
    return words.encode("ascii") + name


def _seconds(when: float) -> int:
    return max(0, min(int(when), 0xFFFFFFFF))
