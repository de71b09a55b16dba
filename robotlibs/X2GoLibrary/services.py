"""Keywords for what a session has of this machine: folders, printing, MIME box and sound; a part of ``X2GoLibrary``.

They know `crl.x2go` and the open sessions of the library. What a job of the session could not be done with fails the
keyword that waited for it.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final, Literal

from robot.api import logger
from robot.api.deco import keyword

from crl.errors import UsageError
from crl.x2go import X2GoSession
from crl.x2go.printqueue import FinishedJob
from crl.x2go.pulseaudio import Recording
from X2GoLibrary.registry import OpenSessions

__all__ = ["ServiceKeywords", "Sound", "with_truth"]

Sound = Literal["none", "play", "record"]

MINUTE = timedelta(minutes=1)
A_WHILE = timedelta(seconds=15)
TRUTH: Final = {"true": True, "false": False}


def with_truth(parameters: dict[str, Any]) -> dict[str, Any]:
    """The same with the words for true and false, which Robot Framework cannot tell from others, as such."""
    return {
        name: TRUTH.get(value.lower(), value) if isinstance(value, str) else value
        for name, value in parameters.items()
    }


def _log_jobs(jobs: list[FinishedJob]) -> list[FinishedJob]:
    """Tell what became of each; the error of the first that failed is the keyword's."""
    for job in jobs:
        logger.info(f"{job.title}: {job.action}, {job.result if job.error is None else job.error}")
    for job in jobs:
        if job.error is not None:
            raise job.error
    return jobs


class ServiceKeywords:
    """What ``X2GoLibrary`` can do with folders, print jobs, files and sound.

    Attributes:
        sessions: The sessions that are open.
    """

    sessions: OpenSessions

    @keyword
    def share_folder(
        self,
        path: str,
        *,
        read_only: bool = False,
        hard_links: bool = False,
        survive_cuts: bool = False,
        session: str | X2GoSession | None = None,
    ) -> None:
        """Lets a session have a folder of this machine, below ``~/media/disk`` on the server.

        Nothing outside the folder can be reached from there. It is shared again when the session is resumed.

        Example:
        | Share Folder    ${CURDIR}/papers    read_only=True

        Args:
            path: The folder.
            read_only: Whether the server may not change it.
            hard_links: Whether files with several names can be had too, although one of them may be outside.
            survive_cuts: Whether files that are open there outlive a cut of the connection, at the price of speed.
            session: Alias or name; by default the session in use.
        """
        self.sessions.find(session).share_local_folder(
            path, read_only=read_only, hard_links=hard_links, survive_cuts=survive_cuts
        )

    @keyword
    def unshare_folder(self, path: str | None = None, *, session: str | X2GoSession | None = None) -> None:
        """Shares a folder no more, or none of them.

        Args:
            path: The folder; by default all.
            session: Alias or name; by default the session in use.
        """
        found = self.sessions.find(session)
        if path is None:
            found.unshare_all_local_folders()
        elif not found.unshare_local_folder(path):
            shared = ", ".join(map(repr, found.get_shared_folders())) or "none"
            raise UsageError(f"the session does not have {path!r}", advice=f"shared are: {shared}")

    @keyword(tags=("Getter",))
    def get_shared_folders(self, *, session: str | X2GoSession | None = None) -> list[str]:
        """Gets the folders of this machine that a session has, as the server's own list of mounts tells as well.

        Args:
            session: Alias or name; by default the session in use.
        """
        return self.sessions.find(session).get_shared_folders(check_list_mounts=True)

    @keyword
    def set_print_action(
        self, action: str, *, session: str | X2GoSession | None = None, **arguments: Any
    ) -> None:
        """Says what is done with what a session prints from now on; it was started with ``printing=True``.

        Example:
        | Set Print Action    PDFSAVE    save_to_folder=${OUTPUT DIR}
        | Set Print Action    PRINT    printer=office

        Args:
            action: ``PDFSAVE`` (``save_to_folder``), ``PDFVIEW`` (``pdfview_cmd``), ``PRINT`` (``printer``) or
                ``PRINTCMD`` (``print_cmd``).
            session: Alias or name; by default the session in use.
            **arguments: Of the action.
        """
        self.sessions.find(session).set_print_action(action, **arguments)

    @keyword
    def set_mimebox_action(
        self, action: str, *, session: str | X2GoSession | None = None, **arguments: Any
    ) -> None:
        """Says what is done with a session's files from now on; it was started with ``mimebox=True``.

        Example:
        | Set Mimebox Action    OPENWITH    open_with_cmd=gimp

        Args:
            action: ``OPEN`` has the system open a file, ``OPENWITH`` a command (``open_with_cmd``).
            session: Alias or name; by default the session in use.
            **arguments: Of the action.
        """
        self.sessions.find(session).set_mimebox_action(action, **arguments)

    @keyword
    def wait_for_print_jobs(
        self, count: int = 1, *, session: str | X2GoSession | None = None, timeout: timedelta = MINUTE
    ) -> list[FinishedJob]:
        """Waits until a session's print jobs have come and are done; fails when one could not be done.

        Args:
            count: How many, since the session was started.
            session: Alias or name; by default the session in use.
            timeout: How long to wait.

        Returns:
            For each job ``title``, ``action`` and ``result``, which is the file's path after ``PDFSAVE``.
        """
        return _log_jobs(self.sessions.find(session).wait_for_print_jobs(count, timeout.total_seconds()))

    @keyword
    def wait_for_mimebox_files(
        self, count: int = 1, *, session: str | X2GoSession | None = None, timeout: timedelta = MINUTE
    ) -> list[FinishedJob]:
        """Waits until files of a session's MIME box have come and are done; fails when one could not be done.

        Args:
            count: As of `Wait For Print Jobs`.
            session: As of `Wait For Print Jobs`.
            timeout: As of `Wait For Print Jobs`.

        Returns:
            For each file ``name``, ``action`` and ``result``.
        """
        return _log_jobs(self.sessions.find(session).wait_for_mimebox_files(count, timeout.total_seconds()))

    @keyword
    def wait_for_tone(
        self, frequency: float, *, session: str | X2GoSession | None = None, timeout: timedelta = A_WHILE
    ) -> Recording:
        """Waits until a session that was started with ``sound=record`` plays a tone, and hardly anything else.

        Example:
        | Start Desktop Session    OPENBOX    sound=record
        | ${environment}    Get Session Environment
        | Start Process    paplay tone-440.wav    env=${environment}
        | Wait For Tone    440

        Args:
            frequency: In hertz.
            session: Alias or name; by default the session in use.
            timeout: How long to listen.

        Returns:
            The tenth of a second that was it, with ``loudness``, ``rate`` and ``samples``.
        """
        recorder = self.sessions.recorder(self.sessions.find(session))
        heard = recorder.wait_for_tone(frequency, timeout.total_seconds())
        logger.info(f"{heard.share_of(frequency):.0%} of it is {frequency:g} Hz; its loudness is {heard.loudness:.2f}")
        return heard
