"""Folders of this machine for a session on the server: python-x2go's reverse tunnel with SFTP at its end.

`X2GoRevFwTunnelToSFTP` has the server listen and serves SFTP to whoever connects there and has the key of a share; it
works over a `paramiko.Transport` and over a target. It promises that a connection gets the one folder of its key and
nothing else of this machine, and that `stop_thread` leaves no thread, socket, file or listener.
"""

from __future__ import annotations

import logging
import os
from typing import Any

import paramiko

from crl.link import End
from crl.x2go._confined import ConfinedFolder
from crl.x2go._sftpserve import MOST_CONNECTIONS, Export, Exports, check_key, confine, new_key, serve
from crl.x2go.defaults import CURRENT_LOCAL_USER
from crl.x2go.log import X2GoLogger, logger_for, loglevel_DEBUG_SFTPXFER, loglevel_DEFAULT, loglevel_WARN
from crl.x2go.rforward import X2GoRevFwChannelThread, X2GoRevFwTunnel

__all__ = ["X2GoRevFwSFTPChannelThread", "X2GoRevFwTunnelToSFTP", "x2go_rev_forward_sftpchannel_handler"]


class X2GoRevFwSFTPChannelThread(X2GoRevFwChannelThread):
    """Serves SFTP on one connection of a reverse tunnel."""


class X2GoRevFwTunnelToSFTP(X2GoRevFwTunnel):
    """The server listens, and who connects there gets files of this machine by SFTP; a thread, to be started.

    Which files is said by `share`, or by `folder` at once; without either there is nothing to be had.

    Args:
        server_port: The port on the server's loopback address; 0 is any.
        ssh_transport: A connected `paramiko.Transport`, or a target.
        auth_key: The key that opens `folder`, or what is shared first: ed25519, or RSA with at least 3072 bits; one is
            made by default.
        session_instance: The session; its ``HOOK_rforward_request_denied`` is told when the server refuses to listen.
        logger: Where to log.
        loglevel: The levels that are logged.
        folder: A folder to share at once.
        read_only: Whether nothing in it may be changed.

    Raises:
        X2GoParameterError: The key is too weak, or there is nothing that makes tunnels.
        X2GoUserException: The folder cannot be shared.

    Attributes:
        ready: Whether the server listens.
        host_key: The key that shows who serves; a new one for each tunnel.
        exports: What can be had.
    """

    def __init__(
        self,
        server_port: int,
        ssh_transport: Any,
        auth_key: paramiko.PKey | None = None,
        session_instance: Any = None,
        logger: X2GoLogger | logging.Logger | None = None,
        loglevel: int = loglevel_DEFAULT,
        *,
        folder: str | os.PathLike[str] | None = None,
        read_only: bool = False,
    ) -> None:
        self.exports = Exports()
        super().__init__(server_port, None, None, ssh_transport, session_instance, logger, loglevel)
        self.logger = logger_for(logger, loglevel, "sftpserver")
        self.auth_key = None if auth_key is None else check_key(auth_key)
        self.host_key = new_key()[0]
        if folder is not None:
            self.share(folder, read_only=read_only)

    @property
    def ready(self) -> bool:
        """Whether the server listens."""
        return self._listening

    # Folders.

    def share(
        self,
        folder: str | os.PathLike[str],
        *,
        key: paramiko.PKey | None = None,
        name: str | None = None,
        read_only: bool = False,
        hard_links: bool = False,
    ) -> Export:
        """Let a folder be had by whoever has a key.

        Args:
            folder: The folder.
            key: The key; `auth_key` for the first folder by default, then a new one.
            name: The absolute name by which the other side knows it; its own by default.
            read_only: Whether nothing in it may be changed.
            hard_links: Whether files with several names can be had too, although one of them may be outside.

        Raises:
            X2GoParameterError: The key is too weak, or opens another folder.
            X2GoUserException: The folder cannot be shared.
        """
        if key is None and self.auth_key is not None and self.exports.find(self.auth_key) is None:
            key = self.auth_key
        key = new_key()[0] if key is None else check_key(key)
        confined = confine(folder, read_only=read_only, hard_links=hard_links)
        export = Export(confined, name or confined.path, key)
        try:
            self.exports.add(export)
        except BaseException:
            confined.close()
            raise
        return export

    def unshare(self, export: Export) -> None:
        """Take a folder back; connections that use it end."""
        self.exports.remove(export)

    # Listening.

    def listen(self) -> None:
        """Have the server listen now; otherwise the thread does so when it starts.

        Raises:
            X2GoRevFwTunnelException: It does not.
        """
        self._listen()

    def _request_port_forwarding(self) -> bool:
        return self._listening or super()._request_port_forwarding()

    def _place_here(self) -> Any:
        """As of any tunnel; what comes over a target comes out in this program."""
        return self._take_end

    def _take_end(self, end: End) -> None:
        self._take(end, ("target", end.number))

    # Connections.

    def _begin(self, chan: Any, origin: tuple[str, int]) -> None:
        with self.incoming_channel:
            full = len(self.open_channels) >= MOST_CONNECTIONS
        if full:
            self.logger(f"more than {MOST_CONNECTIONS} connections at once are refused", loglevel=loglevel_WARN)
            chan.close()
            return
        super()._begin(chan, origin)

    def _new_thread(self, chan: Any) -> X2GoRevFwChannelThread:
        return X2GoRevFwSFTPChannelThread(
            chan, target=self._serve, kwargs={"chan": chan}, name="crl-x2go-sftp"
        )

    def _lead(self, **arguments: Any) -> None:
        x2go_rev_forward_sftpchannel_handler(
            arguments["chan"], logger=self.logger, exports=self.exports, host_key=self.host_key
        )

    def expect_much(self) -> None:
        """Files are about to be used: have the link, where there is one, make ready for that.

        Each step with a file is some questions, which wait for each other.
        """
        with self.incoming_channel:
            ends = [thread.channel for thread in self.open_channels.values() if isinstance(thread.channel, End)]
        for end in ends[-1:]:
            end.expect_much()

    def stop_thread(self) -> None:
        """End the tunnel, its connections, its threads and all shares; again is harmless."""
        super().stop_thread()
        self.exports.close()


def x2go_rev_forward_sftpchannel_handler(
    chan: Any = None,
    auth_key: paramiko.PKey | None = None,
    logger: X2GoLogger | logging.Logger | None = None,
    *,
    folder: str | os.PathLike[str] | None = None,
    read_only: bool = False,
    exports: Exports | None = None,
    host_key: paramiko.PKey | None = None,
) -> None:
    """Serve SFTP on one connection from the server, to its end; one that proves no key of a folder gets nothing.

    Args:
        chan: The connection.
        auth_key: The key that opens `folder`.
        logger: Where to log.
        folder: A folder to share.
        read_only: Whether nothing in it may be changed.
        exports: The folders of a tunnel, in place of `auth_key` and `folder`.
        host_key: The key that shows who serves; a new one by default.

    Raises:
        X2GoParameterError: The key is too weak.
        X2GoUserException: The folder cannot be shared.
    """
    log = logger_for(logger, loglevel_DEFAULT, "sftpserver")
    ours = exports if exports is not None else Exports()
    try:
        if exports is None and auth_key is not None and folder is not None:
            confined = ConfinedFolder(folder, read_only=read_only)
            ours.add(Export(confined, confined.path, check_key(auth_key)))
        serve(
            chan, ours, host_key or new_key()[0], CURRENT_LOCAL_USER,
            lambda text: log(text, loglevel=loglevel_DEBUG_SFTPXFER),
        )  # fmt: skip
    finally:
        if exports is None:
            ours.close()
