"""What is done with a file that a session sends to be opened here: opened, opened with a program, or stored.

The file is a copy in a folder of the client's, under a name of letters, digits and few signs. No shell is run; which
program gets the file is said by the system or the user, never by the server.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from crl.x2go import defaults
from crl.x2go._jobactions import JobAction
from crl.x2go._programs import ProgramFailed, current_place, run_program
from crl.x2go.log import X2GoLogger, loglevel_DEFAULT
from crl.x2go.printactions import VIEWING_TIME, open_file
from crl.x2go.x2go_exceptions import X2GoException, X2GoMIMEboxActionException

__all__ = [
    "X2GoMIMEboxAction",
    "X2GoMIMEboxActionOPEN",
    "X2GoMIMEboxActionOPENWITH",
    "X2GoMIMEboxActionSAVEAS",
    "make_mimebox_action",
]

DOING = "opening a file of a session"


class X2GoMIMEboxAction(JobAction):
    """Base of the MIME box's actions; a class of your own overrides `_do_process`.

    Args:
        client_instance: The client whose hooks are asked.
        logger: Where to log.
        loglevel: Levels to log when `logger` is not an `X2GoLogger`.
    """

    LOG_TAG = "mimeboxaction"

    def do_process(self, mimebox_file: str | os.PathLike[str], mimebox_dir: str | os.PathLike[str]) -> Any:
        """Do it.

        Args:
            mimebox_file: The file, or its name in `mimebox_dir`.
            mimebox_dir: The folder that it lies in.

        Raises:
            X2GoMIMEboxActionException: It did not work.
        """
        folder = Path(os.path.abspath(mimebox_dir))
        path = folder / mimebox_file
        with _explained(self):
            if not path.is_file():
                raise X2GoMIMEboxActionException(f"there is no file {path}", doing=DOING)
            return self._do_process(str(path), str(folder))

    def _do_process(self, mimebox_file: str, mimebox_dir: str) -> Any:
        """What the action is; nothing here."""


@contextlib.contextmanager
def _explained(action: X2GoMIMEboxAction) -> Iterator[None]:
    """Make one kind of error of all that files and programs can say."""
    try:
        yield
    except ProgramFailed as error:
        text = f"the MIME box action {action.name} failed: {error.reason}"
        raise X2GoMIMEboxActionException(text, doing=DOING, advice=error.advice, transcript=error.output) from error
    except OSError as error:
        text = f"the MIME box action {action.name} failed: {error.strerror or error}"
        raise X2GoMIMEboxActionException(text, doing=DOING) from error


class X2GoMIMEboxActionOPEN(X2GoMIMEboxAction):
    """Opens the file with the program that the system has for its kind."""

    NAME = "OPEN"
    DESCRIPTION = "Open it"

    def _do_process(self, mimebox_file: str, mimebox_dir: str) -> None:  # noqa: ARG002 - as published
        open_file(Path(mimebox_file))


class X2GoMIMEboxActionOPENWITH(X2GoMIMEboxAction):
    """Opens the file with a program of the user's choice.

    Args:
        client_instance: As of `X2GoMIMEboxAction`, as are the next two.
        logger: Where to log.
        loglevel: Levels to log.
        open_with_cmd: The program's command, which the file's path is added to. None is a question of the system's
            on Windows; elsewhere there is none, and it is as OPEN.
    """

    NAME = "OPENWITH"
    DESCRIPTION = "Open it with a program"

    def __init__(
        self,
        client_instance: Any = None,
        logger: X2GoLogger | logging.Logger | None = None,
        loglevel: int = loglevel_DEFAULT,
        *,
        open_with_cmd: str | Sequence[str] | None = None,
    ) -> None:
        super().__init__(client_instance, logger, loglevel)
        self.open_with_cmd = open_with_cmd

    def _do_process(self, mimebox_file: str, mimebox_dir: str) -> None:  # noqa: ARG002 - as published
        if self.open_with_cmd is None and sys.platform == "win32":
            run_program(["rundll32.exe", "shell32.dll,OpenAs_RunDLL", mimebox_file], VIEWING_TIME)
        else:
            open_file(Path(mimebox_file), self.open_with_cmd)


class X2GoMIMEboxActionSAVEAS(X2GoMIMEboxAction):
    """Has the client's ``HOOK_open_mimebox_saveas_dialog`` store the file.

    Args:
        client_instance: The client.
        logger: Where to log.
        loglevel: Levels to log.

    Raises:
        X2GoMIMEboxActionException: There is no client to ask.
    """

    NAME = "SAVEAS"
    DESCRIPTION = "Ask where to store it"

    def __init__(
        self,
        client_instance: Any = None,
        logger: X2GoLogger | logging.Logger | None = None,
        loglevel: int = loglevel_DEFAULT,
    ) -> None:
        super().__init__(client_instance, logger, loglevel)
        if client_instance is None:
            raise X2GoMIMEboxActionException(
                "storing files needs a client that can be asked", advice="give client_instance, or another action"
            )

    def _do_process(self, mimebox_file: str, mimebox_dir: str) -> Any:  # noqa: ARG002 - as published
        place = current_place()
        return self.client_instance.HOOK_open_mimebox_saveas_dialog(
            mimebox_file, profile_name=place.profile_name, session_name=place.session_name
        )


def make_mimebox_action(
    wanted: Any, client_instance: Any = None, logger: X2GoLogger | logging.Logger | None = None, **kwargs: Any
) -> X2GoMIMEboxAction:
    """The MIME box action that is meant by a name as ``"OPEN"``, a class or an object; None is OPEN.

    Args:
        wanted: Which.
        client_instance: Its client.
        logger: Where it logs.
        **kwargs: Its own arguments.

    Raises:
        X2GoMIMEboxActionException: There is no such action, or it does not have such arguments.
    """
    if isinstance(wanted, X2GoMIMEboxAction) and not kwargs:
        return wanted
    wanted = "OPEN" if wanted is None else wanted
    known = {**defaults.X2GO_MIMEBOX_ACTIONS, **{name: name for name in defaults.X2GO_MIMEBOX_ACTIONS.values()}}
    kind = globals()[known[wanted]] if isinstance(wanted, str) and wanted in known else wanted
    if not (isinstance(kind, type) and issubclass(kind, X2GoMIMEboxAction)):
        choices = ", ".join(defaults.X2GO_MIMEBOX_ACTIONS)
        raise X2GoMIMEboxActionException(f"there is no MIME box action {wanted!r}", advice=f"use one of: {choices}")
    try:
        return kind(client_instance=client_instance, logger=logger, **kwargs)
    except X2GoException:
        raise
    except TypeError as error:
        text = f"the MIME box action {kind.__name__} cannot be made so: {error}"
        raise X2GoMIMEboxActionException(text) from error
