"""nxproxy on this machine, as the seed's proxy classes: what it is given, how it ends, and that nothing of it stays."""

from __future__ import annotations

import inspect
import os
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from crl.deadlines import Deadline
from crl.x2go import ClientDisplay, X2GoParameterError, X2GoProxyEnded, X2GoServerSessionInfo, X2GoTimeOutException
from crl.x2go.backends.proxy.base import X2GoProxy, X2GoProxyBASE
from crl.x2go.backends.proxy.nx3 import X2GoProxyNX3
from tests.link.peers import eventually
from tests.x2go.test_records import COOKIE, START
from tests.x2go.tunnelling import nobody_here


class Door:
    """A tunnel whose far side is a port of this machine."""

    def __init__(self, port: int) -> None:
        self.address = ("127.0.0.1", port)
        self.closed = False

    def close(self) -> None:
        self.closed = True


class Doors:
    """Makes tunnels to one port."""

    def __init__(self, port: int) -> None:
        self.door = Door(port)

    def forward(self, address: Any, listen: Any = ("127.0.0.1", 0)) -> Door:
        assert address == ("127.0.0.1", 35077)
        return self.door


@pytest.fixture(scope="module")
def display() -> Iterator[ClientDisplay]:
    with ClientDisplay.start((320, 200)) as started:
        yield started


@pytest.fixture
def info() -> X2GoServerSessionInfo:
    made = X2GoServerSessionInfo()
    assert made.initialize("\n".join(START))
    return made


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """An agent that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        yield silent


@pytest.fixture
def nobody() -> Iterator[int]:
    """A port on which nobody listens, nor can begin to."""
    with nobody_here() as port:
        yield port


def test_the_constructor_is_the_seeds() -> None:
    expected = [
        "session_info", "ssh_transport", "session_log", "sessions_rootdir", "proxy_options", "session_instance",
        "logger", "loglevel",
    ]  # fmt: skip
    parameters = inspect.signature(X2GoProxyBASE).parameters.values()
    assert [one.name for one in parameters if one.kind is one.POSITIONAL_OR_KEYWORD] == expected
    assert issubclass(X2GoProxyNX3, X2GoProxyBASE)
    assert issubclass(X2GoProxyBASE, threading.Thread)
    assert X2GoProxy is X2GoProxyBASE
    assert (X2GoProxyBASE.PROXY_CMD, X2GoProxyBASE.PROXY_ARGS, X2GoProxyBASE.PROXY_ENV) == ("", [], {})


def test_what_it_cannot_do_without(info: X2GoServerSessionInfo) -> None:
    with pytest.raises(X2GoParameterError, match="session_info"):
        X2GoProxyNX3(ssh_transport=Doors(1))
    with pytest.raises(X2GoParameterError, match="ssh_transport"):
        X2GoProxyNX3(session_info=info)


def test_nobody_behind_the_tunnel(
    info: X2GoServerSessionInfo, display: ClientDisplay, own_temporary_folder: Path, nobody: int
) -> None:
    doors = Doors(nobody)
    proxy = X2GoProxyNX3(
        session_info=info,
        ssh_transport=doors,
        sessions_rootdir=None,
        display=display.name,
        xauthority=display.xauthority,
    )
    with pytest.raises(X2GoProxyEnded, match="nxproxy ended: nxproxy could not reach the tunnel"):
        proxy.bring_up(Deadline.after(60))
    proxy.stop_thread()
    assert doors.door.closed
    assert not proxy.is_alive()
    assert not list(own_temporary_folder.iterdir())


def test_start_proxy_tells_instead_of_raising(
    info: X2GoServerSessionInfo, display: ClientDisplay, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nobody: int
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    proxy = X2GoProxyNX3(
        session_info=info, ssh_transport=Doors(nobody), display=display.name, xauthority=display.xauthority
    )
    process, up = proxy.start_proxy(60)
    assert not up
    assert process is None
    assert not proxy.ok()
    container = tmp_path / ".x2go" / f"S-{info.name}"
    assert "failed" in (container / "session.log").read_text()
    assert not (container / "options").exists()  # it had the cookie


class OfASubclass(X2GoProxyNX3):
    """An application's: it has options of its own, and says so in the way that python-x2go documents."""

    def process_proxy_options(self) -> None:
        cache = self.proxy_options.pop("cache", None)
        if cache is not None:
            self.PROXY_OPTIONS.append(f"cache={cache}")
            self.PROXY_ENV["OF_THE_TEST"] = "yes"
        X2GoProxyBASE.process_proxy_options(self)
        if "break" in self.proxy_options:
            raise ValueError("that is not how it should be")


@pytest.mark.parametrize("more", [{}, {"break": 1}])
def test_options_of_a_subclass(
    more: dict[str, object], info: X2GoServerSessionInfo, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "nxproxy"
    program.write_text(f'#!/bin/sh\necho "$OF_THE_TEST $*"; sed "s/,/ /g" {tmp_path}/S-*/options\n')
    program.chmod(0o755)
    options = {"cache": "8M", "unheard": "of", **more}
    proxy = OfASubclass(
        session_info=info, ssh_transport=Doors(1), sessions_rootdir=tmp_path, proxy_options=options, loglevel=127
    )
    proxy.PROXY_CMD = str(program)
    proxy.require_program = lambda: None  # type: ignore[method-assign]
    with pytest.raises(X2GoProxyEnded):
        proxy.bring_up(Deadline.after(60))
    assert "yes -S nx/nx,options=" in proxy.log_tail
    assert " cache=8M " in proxy.log_tail
    assert "unheard" in caplog.text
    assert ("process_proxy_options failed" in caplog.text) == bool(more)
    assert COOKIE not in caplog.text
    assert OfASubclass.PROXY_ENV == {"NX_CLIENT": "/bin/true"}
    assert X2GoProxyNX3.PROXY_OPTIONS[-1] == "clipboard=1"


def test_a_subclass_with_a_run_of_its_own(info: X2GoServerSessionInfo, tmp_path: Path) -> None:
    class Own(X2GoProxyBASE):
        PROXY_CMD = "sleep"

        def run(self) -> None:
            door = Door(1)
            self.proxy = subprocess.Popen([self.PROXY_CMD, "60"])
            self.fw_tunnel = door
            self.proxy.wait()

    proxy = Own(session_info=info, ssh_transport=Doors(1), sessions_rootdir=tmp_path)
    process, up = proxy.start_proxy(10)
    assert up
    assert process is not None
    proxy.stop_thread()
    assert process.returncode is not None
    assert not proxy.ok()


def test_the_session_is_told_of_an_end_that_nobody_asked_for(
    info: X2GoServerSessionInfo, display: ClientDisplay, listener: socket.socket, tmp_path: Path, nobody: int
) -> None:
    class Session:
        def __init__(self) -> None:
            self.told: list[object] = []

        def proxy_has_ended(self, proxy: object) -> None:
            self.told.append(proxy)

    session = Session()
    for port, told in ((nobody, 1), (listener.getsockname()[1], 0)):
        proxy = X2GoProxyNX3(
            session_info=info,
            ssh_transport=Doors(port),
            sessions_rootdir=tmp_path,
            session_instance=session,
            display=display.name,
            xauthority=display.xauthority,
        )
        proxy.start_proxy(60 if told else 0.3)
        proxy.stop_thread()
        assert session.told == [proxy] * told
        session.told.clear()


def test_an_agent_that_says_nothing_and_the_files_it_is_given(
    info: X2GoServerSessionInfo, display: ClientDisplay, listener: socket.socket, tmp_path: Path
) -> None:
    before = len(os.listdir("/proc/self/fd"))
    proxy = X2GoProxyNX3(
        session_info=info,
        ssh_transport=Doors(listener.getsockname()[1]),
        sessions_rootdir=tmp_path / "sessions",
        display=display.name,
        xauthority=display.xauthority,
    )
    started = time.monotonic()
    with pytest.raises(X2GoTimeOutException, match="did not show the session in time"):
        proxy.bring_up(Deadline.after(1))
    assert time.monotonic() - started < 30, "an agent that is silent for so long is given up by nxproxy"
    assert eventually(lambda: proxy.proxy), "the time may be over before nxproxy was started"
    container = tmp_path / "sessions" / f"S-{info.name}"
    options = (container / "options").read_text()
    assert options.startswith("nx/nx,retry=5,composite=1,")
    assert f",port={listener.getsockname()[1]}," in options
    assert ",connect=127.0.0.1," in options
    assert f",cookie={COOKIE}," in options
    assert options.endswith(f"errors={container}/session.err:50")
    assert (container / "options").stat().st_mode & 0o777 == 0o600
    process = proxy.proxy
    assert process is not None
    assert COOKIE not in Path(f"/proc/{process.pid}/cmdline").read_text()
    proxy.stop_thread()
    assert process.returncode is not None
    assert not proxy.is_alive()
    assert eventually(lambda: len(os.listdir("/proc/self/fd")) <= before)
    assert container.is_dir()  # a folder the user named is the user's


def test_a_folder_nxproxy_cannot_name(info: X2GoServerSessionInfo, tmp_path: Path) -> None:
    proxy = X2GoProxyNX3(session_info=info, ssh_transport=Doors(1), sessions_rootdir=tmp_path / "a,b")
    with pytest.raises(X2GoParameterError, match="in its name"):
        proxy.bring_up(Deadline.after(5))
    proxy.stop_thread()
