"""What is done with a print job: it is shown, stored, printed, given to a command, or somebody is asked.

An action gets a PDF file that lies in a folder of the client's and the title that the job has in the session. Title
and file name were chosen on the server: here they are names and nothing else. No shell is run, no file is overwritten,
and nothing but the user's own settings says where something is stored and which program gets it.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

from crl.errors import CrlError
from crl.x2go import defaults
from crl.x2go._jobactions import JobAction
from crl.x2go._programs import ProgramFailed, current_place, run_program, split_command
from crl.x2go._spool import clean_title, file_names, keep_copy
from crl.x2go.log import X2GoLogger, loglevel_DEFAULT, loglevel_NOTICE
from crl.x2go.x2go_exceptions import X2GoPrintActionException

__all__ = [
    "DEFAULT_TITLE",
    "X2GoPrintAction",
    "X2GoPrintActionDIALOG",
    "X2GoPrintActionPDFSAVE",
    "X2GoPrintActionPDFVIEW",
    "X2GoPrintActionPRINT",
    "X2GoPrintActionPRINTCMD",
    "make_print_action",
]

DEFAULT_TITLE = "X2Go Print Job"
PRINTING_TIME = 600.0
VIEWING_TIME = 24 * 3600.0
DOING = "printing a job of a session"


class X2GoPrintAction(JobAction):
    """Base of print actions; a class of your own overrides `_do_print`.

    Args:
        client_instance: The client whose hooks are told and asked.
        logger: Where to log.
        loglevel: Levels to log when `logger` is not an `X2GoLogger`.

    Attributes:
        KEEPS_FILE: Whether the file is still used when the action is done: a queue then keeps it until its own end.
        printer: The printer that it uses, where it knows one.
    """

    LOG_TAG = "printaction"
    KEEPS_FILE: ClassVar[bool] = False

    printer: str | None = None

    def do_print(self, pdf_file: str | os.PathLike[str], job_title: str, spool_dir: str | os.PathLike[str]) -> Any:
        """Do it.

        Args:
            pdf_file: The file, or its name in `spool_dir`.
            job_title: The job's title.
            spool_dir: A folder for files that the action needs.

        Returns:
            What the action's own part returns: where the file has been stored, for PDFSAVE.

        Raises:
            X2GoPrintActionException: It did not work.
        """
        folder = Path(os.path.abspath(spool_dir))
        path = folder / pdf_file
        with _explained(self):
            if not path.is_file():
                raise X2GoPrintActionException(f"there is no file {path}", doing=DOING)
            return self._do_print(str(path), clean_title(job_title, DEFAULT_TITLE), str(folder))

    def _do_print(self, pdf_file: str, job_title: str, spool_dir: str) -> Any:
        """What the action is; nothing here."""

    def _humanreadable_filename(self, pdf_file: str, job_title: str, target_path: str) -> str:
        """A path in a folder that is not taken, named after the job's title."""
        names = file_names(Path(target_path), job_title, Path(pdf_file).stem)
        return str(next(path for path in names if not os.path.lexists(path)))


@contextlib.contextmanager
def _explained(action: X2GoPrintAction) -> Iterator[None]:
    """Make one kind of error of all that files and programs can say."""
    try:
        yield
    except ProgramFailed as error:
        text = f"the print action {action.name} failed: {error.reason}"
        raise X2GoPrintActionException(text, doing=DOING, advice=error.advice, transcript=error.output) from error
    except OSError as error:
        text = f"the print action {action.name} failed: {error.strerror or error}"
        raise X2GoPrintActionException(
            text, doing=DOING, advice=f"see {error.filename}" if error.filename else None
        ) from error


class X2GoPrintActionPDFVIEW(X2GoPrintAction):
    """Shows the job in a viewer.

    The action lasts as long as the viewer; a program that only starts one, as xdg-open, ends at once. A viewer that is
    still open when the queue is stopped is ended.

    Args:
        client_instance: As of `X2GoPrintAction`, as are the last two.
        pdfview_cmd: The viewer's command, which the file's path is added to; None is the system's own way.
        logger: Where to log.
        loglevel: Levels to log.
    """

    NAME = "PDFVIEW"
    DESCRIPTION = "Show it in a viewer"
    KEEPS_FILE = True

    def __init__(
        self,
        client_instance: Any = None,
        pdfview_cmd: str | Sequence[str] | None = None,
        logger: X2GoLogger | logging.Logger | None = None,
        loglevel: int = loglevel_DEFAULT,
    ) -> None:
        super().__init__(client_instance, logger, loglevel)
        self.pdfview_cmd = pdfview_cmd

    def _do_print(self, pdf_file: str, job_title: str, spool_dir: str) -> Path:
        path = keep_copy(Path(pdf_file), Path(spool_dir), job_title)
        open_file(path, self.pdfview_cmd)
        return path


def open_file(path: Path, command: str | Sequence[str] | None = None) -> None:
    """Show a file of ours by a command, or as the system does it.

    Raises:
        ProgramFailed: The program is not there, or failed.
        OSError: The system has no program for it.
    """
    if sys.platform == "win32" and not command:
        os.startfile(path)
        return
    default = "open" if sys.platform == "darwin" else defaults.DEFAULT_PDFVIEW_CMD
    run_program([*split_command(command or default, default), str(path)], VIEWING_TIME)


class X2GoPrintActionPDFSAVE(X2GoPrintAction):
    """Stores the job under its title in a folder, over nothing that is there.

    Args:
        client_instance: As of `X2GoPrintAction`, as are the last two.
        save_to_folder: The folder, made if it is missing; a relative one lies in the user's home. Default ``PDF``.
        logger: Where to log.
        loglevel: Levels to log.
    """

    NAME = "PDFSAVE"
    DESCRIPTION = "Store it as a PDF file"

    def __init__(
        self,
        client_instance: Any = None,
        save_to_folder: str | os.PathLike[str] | None = None,
        logger: X2GoLogger | logging.Logger | None = None,
        loglevel: int = loglevel_DEFAULT,
    ) -> None:
        super().__init__(client_instance, logger, loglevel)
        wanted = Path(save_to_folder or defaults.DEFAULT_PDFSAVE_LOCATION).expanduser()
        self.save_to_folder = str(Path(defaults.LOCAL_HOME) / wanted)

    def _do_print(self, pdf_file: str, job_title: str, spool_dir: str) -> Path:  # noqa: ARG002 - as published
        folder = Path(self.save_to_folder)
        folder.mkdir(mode=0o755, parents=True, exist_ok=True)
        path = keep_copy(Path(pdf_file), folder, job_title)
        self.logger(f"stored a print job as {path}", loglevel=loglevel_NOTICE)
        return path


class X2GoPrintActionPRINT(X2GoPrintAction):
    """Prints the job on a printer of this machine, by ``lp`` or ``lpr``.

    Args:
        client_instance: As of `X2GoPrintAction`, as are the last two.
        printer: The printer's name; None or "" is the default one.
        logger: Where to log.
        loglevel: Levels to log.

    Raises:
        X2GoPrintActionException: It cannot be a printer's name.
    """

    NAME = "PRINT"
    DESCRIPTION = "Print it on a printer"

    def __init__(
        self,
        client_instance: Any = None,
        printer: str | None = None,
        logger: X2GoLogger | logging.Logger | None = None,
        loglevel: int = loglevel_DEFAULT,
    ) -> None:
        super().__init__(client_instance, logger, loglevel)
        if printer and (printer.startswith("-") or not printer.isprintable()):
            raise X2GoPrintActionException(f"{printer!r} cannot be the name of a printer", doing=DOING)
        self.printer = printer or None

    def _do_print(self, pdf_file: str, job_title: str, spool_dir: str) -> None:  # noqa: ARG002 - as published
        if sys.platform == "win32":
            os.startfile(pdf_file, "print")
            return
        run_program(self._words(job_title, pdf_file), PRINTING_TIME)

    def _words(self, job_title: str, pdf_file: str) -> list[str]:
        """The command: each name is a word of its own after its option."""
        if shutil.which("lp") is not None:
            return ["lp", *(["-d", self.printer] if self.printer else []), "-t", job_title, pdf_file]
        return ["lpr", *(["-P", self.printer] if self.printer else []), "-J", job_title, pdf_file]


class X2GoPrintActionPRINTCMD(X2GoPrintAction):
    """Gives the job to a command.

    Args:
        client_instance: As of `X2GoPrintAction`, as are the last two.
        print_cmd: The command, which the file's path is added to; default ``lpr``.
        logger: Where to log.
        loglevel: Levels to log.
    """

    NAME = "PRINTCMD"
    DESCRIPTION = "Give it to a command"

    def __init__(
        self,
        client_instance: Any = None,
        print_cmd: str | Sequence[str] | None = None,
        logger: X2GoLogger | logging.Logger | None = None,
        loglevel: int = loglevel_DEFAULT,
    ) -> None:
        super().__init__(client_instance, logger, loglevel)
        self.print_cmd = print_cmd or defaults.DEFAULT_PRINTCMD_CMD

    def _do_print(self, pdf_file: str, job_title: str, spool_dir: str) -> None:  # noqa: ARG002 - as published
        run_program([*split_command(self.print_cmd, defaults.DEFAULT_PRINTCMD_CMD), pdf_file], PRINTING_TIME)


class X2GoPrintActionDIALOG(X2GoPrintAction):
    """Asks the client's ``HOOK_open_print_dialog`` which action it shall be, and does that one.

    The hook gives a print action, or its name; when it gives None, the job is dropped.

    Args:
        client_instance: The client.
        logger: Where to log.
        loglevel: Levels to log.

    Raises:
        X2GoPrintActionException: There is no client to ask.
    """

    NAME = "DIALOG"
    DESCRIPTION = "Ask each time"
    KEEPS_FILE = True  # the action that is chosen may

    def __init__(
        self,
        client_instance: Any = None,
        logger: X2GoLogger | logging.Logger | None = None,
        loglevel: int = loglevel_DEFAULT,
    ) -> None:
        super().__init__(client_instance, logger, loglevel)
        if client_instance is None:
            raise X2GoPrintActionException(
                "a print dialog needs a client that can be asked", advice="give client_instance, or another action"
            )

    def _do_print(self, pdf_file: str, job_title: str, spool_dir: str) -> Any:
        place = current_place()
        chosen = self.client_instance.HOOK_open_print_dialog(
            profile_name=place.profile_name, session_name=place.session_name
        )
        if chosen is None:
            self.logger(f"no print action was chosen for {job_title}: the job is dropped", loglevel=loglevel_NOTICE)
            return None
        action = make_print_action(chosen, self.client_instance, self.logger)
        if isinstance(action, X2GoPrintActionDIALOG):
            raise X2GoPrintActionException("the answer to the print dialog is the dialog itself", doing=DOING)
        return action.do_print(pdf_file, job_title, spool_dir)


def make_print_action(
    wanted: Any, client_instance: Any = None, logger: X2GoLogger | logging.Logger | None = None, **kwargs: Any
) -> X2GoPrintAction:
    """The print action that is meant by a name as ``"PDFSAVE"``, a class or an object.

    Args:
        wanted: Which.
        client_instance: Its client.
        logger: Where it logs.
        **kwargs: Its own arguments.

    Raises:
        X2GoPrintActionException: There is no such action, or it does not have such arguments.
    """
    if isinstance(wanted, X2GoPrintAction) and not kwargs:
        return wanted
    known = {**defaults.X2GO_PRINT_ACTIONS, **{name: name for name in defaults.X2GO_PRINT_ACTIONS.values()}}
    kind = globals()[known[wanted]] if isinstance(wanted, str) and wanted in known else wanted
    if not (isinstance(kind, type) and issubclass(kind, X2GoPrintAction)):
        choices = ", ".join(defaults.X2GO_PRINT_ACTIONS)
        raise X2GoPrintActionException(f"there is no print action {wanted!r}", advice=f"use one of: {choices}")
    try:
        return kind(client_instance=client_instance, logger=logger, **kwargs)
    except CrlError:
        raise
    except TypeError as error:
        raise X2GoPrintActionException(f"the print action {kind.__name__} cannot be made so: {error}") from error
