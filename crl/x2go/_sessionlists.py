"""What there is on a session's server: sessions and desktops of the account, mounts, and the menu.

This is the part of `crl.x2go.X2GoSession` that asks and changes nothing, but for `clean_sessions`. When the connection
was lost meanwhile, the hook is told.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from crl.errors import CrlError
from crl.x2go import defaults
from crl.x2go._sessionlogin import SessionLogin
from crl.x2go.x2go_exceptions import X2GoControlSessionException, X2GoSessionException, X2GoTimeOutException

if TYPE_CHECKING:
    from crl.x2go.backends.terminal.plain import X2GoTerminalSession

__all__ = ["SessionLists"]


class SessionLists(SessionLogin):
    """Lists and menu of `crl.x2go.X2GoSession`."""

    last_error: CrlError | None

    if TYPE_CHECKING:

        @property
        def terminal_session(self) -> X2GoTerminalSession | None: ...

    def list_sessions(self, raw: bool = False) -> Any:
        """The account's sessions on the server, by name.

        Args:
            raw: Give what the server printed, output and error output as bytes.
        """
        self._require_login()
        return self._asked(lambda: self.control_session.list_sessions(raw=raw))

    def list_desktops(self, raw: bool = False) -> Any:
        """The desktops of the server that could be shared, each as ``user@:display``."""
        self._require_login()
        try:
            return self._asked(lambda: self.control_session.list_desktops(raw=raw))
        except X2GoTimeOutException as error:
            self.last_error = error
            self.HOOK_list_desktops_timeout()
            if self.client_instance is None:
                raise
            return None

    def list_mounts(self, raw: bool = False) -> Any:
        """What of the client is mounted in the session, by the session's name."""
        self._require_login()
        return self._asked(lambda: self.control_session.list_mounts(self.get_session_name() or "", raw=raw))

    def _asked(self, question: Callable[[], Any]) -> Any:
        """An answer of the server; when the connection was lost, the hook is told."""
        try:
            return question()
        except X2GoControlSessionException as error:
            if self._has_died():
                self._tell_failure(error)
                self.last_error = error
                if self.client_instance is not None:
                    return None
            raise

    def clean_sessions(self, destroy_terminals: bool = True, published_applications: bool = False) -> None:
        """End all sessions of the account.

        Args:
            destroy_terminals: End also what shows them here.
            published_applications: Also those that publish applications.
        """
        self._require_login()
        self.control_session.clean_sessions(
            destroy_terminals=destroy_terminals, published_applications=published_applications
        )
        self.update_status(force_update=True)

    # Published applications.

    def get_published_applications(
        self,
        lang: str | None = None,
        refresh: bool = False,
        raw: bool = False,
        very_raw: bool = False,
        max_no_submenus: int = defaults.PUBAPP_MAX_NO_SUBMENUS,
    ) -> Any:
        """The server's menu; as of `X2GoControlSession.get_published_applications`."""
        self._require_login()
        return self._asked(
            lambda: self.control_session.get_published_applications(
                lang=lang, refresh=refresh, raw=raw, very_raw=very_raw, max_no_submenus=max_no_submenus
            )
        )

    def exec_published_application(self, exec_name: str, timeout: float = 20) -> None:
        """Start a program of the server's menu in the session.

        Raises:
            X2GoSessionException: The session is not shown here.
            X2GoCommandNotFound: The server does not have it.
        """
        self._shown().exec_published_application(exec_name, timeout=timeout)

    def _shown(self) -> X2GoTerminalSession:
        if self.terminal_session is None:
            raise X2GoSessionException(f"the session is not shown here: it is {self.state}", host=self.place)
        return self.terminal_session
