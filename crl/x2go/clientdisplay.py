"""The X display on the controller where a session's windows appear.

Either one that is there already, or an X server of our own with a window manager (without one an nxagent takes the
whole screen, whatever size was asked for). The module starts and ends processes of this machine and knows nothing of
servers. `close` ends exactly what `start` started, and leaves no file.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import select
import shutil
import socket
import subprocess
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from crl.deadlines import Deadline
from crl.display import DisplayError, LocalDisplay
from crl.display.names import DisplayName
from crl.display.xauthority import FAMILY_LOCAL, FAMILY_WILD, MAGIC_COOKIE, XauthEntry, format_xauthority
from crl.x2go.x2go_exceptions import X2GoClientDisplayError, X2GoParameterError

__all__ = ["FROM_ENVIRONMENT", "ClientDisplay"]

FROM_ENVIRONMENT = "$DISPLAY"
_PACKAGES = {"Xvfb": "xvfb", "Xephyr": "xserver-xephyr", "Xwayland": "xwayland"}
END_PATIENCE = 3.0
KILLED_PATIENCE = 30.0  # what was killed still needs a processor for its end
LOCK_ATTEMPTS = 5
LOWEST_OWN, OWN_NUMBERS = 100, 900  # numbers of displays that no X server takes by itself
_LOCKED = re.compile(r"already active for display|Can't read lock file|Could not create server lock file")
WINDOW_MANAGERS: tuple[tuple[str, ...], ...] = (
    ("openbox", "--sm-disable"), ("metacity",), ("xfwm4",), ("icewm",), ("twm",),
)  # fmt: skip


class ClientDisplay:
    """An X display on this machine; make one with `existing`, `start` or `resolve`.

    Args:
        name: The display's name, for example ``":0"``.
        xauthority: The file that holds its cookie; None for the user's own.
        processes: What was started for it, ended last first by `close`.
        folder: A folder to remove at the end.
    """

    def __init__(
        self,
        name: str,
        xauthority: Path | None = None,
        *,
        processes: Sequence[subprocess.Popen[bytes]] = (),
        folder: Path | None = None,
    ) -> None:
        self.name = name
        self.xauthority = xauthority
        self._processes = list(processes)
        self._folder = folder
        self._lock = threading.Lock()
        self._screen: LocalDisplay | None = None

    def __repr__(self) -> str:
        return f"<ClientDisplay {self.name}{' (own X server)' if self.owned else ''}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    @classmethod
    def existing(cls, name: str, xauthority: str | os.PathLike[str] | None = None) -> ClientDisplay:
        """A display that is there already; it is not ended by `close`.

        Args:
            name: Its name, or ``"$DISPLAY"`` for the one in the environment.
            xauthority: The file with its cookie; by default ``$XAUTHORITY`` or ``~/.Xauthority``.

        Raises:
            X2GoClientDisplayError: It does not answer, or the environment names none.
            DisplayNameError: The text is not the name of a local display.
        """
        if name == FROM_ENVIRONMENT:
            name = os.environ.get("DISPLAY", "")
            if not name:
                raise X2GoClientDisplayError(
                    "the environment has no DISPLAY",
                    host="this machine",
                    doing="looking for the client's display",
                    advice="leave client_display away: then an Xvfb is started",
                )
        given = xauthority or os.environ.get("XAUTHORITY")
        display = cls(str(DisplayName.parse(name)), None if given is None else Path(given))
        try:
            display.screen.size()
        except DisplayError as error:
            display.close()
            raise X2GoClientDisplayError(
                f"the client's display {name} cannot be used: {error.message}",
                host="this machine",
                doing="looking for the client's display",
            ) from error
        return display

    @classmethod
    def start(
        cls,
        size: tuple[int, int] = (1280, 1024),
        *,
        depth: int = 24,
        window_manager: Sequence[str] | None = None,
        timeout: float = 30.0,
        server: Sequence[str] | str = "Xvfb",
    ) -> ClientDisplay:
        """Start an X server with its own cookie, no TCP, and a window manager in it.

        Args:
            size: Width and height in pixels.
            depth: Bits of colour.
            window_manager: Program and arguments; by default the first that is installed of openbox, metacity, xfwm4,
                icewm and twm.
            timeout: Seconds until both have to be up.
            server: ``"Xvfb"`` shows nothing; ``"Xephyr"`` is a window on ``$DISPLAY``, ``"Xwayland"`` one on
                ``$WAYLAND_DISPLAY``, as big as that screen; or a program with the arguments that give it its size.

        Raises:
            X2GoClientDisplayError: A program is missing, or did not come up.
        """
        return _Starter(size, depth, window_manager, Deadline.after(timeout), server).start()

    @classmethod
    def resolve(cls, wish: str | ClientDisplay | None) -> tuple[ClientDisplay, bool]:
        """The display a user's wish stands for, and whether it was started for this purpose.

        Args:
            wish: None starts an Xvfb; a text names an existing display (``"$DISPLAY"``: that of the environment).
        """
        if wish is None:
            return cls.start(), True
        if isinstance(wish, ClientDisplay):
            return wish, False
        return cls.existing(wish), True

    @property
    def owned(self) -> bool:
        """Whether its X server was started by us."""
        return bool(self._processes)

    @property
    def screen(self) -> LocalDisplay:
        """The display's windows and pictures."""
        with self._lock:
            if self._screen is None:
                self._screen = LocalDisplay(self.name, None if self.xauthority is None else str(self.xauthority))
            return self._screen

    @property
    def pids(self) -> tuple[int, ...]:
        """Numbers of the processes that were started for it."""
        return tuple(process.pid for process in self._processes)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the X server that was started has ended; whether it has.

        Args:
            timeout: Seconds.
        """
        with self._lock:
            processes = self._processes[:1]
        try:
            for process in processes:
                process.wait(timeout)
        except subprocess.TimeoutExpired:
            return False
        return True

    def close(self) -> None:
        """End what was started for the display; again is harmless."""
        with self._lock:
            screen, self._screen = self._screen, None
            processes, self._processes = self._processes, []
        if screen is not None:
            screen.close()
        for process in reversed(processes):
            end_process(process)
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)


def server_words(server: str, width: int, height: int, depth: int) -> list[str]:
    """The arguments with which an X server of this name gets its size.

    Raises:
        X2GoParameterError: It is not known.
    """
    if server == "Xvfb":
        return ["-screen", "0", f"{width}x{height}x{depth}"]
    if server == "Xephyr":
        return ["-screen", f"{width}x{height}x{depth}", "-resizeable", "-title", "X2Go"]
    if server == "Xwayland":
        return []
    raise X2GoParameterError(f"server has to be 'Xvfb', 'Xephyr', 'Xwayland' or a command, not {server!r}")


class _Starter:
    """Starts an X server and a window manager, or leaves nothing."""

    def __init__(
        self,
        size: tuple[int, int],
        depth: int,
        window_manager: Sequence[str] | None,
        deadline: Deadline,
        server: Sequence[str] | str,
    ) -> None:
        if not all(isinstance(side, int) and 1 <= side <= 32767 for side in size) or len(size) != 2:
            raise X2GoParameterError(f"a display's size is width and height in pixels, not {size!r}")
        if isinstance(server, str):
            server = [server, *server_words(server, *size, depth)]
        self._server = list(server)
        self._wished = window_manager
        self._deadline = deadline
        self._cookie = secrets.token_bytes(16)
        self._processes: list[subprocess.Popen[bytes]] = []

    def start(self) -> ClientDisplay:
        name = Path(self._server[0]).name
        package = _PACKAGES.get(name, name.lower())
        advice = f"install it (Debian: apt-get install {package}), or give client_display='$DISPLAY'"
        program = _program(self._server[0], advice=advice)
        manager = self._window_manager()
        folder = Path(tempfile.mkdtemp(prefix="crl-display-"))
        with contextlib.ExitStack() as on_failure:
            on_failure.callback(shutil.rmtree, folder, ignore_errors=True)
            on_failure.callback(self._end_all)
            xauthority = folder / "Xauthority"
            self._write_cookies(xauthority, XauthEntry(FAMILY_WILD, b"", b"", MAGIC_COOKIE, self._cookie))
            number = self._start_server(program, xauthority, folder)
            host = socket.gethostname().encode("utf-8", "surrogateescape")
            own = XauthEntry(FAMILY_LOCAL, host, str(number).encode(), MAGIC_COOKIE, self._cookie)
            self._write_cookies(xauthority, own)
            self._start_manager(manager, f":{number}", xauthority, folder)
            on_failure.pop_all()
        return ClientDisplay(f":{number}", xauthority, processes=self._processes, folder=folder)

    def _window_manager(self) -> list[str]:
        if self._wished is not None:
            return [_program(self._wished[0]), *self._wished[1:]]
        for name, *arguments in WINDOW_MANAGERS:
            found = shutil.which(name)
            if found is not None:
                return [found, *arguments]
        raise _display_error("no window manager is installed", advice="install one (Debian: apt-get install openbox)")

    def _write_cookies(self, path: Path, *entries: XauthEntry) -> None:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with open(descriptor, "wb") as stream:
            stream.write(format_xauthority(entries))

    def _start_server(self, program: str, xauthority: Path, folder: Path) -> int:
        """Start the X server; the number of its display.

        It takes the first one with free sockets, and gives up when the lock of that number is somebody's still: an X
        server that ends lets go of its sockets first. Then it is given another one.
        """
        number: list[str] = []
        for _ in range(LOCK_ATTEMPTS):
            text = self._try_server(program, number, xauthority, folder)
            if text.isdigit():
                return int(text)
            end_process(self._processes.pop())
            if _LOCKED.search(_log_of(folder)) is None:
                break
            number = [f":{LOWEST_OWN + secrets.randbelow(OWN_NUMBERS)}"]
        raise self._not_up(Path(program).name, folder)

    def _try_server(self, program: str, number: list[str], xauthority: Path, folder: Path) -> str:
        """Start it and read the number it has chosen, which it writes when it is ready for clients."""
        (folder / "log").write_bytes(b"")
        reading, writing = os.pipe()
        try:
            command = [
                program, *number, "-displayfd", str(writing), *self._server[1:],
                "-auth", str(xauthority), "-nolisten", "tcp", "-noreset",
            ]  # fmt: skip
            self._spawn(command, folder, pass_fds=(writing,))
            os.close(writing)
            writing = -1
            return self._read_line(reading)
        finally:
            os.close(reading)
            if writing >= 0:
                os.close(writing)

    def _read_line(self, descriptor: int) -> str:
        data = b""
        poller = select.poll()
        poller.register(descriptor, select.POLLIN)
        while not data.endswith(b"\n") and len(data) < 16:
            piece = os.read(descriptor, 16) if poller.poll(self._deadline.poll_ms()) else b""
            if not piece:
                break
            data += piece
        return data.decode("ascii", "replace").strip()

    def _start_manager(self, command: list[str], name: str, xauthority: Path, folder: Path) -> None:
        """Start the window manager and wait until it takes windows."""
        environment = {
            **os.environ,
            "DISPLAY": name,
            "XAUTHORITY": str(xauthority),
            "HOME": str(folder),
            "XDG_CACHE_HOME": str(folder),
            "XDG_CONFIG_HOME": str(folder),
        }
        self._spawn(command, folder, env=environment)
        screen = LocalDisplay(name, str(xauthority))
        try:
            screen.wait_for_window_manager(self._deadline.remaining() or 0.0)
        except DisplayError as error:
            raise self._not_up(Path(command[0]).name, folder) from error
        finally:
            screen.close()

    def _spawn(
        self, command: list[str], folder: Path, *, env: dict[str, str] | None = None, pass_fds: tuple[int, ...] = ()
    ) -> None:
        with (folder / "log").open("ab") as log:
            try:
                process = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env=env,
                    cwd=folder,
                    pass_fds=pass_fds,
                    start_new_session=True,
                )
            except OSError as error:
                raise _display_error(f"{command[0]} could not be started: {error}") from error
        self._processes.append(process)

    def _not_up(self, program: str, folder: Path) -> X2GoClientDisplayError:
        return _display_error(f"{program} did not come up", transcript=_log_of(folder))

    def _end_all(self) -> None:
        for process in reversed(self._processes):
            end_process(process)


def _log_of(folder: Path) -> str:
    return (folder / "log").read_text(encoding="utf-8", errors="replace")


def _program(name: str, *, advice: str | None = None) -> str:
    found = shutil.which(name)
    if found is None:
        raise _display_error(f"{name} is not installed on this machine", advice=advice)
    return found


def _display_error(message: str, *, advice: str | None = None, transcript: str = "") -> X2GoClientDisplayError:
    return X2GoClientDisplayError(
        message, host="this machine", doing="starting a display for the session", advice=advice, transcript=transcript
    )


def end_process(process: subprocess.Popen[bytes]) -> None:
    """End one process of ours by its number, with TERM and then KILL, and reap it."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(END_PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
    process.wait(KILLED_PATIENCE)
