"""The parts of a session's face that a later release brings: shared folders, printing, MIME box.

Being the one session of a profile that may share folders is a mark only. Asking for a part raises; asking whether
there is one, or ending it, does not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from crl.x2go import defaults
from crl.x2go._notyet import refuse
from crl.x2go.backends.terminal.plain import X2GoSessionParams

__all__ = ["LaterSharing"]


class LaterSharing:
    """What `crl.x2go.X2GoSession` has of them."""

    client_instance: Any
    master_session: bool
    printing: bool
    allow_mimebox: bool
    share_local_folders: list[str]
    session_params: X2GoSessionParams

    def _refuse_later_parts(self) -> None:
        """Say what was asked for and is not there, before anything is started."""
        if self.printing:
            refuse("printing=True", "printing")
        if self.allow_mimebox:
            refuse("allow_mimebox=True", "the MIME box")
        if self.share_local_folders:
            refuse("share_local_folders", "folder sharing")

    def is_master_session(self) -> bool:
        """Whether it is the one of its profile that may share folders; one without a client always is."""
        return self.master_session or self.client_instance is None

    def set_master_session(self, wait: float = 0, max_wait: float = 20) -> None:  # noqa: ARG002 - as published
        """Make it the one of its profile that may share folders."""
        self.master_session = True

    def unset_master_session(self) -> None:
        """Take that mark away."""
        self.master_session = False

    def is_folder_sharing_available(self) -> bool:
        """Whether folders can be shared: not in this release."""
        return defaults.SUPPORTED_FOLDERSHARING

    def share_local_folder(
        self,
        local_path: str | None = None,  # noqa: ARG002 - as published
        folder_name: str | None = None,  # noqa: ARG002
        update_exported_folders: bool = True,  # noqa: ARG002
    ) -> bool:
        """Not in this release."""
        refuse("share_local_folder", "folder sharing")

    def share_all_local_folders(self, update_exported_folders: bool = True) -> bool:  # noqa: ARG002 - as published
        """True when there is nothing to share; else not in this release."""
        if self.share_local_folders:
            refuse("share_all_local_folders", "folder sharing")
        return True

    def unshare_local_folder(
        self,
        local_path: str | None = None,  # noqa: ARG002 - as published
        update_exported_folders: bool = True,  # noqa: ARG002
    ) -> bool:
        """True: nothing is shared."""
        return True

    def unshare_all_local_folders(
        self,
        force_all: bool = False,  # noqa: ARG002 - as published
        update_exported_folders: bool = True,  # noqa: ARG002
    ) -> bool:
        """True: nothing is shared."""
        return True

    def get_shared_folders(
        self,
        check_list_mounts: bool = False,  # noqa: ARG002 - as published
        mounts: Mapping[str, Sequence[str]] | None = None,  # noqa: ARG002
    ) -> list[str]:
        """The folders that are shared: none."""
        return []

    def _update_restore_exported_folders(self) -> None:
        """Nothing is shared, so nothing is to be kept."""

    def set_print_action(self, print_action: Any, **kwargs: Any) -> None:  # noqa: ARG002 - as published
        """Not in this release."""
        refuse("set_print_action", "printing")
