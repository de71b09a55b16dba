"""What a session may say to the sound server of this machine: PulseAudio's native protocol, read as it comes.

`SoundGate` stands between one connection from the X2Go server and the sound server here. The session knows a cookie
that was made for it alone; the gate asks for it, puts the sound server's own in its place, and lets through what plays
sound. Whoever has a sound server's cookie could otherwise load modules into it, which write files, and listen to the
room. The module knows no sockets; it is total, and keeps no more than one small message.
"""

from __future__ import annotations

import hmac
import struct
from typing import Final

__all__ = ["COOKIE_LENGTH", "SoundGate", "SoundGateRefused", "auth_message", "auth_reply"]

COOKIE_LENGTH: Final = 256
MAX_MESSAGE: Final = 256 * 1024
MAX_PIECE: Final = 16 * 1024 * 1024
_CONTROL: Final = 0xFFFFFFFF
_HEADER: Final = struct.Struct(">5I")  # length, channel, two halves of an offset, flags
_MEMORY_FLAGS: Final = 0xFFFFFF00  # memory shared with the other end: there is none between two machines
_WORD: Final = struct.Struct(">cI")
_OPENING: Final = struct.Struct(">cIcIcI")  # command, tag, version
_VERSION_BITS: Final = 0x3FFFFFFF  # the others offer shared memory
_ERROR, _REPLY, _AUTH, _KILL_CLIENT = 0, 2, 8, 48
_NOBODY: Final = 0xFFFFFFFF

# The numbers of the commands: to play, to know of sinks and of what plays, and to set volumes.
_PLAYING: Final = frozenset(
    {3, 4, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 20, 21, 22, 23, 24, 29, 30, 33, 34, 35, 36, 37, 39, 41, 42, 43, 46}
    | {60, 69, 72, 74, 81, 82, 84, 85}
)
# To record, also what others play.
_RECORDING: Final = frozenset({5, 6, 31, 32, 38, 40, 47, 57, 58, 59, 73, 75, 80, 83, 98, 99})


class SoundGateRefused(OSError):
    """The connection is not a session's, or does what no sound program does; it has to end."""


class SoundGate:
    """One connection of a session.

    Args:
        session_cookie: What the session has to show.
        server_cookie: What the sound server wants to see.
        microphone: Whether the session may record.

    Attributes:
        admitted: Whether the session has shown its cookie.
        refused: How many commands were not passed on.
    """

    def __init__(self, session_cookie: bytes, server_cookie: bytes, *, microphone: bool = False) -> None:
        self._session_cookie = session_cookie
        self._server_cookie = server_cookie
        self._allowed = _PLAYING | _RECORDING if microphone else _PLAYING
        self._buffer = bytearray()
        self._samples = 0  # how many bytes of a piece of sound are still to come
        self.admitted = False
        self.refused = 0

    def feed(self, data: bytes) -> bytes:
        """Take what the session sent.

        Returns:
            What goes on to the sound server, perhaps nothing yet.

        Raises:
            SoundGateRefused: The connection has to end.
        """
        self._buffer += data
        passed = bytearray()
        while self._take(passed):
            pass
        return bytes(passed)

    def _take(self, passed: bytearray) -> bool:
        """Pass on the next piece, if it is there."""
        if self._samples:
            piece = self._buffer[: self._samples]
            del self._buffer[: len(piece)]
            self._samples -= len(piece)
            passed += piece
            return bool(piece)
        if len(self._buffer) < _HEADER.size:
            return False
        length, channel, _, _, flags = _HEADER.unpack_from(self._buffer)
        if channel == _CONTROL:
            return self._take_message(length, flags, passed)
        if not self.admitted or flags & _MEMORY_FLAGS or length > MAX_PIECE:
            raise SoundGateRefused("what came from the session is no sound of it")
        passed += self._buffer[: _HEADER.size]
        del self._buffer[: _HEADER.size]
        self._samples = length
        return True

    def _take_message(self, length: int, flags: int, passed: bytearray) -> bool:
        if flags or not 2 * _WORD.size <= length <= MAX_MESSAGE:
            raise SoundGateRefused("what came from the session is no message of a sound program")
        end = _HEADER.size + length
        if len(self._buffer) < end:
            return False
        message = bytes(self._buffer[_HEADER.size : end])
        del self._buffer[:end]
        kind, command, kind_of_tag, tag = struct.unpack_from(">cIcI", message)
        if (kind, kind_of_tag) != (b"L", b"L"):
            raise SoundGateRefused("what came from the session is no command of a sound program")
        if not self.admitted:
            passed += self._admit(command, message)
        elif command in self._allowed:
            passed += _framed(message)
        else:
            self.refused += 1
            # The sound server itself says no: there is no such client to be ended.
            passed += _framed(_words(_KILL_CLIENT, tag, _NOBODY))
        return True

    def _admit(self, command: int, message: bytes) -> bytes:
        """See that the first message shows the session's cookie; the one that goes on shows the sound server's."""
        if command != _AUTH or len(message) != _OPENING.size + _WORD.size + COOKIE_LENGTH:
            raise SoundGateRefused("somebody connected who does not begin as a sound program does")
        *_, tag, kind, version = _OPENING.unpack_from(message)[2:]
        if kind != b"L" or not hmac.compare_digest(message[-COOKIE_LENGTH:], self._session_cookie):
            raise SoundGateRefused("somebody connected who does not know the session's cookie")
        self.admitted = True
        return auth_message(self._server_cookie, version & _VERSION_BITS, tag)


def _words(*numbers: int) -> bytes:
    return b"".join(_WORD.pack(b"L", number) for number in numbers)


def _framed(message: bytes) -> bytes:
    return _HEADER.pack(len(message), _CONTROL, 0, 0, 0) + message


def auth_message(cookie: bytes, version: int = 32, tag: int = 0) -> bytes:
    """The first message of every connection to a sound server.

    Args:
        cookie: What the sound server knows its users by.
        version: Of the protocol.
        tag: What the answer carries.
    """
    return _framed(_words(_AUTH, tag, version) + struct.pack(">cI", b"x", COOKIE_LENGTH) + cookie)


def auth_reply(data: bytes) -> bool | None:
    """Whether a sound server lets us in, by the beginning of its answer; None when more has to come.

    Raises:
        SoundGateRefused: No sound server answers like that.
    """
    if len(data) < _HEADER.size + _WORD.size:
        return None
    _, channel, *_ = _HEADER.unpack_from(data)
    kind, command = _WORD.unpack_from(data, _HEADER.size)
    if channel != _CONTROL or kind != b"L" or command not in (_ERROR, _REPLY):
        raise SoundGateRefused("what answers is no sound server")
    return bool(command == _REPLY)
