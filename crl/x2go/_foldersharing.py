"""The shared folders of a session, as its users see them: asked for, kept over a suspend, told of.

What is to be shared is a wish, which outlives suspending and a lost connection; what is shared is on the server. A
folder that cannot be shared at a start or resume is told to a hook and the session goes on without it; where somebody
asks for one folder, the failure is raised.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from crl.errors import CrlError
from crl.x2go._sharing import Sharing
from crl.x2go.backends.terminal.plain import X2GoTerminalSession
from crl.x2go.log import X2GoLogger, loglevel_WARN
from crl.x2go.state import SessionState
from crl.x2go.x2go_exceptions import (
    X2GoFolderSharingException,
    X2GoParameterError,
    X2GoProfileException,
    X2GoSessionException,
    X2GoSshfsMissing,
    X2GoUserException,
)

if TYPE_CHECKING:
    from crl.x2go.backends.control.plain import X2GoControlSession

__all__ = ["FolderSharing"]


class FolderSharing:
    """What `crl.x2go.X2GoSession` has of them."""

    allow_share_local_folders: bool
    client_instance: Any
    control_session: X2GoControlSession | Any
    last_error: CrlError | None
    logger: X2GoLogger
    master_session: bool
    profile_name: str
    restore_shared_local_folders: bool
    share_local_folders: list[str]
    _has_habits_of_targets: bool
    _lock: Any
    _terminal: X2GoTerminalSession
    _wishes: dict[str, Sharing] | None = None

    if TYPE_CHECKING:

        @property
        def state(self) -> SessionState: ...

        @property
        def place(self) -> str: ...

        def get_session_name(self) -> str | None: ...

        def is_connected(self) -> bool: ...

        def HOOK_foldersharing_not_available(self) -> None: ...

        def HOOK_sshfs_not_available(self) -> None: ...

    # Which session shares.

    def is_master_session(self) -> bool:
        """Whether it is the one of its profile that shares the profile's folders; one without a client always is."""
        return self.master_session or self.client_instance is None

    def set_master_session(self, wait: float = 0, max_wait: float = 20) -> None:  # noqa: ARG002 - as published
        """Make it the one of its profile that shares the profile's folders; a session that runs does so now."""
        self.master_session = True
        if self.state is SessionState.RUNNING:
            self._share_wished()

    def unset_master_session(self) -> None:
        """Take that mark away; what it has shared for the profile is shared no more."""
        was, self.master_session = self.master_session, False
        if was and self._terminal.folders.shares and self.is_connected():
            self._terminal.end_shares()

    # What is to be shared.

    def is_folder_sharing_available(self) -> bool:
        """Whether folders may be shared, and the server can mount them."""
        may = self._may_share() and self.is_connected()
        return may and bool(self.control_session.is_sshfs_available())

    def _may_share(self) -> bool:
        """A session for a target is its program's own: what it is told to share may be shared."""
        return self.allow_share_local_folders or self._has_habits_of_targets

    def _wished(self) -> dict[str, Sharing]:
        if self._wishes is None:
            self._wishes = {_absolute(path): Sharing() for path in self.share_local_folders}
        return self._wishes

    def share_local_folder(
        self,
        local_path: str | os.PathLike[str] | None = None,
        folder_name: str | os.PathLike[str] | None = None,
        update_exported_folders: bool = True,
        *,
        read_only: bool = False,
        hard_links: bool = False,
        survive_cuts: bool = False,
    ) -> bool:
        """Let the session have a folder of this machine, as ``~/media/disk/…`` on the server.

        Args:
            local_path: The folder; nothing outside it can be reached from the server.
            folder_name: Another name of `local_path`.
            update_exported_folders: Whether it is shared again when the session is resumed.
            read_only: Whether the server may not change it.
            hard_links: Whether files with several names can be had too, although one of them may be outside.
            survive_cuts: Whether files that are open there outlive a cut of the connection, at the price of speed;
                otherwise programs that use them see an error, and the folder is mounted again.

        Returns:
            True; False when it failed and a hook of the client was told (see `last_error`).

        Raises:
            X2GoSessionException: The session does not run, or may not share.
            X2GoUserException: The folder cannot be shared.
            X2GoFolderSharingException: The server did not mount it, or cannot: `X2GoSshfsMissing`.
        """
        path = local_path if local_path is not None else folder_name
        if path is None:
            raise X2GoParameterError("which folder? Give local_path", host=self.place)
        with self._lock:
            self._require_running()
            wish = Sharing(read_only, hard_links, survive_cuts)
            try:
                self._share(os.fspath(path), wish)
            except (X2GoUserException, X2GoSessionException) as error:
                if not self._tell_not_shared(error):
                    raise
                return False
            if update_exported_folders:
                self._wished()[_absolute(os.fspath(path))] = wish
                self._note_exported()
        return True

    def share_all_local_folders(self, update_exported_folders: bool = True) -> bool:
        """Share all folders that are to be shared; whether all are.

        Raises:
            X2GoSessionException: The session does not run, or may not share.
        """
        wished = dict(self._wished())
        shared = [
            self.share_local_folder(
                path, update_exported_folders=update_exported_folders,
                read_only=wish.read_only, hard_links=wish.hard_links, survive_cuts=wish.survive_cuts,
            )
            for path, wish in wished.items()
        ]  # fmt: skip
        return all(shared)

    def unshare_local_folder(
        self, local_path: str | os.PathLike[str] | None = None, update_exported_folders: bool = True
    ) -> bool:
        """Share a folder no more; whether it was shared.

        Raises:
            X2GoSessionException: There is no session on the server.
        """
        if local_path is None:
            raise X2GoParameterError("which folder? Give local_path", host=self.place)
        with self._lock:
            if update_exported_folders:
                self._wished().pop(_absolute(os.fspath(local_path)), None)
                self._note_exported()
            return self._terminal.unshare_local_folder(local_path)

    def unshare_all_local_folders(self, force_all: bool = False, update_exported_folders: bool = True) -> bool:
        """Share no folder any more.

        Args:
            force_all: Have the server end everything of ours that it has mounted, what printing needs as well.
            update_exported_folders: Whether none is shared again when the session is resumed.
        """
        with self._lock:
            if update_exported_folders:
                self._wished().clear()
                self._note_exported()
            if force_all or all(one.kind == "disk" for one in self._terminal.folders.shares):
                return self._terminal.unshare_all_local_folders()
            shares = [one for one in self._terminal.folders.shares if one.kind == "disk"]
            for share in shares:
                self._terminal.unshare_local_folder(share.path)
            return True

    def get_shared_folders(
        self, check_list_mounts: bool = False, mounts: Mapping[str, Sequence[str]] | None = None
    ) -> list[str]:
        """The folders that the session has now.

        Args:
            check_list_mounts: Only those that the server's own list has, too.
            mounts: That list, by session; by default the server is asked.
        """
        shares = [one for one in self._terminal.folders.shares if one.kind == "disk"]
        if check_list_mounts and shares:
            name = self.get_session_name() or ""
            listed = self.control_session.list_mounts(name) if mounts is None else mounts
            there = {line.partition("|")[2] for line in listed.get(name, ())}
            shares = [one for one in shares if one.place in there]
        return [one.path for one in shares]

    # Sharing.

    def _share(self, path: str, wish: Sharing) -> None:
        if not self._may_share():
            raise X2GoFolderSharingException(
                "this session may not share folders", host=self.place, doing="sharing a folder",
                advice="make it with allow_share_local_folders=True, or set useexports in its profile",
            )  # fmt: skip
        self._terminal.share_local_folder(
            path, read_only=wish.read_only, hard_links=wish.hard_links, survive_cuts=wish.survive_cuts
        )

    def _require_running(self) -> None:
        if self.state not in {SessionState.RUNNING, SessionState.STARTING, SessionState.RESUMING}:
            raise X2GoSessionException(
                f"a session that is {self.state} has no folders", host=self.place, doing="sharing a folder",
                advice="start or resume it first",
            )  # fmt: skip

    def _share_wished(self) -> None:
        """Share what is to be shared; what cannot be is told, and the session goes on without it."""
        if not self._may_share() or not self._shares_for_profile():
            return
        for path, wish in list(self._wished().items()):
            try:
                self._share(path, wish)
            except (CrlError, OSError) as error:
                self.last_error = error if isinstance(error, CrlError) else self.last_error
                self.logger(f"{path} is not shared: {error}", loglevel=loglevel_WARN)
                self._tell_not_shared(error)
                if isinstance(error, X2GoSshfsMissing):
                    return

    def _shares_for_profile(self) -> bool:
        """Whether no other session of the profile shares the profile's folders."""
        registry = getattr(self.client_instance, "session_registry", None)
        master = None if registry is None else registry.master_sessions.get(self.profile_name)
        return master is None or master is self

    def _tell_not_shared(self, error: BaseException) -> bool:
        """Call the hook for a folder that is not shared; whether there is a client that hears it."""
        if isinstance(error, CrlError):
            self.last_error = error
        if isinstance(error, X2GoSshfsMissing):
            self.HOOK_sshfs_not_available()
        else:
            self.HOOK_foldersharing_not_available()
        return self.client_instance is not None

    def note_lost_share(self, error: CrlError) -> None:
        """A folder is shared no more, though nobody wanted that; called in the thread that served it."""
        self._tell_not_shared(error)

    # What is remembered.

    def _note_exported(self) -> None:
        """Keep the published list as the wishes are; in the profile too, where that is wanted."""
        self.share_local_folders = list(self._wished())
        self._update_restore_exported_folders()

    def _update_restore_exported_folders(self) -> None:
        """Note in the session's profile which folders are shared at its next start, where that is wanted."""
        profiles = getattr(self.client_instance, "session_profiles", None)
        if not self.restore_shared_local_folders or profiles is None:
            return
        if not profiles.has_profile_name(self.profile_name):
            return
        known = profiles.get_profile_config(self.profile_name, "export")
        exports = dict.fromkeys(known if isinstance(known, Mapping) else (), False)
        exports.update(dict.fromkeys(self._wished(), True))
        try:
            profiles.update_value(self.profile_name, "export", exports)
            profiles.write()
        except X2GoProfileException as error:
            self.logger(f"the profile does not remember the shared folders: {error}", loglevel=loglevel_WARN)



def _absolute(path: str) -> str:
    return os.path.abspath(os.path.expanduser(path))
