"""The records of a file stream: files, folders and links of a tree, one after another, in one direction of a stream.

A folder's entry is followed by its content and a LEAVE, a file's by its bytes and a CLOSE with their checksum; names
are single components, so that a path never crosses. Sans-io and total: any bytes, split anywhere, give the same records
or a `ProtocolError`, in linear time and bounded memory.
"""
# ruff: noqa: F401 - names in type comments look unused.

import struct

from crl.link.wire.errors import ProtocolError

MYPY = False
if MYPY:
    from typing import Any

HEAD = struct.Struct(">BI")
ENTRY_HEAD = struct.Struct(">cIIIqQQH")
PROBLEM_HEAD = struct.Struct(">I")
HOLE_BODY = struct.Struct(">Q")
HAVE_HEAD = struct.Struct(">Q")

# From the one that reads a tree to the one that writes it.
ENTRY = 1  # an `Entry`
DATA = 2  # bytes of the file whose entry came last; may be handed out in parts
HOLE = 3  # HOLE_BODY: how many zero bytes follow that need no room on the disk
CLOSE = 4  # whether the file changed while it was read (one byte), and the checksum of its content
LEAVE = 5  # the folder whose entry came last and has not been left is complete
PROBLEM = 6  # PROBLEM_HEAD: errno (0: neither file, folder nor link) and the name of what could not be read
SKIPPED = 7  # the name of what was left out because it is as it has to be
FINISH = 8  # the tree is complete
# From the one that writes, and the end of either.
HAVE = 9  # HAVE_HEAD: how many bytes of the file are here already, and their checksum
RESULT = 10  # a value: what was done
FAILED = 11  # a value: what made the whole transfer fail

KINDS = frozenset(range(ENTRY, FAILED + 1))
MAX_BODY = 1024 * 1024
MAX_NAME = 255
MAX_LINK = 4096

FILE, FOLDER, LINK = b"f", b"d", b"l"


class Entry(object):
    """One member of a tree.

    Args:
        kind: FILE, FOLDER or LINK, which is a symbolic one.
        name: Its name in the folder that is open; that of the root is only a proposal.
        mode: Permission bits.
        uid: Number of its owner.
        gid: Number of its group.
        mtime_ns: When it was last changed, in nanoseconds.
        size: How long the file is going to be, as far as is known.
        offset: Where its bytes begin: what is before them is at the writer's already.
        link: Where a link leads.
    """

    __slots__ = ("kind", "name", "mode", "uid", "gid", "mtime_ns", "size", "offset", "link")

    def __init__(self, kind, name, mode=0o600, uid=0, gid=0, mtime_ns=0, size=0, offset=0, link=b""):
        # type: (bytes, bytes, int, int, int, int, int, int, bytes) -> None
        self.kind = kind
        self.name = name
        self.mode = mode
        self.uid = uid
        self.gid = gid
        self.mtime_ns = mtime_ns
        self.size = size
        self.offset = offset
        self.link = link

    def encoded(self):
        # type: () -> bytes
        """The body of its record."""
        head = ENTRY_HEAD.pack(
            self.kind, self.mode, self.uid, self.gid, self.mtime_ns, self.size, self.offset, len(self.name)
        )
        return head + self.name + self.link


def decode_entry(body):
    # type: (bytes) -> Entry
    """The entry of a record's body.

    Raises:
        ProtocolError: It is none.
    """
    if len(body) < ENTRY_HEAD.size:
        raise ProtocolError("an entry of %d bytes" % len(body))
    kind, mode, uid, gid, mtime_ns, size, offset, length = ENTRY_HEAD.unpack_from(body)
    name = body[ENTRY_HEAD.size : ENTRY_HEAD.size + length]
    link = body[ENTRY_HEAD.size + length :]
    if kind not in (FILE, FOLDER, LINK):
        raise ProtocolError("an entry of kind %r" % (kind,))
    if len(name) != length or len(link) > MAX_LINK or bool(link) != (kind == LINK) or b"\0" in link:
        raise ProtocolError("an entry whose names do not fit it")
    if offset > size or (offset and kind != FILE):
        raise ProtocolError("an entry that begins behind its end")
    return Entry(kind, name, mode, uid, gid, mtime_ns, size, offset, link)


def check_name(name):
    # type: (bytes) -> bytes
    """The same name, when it is one component that stays in its folder.

    Raises:
        ProtocolError: It would lead elsewhere.
    """
    if not name or name in (b".", b"..") or b"/" in name or b"\0" in name or len(name) > MAX_NAME:
        raise ProtocolError("the name %r leaves the destination" % (name,))
    return name


def pack(kind, body=b""):
    # type: (int, bytes) -> bytes
    """The bytes of a record."""
    return HEAD.pack(kind, len(body)) + body


class Parser(object):
    """Finds the records in the bytes of a stream."""

    def __init__(self):
        # type: () -> None
        self._parts = []  # type: list[bytes]
        self._held = 0
        self._needed = HEAD.size
        self._data_left = 0

    @property
    def partial(self):
        # type: () -> bool
        """Whether a record has begun and is not complete."""
        return bool(self._held or self._data_left)

    def feed(self, data, start=0):
        # type: (bytes, int) -> list[tuple[int, Any]]
        """Take further bytes and return the records they complete: kind and body, a memoryview for DATA.

        Args:
            data: The bytes.
            start: Where in them the stream's bytes begin.

        Raises:
            ProtocolError: They are no records.
        """
        found = []  # type: list[tuple[int, Any]]
        if self._parts:
            self._parts.append(data[start:])
            self._held += len(data) - start
            if self._held < self._needed:
                return found
            data, start = b"".join(self._parts), 0
            self._parts = []
        self._held = self._parse(data, start, found)
        if self._held:
            self._parts = [data[len(data) - self._held :]]
        return found

    def _parse(self, data, at, found):
        # type: (bytes, int, list[tuple[int, Any]]) -> int
        """Find all records in `data`; returns how many bytes at its end are the beginning of another."""
        end = len(data)
        view = memoryview(data)
        while at < end:
            if self._data_left:
                step = min(self._data_left, end - at)
                found.append((DATA, view[at : at + step]))
                self._data_left -= step
                at += step
                continue
            self._needed = HEAD.size
            if end - at < HEAD.size:
                break
            kind, size = HEAD.unpack_from(data, at)
            if kind == DATA:
                self._data_left = size
                at += HEAD.size
                continue
            if kind not in KINDS or size > MAX_BODY:
                raise ProtocolError("a record of kind %d and %d bytes" % (kind, size))
            self._needed += size
            if end - at < self._needed:
                break
            found.append((kind, data[at + HEAD.size : at + self._needed]))
            at += self._needed
        return end - at


def install(_program):
    # type: (Any) -> None
    """Called when this piece arrives: other pieces import it, and that is all."""
