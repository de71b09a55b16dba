"""X servers: found, chosen and started; on Windows by decisions alone, here with real ones."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from crl.display import LocalDisplay
from crl.x2go import ClientDisplay, X2GoClient, clientdisplay, defaults
from crl.x2go._xservers import known_defaults, program_of, running_names, windows_command
from crl.x2go.x2go_exceptions import X2GoClientDisplayError, X2GoParameterError
from crl.x2go.xserver import X2GoClientXConfig, X2GoXServer
from tests.x2go.conftest import wait_until
from tests.x2go.tunnelling import Left

PATHS = {"ProgramFiles": r"C:\Program Files", "PROGRAMFILES(X86)": r"C:\Program Files (x86)", "SystemDrive": "C:"}
VCXSRV = r"D:\tools\VcXsrv\vcxsrv.exe"


@pytest.fixture(autouse=True)
def no_display(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DISPLAY", "XAUTHORITY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)


# Windows, by its decisions.


def find(name: str, values: dict[tuple[str, str], str], files: set[str], config: dict[str, Any] | None = None) -> Any:
    return program_of(
        name,
        {**known_defaults("Windows")[name], **(config or {})},
        "Windows",
        environment=PATHS,
        registry=lambda key, entry: values.get((key, entry)),
        is_file=files.__contains__,
    )


UNINSTALL = r"SOFTWARE\Microsoft\Windows\CurrentVersion\Uninstall\Xming_is1"


@pytest.mark.parametrize(
    ("name", "values", "files", "found"),
    [
        ("VcXsrv", {(r"SOFTWARE\VcXsrv", "Install_Dir_64"): r"D:\tools\VcXsrv"}, {VCXSRV}, VCXSRV),
        ("VcXsrv", {(r"SOFTWARE\VcXsrv", "Install_Dir"): r"D:\tools\VcXsrv"}, {VCXSRV}, VCXSRV),
        ("VcXsrv", {(r"SOFTWARE\VcXsrv", "Install_Dir"): r"D:\gone"}, {VCXSRV}, None),
        ("VcXsrv", {}, {r"C:\Program Files\VcXsrv\vcxsrv.exe"}, r"C:\Program Files\VcXsrv\vcxsrv.exe"),
        ("Xming", {(UNINSTALL, "InstallLocation"): "E:\\Xming\\"}, {r"E:\Xming\Xming.exe"}, r"E:\Xming\Xming.exe"),
        ("Xming", {}, {r"C:\Program Files (x86)\Xming\Xming.exe"}, r"C:\Program Files (x86)\Xming\Xming.exe"),
        ("Cygwin-X", {(r"SOFTWARE\Cygwin\setup", "rootdir"): r"C:\c"}, {r"C:\c\bin\XWin.exe"}, r"C:\c\bin\XWin.exe"),
        ("Cygwin-X", {}, {r"C:\cygwin64\bin\XWin.exe"}, r"C:\cygwin64\bin\XWin.exe"),
        ("Cygwin-X", {}, set(), None),
    ],
)
def test_where_x_servers_of_windows_are(
    name: str, values: dict[tuple[str, str], str], files: set[str], found: str | None
) -> None:
    assert find(name, values, files) == found


def test_what_a_file_names_wins_on_windows() -> None:
    config = {"run_command": r"%systemdrive%\portable\vcxsrv.exe"}
    assert find("VcXsrv", {}, {r"C:\portable\vcxsrv.exe", VCXSRV}, config) == r"C:\portable\vcxsrv.exe"
    assert find("VcXsrv", {}, {VCXSRV}, config) is None
    assert find("VcXsrv", {}, {VCXSRV}, {"run_command": r"50%\vcxsrv.exe"}) is None


def test_how_x_servers_of_windows_are_called() -> None:
    config = known_defaults("Windows")["VcXsrv"]
    command = windows_command(VCXSRV, config, "localhost:41.0")
    assert command == [VCXSRV, ":41", "-multiwindow", "-notrayicon", "-clipboard", "-nowgl"]
    assert windows_command("XWin.exe", {"parameters": []}, ":0") == ["XWin.exe", ":0"]


def test_which_of_them_run() -> None:
    tasks = '"System","4","Services","0","144 K"\n"VCXSRV.EXE","4711","Console","1","24,044 K"\n'
    assert running_names(["vcxsrv.exe", "XWin.exe"], tasks) == ["vcxsrv.exe"]
    assert running_names(["vcxsrv.exe"], "") == []


def test_a_node_on_windows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All but the programs: no Windows is here, and its ``tasklist`` neither."""
    monkeypatch.setattr(defaults, "X2GOCLIENT_OS", "Windows", raising=False)
    values = {(r"SOFTWARE\VcXsrv", "Install_Dir"): str(tmp_path)}
    config = X2GoClientXConfig([tmp_path / "xconfig"], registry=lambda *name: values.get(name))
    assert config.known_xservers == ["VcXsrv", "Xming", "Cygwin-X"]
    assert config.installed_xservers == []
    assert not config.xserver_launch_possible
    assert config.preferred_xserver is None
    assert config.get_xserver_config("Xming")["process_name"] == "Xming.exe"
    with socket.create_server(("127.0.0.1", 6040)):
        assert config.detect_unused_xdisplay_port("VcXsrv") == "localhost:41"
    assert config.get_xserver_config("VcXsrv")["last_display"] == "localhost:41"
    assert config.running_xservers == []
    assert config.xserver_launch_needed


# Here.


@pytest.fixture
def config(tmp_path: Path) -> X2GoClientXConfig:
    return X2GoClientXConfig([tmp_path / "xconfig"])


def shows(name: str) -> tuple[int, int]:
    """The size of a display that can be used."""
    screen = LocalDisplay(name, os.environ.get("XAUTHORITY"))
    try:
        return screen.size()
    finally:
        screen.close()


def test_without_a_display_xvfb_is_started(config: X2GoClientXConfig, tmp_path: Path) -> None:
    left = Left()
    assert config.known_xservers == ["Xwayland", "Xephyr", "Xvfb"]
    assert {"Xephyr", "Xvfb"} <= set(config.installed_xservers)
    assert (config.xserver_launch_needed, config.xserver_launch_possible) == (True, True)
    assert config.preferred_xserver_names == ["Xvfb"]
    assert config.preferred_xserver is not None
    name, found = config.preferred_xserver
    with X2GoXServer(name, found) as server:
        assert os.environ["DISPLAY"] == server.display
        assert shows(server.display) == (1280, 1024)
        assert "Xvfb" in config.running_xservers
        assert not config.xserver_launch_needed
        assert config.preferred_xserver_names == ["Xephyr", "Xvfb"]
        pids = server.pids
        assert len(pids) == 2
    assert "DISPLAY" not in os.environ
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)
    assert not (tmp_path / "xconfig").exists()
    left.check()


def test_on_a_display_xephyr_is_a_window(config: X2GoClientXConfig) -> None:
    left = Left()
    found = config.get_xserver_config("Xvfb")
    with X2GoXServer("Xvfb", {**found, "parameters": ["-screen", "0", "1000x800x24"]}) as outer:
        assert config.preferred_xserver is not None
        name, found = config.preferred_xserver
        assert name == "Xephyr"
        with X2GoXServer(name, {**found, "parameters": ["-screen", "640x480", "-title", "nested"]}) as inner:
            assert shows(inner.display) == (640, 480)
            assert os.environ["DISPLAY"] == inner.display != outer.display
        assert os.environ["DISPLAY"] == outer.display
        assert shows(outer.display) == (1000, 800)
    left.check()


@pytest.fixture
def wayland(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A Wayland compositor that shows nothing."""
    folder = tmp_path_factory.mktemp("wayland")
    folder.chmod(0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
    command = ["weston", "--backend=headless-backend.so", "--socket=crl", "--no-config", "--idle-time=0"]
    command += ["--width=1024", "--height=768", "--shell=kiosk-shell.so"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
    try:
        wait_until((folder / "crl").exists)
        assert (folder / "crl").exists(), (folder / "log").read_text()
        yield "crl"
    finally:
        process.terminate()
        process.wait(10)


def test_on_a_wayland_desktop_xwayland_is_a_window(
    config: X2GoClientXConfig, wayland: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WAYLAND_DISPLAY", wayland)
    assert config.preferred_xserver is not None
    name, found = config.preferred_xserver
    assert name == "Xwayland"
    with X2GoXServer(name, found) as server:
        assert shows(server.display) == (1024, 768)


def test_an_x_server_that_ends_or_does_not_come_up(config: X2GoClientXConfig, tmp_path: Path) -> None:
    left = Left()
    server = X2GoXServer("Xvfb", config.get_xserver_config("Xvfb"))
    server.wait_ready()
    os.kill(server.pids[0], signal.SIGKILL)
    server.join(10)
    assert "DISPLAY" not in os.environ
    with pytest.raises(X2GoClientDisplayError, match="Xvfb has ended"):
        server.wait_ready()
    server.stop_thread()
    bad = X2GoXServer("Xvfb", {"run_command": "Xvfb", "parameters": ["-screen", "0", "nonsense"]})
    with pytest.raises(X2GoClientDisplayError, match="Xvfb did not come up") as caught:
        bad.wait_ready()
    assert "nonsense" in caught.value.transcript
    bad.stop_thread()
    missing = X2GoXServer("Xmissing", {})
    with pytest.raises(X2GoClientDisplayError, match="Xmissing is not installed"):
        missing.wait_ready()
    missing.stop_thread()
    with pytest.raises(X2GoParameterError, match="server has to be"):
        ClientDisplay.start(server="Xming")
    left.check()


BEHIND_A_LOCK = r"""#!/bin/sh
# Xvfb, after it was refused a number as often as the file says: its sockets were free, and its lock was not.
if read -r left < {0} && [ "$left" -gt 0 ]; then
    echo $((left - 1)) > {0}
    echo '(EE) Server is already active for display 5' >&2
    exit 1
fi
echo "$1" > {0}.first
exec Xvfb "$@"
"""


@pytest.mark.parametrize(("refusals", "comes_up"), [(2, True), (clientdisplay.LOCK_ATTEMPTS, False)])
def test_an_x_server_whose_number_is_locked_still_gets_another(tmp_path: Path, refusals: int, comes_up: bool) -> None:
    left = Left()
    count, program = tmp_path / "count", tmp_path / "Xvfb"
    count.write_text(f"{refusals}\n")
    program.write_text(BEHIND_A_LOCK.format(count))
    program.chmod(0o755)
    if not comes_up:
        with pytest.raises(X2GoClientDisplayError, match="Xvfb did not come up") as caught:
            ClientDisplay.start(server=[str(program)])
        assert "already active" in caught.value.transcript
    else:
        with ClientDisplay.start(server=[str(program), "-screen", "0", "640x480x24"]) as display:
            assert int(display.name[1:]) >= clientdisplay.LOWEST_OWN
            assert display.name == (tmp_path / "count.first").read_text().strip()
            assert display.screen.size() == (640, 480)
            assert len(display.pids) == 2
            assert not display.wait(0)
    left.check()


def test_the_nodes_own_words(tmp_path: Path) -> None:
    (tmp_path / "xconfig").write_text("[XServers]\nknown_xservers=Mine, Xvfb\n[Mine]\nrun_command=/bin/cat\n")
    config = X2GoClientXConfig([tmp_path / "xconfig"])
    assert config.known_xservers == ["Mine", "Xvfb"]
    assert config.installed_xservers == ["Mine", "Xvfb"]
    assert config.preferred_xserver is not None
    assert config.preferred_xserver[1]["run_command"] == "/bin/cat"
    with pytest.raises(X2GoParameterError, match="there is no X server 'Xming'"):
        config.get_xserver_config("Xming")
    config.update_value("Xvfb", "parameters", ["-screen", "0", "640x480x24"])
    assert config.write()
    assert X2GoClientXConfig([tmp_path / "xconfig"]).get_xserver_config("Xvfb")["parameters"][2] == "640x480x24"


def test_a_client_that_starts_an_x_server(tmp_path: Path) -> None:
    left, told = Left(), []

    class Client(X2GoClient):
        def HOOK_no_installed_xservers_found(self) -> None:
            told.append("none")

    with Client(client_rootdir=tmp_path, start_xserver=True) as client:
        assert client.xserver is not None
        assert os.environ["DISPLAY"] == client.xserver.display
        # Who has a display gets no other.
        with Client(client_rootdir=tmp_path, start_xserver=True) as other:
            assert other.xserver is None
    (tmp_path / "xconfig").write_text("[XServers]\nknown_xservers=Xming\n[Xming]\nprocess_name=Xming.exe\n")
    with Client(client_rootdir=tmp_path, start_xserver=True) as client:
        assert client.xserver is None
    assert told == ["none"]
    left.check()
