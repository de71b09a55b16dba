"""A configuration file as its lines: sections and keys can be read and changed, and everything else stays as it is.

Comments, order, blank lines, unknown sections and keys, line endings and the spelling of values that nobody touched
survive every change, byte by byte. The document takes any text (what is no key stands there and means nothing); it
knows neither files nor what values mean.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = ["Entry", "IniDocument"]

GENERAL = "General"  # where Qt puts keys that stand before any section
_SECTION = re.compile(r"\s*\[(?P<name>[^\]]*)\]")
_KEY = re.compile(r"\s*(?P<key>[^=:\s#;\[][^=:]*?)(?P<before>[ \t]*)[=:](?P<after>[ \t]*)(?P<value>.*?)\s*", re.DOTALL)


@dataclass(frozen=True)
class Entry:
    """One key of a section.

    Attributes:
        raw: What stands behind the equals sign.
        plain: There are blanks around the equals sign, as python-x2go writes it and Qt never does.
        line: Number of the line, from 0.
    """

    raw: str
    plain: bool
    line: int


class IniDocument:
    """The lines of one file.

    Args:
        text: Content of the file.
    """

    def __init__(self, text: str = "") -> None:
        self._newline = "\r\n" if "\r\n" in text else "\n"
        self._lines = text.split("\n")
        self._read()

    @property
    def text(self) -> str:
        """The content of the file."""
        return "\n".join(self._lines)

    def _read(self) -> None:
        """Find all sections and keys; of a key that stands twice the last one counts, as for Qt."""
        self._keys: dict[str, dict[str, Entry]] = {}
        self._ends: dict[str, int] = {}
        section = GENERAL
        for number, line in enumerate(self._lines):
            header = _SECTION.match(line)
            if header:
                section = header["name"].strip()
                self._keys.setdefault(section, {})
                self._ends[section] = number
                continue
            found = _KEY.fullmatch(line)
            if found:
                entry = Entry(found["value"], bool(found["before"] or found["after"]), number)
                self._keys.setdefault(section, {})[found["key"]] = entry
                self._ends[section] = number

    def sections(self) -> list[str]:
        """The names of the sections in their order."""
        return list(self._keys)

    def keys(self, section: str) -> list[str]:
        """The keys of a section in their order; none when there is no such section."""
        return list(self._keys.get(section, ()))

    def entry(self, section: str, key: str) -> Entry | None:
        """One key; None when it is not there."""
        return self._keys.get(section, {}).get(key)

    def put(self, section: str, key: str, raw: str) -> None:
        """Give a key a value; a new one comes behind the last of its section, a new section to the end."""
        entry = self.entry(section, key)
        if entry is not None:
            kept_blanks = entry.plain and not any(mark in raw for mark in '"\\@')
            ending = "\r" if self._lines[entry.line].endswith("\r") else ""
            self._lines[entry.line] = f"{key} = {raw}{ending}" if kept_blanks else f"{key}={raw}{ending}"
        elif section in self._ends:
            self._insert(self._ends[section] + 1, [f"{key}={raw}"])
        else:
            self._append([f"[{section}]", f"{key}={raw}"])
        self._read()

    def add_section(self, section: str) -> None:
        """Make sure there is a section of that name."""
        if section not in self._keys:
            self._append([f"[{section}]"])
            self._read()

    def rename_section(self, section: str, name: str) -> None:
        """Give a section another name where it stands."""
        for number, line in enumerate(self._lines):
            header = _SECTION.match(line)
            if header and header["name"].strip() == section:
                self._lines[number] = line[: header.start("name")] + name + line[header.end("name") :]
        self._read()

    def remove_key(self, section: str, key: str) -> None:
        """Take a key away, wherever it stands in its section."""
        while (entry := self.entry(section, key)) is not None:
            del self._lines[entry.line]
            self._read()

    def remove_section(self, section: str) -> None:
        """Take a section away with all that stands in it; a comment right above the next section stays."""
        kept: list[str] = []
        removed: list[str] = []
        inside = False
        for line in self._lines:
            header = _SECTION.match(line)
            if header:
                kept.extend(_comments_at_end(removed))
                removed = []
                inside = header["name"].strip() == section
            (removed if inside else kept).append(line)
        if kept and kept[-1] != "":
            kept.append("")
        self._lines = kept
        self._read()
        for key in self.keys(section):  # those before any section
            self.remove_key(section, key)

    def _insert(self, at: int, lines: list[str]) -> None:
        ending = "\r" if self._newline == "\r\n" else ""
        self._lines[at:at] = [line + ending for line in lines]
        if self._lines[-1] != "":
            self._lines.append("")

    def _append(self, lines: list[str]) -> None:
        """Add a section to the end, behind one empty line."""
        while self._lines and self._lines[-1].strip() == "":
            self._lines.pop()
        self._insert(len(self._lines), ["", *lines] if self._lines else lines)


def _comments_at_end(lines: list[str]) -> list[str]:
    """The comment with which some lines end."""
    start = len(lines)
    while start and lines[start - 1].lstrip().startswith(("#", ";")):
        start -= 1
    return lines[start:]
