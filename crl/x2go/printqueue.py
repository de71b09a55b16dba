"""The print jobs of a session, as they arrive.

An X2Go server writes each job into a folder that the client shares with the session: a PDF file, and when that is
complete a file that ends in ``.ready`` and says the PDF file's name and the job's title. `X2GoPrintQueue` takes them
out of the folder and hands each to a print action. What lies there is the server's word only: a job is used when its
name is a name, its file a plain PDF file, and by a copy that the server cannot reach.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Mapping
from typing import Any, ClassVar

from crl.x2go import defaults
from crl.x2go._boxqueue import BoxJob, BoxQueue, FinishedJob
from crl.x2go._spool import SpoolError, clean_title, look_into, read_small, take
from crl.x2go.log import X2GoLogger, loglevel_DEFAULT
from crl.x2go.printactions import DEFAULT_TITLE, DOING, X2GoPrintAction, make_print_action
from crl.x2go.utils import _get_backend_class
from crl.x2go.x2go_exceptions import X2GoException, X2GoPrintQueueException

__all__ = ["FinishedJob", "X2GoPrintJob", "X2GoPrintQueue", "x2go_printjob_handler"]

READY = ".ready"
LARGEST_NOTE = 16 * 1024
_PDF_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._@+~-]{0,240}\.pdf", re.ASCII)


class X2GoPrintJob(BoxJob):
    """The thread of one print job; its arguments are those of `threading.Thread`."""


class X2GoPrintQueue(BoxQueue):
    """Takes print jobs out of a session's folder, and has each one shown, stored or printed.

    Args:
        profile_name: Of the session.
        session_name: Of the session.
        spool_dir: The folder that is shared with the session.
        print_action: What is done with a job: an action's name as ``"PDFSAVE"``, its class, or an object. None is
            what the client's print settings say at the time of each job.
        print_action_args: Arguments of the action.
        client_instance: The client whose hooks are told and asked; without one what fails is logged.
        printing_backend: Name or class of the backend of print settings.
        logger: Where to log.
        loglevel: Levels to log when `logger` is not an `X2GoLogger`.
        client_rootdir: The folder with the file of print settings; None is the client's, or ``~/.x2goclient``.

    Raises:
        X2GoPrintQueueException: There is no folder, or it cannot be made.
        X2GoPrintActionException: There is no such action.
    """

    WHAT: ClassVar[str] = "print queue"
    FAILURE: ClassVar[type[X2GoException]] = X2GoPrintQueueException

    print_action: X2GoPrintAction | None

    def __init__(
        self,
        profile_name: str = "UNKNOWN",
        session_name: str = "UNKNOWN",
        spool_dir: str | os.PathLike[str] | None = None,
        print_action: Any = None,
        print_action_args: Mapping[str, Any] | None = None,
        client_instance: Any = None,
        printing_backend: Any = "FILE",
        logger: X2GoLogger | logging.Logger | None = None,
        loglevel: int = loglevel_DEFAULT,
        *,
        client_rootdir: str | os.PathLike[str] | None = None,
    ) -> None:
        super().__init__(spool_dir, profile_name, session_name, client_instance, logger, loglevel)
        self.spool_dir = str(self.folder)
        self.printing_backend = _get_backend_class(printing_backend, "X2GoClientPrinting")
        self.client_rootdir = client_rootdir or getattr(client_instance, "client_rootdir", None)
        self.set_print_action(print_action, **dict(print_action_args or {}))

    def set_print_action(self, print_action: Any, **kwargs: Any) -> None:
        """Say what is done with the jobs from now on.

        Args:
            print_action: As of the class.
            **kwargs: Arguments of the action.

        Raises:
            X2GoPrintActionException: There is no such action, or it has no such arguments.
        """
        if print_action is None:
            self.print_action = None
        else:
            self.print_action = make_print_action(print_action, self.client_instance, self.logger, **kwargs)

    def _action_of_settings(self) -> X2GoPrintAction:
        """What the client's print settings say now."""
        own, usual = self.client_rootdir, os.path.join(defaults.LOCAL_HOME, defaults.X2GO_CLIENT_ROOTDIR)
        where = {}
        if own is not None and os.path.abspath(os.path.expanduser(own)) != usual:
            where = {"config_files": [os.path.join(own, "printing")]}  # in the usual folder: over those of the machine
        settings = self.printing_backend(client_instance=self.client_instance, logger=self.logger, **where)
        action: X2GoPrintAction = settings.get_print_action()
        return action

    @property
    def _incoming_print_jobs(self) -> list[tuple[str, str, str]]:
        """The jobs that wait: for each its ``.ready`` file, its PDF file and its title."""
        waiting = []
        for name in self._wanted(look_into(self.folder)):
            try:
                waiting.append((name, *self._read_note(name)))
            except SpoolError as error:
                self.logger.info("%s", error)
        return [job for job in waiting if job[0] not in self.active_jobs]

    def _wanted(self, names: list[str]) -> list[str]:
        return [name for name in names if name.endswith(READY)]

    def _read_note(self, name: str) -> tuple[str, str]:
        """What a ``.ready`` file says: the PDF file's name and the title."""
        lines = read_small(self.folder, name, LARGEST_NOTE).decode("utf-8", "replace").split("\n")
        pdf_file = lines[0].strip()
        if not _PDF_NAME.fullmatch(pdf_file):
            raise SpoolError(f"{name!r} speaks of {pdf_file[:80]!r}, which is not the name of a PDF file")
        return pdf_file, clean_title(lines[1] if len(lines) > 1 else "", DEFAULT_TITLE)

    def _job(self, name: str) -> X2GoPrintJob:
        given = {"job_file": name, "print_action": self.print_action, "parent_thread": self, "logger": self.logger}
        return X2GoPrintJob(target=x2go_printjob_handler, kwargs=given, name="crl-x2go-print-job")

    def _tell_unusable(self) -> None:
        if self.client_instance is not None:
            names = {"profile_name": self.profile_name, "session_name": self.session_name}
            self.client_instance.HOOK_printing_not_available(**names)

    def _tell_failure(self, filename: str, error: Exception, printer: str | None) -> None:
        if self.client_instance is not None:
            self.client_instance.HOOK_printaction_error(
                filename,
                profile_name=self.profile_name,
                session_name=self.session_name,
                err_msg=str(error),
                printer=printer,
            )

    def _print(self, job_file: str, pdf_file: str | None, title: str | None, action: X2GoPrintAction | None) -> None:
        """One job from its beginning to its end; whatever happens, it is gone from the folder and noted."""
        result, failed = None, None
        title, filename = title or DEFAULT_TITLE, pdf_file or job_file
        try:
            if pdf_file is None:
                pdf_file, title = self._read_note(job_file)
                filename = pdf_file
            action = action or self._action_of_settings()
            with self._work_folder() as (work, at_end):
                try:
                    take(self.folder, pdf_file, work / pdf_file, b"%PDF-")
                finally:
                    self._remove(job_file, pdf_file)
                result = action.do_print(str(work / pdf_file), title, str(work))
                if action.KEEPS_FILE:
                    at_end.pop_all()
        except Exception as error:  # noqa: BLE001 - an action may be an application's own; the queue has to go on
            failed = self._failure(error, DOING)
            self._remove(job_file)
            self._ask_hook(self._tell_failure, filename, failed, getattr(action, "printer", None))
        name = action.name if action is not None else "print"
        self._finish_job(FinishedJob(job_file, title, name, result, failed))


def x2go_printjob_handler(
    job_file: str | None = None,
    pdf_file: str | None = None,
    job_title: str | None = None,
    print_action: X2GoPrintAction | None = None,
    parent_thread: X2GoPrintQueue | None = None,
    logger: X2GoLogger | logging.Logger | None = None,  # noqa: ARG001 - as published; the queue has its own
) -> None:
    """Do one print job; what runs in the thread of each.

    Args:
        job_file: The name of its ``.ready`` file in the queue's folder.
        pdf_file: The name of its PDF file; None is what the ``.ready`` file says.
        job_title: Its title; None likewise.
        print_action: What is done; None is what the client's settings say.
        parent_thread: The queue.
        logger: Accepted as in python-x2go.

    Raises:
        X2GoPrintQueueException: There is no job or no queue.
    """
    if job_file is None or parent_thread is None:
        raise X2GoPrintQueueException("a print job needs its file and its queue", doing=DOING)
    with parent_thread._working():  # noqa: SLF001 - one thing in two functions
        parent_thread._print(job_file, pdf_file, job_title, print_action)  # noqa: SLF001
