"""python-x2go's logger on top of `logging`.

`X2GoLogger` keeps the levels, the tags and the call by which applications use it, and hands what passes its mask to
the logger `crl.x2go` of the standard library; only when somebody sets `destination` it also writes lines there. Copies
with another tag share one mask, so that a change of the level reaches every part of a client. Nothing is set up at
import.
"""

from __future__ import annotations

import logging
import os
import sys
from typing import Any, ClassVar, Self, TextIO

from crl.secrets import redact

__all__ = [
    "X2GoLogger",
    "X2goLogger",
    "logger_for",
    "loglevel_DEBUG",
    "loglevel_DEBUG_SFTPXFER",
    "loglevel_DEFAULT",
    "loglevel_ERROR",
    "loglevel_INFO",
    "loglevel_NONE",
    "loglevel_NOTICE",
    "loglevel_WARN",
]

loglevel_NONE = 0
loglevel_ERROR = 8
loglevel_WARN = 16
loglevel_NOTICE = 32
loglevel_INFO = 64
loglevel_DEBUG = 128
loglevel_DEBUG_SFTPXFER = 1024
loglevel_DEFAULT = loglevel_ERROR | loglevel_WARN | loglevel_NOTICE

# From the gravest down; of a combination the gravest names it.
_LEVELS = (
    (loglevel_ERROR, "ERROR", logging.ERROR),
    (loglevel_WARN, "WARN", logging.WARNING),
    (loglevel_NOTICE, "NOTICE", logging.INFO),
    (loglevel_INFO, "INFO", logging.INFO),
    (loglevel_DEBUG, "DEBUG", logging.DEBUG),
    (loglevel_DEBUG_SFTPXFER, "DEBUG_SFTPXFER", logging.DEBUG),
)


class _Mask:
    """The level that a logger and its copies share."""

    def __init__(self, level: int) -> None:
        self.level = level


class X2GoLogger:
    """Logs messages whose level is in a mask, with a tag.

    Args:
        name: The program's name, for the lines of `destination`; default the first word of the command line.
        loglevel: The levels that pass, or-ed together.
        tag: What the messages are about; also the last part of the name of the logger of `logging` that gets them.
        logger: A logger of `logging` to use instead of ``crl.x2go``.

    Attributes:
        destination: A stream that gets ``program[pid] (tag) LEVEL: text`` too; of the class or of one logger.
    """

    destination: ClassVar[TextIO | None] = None

    def __init__(
        self,
        name: str | None = None,
        loglevel: int = loglevel_DEFAULT,
        tag: str | None = None,
        *,
        logger: logging.Logger | None = None,
    ) -> None:
        self.name = os.path.basename(name if name is not None else sys.argv[0] if sys.argv else "crl")
        self.tag = tag
        self.progpid = os.getpid()
        self._mask = _Mask(loglevel)
        self._logger = logger

    @property
    def loglevel(self) -> int:
        """The levels that pass."""
        return self._mask.level

    @loglevel.setter
    def loglevel(self, level: int) -> None:
        self._mask.level = level

    def message(self, msg: object, loglevel: int = loglevel_NONE, tag: str | None = None) -> None:
        """Log a message, if one of its levels passes; one without a level always does, as a notice."""
        tag = tag if tag is not None else self.tag
        if loglevel and not loglevel & self._mask.level:
            return
        label, level = _named(loglevel)
        text = redact(str(msg))
        self._target(tag).log(level, "%s", text)
        stream = self.destination
        if stream is not None:
            about = f" ({tag})" if tag is not None else ""
            stream.write(f"{self.name}[{os.getpid()}]{about} {label}: {text}\n")

    __call__ = message

    def error(self, text: str, *args: object) -> None:
        """Log an error, as a logger of `logging` does."""
        self.message(text % args if args else text, loglevel_ERROR)

    def warning(self, text: str, *args: object) -> None:
        """Log a warning, as a logger of `logging` does."""
        self.message(text % args if args else text, loglevel_WARN)

    def info(self, text: str, *args: object) -> None:
        """Log information, as a logger of `logging` does."""
        self.message(text % args if args else text, loglevel_INFO)

    def debug(self, text: str, *args: object) -> None:
        """Log what helps to find faults, as a logger of `logging` does."""
        self.message(text % args if args else text, loglevel_DEBUG)

    def _target(self, tag: str | None) -> logging.Logger:
        if self._logger is not None:
            return self._logger
        return logging.getLogger(f"crl.x2go.{tag.strip('_')}" if tag else "crl.x2go")

    def tagged(self, tag: str | None) -> Self:
        """A logger with another tag that shares this one's level and destination."""
        other = type(self).__new__(type(self))
        other.__dict__.update(self.__dict__)
        other.tag = tag
        return other

    def __copy__(self) -> Self:
        return self.tagged(self.tag)

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self.__copy__()

    def get_loglevel(self) -> int:
        """The levels that pass."""
        return self._mask.level

    def set_loglevel(self, loglevel_name: str | int = "none") -> None:
        """Let the level of that name and all graver ones pass, or exactly the levels of a number.

        Raises:
            ValueError: There is no level of that name.
        """
        if isinstance(loglevel_name, int):
            self._mask.level = loglevel_name
            return
        wanted = loglevel_name.upper()
        names = [name for _, name, _ in _LEVELS]
        if wanted in ("NONE", "QUIET"):
            self._mask.level = loglevel_NONE
        elif wanted == "DEFAULT":
            self._mask.level = loglevel_DEFAULT
        elif wanted in names:
            self._mask.level = sum(number for number, _, _ in _LEVELS[: names.index(wanted) + 1])
        else:
            known = ", ".join(["none", "default", *names]).lower()
            raise ValueError(f"there is no log level {loglevel_name!r}, only {known}")

    def set_loglevel_quiet(self) -> None:
        """Let nothing pass."""
        self.set_loglevel("none")

    def set_loglevel_error(self) -> None:
        """Let errors pass."""
        self.set_loglevel("error")

    def set_loglevel_warn(self) -> None:
        """Let errors and warnings pass."""
        self.set_loglevel("warn")

    def set_loglevel_notice(self) -> None:
        """Let notices and graver messages pass."""
        self.set_loglevel("notice")

    def set_loglevel_info(self) -> None:
        """Let information and graver messages pass."""
        self.set_loglevel("info")

    def set_loglevel_debug(self) -> None:
        """Let all pass but what the file server says of each transfer."""
        self.set_loglevel("debug")

    def enable_debug_sftpxfer(self) -> None:
        """Let also pass what the file server says of each transfer."""
        self._mask.level |= loglevel_DEBUG_SFTPXFER

    def disable_debug_sftpxfer(self) -> None:
        """Do not let pass what the file server says of each transfer."""
        self._mask.level &= ~loglevel_DEBUG_SFTPXFER


def _named(loglevel: int) -> tuple[str, int]:
    """The name of a level and its place in `logging`."""
    for number, name, level in _LEVELS:
        if loglevel & number:
            return name, level
    return "NOTICE", logging.INFO


def logger_for(
    logger: X2GoLogger | logging.Logger | None, loglevel: int, tag: str
) -> X2GoLogger:
    """The logger of a part of the client, made of what its constructor was given."""
    if isinstance(logger, X2GoLogger):
        return logger.tagged(tag)
    return X2GoLogger(loglevel=loglevel, tag=tag, logger=logger)


X2goLogger = X2GoLogger
