"""Print jobs and MIME box of a session, as its users see them.

A session that is to have them gets them at each start and resume; where that cannot be, a hook is told and the session
goes on without. What arrives is waited for here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from crl.errors import CrlError
from crl.x2go._boxqueue import FinishedJob
from crl.x2go.backends.terminal.plain import X2GoTerminalSession
from crl.x2go.log import X2GoLogger, loglevel_WARN
from crl.x2go.x2go_exceptions import X2GoMIMEboxQueueException, X2GoPrintException

__all__ = ["SessionBoxes"]


class SessionBoxes:
    """What `crl.x2go.X2GoSession` has of them."""

    allow_mimebox: bool
    last_error: CrlError | None
    logger: X2GoLogger
    mimebox_action: Any
    mimebox_extensions: list[str]
    printing: bool
    _terminal: X2GoTerminalSession

    if TYPE_CHECKING:

        @property
        def place(self) -> str: ...

        def HOOK_printing_not_available(self) -> None: ...

        def HOOK_mimebox_not_available(self) -> None: ...

    def set_print_action(self, print_action: Any, **kwargs: Any) -> None:
        """Say what is done with the session's print jobs from now on.

        Args:
            print_action: An action's name (``"PDFVIEW"``, ``"PDFSAVE"``, ``"PRINT"``, ``"PRINTCMD"``, ``"DIALOG"``),
                its class, or an object; None is what the client's print settings say.
            **kwargs: Arguments of the action, as ``save_to_folder=…``.

        Raises:
            X2GoPrintActionException: There is no such action, or it has no such arguments.
        """
        self._terminal.set_print_action(print_action, **kwargs)

    def set_mimebox_action(self, mimebox_action: Any, **kwargs: Any) -> None:
        """Say what is done with the files of the session's MIME box from now on.

        Args:
            mimebox_action: An action's name (``"OPEN"``, ``"OPENWITH"``, ``"SAVEAS"``), its class, or an object.
            **kwargs: Arguments of the action, as ``open_with_cmd=…``.

        Raises:
            X2GoMIMEboxActionException: There is no such action, or it has no such arguments.
        """
        self._terminal.set_mimebox_action(mimebox_action, **kwargs)

    def wait_for_print_jobs(self, count: int = 1, timeout: float = 60.0) -> list[FinishedJob]:
        """Wait until that many print jobs have come and their actions are done, since the session had printing.

        Returns:
            What became of them: title, action, where the file is now (``result``), why it failed (``error``).

        Raises:
            X2GoPrintException: The session has no printing.
            X2GoTimeOutException: They did not come in time.
        """
        queue = self._terminal.print_queue
        if queue is None:
            raise X2GoPrintException(
                "the session has no printing", host=self.place, advice="make it with printing=True, and start it"
            )
        return queue.wait_for_jobs(count, timeout)

    def wait_for_mimebox_files(self, count: int = 1, timeout: float = 60.0) -> list[FinishedJob]:
        """Wait until that many files have come through the MIME box and their actions are done.

        Raises:
            X2GoMIMEboxQueueException: The session has no MIME box.
            X2GoTimeOutException: They did not come in time.
        """
        queue = self._terminal.mimebox_queue
        if queue is None:
            raise X2GoMIMEboxQueueException(
                "the session has no MIME box", host=self.place, advice="make it with allow_mimebox=True, and start it"
            )
        return queue.wait_for_jobs(count, timeout)

    def _check_boxes(self) -> None:
        """Find what cannot be before anything is started."""
        self._terminal.mimebox_action = self._terminal.mimebox_action or self.mimebox_action
        self._terminal.check_box_actions(print_action=self.printing, mimebox_action=self.allow_mimebox)

    def _start_boxes(self) -> None:
        """Set up what the session is to have; what cannot be is told, and the session goes on without it."""
        if self.printing:
            self._try_box(self._terminal.start_printing, self.HOOK_printing_not_available)
        if self.allow_mimebox:
            start = lambda: self._terminal.start_mimebox(self.mimebox_extensions)  # noqa: E731
            self._try_box(start, self.HOOK_mimebox_not_available)

    def _try_box(self, start: Callable[[], None], hook: Callable[[], None]) -> None:
        try:
            start()
        except CrlError as error:
            self.last_error = error
            self.logger(str(error), loglevel=loglevel_WARN)
            hook()
