"""Shared folders over a tunnel: the server listens, its sshfs runs an ssh that logs in here with a share's key.

This is the way for servers that are reached through more than one login, and for shares whose open files are to
survive a cut, since the tunnel rides the link. It joins the tunnel's SFTP server with the server's own script, and
promises that a key is on the server only while that script runs, and in no argument list.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from crl.deadlines import Deadline
from crl.secrets import Secret
from crl.x2go._host import RunAnswer
from crl.x2go._mountscript import MOUNT_TIME, mount_words
from crl.x2go._sftpserve import Export, new_key
from crl.x2go.sftpserver import X2GoRevFwTunnelToSFTP
from crl.x2go.x2go_exceptions import X2GoFolderSharingException, X2GoRevFwTunnelException

if TYPE_CHECKING:
    from crl.x2go._server import X2GoServer
    from crl.x2go.backends.info.plain import X2GoServerSessionInfo

__all__ = ["TunnelShare", "TunnelShares"]

IDENTITY: Final = "----BEGIN RSA IDENTITY----"  # the script's word, for keys of all kinds
# Where a channel of its own has mounted before, nobody may write now. The key comes by standard input, to a file that
# is its owner's alone; the script removes it, and so do we.
_MOUNT: Final = (
    'umask 077; f=$1; [ ! -d "$2" ] || chmod u+w "$2"; shift 2; '
    'mkdir -p "${f%/*}" && cat >"$f" || exit 1; "$@"; s=$?; rm -f "$f" "$f.ident"; exit $s'
)


@dataclass(frozen=True)
class TunnelShare:
    """One folder that is served so.

    Args:
        tunnel: What it goes through.
        export: What is served.
        key_text: What opens it.
        place: Where it is mounted there.
    """

    tunnel: X2GoRevFwTunnelToSFTP
    export: Export
    key_text: Secret
    place: str

    ended = False

    def end(self) -> None:
        """Serve it no more."""
        self.tunnel.unshare(self.export)

    def mount(
        self, marker: str, server: X2GoServer, info: X2GoServerSessionInfo, variables: Mapping[str, str]
    ) -> RunAnswer:
        """Run the server's script; what it says.

        Args:
            marker: What the folder is for, as the script has it.
            server: The server.
            info: The session.
            variables: Those that the script needs.
        """
        tunnel = self.tunnel
        key_file = f"{server.get_facts().home}/.x2go/ssh/key.z{secrets.token_hex(8)}"
        identity = f"{tunnel.host_key.get_name()} {tunnel.host_key.get_base64()}"
        script = mount_words(server, info, key_file, f"{self.export.name}{marker}", tunnel.server_port)
        words = ["sh", "-c", _MOUNT, "sh", key_file, self.place, *script]
        text = f"{self.key_text.value.rstrip()}\n{IDENTITY}{identity}\n"
        return server.execute(words, Deadline.after(MOUNT_TIME), limit=MOUNT_TIME, input=text, env=variables)

    @property
    def hint(self) -> tuple[str, str] | None:
        """What is to be said of a mount that failed, and the advice for it."""
        if self.export.was_used:
            return None
        return (
            "; its ssh did not log in here with the share's key",
            "see what ssh is told there, such as PubkeyAuthentication in ~/.ssh/config",
        )

    def mounted(self) -> None:
        """It is mounted: files are about to be used."""
        self.tunnel.expect_much()


class TunnelShares:
    """The tunnel of one session, and what goes through it.

    Args:
        session_instance: Whose hook is told when the server refuses to listen.
        logger: Where to log.
    """

    def __init__(self, session_instance: Any, logger: Any) -> None:
        self._session_instance = session_instance
        self._logger = logger
        self._lock = threading.RLock()
        self.tunnel: X2GoRevFwTunnelToSFTP | None = None

    def start(self, forwarder: Any, server: X2GoServer, info: X2GoServerSessionInfo) -> X2GoRevFwTunnelToSFTP:
        """Have the server listen, if it does not: on the session's port for folders, or any other if that is taken.

        Raises:
            X2GoFolderSharingException: The server does not listen.
        """
        with self._lock:
            if self.tunnel is not None and self.tunnel.ready:
                return self.tunnel
            self.stop()
            port = info.sshfs_port if isinstance(info.sshfs_port, int) and info.sshfs_port > 0 else 0
            tunnel = X2GoRevFwTunnelToSFTP(port, forwarder, None, self._session_instance, self._logger)
            try:
                try:
                    tunnel.listen()
                except X2GoRevFwTunnelException:
                    tunnel.server_port = 0
                    tunnel.listen()
            except X2GoRevFwTunnelException as error:
                tunnel.stop_thread()
                raise X2GoFolderSharingException(
                    error.message, host=server.host, doing="sharing folders", advice=error.advice
                ) from error
            tunnel.start()
            self.tunnel = tunnel
            return tunnel

    def stop(self) -> None:
        """End the tunnel and all that goes through it; again is harmless."""
        with self._lock:
            tunnel, self.tunnel = self.tunnel, None
        if tunnel is not None:
            tunnel.stop_thread()

    def share(self, path: str, name: str, place: str, *, read_only: bool, hard_links: bool) -> TunnelShare:
        """Serve a folder, once the server listens.

        Raises:
            X2GoUserException: The folder cannot be shared.
        """
        assert self.tunnel is not None
        key, key_text = new_key()
        export = self.tunnel.share(path, key=key, name=name, read_only=read_only, hard_links=hard_links)
        return TunnelShare(self.tunnel, export, key_text, place)
