"""Targets of the lab with an X2Go server, and proof that nothing is left on either side."""

from __future__ import annotations

import os
import socket
import tempfile
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from crl.interactivesessions.shells.shell import Shell
from crl.interactivesessions.shells.sshshell import SshShell
from crl.interactivesessions.shells.sudoshell import SudoShell
from crl.lab import Lab
from crl.targets import Target
from crl.x2go import X2GoSession, list_sessions

OpenTarget = Callable[..., Target]
Session = Callable[..., X2GoSession]
QUIET = {"geometry": "640x480", "link": "lan", "pack": "nopack", "kbtype": "pc105/us", "kblayout": "us"}

FOLDER = Path(__file__).parent
REMAINS = r"""
u=$1; h=$2
ps -o args= -u "$u" | grep -E 'x2go|xterm|openbox|dbus' | grep -v grep
ls -d /tmp/.x2go-"$u"/* "$h"/.x2go/C-* /tmp/.x2go-"$u" 2>/dev/null
find /tmp/.X11-unix -user "$u" 2>/dev/null
# The server's own Xsession leaves a file with an asterisk behind when it is ended while it tries whether it can write.
find /tmp -maxdepth 1 -user "$u" -name 'tmp.*' -size +2c 2>/dev/null
[ -s "$h/.Xauthority" ] && xauth -f "$h/.Xauthority" list
true
"""


@dataclass(frozen=True)
class Remains:
    """What of X2Go there is on a server for one user, and on the controller for this process."""

    server: frozenset[str]
    children: frozenset[str]
    files: frozenset[str]
    descriptors: int

    def new_since(self, before: Remains) -> list[str]:
        """What was not there before."""
        new = [*(self.server - before.server), *(self.children - before.children), *(self.files - before.files)]
        more = self.descriptors - before.descriptors
        return [*new, f"{more} descriptors"] if more > 0 else new


def remains_of(lab: Lab, host: str, login: str) -> Remains:
    found = lab.host(host).exec(["sh", "-c", REMAINS, "sh", login, f"/home/{login}"]).stdout.decode()
    temporary = [str(path) for path in Path(tempfile.gettempdir()).iterdir()]
    return Remains(
        server=frozenset(found.splitlines()),
        children=frozenset(children()),
        files=frozenset(temporary),
        descriptors=len(os.listdir("/proc/self/fd")),
    )


def children() -> Iterator[str]:
    """Command lines of this process's children, zombies included."""
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            # All processes of the machine are looked at, with whatever bytes in their names.
            status = Path(f"/proc/{entry}/stat").read_text(errors="replace")
            command = Path(f"/proc/{entry}/cmdline").read_text(errors="replace").replace("\0", " ")
        except OSError:
            continue  # it ended meanwhile
        if int(status.rpartition(")")[2].split()[1]) == os.getpid():
            yield f"{entry} {command or status}"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A dozen steps of a real server may each take their time, whatever else runs beside it; each has its own limit."""
    for item in items:
        if FOLDER in item.path.parents and "lab" in item.keywords and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(300))


@pytest.fixture(autouse=True)
def own_temporary_folder(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where this process's temporary files go: others on this machine run sessions too."""
    folder = tmp_path_factory.mktemp("temporary")
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture
def open_target(lab: Lab) -> Iterator[OpenTarget]:
    """Make targets: ``open_target("alpha", "zsh")``, with ``sudo_to="ashuser"``; closed at the end."""
    opened: list[Target] = []

    def make(host: str, role: str = "zsh", *, sudo_to: str | None = None) -> Target:
        user = lab.host(host).users[role]
        # No lane change: pictures would begin one in the middle of a test that counts processes and descriptors.
        ssh = SshShell(f"{host}-{role}", config=str(lab.ssh_config), password=user.password, lane_change=False)
        shells: list[Shell] = [ssh]
        if sudo_to is not None:
            shells.append(SudoShell(f"sudo -u {sudo_to} bash", password=user.password))
        return opened_one(shells, host)

    def opened_one(shells: list[Shell], name: str) -> Target:
        target = Target(shells, name=name)
        opened.append(target)
        return target.connect()

    yield make
    for target in opened:
        target.close()


@pytest.fixture
def alpha(open_target: OpenTarget) -> Target:
    """The account of the tests on the X2Go server that is reached directly."""
    return open_target("alpha", "zsh")


@pytest.fixture
def session() -> Iterator[Session]:
    """Make sessions with small, exact pictures; whatever is left of them is ended with the test."""
    made: list[X2GoSession] = []

    def make(target: Target, **options: Any) -> X2GoSession:
        made.append(X2GoSession(target=target, **{**QUIET, **options}))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def nothing_left(lab: Lab, alpha: Target) -> Iterator[None]:
    """After the test both sides are as before it: processes, files, sockets, cookies, descriptors, the list."""
    listed = dict(list_sessions(alpha))
    before = remains_of(lab, "alpha", "zshuser")
    yield
    wait_until_gone(lambda: remains_of(lab, "alpha", "zshuser").new_since(before))
    # One that was ending before may have gone meanwhile.
    assert list_sessions(alpha).keys() <= listed.keys()


def wait_until_gone(left: Callable[[], Collection[str]], seconds: float = 90.0) -> None:
    """Wait until one look sees that nothing is left; fail with what is.

    Not two looks: the server's daemon may come once more, for a moment, for a session that has just ended.
    """
    end = time.monotonic() + seconds
    while seen := left():
        assert time.monotonic() < end, f"left: {sorted(seen)}"
        time.sleep(0.1)


def listens(path: str | Path) -> bool:
    """Whether somebody listens on a socket; its file is there a moment before."""
    with socket.socket(socket.AF_UNIX) as sock:
        return sock.connect_ex(str(path)) == 0


def wait_until(holds: Callable[[], bool], seconds: float = 90.0) -> None:
    """Give the kernel and the server time for what they do after we have been told that it is done."""
    end = time.monotonic() + seconds
    while not holds() and time.monotonic() < end:
        time.sleep(0.1)
