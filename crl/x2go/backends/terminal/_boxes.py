"""Print jobs and MIME box of a session: the two folders, their queues, and what the session is told of them."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from crl.errors import CrlError
from crl.x2go._boxqueue import BoxQueue
from crl.x2go.mimebox import X2GoMIMEboxQueue
from crl.x2go.mimeboxactions import make_mimebox_action
from crl.x2go.printactions import make_print_action
from crl.x2go.printqueue import X2GoPrintQueue
from crl.x2go.x2go_exceptions import X2GoException, X2GoMIMEboxQueueException, X2GoPrintException

if TYPE_CHECKING:
    from crl.x2go._server import X2GoServer
    from crl.x2go.backends.info.plain import X2GoServerSessionInfo

__all__ = ["BoxMethods"]


class BoxMethods:
    """What `X2GoTerminalSession` has of them.

    Attributes:
        print_queue: What takes the session's print jobs, once `start_printing` has been called.
        mimebox_queue: What takes the session's files, once `start_mimebox` has been called.
    """

    client_rootdir: str | os.PathLike[str] | None
    logger: Any
    print_action: Any
    print_action_args: dict[str, Any]
    printing_backend: Any
    profile_name: str
    session_info: X2GoServerSessionInfo
    session_instance: Any
    sessions_rootdir: str | os.PathLike[str] | None

    print_queue: X2GoPrintQueue | None = None
    mimebox_queue: X2GoMIMEboxQueue | None = None
    mimebox_action: Any = None
    mimebox_action_args: Mapping[str, Any] = {}
    _private_boxes: Path | None = None

    if TYPE_CHECKING:

        @property
        def server(self) -> X2GoServer: ...

        def get_printing_spooldir(self) -> str: ...

        def get_mimebox_spooldir(self) -> str: ...

        def share_local_folder(self, local_path: str | os.PathLike[str] | None, folder_type: str) -> bool: ...

    @property
    def _asked_client(self) -> Any:
        return getattr(self.session_instance, "client_instance", None)

    # Printing.

    def start_printing(self) -> None:
        """Have the server bring the session's print jobs here; take them again after `stop_printing` or a suspend.

        Raises:
            X2GoPrintException: The server cannot, or cannot mount the folder for them.
            X2GoPrintActionException: There is no such print action.
        """
        if "X2GO_PRINTING" not in self.server.features():
            raise X2GoPrintException(
                "the server does not bring print jobs to clients (X2GO_PRINTING is not among its features)",
                host=self.server.host,
                doing="setting up printing",
                advice="install it there (Debian: apt-get install x2goserver-printing cups-x2go)",
            )
        queue = self.print_queue or X2GoPrintQueue(
            self.profile_name,
            self.session_info.name,
            self._box_folder("spool"),
            self.print_action,
            self.print_action_args,
            self._asked_client,
            self.printing_backend,
            self.logger,
            client_rootdir=self.client_rootdir,
        )
        self._start_box(queue, "spool", X2GoPrintException)
        self.print_queue = queue

    def stop_printing(self) -> None:
        """Take no more print jobs; those that come wait for `start_printing`."""
        if self.print_queue is not None:
            self.print_queue.pause()

    def set_print_action(self, print_action: Any, **kwargs: Any) -> None:
        """Say what is done with print jobs from now on.

        Args:
            print_action: An action's name as ``"PDFSAVE"``, its class, or an object; None is what the client's print
                settings say.
            **kwargs: Arguments of the action.

        Raises:
            X2GoPrintActionException: There is no such action, or it has no such arguments.
        """
        self.print_action, self.print_action_args = print_action, kwargs
        self.check_box_actions(print_action=True)
        if self.print_queue is not None:
            self.print_queue.set_print_action(print_action, **kwargs)

    # The MIME box.

    def start_mimebox(self, mimebox_extensions: Sequence[str] = (), mimebox_action: Any = None) -> None:
        """Take files that the session puts into its MIME box; also again after `stop_mimebox` or a suspend.

        Args:
            mimebox_extensions: The endings of names that are taken; none are all but those of programs.
            mimebox_action: What is done with a file; None is what was set before, or ``"OPEN"``.

        Raises:
            X2GoMIMEboxQueueException: The server cannot mount the folder for them.
            X2GoMIMEboxActionException: There is no such action.
        """
        if mimebox_action is not None:
            self.mimebox_action, self.mimebox_action_args = mimebox_action, {}
        action = make_mimebox_action(self.mimebox_action, self._asked_client, self.logger, **self.mimebox_action_args)
        queue = self.mimebox_queue or X2GoMIMEboxQueue(
            self.profile_name,
            self.session_info.name,
            self._box_folder("mimebox"),
            action,
            mimebox_extensions,
            self._asked_client,
            self.logger,
        )
        self._start_box(queue, "mimebox", X2GoMIMEboxQueueException)
        self.mimebox_queue = queue

    def stop_mimebox(self) -> None:
        """Take no more files; those that come wait for `start_mimebox`."""
        if self.mimebox_queue is not None:
            self.mimebox_queue.pause()

    def set_mimebox_action(self, mimebox_action: Any, **kwargs: Any) -> None:
        """Say what is done with the MIME box's files from now on.

        Args:
            mimebox_action: An action's name, its class, or an object.
            **kwargs: Arguments of the action.

        Raises:
            X2GoMIMEboxActionException: There is no such action, or it has no such arguments.
        """
        self.mimebox_action, self.mimebox_action_args = mimebox_action, kwargs
        self.check_box_actions(mimebox_action=True)
        if self.mimebox_queue is not None:
            self.mimebox_queue.set_mimebox_action(mimebox_action, **kwargs)

    # Both.

    def check_box_actions(self, *, print_action: bool = False, mimebox_action: bool = False) -> None:
        """Make sure that there are such actions, before a session is started with them.

        Raises:
            X2GoPrintActionException: There is no such print action.
            X2GoMIMEboxActionException: There is no such action of the MIME box.
        """
        if print_action and self.print_action is not None:
            make_print_action(self.print_action, self._asked_client, self.logger, **self.print_action_args)
        if mimebox_action:
            make_mimebox_action(self.mimebox_action, self._asked_client, self.logger, **self.mimebox_action_args)

    def box_environment(self) -> dict[str, str]:
        """What programs of the session are told of the two folders."""
        told = {}
        if self.print_queue is not None:
            told["X2GO_SPOOLDIR"] = self.get_printing_spooldir()
        if self.mimebox_queue is not None:
            told["X2GO_MIMEBOX"] = self.get_mimebox_spooldir()
        return told

    def release_boxes(self) -> None:
        """End both queues, with what they show and what lies there."""
        for queue in (self.print_queue, self.mimebox_queue):
            if queue is not None:
                self._end_box(queue)
        self.print_queue = self.mimebox_queue = None
        private, self._private_boxes = self._private_boxes, None
        if private is not None:
            shutil.rmtree(private, ignore_errors=True)

    def _box_folder(self, name: str) -> Path:
        """The folder of one of the two, which lives longer than a proxy."""
        if self.sessions_rootdir is not None:
            return Path(self.session_info.local_container) / name
        if self._private_boxes is None:
            self._private_boxes = Path(tempfile.mkdtemp(prefix="crl-x2go-"))
        return self._private_boxes / name

    def _start_box(
        self, queue: BoxQueue, kind: Literal["spool", "mimebox"], failure: Callable[..., X2GoException]
    ) -> None:
        """Share a queue's folder and let the queue look."""
        is_new = not queue.is_alive()
        try:
            self.share_local_folder(queue.folder, kind)
        except CrlError as error:
            if is_new:
                self._end_box(queue)
            raise failure(
                f"the server does not have the folder of the {queue.WHAT}: {error.message}",
                host=error.host,
                doing=f"setting up the {queue.WHAT}",
                advice=error.advice,
                transcript=error.transcript,
            ) from error
        if is_new:
            queue.start()
        else:
            queue.resume()

    @staticmethod
    def _end_box(queue: BoxQueue) -> None:
        queue.stop_thread()
        with contextlib.suppress(OSError):  # what lies there and is no job of ours stays with the session's folder
            queue.folder.rmdir()
