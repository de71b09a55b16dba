"""X servers on this machine: which there are, which of them to use, and one that is started for X2Go's sessions.

`X2GoClientXConfig` is the configuration node ``xconfig`` and looks at the machine; `X2GoXServer` is a thread that runs
one X server. Both have python-x2go's names and work on every system: on Windows with VcXsrv, Xming and Cygwin/X, on
others with Xwayland, Xephyr and Xvfb, where the user has no display. `X2GoXServer.stop_thread` leaves no process and
no file, and puts the environment back.
"""

from __future__ import annotations

import logging
import os
import socket
import subprocess
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

from crl.deadlines import Deadline
from crl.errors import CrlError
from crl.x2go import defaults as machine
from crl.x2go._threads import OwnThread
from crl.x2go._xservers import (
    ReadRegistry,
    known_defaults,
    program_of,
    read_registry,
    running_names,
    windows_command,
)
from crl.x2go.clientdisplay import FROM_ENVIRONMENT, ClientDisplay, end_process
from crl.x2go.inifiles import X2GoIniFile
from crl.x2go.log import X2GoLogger, logger_for, loglevel_DEFAULT, loglevel_ERROR, loglevel_WARN
from crl.x2go.x2go_exceptions import X2GoClientDisplayError, X2GoException, X2GoParameterError

__all__ = ["X2GoClientXConfig", "X2GoXServer", "client_xserver"]

READY_TIMEOUT = 20.0
READY_INTERVAL = 0.1
CONNECT_TIMEOUT = 0.5
TASKS_TIMEOUT = 20.0
X_PORT = 6000
LAST_NUMBER = 4000
_DISPLAY_NAMES = ("DISPLAY", "XAUTHORITY")


class X2GoClientXConfig(X2GoIniFile):
    """The X servers of this machine, and the configuration node that tells of them.

    Args:
        config_files: The node's files; None are the usual ones.
        defaults: What counts where they say nothing; None is what this system may have.
        logger: Where to log.
        loglevel: The levels that are logged.
        registry: Reads Windows' registry.
    """

    _FAILURE: ClassVar[type[X2GoException]] = X2GoClientDisplayError

    def __init__(
        self,
        config_files: str | os.PathLike[str] | Iterable[str | os.PathLike[str]] | None = None,
        defaults: Mapping[str, Mapping[str, Any]] | None = None,
        logger: X2GoLogger | logging.Logger | None = None,
        loglevel: int = loglevel_DEFAULT,
        *,
        registry: ReadRegistry = read_registry,
    ) -> None:
        self._registry = registry
        self._system: str = machine.X2GOCLIENT_OS
        files = machine.X2GO_XCONFIG_CONFIGFILES if config_files is None else config_files
        # What is written nowhere stays what this system may have: the file is made when somebody changes it.
        super().__init__(files, defaults or known_defaults(self._system), logger, loglevel)

    def _fill_defaults(self) -> None:
        """No file is made by looking."""

    def get_xserver_config(self, xserver_name: str) -> dict[str, Any]:
        """All that is known of an X server by its name.

        Raises:
            X2GoParameterError: There is none of that name.
        """
        if xserver_name not in self.known_xservers:
            raise X2GoParameterError(
                f"there is no X server {xserver_name!r}", advice=f"known are: {', '.join(self.known_xservers)}"
            )
        pattern = {**known_defaults(self._system).get(xserver_name, {}), **self.defaults.get(xserver_name, {})}
        pattern = pattern or {"parameters": [], **dict.fromkeys(("run_command", "test_installed", "process_name"), "")}
        kinds = {key: type(value) for key, value in pattern.items()}
        config = dict(pattern)
        for key in {**kinds, **dict.fromkeys(self._keys(xserver_name), str)}:
            value = self.get_value(xserver_name, key, kinds.get(key, str))
            if value is not None:
                config[key] = value
        return config

    @property
    def known_xservers(self) -> list[str]:
        """The names of X servers that would be used, best first."""
        return list(self.get_value("XServers", "known_xservers", list) or [])

    @property
    def installed_xservers(self) -> list[str]:
        """Those whose program is here."""
        return [name for name in self.known_xservers if self._program(name) is not None]

    @property
    def running_xservers(self) -> list[str]:
        """Those that run here, for whomever."""
        names = {name: str(self.get_xserver_config(name).get("process_name") or "") for name in self.known_xservers}
        running = set(self._running(list(names.values())))
        return [name for name, program in names.items() if program in running]

    def _running(self, programs: list[str]) -> list[str]:
        if self._system != "Windows":
            return [name for name in programs if name and any(_runs(entry, name) for entry in Path("/proc").iterdir())]
        try:
            answer = subprocess.run(
                ["tasklist", "/fo", "csv", "/nh"], capture_output=True, text=True, timeout=TASKS_TIMEOUT, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            self.logger(f"Windows does not say what runs: {error}", loglevel=loglevel_WARN)
            return []
        return running_names(programs, answer.stdout)

    def _program(self, name: str) -> str | None:
        return program_of(
            name,
            self.get_xserver_config(name),
            self._system,
            environment=os.environ,
            registry=self._registry,
            is_file=os.path.isfile,
        )

    @property
    def xserver_launch_possible(self) -> bool:
        """Whether there is an X server that could be started."""
        return bool(self.preferred_xserver_names)

    @property
    def xserver_launch_needed(self) -> bool:
        """Whether the user has no display that can be used; on Windows, whether no X server runs."""
        if self._system == "Windows":
            return not self.running_xservers
        try:
            ClientDisplay.existing(FROM_ENVIRONMENT).close()
        except CrlError:
            return True
        return False

    @property
    def preferred_xserver(self) -> tuple[str, dict[str, Any]] | None:
        """The X server to be started, with all that is known of it; its ``run_command`` is the program."""
        for name in self.preferred_xserver_names:
            return name, {**self.get_xserver_config(name), "run_command": self._program(name) or ""}
        return None

    @property
    def preferred_xserver_names(self) -> list[str]:
        """The X servers that are here and can be started now, best first."""
        return [name for name in self.installed_xservers if self._has_what_it_needs(name)]

    def _has_what_it_needs(self, name: str) -> bool:
        """Whether the display is there that the X server would be a window of."""
        needs = self.get_xserver_config(name).get("needs") or ""
        if needs == "DISPLAY":
            return not self.xserver_launch_needed
        return not needs or bool(os.environ.get(needs))

    def detect_unused_xdisplay_port(self, xserver_name: str) -> str:
        """The name of a display that nobody uses, and keep it in mind as the X server's last one.

        Args:
            xserver_name: The X server.

        Raises:
            X2GoClientDisplayError: All are in use.
        """
        config = self.get_xserver_config(xserver_name)
        last = str(config.get("last_display") or config.get("display") or "")
        host, _, number = last.rpartition(":")
        first = int(number.partition(".")[0] or 0) if number.partition(".")[0].isdigit() else 0
        for candidate in range(first, LAST_NUMBER):
            if not _in_use(candidate, self._system):
                name = f"{host}:{candidate}"
                self.update_value(xserver_name, "last_display", name)
                return name
        raise X2GoClientDisplayError("all numbers of displays are in use", host="this machine")


def _runs(entry: Path, program: str) -> bool:
    """Whether a folder of ``/proc`` is a program of that name."""
    if not entry.name.isdigit():
        return False
    try:
        words = (entry / "cmdline").read_bytes().split(b"\0")
    except OSError:  # it has ended meanwhile
        return False
    return os.path.basename(os.fsdecode(words[0])) == program


def _in_use(number: int, system: str) -> bool:
    """Whether an X server has the number of a display, or seems to."""
    if system != "Windows" and os.path.exists(f"/tmp/.X{number}-lock"):
        return True
    with socket.socket() as probe:
        probe.settimeout(CONNECT_TIMEOUT)
        return probe.connect_ex(("127.0.0.1", X_PORT + number)) == 0


class X2GoXServer(OwnThread):
    """An X server that is started for X2Go's sessions; the thread starts itself, as in python-x2go.

    While it runs, ``DISPLAY`` of this process names it, and ``XAUTHORITY`` its cookie.

    Args:
        xserver_name: Its name.
        xserver_config: What `X2GoClientXConfig.preferred_xserver` says of it.
        logger: Where to log.
        loglevel: The levels that are logged.

    Attributes:
        display: The display's name, once it is up.
    """

    def __init__(
        self,
        xserver_name: str,
        xserver_config: Mapping[str, Any],
        logger: X2GoLogger | logging.Logger | None = None,
        loglevel: int = loglevel_DEFAULT,
    ) -> None:
        super().__init__(name="crl-x2go-xserver", daemon=True)
        self.xserver_name = xserver_name
        self.xserver_config = dict(xserver_config)
        self.logger = logger_for(logger, loglevel, "xserver")
        self.display = ""
        self._lock = threading.Lock()
        self._ready = threading.Event()
        self._stopping = threading.Event()
        self._failure: CrlError | None = None
        self._client_display: ClientDisplay | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._former: dict[str, str | None] = {}
        self.start()

    def __repr__(self) -> str:
        return f"<X2GoXServer {self.xserver_name} {self.display or '(not up)'}>"

    def __enter__(self) -> Self:
        try:
            self.wait_ready()
        except BaseException:
            self.stop_thread()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop_thread()

    def wait_ready(self, timeout: float = READY_TIMEOUT) -> str:
        """Wait until the display can be used.

        Returns:
            Its name.

        Raises:
            X2GoClientDisplayError: It does not come up.
        """
        self._ready.wait(timeout)
        if self._failure is not None:
            raise self._failure
        if not self.display:
            raise X2GoClientDisplayError(f"{self.xserver_name} is not up", host="this machine")
        return self.display

    @property
    def pids(self) -> tuple[int, ...]:
        """Numbers of the processes that were started."""
        if self._client_display is not None:
            return self._client_display.pids
        return () if self._process is None else (self._process.pid,)

    def run(self) -> None:
        """Start the X server, and wait for its end."""
        try:
            if machine.X2GOCLIENT_OS == "Windows":
                self._start_on_windows()
            else:
                self._start_here()
        except (CrlError, OSError) as error:
            self._failure = error if isinstance(error, CrlError) else X2GoClientDisplayError(str(error))
            self.logger(f"{self.xserver_name} was not started: {error}", loglevel=loglevel_ERROR)
        else:
            self._ready.set()
            self._watch()
        finally:
            self._terminate_xserver()
            self._ready.set()

    def _watch(self) -> None:
        """Wait for its end, which is asked for or not."""
        if self._stopping.is_set():
            return
        if self._client_display is not None:
            self._client_display.wait()
        elif self._process is not None:
            self._process.wait()
        if not self._stopping.is_set():
            self._failure = X2GoClientDisplayError(f"{self.xserver_name} has ended", host="this machine")
            self.logger(f"{self.xserver_name} has ended", loglevel=loglevel_ERROR)

    def _start_here(self) -> None:
        command = [str(self.xserver_config.get("run_command") or self.xserver_name)]
        command += [str(word) for word in self.xserver_config.get("parameters") or []]
        started = ClientDisplay.start(server=command, timeout=READY_TIMEOUT)
        self._client_display = started
        self._put_into_environment(started.name, str(started.xauthority))

    def _start_on_windows(self) -> None:
        display = str(self.xserver_config.get("last_display") or self.xserver_config.get("display") or "localhost:0")
        command = windows_command(str(self.xserver_config.get("run_command")), self.xserver_config, display)
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        number, deadline = int(command[1].lstrip(":")), Deadline.after(READY_TIMEOUT)
        while not _in_use(number, "Windows"):
            if self._process.poll() is not None or self._stopping.wait(READY_INTERVAL):
                raise X2GoClientDisplayError(f"{command[0]} ended at once", host="this machine")
            if deadline.expired:
                raise X2GoClientDisplayError(f"{command[0]} did not come up in time", host="this machine")
        self._put_into_environment(display, None)

    def _put_into_environment(self, display: str, xauthority: str | None) -> None:
        with self._lock:
            self._former = {name: os.environ.get(name) for name in _DISPLAY_NAMES}
            os.environ["DISPLAY"] = self.display = display
            if xauthority is not None:
                os.environ["XAUTHORITY"] = xauthority

    def _terminate_xserver(self) -> None:
        """End what was started, and put the environment back where it still is ours."""
        with self._lock:
            former, self._former = self._former, {}
            if former and os.environ.get("DISPLAY") == self.display:
                for name, value in former.items():
                    if value is None:
                        os.environ.pop(name, None)
                    else:
                        os.environ[name] = value
        if self._client_display is not None:
            self._client_display.close()
        if self._process is not None:
            end_process(self._process)

    def stop_thread(self) -> None:
        """End the X server; returns when it is gone. Again is harmless."""
        self._stopping.set()
        self._ready.wait(READY_TIMEOUT)
        if self._client_display is not None:
            self._client_display.close()
        elif self._process is not None:
            self._process.terminate()
        if threading.current_thread() is not self:
            self.join(READY_TIMEOUT)

    def __del__(self) -> None:
        if "_process" in self.__dict__:
            self.stop_thread()


def client_xserver(client_instance: Any, config_files: Iterable[str]) -> X2GoXServer | None:
    """The X server that a client starts, when it was asked to and the user has no display; it is up on return.

    Args:
        client_instance: The client; its hook is told when there is none to be started.
        config_files: Of the node ``xconfig``.

    Returns:
        The X server; None where none is needed, or none is to be had.
    """
    config = X2GoClientXConfig(config_files, logger=client_instance.logger)
    if not config.xserver_launch_needed:
        return None
    preferred = config.preferred_xserver
    if preferred is None:
        client_instance.HOOK_no_installed_xservers_found()
        return None
    name, found = preferred
    if machine.X2GOCLIENT_OS == "Windows":
        found["last_display"] = config.detect_unused_xdisplay_port(name)
    server = X2GoXServer(name, found, logger=client_instance.logger)
    try:
        server.wait_ready()
    except CrlError as error:
        client_instance.logger(f"{error}", loglevel=loglevel_ERROR)
        server.stop_thread()
        return None
    return server
