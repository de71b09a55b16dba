"""A `RunnerTerminal` that opens its session when first needed and recovers it when it is lost.

This module joins `RunnerTerminal` and `AutoRecoveringTerminal` and knows nothing of shells but their descriptions. It
promises that a proxy's use opens or recovers the session, that nothing is opened before it is needed, and that a look
at the session's health costs no round trip.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from crl.deadlines import Deadline
from crl.interactivesessions.autorecoveringterminal import AutoRecoveringTerminal
from crl.interactivesessions.runnerexceptions import RunnerTerminalSessionBroken, RunnerTerminalSessionClosed
from crl.interactivesessions.runnerterminal import RunnerTerminal, Session
from crl.interactivesessions.shells.shell import Shell
from crl.interactivesessions.shells.shellstack import ShellStack

__all__ = ["AutoRunnerTerminal"]

VERIFICATION_TIMEOUT = 10.0


def _nothing() -> None:
    """What `prepare` and `finalize` are when none was given."""


class AutoRunnerTerminal(RunnerTerminal):
    """A terminal with Python on the target that brings itself up, and up again.

    Each use of a proxy opens the session when it is not open and recovers it when it is lost; `run_python` does not,
    as its caller may count on names of the session. After a recovery `prepare` has filled the proxies again.

    Attributes:
        default_verification_timeout: Seconds; kept for subclasses. The own verification looks at the state of the
            link and takes no time.
    """

    default_verification_timeout = VERIFICATION_TIMEOUT

    def __init__(self) -> None:
        super().__init__()
        self._recovering: AutoRecoveringTerminal | None = None

    @property
    def host(self) -> str:
        """Name of the host at the other end."""
        live = self._live
        if live is not None:
            return live.link.host
        return "the target" if self._recovering is None else self._recovering.name

    def initialize(
        self,
        session: Session,
        prepare: Callable[[], object] = _nothing,
        finalize: Callable[[], object] = _nothing,
    ) -> None:
        """Say which session to use; nothing is opened.

        Args:
            session: An `AutoRecoveringTerminal`. Its prepare, finalize and verify are set here; set another verify
                with `AutoRecoveringTerminal.set_verify` after this.
            prepare: Imports what is needed and fills the proxies, each time the session was opened.
            finalize: Ends what the proxies manage, before the session is closed; it may be lost already.

        Raises:
            TypeError: The session is something else.
        """
        if not isinstance(session, AutoRecoveringTerminal):
            raise TypeError(f"an AutoRecoveringTerminal is needed, not {type(session).__name__}")
        self.session = self._recovering = session
        self._closed = False
        self._close = session.close

        def prepare_all() -> None:
            self.setup_session()
            prepare()

        def finalize_all() -> None:
            try:
                finalize()
            finally:
                self.close_session()

        session.set_prepare(prepare_all)
        session.expect_link(lambda: self.python)
        session.set_finalize(finalize_all)
        session.set_verify(self._verify)

    def error_handling(self) -> AbstractContextManager[Any]:
        """Closes the session when it is lost, so that the next use of a proxy opens it again."""
        recovering = self._recovering
        return nullcontext() if recovering is None else recovering.auto_close()

    def initialize_with_shells(
        self,
        shells: Shell | Iterable[Shell],
        prepare: Callable[[], object] = _nothing,
        finalize: Callable[[], object] = _nothing,
    ) -> None:
        """As `initialize`, with a shell or the shells from the first hop to the last."""
        session = AutoRecoveringTerminal()
        session.initialize(shells)
        self.initialize(session, prepare, finalize)

    def initialize_with_shelldicts(
        self,
        shelldicts: Iterable[Mapping[str, Any]],
        prepare: Callable[[], object] = _nothing,
        finalize: Callable[[], object] = _nothing,
    ) -> None:
        """As `initialize_with_shells`, with dictionaries that `shells.shellstack.ShellStack.initialize` takes."""
        stack = ShellStack()
        stack.initialize(shelldicts)
        self.initialize_with_shells(stack.shells, prepare, finalize)

    def initialize_if_needed(self) -> None:
        """Open the session when it is not open; recover it when it is lost.

        Raises:
            RunnerTerminalSessionClosed: The terminal was closed, or never initialized.
            SessionInitializationFailed: The session cannot be opened.
        """
        self.ensure_open(Deadline.after(None))

    def ensure_open(self, deadline: Deadline) -> None:
        """As `initialize_if_needed`, waiting no longer than until `deadline`."""
        recovering = self._recovering
        if self._closed or recovering is None:
            raise RunnerTerminalSessionClosed(
                "the terminal is closed" if self._closed else "the terminal was not initialized",
                host=self.host,
                advice="initialize the terminal",
            )
        recovering.ensure(deadline)

    def close(self) -> None:
        """Call `finalize` and close the terminal with all its connections; `initialize` makes it usable again."""
        # The session's own close finalizes, and ends the link after the user's part of that.
        self._closed = True
        self._close()

    def _verify(self) -> None:
        live = self._live
        if live is None or not live.link.alive:
            raise RunnerTerminalSessionBroken("the link to the target is lost", host=self.host)
