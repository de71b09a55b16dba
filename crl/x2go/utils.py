"""python-x2go's small functions.

Small things that applications and the parts of the client use: names, versions, files, ports, windows, keys. None of
them evaluates text or waits without a limit.
"""

from __future__ import annotations

import codecs
import encodings.aliases
import importlib
import locale
import os
import re
import shutil
import socket
import threading
import time
import unicodedata
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self, TypeVar

from crl.deadlines import Deadline
from crl.x2go import _xwindows
from crl.x2go.backends.profiles._options import session_params
from crl.x2go.backends.profiles.base import new_profile_id
from crl.x2go.defaults import BACKENDS, pack_methods_nx3
from crl.x2go.x2go_exceptions import X2GoBackendException, X2GoParameterError, X2GoTimeOutException

__all__ = [
    "ProgressStatus",
    "compare_versions",
    "detect_unused_port",
    "find_session_line_in_x2golistsessions",
    "find_session_window",
    "genkeypair",
    "get_desktop_geometry",
    "get_encoding",
    "get_workarea_geometry",
    "is_abs_path",
    "is_color_depth_ok",
    "is_in_nx3packmethods",
    "known_encodings",
    "local_color_depth",
    "merge_ordered_lists",
    "patiently_remove_file",
    "raise_session_window",
    "session_names_by_timestamp",
    "set_session_window_title",
    "slugify",
    "touch_file",
    "unique",
    "which",
    "xkb_rules_names",
]

Item = TypeVar("Item", bound=Hashable)
KEY_BITS = 3072
REMOVE_PATIENCE = 60.0
REMOVE_STEP = 0.2
PROGRESS_TIMEOUT = 3600.0
_DEPTHS_ALIKE = ({24, 32}, {16, 17})
_STAMP = re.compile(r"-(\d+)_st[A-Z]")
_COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    "==": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
    ">=": lambda a, b: a >= b,
    ">": lambda a, b: a > b,
}


# Names of the server and of profiles.


def is_in_nx3packmethods(method: str) -> bool:
    """Whether nxproxy and nxagent know a pack method of that name."""
    return method in pack_methods_nx3


def find_session_line_in_x2golistsessions(session_name: str, stdout: str | bytes | Iterable[str | bytes]) -> str | None:
    """The line of a session in what x2golistsessions printed; None when it is not there."""
    lines = stdout.splitlines() if isinstance(stdout, (str, bytes)) else stdout
    for line in lines:
        text = line.decode(errors="replace") if isinstance(line, bytes) else line
        if session_name in text.split("|"):
            return text.rstrip("\n")
    return None


def session_names_by_timestamp(session_infos: Mapping[str, Any] | Iterable[str]) -> list[str]:
    """Names of sessions in the order in which the sessions were made, as their names tell."""
    return sorted(session_infos, key=lambda name: int(found[1]) if (found := _STAMP.search(name)) else 0)


def _genSessionProfileId() -> str:
    """An id for a session profile: the time in UTC, to the microsecond."""
    return new_profile_id(())


def _checkIniFileDefaults(data_structure: object) -> bool:
    """Whether something has the form of the defaults of an ini file: a dict of dicts."""
    return isinstance(data_structure, dict) and all(isinstance(keys, dict) for keys in data_structure.values())


def _checkSessionProfileDefaults(data_structure: object) -> bool:
    """Whether something has the form of the defaults of session profiles: a dict."""
    return isinstance(data_structure, dict)


def _convert_SessionProfileOptions_2_SessionParams(options: Mapping[str, Any]) -> dict[str, Any]:
    """The keyword arguments of a session for the options of a profile; missing options count as their defaults."""
    return session_params(options)


def _get_backend_class(backend: str | type[Any], class_name: str) -> Any:
    """The class of a backend, by the name of the backend or as it stands.

    Raises:
        X2GoBackendException: There is no backend of that name.
    """
    if not isinstance(backend, str):
        return backend
    known = BACKENDS.get(class_name, {})
    name = known.get("default", "") if backend == "default" else backend
    if name not in known:
        choices = ", ".join(sorted(set(known) - {"default"})) or "none"
        raise X2GoBackendException(
            f"there is no backend {backend!r} of {class_name}", doing="choosing a backend", advice=f"known: {choices}"
        )
    return getattr(importlib.import_module(known[name]), class_name)


# Texts, lists, versions.


def slugify(value: str) -> str:
    """A text as a name for files: ASCII, lower case, only word characters and hyphens."""
    plain = unicodedata.normalize("NFKD", value).encode("ascii", "ignore").decode()
    return re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", plain).strip().lower())


def unique(seq: Iterable[Item]) -> list[Item]:
    """The items once each, in their order."""
    return list(dict.fromkeys(seq))


def merge_ordered_lists(l1: Sequence[Item], l2: Sequence[Item]) -> list[Item]:
    """The items of both lists once each; those of the second stand where they do among the shared ones."""
    merged = list(unique(l1))
    place = 0
    for item in unique(l2):
        if item in merged:
            place = merged.index(item) + 1
        else:
            merged.insert(place, item)
            place += 1
    return merged


def compare_versions(version_a: str, op: str, version_b: str) -> bool:
    """Whether two versions are in a relation: ``<``, ``<=``, ``==``, ``!=``, ``>=`` or ``>``.

    Raises:
        X2GoParameterError: There is no such relation.
    """
    if op not in _COMPARISONS:
        known = " ".join(_COMPARISONS)
        raise X2GoParameterError(f"versions cannot be compared by {op!r}", advice=f"use one of {known}")
    return _COMPARISONS[op](_version_key(version_a), _version_key(version_b))


def _version_key(version: str) -> list[tuple[int, int, str]]:
    """Numbers by size, letters by the alphabet and before numbers; zeros at the end do not count."""
    key = [
        (1, int(part), "") if part.isdigit() else (0, 0, part)
        for part in re.findall(r"[0-9]+|[A-Za-z]+", version)
    ]
    while key and key[-1] == (1, 0, ""):
        key.pop()
    return key


# Encodings, files, programs, ports.


def known_encodings() -> list[str]:
    """The names of the encodings that Python knows, in capitals."""
    names = {*encodings.aliases.aliases.values(), *encodings.aliases.aliases}
    return sorted({name.upper().replace("_", "-") for name in names if _is_text_encoding(name)})


def _is_text_encoding(name: str) -> bool:
    try:
        return bool(getattr(codecs.lookup(name), "_is_text_encoding", True))
    except LookupError:  # of another system
        return False


def get_encoding() -> str:
    """The encoding of this process's locale."""
    return locale.getpreferredencoding(do_setlocale=False)


def is_abs_path(path: str) -> bool:
    """Whether a path is absolute, here or on Windows."""
    return path.startswith("/") or re.match(r"[A-Za-z]:[\\/]", path) is not None


def touch_file(filename: str | os.PathLike[str], mode: str = "a") -> None:
    """Make a file, in a folder only for its owner if that is missing too."""
    path = Path(filename)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with path.open(mode):
        pass


def patiently_remove_file(dirname: str | os.PathLike[str], filename: str) -> None:
    """Remove a file that somebody may still hold; for a minute at most.

    Raises:
        OSError: It could not be removed.
    """
    path = Path(dirname) / filename
    deadline = Deadline.after(REMOVE_PATIENCE)
    while True:
        try:
            path.unlink(missing_ok=True)
        except OSError:
            if deadline.expired:
                raise
        else:
            return
        time.sleep(REMOVE_STEP)


def which(basename: str) -> str | None:
    """Where a program is; None when it is not on PATH."""
    return shutil.which(basename)


def detect_unused_port(bind_address: str = "127.0.0.1", preferred_port: int | None = None) -> int:
    """A TCP port that nobody listens on now, the preferred one if possible; it is not kept for the caller."""
    family = socket.AF_INET6 if ":" in bind_address else socket.AF_INET
    for port in (preferred_port, 0):
        if port is None:
            continue
        with socket.socket(family, socket.SOCK_STREAM) as sock:
            try:
                sock.bind((bind_address, port))
            except OSError:
                if port == 0:
                    raise
                continue
            return int(sock.getsockname()[1])
    raise X2GoParameterError(f"no port is free on {bind_address}")


def genkeypair(local_username: str, client_address: str, key_type: str = "RSA") -> tuple[str, Any]:
    """A new key for one session.

    Args:
        local_username: For the comment.
        client_address: For the comment.
        key_type: RSA (3072 bits), ECDSA.

    Returns:
        The line for authorized_keys, and the key as an object of paramiko.

    Raises:
        X2GoParameterError: There is no such type here; DSA is not one, current servers refuse it.
    """
    paramiko = importlib.import_module("paramiko")
    if key_type == "RSA":
        key = paramiko.RSAKey.generate(KEY_BITS)
    elif key_type == "ECDSA":
        key = paramiko.ECDSAKey.generate()
    else:
        raise X2GoParameterError(f"no key of type {key_type!r} can be made", advice="use RSA or ECDSA")
    options = "no-X11-forwarding,no-pty,no-user-rc"
    return f"{options} {key.get_name()} {key.get_base64()} {local_username}@{client_address}", key


# The client's own display.


def local_color_depth() -> int:
    """Bits of a pixel of our display; 24 without one."""
    return _xwindows.root_depth() or 24


def is_color_depth_ok(depth_session: int, depth_local: int) -> bool:
    """Whether a session of one depth can be shown on a display of the other; 0 is a session that fits all."""
    if depth_session in (0, depth_local):
        return True
    return any({depth_session, depth_local} <= alike for alike in _DEPTHS_ALIKE)


def xkb_rules_names() -> dict[str, str] | None:
    """Rules, model, layout, variant and options of our display's keyboard; None without a display."""
    return _xwindows.keyboard_rules()


def get_desktop_geometry() -> tuple[int, int] | None:
    """Width and height of our display; None without one."""
    return _xwindows.desktop_geometry()


def get_workarea_geometry() -> tuple[int, int] | None:
    """Width and height of what panels leave of our display; None when no window manager says that."""
    return _xwindows.workarea_geometry()


def find_session_window(session_name: str) -> Any:
    """The window of a session on our display; None when it is not there."""
    return _xwindows.find_window(session_name)


def set_session_window_title(session_window: Any, session_title: str) -> None:
    """Give the window of a session another title."""
    _xwindows.set_title(session_window, session_title)


def raise_session_window(session_window: Any) -> None:
    """Bring the window of a session to the front."""
    _xwindows.raise_window(session_window)


class ProgressStatus:
    """The steps of a session's start: iterating waits for each and gives the percentage; ends at 100 or -1.

    Args:
        progress_event: Set whenever there was progress.
        progress_func: Gives the percentage, or numbers to go through.
        timeout: Seconds that one step may take.
    """

    def __init__(
        self,
        progress_event: threading.Event,
        progress_func: Callable[[], int] | Sequence[int] = tuple(range(0, 100, 10)),
        timeout: float | None = PROGRESS_TIMEOUT,
    ) -> None:
        self.ev = progress_event
        self.progress_func = progress_func if callable(progress_func) else _Steps(progress_func)
        self.timeout = timeout
        self.status = 0

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> int:
        if self.status == -1 or self.status >= 100:
            raise StopIteration
        if not self.ev.wait(self.timeout):
            raise X2GoTimeOutException(f"there was no progress for {self.timeout} s", doing="starting a session")
        self.ev.clear()
        self.status = self.progress_func()
        return self.status


class _Steps:
    """Gives numbers one by one, then 100."""

    def __init__(self, numbers: Sequence[int]) -> None:
        self._left = list(numbers)

    def __call__(self) -> int:
        return self._left.pop(0) if self._left else 100
