"""The shared folders of a session on the server: python-x2go's methods over `crl.x2go._shares`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from crl.errors import CrlError
from crl.x2go._sharing import Sharing
from crl.x2go.log import loglevel_WARN
from crl.x2go.x2go_exceptions import X2GoParameterError

if TYPE_CHECKING:
    from crl.x2go._server import X2GoServer
    from crl.x2go._shares import Share, SharedFolders
    from crl.x2go.backends.info.plain import X2GoServerSessionInfo
    from crl.x2go.rforward import X2GoRevFwTunnel

__all__ = ["SessionShares"]


class SessionShares:
    """What `X2GoTerminalSession` has of them."""

    control_session: Any
    session_info: X2GoServerSessionInfo
    session_instance: Any
    forwarder: Any
    convert_encoding: bool
    client_encoding: str
    server_encoding: str
    logger: Any
    sound_tunnel: X2GoRevFwTunnel | None
    _folders: SharedFolders | None = None

    if TYPE_CHECKING:

        @property
        def server(self) -> X2GoServer: ...

    @property
    def folders(self) -> SharedFolders:
        """What the session has of this machine's folders."""
        if self._folders is None:
            from crl.x2go._shares import SharedFolders  # needs paramiko, which not every session does

            encodings = (self.client_encoding, self.server_encoding) if self.convert_encoding else None
            self._folders = SharedFolders(self.session_instance, self.logger, encodings)
        return self._folders

    def start_sshfs(self) -> None:
        """Have the server listen for folders that go through a tunnel; sharing one does so by itself.

        Raises:
            X2GoSshfsMissing: The server cannot mount.
            X2GoFolderSharingException: The server does not listen.
        """
        self.folders.start(self.forwarder or self.control_session.target, self.server, self.session_info)

    def stop_sshfs(self) -> None:
        """Serve no folder any more; the server is not told."""
        if self._folders is not None:
            self._folders.release()

    def share_local_folder(
        self,
        local_path: str | os.PathLike[str] | None = None,
        folder_type: str = "disk",
        *,
        read_only: bool = False,
        hard_links: bool = False,
        survive_cuts: bool = False,
    ) -> bool:
        """Have the server mount a folder of this machine.

        Args:
            local_path: The folder.
            folder_type: ``disk``, or what it is for: ``spool`` (print jobs), ``mimebox``.
            read_only: Whether the server may not change it.
            hard_links: Whether files with several names can be had too, although one of them may be outside.
            survive_cuts: Whether files that are open on the server outlive a cut of the connection, at the price of
                speed; otherwise programs there see an error, and the folder is mounted again.

        Returns:
            True.

        Raises:
            X2GoUserException: The folder cannot be shared.
            X2GoFolderSharingException: The server did not mount it.
        """
        if local_path is None:
            raise X2GoParameterError("which folder? Give local_path")
        forwarder = self.forwarder or self.control_session.target
        sharing = Sharing(read_only, hard_links, survive_cuts)
        self.folders.share(os.fspath(local_path), folder_type, self.server, self.session_info, forwarder, sharing)
        return True

    def unshare_local_folder(self, local_path: str | os.PathLike[str]) -> bool:
        """Have the server unmount a folder, and serve it no more; whether it was shared."""
        share = self.find_share(local_path)
        if share is not None:
            self.folders.unshare(share, self.server, self.session_info)
        return share is not None

    def unshare_all_local_folders(self) -> bool:
        """Have the server unmount all folders of the session, and serve none any more."""
        if self._folders is not None and not self._folders.is_empty:
            self._folders.unshare_all(self.server, self.session_info)
        return True

    def end_shares(self, *, asked: bool = False) -> None:
        """Unmount all when the session is suspended or ends: a mount that is in use would stay behind, dead.

        Args:
            asked: Whether the server has been asked to unmount already, as its suspending does.
        """
        if self._folders is None or self._folders.is_empty:
            return
        try:
            self._folders.unshare_all(self.server, self.session_info, asked=asked)
        except (CrlError, OSError) as error:  # what is to be done with the session is to be done all the same
            self.logger(f"the server did not unmount all folders: {error}", loglevel=loglevel_WARN)

    def _x2go_pause_rev_fw_tunnel(self, name: str) -> None:
        """Have the server listen no more for a tunnel of this session.

        Args:
            name: ``"snd"`` for its sound, ``"sshfs"`` for its folders, as `X2GoControlSession` names them.
        """
        shares = None if self._folders is None else self._folders.tunnel
        tunnel = {"snd": self.sound_tunnel, "sshfs": shares}.get(name)
        if tunnel is not None:
            tunnel.pause()

    def find_share(self, local_path: str | os.PathLike[str]) -> Share | None:
        """The share of a folder, if it is shared."""
        wanted = os.path.abspath(os.path.expanduser(os.fspath(local_path)))
        for share in self.folders.shares:
            if share.kind == "disk" and wanted in {share.path, share.real_path}:
                return share
        return None

