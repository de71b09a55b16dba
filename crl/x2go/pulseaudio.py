"""A sound server of our own on this machine, for sessions to play on.

`X2GoPulseAudio` is python-x2go's thread that starts PulseAudio on Windows, and does so on every system: with its own
folder, cookie and sockets, so that it meets no other sound server. One without a loudspeaker records what sessions
play, by which a test hears them. How the program is called is decided by `daemon_plan`, which touches nothing.
`stop_thread` leaves no process, thread, socket or file.
"""

from __future__ import annotations

import contextlib
import logging
import ntpath
import os
import secrets
import shutil
import socket
import subprocess
import tempfile
import threading
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

from crl.deadlines import Deadline
from crl.x2go import defaults
from crl.x2go._recording import Recording
from crl.x2go._soundgate import COOKIE_LENGTH
from crl.x2go._soundserver import NATIVE_PORT, SoundServer, find_sound_server
from crl.x2go._threads import OwnThread
from crl.x2go.clientdisplay import end_process
from crl.x2go.log import X2GoLogger, logger_for, loglevel_DEFAULT, loglevel_ERROR, loglevel_WARN
from crl.x2go.x2go_exceptions import (
    OSNotSupportedException,
    X2GoParameterError,
    X2GoSoundException,
    X2GoTimeOutException,
)

__all__ = [
    "OSNotSupportedException",
    "Recording",
    "SoundServer",
    "X2GoPulseAudio",
    "client_sound_server",
    "daemon_plan",
    "find_sound_server",
]

RATE = 44100
READY_TIMEOUT = 15.0
READY_INTERVAL = 0.02
RECORD_PATIENCE = 10.0
TENTH = 0.1
SINK = "crl"
Sink = Literal["hardware", "null"]


@dataclass(frozen=True)
class DaemonPlan:
    """How a sound server is started.

    Attributes:
        command: Its program and arguments.
        script: What it does first.
        environment: Variables for it.
        address: Where sessions reach it.
    """

    command: tuple[str, ...]
    script: str
    environment: dict[str, str]
    address: tuple[str, int] | str


def daemon_plan(system: str, program: str, folder: str, sink: Sink, port: int = NATIVE_PORT) -> DaemonPlan:
    """Decide how PulseAudio is called; nothing is touched.

    Args:
        system: ``"Windows"``, or any other.
        program: PulseAudio.
        folder: Its own folder, for the cookie, the script and the sockets.
        sink: Whether there is a loudspeaker.
        port: The TCP port, on Windows.
    """
    windows = system == "Windows"
    join = ntpath.join if windows else os.path.join
    cookie = join(folder, "cookie").replace("\\", "/")  # in its script a backslash means what comes after it
    address: tuple[str, int] | str = ("127.0.0.1", port) if windows else join(folder, "native")
    if sink == "null":
        lines = [f"load-module module-null-sink sink_name={SINK} rate={RATE} channels=1 format=s16le norewinds=1"]
    elif windows:
        lines = [f"load-module module-waveout sink_name={SINK}"]
    else:
        lines = ["load-module module-udev-detect", "load-module module-always-sink"]
    place = f"tcp listen=127.0.0.1 port={port}" if windows else f'unix socket="{address}"'
    lines.append(f'load-module module-native-protocol-{place} auth-anonymous=0 auth-cookie="{cookie}"')
    if sink == "null" and not windows:
        monitor = join(folder, "monitor")
        lines.append(
            f"load-module module-simple-protocol-unix source={SINK}.monitor record=1 playback=0 rate={RATE} "
            f'channels=1 format=s16le socket="{monitor}"'
        )
    command: tuple[str, ...] = (
        program, "-n", "-F", join(folder, "script.pa"), "--daemonize=no", "--exit-idle-time=-1", "--use-pid-file=no",
        "--disable-shm=yes", "--realtime=no", "--high-priority=no", "--disallow-exit", "--disallow-module-loading",
        "--log-target=stderr",
    )  # fmt: skip
    if windows:  # its own modules lie beside it
        command = (*command, "-p", ntpath.join(ntpath.dirname(program), "modules"))
    names = ("HOME", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "PULSE_RUNTIME_PATH", "PULSE_STATE_PATH")
    environment = {} if windows else {**dict.fromkeys(names, folder), "DBUS_SESSION_BUS_ADDRESS": "disabled:"}
    return DaemonPlan(command, "\n".join([*lines, ""]), environment, address)


class X2GoPulseAudio(OwnThread):
    """A PulseAudio of our own; a thread, to be started with `start` or by a ``with`` block.

    Args:
        path: The folder of the program, or the program; None looks for it on PATH, and on Windows also beside us.
        client_instance: The client; its ``HOOK_pulseaudio_…`` are told what happens.
        logger: Where to log.
        loglevel: The levels that are logged.
        sink: ``"hardware"`` plays on this machine's loudspeakers, ``"null"`` on none, and can be recorded.
        port: The TCP port it listens on, on Windows; elsewhere it has a unix socket for its user only.

    Raises:
        X2GoSoundException: PulseAudio is not installed.
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | None = None,
        client_instance: Any = None,
        logger: X2GoLogger | logging.Logger | None = None,
        loglevel: int = loglevel_DEFAULT,
        *,
        sink: Sink = "hardware",
        port: int = NATIVE_PORT,
    ) -> None:
        super().__init__(name="crl-x2go-pulseaudio", daemon=True)
        if sink not in ("hardware", "null"):
            raise X2GoParameterError(f"sink has to be 'hardware' or 'null', not {sink!r}")
        self.client_instance = client_instance
        self.logger = logger_for(logger, loglevel, "pulseaudio")
        self.sink: Sink = sink
        self._program = _find_program(path)
        self._port = port
        self._cookie = secrets.token_bytes(COOKIE_LENGTH)
        self._lock = threading.Lock()
        self._ready = threading.Event()
        self._stopping = threading.Event()
        self._failure: X2GoSoundException | None = None
        self._plan: DaemonPlan | None = None
        self._folder: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def __repr__(self) -> str:
        return f"<X2GoPulseAudio {self._program}: {'running' if self.ok() else 'not running'}>"

    def __enter__(self) -> Self:
        self.start()
        try:
            self.wait_ready()
        except BaseException:
            self.stop_thread()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop_thread()

    @property
    def pid(self) -> int | None:
        """The number of the process, while there is one."""
        process = self._process
        return None if process is None else process.pid

    def ok(self) -> bool:
        """Whether it is up."""
        process = self._process
        return process is not None and process.poll() is None and self._ready.is_set() and self._failure is None

    def wait_ready(self, timeout: float = READY_TIMEOUT) -> SoundServer:
        """Wait until sessions can play on it.

        Returns:
            Where it is.

        Raises:
            X2GoSoundException: It does not come up, or has ended.
        """
        self._ready.wait(timeout)
        if self._failure is not None:
            raise self._failure
        if not self.ok() or self._plan is None:
            raise self._error("is not running" if self._ready.is_set() else "did not come up in time")
        return SoundServer(self._plan.address, self._cookie)

    def record(self, seconds: float) -> Recording:
        """Listen to what is played from now on.

        Args:
            seconds: How long.

        Raises:
            X2GoSoundException: It plays on loudspeakers, or has ended.
        """
        pieces = self._pieces(seconds, Deadline.after(seconds + RECORD_PATIENCE))
        with contextlib.closing(pieces):
            return next(pieces)

    def wait_for_tone(self, frequency: float, timeout: float = 15.0, share: float = 0.9) -> Recording:
        """Listen until a tone is heard, and hardly anything else.

        Args:
            frequency: In hertz.
            timeout: Seconds.
            share: How much of the sound has to be that tone, for a tenth of a second.

        Returns:
            That tenth.

        Raises:
            X2GoTimeOutException: It was not heard in time; the text says what was.
            X2GoSoundException: It plays on loudspeakers, or has ended.
        """
        deadline, best, loudest = Deadline.after(timeout), 0.0, 0.0
        with contextlib.closing(self._pieces(TENTH, Deadline.after(timeout + RECORD_PATIENCE))) as pieces:
            for piece in pieces:
                best, loudest = max(best, piece.share_of(frequency)), max(loudest, piece.loudness)
                if best >= share:
                    return piece
                if deadline.expired:
                    break
        raise X2GoTimeOutException(
            f"no tone of {frequency:g} Hz was heard: at best {best:.0%} of the sound, whose loudness was {loudest:.3f}",
            host="this machine",
            doing="listening to a session",
        )

    def _pieces(self, seconds: float, deadline: Deadline) -> Generator[Recording, None, None]:
        """What is played from now on, piece by piece, without a gap."""
        self.wait_ready()
        if self.sink != "null" or self._folder is None or not hasattr(socket, "AF_UNIX"):
            raise self._error("records only with sink='null', and not on Windows")
        with socket.socket(socket.AF_UNIX) as sock:
            try:
                sock.connect(str(self._folder / "monitor"))
                while True:
                    yield Recording.from_bytes(_read_exactly(sock, int(seconds * RATE) * 2, deadline), RATE)
            except OSError as error:
                raise self._error(f"gives no recording: {error}") from error

    # The life of the thread.

    def run(self) -> None:
        """Start the program, watch it, and clean up after it; called by `start`."""
        try:
            self._start_program()
            self._await_ready()
        except X2GoSoundException as error:
            self._fail(error, "HOOK_pulseaudio_server_startup_failed")
        except OSError as error:
            self._fail(self._error(f"could not be started: {error}"), "HOOK_pulseaudio_server_startup_failed")
        else:
            self._watch()
        finally:
            self._ready.set()
            self._tidy_up()

    def _start_program(self) -> None:
        if defaults.X2GOCLIENT_OS == "Windows" and os.environ.get("SESSIONNAME", "").upper().startswith("RDP-"):
            self._tell("HOOK_pulseaudio_not_supported_in_RDPsession")
        self._folder = Path(tempfile.mkdtemp(prefix="crl-pulse-"))
        plan = daemon_plan(defaults.X2GOCLIENT_OS, self._program, str(self._folder), self.sink, self._port)
        for name, content in (("cookie", self._cookie), ("script.pa", plan.script.encode())):
            (self._folder / name).touch(0o600)
            (self._folder / name).write_bytes(content)
        with (self._folder / "log").open("wb") as log, self._lock:
            if self._stopping.is_set():
                return
            self._plan = plan
            self._process = subprocess.Popen(
                plan.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **plan.environment},
                cwd=self._folder,
                start_new_session=True,
            )

    def _await_ready(self) -> None:
        """Ask until it answers; it says nothing of its own."""
        deadline = Deadline.after(READY_TIMEOUT)
        while not self._stopping.is_set() and self._process is not None and self._plan is not None:
            if self._process.poll() is not None:
                raise self._error("ended at once")
            try:
                SoundServer(self._plan.address, self._cookie).check(1.0)
            except X2GoSoundException:
                if deadline.expired:
                    raise self._error("did not come up in time") from None
                self._stopping.wait(READY_INTERVAL)
            else:
                self._ready.set()
                return

    def _watch(self) -> None:
        """Wait for its end, which is asked for or not."""
        process = self._process
        if process is None:
            return
        process.wait()
        if not self._stopping.is_set():
            self._fail(self._error(f"has ended (status {process.returncode})"), "HOOK_pulseaudio_server_died")

    def _fail(self, error: X2GoSoundException, hook: str) -> None:
        self._failure = error
        self.logger(f"{error}", loglevel=loglevel_ERROR)
        self._tell(hook)

    def _tell(self, hook: str) -> None:
        method = getattr(self.client_instance, hook, None)
        if method is not None:
            method()

    def _error(self, what: str) -> X2GoSoundException:
        log = ""
        if self._folder is not None:
            with contextlib.suppress(OSError):
                log = (self._folder / "log").read_text(encoding="utf-8", errors="replace")
        return X2GoSoundException(
            f"the sound server {self._program} {what}", host="this machine", doing="running PulseAudio", transcript=log
        )

    def _tidy_up(self) -> None:
        if self._process is not None:
            end_process(self._process)
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def stop_thread(self) -> None:
        """End it; returns when process and files are gone. Again is harmless."""
        self._stopping.set()
        with self._lock:
            process = self._process
        if process is not None and process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
        if self.ident is not None and threading.current_thread() is not self:
            self.join(READY_TIMEOUT)
            if self.is_alive():
                self.logger("PulseAudio does not end", loglevel=loglevel_WARN)


def client_sound_server(client_instance: Any, path: str | None = None) -> X2GoPulseAudio | None:
    """The sound server that a client starts for its sessions, when it was asked to; its hooks are told of failures.

    Args:
        client_instance: The client.
        path: The folder of the program.

    Returns:
        The sound server, coming up; None where the user has one already, or there is no program.
    """
    if defaults.X2GOCLIENT_OS != "Windows":
        with contextlib.suppress(X2GoSoundException, X2GoParameterError):
            find_sound_server()
            return None
    try:
        server = X2GoPulseAudio(path, client_instance, client_instance.logger)
    except X2GoSoundException as error:
        client_instance.logger(f"{error}", loglevel=loglevel_ERROR)
        client_instance.HOOK_pulseaudio_server_startup_failed()
        return None
    server.start()
    return server


def _find_program(path: str | os.PathLike[str] | None) -> str:
    """Where PulseAudio is.

    Raises:
        X2GoSoundException: It is not there.
    """
    name = "pulseaudio.exe" if defaults.X2GOCLIENT_OS == "Windows" else "pulseaudio"
    given = None if path is None else Path(path).expanduser()
    if given is not None and given.is_file():
        return str(given)
    folders = [given, given / "pulse"] if given is not None else [None, Path("pulse")]
    for folder in folders:
        found = shutil.which(name, path=None if folder is None else str(folder))
        if found is not None:
            return os.path.abspath(found)
    raise X2GoSoundException(
        f"{name} is not there" if given is None else f"there is no {name} in {given}",
        host="this machine",
        doing="looking for PulseAudio",
        advice="install it (Debian: apt-get install pulseaudio), or give path=",
    )


def _read_exactly(sock: socket.socket, count: int, deadline: Deadline) -> bytes:
    data = bytearray()
    while len(data) < count:
        sock.settimeout(max(0.01, deadline.remaining() or 0.0))
        piece = sock.recv(min(65536, count - len(data)))
        if not piece:
            raise ConnectionResetError("the sound server has ended")
        data += piece
    return bytes(data)
