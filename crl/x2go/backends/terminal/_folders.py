"""The client's folders of a session on this machine, and how they go when the session has ended."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from crl.x2go._server import X2GoServer
    from crl.x2go.backends.info.plain import X2GoServerSessionInfo

__all__ = ["SessionFolders"]


class SessionFolders:
    """What `X2GoTerminalSession` has of folders here."""

    session_info: X2GoServerSessionInfo
    sessions_rootdir: str | os.PathLike[str] | None

    if TYPE_CHECKING:

        @property
        def server(self) -> X2GoServer: ...

    def post_terminate_cleanup(self) -> None:
        """Remove the client's folders of a session that has ended."""
        self._rm_session_dirtree()
        self._rm_desktop_dirtree()

    @staticmethod
    def _mk_sessions_rootdir(rootdir: str | os.PathLike[str]) -> None:
        """Make the folder of session folders, for its owner only."""
        Path(rootdir).expanduser().mkdir(mode=0o700, parents=True, exist_ok=True)

    def _rm_session_dirtree(self) -> None:
        """Remove the client's folder of the session."""
        if self.sessions_rootdir is not None and self.session_info.name:
            name = self.server.checked_name(self.session_info.name)
            shutil.rmtree(Path(self.sessions_rootdir).expanduser() / f"S-{name}", ignore_errors=True)

    def _rm_desktop_dirtree(self) -> None:
        """Remove the folder that nxproxy makes for the session's display."""
        if self.sessions_rootdir is not None and isinstance(self.session_info.display, int):
            folder = Path(self.sessions_rootdir).expanduser() / f"S-{self.session_info.display}"
            shutil.rmtree(folder, ignore_errors=True)
