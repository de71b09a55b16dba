"""Recordings of terminals: what went over one, both ways, with times, and how it is read and played again.

A file is an asciicast of version 2: one JSON value a line, a header, then ``[seconds, kind, text]``, so that other
players show it too. It knows secrets and files, and no terminal. Writing takes known secrets out, also where they come
in pieces; reading is total: any file gives a recording or one clear error.
"""

from __future__ import annotations

import codecs
import itertools
import json
import os
import platform
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from crl.errors import UsageError
from crl.secrets import redact, unfinished_secret

__all__ = ["FOLDER_VARIABLE", "Event", "Logs", "Recorder", "Recording", "RecordingError", "Visible", "play"]

FOLDER_VARIABLE: Final = "CRL_RECORDINGS"
RECEIVED, SENT, NOTE = "o", "i", "m"
_KINDS: Final = frozenset({RECEIVED, SENT, NOTE})
_ESCAPES: Final = "surrogateescape"
_numbers = itertools.count(1)


class RecordingError(UsageError):
    """A file is no recording."""


class Recorder:
    """Writes what goes over one terminal into a file of its own.

    Args:
        folder: Where the file is made, for its owner only.
        name: What the terminal is, for the file's name and its header.
        columns: The terminal's width.
        rows: The terminal's height.

    Attributes:
        path: The file.
        received: A file-like object that takes what comes, as bytes.
        sent: The same for what is sent.
    """

    def __init__(self, folder: str | os.PathLike[str], name: str, *, columns: int = 80, rows: int = 24) -> None:
        place = Path(folder).expanduser()
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        plain = "".join(char if char.isascii() and char.isalnum() else "-" for char in name).strip("-")[:60]
        stamp = f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}-{next(_numbers)}"
        self.path = place / f"{stamp}-{plain or 'terminal'}.cast"
        self._lock = threading.Lock()
        self._file = os.fdopen(os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii")
        self._began = time.monotonic()
        self.received, self.sent = _Direction(self, RECEIVED), _Direction(self, SENT)
        self._open = {RECEIVED, SENT}
        self._write({"version": 2, "width": columns, "height": rows, "timestamp": int(time.time()),
                     "title": redact(name), "crl": _versions()})  # fmt: skip

    def note(self, text: str) -> None:
        """Write down that something happened."""
        self._event(NOTE, redact(text))

    def _event(self, kind: str, text: str) -> None:
        if text:
            self._write([round(time.monotonic() - self._began, 6), kind, text])

    def _write(self, value: Any) -> None:
        with self._lock:
            if not self._file.closed:
                self._file.write(json.dumps(value) + "\n")
                self._file.flush()

    def _closed(self, kind: str) -> None:
        with self._lock:
            self._open.discard(kind)
            if not self._open:
                self._file.close()


class _Direction:
    """One way of a recorder, as a binary file that is written to."""

    def __init__(self, recorder: Recorder, kind: str) -> None:
        self._recorder, self._kind = recorder, kind
        self._decoder = codecs.getincrementaldecoder("utf-8")(_ESCAPES)
        self._held = ""

    def write(self, data: bytes) -> int:
        """Take bytes; the end is held back as long as it may be the beginning of a secret."""
        self._take(self._decoder.decode(data))
        return len(data)

    def _take(self, text: str, *, final: bool = False) -> None:
        seen = redact(self._held + text)
        held = 0 if final else unfinished_secret(seen)
        self._held = seen[len(seen) - held :]
        self._recorder._event(self._kind, seen[: len(seen) - held])  # noqa: SLF001 - a part of it

    def flush(self) -> None:
        """Everything is written at once."""

    def close(self) -> None:
        """Nothing more comes this way; again is harmless."""
        self._take(self._decoder.decode(b"", final=True), final=True)
        self._recorder._closed(self._kind)  # noqa: SLF001


class Logs:
    """Several binary files that are written to as one."""

    def __init__(self, logs: Sequence[Any]) -> None:
        self._logs = tuple(logs)

    def write(self, data: bytes) -> None:
        """Write to all."""
        for log in self._logs:
            log.write(data)

    def flush(self) -> None:
        """Flush all."""
        for log in self._logs:
            log.flush()

    def close(self) -> None:
        """Close all; again is harmless."""
        for log in self._logs:
            log.close()


def _versions() -> dict[str, str]:
    """What this end is."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        ours = version("crl")
    except PackageNotFoundError:  # a plain tree
        ours = "unknown"
    return {"version": ours, "python": platform.python_version(), "system": sys.platform}


@dataclass(frozen=True)
class Event:
    """One thing that went over a terminal.

    Attributes:
        seconds: When, since the beginning.
        kind: ``o`` came, ``i`` was sent, ``m`` is a note.
        data: The bytes.
    """

    seconds: float
    kind: str
    data: bytes


@dataclass(frozen=True)
class Recording:
    """What a file of a `Recorder` holds.

    Attributes:
        header: Its first line: size, time, title, and under ``crl`` the versions of the end that recorded.
        events: What went over the terminal, in order.
        cut: Whether the file ends in the middle of a line, as that of a killed process may.
    """

    header: Mapping[str, Any]
    events: tuple[Event, ...] = field(repr=False)
    cut: bool = False

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Recording:
        """Read a file.

        Raises:
            RecordingError: It is no recording; the text names the line.
            OSError: It cannot be read.
        """
        return cls.parse(Path(path).read_bytes(), os.fspath(path))

    @classmethod
    def parse(cls, data: bytes, name: str = "the recording") -> Recording:
        """Take a recording apart; see `read`."""
        lines = data.split(b"\n")
        cut = bool(lines.pop())
        if not lines:
            raise RecordingError(f"{name} is no recording: it has no header", doing="reading a recording")
        header = _value(lines[0], name, 1)
        if not isinstance(header, dict) or header.get("version") != 2:
            raise RecordingError(f"{name} is no recording: its first line is no header", doing="reading a recording")
        events = tuple(_event(line, name, number) for number, line in enumerate(lines[1:], 2) if line.strip())
        return cls(header, events, cut)

    def bytes_of(self, kind: str) -> bytes:
        """All that came (``o``), or all that was sent (``i``)."""
        return b"".join(event.data for event in self.events if event.kind == kind)


def _value(line: bytes, name: str, number: int) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as error:
        raise RecordingError(f"{name}, line {number}: {error}", doing="reading a recording") from error


def _event(line: bytes, name: str, number: int) -> Event:
    found = _value(line, name, number)
    try:
        seconds, kind, text = found
        if kind in _KINDS and isinstance(seconds, int | float) and 0 <= seconds < float("inf"):
            return Event(float(seconds), kind, text.encode("utf-8", _ESCAPES))
    except (TypeError, ValueError, AttributeError, OverflowError):  # of these, UnicodeEncodeError is a ValueError
        pass
    raise RecordingError(f"{name}, line {number}: this is no event", doing="reading a recording")


def play(
    events: Iterable[Event],
    show: Callable[[Event], object],
    *,
    wait: Callable[[float], object],
    speed: float = 1.0,
    longest_pause: float = 2.0,
) -> None:
    """Show events in their time.

    Args:
        events: What to show.
        show: Gets each of them.
        wait: Called with the seconds until the next.
        speed: How many times as fast; 0 does not wait at all.
        longest_pause: No pause is longer, in seconds.
    """
    before = 0.0
    for event in events:
        if speed > 0 and event.seconds > before:
            wait(min((event.seconds - before) / speed, longest_pause))
        before = max(before, event.seconds)
        show(event)


class Visible:
    """Makes what a host has sent harmless for the terminal that shows it: lines stay, control characters are shown.

    Feeding the parts of a text gives what feeding the whole text gives.
    """

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace")
        self._had_return = False

    def feed(self, data: bytes, *, final: bool = False) -> str:
        """The text for the next bytes."""
        return "".join(self._shown(self._decoder.decode(data, final), final=final))

    def _shown(self, text: str, *, final: bool) -> Iterator[str]:
        for char in text:
            if self._had_return and char != "\n":
                yield "^M"
            self._had_return = char == "\r"
            if char in "\n\t":
                yield char
            elif char != "\r":
                yield _visible(char)
        if final and self._had_return:
            yield "^M"
            self._had_return = False


def _visible(char: str) -> str:
    code = ord(char)
    if code < 0x20 or code == 0x7F:
        return f"^{chr(code ^ 0x40)}"
    return char if char.isprintable() else ascii(char)[1:-1]
