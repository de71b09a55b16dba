"""A real X server of this machine: its windows, pictures, and what goes wrong with it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from PIL import ImageChops

from crl.deadlines import Deadline
from crl.display import (
    DisplayAccessDenied,
    DisplayError,
    DisplayLost,
    DisplayTimeout,
    Geometry,
    LocalDisplay,
    NoSuchDisplay,
    NoSuchWindow,
)
from crl.display import display as display_module
from crl.display._access import LocalDialer
from crl.display._wire import Wire
from crl.display._xconnection import XConnection
from crl.display.names import DisplayName
from crl.x2go import ClientDisplay
from tests.display.conftest import Show
from tests.link.peers import PATIENCE, eventually, freeze


def shell_title(title: str) -> tuple[str, ...]:
    return ("xterm", "-title", title, "-geometry", "40x10+100+120", "-e", "sh", "-c", "exec sleep 60")


def test_a_window_is_waited_for_by_events_and_listed(xvfb: ClientDisplay, show: Show) -> None:
    started = threading.Timer(0.3, show, shell_title("by events"))
    started.start()
    window = xvfb.screen.wait_for_window("by events", PATIENCE)
    assert window.wm_class == ("xterm", "XTerm")
    assert window.viewable
    # The same one; the window manager may have put it somewhere else meanwhile.
    assert window.id in [one.id for one in xvfb.screen.windows()]
    assert len(xvfb.screen.windows(every=True)) > len(xvfb.screen.windows())
    started.join()


def test_a_window_that_does_not_come_is_an_error_with_those_that_are_there(xvfb: ClientDisplay, show: Show) -> None:
    show(*shell_title("the only one"))
    xvfb.screen.wait_for_window("the only one", PATIENCE)
    started = time.monotonic()
    with pytest.raises(DisplayTimeout, match="no window 'another' came within") as caught:
        xvfb.screen.wait_for_window("another", 4)
    assert 3.9 < time.monotonic() - started < 20
    assert "the only one" in str(caught.value)


@pytest.mark.parametrize("looks", [0, 1])
def test_a_server_that_is_slow_is_not_one_without_windows(
    xvfb: ClientDisplay, show: Show, monkeypatch: pytest.MonkeyPatch, looks: int
) -> None:
    really = display_module._look
    done: list[object] = []

    def stopping(*args: Any) -> Any:
        if len(done) == looks:
            freeze(xvfb.pids[0])
        done.append(args)
        return really(*args)

    show(*shell_title("the only one"))
    xvfb.screen.wait_for_window("the only one", PATIENCE)
    monkeypatch.setattr(display_module, "_look", stopping)
    try:
        with pytest.raises(DisplayTimeout, match="no window 'another' came within") as caught:
            xvfb.screen.wait_for_window("another", 6 if looks else 3)
    finally:
        os.kill(xvfb.pids[0], signal.SIGCONT)
    assert ("the only one" if looks else "did not say in time") in str(caught.value)
    assert "(no windows)" not in str(caught.value)


def test_a_title_that_changes_is_seen(xvfb: ClientDisplay, show: Show, tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    os.mkfifo(seen)
    show("xterm", "-title", "before", "-e", "sh", "-c", f"read _ <{seen}; printf '\\033]2;after\\007'; exec sleep 60")
    xvfb.screen.wait_for_window("before", PATIENCE)
    seen.write_text("\n")
    assert xvfb.screen.wait_for_window("after", PATIENCE).name == "after"


def test_pictures_of_screen_window_and_area(xvfb: ClientDisplay, show: Show) -> None:
    before = xvfb.screen.picture()
    assert before.size == (1024, 768)
    show(*shell_title("white"))
    window = xvfb.screen.wait_for_window("white", PATIENCE)
    part = xvfb.screen.picture(window)
    assert part.size == (window.geometry.width, window.geometry.height)
    middle = (part.width // 2, part.height // 2)
    white = (255, 255, 255)
    assert eventually(lambda: xvfb.screen.picture(window).getpixel(middle) == white), "the xterm never became white"
    area = Geometry(window.geometry.x, window.geometry.y, 33, 65)
    box = (area.x, area.y, area.x + 33, area.y + 65)

    def are_alike() -> bool:
        whole = xvfb.screen.picture()
        return ImageChops.difference(xvfb.screen.picture(area=area), whole.crop(box)).getbbox() is None

    assert eventually(are_alike), "beyond what is drawn between the two, as a cursor that gets the focus"


def test_a_picture_has_the_pixels_that_were_drawn(xvfb: ClientDisplay) -> None:
    environment = {**os.environ, "DISPLAY": xvfb.name, "XAUTHORITY": str(xvfb.xauthority)}
    subprocess.run(["xsetroot", "-solid", "#123456"], env=environment, check=True, timeout=60)
    assert xvfb.screen.picture(area=Geometry(0, 700, 5, 68)).getcolors() == [(5 * 68, (0x12, 0x34, 0x56))]
    subprocess.run(["xsetroot", "-solid", "black"], env=environment, check=True, timeout=60)


def test_what_is_not_there_is_said(xvfb: ClientDisplay) -> None:
    with pytest.raises(NoSuchWindow, match="not there any more"):
        xvfb.screen.picture(0x7FFFFFF)
    with pytest.raises(NoSuchWindow, match="outside"):
        xvfb.screen.picture(area=Geometry(5000, 0, 10, 10))
    with pytest.raises(NoSuchDisplay, match="no X server answers on :4711"):
        LocalDisplay(":4711").windows()


def test_without_the_cookie_the_server_refuses_us(xvfb: ClientDisplay, tmp_path: Path) -> None:
    display = LocalDisplay(xvfb.name, str(tmp_path / "none"))
    with display, pytest.raises(DisplayAccessDenied, match="refused"):
        display.windows()


def test_many_threads_share_one_display(xvfb: ClientDisplay, show: Show) -> None:
    show(*shell_title("shared"))
    xvfb.screen.wait_for_window("shared", PATIENCE)
    problems: list[BaseException | str] = []

    def look() -> None:
        try:
            for _ in range(5):
                if not any(window.name == "shared" for window in xvfb.screen.windows()):
                    problems.append("not listed")
                if xvfb.screen.picture().size != (1024, 768):
                    problems.append("wrong size")
        except DisplayError as error:
            problems.append(error)

    threads = [threading.Thread(target=look) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(90)
    assert problems == []
    assert not any(thread.is_alive() for thread in threads)


@pytest.fixture
def mortal() -> ClientDisplay:
    """A display of the test's own, to be killed or stopped."""
    return ClientDisplay.start((640, 480))


def test_a_server_that_dies_is_told_and_a_waiter_wakes_up(
    mortal: ClientDisplay, monkeypatch: pytest.MonkeyPatch
) -> None:
    with mortal:
        assert mortal.screen.size() == (640, 480)
        waits = threading.Event()
        really = XConnection.await_events

        def waiting(connection: XConnection, deadline: Deadline) -> bool:
            waits.set()
            return really(connection, deadline)

        def kill() -> None:
            assert waits.wait(PATIENCE)
            os.kill(mortal.pids[0], signal.SIGKILL)

        monkeypatch.setattr(XConnection, "await_events", waiting)
        killer = threading.Thread(target=kill)
        killer.start()
        started = time.monotonic()
        with pytest.raises(DisplayLost, match=r"closed the connection|broke"):
            mortal.screen.wait_for_window("never", 60)
        assert time.monotonic() - started < 50
        killer.join()
        with pytest.raises(DisplayError):
            mortal.screen.windows()


def test_a_server_that_hangs_is_told_in_time(mortal: ClientDisplay) -> None:
    with mortal, LocalDisplay(mortal.name, str(mortal.xauthority), timeout=4) as display:
        assert display.size() == (640, 480)
        freeze(mortal.pids[0])
        try:
            with pytest.raises(DisplayTimeout, match="did not answer in time"):
                display.windows()
            with pytest.raises(DisplayTimeout, match="no window 'any' came within"):
                display.wait_for_window("any", 0.5)
        finally:
            os.kill(mortal.pids[0], signal.SIGCONT)
        assert isinstance(display.windows(), list)  # a new connection is made


@pytest.mark.parametrize(
    "answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n" * 40, b"\x01" + b"\xff" * 4000, b"\x00" * 5000, b""]
)
def test_what_does_not_speak_x11_is_told(answer: bytes) -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        theirs.sendall(answer)
        theirs.shutdown(socket.SHUT_WR)
        with pytest.raises(DisplayError):
            XConnection(Wire(ours), DisplayName(9), (b"", b""), host="nowhere", deadline=Deadline.after(2))
    assert ours.fileno() == -1


def test_connections_leave_no_descriptor(xvfb: ClientDisplay) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        with LocalDisplay(xvfb.name, str(xvfb.xauthority)) as display:
            display.windows()
            with pytest.raises(DisplayTimeout):
                display.wait_for_window("never", 0.05)
    assert eventually(lambda: len(os.listdir("/proc/self/fd")) <= before)


def test_the_cookie_is_found_in_the_file(xvfb: ClientDisplay) -> None:
    protocol, cookie = LocalDialer().cookie(DisplayName.parse(xvfb.name), str(xvfb.xauthority))
    assert protocol == b"MIT-MAGIC-COOKIE-1"
    assert len(cookie) == 16
    assert xvfb.xauthority is not None
    assert xvfb.xauthority.stat().st_mode & 0o777 == 0o600


def test_all_windows_are_drawn_anew(xvfb: ClientDisplay, show: Show, tmp_path: Path) -> None:
    log = tmp_path / "events"
    show("sh", "-c", f"exec xev -event expose -geometry 50x50+10+10 >{log} 2>&1")
    xvfb.screen.wait_for_window("Event Tester", PATIENCE)

    def exposures() -> int:
        return log.read_text(encoding="utf-8", errors="replace").count("Expose event")

    assert eventually(lambda: exposures() > 0)
    before, windows = exposures(), {window.id for window in xvfb.screen.windows(every=True)}
    xvfb.screen.redraw()
    assert eventually(lambda: exposures() > before)
    # Those of programs that have ended may go meanwhile.
    assert eventually(lambda: {window.id for window in xvfb.screen.windows(every=True)} <= windows)
