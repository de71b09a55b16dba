"""The folders of this machine that one session has: tunnel, keys, and mounts on the server.

`SharedFolders` joins the SFTP tunnel with the server's own scripts: each folder gets a key, the server's
``x2gomountdirs`` mounts it by sshfs. It promises that the key is on the server only while that script runs, and in no
argument list; that names which the scripts would misread are replaced by others; and that a folder which is not shared
any more cannot be reached, whatever the server has left of its mount.
"""

from __future__ import annotations

import os
import re
import secrets
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from crl.deadlines import Deadline
from crl.secrets import Secret
from crl.x2go._host import RunAnswer
from crl.x2go._remote import end_mount, mount_log, mounted
from crl.x2go._sftpserve import Export, new_key
from crl.x2go.defaults import CURRENT_LOCAL_USER
from crl.x2go.sftpserver import X2GoRevFwTunnelToSFTP
from crl.x2go.x2go_exceptions import (
    X2GoFolderSharingException,
    X2GoParameterError,
    X2GoRevFwTunnelException,
    X2GoSshfsMissing,
)

if TYPE_CHECKING:
    from crl.x2go._server import X2GoServer
    from crl.x2go.backends.info.plain import X2GoServerSessionInfo

__all__ = ["Share", "SharedFolders"]

MARKERS: Final = {"disk": "", "spool": "__PRINT_SPOOL_", "mimebox": "__MIMEBOX_SPOOL_"}
MOUNT_TIME: Final = 45.0  # the server's script gives sshfs 30
MOST_NAMES: Final = 100
IDENTITY: Final = "----BEGIN RSA IDENTITY----"  # the script's word, for keys of all kinds
# What the scripts put into lines of a shell, into patterns and into lists with other marks goes as it is; nothing else.
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9/._-]")
_ENCODING: Final = re.compile(r"[A-Za-z0-9._:-]{1,40}")
# The key comes by standard input, to a file that is its owner's alone; the script removes it, and so do we.
_MOUNT: Final = (
    'umask 077; f=$1; shift; mkdir -p "${f%/*}" && cat >"$f" || exit 1; "$@"; s=$?; rm -f "$f" "$f.ident"; exit $s'
)


@dataclass(frozen=True)
class Share:
    """One folder that a session has.

    Args:
        path: The folder here.
        kind: What it is for.
        place: Where it is mounted on the server.
        export: What is served.
    """

    path: str
    kind: str
    place: str
    export: Export


class SharedFolders:
    """The folders that one session has.

    Args:
        session_instance: Whose hook is told when the server refuses to listen.
        logger: Where to log.
        encodings: How names are encoded here and on the server, where the server is to change them.

    Raises:
        X2GoParameterError: An encoding cannot be one.
    """

    def __init__(self, session_instance: Any, logger: Any, encodings: tuple[str, str] | None = None) -> None:
        self._variables = {"SSH_AUTH_SOCK": ""}
        if encodings is not None:
            here, there = map(_checked_encoding, encodings)
            self._variables["X2GO_ICONV"] = f"modules=iconv,from_code={here},to_code={there}"
        self._session_instance = session_instance
        self._logger = logger
        self._lock = threading.RLock()
        self._tunnel: X2GoRevFwTunnelToSFTP | None = None
        self._shares: dict[tuple[str, str], Share] = {}

    @property
    def shares(self) -> list[Share]:
        """What is shared now, in the order in which it was."""
        with self._lock:
            return list(self._shares.values())

    @property
    def tunnel(self) -> X2GoRevFwTunnelToSFTP | None:
        """What the shares go through, if it is there."""
        return self._tunnel

    def start(self, forwarder: Any, server: X2GoServer, info: X2GoServerSessionInfo) -> X2GoRevFwTunnelToSFTP:
        """Have the server listen, if it does not: on the session's port for folders, or any other if that is taken.

        Raises:
            X2GoSshfsMissing: The server cannot mount.
            X2GoFolderSharingException: The server does not listen.
        """
        with self._lock:
            if self._tunnel is not None and self._tunnel.ready:
                return self._tunnel
            require_sshfs(server)
            self.release()
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
            self._tunnel = tunnel
            return tunnel

    def share(
        self,
        path: str,
        kind: str,
        server: X2GoServer,
        info: X2GoServerSessionInfo,
        tunnel: X2GoRevFwTunnelToSFTP,
        *,
        read_only: bool = False,
        hard_links: bool = False,
    ) -> Share:
        """Serve a folder and have the server mount it; one that the session has already stays as it is.

        Raises:
            X2GoParameterError: There is no such kind.
            X2GoUserException: The folder cannot be shared.
            X2GoFolderSharingException: The server did not mount it.
        """
        if kind not in MARKERS:
            raise X2GoParameterError(f"a folder is for {', '.join(MARKERS)}, not {kind!r}", doing="sharing a folder")
        path = os.path.abspath(os.path.expanduser(path))
        with self._lock:
            known = self._shares.get((path, kind))
            if known is not None:
                return known
            name, place = self._free_name(path, kind, server, info)
            key, key_text = new_key()
            export = tunnel.share(path, key=key, name=name, read_only=read_only, hard_links=hard_links)
            try:
                self._mount(export, key_text, kind, server, info, tunnel)
            except BaseException:
                tunnel.unshare(export)
                raise
            # Not before: that would hold the mount up.
            tunnel.expect_much()
            self._shares[path, kind] = share = Share(path, kind, place, export)
            return share

    def _free_name(
        self, path: str, kind: str, server: X2GoServer, info: X2GoServerSessionInfo
    ) -> tuple[str, str]:
        """A name that the scripts read as it is meant, and where they mount what has it: where nothing else is."""
        root = f"/tmp/.x2go-{server.get_facts().user}"
        if kind != "disk":
            folder = {"spool": "spool", "mimebox": "mimebox"}[kind]
            return _UNSAFE.sub("_", os.path.realpath(path)), f"{root}/{folder}/C-{info.name}"
        plain = _UNSAFE.sub("_", os.path.realpath(path))
        names = [plain, *(f"{plain}.{number}" for number in range(2, MOST_NAMES))]
        places = {name: f"{root}/media/disk/{name.replace('/', '_')}" for name in names}
        taken = mounted(server.target)
        for name, place in places.items():
            if place not in taken:
                return name, place
        raise X2GoFolderSharingException(
            f"{MOST_NAMES} folders of that name are mounted already", host=server.host, doing="sharing a folder"
        )

    def _mount(
        self,
        export: Export,
        key_text: Secret,
        kind: str,
        server: X2GoServer,
        info: X2GoServerSessionInfo,
        tunnel: X2GoRevFwTunnelToSFTP,
    ) -> None:
        facts = server.get_facts()
        key_file = f"{facts.home}/.x2go/ssh/key.z{secrets.token_hex(8)}"
        identity = f"{tunnel.host_key.get_name()} {tunnel.host_key.get_base64()}"
        words = [
            "sh", "-c", _MOUNT, "sh", key_file,
            facts.found.get("x2gomountdirs", "x2gomountdirs"), "dir", server.checked_name(info.name),
            CURRENT_LOCAL_USER, key_file, f"{export.name}{MARKERS[kind]}__REVERSESSH_PORT__{tunnel.server_port}",
        ]  # fmt: skip
        text = f"{key_text.value.rstrip()}\n{IDENTITY}{identity}\n"
        answer = server.execute(
            words, Deadline.after(MOUNT_TIME), limit=MOUNT_TIME, input=text,
            env={"HOSTNAME": facts.hostname, **self._variables},
        )  # fmt: skip
        if f"mount {export.name} ok" not in (line.strip() for line in answer.stdout.splitlines()):
            raise self._not_mounted(export, answer, server, info)

    @staticmethod
    def _not_mounted(
        export: Export, answer: RunAnswer, server: X2GoServer, info: X2GoServerSessionInfo
    ) -> X2GoFolderSharingException:
        log = mount_log(server.target, info.name)
        seen = "\n".join(part.strip() for part in (answer.stderr, log) if part.strip()) or answer.stdout
        last = (log.strip() or answer.stderr.strip() or f"status {answer.status}").splitlines()[-1]
        advice = "see whether the account may open /dev/fuse there, and sshfs-mounts.log of the session"
        if not export.was_used and "/dev/fuse" not in last:
            last += "; its ssh did not log in here with the share's key"
            advice = "see what ssh is told there, such as PubkeyAuthentication in ~/.ssh/config"
        return X2GoFolderSharingException(
            f"the server did not mount {export.folder.path}: {last}",
            host=server.host,
            doing="sharing a folder",
            advice=advice,
            transcript=seen,
        )

    def unshare(self, share: Share, server: X2GoServer, info: X2GoServerSessionInfo) -> None:
        """Have the server unmount a folder, and serve it no more, whatever the server does.

        Raises:
            X2GoFolderSharingException: The server could not be asked in time.
        """
        try:
            if share.kind == "disk":
                server.execute(["x2goumount-session", server.checked_name(info.name), share.place])
        finally:
            self._forget(share)
        end_mount(server.target, share.place)

    def _forget(self, share: Share) -> None:
        with self._lock:
            self._shares.pop((share.path, share.kind), None)
            if self._tunnel is not None:
                self._tunnel.unshare(share.export)

    def unshare_all(self, server: X2GoServer, info: X2GoServerSessionInfo, *, asked: bool = False) -> None:
        """Have the server unmount all, unless it has been asked to already, and serve none any more."""
        shares = self.shares
        try:
            if shares and not asked:
                server.execute(["x2goumount-session", server.checked_name(info.name)])
        finally:
            for share in shares:
                self._forget(share)
        for share in shares:
            end_mount(server.target, share.place)

    def release(self) -> None:
        """End what serves the folders here; the server unmounts those of a session that is suspended or ends."""
        with self._lock:
            tunnel, self._tunnel = self._tunnel, None
            self._shares.clear()
        if tunnel is not None:
            tunnel.stop_thread()


def require_sshfs(server: X2GoServer) -> None:
    """Make sure that the server can mount folders.

    Raises:
        X2GoSshfsMissing: It cannot.
    """
    found = server.find_programs(["x2gomountdirs", "sshfs", "fusermount3", "fusermount"])
    missing = [program for program in ("x2gomountdirs", "sshfs") if program not in found]
    if not {"fusermount3", "fusermount"} & found.keys():
        missing.append("fusermount3")
    if missing:
        raise X2GoSshfsMissing(
            f"the server cannot mount folders: it has no {', '.join(missing)}",
            host=server.host,
            doing="sharing folders",
            advice="install sshfs on the host (Debian: apt-get install sshfs)",
        )


def _checked_encoding(name: str) -> str:
    if not _ENCODING.fullmatch(name):
        raise X2GoParameterError(f"{name!r} is no encoding", advice="give a name of iconv --list")
    return name
