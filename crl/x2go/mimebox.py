"""The files that a session sends to be opened here.

What a program in the session puts into the folder that its ``X2GO_MIMEBOX`` names is taken out of it here, when it is
complete, and handed to an action. Files without a path in their names only, plain ones, of the kinds that were asked
for and of none that could be a program: the others are left where they are.
"""

from __future__ import annotations

import contextlib
import logging
import os
import stat
import time
from collections.abc import Iterable
from typing import Any, ClassVar

from crl.x2go._boxqueue import BoxJob, BoxQueue, FinishedJob
from crl.x2go._spool import look_into, safe_name, take
from crl.x2go.defaults import X2GO_MIMEBOX_EXTENSIONS_BLACKLIST
from crl.x2go.log import X2GoLogger, loglevel_DEFAULT, loglevel_NOTICE
from crl.x2go.mimeboxactions import DOING, X2GoMIMEboxAction, make_mimebox_action
from crl.x2go.x2go_exceptions import X2GoException, X2GoMIMEboxQueueException

__all__ = ["X2GoMIMEboxJob", "X2GoMIMEboxQueue", "x2go_mimeboxjob_handler"]

SETTLING_TIME = 1.0
# What a system may run when it is opened, beside python-x2go's own list.
_PROGRAMS = """
    action app appimage application applescript appref-ms bash command cpl csh desktop dll fish gadget hta inf ins jar
    jnlp jse ksh lnk mde msc msh msi msix msp mst nsh osx out pif pkg ps1xml psc1 psc2 psm1 pyc pyo pyw pyz rb reg run
    scf scpt scptd scr sct service settingcontent-ms shb shs tcl tcsh tool u3p url vb vbe vbs vbscript webloc workflow
    ws wsc wsf wsh xap xbap zsh
"""
REFUSED = frozenset({*(name.upper() for name in _PROGRAMS.split()), *X2GO_MIMEBOX_EXTENSIONS_BLACKLIST})


class X2GoMIMEboxJob(BoxJob):
    """The thread of one file; its arguments are those of `threading.Thread`."""


class X2GoMIMEboxQueue(BoxQueue):
    """Takes files out of a session's folder, and has each one opened or stored.

    Args:
        profile_name: Of the session.
        session_name: Of the session.
        mimebox_dir: The folder that is shared with the session.
        mimebox_action: What is done with a file: an action's name, its class, or an object; None is ``"OPEN"``.
        mimebox_extensions: The endings of names that are taken, in large or small letters; none are all. Endings of
            programs are never taken.
        client_instance: The client whose hooks are told and asked.
        logger: Where to log.
        loglevel: Levels to log when `logger` is not an `X2GoLogger`.

    Raises:
        X2GoMIMEboxQueueException: There is no folder, or it cannot be made.
        X2GoMIMEboxActionException: There is no such action.
    """

    WHAT: ClassVar[str] = "MIME box"
    FAILURE: ClassVar[type[X2GoException]] = X2GoMIMEboxQueueException

    mimebox_action: X2GoMIMEboxAction

    def __init__(
        self,
        profile_name: str = "UNKNOWN",
        session_name: str = "UNKNOWN",
        mimebox_dir: str | os.PathLike[str] | None = None,
        mimebox_action: Any = None,
        mimebox_extensions: Iterable[str] = (),
        client_instance: Any = None,
        logger: X2GoLogger | logging.Logger | None = None,
        loglevel: int = loglevel_DEFAULT,
    ) -> None:
        super().__init__(mimebox_dir, profile_name, session_name, client_instance, logger, loglevel)
        self.mimebox_dir = str(self.folder)
        self.mimebox_extensions = _endings(mimebox_extensions)
        self._seen: dict[str, tuple[tuple[int, ...], float]] = {}
        self._refused: set[str] = set()
        self.set_mimebox_action(mimebox_action)

    def set_mimebox_action(self, mimebox_action: Any, **kwargs: Any) -> None:
        """Say what is done with the files from now on.

        Args:
            mimebox_action: As of the class.
            **kwargs: Arguments of the action.

        Raises:
            X2GoMIMEboxActionException: There is no such action, or it has no such arguments.
        """
        self.mimebox_action = make_mimebox_action(mimebox_action, self.client_instance, self.logger, **kwargs)

    @property
    def _incoming_mimebox_jobs(self) -> list[str]:
        """The files that wait, complete or not."""
        names = look_into(self.folder)
        return [name for name in names if _is_taken(name, self.mimebox_extensions) and name not in self.active_jobs]

    def _wanted(self, names: list[str]) -> list[str]:
        """The files that may be taken and that nobody has written to for a while."""
        taken = [name for name in names if _is_taken(name, self.mimebox_extensions)]
        for name in set(names) - set(taken) - self._refused:
            self.logger(f"{name[:200]!r} is left in the MIME box: such files are not taken", loglevel=loglevel_NOTICE)
        self._refused = set(names) - set(taken)
        before, self._seen, now = self._seen, {}, time.monotonic()
        complete = []
        for name in taken:
            with contextlib.suppress(OSError):  # it went
                found = (self.folder / name).lstat()
                if stat.S_ISREG(found.st_mode):
                    look = (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)
                    seen, since = before.get(name, (look, now))
                    self._seen[name] = (look, since if seen == look else now)
                    if now - self._seen[name][1] >= SETTLING_TIME and not _is_written_here(found):
                        complete.append(name)
        return complete

    def _job(self, name: str) -> X2GoMIMEboxJob:
        given = {
            "mimebox_file": name, "mimebox_extensions": self.mimebox_extensions,
            "mimebox_action": self.mimebox_action, "parent_thread": self, "logger": self.logger,
        }  # fmt: skip
        return X2GoMIMEboxJob(target=x2go_mimeboxjob_handler, kwargs=given, name="crl-x2go-mimebox-job")

    def _tell_unusable(self) -> None:
        if self.client_instance is not None:
            names = {"profile_name": self.profile_name, "session_name": self.session_name}
            self.client_instance.HOOK_mimebox_not_available(**names)

    def _process(self, name: str, extensions: frozenset[str], action: X2GoMIMEboxAction) -> None:
        """One file from its beginning to its end."""
        result, failed = None, None
        try:
            if not _is_taken(name, extensions):
                raise X2GoMIMEboxQueueException(f"{name!r} is of a kind that is not taken", doing=DOING)
            with self._work_folder() as (work, at_end):
                copy = work / safe_name(name)
                take(self.folder, name, copy)
                self._remove(name)
                at_end.pop_all()  # whatever becomes of it, it is the only one now, and somebody may still look at it
                result = action.do_process(str(copy), str(work))
        except Exception as error:  # noqa: BLE001 - an action may be an application's own; the queue has to go on
            failed = self._failure(error, DOING)
            self._leave(name)
        self._finish_job(FinishedJob(name, name, action.name, result, failed))


def _endings(extensions: Iterable[str]) -> frozenset[str]:
    """Endings of names as they are compared."""
    return frozenset(one.strip().lstrip(".").upper() for one in extensions if one.strip().lstrip("."))


def _is_taken(name: str, extensions: frozenset[str]) -> bool:
    """Whether a file of that name may be opened here, as its name is there and as it would be here."""
    if name.startswith(".") or not name.isprintable():
        return False
    there, here = (_ending(one) for one in (name, safe_name(name)))
    return not {there, here} & REFUSED and (not extensions or there in extensions)


def _ending(name: str) -> str:
    """The ending by which a system tells what a file is; dots and blanks behind it do not count."""
    _, dot, ending = name.rstrip(". ").rpartition(".")
    return ending.upper() if dot else ""


def _is_written_here(found: os.stat_result) -> bool:
    """Whether this process, whose server the session's files come through, has a file open for writing."""
    with contextlib.suppress(OSError):  # a system without /proc: that nobody has written for a while has to do
        for number in os.listdir("/proc/self/fd"):
            with contextlib.suppress(OSError):  # it was closed meanwhile
                opened = os.fstat(int(number))
                if (opened.st_dev, opened.st_ino) == (found.st_dev, found.st_ino):
                    with open(f"/proc/self/fdinfo/{number}", encoding="ascii") as lines:
                        flags = int(lines.read().partition("flags:")[2].split()[0], 8)
                    if flags & os.O_ACCMODE != os.O_RDONLY:
                        return True
    return False


def x2go_mimeboxjob_handler(
    mimebox_file: str | None = None,
    mimebox_extensions: Iterable[str] = (),
    mimebox_action: X2GoMIMEboxAction | None = None,
    parent_thread: X2GoMIMEboxQueue | None = None,
    logger: X2GoLogger | logging.Logger | None = None,  # noqa: ARG001 - as published; the queue has its own
) -> None:
    """Do one file; what runs in the thread of each.

    Args:
        mimebox_file: The file's name in the queue's folder.
        mimebox_extensions: The endings that are taken; none are all.
        mimebox_action: What is done; None is what the queue does.
        parent_thread: The queue.
        logger: Accepted as in python-x2go.

    Raises:
        X2GoMIMEboxQueueException: There is no file or no queue.
    """
    if mimebox_file is None or parent_thread is None:
        raise X2GoMIMEboxQueueException("a file of the MIME box needs its name and its queue", doing=DOING)
    action = mimebox_action or parent_thread.mimebox_action
    with parent_thread._working():  # noqa: SLF001 - one thing in two functions
        parent_thread._process(mimebox_file, _endings(mimebox_extensions), action)  # noqa: SLF001
