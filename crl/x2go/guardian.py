"""The thread that keeps a client's lists and sessions up to date.

`X2GoSessionGuardian` asks the servers at an interval and has the client's hooks told what changed. It keeps no client
alive: it ends when its client is gone, when it is stopped, and with the process. What fails in one round is logged, and
the next one comes.
"""

from __future__ import annotations

import logging
import threading
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING

from crl.x2go._threads import OwnThread
from crl.x2go.log import X2GoLogger, logger_for, loglevel_DEFAULT, loglevel_ERROR

if TYPE_CHECKING:
    from crl.x2go.client import X2GoClient

__all__ = ["X2GoSessionGuardian"]

_logger = logging.getLogger("crl.x2go")
STOP_TIME = 30.0  # a server that does not answer keeps one round no longer than its command's limit


class X2GoSessionGuardian(OwnThread):
    """Looks after the sessions of a client; runs from its making on, unless there is nothing for it to do.

    Args:
        client_instance: The client.
        auto_update_listsessions_cache: Renew the lists of sessions.
        auto_update_listdesktops_cache: Renew the lists of desktops.
        auto_update_listmounts_cache: Renew the lists of mounted folders.
        auto_update_sessionregistry: Bring the state of the registered sessions up to date.
        auto_register_sessions: Register the sessions that servers list.
        no_auto_reg_pubapp_sessions: But not those that publish a menu.
        refresh_interval: Seconds between two rounds.
        logger: Where to log.
        loglevel: Levels to log when `logger` is not an `X2GoLogger`.
    """

    def __init__(
        self,
        client_instance: X2GoClient,
        auto_update_listsessions_cache: bool = False,
        auto_update_listdesktops_cache: bool = False,
        auto_update_listmounts_cache: bool = False,
        auto_update_sessionregistry: bool = False,
        auto_register_sessions: bool = False,
        no_auto_reg_pubapp_sessions: bool = False,
        refresh_interval: float = 5,
        logger: X2GoLogger | logging.Logger | None = None,
        loglevel: int = loglevel_DEFAULT,
    ) -> None:
        super().__init__(name="X2GoSessionGuardian", daemon=True)
        self.logger = logger_for(logger, loglevel, tag=type(self).__name__)
        self.auto_update_listsessions_cache = auto_update_listsessions_cache
        self.auto_update_listdesktops_cache = auto_update_listdesktops_cache
        self.auto_update_listmounts_cache = auto_update_listmounts_cache
        self.auto_update_sessionregistry = auto_update_sessionregistry
        self.auto_register_sessions = auto_register_sessions
        self.no_auto_reg_pubapp_sessions = no_auto_reg_pubapp_sessions
        self.refresh_interval = refresh_interval
        self._stop_wanted = threading.Event()
        self._client = weakref.ref(client_instance)
        self._end = weakref.finalize(client_instance, self._stop_wanted.set)  # also before the process ends
        if self._steps():
            self.start()

    @property
    def client_instance(self) -> X2GoClient | None:
        """The client; None when it is gone."""
        return self._client()

    def run(self) -> None:
        """As `guardian`."""
        self.guardian()

    def guardian(self) -> None:
        """Look after the sessions, round after round, until the end."""
        while not self._stop_wanted.wait(self.refresh_interval):
            for step in self._steps():
                if self._stop_wanted.is_set():
                    return
                self._guarded(step)

    def _steps(self) -> list[Callable[[X2GoClient], None]]:
        steps: list[Callable[[X2GoClient], None]] = []
        sessions, desktops = self.auto_update_listsessions_cache, self.auto_update_listdesktops_cache
        if sessions or desktops or self.auto_update_listmounts_cache:
            steps.append(self._renew_lists)
        if self.auto_register_sessions:
            steps.append(
                lambda client: client.register_available_server_sessions_all_profiles(
                    skip_pubapp_sessions=self.no_auto_reg_pubapp_sessions
                )
            )
        elif self.auto_update_sessionregistry:
            steps.append(lambda client: client.update_sessionregistry_status_all_profiles())
        return steps

    def _renew_lists(self, client: X2GoClient) -> None:
        client.update_cache_all_profiles(
            update_sessions=self.auto_update_listsessions_cache,
            update_desktops=self.auto_update_listdesktops_cache,
            update_mounts=self.auto_update_listmounts_cache,
        )

    def _guarded(self, step: Callable[[X2GoClient], None]) -> None:
        """One step of a round; what fails, also in a hook of the application, is logged and ends nothing."""
        client = self._client()
        if client is None:
            return
        try:
            step(client)
        except Exception as error:
            self.logger(f"a look at the sessions failed: {type(error).__name__}: {error}", loglevel=loglevel_ERROR)
            _logger.debug("a look at the sessions failed", exc_info=True)

    def stop_thread(self) -> None:
        """End the thread.

        From within a hook it returns at once; the thread ends after the hook.
        """
        self._end.detach()
        self._stop_wanted.set()
        if self.is_alive() and threading.current_thread() is not self:
            self.join(STOP_TIME)
