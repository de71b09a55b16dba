"""python-x2go's small functions do what their names say, for str and bytes, without evaluating anything."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import paramiko
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crl.x2go import ClientDisplay, defaults, utils
from crl.x2go.backends.info.plain import X2GoServerSessionInfo
from crl.x2go.backends.profiles.file import X2GoSessionProfiles
from crl.x2go.x2go_exceptions import (
    X2GoBackendException,
    X2GoParameterError,
    X2GoTimeOutException,
)

LINE = "18885|pat-50-1795219224_stDOPENBOX_dp24|50|vm|R|2026-11-21T00:00:24|cookie|127.0.0.1|1|2|x|pat|4|3|-1|-1"


def test_sessions_by_their_names() -> None:
    name = LINE.split("|")[1]
    for stdout in (LINE + "\n", LINE.encode(), ["x\n", LINE + "\n"], [b"x\n", LINE.encode()]):
        assert utils.find_session_line_in_x2golistsessions(name, stdout) == LINE
        assert utils.find_session_line_in_x2golistsessions("pat-50", stdout) is None
    names = ["a-b-51-1795219230_stDKDE_dp24", "pat-50-1795219224_stR-x_dp24", "odd"]
    assert utils.session_names_by_timestamp(dict.fromkeys(names)) == [names[2], names[1], names[0]]


@pytest.mark.parametrize(
    ("value", "slug"), [("Büro 2: Bericht.pdf", "buro-2-berichtpdf"), ("../../etc/passwd", "etcpasswd"), ("", "")]
)
def test_slugify(value: str, slug: str) -> None:
    assert utils.slugify(value) == slug


@given(st.text())
def test_a_slug_is_a_harmless_name(value: str) -> None:
    assert set(utils.slugify(value)) <= set("abcdefghijklmnopqrstuvwxyz0123456789_-")


@pytest.mark.parametrize(
    ("a", "op", "b"),
    [
        ("4.1.0.3", "<", "4.1.0.10"),
        ("4.1.0.3-7+deb12u1", ">", "4.1.0.3"),
        ("4.1", "==", "4.1.0"),
        ("4.1.0rc1", "<", "4.1.0.1"),
        ("4.1.0", "!=", "4.1.1"),
        ("4.1.0", ">=", "4.0.9"),
        ("4.1.0", "<=", "4.1.0"),
    ],
)
def test_versions(a: str, op: str, b: str) -> None:
    assert utils.compare_versions(a, op, b) is True
    with pytest.raises(X2GoParameterError, match="cannot be compared"):
        utils.compare_versions(a, "or __import__('os')", b)


def test_lists() -> None:
    assert utils.unique(["b", "a", "b"]) == ["b", "a"]
    assert utils.merge_ordered_lists(["a", "c"], ["a", "b", "c", "d"]) == ["a", "b", "c", "d"]


def test_backends() -> None:
    assert utils._get_backend_class("FILE", "X2GoSessionProfiles") is X2GoSessionProfiles
    assert utils._get_backend_class("default", "X2GoServerSessionInfo") is X2GoServerSessionInfo
    assert utils._get_backend_class(dict, "X2GoProxy") is dict
    for name in ("GCONF", "os; import os"):
        with pytest.raises(X2GoBackendException, match="no backend") as error:
            utils._get_backend_class(name, "X2GoSessionProfiles")
        assert error.value.advice == "known: FILE, HTTPBROKER, SSHBROKER"
    assert utils._get_backend_class("SSHBROKER", "X2GoSessionProfiles")().get_broker_type() == "ssh"


def test_files_and_programs(tmp_path: Path) -> None:
    target = tmp_path / "new" / "file"
    utils.touch_file(target)
    assert target.read_bytes() == b""
    assert target.parent.stat().st_mode & 0o777 == 0o700
    utils.patiently_remove_file(target.parent, "file")
    utils.patiently_remove_file(target.parent, "file")
    assert not target.exists()
    assert utils.which("sh")
    assert utils.which("no-such-program-at-all") is None
    assert [utils.is_abs_path(path) for path in ("/a", "a", "C:\\a", "c:/a", "C:a")] == [True, False, True, True, False]
    assert "UTF-8" in utils.known_encodings()
    assert utils.get_encoding()


def test_a_file_that_cannot_be_removed_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "folder").mkdir()
    monkeypatch.setattr(utils, "REMOVE_PATIENCE", 0.05)
    monkeypatch.setattr(utils, "REMOVE_STEP", 0.01)
    with pytest.raises(OSError, match="folder"):
        utils.patiently_remove_file(tmp_path, "folder")


def test_ports() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        assert utils.detect_unused_port(preferred_port=port) not in (0, port)
    assert utils.detect_unused_port(preferred_port=port) == port


def test_keys() -> None:
    line, key = utils.genkeypair("pat", "127.0.0.1", key_type="ECDSA")
    assert line == f"no-X11-forwarding,no-pty,no-user-rc {key.get_name()} {key.get_base64()} pat@127.0.0.1"
    line, key = utils.genkeypair("pat", "127.0.0.1")
    assert isinstance(key, paramiko.RSAKey)
    assert key.get_bits() == 3072
    with pytest.raises(X2GoParameterError, match="DSA"):
        utils.genkeypair("pat", "127.0.0.1", key_type="DSA")


def test_small_things() -> None:
    assert utils.is_in_nx3packmethods("16m-jpeg-9")
    assert not utils.is_in_nx3packmethods("16m-jpeg-10")
    assert len(utils._genSessionProfileId()) == 20
    assert utils._checkIniFileDefaults({"a": {}})
    assert not utils._checkIniFileDefaults({"a": 1})
    assert utils._checkSessionProfileDefaults({})
    assert not utils._checkSessionProfileDefaults([])
    assert utils._convert_SessionProfileOptions_2_SessionParams({"name": "n"})["profile_name"] == "n"
    depths = [(24, 24), (24, 32), (16, 17), (0, 8), (24, 16)]
    assert [utils.is_color_depth_ok(*pair) for pair in depths] == [True, True, True, True, False]


def test_progress() -> None:
    event = threading.Event()
    steps = iter([10, 50, 100, 7])

    def status() -> int:
        event.set()
        return next(steps)

    event.set()
    assert list(utils.ProgressStatus(event, status)) == [10, 50, 100]
    event.set()
    assert list(utils.ProgressStatus(event, lambda: -1)) == [-1]
    with pytest.raises(X2GoTimeOutException, match="no progress"):
        next(utils.ProgressStatus(threading.Event(), status, timeout=0.01))
    event.set()
    assert next(utils.ProgressStatus(event)) == 0


# The display.


def test_without_a_display(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (None, ":64999"):
        monkeypatch.delenv("DISPLAY", raising=False)
        if name:
            monkeypatch.setenv("DISPLAY", name)
        assert utils.local_color_depth() == 24
        assert [utils.get_desktop_geometry(), utils.get_workarea_geometry()] == [None, None]
        assert utils.xkb_rules_names() is None
        assert defaults.X_DISPLAY is None
        assert utils.find_session_window("x") is None


WINDOW = """
import sys
from Xlib import X, display
d = display.Display()
w = d.screen().root.create_window(0, 0, 50, 50, 0, d.screen().root_depth)
w.set_wm_name("X2GO-pat-50-1")
w.set_wm_class("X2GoAgent", "X2GoAgent")
w.map()
d.sync()
print("ready", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def display(monkeypatch: pytest.MonkeyPatch) -> Any:
    with ClientDisplay.start() as started:
        monkeypatch.setenv("DISPLAY", started.name)
        if started.xauthority is not None:
            monkeypatch.setenv("XAUTHORITY", str(started.xauthority))
        yield started


@pytest.mark.lab
@pytest.mark.usefixtures("display")
def test_our_display_and_the_window_of_a_session() -> None:
    assert utils.local_color_depth() == 24
    geometry = utils.get_desktop_geometry()
    assert geometry is not None
    area = utils.get_workarea_geometry()
    assert area is None or (0 < area[0] <= geometry[0] and 0 < area[1] <= geometry[1])
    rules = utils.xkb_rules_names()
    assert rules is not None
    assert set(rules) == {"rules", "model", "layout", "variant", "options"}
    process = subprocess.Popen([sys.executable, "-c", WINDOW], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        window = utils.find_session_window("pat-50-1")
        assert window.name == "X2GO-pat-50-1"
        utils.set_session_window_title(window, "Büro")
        utils.raise_session_window(window)
        found = utils.find_session_window("Büro")
        assert found.id == window.id
        process.communicate("", timeout=30)
