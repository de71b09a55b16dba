"""The client's graphics proxy: a program on the controller, joined to the session's agent by a tunnel.

`X2GoProxyBASE` has python-x2go's constructor and methods and is a thread that starts the program, reads what it says
and sees its end. It knows how tunnels are made only by one small Protocol. Whatever it starts (process, tunnel, files)
it ends: `stop_thread` returns only when all are gone.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import shutil
import socket
import subprocess
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, ClassVar

from crl.deadlines import Deadline
from crl.display.errors import DisplayNameError
from crl.display.names import DisplayName
from crl.errors import CrlError
from crl.x2go._host import Tunnel
from crl.x2go._threads import OwnThread
from crl.x2go.backends.info.plain import X2GoServerSessionInfo
from crl.x2go.backends.proxy._nxlog import NXLog
from crl.x2go.defaults import X2GO_SESSIONS_ROOTDIR
from crl.x2go.log import X2GoLogger, logger_for, loglevel_DEFAULT
from crl.x2go.x2go_exceptions import (
    X2GoParameterError,
    X2GoProxyEnded,
    X2GoProxyException,
    X2GoProxyMissing,
    X2GoTimeOutException,
)

__all__ = ["X2GoProxy", "X2GoProxyBASE"]

END_PATIENCE = 3.0
KILLED_PATIENCE = 30.0  # what was killed still needs a processor for its end
START_TIMEOUT = 30.0
QUIET_CHECK_MS = 1000
DISPLAY_PATIENCE = 0.5
OWN_RUN_CHECK = 0.2  # seconds between looks at a program that a subclass runs in its own way
LONGEST_SOCKET_PATH = 100


class X2GoProxyBASE(OwnThread):
    """Base of graphics proxies; call the constructor with keyword arguments.

    Args:
        session_info: The session whose agent waits.
        ssh_transport: What makes the tunnel: a connected `paramiko.Transport`, a target, or anything with `forward`.
        session_log: Name of the file, in the session's folder, that gets all the program says.
        sessions_rootdir: Where the session's folder is made; None makes a private folder that goes with the proxy.
        proxy_options: Options of the program; those it does not know are ignored.
        session_instance: The session this proxy belongs to; its `proxy_has_ended`, where it has one, is told when the
            program ends by itself.
        logger: Where to log.
        loglevel: The levels that are logged.
        session_errors: Name of the file, in the session's folder, that gets what the program calls errors.
        display: The display that shows the session; by default that of the environment.
        xauthority: The file with that display's cookie.

    Attributes:
        PROXY_CMD: The program.
        PROXY_ARGS: Its first arguments; of each proxy's own, so that `process_proxy_options` may change it.
        PROXY_ENV: Variables for it beside our own environment; of each proxy's own too.
        fw_tunnel: The tunnel while there is one.
        proxy: The program's process while there is one.
    """

    PROXY_CMD: str = ""
    PROXY_ARGS: list[str] = []
    PROXY_ENV: dict[str, str] = {}
    SUBSYSTEM: ClassVar[str] = "X2Go Proxy"

    session_info: X2GoServerSessionInfo | None = None
    session_log_stdout: IO[bytes] | None = None
    session_log_stderr: IO[bytes] | None = None
    fw_tunnel: Tunnel | None = None
    proxy: subprocess.Popen[bytes] | None = None

    def __init__(
        self,
        session_info: X2GoServerSessionInfo | None = None,
        ssh_transport: Any = None,
        session_log: str = "session.log",
        sessions_rootdir: str | os.PathLike[str] | None = f"~/{X2GO_SESSIONS_ROOTDIR}",
        proxy_options: Mapping[str, object] | None = None,
        session_instance: Any = None,
        logger: X2GoLogger | logging.Logger | None = None,
        loglevel: int = loglevel_DEFAULT,
        *,
        session_errors: str = "session.err",
        display: str | None = None,
        xauthority: str | os.PathLike[str] | None = None,
    ) -> None:
        super().__init__(name="crl-x2go-proxy", daemon=True)
        if session_info is None or not session_info.is_initialized():
            raise X2GoParameterError("a proxy needs the session_info of a session that was started")
        if ssh_transport is None:
            raise X2GoParameterError("a proxy needs something that makes tunnels as ssh_transport")
        self.session_info = session_info
        self.ssh_transport = ssh_transport
        self.session_log = session_log
        self.session_errors = session_errors
        self.sessions_rootdir = None if sessions_rootdir is None else Path(sessions_rootdir).expanduser()
        self.proxy_options = dict(proxy_options or {})
        self.session_instance = session_instance
        self.logger = logger_for(logger, loglevel, "proxy")
        self.PROXY_ARGS = list(self.PROXY_ARGS)
        self.PROXY_ENV = dict(self.PROXY_ENV)
        self.display = display
        self.xauthority = None if xauthority is None else Path(xauthority)
        self._log = NXLog()
        self._changed = threading.Condition()
        self._ended = False
        self._reads = False
        self._lost: str | None = None
        self._stopping = False
        self._failure: CrlError | None = None
        self._container: Path | None = None
        self._private_root: Path | None = None

    # The program's own things.

    def process_proxy_options(self) -> None:
        """Work `proxy_options` into the program's arguments; here: note those that nobody knows. Never fails."""
        if self.proxy_options:
            self.logger.info("proxy options that are not known are ignored: %s", ", ".join(sorted(self.proxy_options)))

    def _update_local_proxy_socket(self, port: int) -> None:
        """Take over where the tunnel listens here, where that is a port; called before `_generate_cmdline`."""

    def _generate_cmdline(self) -> list[str]:
        """The program and its arguments; the tunnel and `container` are there."""
        return [self.PROXY_CMD, *self.PROXY_ARGS]

    def _environment(self) -> dict[str, str]:
        environment = {**os.environ, **self.PROXY_ENV}
        if self.display is not None:
            environment["DISPLAY"] = self.display
        if self.xauthority is not None:
            environment["XAUTHORITY"] = str(self.xauthority)
        return environment

    @property
    def container(self) -> Path:
        """The session's folder on the controller, only for its owner."""
        if self._container is None:
            raise X2GoParameterError("the proxy has not been started")
        return self._container

    @property
    def sessions_root(self) -> Path:
        """The folder that holds the folders of sessions."""
        return self.container.parent

    # The life of the thread.

    def start_proxy(self, timeout: float | None = START_TIMEOUT) -> tuple[subprocess.Popen[bytes] | None, bool]:
        """Start the program and wait until it shows the session.

        Args:
            timeout: Seconds.

        Returns:
            The process and whether it is up; as in python-x2go nothing is raised.
        """
        try:
            self.bring_up(Deadline.after(timeout))
        except CrlError as error:
            self.logger.error("%s", error)
        return self.proxy, self.ok()

    def bring_up(self, deadline: Deadline) -> None:
        """Start the program and wait until it shows the session.

        Raises:
            X2GoProxyMissing: The program is not installed.
            X2GoProxyEnded: It ended first; the error says why as far as it said.
            X2GoTimeOutException: It was not up in time.
            X2GoProxyException: It could not be started, or the tunnel could not be made.
        """
        self.require_program()
        self._make_container()
        self.start()
        with self._changed:
            while not (self._shows() or self._over()) and not deadline.expired:
                self._changed.wait(deadline.sooner(OWN_RUN_CHECK).remaining())
            shows, over = self._shows(), self._over()
        if self._failure is not None:
            raise self._failure
        if over:
            raise self.ending()
        if not shows:
            raise X2GoTimeOutException(
                f"{self.PROXY_CMD} did not show the session in time",
                doing="connecting the session's graphics",
                transcript=self._log.tail,
            )

    def _shows(self) -> bool:
        """Whether the program shows the session, as far as can be known."""
        process = self.proxy
        if self._reads:
            return self._log.established
        # A subclass runs the program in its own way and reads its words itself: what is left are process and tunnel.
        return process is not None and process.poll() is None and getattr(self.fw_tunnel, "is_active", True)

    def _over(self) -> bool:
        return self._ended or not self.is_alive()

    def ending(self) -> X2GoProxyEnded:
        """The error that tells how the program ended."""
        reason = self._lost or self._log.reason or "it did not say why"
        return X2GoProxyEnded(
            f"{Path(self.PROXY_CMD).name} ended: {reason}",
            doing="connecting the session's graphics",
            transcript=self._log.tail,
        )

    @classmethod
    def require_program(cls) -> None:
        """Make sure the program is installed here.

        Raises:
            X2GoProxyMissing: It is not.
        """
        if shutil.which(cls.PROXY_CMD) is None:
            name = Path(cls.PROXY_CMD).name
            raise X2GoProxyMissing(
                f"{name} is not installed on this machine",
                host="this machine",
                doing="connecting the session's graphics",
                advice=f"install it (Debian: apt-get install {name}), or put it on PATH",
            )

    def _make_container(self) -> None:
        if self.sessions_rootdir is None:
            self._private_root = Path(tempfile.mkdtemp(prefix="crl-x2go-"))
        root = self._private_root or self.sessions_rootdir
        if root is None or self.session_info is None:  # the constructor has seen to both
            raise X2GoParameterError("a proxy needs a session")
        self._container = root / f"S-{self.session_info.name}"
        self._container.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.session_info.local_container = str(self._container)

    def run(self) -> None:
        """Start tunnel and program, read what it says, and end everything after it; called by `start_proxy`."""
        self._reads = True
        try:
            self._run_program()
        except OSError as error:
            self._failure = X2GoProxyException(
                f"{self.PROXY_CMD} could not be started: {error}", doing="connecting the session's graphics"
            )
        except CrlError as error:  # of the tunnel, which may be anybody's, or of the options
            self._failure = error
        finally:
            self._tidy_up()
            with self._changed:
                self._ended = True
                by_itself = not self._stopping
                self._changed.notify_all()
            if by_itself:
                self._tell_the_session()

    def _tell_the_session(self) -> None:
        tell = getattr(self.session_instance, "proxy_has_ended", None)
        if tell is not None:
            tell(self)

    def _run_program(self) -> None:
        if self.session_info is None:
            return
        self.fw_tunnel = self._make_tunnel(("127.0.0.1", self.session_info.graphics_port or 0))
        if not isinstance(self.fw_tunnel.address, str):
            self._update_local_proxy_socket(self.fw_tunnel.address[1])
        self._take_options()
        command = self._generate_cmdline()
        self.session_log_stdout = self.session_log_stderr = (self.container / self.session_log).open("ab", buffering=0)
        with self._changed:
            if self._stopping:
                return
            self.proxy = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=self._environment(),
                cwd=self.container,
                start_new_session=True,
            )
            self._changed.notify_all()
        self._read_log(self.proxy)

    def _make_tunnel(self, agent: tuple[str, int]) -> Tunnel:
        if hasattr(self.ssh_transport, "forward"):
            tunnel: Tunnel = self.ssh_transport.forward(agent, self._listen_address())
            return tunnel
        from crl.x2go.forward import X2GoFwServer  # which needs paramiko

        server = X2GoFwServer(
            self._listen_address(),
            *agent,
            self.ssh_transport,
            session_instance=self.session_instance,
            session_name=None if self.session_info is None else self.session_info.name,
            subsystem=self.SUBSYSTEM,
            logger=self.logger,
        )
        server.start()
        return server

    def _take_options(self) -> None:
        """Let the subclass work its options in; by python-x2go's word that never fails."""
        try:
            self.process_proxy_options()
        except Exception as error:  # noqa: BLE001 - it may be anybody's
            self.logger.error("process_proxy_options failed, the proxy goes on without: %s", error)

    def _listen_address(self) -> tuple[str, int] | str:
        """A socket that only this user can reach: whoever else connects while the agent waits ends the session."""
        path = self.sessions_root / "graphics" if self._private_root is not None else self.container / "graphics"
        if len(os.fsencode(path)) > LONGEST_SOCKET_PATH:
            return ("127.0.0.1", 0)
        path.unlink(missing_ok=True)
        return str(path)

    def _read_log(self, process: subprocess.Popen[bytes]) -> None:
        """Read until the program closes its output, which it does by ending."""
        if process.stdout is None:
            return
        descriptor = process.stdout.fileno()
        poller = select.poll()
        poller.register(descriptor, select.POLLIN)
        while True:
            if not poller.poll(QUIET_CHECK_MS):
                if process.poll() is not None:  # it has ended, but something it started holds the pipe
                    return
                if self._log.established and self._display_is_gone():
                    self._lost = "the controller's X display has gone"
                    process.kill()  # it would take several seconds over its end, and the session with it
                    return
                continue
            data = os.read(descriptor, 65536)
            if not data:
                self._log.feed(b"\n")  # the last line may have no end
                return
            with self._changed:
                self._log.feed(data)
                self._changed.notify_all()
            if self.session_log_stdout is not None:
                self.session_log_stdout.write(data)

    def _display_is_gone(self) -> bool:
        """Whether nobody listens any more on the sockets of the display that shows the session."""
        try:
            name = DisplayName.parse(self._environment().get("DISPLAY", ""))
        except DisplayNameError:  # another machine's: nxproxy itself will tell
            return False
        for address in name.addresses:
            with socket.socket(socket.AF_UNIX) as probe:
                probe.settimeout(DISPLAY_PATIENCE)
                try:
                    probe.connect(address)
                except (ConnectionRefusedError, FileNotFoundError):
                    continue
                except OSError:  # it is there, and busy
                    return False
                return False
        return True

    def _tidy_up(self) -> None:
        """End process, tunnel and files; in this order, so that nothing of ours connects any more."""
        process, self.proxy = self.proxy, None
        if process is not None:
            _end(process)
        if self.fw_tunnel is not None:
            self.fw_tunnel.close()
            self.fw_tunnel = None
        if self.session_log_stdout is not None:
            self.session_log_stdout.close()
            self.session_log_stdout = self.session_log_stderr = None
        if self._private_root is not None:
            shutil.rmtree(self._private_root, ignore_errors=True)

    def stop_thread(self) -> None:
        """End the program and everything that belongs to it; returns when all is gone."""
        with self._changed:
            self._stopping = True
            process = self.proxy
        if process is not None:
            _end(process, reap=False)
        if self.ident is not None and threading.current_thread() is not self:
            self.join(END_PATIENCE * 3)
        elif self._private_root is not None:
            shutil.rmtree(self._private_root, ignore_errors=True)

    def wait_ended(self, timeout: float | None) -> bool:
        """Wait until the program has ended by itself; whether it has."""
        with self._changed:
            return self._changed.wait_for(lambda: self._ended, timeout)

    def ok(self) -> bool:
        """Whether the program is up and shows the session."""
        process = self.proxy
        return process is not None and process.poll() is None and self._shows() and not self._ended

    @property
    def log_tail(self) -> str:
        """The last lines the program said."""
        return self._log.tail

    def __del__(self) -> None:
        process = self.__dict__.get("proxy")
        if process is not None:
            with contextlib.suppress(OSError):  # nobody is left to tell
                process.kill()


def _end(process: subprocess.Popen[Any], *, reap: bool = True) -> None:
    """TERM, then KILL; with `reap` wait and close the pipe, else leave that to the thread that reads it."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(END_PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
    if reap:
        process.wait(KILLED_PATIENCE)
        if process.stdout is not None:
            process.stdout.close()


X2GoProxy = X2GoProxyBASE
