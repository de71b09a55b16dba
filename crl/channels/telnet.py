"""A telnet connection as a channel: a small client of our own, in this process.

It negotiates what a shell needs (binary both ways, no line mode, the terminal's size and type) and refuses the rest.
The protocol stands in `TelnetStream`, without input or output, which is total: a server cannot make it fail, wait or
keep more than a few bytes.
"""

from __future__ import annotations

import os
import socket
import threading

from crl.channels._descriptor import close_patience
from crl.channels.base import ChannelClosed, ChannelStartError
from crl.errors import UsageError

__all__ = ["TelnetChannel", "TelnetStream"]

IAC, DONT, DO, WONT, WILL, SB, SE = 255, 254, 253, 252, 251, 250, 240
BINARY, ECHO, SGA, TTYPE, NAWS = 0, 1, 3, 24, 31
_OURS = frozenset({BINARY, SGA, TTYPE, NAWS})
_THEIRS = frozenset({BINARY, ECHO, SGA})
_LONGEST_SUBNEGOTIATION = 512


class TelnetStream:
    """Both directions of the telnet protocol.

    Args:
        columns: Width of the terminal in characters.
        rows: Height of the terminal in characters.

    Attributes:
        replies: What has to be sent to the server, in order; its owner takes it.
    """

    def __init__(self, columns: int = 80, rows: int = 24) -> None:
        self.replies = bytearray()
        self._size = (columns, rows)
        self._ours: set[int] = set()
        self._theirs: set[int] = set()
        self._refused: set[tuple[int, int]] = set()
        self._command = bytearray()
        self._after_cr = False
        for option in (BINARY, SGA, NAWS):
            self.replies += bytes((IAC, WILL, option))
        for option in (BINARY, SGA):
            self.replies += bytes((IAC, DO, option))

    @property
    def binary(self) -> bool:
        """Whether both sides have agreed to carry every byte."""
        return BINARY in self._ours and BINARY in self._theirs

    def encode(self, data: bytes) -> bytes:
        """Bytes for the connection."""
        data = data.replace(b"\xff", b"\xff\xff")
        return data if BINARY in self._ours else data.replace(b"\r", b"\r\0")

    def feed(self, data: bytes) -> bytes:
        """Bytes of the terminal, out of bytes that came over the connection, cut anywhere."""
        text = bytearray()
        position = 0
        while position < len(data):
            if self._command:
                position += self._take_command(data[position], text)
                continue
            end = data.find(IAC, position)
            end = len(data) if end < 0 else end
            text += self._plain(data[position:end])
            position = end
            if end < len(data):
                self._command.append(IAC)
                position += 1
        return bytes(text)

    def _plain(self, data: bytes) -> bytes:
        if BINARY in self._theirs or not data:
            return data
        if self._after_cr and data.startswith(b"\0"):
            data = data[1:]
        self._after_cr = data.endswith(b"\r")
        return data.replace(b"\r\0", b"\r")

    def _take_command(self, byte: int, text: bytearray) -> int:
        """The next byte of a command; always one."""
        command = self._command
        command.append(byte)
        if len(command) == 2 and byte in (WILL, WONT, DO, DONT, SB):
            return 1
        if command[1] == SB:
            if command[-2:] == bytes((IAC, SE)) and len(command) > 3:
                self._subnegotiated(bytes(command[2:-2]))
            elif len(command) < _LONGEST_SUBNEGOTIATION:
                return 1
        elif len(command) == 3:
            self._negotiate(command[1], byte)
        elif byte == IAC:
            text.append(IAC)
            self._after_cr = False
        command.clear()
        return 1

    def _negotiate(self, verb: int, option: int) -> None:
        ours = verb in (DO, DONT)
        state, wanted = (self._ours, _OURS) if ours else (self._theirs, _THEIRS)
        if verb in (DONT, WONT):
            if option in state:
                state.discard(option)
                self._say(WONT if ours else DONT, option)
        elif option in wanted:
            if option not in state:
                state.add(option)
                self._say(WILL if ours else DO, option)
                if option == NAWS:
                    self._say_size()
        elif (verb, option) not in self._refused:
            # Once: two that answer each other's answers never end.
            self._refused.add((verb, option))
            self._say(WONT if ours else DONT, option)

    def _say(self, verb: int, option: int) -> None:
        self.replies += bytes((IAC, verb, option))

    def _subnegotiated(self, body: bytes) -> None:
        if body[:2] == bytes((TTYPE, 1)):
            self.replies += bytes((IAC, SB, TTYPE, 0)) + b"DUMB" + bytes((IAC, SE))

    def resize(self, columns: int, rows: int) -> None:
        """Tell the server the terminal's size, when it wants to know."""
        self._size = (columns, rows)
        if NAWS in self._ours:
            self._say_size()

    def _say_size(self) -> None:
        columns, rows = self._size
        size = (columns.to_bytes(2, "big") + rows.to_bytes(2, "big")).replace(b"\xff", b"\xff\xff")
        self.replies += bytes((IAC, SB, NAWS)) + size + bytes((IAC, SE))


class TelnetChannel:
    """A terminal of another host, by telnet.

    Telnet encrypts nothing and proves nothing: whoever is on the way can read and change all of it.

    Args:
        host: Name or address.
        port: TCP port.
        timeout: Seconds until the connection must stand.
        columns: Width of the terminal in characters.
        rows: Height of the terminal in characters.

    Raises:
        ChannelStartError: There is no connection.
    """

    def __init__(
        self, host: str, port: int = 23, *, timeout: float = 15.0, columns: int = 80, rows: int = 24
    ) -> None:
        self._name = f"telnet {host} {port}"
        try:
            self._socket = socket.create_connection((host, port), timeout)
        except (OSError, UnicodeError) as error:
            # The latter is of a name that can be none, with a part that is empty or too long.
            raise ChannelStartError(
                f"no connection to port {port}: {getattr(error, 'strerror', None) or error}",
                host=host,
                doing="connecting by telnet",
                advice="see whether a telnet server listens there",
            ) from error
        self._socket.settimeout(0)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._stream = TelnetStream(columns, rows)
        self._unsent = bytearray()
        self._owed = False
        # Reading answers negotiations, beside whoever writes; and who closes waits for both.
        self._owner = os.getpid()
        self._reading = threading.RLock()
        self._sending = threading.RLock()
        self._push()

    @property
    def name(self) -> str:
        """What this channel is connected to."""
        return self._name

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._socket.fileno() < 0

    @property
    def binary(self) -> bool:
        """Whether both sides have agreed to carry every byte."""
        return self._stream.binary

    def fileno(self) -> int:
        """The descriptor to poll.

        Raises:
            ChannelClosed: The channel was closed.
        """
        if self.closed:
            raise ChannelClosed(f"{self._name} is closed")
        return self._socket.fileno()

    def read(self, size: int = 65536) -> bytes:
        """Read what is there; ``b""`` is the end.

        Raises:
            BlockingIOError: Nothing is there yet.
            ChannelClosed: The channel was closed.
        """
        with self._reading:
            self.fileno()
            try:
                data = self._socket.recv(size)
            except (ConnectionError, TimeoutError):
                return b""
        if not data:
            return b""
        text = self._stream.feed(data)
        if self._stream.replies:
            self._push()
        if not text:
            raise BlockingIOError
        return text

    def write(self, data: bytes | memoryview) -> int:
        """Write what is taken now; the last byte counts as taken when all before it has gone.

        Raises:
            BrokenPipeError: The server has ended.
            ChannelClosed: The channel was closed.
        """
        self.fileno()
        if not data:
            return 0
        if not self._push(strict=True):
            return 0
        if self._owed and len(data) == 1:
            self._owed = False
            return 1
        with self._sending:
            self._unsent += self._stream.encode(bytes(data))
        self._owed = not self._push(strict=True)
        return len(data) - 1 if self._owed else len(data)

    def _push(self, *, strict: bool = False) -> bool:
        """Send what waits; whether all has gone."""
        with self._sending:
            if self.closed:
                if strict:
                    self.fileno()
                return False
            # Never into the middle of a doubled byte: behind what waits already.
            self._unsent += self._stream.replies
            self._stream.replies.clear()
            while self._unsent:
                try:
                    count = self._socket.send(self._unsent)
                except BlockingIOError:
                    return False
                except (ConnectionError, TimeoutError) as error:
                    if strict:
                        raise BrokenPipeError(f"{self._name} has ended") from error
                    return False
                del self._unsent[:count]
        return True

    def resize(self, columns: int, rows: int) -> None:
        """Tell the server the terminal's size.

        Raises:
            ChannelClosed: The channel was closed.
            UsageError: The size is impossible.
        """
        self.fileno()
        if not (0 <= columns <= 0xFFFF and 0 <= rows <= 0xFFFF):
            raise UsageError(f"a terminal cannot have {columns} columns and {rows} rows")
        self._stream.resize(columns, rows)
        self._push()

    def close(self) -> None:
        """End the connection; again is harmless."""
        patience = close_patience(self._owner)
        held = [lock for lock in (self._reading, self._sending) if lock.acquire(timeout=patience)]
        try:
            self._socket.close()
        finally:
            for lock in held:
                lock.release()
