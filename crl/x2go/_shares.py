"""The folders of this machine that one session has, and their mounts on the server.

`SharedFolders` joins what serves a folder, over a channel of its own or over a tunnel, with the server's own scripts,
which mount it by sshfs. It promises that names which the scripts would misread are replaced by others, and that a
folder which is not shared any more cannot be reached, whatever the server has left of its mount.
"""

from __future__ import annotations

import os
import re
import secrets
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

from crl.errors import CrlError
from crl.x2go._channelshare import ChannelShare, NoChannel
from crl.x2go._host import RunAnswer
from crl.x2go._mountprogram import MountWish
from crl.x2go._remote import SharingFacts, end_mount, mount_log, sharing_facts
from crl.x2go._sftpserve import confine
from crl.x2go._sharing import Sharing
from crl.x2go._tunnelshares import TunnelShares
from crl.x2go.defaults import SERVER_PATH
from crl.x2go.log import loglevel_INFO, loglevel_WARN
from crl.x2go.sftpserver import X2GoRevFwTunnelToSFTP
from crl.x2go.x2go_exceptions import X2GoFolderSharingException, X2GoParameterError, X2GoSshfsMissing

if TYPE_CHECKING:
    from crl.x2go._server import X2GoServer
    from crl.x2go.backends.info.plain import X2GoServerSessionInfo

__all__ = ["Share", "SharedFolders"]

MARKERS: Final = {"disk": "", "spool": "__PRINT_SPOOL_", "mimebox": "__MIMEBOX_SPOOL_"}
MOST_NAMES: Final = 100
PROGRAMS: Final = ("x2gomountdirs", "sshfs", "fusermount3", "fusermount")
# What the scripts put into lines of a shell, into patterns and into lists with other marks goes as it is; nothing else.
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9/._-]")
_ENCODING: Final = re.compile(r"[A-Za-z0-9._:-]{1,40}")


class Way(Protocol):
    """How one folder is served and mounted."""

    @property
    def ended(self) -> bool:
        """Whether that is over already."""

    @property
    def hint(self) -> tuple[str, str] | None:
        """What is to be said of a mount that failed, and the advice for it."""

    def mount(
        self, marker: str, server: X2GoServer, info: X2GoServerSessionInfo, variables: Mapping[str, str]
    ) -> RunAnswer:
        """Have the server's script mount it; what that says."""

    def mounted(self) -> None:
        """It is mounted."""

    def end(self) -> None:
        """Serve it no more."""


@dataclass(frozen=True, eq=False)
class Share:
    """One folder that a session has.

    Args:
        path: The folder here.
        kind: What it is for.
        place: Where it is mounted on the server.
        real_path: The folder here, without links.
        way: What serves it.
    """

    path: str
    kind: str
    place: str
    real_path: str
    way: Way


class SharedFolders:
    """The folders that one session has.

    Args:
        session_instance: Whose hooks are told when the server refuses to listen, and when a folder is lost.
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
        # One is mounted after the other; what is shared can be asked meanwhile.
        self._mounting = threading.RLock()
        self._lock = threading.Lock()
        self._tunnels = TunnelShares(session_instance, logger)
        self._shares: dict[tuple[str, str], Share] = {}
        # What the server's list still has, although it is not mounted any more.
        self._only_listed: set[str] = set()
        self._option = ""
        self._why_no_channel = ""

    @property
    def shares(self) -> list[Share]:
        """What is shared now, in the order in which it was."""
        with self._lock:
            return list(self._shares.values())

    @property
    def is_empty(self) -> bool:
        """Whether the server has nothing of ours, not even the place of a folder that is not mounted any more."""
        with self._lock:
            return not self._shares and not self._only_listed

    @property
    def tunnel(self) -> X2GoRevFwTunnelToSFTP | None:
        """The tunnel for those that need one, if it is there."""
        return self._tunnels.tunnel

    def start(self, forwarder: Any, server: X2GoServer, info: X2GoServerSessionInfo) -> None:
        """Have the server listen, if it does not.

        Raises:
            X2GoSshfsMissing: The server cannot mount.
            X2GoFolderSharingException: The server does not listen.
        """
        self._require_sshfs(server)
        self._tunnels.start(forwarder, server, info)

    def share(
        self,
        path: str,
        kind: str,
        server: X2GoServer,
        info: X2GoServerSessionInfo,
        forwarder: Any,
        sharing: Sharing,
    ) -> Share:
        """Serve a folder and have the server mount it; one that the session has already stays as it is.

        Args:
            path: The folder.
            kind: What it is for.
            server: The server.
            info: The session.
            forwarder: What makes a tunnel, where one is needed.
            sharing: How it is shared.

        Raises:
            X2GoParameterError: There is no such kind.
            X2GoUserException: The folder cannot be shared.
            X2GoSshfsMissing: The server cannot mount.
            X2GoFolderSharingException: The server did not mount it.
        """
        if kind not in MARKERS:
            raise X2GoParameterError(f"a folder is for {', '.join(MARKERS)}, not {kind!r}", doing="sharing a folder")
        path = os.path.abspath(os.path.expanduser(path))
        with self._mounting:
            with self._lock:
                known = self._shares.get((path, kind))
            if known is not None and not known.way.ended:
                return known
            if known is not None:
                self._take_off(known, still_listed=True)  # before its thread does
            facts = self._require_sshfs(server)
            name, place = self._free_name(path, kind, server, info, facts)
            if kind == "disk" and place in self._only_listed:
                server.execute(["x2goumount-session", server.checked_name(info.name), place])
            self._only_listed.discard(place)
            way = None
            if not sharing.survive_cuts:
                way = self._over_channel(path, kind, name, place, server, info, sharing, facts)
            if way is None:
                self._tunnels.start(forwarder, server, info)
                way = self._tunnels.share(
                    path, name, place, read_only=sharing.read_only, hard_links=sharing.hard_links
                )
                self._mount(way, path, kind, name, server, info)
            share = Share(path, kind, place, os.path.realpath(path), way)
            with self._lock:
                self._shares[path, kind] = share
            if way.ended:
                self._take_off(share)
                raise self._lost(path, server)
            return share

    def _over_channel(
        self, path: str, kind: str, name: str, place: str, server: X2GoServer, info: X2GoServerSessionInfo,
        sharing: Sharing, facts: SharingFacts,
    ) -> Way | None:  # fmt: skip
        """Mount it over a channel of its own; None where that cannot be done."""
        self._option = facts.option or self._option
        if not self._why_no_channel and not (self._option and facts.python):
            self._why_no_channel = "its sshfs, or its Python, is not known to do that"
        if self._why_no_channel:
            return None
        home = server.get_facts().home
        mark = secrets.token_hex(8)
        wish = MountWish(
            python=facts.python,
            sshfs=facts.found["sshfs"],
            option=self._option,
            path=SERVER_PATH,
            log=f"{home}/.x2go/C-{info.name}/sshfs-mounts.log",
            place=place,
            folders=(f"{home}/.x2go/mount.{mark}", f"/tmp/crl-{mark}"),
        )
        folder = confine(path, read_only=sharing.read_only, hard_links=sharing.hard_links)
        way = ChannelShare(server.target, folder, name, wish, self._gone, self._say)
        try:
            self._mount(way, path, kind, name, server, info)
        except NoChannel as error:
            self._why_no_channel = str(error)
            self._say(f"no channel for shared folders, so they go through a tunnel: {error}")
            return None
        return way

    def _mount(
        self, way: Way, path: str, kind: str, name: str, server: X2GoServer, info: X2GoServerSessionInfo
    ) -> None:
        """Have it mounted; what serves it has ended where that fails."""
        variables = {"HOSTNAME": server.get_facts().hostname, **self._variables}
        mounted = False
        try:
            answer = way.mount(MARKERS[kind], server, info, variables)
            mounted = f"mount {name} ok" in (line.strip() for line in answer.stdout.splitlines())
            if not mounted:
                raise self._not_mounted(way, path, answer, server, info)
        finally:
            if not mounted:
                way.end()
        way.mounted()

    def _free_name(
        self, path: str, kind: str, server: X2GoServer, info: X2GoServerSessionInfo, facts: SharingFacts
    ) -> tuple[str, str]:
        """A name that the scripts read as it is meant, and where they mount what has it: where nothing else is."""
        root = f"/tmp/.x2go-{server.get_facts().user}"
        plain = _UNSAFE.sub("_", os.path.realpath(path))
        if kind != "disk":
            folder = {"spool": "spool", "mimebox": "mimebox"}[kind]
            return plain, f"{root}/{folder}/C-{info.name}"
        names = [plain, *(f"{plain}.{number}" for number in range(2, MOST_NAMES))]
        places = {name: f"{root}/media/disk/{name.replace('/', '_')}" for name in names}
        for name, place in places.items():
            if place not in facts.mounts:
                return name, place
        raise X2GoFolderSharingException(
            f"{MOST_NAMES} folders of that name are mounted already", host=server.host, doing="sharing a folder"
        )

    def _not_mounted(
        self, way: Way, path: str, answer: RunAnswer, server: X2GoServer, info: X2GoServerSessionInfo
    ) -> X2GoFolderSharingException:
        log = mount_log(server.target, info.name)
        seen = "\n".join(part.strip() for part in (answer.stderr, log) if part.strip()) or answer.stdout
        last = (log.strip() or answer.stderr.strip() or f"status {answer.status}").splitlines()[-1]
        advice = "see whether the account may open /dev/fuse there, and sshfs-mounts.log of the session"
        if way.hint is not None and "/dev/fuse" not in last:
            last, advice = last + way.hint[0], way.hint[1]
        return X2GoFolderSharingException(
            f"the server did not mount {path}: {last}",
            host=server.host,
            doing="sharing a folder",
            advice=advice,
            transcript=seen,
        )

    @staticmethod
    def _lost(path: str, server: X2GoServer) -> X2GoFolderSharingException:
        return X2GoFolderSharingException(
            f"the mount of {path} ended at once", host=server.host, doing="sharing a folder", advice="share it again"
        )

    # The end of a share.

    def unshare(self, share: Share, server: X2GoServer, info: X2GoServerSessionInfo) -> None:
        """Have the server unmount a folder, and serve it no more, whatever the server does.

        Raises:
            X2GoFolderSharingException: The server could not be asked in time.
        """
        self._take_off(share)
        try:
            if share.kind == "disk":
                server.execute(["x2goumount-session", server.checked_name(info.name), share.place])
        finally:
            share.way.end()
        end_mount(server.target, share.place)

    def unshare_all(self, server: X2GoServer, info: X2GoServerSessionInfo, *, asked: bool = False) -> None:
        """Have the server unmount all, unless it has been asked to already, and serve none any more."""
        shares = self.shares
        try:
            if not asked and not self.is_empty:
                server.execute(["x2goumount-session", server.checked_name(info.name)])
        finally:
            for share in shares:
                self._take_off(share)
                share.way.end()
        places = {*(share.place for share in shares), *self._only_listed}
        self._only_listed.clear()
        for place in sorted(places):
            end_mount(server.target, place)

    def release(self) -> None:
        """End what serves the folders here; the server unmounts those of a session that is suspended or ends."""
        shares = self.shares
        for share in shares:
            self._take_off(share)
            share.way.end()
        self._tunnels.stop()
        # Whatever stood against a channel may have gone when folders are shared again.
        self._why_no_channel = ""

    def _take_off(self, share: Share, *, still_listed: bool = False) -> bool:
        """Take a share out of ours; whether it was one. The server's list may have it still."""
        with self._lock:
            was_one = self._shares.get((share.path, share.kind)) is share
            if was_one:
                del self._shares[share.path, share.kind]
                if still_listed:
                    self._only_listed.add(share.place)
        return was_one

    def _gone(self, way: ChannelShare, error: CrlError | None) -> None:
        """A folder is not mounted any more, and was not unshared; called in its thread."""
        for share in self.shares:
            if share.way is way and self._take_off(share, still_listed=True):
                if error is None:
                    self._say(f"{share.path} was unmounted on the server")
                    continue
                self._logger(f"{share.path} is not shared any more: {error}", loglevel=loglevel_WARN)
                tell = getattr(self._session_instance, "note_lost_share", None)
                if tell is not None:
                    tell(error)

    def _say(self, text: str) -> None:
        self._logger(text, loglevel=loglevel_INFO)

    def _require_sshfs(self, server: X2GoServer) -> SharingFacts:
        """What the server can do about mounts, which has to be enough.

        Raises:
            X2GoSshfsMissing: It cannot mount.
        """
        facts = sharing_facts(server.target, PROGRAMS, asks=not self._option)
        missing = [program for program in ("x2gomountdirs", "sshfs") if program not in facts.found]
        if not {"fusermount3", "fusermount"} & facts.found.keys():
            missing.append("fusermount3")
        if missing:
            raise X2GoSshfsMissing(
                f"the server cannot mount folders: it has no {', '.join(missing)}",
                host=server.host,
                doing="sharing folders",
                advice="install sshfs on the host (Debian: apt-get install sshfs)",
            )
        return facts


def _checked_encoding(name: str) -> str:
    if not _ENCODING.fullmatch(name):
        raise X2GoParameterError(f"{name!r} is no encoding", advice="give a name of iconv --list")
    return name
