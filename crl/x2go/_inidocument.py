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
        line: Number of the line in its section, from 0.
    """

    raw: str
    plain: bool
    line: int


class _Block:
    """The lines from one section's head to the next, with the keys among them."""

    def __init__(self, name: str, lines: list[str]) -> None:
        self.name = name
        self.lines = lines
        self.has_head = False
        self.read()

    def read(self) -> None:
        """Find the keys; of one that stands twice the last one counts, as for Qt."""
        self.keys: dict[str, Entry] = {}
        self.end = 0
        for number, line in enumerate(self.lines):
            if number == 0 and _SECTION.match(line):
                self.has_head = True
                self.end = 1
                continue
            found = _KEY.fullmatch(line)
            if found:
                self.keys[found["key"]] = Entry(found["value"], bool(found["before"] or found["after"]), number)
                self.end = number + 1


class IniDocument:
    """The lines of one file.

    Args:
        text: Content of the file.
    """

    def __init__(self, text: str = "") -> None:
        self._ending = "\r" if "\r\n" in text else ""
        self._blocks: list[_Block] = []
        name, lines = GENERAL, list[str]()
        for line in text.split("\n"):
            head = _SECTION.match(line)
            if head:
                self._blocks.append(_Block(name, lines))
                name, lines = head["name"].strip(), []
            lines.append(line)
        self._blocks.append(_Block(name, lines))

    @property
    def text(self) -> str:
        """The content of the file."""
        return "\n".join(line for block in self._blocks for line in block.lines)

    def _of(self, section: str) -> list[_Block]:
        return [block for block in self._blocks if block.name == section and (block.has_head or block.keys)]

    def sections(self) -> list[str]:
        """The names of the sections in their order."""
        return list(dict.fromkeys(block.name for block in self._blocks if block.has_head or block.keys))

    def keys(self, section: str) -> list[str]:
        """The keys of a section in their order; none when there is no such section."""
        return list(dict.fromkeys(key for block in self._of(section) for key in block.keys))

    def entry(self, section: str, key: str) -> Entry | None:
        """One key; None when it is not there."""
        found = [block.keys[key] for block in self._of(section) if key in block.keys]
        return found[-1] if found else None

    def put(self, section: str, key: str, raw: str) -> None:
        """Give a key a value; a new one comes behind the last of its section, a new section to the end."""
        blocks = self._of(section)
        if not blocks:
            self._append([f"[{section}]", f"{key}={raw}"])
            return
        with_key = [block for block in blocks if key in block.keys]
        block = with_key[-1] if with_key else blocks[-1]
        if with_key:
            entry = block.keys[key]
            keeps_blanks = entry.plain and not any(mark in raw for mark in '"\\@')
            ending = "\r" if block.lines[entry.line].endswith("\r") else ""
            block.lines[entry.line] = f"{key} = {raw}{ending}" if keeps_blanks else f"{key}={raw}{ending}"
        else:
            block.lines.insert(block.end, f"{key}={raw}{self._ending}")
            self._end_last_line()
        block.read()

    def rename_section(self, section: str, name: str) -> None:
        """Give a section another name where it stands."""
        for block in self._of(section):
            head = _SECTION.match(block.lines[0]) if block.has_head else None
            if head:
                line = block.lines[0]
                block.lines[0] = line[: head.start("name")] + name + line[head.end("name") :]
                block.name = name

    def remove_key(self, section: str, key: str) -> None:
        """Take a key away, wherever it stands in its section."""
        for block in self._of(section):
            while key in block.keys:
                del block.lines[block.keys[key].line]
                block.read()

    def remove_section(self, section: str) -> None:
        """Take a section away with all that stands in it; a comment right above the next section stays."""
        for key in self.keys(section):
            self.remove_key(section, key)
        for block in [block for block in self._of(section) if block.has_head]:
            place = self._blocks.index(block)
            above = self._blocks[place - 1]
            del self._blocks[place]
            above.lines.extend(_comments_at_end(block.lines))
            above.read()
        self._end_last_line()

    def _append(self, lines: list[str]) -> None:
        """Add a section to the end, behind one empty line."""
        while self._blocks and not any(line.strip() for line in self._blocks[-1].lines):
            self._blocks.pop()
        if self._blocks:
            last = self._blocks[-1]
            while not last.lines[-1].strip():
                last.lines.pop()
            if self._ending and not last.lines[-1].endswith("\r"):
                last.lines[-1] += "\r"
            last.lines.append(self._ending)
        self._blocks.append(_Block(lines[0][1:-1], [line + self._ending for line in lines]))
        self._end_last_line()

    def _end_last_line(self) -> None:
        """Make sure that the last line has an end."""
        last = next((block for block in reversed(self._blocks) if block.lines), None)
        if last is not None and last.lines[-1] != "":
            last.lines.append("")


def _comments_at_end(lines: list[str]) -> list[str]:
    """The comment with which some lines end."""
    start = len(lines)
    while start and lines[start - 1].lstrip().startswith(("#", ";")):
        start -= 1
    return lines[start:]
