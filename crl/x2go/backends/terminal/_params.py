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
_HOST = re.compile(r"[A-Za-z0-9_.:\[\]][A-Za-z0-9_.:\[\]-]{0,252}", re.ASCII)
_SHARED = re.compile(r"[01]XSHAD[A-Za-z0-9._@][A-Za-z0-9._@-]{0,63}XSHAD:[0-9]{1,5}(?:\.[0-9]{1,3})?", re.ASCII)
_TYPE_LETTERS = {
    "desktop": "D", "application": "R", "rootless": "R", "shared": "S", "shadow": "S", "published": "P",
    **{letter: letter for letter in "DRSPK"},
}  # fmt: skip
_PUBLISHED = "PUBLISHED"
_XDMCP = "XDMCP"
_RDP_PROGRAMS = {"RDP": "rdesktop", "rdesktop": "rdesktop", "xfreerdp": "xfreerdp", "xfreedrp": "xfreerdp"}
_RDP_PASSWORD = "X2GO_PASSWORD"
_SOUND_SYSTEMS = ("none", "nosnd", "pulse", "esd", "arts", "")
_DESKTOP_WORDS = frozenset(SERVER_COMMANDS) - frozenset(X2GO_GENERIC_APPLICATIONS)
SPACE = "X2GO_SPACE_CHAR"


@dataclass
class X2GoSessionParams:
    """How a session is to be.

    Args:
        geometry: ``"WIDTHxHEIGHT"`` in pixels, ``"fullscreen"``, ``"maximize"`` for what panels leave of the client's
            display, or "" to leave it to the server.
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
        session_type: ``"desktop"`` or ``"application"`` (also ``"rootless"``), ``"published"`` for a session whose
            programs are started from the server's menu, ``"shared"`` for a desktop of somebody else; or its letter.
        cmd: The program, with arguments, as one text or as a list; also the server's words such as ``OPENBOX``,
            ``MATE``, ``TERMINAL``, and ``XDMCP`` and ``RDP``. None is ``TERMINAL``.
        kdrive: Whether the desktop runs in x2gokdrive instead of x2goagent.
        published_applications: With a `cmd` of "" or ``PUBLISHED``, the session type is ``"published"``.
        rdp_server: The host that an RDP client on the server connects to.
        rdp_options: Options of that client; ``X2GO_USER`` stands for the account's name. A password is never put into
            an argument list: the client asks for it in its window.
        xdmcp_server: The host that a session with the command ``XDMCP`` asks for a desktop.
        snd_system: ``"pulse"`` for sound, by PulseAudio's protocol; ``"esd"`` for programs of EsounD; ``"none"``.
        snd_port: TCP port of this machine's sound server, when it has one.
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
    cmd: str | Sequence[str] | None = "TERMINAL"
    kdrive: bool = False
    published_applications: bool = False
    rdp_server: str | None = None
    rdp_options: str | None = None
    xdmcp_server: str | None = None
    snd_system: str = "none"
    snd_port: int = 4713

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
        sized = self.geometry in {"", "fullscreen", "maximize"} or _GEOMETRY.fullmatch(self.geometry)
        _demand(sized, "geometry", self.geometry, "'800x600', 'fullscreen', 'maximize' or ''")
        _demand(self.depth in {8, 15, 16, 17, 24, 32}, "depth", self.depth, "8, 15, 16, 17, 24 or 32")
        _demand(self.link in LINK_LEVELS, "link", self.link, ", ".join(LINK_LEVELS))
        _demand(self.pack in pack_methods_nx3, "pack", self.pack, "'nopack', '16m-jpeg-9' or another packing method")
        _demand(self.dpi == "" or str(self.dpi).isdigit(), "dpi", self.dpi, "a number or ''")
        _demand(_CACHE.fullmatch(self.cache_type), "cache_type", self.cache_type, "a name such as 'unix-kde'")
        _demand(self.clipboard in CLIPBOARD_MODES, "clipboard", self.clipboard, ", ".join(CLIPBOARD_MODES))
        kinds = "'desktop', 'application', 'published' or 'shared'"
        _demand(self.session_type in _TYPE_LETTERS, "session_type", self.session_type, kinds)
        _demand(self.snd_system in _SOUND_SYSTEMS, "snd_system", self.snd_system, "'none', 'pulse' or 'esd'")
        for key in ("kbtype", "kblayout", "kbvariant"):
            value = getattr(self, key)
            _demand(_KEYBOARD.fullmatch(value), key, value, "a name such as 'pc105/us' or 'us'")
        self._check_command()

    def _check_command(self) -> None:
        if self.is_published:
            return
        word = self.words()[0]
        if self.is_shared:
            _demand(_SHARED.fullmatch(word), "cmd", word, "'0XSHADuserXSHAD:50' in a shared session; see share_desktop")
        if word == _XDMCP:
            server = self.xdmcp_server
            _demand(server and _HOST.fullmatch(server), "xdmcp_server", server, "the host that shows its login")
        if self.rdp_program is not None:
            server = self.rdp_server
            _demand(server and _HOST.fullmatch(server), "rdp_server", server, "the host to connect to")
            self.rdp_words("user")

    def words(self) -> list[str]:
        """The command as the words that the server will make of it."""
        return command_words("TERMINAL" if self.cmd is None else self.cmd)

    @property
    def is_published(self) -> bool:
        """Whether the session publishes the server's menu."""
        wanted = _TYPE_LETTERS[self.session_type] == "P" or self.published_applications
        return wanted and (self.cmd is None or self.cmd in ("", _PUBLISHED, "TERMINAL"))

    @property
    def is_shared(self) -> bool:
        """Whether the session shows a desktop of the server."""
        return _TYPE_LETTERS[self.session_type] == "S"

    @property
    def is_xdmcp(self) -> bool:
        """Whether the agent asks another host for a desktop."""
        return not self.is_published and self.words()[0] == _XDMCP

    @property
    def rdp_program(self) -> str | None:
        """The RDP client that the session runs; None for other sessions."""
        return None if self.is_published else _RDP_PROGRAMS.get(self.words()[0])

    def rdp_words(self, user: str) -> list[str]:
        """The command line of the RDP client.

        Args:
            user: The account's name.

        Raises:
            X2GoParameterError: The options have what an X2Go server cannot pass on.
        """
        options = self._rdp_options(user)
        full = self.geometry in {"fullscreen", ""}
        server = str(self.rdp_server)
        if self.rdp_program == "xfreerdp":
            size = ["/f"] if full else [f"/size:{self.geometry}"]
            words = ["xfreerdp", *size, *options, f"/v:{server}", f"/bpp:{self.depth}"]
        else:
            size = ["-f"] if full else ["-g", self.geometry]
            words = ["rdesktop", *size, "-N", *options, server, "-a", str(self.depth)]
        return command_words(words)

    def _rdp_options(self, user: str) -> list[str]:
        """The options for an RDP client, without the password's place."""
        options: list[str] = []
        words = (self.rdp_options or "").split()
        for before, word in zip(["", *words], words, strict=False):
            if word == "-p" or (before == "-p" and word in {_RDP_PASSWORD, "-"}) or _RDP_PASSWORD in word:
                continue
            is_password = before == "-p" or word.startswith("/p:")
            _demand(not is_password, "rdp_options", "<with a password>", "without a password, which others would see")
            options.append(word.replace("X2GO_USER", user))
        return options

    def run_words(self, user: str) -> list[str]:
        """The command for x2goruncommand; empty when it has nothing to run.

        Args:
            user: The account's name.
        """
        if self.is_published:
            return [_PUBLISHED]
        if self.is_shared or self.is_xdmcp:
            return []
        return self.rdp_words(user) if self.rdp_program is not None else self.words()

    def rewrite_session_type(self) -> str:
        """The server's letter.

        P when the server's menu is published, S for a desktop of somebody else, D (K with x2gokdrive) for desktops,
        also when only the command says that it is one, else R.
        """
        if self.is_published:
            return "P"
        if self.is_shared:
            return "S"
        if self.rdp_program is not None:
            return "D" if self.geometry == "fullscreen" else "R"
        word = self.words()[0]
        is_desktop = word in _DESKTOP_WORDS or word in X2GO_DESKTOPSESSIONS.values() or word == _XDMCP
        letter = "D" if is_desktop else _TYPE_LETTERS[self.session_type]
        return "K" if letter == "D" and self.kdrive else letter

    @property
    def set_keyboard(self) -> str:
        """Whether the server is to set the keyboard: "1" or "0"."""
        return "0" if self.kbtype == "null/null" else "1"

    def start_environment(self) -> dict[str, str]:
        """The variables by which x2gostartagent takes what its arguments have no place for."""
        environment = {"X2GO_XINERAMA": "true" if self.xinerama else "false"}
        if self.dpi:
            environment["X2GODPI"] = str(self.dpi)
        if self.is_xdmcp:
            environment["X2GOXDMCP"] = str(self.xdmcp_server)
        return environment

    def start_arguments(self) -> list[str]:
        """The arguments of x2gostartagent."""
        clipboard = [] if self.is_shared else [self.clipboard]
        return [
            self.geometry, self.link, self.pack, f"{self.cache_type}-depth_{self.depth}", self.kblayout, self.kbtype,
            self.set_keyboard, self.rewrite_session_type(), self.name_for_id(), *clipboard,
        ]  # fmt: skip

    def resume_arguments(self, session_name: str) -> list[str]:
        """The arguments of x2goresume-session."""
        return [
            session_name, self.geometry, self.link, self.pack, self.kblayout, self.kbtype, self.set_keyboard,
            self.clipboard, str(self.xinerama),
        ]  # fmt: skip

    def name_for_id(self) -> str:
        """The program's name as it becomes part of the session's name: short, and no more than letters and digits."""
        if self.is_published:
            return _PUBLISHED
        if self.is_shared:
            return self.words()[0]
        base = (self.rdp_program or self.words()[0]).rsplit("/", 1)[-1]
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
