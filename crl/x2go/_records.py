"""The text that X2Go servers print about sessions, as values.

Every function here is total: any text gives a value, and what cannot be understood becomes None or is left out. The
formats are those of x2goserver 4.0 and 4.1; the module knows nothing of how the text came here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

__all__ = ["ResumeAnswer", "SessionRow", "StartAnswer", "number", "parse_resume", "parse_sessions", "parse_start"]

_LIST_FIELDS = 14
_NAME = re.compile(r"[^|\s]+-[0-9]{2,}-[0-9]{10,}_st[^|\s]*", re.ASCII)
_COOKIE = re.compile(r"[0-9a-f]{32}", re.ASCII)
_DIGITS = re.compile(r"[0-9]{1,10}", re.ASCII)


def number(text: str) -> int | None:
    """A number of at most ten digits, None for anything else; servers leave fields empty and write -1 for "off"."""
    return int(text) if _DIGITS.fullmatch(text) else None


@dataclass(frozen=True)
class SessionRow:
    """One line of ``x2golistsessions``; None where the server has not filled a number in yet."""

    agent_pid: int | None
    name: str
    display: int | None
    hostname: str
    status: str
    date_created: str
    cookie: str = field(repr=False)
    client: str
    graphics_port: int | None
    snd_port: int | None
    date_suspended: str
    username: str
    age: int | None
    sshfs_port: int | None
    tekictrl_port: int | None
    tekidata_port: int | None


def parse_sessions(text: str) -> tuple[SessionRow, ...]:
    """The sessions that ``x2golistsessions`` or ``x2golistshadowsessions`` printed; other lines are left out."""
    rows = (_parse_row(line) for line in text.splitlines())
    return tuple(row for row in rows if row is not None)


def _parse_row(line: str) -> SessionRow | None:
    parts = [part.strip() for part in line.split("|")]
    if len(parts) < _LIST_FIELDS or not _NAME.fullmatch(parts[1]):
        return None
    parts += ["-1"] * (16 - len(parts))
    return SessionRow(
        agent_pid=number(parts[0]),
        name=parts[1],
        display=number(parts[2]),
        hostname=parts[3],
        status=parts[4],
        date_created=parts[5],
        cookie=parts[6],
        client=parts[7],
        graphics_port=number(parts[8]),
        snd_port=number(parts[9]),
        date_suspended=parts[10],
        username=parts[11],
        age=number(parts[12]),
        sshfs_port=number(parts[13]),
        tekictrl_port=number(parts[14]),
        tekidata_port=number(parts[15]),
    )


@dataclass(frozen=True)
class StartAnswer:
    """What ``x2gostartagent`` prints of a session it has started."""

    display: int
    cookie: str = field(repr=False)
    agent_pid: int
    name: str
    graphics_port: int
    snd_port: int
    sshfs_port: int
    tekictrl_port: int | None = None
    tekidata_port: int | None = None


def parse_start(text: str) -> StartAnswer | None:
    """The answer of ``x2gostartagent``: the first seven lines in a row that fit; None when there is no such."""
    lines = [line.strip() for line in text.splitlines()]
    for start in range(len(lines) - 6):
        answer = _parse_start_lines(lines[start:])
        if answer is not None:
            return answer
    return None


def _parse_start_lines(lines: list[str]) -> StartAnswer | None:
    display, cookie, agent_pid, name, *ports = lines[:9]
    numbers = [number(text) for text in (display, agent_pid, *ports[:3])]
    if None in numbers or not _COOKIE.fullmatch(cookie) or not _NAME.fullmatch(name):
        return None
    shown, pid, graphics, sound, sshfs = (value or 0 for value in numbers)
    teki = [number(text) for text in ports[3:5]] + [None, None]
    return StartAnswer(shown, cookie, pid, name, graphics, sound, sshfs, teki[0], teki[1])


@dataclass(frozen=True)
class ResumeAnswer:
    """The ports that ``x2goresume-session`` prints; they can differ from those at the start."""

    graphics_port: int
    snd_port: int | None
    sshfs_port: int | None
    tekictrl_port: int | None = None
    tekidata_port: int | None = None


def parse_resume(text: str) -> ResumeAnswer | None:
    """The answer of ``x2goresume-session``; None when it names no graphics port."""
    values: dict[str, int | None] = {}
    for line in text.splitlines():
        key, _, value = line.strip().partition("=")
        values[key] = number(value)
    graphics = values.get("gr_port")
    if graphics is None:
        return None
    names = ("sound_port", "fs_port", "tekictrl_port", "tekidata_port")
    return ResumeAnswer(graphics, *(values.get(name) for name in names))
