"""A client that speaks the packets of SFTP itself, so that it can say what no library would."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import paramiko

from crl.x2go._confined import ConfinedFolder
from crl.x2go._sftpserve import Export, Exports, new_key, serve
from crl.x2go._sftpwire import Kind, Status

USER = "tester"
READ, WRITE, APPEND, CREATE, TRUNCATE, EXCLUSIVE = 0x1, 0x2, 0x4, 0x8, 0x10, 0x20
NO_ATTRIBUTES = bytes(4)


def text(value: bytes) -> bytes:
    return struct.pack(">I", len(value)) + value


@dataclass(frozen=True)
class Answer:
    """One packet that came back."""

    kind: int
    body: bytes

    @property
    def status(self) -> int:
        """The status it tells; success for what carries data."""
        return int.from_bytes(self.body[:4]) if self.kind == Kind.STATUS else Status.OK

    @property
    def first(self) -> bytes:
        """Its first string: a handle, data, or the first name after the count."""
        at = 4 if self.kind == Kind.NAME else 0
        size = int.from_bytes(self.body[at : at + 4])
        return self.body[at + 4 : at + 4 + size]


class RawSftp:
    """Requests by number of kind and bytes."""

    def __init__(self, channel: Any) -> None:
        self.channel = channel
        channel.settimeout(20)
        self._number = 0
        self.send_packet(bytes([Kind.INIT]) + struct.pack(">I", 3))
        self.extensions = self.packet()

    def send_packet(self, packet: bytes) -> None:
        """Send a packet, whatever is in it."""
        self.channel.sendall(struct.pack(">I", len(packet)) + packet)

    def ask(self, kind: int, *parts: bytes) -> Answer:
        """Send a request and read its answer."""
        self._number += 1
        self.send_packet(bytes([kind]) + struct.pack(">I", self._number) + b"".join(parts))
        packet = self.packet()
        assert int.from_bytes(packet[1:5]) == self._number
        return Answer(packet[0], packet[5:])

    def packet(self) -> bytes:
        """The next that comes."""
        return self._exactly(int.from_bytes(self._exactly(4)))

    def _exactly(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            piece = self.channel.recv(count - len(data))
            if not piece:
                raise EOFError
            data += piece
        return data

    def open(self, name: bytes, flags: int = READ) -> Answer:
        return self.ask(Kind.OPEN, text(name), struct.pack(">I", flags), NO_ATTRIBUTES)

    def read(self, name: bytes) -> bytes | None:
        """The begin of a file; None when it cannot be had."""
        opened = self.open(name)
        if opened.kind != Kind.HANDLE:
            return None
        data = self.ask(Kind.READ, text(opened.first), struct.pack(">QI", 0, 4096))
        self.ask(Kind.CLOSE, text(opened.first))
        return data.first if data.kind == Kind.DATA else b""

    def write(self, name: bytes, data: bytes, flags: int = WRITE | CREATE) -> int:
        """Write to a file; the status of the first step that failed."""
        opened = self.open(name, flags)
        if opened.kind != Kind.HANDLE:
            return opened.status
        written = self.ask(Kind.WRITE, text(opened.first), struct.pack(">Q", 0), text(data))
        self.ask(Kind.CLOSE, text(opened.first))
        return written.status


class Served:
    """Folders that are served here, over socket pairs."""

    def __init__(self) -> None:
        self.exports = Exports()
        self.host_key = new_key()[0]
        self.said: list[str] = []
        self._threads: list[threading.Thread] = []

    def share(self, folder: Path, **options: Any) -> Export:
        export = Export(ConfinedFolder(folder, **options), str(folder), new_key()[0])
        self.exports.add(export)
        return export

    def socket(self) -> socket.socket:
        """A connection to the server."""
        ours, theirs = socket.socketpair()
        thread = threading.Thread(
            target=serve, args=(theirs, self.exports, self.host_key, USER, self.said.append), daemon=True
        )
        self._threads.append(thread)
        thread.start()
        return ours

    @contextlib.contextmanager
    def transport(self) -> Iterator[paramiko.Transport]:
        """A connection that has greeted and not logged in."""
        transport = paramiko.Transport(self.socket())
        try:
            transport.start_client(timeout=20)
            yield transport
        finally:
            transport.close()
            transport.join(5)

    @contextlib.contextmanager
    def client(self, export: Export) -> Iterator[RawSftp]:
        """A client of one folder."""
        with self.transport() as transport:
            transport.auth_publickey(USER, export.key)
            channel = transport.open_session(timeout=20)
            channel.invoke_subsystem("sftp")
            yield RawSftp(channel)

    def close(self) -> None:
        self.exports.close()
        for thread in self._threads:
            thread.join(20)
        assert not any(thread.is_alive() for thread in self._threads)
