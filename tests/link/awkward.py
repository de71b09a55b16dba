"""A line that does not carry every byte: it joins its standard input and output to a shell on a terminal of its own.

Run as `python awkward.py [eat=HEX] [strip] [rate=N] [crlf] [cr] [break=COLUMNS] [echo] [damage=N] [run=SCRIPT]`; it is
what telnet, serial lines and consoles do to bytes, in both directions.
"""

from __future__ import annotations

import os
import pty
import re
import select
import sys
import time

SEVEN_BITS = bytes(byte & 0x7F for byte in range(256))


class Line:
    """What happens to bytes in one direction.

    Args:
        settings: The words of the command line.
    """

    def __init__(self, settings: dict[str, str]) -> None:
        self._eaten = bytes.fromhex(settings.get("eat", ""))
        self._strip = "strip" in settings
        self._line_end = b"\r\n" if "crlf" in settings else b"\r" if "cr" in settings else b"\n"
        self._break = int(settings.get("break", 0))
        self._rate = int(settings.get("rate", 0))
        self._damage = int(settings.get("damage", 0))
        self._column = self._count = 0

    def carry(self, data: bytes) -> bytes:
        """What comes out; takes as long as the rate says."""
        data = data.translate(None, self._eaten)
        if self._strip:
            data = data.translate(SEVEN_BITS)
        if self._damage:
            data = bytes(self._damaged(byte) for byte in data)
        if self._break:
            data = b"".join(self._broken(text) for text in re.findall(rb"[\r\n]+|[^\r\n]+", data))
        return data.replace(b"\n", self._line_end)

    def _damaged(self, byte: int) -> int:
        self._count += 1
        return byte ^ 1 if self._count % self._damage == 0 else byte

    def _broken(self, text: bytes) -> bytes:
        if text[0] in b"\r\n":
            self._column = 0
            return text
        pieces = []
        while self._column + len(text) > self._break:
            room = self._break - self._column
            pieces.append(text[:room] + b"\n")
            text = text[room:]
            self._column = 0
        self._column += len(text)
        return b"".join([*pieces, text])

    def take_turn(self, size: int) -> None:
        """Wait until the bytes are through."""
        if self._rate:
            time.sleep(size / self._rate)

    @property
    def portion(self) -> int:
        """How much is read at a time: a slow line has no room to store."""
        return max(1, self._rate // 20) if self._rate else 65536


def main() -> None:
    """Carry until one side ends."""
    settings = dict(word.partition("=")[::2] for word in sys.argv[1:])
    pid, master = pty.fork()
    if pid == 0:
        os.execv("/bin/sh", ["sh", *([settings["run"]] if "run" in settings else [])])
    toward, back = Line(settings), Line(settings)
    poller = select.poll()
    for descriptor in (0, master):
        poller.register(descriptor, select.POLLIN)
    while True:
        for descriptor, _ in poller.poll():
            line, to = (toward, master) if descriptor == 0 else (back, 1)
            try:
                data = os.read(descriptor, line.portion)
            except OSError:
                data = b""
            if not data:
                return
            line.take_turn(len(data))
            if descriptor == 0 and "echo" in settings:
                _write(1, back.carry(data))
            _write(to, line.carry(data))


def _write(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


if __name__ == "__main__":
    main()
