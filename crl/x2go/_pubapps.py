"""The menu of an X2Go server, as ``x2gogetapps`` prints it.

Total functions from text to values: what is no application is left out. A command of the menu is a text for a shell
of the server; here it only loses the places for files.
"""

from __future__ import annotations

import base64
import binascii
import re
import shlex
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

__all__ = ["PublishedApplications", "application_words"]

_BLOCK = re.compile(r"<desktop>(.*?)</desktop>", re.DOTALL)
_ICON = re.compile(r"<icon>(.*?)</icon>", re.DOTALL)
_NAME = re.compile(r"Name\[(?P<lang>[^\]]+)\]")
_COMMENT = re.compile(r"Comment\[(?P<lang>[^\]]+)\]")
_PLACES = re.compile(r"\s*%[a-zA-Z]\b")
_DEFAULT_LANG = "en"
OTHER = "Other Applications"
TOP = "TOP"
CATEGORIES = {
    "X2Go-Top": TOP,
    "Audio": "Multimedia",
    "Video": "Multimedia",
    "AudioVideo": "Multimedia",
    "Development": "Development",
    "Education": "Education",
    "Game": "Games",
    "Graphics": "Graphics",
    "Network": "Internet",
    "Office": "Office",
    "Settings": "Settings",
    "System": "System",
    "Utility": "Utilities",
}


@dataclass(frozen=True)
class _Application:
    """One entry of the menu."""

    command: str
    category: str
    names: dict[str, str]
    comments: dict[str, str]
    icon: bytes | None = field(default=None, repr=False)


class PublishedApplications:
    """The menu of a server.

    Args:
        text: What ``x2gogetapps`` printed.
    """

    def __init__(self, text: str) -> None:
        read = (_read_block(block) for block in _BLOCK.findall(text))
        self._applications = [one for one in read if one is not None]

    def plain(self) -> list[dict[str, Any]]:
        """Every application as a dict, in the server's order."""
        return [
            {
                "name": one.names,
                "comment": one.comments,
                "exec": one.command,
                "category": one.category,
                "icon": one.icon,
            }
            for one in self._applications
        ]

    def menu(self, lang: str | None = None, max_no_submenus: int = 10) -> dict[str, dict[str, list[dict[str, Any]]]]:
        """The menu by language and category, sorted by name.

        Args:
            lang: Language of names and comments; where there is none in it, the server's default stands.
            max_no_submenus: With no more applications than that, all are in the category ``TOP``.
        """
        wanted = lang or _DEFAULT_LANG
        flat = len(self._applications) <= max_no_submenus
        found: dict[str, list[dict[str, Any]]] = {}
        for one in self._applications:
            entry = {
                "name": _in(one.names, wanted),
                "comment": _in(one.comments, wanted),
                "exec": one.command,
                "icon": one.icon,
            }
            found.setdefault(TOP if flat else one.category, []).append(entry)
        for entries in found.values():
            entries.sort(key=lambda entry: str(entry["name"]).lower())
        return {wanted: found}


def application_words(command: str) -> list[str]:
    """The command of an application as an argument list; empty when its quotes do not close."""
    try:
        return shlex.split(command)
    except ValueError:
        return []


def _in(texts: dict[str, str], lang: str) -> str:
    return texts.get(lang) or texts.get(lang.partition("_")[0]) or texts.get("", "")


def _read_block(block: str) -> _Application | None:
    icon = _ICON.search(block)
    values: dict[str, str] = {}
    for line in _ICON.sub("", block).splitlines():
        key, equals, value = line.strip().partition("=")
        if equals:
            values.setdefault(key, value.strip())
    command = _PLACES.sub("", values.get("Exec", "")).strip()
    names = _texts(values, "Name", _NAME)
    if not command or not names:
        return None
    if values.get("Terminal", "").lower() == "true":
        command = f"x-terminal-emulator -e {shlex.quote(command)}"
    category = _category(values.get("Categories", "").split(";"))
    return _Application(command, category, names, _texts(values, "Comment", _COMMENT), _decoded(icon))


def _texts(values: dict[str, str], key: str, localised: re.Pattern[str]) -> dict[str, str]:
    """A text by language; the plain one under ""."""
    found = {"": values[key]} if values.get(key) else {}
    for name, value in values.items():
        match = localised.fullmatch(name)
        if match is not None and value:
            found[match["lang"]] = value
    return found


def _category(words: Iterable[str]) -> str:
    known = [CATEGORIES[word.strip()] for word in words if word.strip() in CATEGORIES]
    return TOP if TOP in known else next(iter(known), OTHER)


def _decoded(icon: re.Match[str] | None) -> bytes | None:
    if icon is None:
        return None
    with_no_blanks = "".join(icon[1].split())
    try:
        return base64.b64decode(with_no_blanks, validate=True)
    except (binascii.Error, ValueError):
        return None
