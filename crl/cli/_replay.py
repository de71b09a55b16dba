"""``crl replay``: what went over a terminal, once more.

It knows recordings and no host. What a host has sent is shown so that it can do nothing to the terminal that shows it,
unless ``--raw`` asks for every byte as it was.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Annotated, Any

import cyclopts
from cyclopts import Parameter

from crl.cli._output import DONE, print_json
from crl.errors import UsageError
from crl.interactivesessions.recording import RECEIVED, SENT, Event, Recording, Visible, play

app = cyclopts.App(name="replay", help="Play a recording of a terminal.")


@app.default
def replay(
    file: Path,
    /,
    *,
    speed: float | None = None,
    pause: float = 2.0,
    sent: bool = False,
    raw: bool = False,
    json: Annotated[bool, Parameter(negative=())] = False,
) -> int:
    """Play what came over a terminal; ``CRL_RECORDINGS=FOLDER`` makes recordings, one for each terminal.

    Args:
        file: The recording.
        speed: How many times as fast; 0 is all at once, which is also meant where nobody looks.
        pause: No pause is longer, in seconds.
        sent: Show what was sent, too, and the notes.
        raw: Every byte as it came, which can do to your terminal whatever the host wanted.
        json: Print header and events as one JSON value.
    """
    try:
        recording = Recording.read(file)
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror}", doing="crl replay") from error
    if json:
        print_json({"header": dict(recording.header), "cut": recording.cut, "events": _plain(recording)})
        return DONE
    speed = speed if speed is not None else float(sys.stdout.isatty())
    show = _Raw() if raw else _Safe(sent=sent)
    play(recording.events, show.show, wait=time.sleep, speed=speed, longest_pause=pause)
    show.end(cut=recording.cut)
    return DONE


def _plain(recording: Recording) -> list[list[Any]]:
    return [[event.seconds, event.kind, event.data.decode("utf-8", "backslashreplace")] for event in recording.events]


class _Raw:
    """Writes what came, byte for byte."""

    def show(self, event: Event) -> None:
        if event.kind == RECEIVED:
            sys.stdout.buffer.write(event.data)
            sys.stdout.buffer.flush()

    def end(self, *, cut: bool) -> None:
        """There is nothing to add: a word of ours would be a byte more."""


class _Safe:
    """Writes text that does nothing but be read."""

    def __init__(self, *, sent: bool) -> None:
        self._sent = sent
        self._visible = Visible()

    def show(self, event: Event) -> None:
        if event.kind == RECEIVED:
            self._write(self._visible.feed(event.data))
        elif self._sent:
            text = Visible().feed(event.data, final=True).rstrip("\n")
            self._write(f"<< {text}\n" if event.kind == SENT else f"-- {text}\n")

    def end(self, *, cut: bool) -> None:
        self._write(self._visible.feed(b"", final=True))
        if cut:
            self._write("\n-- the recording ends here, in the middle of a line\n")

    @staticmethod
    def _write(text: str) -> None:
        sys.stdout.write(text.encode(sys.stdout.encoding or "utf-8", "backslashreplace").decode(sys.stdout.encoding))
        sys.stdout.flush()
