"""Armour: carries the bytes of frames over lanes that do not carry every byte, and tells whose they are.

A lane that swallows a few bytes gets them escaped; one that is sure of printable text only gets short lines of base64.
What goes toward the target looks different from what comes from it, so that an echo is never taken for the peer. Both
decoders are total and linear: what is no armour passes as it is, for the frames' decoder to skip and for error texts.
"""
# ruff: noqa: F401 - names in type comments look unused.

import binascii
import re

MYPY = False
if MYPY:
    from typing import Any

ESCAPES = "escapes"
LINES = "lines"
# What a line may be long; longer ones would only make more noise of a damaged byte.
LEAST_COLUMNS = 8
MOST_COLUMNS = 512
MOST_FORBIDDEN = 32
XON_XOFF = b"\x11\x13"
# Lines put these in by themselves; where frames may not have them, they are not ours.
INSERTED = b"\x00" + XON_XOFF
# Neither stands in text of UTF-8, so that text which passes stays readable; the first that is allowed is taken.
LEADS = bytearray((0xFE, 0xF8, 0xFB, 0xFA, 0xF5, 0xC0, 0xC1, 0xF7))
# Any bytes that no line is known to treat in a special way.
STANDS_FOR = bytearray(range(0xA1, 0xF0))
TOWARD_TARGET_MASK = 0x55
TOWARD_TARGET = b"{"
FROM_TARGET = b"}"
LAST = b"."
LINE_END = b"\r\n\0"
# A line up to its last byte: lanes put line ends anywhere into it, and echoes.
LINE = b"%s([A-Za-z0-9+/=\r\n\\0]*)[.][\r\n\\0]*"
BEGUN = re.compile(b"[A-Za-z0-9+/=\r\n\\0]*\\Z")
BASE64 = re.compile(b"(?=.)(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?\\Z")
# Of a peer's line and an echo in its middle.
MOST_HELD = 4 * MOST_COLUMNS


def make(text, toward_target):
    # type: (str, bool) -> Any
    """One end's armour for one terminal.

    Args:
        text: ``escapes:`` and the forbidden bytes in hexadecimal, or ``lines:`` and the columns; ``""`` is none.
        toward_target: Whether this end sends toward the target.

    Returns:
        `Escapes` or `Lines`; None for a lane that needs neither.

    Raises:
        ValueError: There is no such armour.
    """
    if not text:
        return None
    kind, _, detail = text.partition(":")
    if kind == ESCAPES:
        return Escapes(binascii.unhexlify(detail.encode("ascii")), toward_target)
    if kind == LINES:
        return Lines(int(detail), toward_target)
    raise ValueError("no armour is called %r" % kind)


class Escapes(object):
    """Bytes that the lane does not carry are sent as two others.

    It costs as many bytes as are forbidden; of random data, with n forbidden ones, (n + 1) of 256.

    Args:
        forbidden: The bytes.
        toward_target: Whether this end sends toward the target.

    Raises:
        ValueError: They are too many.
    """

    def __init__(self, forbidden, toward_target):
        # type: (bytes, bool) -> None
        banned = sorted(set(bytearray(forbidden)))
        leads = [byte for byte in LEADS if byte not in banned]
        allowed = [byte for byte in STANDS_FOR if byte not in banned and byte not in leads[:1]]
        if len(banned) > MOST_FORBIDDEN or not leads or len(allowed) <= len(banned):
            raise ValueError("%d bytes are forbidden, which is too many to escape" % len(banned))
        self._lead = _byte(leads[0])
        # The lead itself comes last in decoding, and first in encoding, so that none of them meets another's.
        self._pairs = [
            (_byte(byte), self._lead + _byte(other))
            for byte, other in zip(leads[:1] + banned, allowed)  # noqa: B905 - Python 2 knows no strict
        ]
        self._inserted = b"".join(_byte(byte) for byte in bytearray(INSERTED) if byte in banned)
        mask = b"".join(_byte(byte ^ TOWARD_TARGET_MASK) for byte in range(256))
        self._masks = (mask, None) if toward_target else (None, mask)
        self._held = b""

    def encode(self, data):
        # type: (bytes) -> bytes
        """Bytes for the lane."""
        if self._masks[0] is not None:
            data = data.translate(self._masks[0])
        for byte, pair in self._pairs:
            data = data.replace(byte, pair)
        return data

    def decode(self, data):
        # type: (bytes) -> bytes
        """Bytes that came over the lane, cut anywhere; gives all that are sure."""
        if self._inserted:
            data = data.translate(None, self._inserted)
        data = self._held + data
        self._held = b""
        if data.endswith(self._lead):
            data, self._held = data[:-1], self._lead
        for byte, pair in reversed(self._pairs):
            data = data.replace(pair, byte)
        return data if self._masks[1] is None else data.translate(self._masks[1])

    def rest(self):
        # type: () -> bytes
        """What is held back, at the end of the lane."""
        held, self._held = self._held, b""
        return held


class Lines(object):
    """Everything goes as lines of base64, each behind a mark that says where it goes; nothing else has the mark.

    It costs a third, and three bytes for each line. A line ends with a byte of its own, so that it does not matter when
    a lane breaks it, or puts the echo of a whole line of the other direction into its middle.

    Args:
        columns: The longest line, without its end.
        toward_target: Whether this end sends toward the target.

    Raises:
        ValueError: Lines cannot be that long or that short.
    """

    def __init__(self, columns, toward_target):
        # type: (int, bool) -> None
        if not LEAST_COLUMNS <= columns <= MOST_COLUMNS:
            raise ValueError("lines of %d columns" % columns)
        self._size = (columns - 2) // 4 * 3
        self._mark, self._peers = (TOWARD_TARGET, FROM_TARGET) if toward_target else (FROM_TARGET, TOWARD_TARGET)
        self._line, self._echo = [
            re.compile(LINE.replace(b"%s", re.escape(mark))) for mark in (self._peers, self._mark)
        ]
        self._held = b""
        self._after_line = False

    def encode(self, data):
        # type: (bytes) -> bytes
        """Lines for the lane."""
        size = self._size
        pieces = [data[start : start + size] for start in range(0, len(data), size)]
        return b"".join([self._mark + binascii.b2a_base64(piece)[:-1] + LAST + b"\n" for piece in pieces])

    def decode(self, data):
        # type: (bytes) -> bytes
        """Bytes that came over the lane, cut anywhere; echoes of our own are dropped, text passes as it is."""
        data = self._held + data.translate(None, XON_XOFF)
        if self._after_line:
            # The line end may be another here, and come in two reads.
            data = data.lstrip(LINE_END)
        data, echoes = self._echo.subn(b"", data)
        found = []  # type: list[bytes]
        position = 0
        for match in self._line.finditer(data):
            if match.start() > position:
                found.append(data[position : match.start()])
            text = match.group(1).translate(None, LINE_END)
            # One that was torn is noise like any other.
            found.append(binascii.a2b_base64(text) if BASE64.match(text) else match.group())
            position = match.end()
        if data or echoes:
            self._after_line = position == len(data)
        self._held = self._beginning(data, position)
        if len(self._held) < len(data) - position:
            found.append(data[position : len(data) - len(self._held)])
        return b"".join(found)

    def _beginning(self, data, position):
        # type: (bytes, int) -> bytes
        """What may be the beginning of a line, at the end of the data, or of an echo in the middle of one."""
        start, echo = data.rfind(self._peers, position), data.rfind(self._mark, position)
        if echo > start and not (start >= 0 and BEGUN.match(data, start + 1, echo)):
            start = echo
        if start < 0 or len(data) - start > MOST_HELD or not BEGUN.match(data, max(start, echo) + 1):
            return b""
        return data[start:]

    def rest(self):
        # type: () -> bytes
        """What is held back, at the end of the lane."""
        held, self._held = self._held, b""
        return held


def _byte(number):
    # type: (int) -> bytes
    return bytes(bytearray((number,)))
