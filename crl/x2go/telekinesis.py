"""Telekinesis: media that is played here although its program runs on the server.

`X2GoTelekinesisClient` has python-x2go's names. It mounts what the session offers on this machine (by sshfs, over a
connection that nobody else can use) and starts ``telekinesis-client`` with a tunnel to the session's control port. Each
session has its own arguments; a folder at a place that others could prepare is used only when it is ours.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import socket
import stat
import subprocess
import threading
from pathlib import Path
from typing import IO, Any, ClassVar

from crl.errors import CrlError
from crl.x2go import defaults
from crl.x2go._ends import Joint, ends_of
from crl.x2go._threads import OwnThread
from crl.x2go.backends.info.plain import X2GoServerSessionInfo
from crl.x2go.clientdisplay import end_process
from crl.x2go.forward import X2GoFwServer
from crl.x2go.log import X2GoLogger, logger_for, loglevel_DEBUG, loglevel_DEFAULT, loglevel_ERROR
from crl.x2go.x2go_exceptions import X2GoTelekinesisClientException

__all__ = ["X2GoTelekinesisClient"]

END_PATIENCE = 20.0
CONNECT_TIMEOUT = 10.0
MOUNT_TIMEOUT = 15.0
MOUNT_INTERVAL = 0.05
SFTP_FEATURE = "X2GO_TELEKINESIS_TEKISFTPSERVER"


class X2GoTelekinesisClient(OwnThread):
    """The client of a session's telekinesis; a thread, started by `start_telekinesis`.

    Args:
        session_info: The session, with its two ports.
        ssh_transport: A connected `paramiko.Transport`, or a target.
        sessions_rootdir: Where the session's folder is; the logs go there.
        session_instance: The session; its features and hooks are used.
        logger: Where to log.
        loglevel: The levels that are logged.

    Raises:
        X2GoTelekinesisClientException: The session has no telekinesis.

    Attributes:
        TEKICLIENT_CMD: The program.
        SSHFS_CMD: What mounts.
        tekiclient: The program's process, while there is one.
        sshfs: The mount's process, while there is one.
    """

    TEKICLIENT_CMD: ClassVar[str] = "telekinesis-client"
    SSHFS_CMD: ClassVar[str] = "sshfs"

    def __init__(
        self,
        session_info: X2GoServerSessionInfo | None = None,
        ssh_transport: Any = None,
        sessions_rootdir: str | os.PathLike[str] | None = f"~/{defaults.X2GO_SESSIONS_ROOTDIR}",
        session_instance: Any = None,
        logger: X2GoLogger | logging.Logger | None = None,
        loglevel: int = loglevel_DEFAULT,
    ) -> None:
        super().__init__(name="crl-x2go-telekinesis", daemon=True)
        if session_info is None or not session_info.tekictrl_port or not session_info.tekidata_port:
            raise X2GoTelekinesisClientException(
                "the session has no telekinesis: the server named no ports for it",
                advice="see 'telekinesis enable' in the server's /etc/x2go/x2goserver.conf",
            )
        if ssh_transport is None:
            raise X2GoTelekinesisClientException("telekinesis needs something that makes tunnels as ssh_transport")
        self.session_info = session_info
        self.ssh_transport = ssh_transport
        self.session_instance = session_instance
        self.sessions_rootdir = Path(sessions_rootdir or f"~/{defaults.X2GO_SESSIONS_ROOTDIR}").expanduser()
        self.logger = logger_for(logger, loglevel, "telekinesis")
        self.tekiclient: subprocess.Popen[bytes] | None = None
        self.sshfs: subprocess.Popen[bytes] | None = None
        self.fw_tunnel: X2GoFwServer | None = None
        self._port = 0
        self._data: threading.Thread | None = None
        self._joint: Joint | None = None
        self._logs: list[IO[bytes]] = []
        self._has_folder = False
        self._stopping = threading.Event()
        self._begun = threading.Event()

    def has_telekinesis_client(self) -> bool:
        """Whether the program is installed here."""
        return shutil.which(self.TEKICLIENT_CMD) is not None

    @property
    def mount_point(self) -> Path:
        """Where the program looks for what the session offers."""
        return Path(f"/tmp/.x2go-{defaults.CURRENT_LOCAL_USER}/telekinesis/S-{self.session_info.name}")

    @property
    def container(self) -> Path:
        """The session's folder on this machine."""
        return self.sessions_rootdir / f"S-{self.session_info.name}"

    # How the programs are called.

    def _update_local_tekictrl_socket(self, port: int) -> None:
        """Take over where the control tunnel listens here."""
        self._port = port

    def _generate_cmdline(self) -> list[str]:
        """The program and its arguments, for this session alone."""
        words = [self.TEKICLIENT_CMD, f"-setWORMHOLEPORT={self._port}", f"-setX2GOSID={self.session_info.name}"]
        if getattr(self.logger, "loglevel", 0) & loglevel_DEBUG:
            words.append("-setDEBUG=1")
        return words

    def _sshfs_cmdline(self) -> list[str]:
        """What mounts: over its standard input and output, so that there is no port that others could use."""
        options = ["passive", "compression=no", "follow_symlinks", "nosuid", "nodev"]
        words = [word for option in options for word in ("-o", option)]
        return [self.SSHFS_CMD, "-f", *words, f"127.0.0.1:{self._remote_folder()}", str(self.mount_point)]

    def _remote_folder(self) -> str:
        asks = getattr(self.session_instance, "has_server_feature", None)
        if asks is not None and asks(SFTP_FEATURE):
            return "/"  # its own server shows nothing else
        return f"{self.session_info.remote_container}/telekinesis/remote/"

    # The life.

    def start_telekinesis(self) -> tuple[subprocess.Popen[bytes] | None, bool]:
        """Mount what the session offers, then start the program.

        Returns:
            The program's process, and whether all is up.

        Raises:
            X2GoTelekinesisClientException: Something is missing here, or the server does not answer.
        """
        for program in (self.TEKICLIENT_CMD, self.SSHFS_CMD):
            if shutil.which(program) is None:
                raise self._error(f"{program} is not installed on this machine")
        try:
            self.container.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._make_mount_point()
            self._mount()
            self._open_control()
            self.start()
            self._begun.wait(CONNECT_TIMEOUT)
        except (OSError, CrlError) as error:
            self.stop_thread()
            if isinstance(error, X2GoTelekinesisClientException):
                raise
            raise self._error(str(error)) from error
        return self.tekiclient, self.ok()

    def _make_mount_point(self) -> None:
        """Make the folder, every step of which has to be ours: others may write to what is above it."""
        parts = list(reversed(self.mount_point.relative_to("/tmp").parents))[1:]
        for folder in [*(Path("/tmp") / part for part in parts), self.mount_point]:
            with contextlib.suppress(FileExistsError):
                folder.mkdir(mode=0o700)
            facts = folder.lstat()
            if not stat.S_ISDIR(facts.st_mode) or facts.st_uid != os.getuid() or facts.st_mode & 0o022:
                raise self._error(f"{folder} is not a folder of ours alone")
        self._has_folder = True

    def _mount(self) -> None:
        """Give sshfs a connection to the session's files, and wait until it has mounted them."""
        there = ends_of(self.ssh_transport).connect(
            ("127.0.0.1", self.session_info.tekidata_port or 0), ("127.0.0.1", 0), CONNECT_TIMEOUT
        )
        ours, its = socket.socketpair()
        self._joint = Joint(ours, there)
        self._data = threading.Thread(target=self._joint.run, name="crl-x2go-telekinesis-data", daemon=True)
        self._data.start()
        with its:
            self.sshfs = self._spawn(self._sshfs_cmdline(), "telekinesis-client-sshfs.log", its.fileno())
        if not self._wait_mounted():
            raise self._error(f"what the session offers cannot be mounted: {self._last_words()}")
        try:  # it is mounted before the server has said a word; who looks then waits, and can only be killed
            subprocess.run(["ls", f"{self.mount_point}/."], check=True, timeout=MOUNT_TIMEOUT, capture_output=True)
        except (subprocess.TimeoutExpired, subprocess.CalledProcessError) as error:
            raise self._error(f"the server does not say what the session offers: {self._last_words()}") from error

    def _wait_mounted(self) -> bool:
        for _ in range(int(MOUNT_TIMEOUT / MOUNT_INTERVAL)):
            if self.sshfs is None or self.sshfs.poll() is not None:
                return False
            if self._is_mounted():
                return True
            if self._stopping.wait(MOUNT_INTERVAL):
                return False
        return False

    def _is_mounted(self) -> bool:
        """By the kernel's list: to look at the folder itself would wait for the server."""
        with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as stream:
            return any(line.split()[4] == str(self.mount_point) for line in stream)

    def _last_words(self) -> str:
        path = self.container / "telekinesis-client-sshfs.log"
        return path.read_text(encoding="utf-8", errors="replace").strip()[-500:] or "sshfs did not say why"

    def _open_control(self) -> None:
        self.fw_tunnel = X2GoFwServer(
            ("127.0.0.1", 0),
            "127.0.0.1",
            self.session_info.tekictrl_port or 0,
            self.ssh_transport,
            session_instance=self.session_instance,
            session_name=self.session_info.name,
            subsystem="Telekinesis Wormhole",
            logger=self.logger,
        )
        self.fw_tunnel.start()
        self._update_local_tekictrl_socket(self.fw_tunnel.server_port)

    def _spawn(self, command: list[str], log_name: str, data: int | None = None) -> subprocess.Popen[bytes]:
        log = (self.container / log_name).open("ab", buffering=0)
        self._logs.append(log)
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL if data is None else data,
            stdout=log if data is None else data,
            stderr=log,
            start_new_session=True,
        )

    def run(self) -> None:
        """Start the program, watch it, and clean up after it; called by `start_telekinesis`."""
        try:
            self.tekiclient = self._spawn(self._generate_cmdline(), "telekinesis-client.log")
            self._begun.set()
            if self._stopping.is_set():
                self.tekiclient.terminate()
            self.tekiclient.wait()
        except OSError as error:
            self.logger(f"telekinesis-client could not be started: {error}", loglevel=loglevel_ERROR)
        finally:
            self._begun.set()
            self._tidy_up()

    def ok(self) -> bool:
        """Whether program and mount are up."""
        both = (self.tekiclient, self.sshfs)
        return all(process is not None and process.poll() is None for process in both)

    def _tidy_up(self) -> None:
        """End program, mount and tunnels."""
        for process in (self.tekiclient, self.sshfs):
            if process is not None:
                end_process(process)
        if self._has_folder:
            self._leave_folder()
        if self._joint is not None:
            self._joint.stop()
        if self._data is not None:
            self._data.join(END_PATIENCE)
        if self.fw_tunnel is not None:
            self.fw_tunnel.stop()
        for log in self._logs:
            log.close()

    def _leave_folder(self) -> None:
        self._has_folder = False
        if self._is_mounted():  # sshfs was killed
            subprocess.run(["fusermount3", "-uz", str(self.mount_point)], check=False, capture_output=True, timeout=10)
        with contextlib.suppress(OSError):  # other sessions have theirs beside it
            for folder in (self.mount_point, *self.mount_point.parents[:2]):
                folder.rmdir()

    def __del__(self) -> None:
        if "_stopping" in self.__dict__:
            self.stop_thread()

    def stop_thread(self) -> None:
        """End all of it; returns when it is gone. Again is harmless."""
        self._stopping.set()
        process = self.tekiclient
        if process is not None and process.poll() is None:
            process.terminate()
        if self.ident is None:  # it never ran
            self._tidy_up()
        elif threading.current_thread() is not self:
            self.join(END_PATIENCE)

    def _error(self, why: str) -> X2GoTelekinesisClientException:
        return X2GoTelekinesisClientException(
            f"no telekinesis: {why}", host="this machine", doing="starting telekinesis"
        )
