"""Values the X2Go client starts from, with python-x2go's names.

Only data; nothing is read from the machine at import. What python-x2go computed from the machine and the rest of this
client does not need stands with the part that does.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

__all__ = [
    "BACKENDS",
    "CLIPBOARD_MODES",
    "LINK_LEVELS",
    "SERVER_COMMANDS",
    "SERVER_PATH",
    "X2GO_DESKTOPSESSIONS",
    "X2GO_DESKTOPSESSIONS_KDRIVE_PREFERRED",
    "X2GO_DESKTOPSESSIONS_NX3_PREFERRED",
    "X2GO_GENERIC_APPLICATIONS",
    "X2GO_SHARE_FULLACCESS",
    "X2GO_SHARE_VIEWONLY",
    "pack_methods_nx3",
    "pack_methods_nx3_noqual",
]

X2GO_SHARE_VIEWONLY: Final = 0
X2GO_SHARE_FULLACCESS: Final = 1

BACKENDS: Final[Mapping[str, Mapping[str, str]]] = MappingProxyType(
    {
        "X2GoControlSession": {"default": "PLAIN", "PLAIN": "crl.x2go.backends.control.plain"},
        "X2GoTerminalSession": {"default": "PLAIN", "PLAIN": "crl.x2go.backends.terminal.plain"},
        "X2GoServerSessionInfo": {"default": "PLAIN", "PLAIN": "crl.x2go.backends.info.plain"},
        "X2GoServerSessionList": {"default": "PLAIN", "PLAIN": "crl.x2go.backends.info.plain"},
        "X2GoProxy": {"default": "NX3", "NX3": "crl.x2go.backends.proxy.nx3"},
    }
)

X2GO_DESKTOPSESSIONS_NX3_PREFERRED: Final[Mapping[str, str]] = MappingProxyType(
    {
        "IceWM": "icewm",
        "KDE": "startkde",
        "MATE": "mate-session",
        "XFCE": "xfce4-session",
        "LXDE": "startlxde",
        "LXQt": "startlxqt",
        "TRINITY": "starttrinity",
    }
)
X2GO_DESKTOPSESSIONS_KDRIVE_PREFERRED: Final[Mapping[str, str]] = MappingProxyType(
    {"CINNAMON": "cinnamon-session-cinnamon2d", "GNOME": "gnome-session", "UNITY": "unity"}
)
X2GO_DESKTOPSESSIONS: Final[Mapping[str, str]] = MappingProxyType(
    {**X2GO_DESKTOPSESSIONS_NX3_PREFERRED, **X2GO_DESKTOPSESSIONS_KDRIVE_PREFERRED}
)
X2GO_GENERIC_APPLICATIONS: Final = ("WWWBROWSER", "MAILCLIENT", "OFFICE", "TERMINAL")

# The words that x2goruncommand turns into programs, and the programs of which one has to be there.
SERVER_COMMANDS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "CINNAMON": (
            "cinnamon-session-cinnamon2d", "gnome-session-cinnamon2d", "gnome-session-cinnamon", "gnome-session",
        ),
        "GNOME": ("gnome-session",),
        "ICEWM": ("icewm-session",),
        "IceWM": ("icewm",),
        "KDE": ("startplasma-x11", "startkde"),
        "LXDE": ("startlxde",),
        "LXQt": ("startlxqt",),
        "MATE": ("mate-session",),
        "OPENBOX": ("openbox-session",),
        "TRINITY": ("start-q4os-x2go", "/opt/trinity/bin/starttde", "/opt/trinity/bin/starttrinity", "starttrinity"),
        "UNITY": ("gnome-session",),
        "XFCE": ("xfce4-session",),
        "XFCE4": ("xfce4-session",),
        "MAILCLIENT": ("thunderbird", "icedove", "kmail", "evolution"),
        "OFFICE": ("loffice", "ooffice"),
        "TERMINAL": (
            "konsole", "mate-terminal", "gnome-terminal", "lxterminal", "qterminal", "rxvt", "xterm",
        ),
        "WWWBROWSER": (
            "firefox.real", "iceweasel", "firefox", "abrowser", "konqueror", "galeon", "chromium-browser",
        ),
    }
)  # fmt: skip

SERVER_PATH: Final = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"
LINK_LEVELS: Final = ("modem", "isdn", "adsl", "wan", "lan")
CLIPBOARD_MODES: Final = ("both", "server", "client", "none")

_COLOURS: Final = ("8", "64", "256", "512", "4k", "32k", "64k", "256k", "2m", "16m")


def _with_quality(kind: str) -> tuple[str, ...]:
    """The names of one picture format: only the fewest and the most colours take a quality."""
    ends = (_COLOURS[0], _COLOURS[-1])
    return tuple(f"{colours}-{kind}-%" if colours in ends else f"{colours}-{kind}" for colours in _COLOURS)


pack_methods_nx3_noqual: Final = (
    "nopack",
    *_COLOURS,
    *(f"{colours}-{kind}" for colours in ("256", "32k", "64k", "16m") for kind in ("rdp", "rdp-compressed")),
    "rfb-hextile",
    "rfb-tight",
    "rfb-tight-compressed",
    *(f"{colours}-tight" for colours in _COLOURS),
    *_with_quality("jpeg"),
    *_with_quality("png-jpeg"),
    *(name for name in _with_quality("png") if name != "16m-png"),
    "16m-rgb-%",
    "16m-rle-%",
)
pack_methods_nx3: Final = tuple(
    name.replace("%", str(quality))
    for name in pack_methods_nx3_noqual
    for quality in (range(10) if "%" in name else (0,))
)
