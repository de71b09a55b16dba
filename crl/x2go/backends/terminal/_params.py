"""The parameters of a session, and the words an X2Go server wants for them.

No host is asked here: `X2GoSessionParams` checks what a user gave and builds argument lists. What a server would
silently misunderstand is refused with an error that says what it takes.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, fields

from crl.x2go.defaults import (
    CLIPBOARD_MODES,
    LINK_LEVELS,
    SERVER_COMMANDS,
    X2GO_DESKTOPSESSIONS,
    X2GO_GENERIC_APPLICATIONS,
    pack_methods_nx3,
)
from crl.x2go.x2go_exceptions import X2GoParameterError

__all__ = ["X2GoSessionParams", "candidates", "command_words", "rewrite_blanks"]

_GEOMETRY = re.compile(r"[1-9][0-9]{1,4}x[1-9][0-9]{1,4}", re.ASCII)
_KEYBOARD = re.compile(r"[A-Za-z0-9_,()+-]*(?:/[A-Za-z0-9_,()+-]*)?", re.ASCII)
_CACHE = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)
_PLAIN_WORD = re.compile(r"[A-Za-z0-9_@%+=:,./-]+", re.ASCII)
_TYPE_LETTERS = {"desktop": "D", "application": "R", "rootless": "R", "D": "D", "R": "R"}
_DESKTOP_WORDS = frozenset(SERVER_COMMANDS) - frozenset(X2GO_GENERIC_APPLICATIONS)
SPACE = "X2GO_SPACE_CHAR"


@dataclass
class X2GoSessionParams:
    """How a session is to be.

    Args:
        geometry: ``"WIDTHxHEIGHT"`` in pixels, ``"fullscreen"``, or "" to leave it to the server.
        depth: Bits of colour of the session's display.
        link: How fast the way is: modem, isdn, adsl, wan or lan.
        pack: How pictures are packed, one of `crl.x2go.defaults.pack_methods_nx3`.
        dpi: Dots per inch, "" to leave it to the server.
        cache_type: Name of nxagent's cache.
        kbtype: Keyboard, for example ``"pc105/us"``; ``"null/null"`` leaves it alone, ``"auto"`` reads a file.
        kblayout: Keyboard layout, for example ``"us"``.
        kbvariant: Variant of the layout.
        clipboard: Which way the clipboard works: both, server, client or none.
        xinerama: Whether the session is to see several screens.
        session_type: ``"desktop"`` or ``"application"`` (also ``"rootless"``, ``"D"``, ``"R"``).
        cmd: The program, with arguments, as one text or as a list; also the server's words such as ``OPENBOX``,
            ``MATE``, ``TERMINAL``.
    """

    geometry: str = "800x600"
    depth: int = 24
    link: str = "adsl"
    pack: str = "16m-jpeg-9"
    dpi: str | int = ""
    cache_type: str = "unix-kde"
    kbtype: str = "null/null"
    kblayout: str = "null"
    kbvariant: str = "null"
    clipboard: str = "both"
    xinerama: bool = False
    session_type: str = "application"
    cmd: str | Sequence[str] = "TERMINAL"

    def __post_init__(self) -> None:
        self.check()

    def update(self, **properties_to_be_updated: object) -> None:
        """Change parameters; the rest stays.

        Raises:
            X2GoParameterError: There is no such parameter, or a value is not usable; nothing is then changed.
        """
        before = {field.name: getattr(self, field.name) for field in fields(self)}
        unknown = sorted(set(properties_to_be_updated) - set(before))
        if unknown:
            raise X2GoParameterError(
                f"a session has no parameter {', '.join(unknown)}", advice=f"it has: {', '.join(sorted(before))}"
            )
        try:
            for key, value in properties_to_be_updated.items():
                setattr(self, key, value)
            self.check()
        except X2GoParameterError:
            for key, value in before.items():
                setattr(self, key, value)
            raise

    def check(self) -> None:
        """Look at each parameter.

        Raises:
            X2GoParameterError: One is not usable.
        """
        _demand(self.geometry in {"", "fullscreen"} or _GEOMETRY.fullmatch(self.geometry), "geometry", self.geometry,
                "'800x600', 'fullscreen' or ''")  # fmt: skip
        _demand(self.depth in {8, 15, 16, 17, 24, 32}, "depth", self.depth, "8, 15, 16, 17, 24 or 32")
        _demand(self.link in LINK_LEVELS, "link", self.link, ", ".join(LINK_LEVELS))
        _demand(self.pack in pack_methods_nx3, "pack", self.pack, "'nopack', '16m-jpeg-9' or another packing method")
        _demand(self.dpi == "" or str(self.dpi).isdigit(), "dpi", self.dpi, "a number or ''")
        _demand(_CACHE.fullmatch(self.cache_type), "cache_type", self.cache_type, "a name such as 'unix-kde'")
        _demand(self.clipboard in CLIPBOARD_MODES, "clipboard", self.clipboard, ", ".join(CLIPBOARD_MODES))
        _demand(self.session_type in _TYPE_LETTERS, "session_type", self.session_type, "'desktop' or 'application'")
        for key in ("kbtype", "kblayout", "kbvariant"):
            value = getattr(self, key)
            _demand(_KEYBOARD.fullmatch(value), key, value, "a name such as 'pc105/us' or 'us'")
        command_words(self.cmd)

    def rewrite_session_type(self) -> str:
        """The server's letter: D for desktops, also when only the command says that it is one; else R."""
        word = command_words(self.cmd)[0]
        is_desktop = word in _DESKTOP_WORDS or word in X2GO_DESKTOPSESSIONS.values()
        return "D" if is_desktop else _TYPE_LETTERS[self.session_type]

    @property
    def set_keyboard(self) -> str:
        """Whether the server is to set the keyboard: "1" or "0"."""
        return "0" if self.kbtype == "null/null" else "1"

    def start_environment(self) -> dict[str, str]:
        """The variables by which x2gostartagent takes what its arguments have no place for."""
        environment = {"X2GO_XINERAMA": "true" if self.xinerama else "false"}
        if self.dpi:
            environment["X2GODPI"] = str(self.dpi)
        return environment

    def start_arguments(self) -> list[str]:
        """The arguments of x2gostartagent."""
        return [
            self.geometry, self.link, self.pack, f"{self.cache_type}-depth_{self.depth}", self.kblayout, self.kbtype,
            self.set_keyboard, self.rewrite_session_type(), self.name_for_id(), self.clipboard,
        ]  # fmt: skip

    def resume_arguments(self, session_name: str) -> list[str]:
        """The arguments of x2goresume-session."""
        return [
            session_name, self.geometry, self.link, self.pack, self.kblayout, self.kbtype, self.set_keyboard,
            self.clipboard, str(self.xinerama),
        ]  # fmt: skip

    def name_for_id(self) -> str:
        """The program's name as it becomes part of the session's name: short, and no more than letters and digits."""
        base = command_words(self.cmd)[0].rsplit("/", 1)[-1]
        return re.sub(r"[^A-Za-z0-9.-]", "", base)[:32] or "command"


def _demand(holds: object, key: str, value: object, wanted: str) -> None:
    if not holds:
        raise X2GoParameterError(f"{key} has to be {wanted}, not {value!r}")


def command_words(cmd: str | Sequence[str]) -> list[str]:
    """A command as the words the server will make of it.

    Raises:
        X2GoParameterError: It is empty, or has characters that an X2Go server cannot pass on: it splits commands at
            blanks and knows no quotes.
    """
    words = cmd.split() if isinstance(cmd, str) else list(cmd)
    if not words or not all(isinstance(word, str) and _PLAIN_WORD.fullmatch(word) for word in words):
        raise X2GoParameterError(
            f"an X2Go server cannot start {cmd!r}: it splits commands at blanks and knows no quotes or wildcards",
            advice="put the command into a script on the server and start that",
        )
    return words


def rewrite_blanks(cmd: str | Sequence[str]) -> str:
    """A command as x2goruncommand takes it: one word, blanks spelled out."""
    return SPACE.join(command_words(cmd))


def candidates(cmd: str | Sequence[str]) -> tuple[str, ...]:
    """The programs of which one has to exist for a command to start."""
    word = command_words(cmd)[0]
    return SERVER_COMMANDS.get(word, (word,))
