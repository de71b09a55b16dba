"""The lists of servers as they were last seen, so that an application need not wait for them.

`X2GoListSessionsCache` keeps for each connected profile what its server listed: sessions, desktops that can be shared,
and mounted folders. The guardian renews it. Its lock is never held while a server is asked; what was asked before a
profile's entry was deleted is not stored after it.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from crl.x2go.log import X2GoLogger, logger_for, loglevel_DEFAULT, loglevel_WARN
from crl.x2go.x2go_exceptions import (
    X2GoControlSessionException,
    X2GoSessionCacheException,
    X2GoSessionRegistryException,
    X2GoTimeOutException,
)

if TYPE_CHECKING:
    from crl.x2go.client import X2GoClient

__all__ = ["X2GoListSessionsCache"]

_KINDS = ("sessions", "desktops", "mounts")


class X2GoListSessionsCache:
    """What the servers of a client's profiles listed last.

    Args:
        client_instance: The client.
        logger: Where to log.
        loglevel: Levels to log when `logger` is not an `X2GoLogger`.

    Attributes:
        x2go_listsessions_cache: For each profile's name its ``sessions``, ``desktops`` and ``mounts``.
        last_listsessions_cache: The same before the last renewal of each profile.
    """

    def __init__(
        self,
        client_instance: X2GoClient,
        logger: X2GoLogger | logging.Logger | None = None,
        loglevel: int = loglevel_DEFAULT,
    ) -> None:
        self.logger = logger_for(logger, loglevel, tag=type(self).__name__)
        self.client_instance = client_instance
        self.x2go_listsessions_cache: dict[str, dict[str, Any]] = {}
        self.last_listsessions_cache: dict[str, dict[str, Any]] = {}
        self._lock = threading.Lock()
        self._updates = 0
        self._deletions: dict[str, int] = {}

    @property
    def protected(self) -> bool:
        """Whether something is being renewed."""
        return self._updates > 0

    def delete(self, profile_name: str) -> None:
        """Forget what is known of a profile; nothing known is no error."""
        with self._lock:
            self._deletions[profile_name] = self._deletions.get(profile_name, 0) + 1
            self.x2go_listsessions_cache.pop(profile_name, None)

    def check_cache(self) -> None:
        """Forget the profiles that are no longer connected."""
        connected = self.client_instance.session_registry.connected_profiles(
            use_paramiko=True, return_profile_ids=False, return_profile_names=True
        )
        for profile_name in list(self.x2go_listsessions_cache):
            if profile_name not in connected:
                self.delete(profile_name)

    def update_all(
        self, update_sessions: bool = True, update_desktops: bool = False, update_mounts: bool = False
    ) -> None:
        """Renew what is known of all connected profiles, and forget the others.

        Args:
            update_sessions: Ask for the sessions.
            update_desktops: Ask for the desktops that can be shared.
            update_mounts: Ask for the mounted folders.

        Raises:
            X2GoControlSessionException: A server cannot be asked; those after it were not.
        """
        registry = self.client_instance.session_registry
        for profile_name in registry.connected_profiles(
            use_paramiko=True, return_profile_ids=False, return_profile_names=True
        ):
            self.update(profile_name, update_sessions, update_desktops, update_mounts)
        self.check_cache()

    def update(
        self,
        profile_name: str,
        update_sessions: bool = True,
        update_desktops: bool = False,
        update_mounts: bool = False,
    ) -> None:
        """Renew what is known of a profile.

        A server that only takes too long leaves what was known before.

        Args:
            profile_name: Which.
            update_sessions: Ask for the sessions.
            update_desktops: Ask for the desktops that can be shared.
            update_mounts: Ask for the mounted folders.

        Raises:
            X2GoControlSessionException: The server cannot be asked; nothing is known of the profile then.
        """
        control = self.client_instance.session_registry.control_session_of_profile_name(profile_name)
        if control is None or not control.is_connected():
            self.delete(profile_name)
            return
        asked: tuple[tuple[bool, Callable[[str, Any], None]], ...] = (
            (update_sessions, self._update_sessions),
            (update_desktops, self._update_desktops),
            (update_mounts, self._update_mounts),
        )
        with self._lock:
            self._updates += 1
            self.last_listsessions_cache[profile_name] = dict(self.x2go_listsessions_cache.get(profile_name, {}))
        try:
            for _, renew in filter(lambda one: one[0], asked):
                try:
                    renew(profile_name, control)
                except X2GoTimeOutException as error:
                    self.logger(f"the lists of {profile_name} stay as they were: {error}", loglevel=loglevel_WARN)
        except X2GoControlSessionException:
            self.delete(profile_name)
            raise
        finally:
            with self._lock:
                self._updates -= 1

    def _update_sessions(self, profile_name: str, control_session: Any) -> None:
        self._renew(profile_name, "sessions", control_session.list_sessions)

    def _update_desktops(self, profile_name: str, control_session: Any) -> None:
        self._renew(profile_name, "desktops", control_session.list_desktops)

    def _update_mounts(self, profile_name: str, control_session: Any) -> None:
        registry = self.client_instance.session_registry
        names = registry.associated_sessions_of_profile_name(
            profile_name, return_objects=False, return_session_names=True
        )

        def ask() -> dict[str, list[str]]:
            mounts: dict[str, list[str]] = {}
            for name in names:
                mounts.update(control_session.list_mounts(name))
            return mounts

        self._renew(profile_name, "mounts", ask)

    def _renew(self, profile_name: str, kind: str, ask: Callable[[], Any]) -> None:
        """Ask, and store the answer unless the profile was deleted meanwhile."""
        deleted = self._deletions.get(profile_name, 0)
        answer = ask()
        with self._lock:
            if self._deletions.get(profile_name, 0) == deleted:
                nothing: dict[str, Any] = {"sessions": None, "desktops": None, "mounts": {}}
                entry = self.x2go_listsessions_cache.get(profile_name, nothing)
                self.x2go_listsessions_cache[profile_name] = {**entry, kind: answer}

    def list_sessions(self, session_uuid: str) -> dict[str, Any] | None:
        """The sessions that the server of a session listed last; None when it was not asked."""
        known: dict[str, Any] | None = self._last("sessions", session_uuid)
        return known

    def list_desktops(self, session_uuid: str) -> list[str] | None:
        """The desktops that can be shared on the server of a session; None when it was not asked."""
        known: list[str] | None = self._last("desktops", session_uuid)
        return known

    def list_mounts(self, session_uuid: str) -> dict[str, list[str]] | None:
        """The client's folders that are mounted on the server of a session; None when it was not asked."""
        known: dict[str, list[str]] | None = self._last("mounts", session_uuid)
        return known

    def _last(self, kind: str, session_uuid: str) -> Any:
        profile_name = self.client_instance.session_registry.get_profile_name(session_uuid)
        with self._lock:
            known = self.x2go_listsessions_cache.get(profile_name, {}).get(kind)
        return known.copy() if known is not None else None

    def is_cached(
        self, profile_name: str | None = None, session_uuid: str | None = None, cache_type: str | None = None
    ) -> bool:
        """Whether something is known of a profile.

        Args:
            profile_name: The profile; or
            session_uuid: a session of it.
            cache_type: Of its ``sessions``, ``desktops`` or ``mounts``; by default of any.

        Raises:
            X2GoSessionCacheException: There is no such session, or no such kind of list.
        """
        if cache_type not in (None, *_KINDS):
            raise X2GoSessionCacheException(
                f"there is no list of {cache_type}", advice=f"use one of {', '.join(_KINDS)}"
            )
        if profile_name is None and session_uuid is not None:
            try:
                profile_name = self.client_instance.session_registry.get_profile_name(session_uuid)
            except X2GoSessionRegistryException as error:
                raise X2GoSessionCacheException(
                    f"the session {session_uuid} is not registered, so nothing of its profile can be known",
                    doing="looking into the cache",
                ) from error
        with self._lock:
            entry = self.x2go_listsessions_cache.get(profile_name or "", {})
        return bool(entry) if cache_type is None else entry.get(cache_type) is not None
