"""Values the X2Go client starts from, with python-x2go's names.

Nothing is read from the machine at import: the names that tell of it (home, user, display, files) are looked up when
somebody asks for them. Lists and dicts are plain ones, as applications expect that copy and extend them; crl never
changes them. A name of a backend that is not in `BACKENDS` does not exist.
"""

from __future__ import annotations

import getpass
import importlib
import os
import platform
import sys
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

__all__ = [
    "BACKENDS",
    "CLIPBOARD_MODES",
    "CURRENT_LOCAL_USER",
    "DEFAULT_PDFSAVE_LOCATION",
    "DEFAULT_PDFVIEW_CMD",
    "DEFAULT_PRINTCMD_CMD",
    "ETC_DIR",
    "LINK_LEVELS",
    "LOCAL_HOME",
    "PUBAPP_MAX_NO_SUBMENUS",
    "ROOT_DIR",
    "RSAKEY_STRENGTH",
    "SERVER_COMMANDS",
    "SERVER_PATH",
    "SUPPORTED_FOLDERSHARING",
    "SUPPORTED_MIMEBOX",
    "SUPPORTED_PRINTING",
    "SUPPORTED_SOUND",
    "SUPPORTED_TELEKINESIS",
    "X2GOCLIENT_OS",
    "X2GO_CLIENTPRINTING_DEFAULTS",
    "X2GO_CLIENTSETTINGS_DEFAULTS",
    "X2GO_CLIENTXCONFIG_DEFAULTS",
    "X2GO_CLIENT_ROOTDIR",
    "X2GO_DESKTOPSESSIONS",
    "X2GO_DESKTOPSESSIONS_KDRIVE_PREFERRED",
    "X2GO_DESKTOPSESSIONS_NX3_PREFERRED",
    "X2GO_GENERIC_APPLICATIONS",
    "X2GO_MIMEBOX_ACTIONS",
    "X2GO_MIMEBOX_EXTENSIONS_BLACKLIST",
    "X2GO_PRINTING_CONFIGFILES",
    "X2GO_PRINT_ACTIONS",
    "X2GO_SESSIONPROFILES_CONFIGFILES",
    "X2GO_SESSIONPROFILE_DEFAULTS",
    "X2GO_SESSIONS_ROOTDIR",
    "X2GO_SETTINGS_CONFIGFILES",
    "X2GO_SHARE_FULLACCESS",
    "X2GO_SHARE_VIEWONLY",
    "X2GO_SSH_ROOTDIR",
    "X2GO_XCONFIG_CONFIGFILES",
    "X_DISPLAY",
    "pack_methods_nx3",
    "pack_methods_nx3_formatted",
    "pack_methods_nx3_noqual",
    "session_profile_defaults",
]

if TYPE_CHECKING:
    X2GOCLIENT_OS: str
    LOCAL_HOME: str
    CURRENT_LOCAL_USER: str
    X_DISPLAY: Any
    X2GO_SETTINGS_CONFIGFILES: list[str]
    X2GO_PRINTING_CONFIGFILES: list[str]
    X2GO_SESSIONPROFILES_CONFIGFILES: list[str]
    X2GO_XCONFIG_CONFIGFILES: list[str]
    X2GO_CLIENTXCONFIG_DEFAULTS: dict[str, dict[str, Any]]
    X2GO_SESSIONPROFILE_DEFAULTS: dict[str, Any]

ROOT_DIR: Final = "/"
ETC_DIR: Final = "/etc/x2goclient"
X2GO_CLIENT_ROOTDIR: Final = ".x2goclient"
X2GO_SESSIONS_ROOTDIR: Final = ".x2go"
X2GO_SSH_ROOTDIR: Final = ".ssh"

SUPPORTED_SOUND: Final = True
SUPPORTED_PRINTING: Final = True
SUPPORTED_FOLDERSHARING: Final = os.name == "posix"
SUPPORTED_MIMEBOX: Final = True
SUPPORTED_TELEKINESIS: Final = sys.platform.startswith("linux")

X2GO_SHARE_VIEWONLY: Final = 0
X2GO_SHARE_FULLACCESS: Final = 1
PUBAPP_MAX_NO_SUBMENUS: Final = 10
RSAKEY_STRENGTH: Final = 3072
DEFAULT_PDFVIEW_CMD: Final = "xdg-open"
DEFAULT_PDFSAVE_LOCATION: Final = "PDF"
DEFAULT_PRINTCMD_CMD: Final = "lpr"

BACKENDS: Final[dict[str, dict[str, str]]] = {
    "X2GoControlSession": {"default": "PLAIN", "PLAIN": "crl.x2go.backends.control.plain"},
    "X2GoTerminalSession": {"default": "PLAIN", "PLAIN": "crl.x2go.backends.terminal.plain"},
    "X2GoServerSessionInfo": {"default": "PLAIN", "PLAIN": "crl.x2go.backends.info.plain"},
    "X2GoServerSessionList": {"default": "PLAIN", "PLAIN": "crl.x2go.backends.info.plain"},
    "X2GoProxy": {
        "default": "NX3",
        "NX3": "crl.x2go.backends.proxy.nx3",
        "KDRIVE": "crl.x2go.backends.proxy.kdrive",
    },
    "X2GoSessionProfiles": {
        "default": "FILE",
        "FILE": "crl.x2go.backends.profiles.file",
        "HTTPBROKER": "crl.x2go.backends.profiles.httpbroker",
        "SSHBROKER": "crl.x2go.backends.profiles.sshbroker",
    },
    "X2GoClientSettings": {"default": "FILE", "FILE": "crl.x2go.backends.settings.file"},
    "X2GoClientPrinting": {"default": "FILE", "FILE": "crl.x2go.backends.printing.file"},
}

X2GO_CLIENTSETTINGS_DEFAULTS: Final[dict[str, dict[str, Any]]] = {
    "LDAP": {"useldap": False, "port": 389, "server": "localhost", "port1": 0, "port2": 0},
    "General": {"clientport": 22, "autoresume": True},
    "Authorization": {"newprofile": True, "suspend": True, "editprofile": True, "resume": True},
    "trayicon": {"enabled": True, "mintotray": True, "noclose": True, "mincon": True, "maxdiscon": True},
}
X2GO_CLIENTPRINTING_DEFAULTS: Final[dict[str, dict[str, Any]]] = {
    "General": {"showdialog": False, "pdfview": True},
    "print": {"startcmd": False, "command": DEFAULT_PRINTCMD_CMD, "stdin": False, "ps": False},
    "save": {"folder": DEFAULT_PDFSAVE_LOCATION},
    "view": {"open": True, "command": DEFAULT_PDFVIEW_CMD},
    "CUPS": {"defaultprinter": "PDF"},
}

X2GO_PRINT_ACTIONS: Final[dict[str, str]] = {
    name: f"X2GoPrintAction{name}" for name in ("PDFVIEW", "PDFSAVE", "PRINT", "PRINTCMD", "DIALOG")
}
X2GO_MIMEBOX_ACTIONS: Final[dict[str, str]] = {
    name: f"X2GoMIMEboxAction{name}" for name in ("OPEN", "OPENWITH", "SAVEAS")
}
X2GO_MIMEBOX_EXTENSIONS_BLACKLIST: Final = [
    "LOCK", "SYS", "SWP", "EXE", "COM", "CMD", "PS1", "PS2", "BAT", "JS", "PY", "PL", "SH",
]  # fmt: skip

X2GO_DESKTOPSESSIONS_NX3_PREFERRED: Final[dict[str, str]] = {
    "IceWM": "icewm",
    "KDE": "startkde",
    "MATE": "mate-session",
    "XFCE": "xfce4-session",
    "LXDE": "startlxde",
    "LXQt": "startlxqt",
    "TRINITY": "starttrinity",
}
X2GO_DESKTOPSESSIONS_KDRIVE_PREFERRED: Final[dict[str, str]] = {
    "CINNAMON": "cinnamon-session-cinnamon2d",
    "GNOME": "gnome-session",
    "UNITY": "unity",
}
X2GO_DESKTOPSESSIONS: Final[dict[str, str]] = {
    **X2GO_DESKTOPSESSIONS_NX3_PREFERRED,
    **X2GO_DESKTOPSESSIONS_KDRIVE_PREFERRED,
}
X2GO_GENERIC_APPLICATIONS: Final = ["WWWBROWSER", "MAILCLIENT", "OFFICE", "TERMINAL"]

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


pack_methods_nx3_noqual: Final = [
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
]
pack_methods_nx3: Final = [
    name.replace("%", str(quality))
    for name in pack_methods_nx3_noqual
    for quality in (range(10) if "%" in name else (0,))
]
pack_methods_nx3_formatted: Final = "\n".join(
    ", ".join(name.replace("%", "[0-9]") for name in pack_methods_nx3_noqual[at : at + 6])
    for at in range(0, len(pack_methods_nx3_noqual), 6)
)


def _local_home() -> str:
    return os.path.expanduser("~")


def _local_user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user id without a name
        return str(os.getuid())


def _config_files(node: str) -> list[str]:
    return [os.path.join(_local_home(), X2GO_CLIENT_ROOTDIR, node), os.path.join(ETC_DIR, node)]


def session_profile_defaults() -> dict[str, Any]:
    """All options of a session profile with what they are when no file says anything; they also give the types."""
    return {
        "autologin": True, "autoconnect": False, "autostart": False, "setsessiontitle": False, "sessiontitle": "",
        "speed": 2, "pack": "16m-jpeg", "quality": 9, "iconvto": "UTF-8", "iconvfrom": "UTF-8", "useiconv": False,
        "usesshproxy": False, "sshproxyhost": "proxyhost.mydomain", "sshproxyport": 22, "sshproxyuser": "",
        "sshproxykeyfile": "", "sshproxytype": "SSH", "sshproxysameuser": False, "sshproxysamepass": False,
        "sshproxyautologin": True, "uniquehostkeyaliases": False, "useexports": True, "restoreexports": False,
        "fstunnel": True, "export": {}, "usemimebox": False, "mimeboxextensions": "", "mimeboxaction": "OPEN",
        "fullscreen": False, "clipboard": "both", "width": 800, "height": 600, "maxdim": False, "dpi": 96,
        "setdpi": False, "xinerama": False, "multidisp": False, "display": 1, "usekbd": True, "layout": "us",
        "type": "pc105/us", "variant": "", "sound": False, "soundsystem": "pulse", "startsoundsystem": False,
        "soundtunnel": True, "defsndport": True, "sndport": 4713, "name": "NEW_PROFILE",
        "icon": ":icons/128x128/x2gosession.png", "host": ["server.mydomain"], "user": _local_user(), "key": "",
        "sshport": 22, "krblogin": False, "forwardsshagent": False, "rootless": True,
        "applications": list(X2GO_GENERIC_APPLICATIONS), "command": "TERMINAL", "published": False,
        "directrdp": False, "directrdpsettings": "", "rdpclient": "rdesktop", "rdpport": 3389,
        "rdpoptions": "-u X2GO_USER -p X2GO_PASSWORD", "rdpserver": "", "print": False, "xdmcpserver": "localhost",
        "kdrive": False,
        # Of x2goclient alone.
        "directxdmcp": False, "directxdmcpsettings": "", "xdmcpclient": "Xnest", "krbdelegation": False,
        "sshproxykrblogin": False, "usebrokeruserforproxy": False,
    }  # fmt: skip


def _x_display() -> Any:
    """A connection of python-xlib to the display of the environment, kept from then on; None without one."""
    if importlib.import_module("crl.x2go._xwindows").root_depth() is None:
        return None
    connection = importlib.import_module("Xlib.display").Display()
    globals()["X_DISPLAY"] = connection
    return connection


def _xconfig_defaults() -> dict[str, dict[str, Any]]:
    """The X servers that this system may have."""
    found: dict[str, dict[str, Any]] = importlib.import_module("crl.x2go._xservers").known_defaults(platform.system())
    return found


_LOOKED_UP: Final[Mapping[str, Callable[[], Any]]] = MappingProxyType(
    {
        "X2GOCLIENT_OS": platform.system,
        "LOCAL_HOME": _local_home,
        "CURRENT_LOCAL_USER": _local_user,
        "X_DISPLAY": _x_display,
        "X2GO_SETTINGS_CONFIGFILES": lambda: _config_files("settings"),
        "X2GO_PRINTING_CONFIGFILES": lambda: _config_files("printing"),
        "X2GO_SESSIONPROFILES_CONFIGFILES": lambda: _config_files("sessions"),
        "X2GO_XCONFIG_CONFIGFILES": lambda: _config_files("xconfig"),
        "X2GO_SESSIONPROFILE_DEFAULTS": session_profile_defaults,
        "X2GO_CLIENTXCONFIG_DEFAULTS": _xconfig_defaults,
    }
)


def __getattr__(name: str) -> Any:
    if name in _LOOKED_UP:
        return _LOOKED_UP[name]()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
