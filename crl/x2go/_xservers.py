"""X servers that a machine may have, and where their programs are: decisions, which touch nothing.

On Windows they are found by the registry, on other systems on PATH. What is read of the machine comes through small
functions that a caller gives, so that what would be done on Windows can be looked at anywhere.
"""

from __future__ import annotations

import csv
import io
import ntpath
import shutil
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from crl.x2go.clientdisplay import server_words

__all__ = ["ReadRegistry", "known_defaults", "program_of", "read_registry", "running_names", "windows_command"]

ReadRegistry = Callable[[str, str], "str | None"]  # the key below HKEY_LOCAL_MACHINE or HKEY_CURRENT_USER, the name
SIZE = (1280, 1024, 24)

# For each X server of Windows: its program, where the registry names its folder, and the folders it is in by habit.
_UNINSTALL = r"SOFTWARE\Microsoft\Windows\CurrentVersion\Uninstall"
_ON_WINDOWS: dict[str, tuple[str, tuple[tuple[str, str, str], ...], tuple[str, ...]]] = {
    "VcXsrv": (
        "vcxsrv.exe",
        ((r"SOFTWARE\VcXsrv", "Install_Dir_64", ""), (r"SOFTWARE\VcXsrv", "Install_Dir", "")),
        (r"%ProgramFiles%\VcXsrv", r"%ProgramFiles(x86)%\VcXsrv"),
    ),
    "Xming": (
        "Xming.exe",
        ((rf"{_UNINSTALL}\Xming_is1", "InstallLocation", ""),),
        (r"%ProgramFiles%\Xming", r"%ProgramFiles(x86)%\Xming"),
    ),
    "Cygwin-X": (
        "XWin.exe",
        ((r"SOFTWARE\Cygwin\setup", "rootdir", "bin"),),
        (r"%SystemDrive%\cygwin64\bin", r"%SystemDrive%\cygwin\bin"),
    ),
}
_WINDOWS_PARAMETERS = {
    "VcXsrv": ["-multiwindow", "-notrayicon", "-clipboard", "-nowgl"],
    "Xming": ["-multiwindow", "-notrayicon", "-clipboard"],
    "Cygwin-X": ["-multiwindow", "-notrayicon", "-clipboard", "-listen", "tcp"],  # which it does not by itself
}
_ELSEWHERE = {"Xwayland": "WAYLAND_DISPLAY", "Xephyr": "DISPLAY", "Xvfb": ""}  # what each of them needs


def known_defaults(system: str) -> dict[str, dict[str, Any]]:
    """What an ``xconfig`` file says as long as nobody writes another: the X servers of a system, best first.

    Args:
        system: ``"Windows"``, or any other.
    """
    found: dict[str, dict[str, Any]] = {}
    if system == "Windows":
        found["XServers"] = {"known_xservers": list(_ON_WINDOWS)}
        for name, (program, _, _) in _ON_WINDOWS.items():
            found[name] = {
                "display": "localhost:40", "last_display": "localhost:40", "process_name": program,
                "test_installed": "", "run_command": "", "parameters": list(_WINDOWS_PARAMETERS[name]), "needs": "",
            }  # fmt: skip
        return found
    found["XServers"] = {"known_xservers": list(_ELSEWHERE)}
    for name, needs in _ELSEWHERE.items():
        found[name] = {
            "display": "", "last_display": "", "process_name": name, "test_installed": "", "run_command": "",
            "parameters": server_words(name, *SIZE), "needs": needs,
        }  # fmt: skip
    return found


def program_of(
    name: str,
    config: Mapping[str, Any],
    system: str,
    *,
    environment: Mapping[str, str],
    registry: ReadRegistry,
    is_file: Callable[[str], bool],
) -> str | None:
    """The program of an X server on this machine; None when it is not there.

    What the configuration names wins; then, on Windows, the registry and the usual folders, elsewhere PATH.

    Args:
        name: The X server's name.
        config: Its section.
        system: ``"Windows"``, or any other.
        environment: Variables.
        registry: Reads a value below HKEY_LOCAL_MACHINE, else HKEY_CURRENT_USER.
        is_file: Whether there is a file.
    """
    if system != "Windows":
        command = config.get("run_command") or config.get("test_installed") or config.get("process_name") or name
        return shutil.which(command, path=environment.get("PATH"))
    given = config.get("run_command") or config.get("test_installed")
    if given:
        places = [_expanded(given, environment)]
    else:
        program, keys, habits = _ON_WINDOWS.get(name, (str(config.get("process_name") or f"{name}.exe"), (), ()))
        folders = [ntpath.join(value, below) for key, entry, below in keys if (value := registry(key, entry))]
        folders += [_expanded(folder, environment) for folder in habits]
        places = [ntpath.join(folder, program) for folder in folders if "%" not in folder]
    return next((place for place in places if is_file(place)), None)


def _expanded(text: str, environment: Mapping[str, str]) -> str:
    """A path with its ``%variables%``, whose names have no case on Windows."""
    values = {key.upper(): value for key, value in environment.items()}
    pieces = text.split("%")
    if len(pieces) % 2 == 0:
        return text
    for place in range(1, len(pieces), 2):
        pieces[place] = values.get(pieces[place].upper(), f"%{pieces[place]}%")
    return "".join(pieces)


def windows_command(program: str, config: Mapping[str, Any], display: str) -> list[str]:
    """The command line of an X server of Windows; without ``-ac`` they let in this machine's programs alone.

    Args:
        program: Its program.
        config: Its section.
        display: Such as ``localhost:40``.
    """
    number = display.rpartition(":")[2].partition(".")[0]
    return [program, f":{number}", *[str(word) for word in config.get("parameters") or []]]


def running_names(names: Sequence[str], tasks: str) -> list[str]:
    """Which programs run, by what ``tasklist /fo csv /nh`` prints; case does not count there.

    Args:
        names: Of the programs.
        tasks: What it printed.
    """
    running = {row[0].lower() for row in csv.reader(io.StringIO(tasks)) if row}
    return [name for name in names if name.lower() in running]


def read_registry(key: str, name: str) -> str | None:
    """A value of this machine's registry; None when it has none, as on all systems but Windows."""
    try:
        import winreg
    except ImportError:
        return None
    for root in ("HKEY_LOCAL_MACHINE", "HKEY_CURRENT_USER"):
        for view in ("KEY_WOW64_64KEY", "KEY_WOW64_32KEY"):
            access = getattr(winreg, "KEY_READ", 0) | getattr(winreg, view, 0)
            try:
                with winreg.OpenKey(getattr(winreg, root), key, 0, access) as opened:  # type: ignore[attr-defined]
                    value, _ = winreg.QueryValueEx(opened, name)  # type: ignore[attr-defined]
            except OSError:
                continue
            return str(value)
    return None
