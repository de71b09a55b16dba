"""A configuration node in files: typed values with defaults, read again when a file has changed.

`X2GoIniFile` has python-x2go's methods over `IniDocument`. The first file is the user's own, wins over the others, and
is the only one written: under a lock, in one step, and only what was changed, so that what another program wrote in
the meantime stays. Values never become code.
"""

from __future__ import annotations

import copy
import logging
import os
import re
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar

from crl.deadlines import Deadline
from crl.x2go._filelock import locked, replace_file
from crl.x2go._inidocument import Entry, IniDocument
from crl.x2go._inivalues import TRUTH, decode_list, decode_text, encode_bool, encode_list, encode_text
from crl.x2go.log import X2GoLogger, logger_for, loglevel_DEFAULT, loglevel_NOTICE, loglevel_WARN
from crl.x2go.x2go_exceptions import X2GoClientException, X2GoException, X2GoParameterError

__all__ = ["X2GoIniFile"]

LOCK_PATIENCE = 10.0
FRESH_NS = 100_000_000  # a file that was changed so recently may change again and show the same time
_NAME = re.compile(r"[^\]\[\r\n]+")
_KEY_NAME = re.compile(r"[^=:\s#;\[][^=:\r\n]*")
Edit = Callable[[IniDocument], None]


class X2GoIniFile:
    """A node of the client's configuration.

    Args:
        config_files: The user's file, then others that count where it says nothing; one path or several.
        defaults: For each section the keys with their values where no file says anything; they also give the types.
            A user's file that does not exist is made with them.
        logger: Where to log.
        loglevel: Levels to log when `logger` is not an `X2GoLogger`.

    Attributes:
        config_files: The files.
        user_config_file: The one that is written; None when there is none.
        write_user_config: Set it to False and `write` writes nothing.
    """

    _FAILURE: ClassVar[type[X2GoException]] = X2GoClientException
    write_user_config: bool = True

    def __init__(
        self,
        config_files: str | os.PathLike[str] | Iterable[str | os.PathLike[str]] | None,
        defaults: Mapping[str, Mapping[str, Any]] | None = None,
        logger: X2GoLogger | logging.Logger | None = None,
        loglevel: int = loglevel_DEFAULT,
    ) -> None:
        if config_files is None or isinstance(config_files, (str, os.PathLike)):
            config_files = [] if config_files is None else [config_files]
        self.config_files = [os.path.expanduser(os.fspath(path)) for path in config_files]
        self.user_config_file = self.config_files[0] if self.config_files else None
        self.defaults = {section: dict(keys) for section, keys in (defaults or {}).items()}
        self.logger = logger_for(logger, loglevel, tag=type(self).__name__)
        self._ini_lock = threading.RLock()
        self._edits: list[Edit] = []
        self._generation = 0
        self.load()
        self._fill_defaults()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.user_config_file}>"

    # Reading.

    def load(self) -> None:
        """Read the files again; changes that were not written are forgotten.

        Raises:
            X2GoException: A file is there and cannot be read; the class is the node's own.
        """
        with self._ini_lock:
            self._edits.clear()
            self._read_files()

    def _read_files(self) -> None:
        """Read all files and apply what waits to be written; `_generation` tells that apart from what was before."""
        self._generation += 1
        signatures = [_signature(path) for path in self.config_files]
        now = time.time_ns()
        self._documents = [IniDocument(self._text_of(path)) for path in self.config_files] or [IniDocument()]
        self._signatures = signatures
        self._fresh = any(one is not None and abs(now - max(one[:2])) < FRESH_NS for one in signatures)
        for edit in self._edits:
            edit(self._documents[0])

    def _text_of(self, path: str) -> str:
        try:
            return _decoded(Path(path).read_bytes())
        except (FileNotFoundError, NotADirectoryError):
            return ""
        except OSError as error:
            raise self._FAILURE(
                f"{path} cannot be read: {error.strerror}",
                doing="reading the client's configuration",
                advice="mend its permissions, or take it away to begin with the defaults",
            ) from error

    def _refresh(self) -> bool:
        """Read the files again if one of them has changed; whether one has."""
        with self._ini_lock:
            changed = self._fresh or self._signatures != [_signature(path) for path in self.config_files]
            if changed:
                self._read_files()
            return changed

    def _sections(self) -> list[str]:
        """The names of all sections of all files, the user's first."""
        with self._ini_lock:
            return list(dict.fromkeys(name for document in self._documents for name in document.sections()))

    def _keys(self, section: str) -> list[str]:
        with self._ini_lock:
            return list(dict.fromkeys(key for document in self._documents for key in document.keys(section)))

    def _entry(self, section: str, key: str) -> Entry | None:
        entries = (document.entry(section, key) for document in self._documents)
        return next((entry for entry in entries if entry is not None), None)

    def get_type(self, section: str, key: str) -> type[Any]:
        """The type of a key's default.

        Raises:
            KeyError: It has no default.
        """
        return type(self.defaults[section][key])

    def get_value(self, section: str, key: str, key_type: type[Any] | None = None) -> Any:
        """The value of a key, of the type of its default or of `key_type`; text when neither is known.

        Returns:
            The value; where no file has one, or an empty one for a number or a truth value, its default; None when it
            has no default.

        Raises:
            X2GoException: What stands in the file is not of that type; the class is the node's own.
        """
        with self._ini_lock:
            self._refresh()
            default = self.defaults.get(section, {}).get(key)
            kind = key_type if key_type is not None else str if default is None else type(default)
            entry = self._entry(section, key)
            if entry is None or (kind in (bool, int, float) and not entry.raw):
                return copy.deepcopy(default)
            try:
                return _typed(entry, kind)
            except ValueError as error:
                raise self._FAILURE(
                    f"[{section}] {key} has to be {_KINDS.get(kind, kind.__name__)}, not {entry.raw!r}",
                    doing=f"reading {' or '.join(self.config_files)}",
                    advice="correct that line",
                ) from error

    get = get_value
    __call__ = get_value

    @property
    def printable_config_file(self) -> str:
        """The user's file as `write` would write it."""
        with self._ini_lock:
            self._refresh()
            return self._documents[0].text

    # Changing.

    def _fill_defaults(self) -> None:
        """Make the user's file, with the defaults, when there is none."""
        if self.user_config_file is None or Path(self.user_config_file).exists():
            return
        with self._ini_lock:
            for section, keys in self.defaults.items():
                for key, value in keys.items():
                    self._storeValue(section, key, value)
            try:
                self.__write()
            except X2GoException as error:  # reading works without
                self.logger(f"{error}", loglevel=loglevel_WARN)
                self.load()

    def _storeValue(self, section: str, key: str, value: Any) -> None:
        """Note that a key gets a value; bool, int, list and text as both X2Go clients read them."""
        name = section if section in self._documents[0].sections() else section.encode("ascii", "replace").decode()
        if section != name or not _NAME.fullmatch(section) or not _KEY_NAME.fullmatch(key) or not key.isascii():
            raise X2GoParameterError(f"no configuration file can have a section {section!r} with a key {key!r}")

        kept = copy.deepcopy(value)

        def put(document: IniDocument) -> None:
            document.put(section, key, _encoded(kept, document.entry(section, key)))

        self._change(put)

    def _change(self, edit: Edit) -> None:
        with self._ini_lock:
            self._edits.append(edit)
            edit(self._documents[0])

    def update_value(self, section: str, key: str, value: Any) -> None:
        """Give a key a value; `write` stores it."""
        with self._ini_lock:
            self._refresh()
            entry = self._documents[0].entry(section, key)
            if entry is None or not _means(entry, value):
                self._storeValue(section, key, value)

    __update_value = update_value

    def write(self) -> bool:
        """Store what was changed in the user's file, and create it if there is none.

        Returns:
            Whether the file has all changes now; False when `write_user_config` is off or there is no such file.

        Raises:
            X2GoException: It cannot be written, or another program held its lock for ten seconds; the class is the
                node's own. The changes are kept and can be written later.
        """
        if self.user_config_file is None or not self.write_user_config:
            self.logger("the configuration is not written: that is switched off", loglevel=loglevel_NOTICE)
            return False
        path = Path(self.user_config_file)
        with self._ini_lock:
            if not self._edits and path.exists():
                return True
            try:
                self._write_changes(path)
            except OSError as error:
                raise self._FAILURE(
                    f"{path} cannot be written: {error.strerror}",
                    doing="storing the client's configuration",
                    advice="mend the permissions of the file and its folder, or end the program that holds its lock",
                ) from error
            self._edits.clear()
            self._read_files()
        return True

    __write = write

    def _write_changes(self, path: Path) -> None:
        """Apply the changes to what the file holds now, whoever wrote it."""
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with locked(path, Deadline.after(LOCK_PATIENCE)):
            data = path.read_bytes() if path.exists() else b""
            document = IniDocument(_decoded(data))
            for edit in self._edits:
                edit(document)
            changed = document.text.encode(_encoding(data))
            if changed != data or not path.exists():
                replace_file(path, changed)


_KINDS: dict[type[Any], str] = {bool: "1, 0, true or false", int: "a whole number", float: "a number"}


def _typed(entry: Entry, kind: type[Any]) -> Any:
    """A value as one of the types of the nodes; ValueError when it is none."""
    if kind in (list, tuple):
        return decode_list(entry.raw, plain=entry.plain)
    text = decode_text(entry.raw, plain=entry.plain)
    if kind is bool:
        if text.strip().lower() not in TRUTH:
            raise ValueError(text)
        return TRUTH[text.strip().lower()]
    if kind in (int, float):
        return kind(text)
    return text


def _means(entry: Entry, value: Any) -> bool:
    """Whether a value stands in the file already, in whatever spelling."""
    try:
        return bool(_typed(entry, type(value)) == value) and not isinstance(value, (dict, tuple))
    except ValueError:
        return False


def _encoded(value: Any, before: Entry | None) -> str:
    if isinstance(value, bool):
        return encode_bool(value, before.raw if before is not None else None)
    if isinstance(value, (list, tuple)):
        return encode_list([str(one) for one in value])
    return encode_text("" if value is None else str(value))


def _signature(path: str) -> tuple[int, int, int, int] | None:
    """What changes when a file does, two times first; None when there is none."""
    try:
        facts = os.stat(path)
    except OSError:
        return None
    # The second one nobody can set back.
    return facts.st_mtime_ns, facts.st_ctime_ns, facts.st_size, facts.st_ino


def _encoding(data: bytes) -> str:
    """UTF-8 as python-x2go writes, Latin-1 where that cannot be (Qt reads and writes no other)."""
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return "latin-1"
    return "utf-8-sig" if data.startswith(b"\xef\xbb\xbf") else "utf-8"


def _decoded(data: bytes) -> str:
    return data.decode(_encoding(data))
