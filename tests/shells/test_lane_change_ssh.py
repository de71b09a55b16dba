"""A link over one SSH hop goes over to a channel without a terminal and back with both backends, and leaves nothing."""

from __future__ import annotations

import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from crl.channels import ChannelStartError
from crl.deadlines import Deadline
from crl.interactivesessions import BashShell, SshShell
from crl.interactivesessions.InteractiveSession import InteractiveSession
from crl.lab import Lab
from crl.link import Link
from tests.channels.conftest import Sshd, running_sshd
from tests.link.peers import alive, eventually
from tests.link.storm import Storm

BACKENDS = ["openssh", "paramiko"]
MUCH = 8 * 1024 * 1024
# Gives a terminal what it asks for, and anything else nothing.
ONLY_TERMINALS = """ForceCommand test -t 0 && eval "$SSH_ORIGINAL_COMMAND" || echo no\n"""


@pytest.fixture(scope="module")
def sshd() -> Iterator[Sshd]:
    with running_sshd() as server:
        yield server


def shell_on(server: Sshd, backend: str, **options: object) -> SshShell:
    given = {"port": server.port, "identity": server.folder / "id", "config": "none", "known_hosts": server.known_hosts}
    return SshShell("127.0.0.1", "root", backend=backend, **{**given, **options})  # type: ignore[arg-type]


class Connected:
    """A session and its link."""

    def __init__(self, *shells: SshShell | BashShell, lane_change: bool = True) -> None:
        self.session = InteractiveSession()
        self.session.spawn(shells[0])
        for shell in shells[1:]:
            self.session.push(shell)
        self.link = Link.start(self.session.lane(), timeout=30, lane_change=lane_change)
        assert eventually(lambda: self.link.resumable, 15), self.link.why_not_resumable

    def move(self) -> None:
        """Bulk, and with it the change."""
        data = os.urandom(MUCH)
        assert self.link.invoke("bytes", data, timeout=60) == data
        assert eventually(lambda: self.link.beside, 20), self.link.why_no_lane_change

    def refuses(self) -> str:
        """Why bulk leaves the link where it is."""
        data = os.urandom(MUCH)
        assert self.link.invoke("bytes", data, timeout=60) == data
        assert eventually(lambda: self.link.why_no_lane_change is not None, 20)
        assert not self.link.beside
        return str(self.link.why_no_lane_change)

    def prompt_is_exact(self) -> bool:
        given_back = self.link.close()
        shell = self.session.current_shell()
        return given_back and shell.exec_command("echo back") == "back\r\n" and shell.get_status_code() == 0

    def close(self) -> None:
        self.link.close()
        self.session.close_terminal()


@contextmanager
def connected(*shells: SshShell | BashShell, lane_change: bool = True) -> Iterator[Connected]:
    one = Connected(*shells, lane_change=lane_change)
    try:
        yield one
    finally:
        one.close()


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where temporary files of this process go; its path is short, for that of a unix socket has an end."""
    with tempfile.TemporaryDirectory(prefix="t") as short:
        monkeypatch.setattr(tempfile, "tempdir", short)
        yield Path(short)


def helpers() -> list[int]:
    """The programs beside terminals that this process has started."""
    found = []
    for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text(encoding="ascii").split():
        with suppress(FileNotFoundError, ProcessLookupError):  # it has ended and was waited for meanwhile
            if b"\0beside\0" in Path(f"/proc/{pid}/cmdline").read_bytes():
                found.append(int(pid))
    return found


def waiting_beside(server: Sshd) -> list[int]:
    """The shells that wait at the far end of channels beside terminals; the far end is this machine, too."""
    connection = f" {server.port}\0".encode()
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
                waits = words[0] == b"/bin/sh" and b"read -r crl_l" in b" ".join(words) and alive(int(entry.name))
                # Others may have theirs on this machine.
                if waits and connection in (entry / "environ").read_bytes():
                    found.append(int(entry.name))
            except (FileNotFoundError, ProcessLookupError, PermissionError):
                continue
    return found


@pytest.mark.parametrize("backend", BACKENDS)
def test_there_and_the_prompt_comes_back(sshd: Sshd, backend: str, folder: Path) -> None:
    before, logins = len(os.listdir("/proc/self/fd")), sshd.auth_requests()
    with connected(shell_on(sshd, backend)) as one:
        assert list(folder.iterdir()) == [], "the way to the connection has a name"
        asked = sshd.auth_requests()
        one.move()
        assert list(folder.iterdir()) == []
        assert sshd.auth_requests() == asked, "another login was needed"
        # Between its fork and its exec a child of that shell looks like it.
        assert eventually(lambda: len(waiting_beside(sshd)) == 1)
        assert one.prompt_is_exact()
        assert eventually(lambda: not waiting_beside(sshd))
        assert eventually(lambda: not helpers())
    assert asked > logins
    assert eventually(lambda: len(os.listdir("/proc/self/fd")) <= before + 1), "descriptors stay"


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_host_may_end_the_other_channel_at_any_moment(sshd: Sshd, backend: str) -> None:
    chance = random.Random(3)
    with connected(shell_on(sshd, backend)) as one:
        storm = Storm(one.link)
        try:
            for number in range(5):
                one.move()
                changes = one.link.statistics.lane_changes
                time.sleep(chance.uniform(0.0, 0.05))
                for pid in waiting_beside(sshd):
                    os.kill(pid, signal.SIGKILL)
                resumed = number + 1
                assert eventually(lambda resumed=resumed: one.link.statistics.resumed == resumed, 15)  # type: ignore[misc]
                # The storm's calls are many enough to change again.
                assert eventually(lambda: not one.link.beside or one.link.statistics.lane_changes > changes)  # noqa: B023
                one.link.engine.bulk.start(1, one.link._change_lane)
            storm.end()
        except BaseException:
            storm.abort()
            raise
        assert one.prompt_is_exact()
    assert eventually(lambda: not waiting_beside(sshd))


def test_the_program_beside_the_terminal_may_be_killed(sshd: Sshd) -> None:
    with connected(shell_on(sshd, "openssh")) as one:
        one.move()
        (pid,) = helpers()
        os.kill(pid, signal.SIGKILL)
        assert one.link.evaluate("7", timeout=15) == 7
        assert eventually(lambda: not one.link.beside)
        assert one.prompt_is_exact()


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_lost_connection_is_resumed_and_left_again(sshd: Sshd, backend: str) -> None:
    with connected(shell_on(sshd, backend)) as one:
        one.move()
        pid = one.link.facts.pid
        one.session.terminal.channel.close()
        if backend == "paramiko":
            one.session.terminal.close()
        assert one.link.evaluate("__import__('os').getpid()", timeout=20) == pid
        assert eventually(lambda: not one.link.beside)
        one.link.engine.bulk.start(1, one.link._change_lane)
        one.move()
        assert one.prompt_is_exact()
    assert eventually(lambda: not waiting_beside(sshd))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("config", ["MaxSessions 1\n", ONLY_TERMINALS], ids=["MaxSessions", "ForceCommand"])
def test_a_host_that_opens_no_other_session_keeps_the_terminal(config: str, backend: str) -> None:
    with running_sshd(config) as server, connected(shell_on(server, backend)) as one:
        asked = server.auth_requests()
        assert "session" in one.refuses()
        assert server.auth_requests() == asked, "another login was tried"
        assert one.link.evaluate("7") == 7
        assert eventually(lambda: not helpers())
        assert one.prompt_is_exact()


@pytest.mark.parametrize("backend", BACKENDS)
def test_it_can_be_switched_off(sshd: Sshd, backend: str, folder: Path) -> None:
    with connected(shell_on(sshd, backend, lane_change=False)) as one:
        assert one.refuses() == "there is no other channel of its connection"
    with connected(shell_on(sshd, backend), lane_change=False) as one:
        assert one.refuses() == "it is switched off"
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("lane_change", [True, False])
def test_a_command_beside_the_link(sshd: Sshd, backend: str, lane_change: bool, folder: Path) -> None:
    script = "import os, sys; os.write(1, b'here\\n'); sys.exit(len(sys.stdin.readline()))"
    with connected(shell_on(sshd, backend, lane_change=lane_change)) as one:
        stream = one.session.open_channel([sys.executable, "-c", script, "it's $HOME"], Deadline.after(20))
        assert stream.read_line(Deadline.after(20)) == b"here"
        assert one.link.evaluate("7") == 7, "the link minds its own"
        stream.write(b"four\n")
        assert stream.read() == b""
        assert stream.wait(20) == 5
        stream.close()
        assert one.prompt_is_exact()
    assert list(folder.iterdir()) == []
    assert not helpers()


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_command_beside_ends_with_the_connection(sshd: Sshd, backend: str) -> None:
    with connected(shell_on(sshd, backend)) as one:
        stream = one.session.open_channel(["cat"], Deadline.after(20))
        stream.write(b"x\n")
        assert stream.read_line(Deadline.after(20)) == b"x"
    assert stream.read() == b""
    assert stream.wait(20) != 0
    stream.close()
    assert eventually(lambda: not helpers())


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("config", ["MaxSessions 1\n", ONLY_TERMINALS], ids=["MaxSessions", "ForceCommand"])
def test_a_host_that_runs_no_command_beside(config: str, backend: str) -> None:
    with running_sshd(config) as server, connected(shell_on(server, backend)) as one:
        with pytest.raises(ChannelStartError, match="session"):
            one.session.open_channel(["cat"], Deadline.after(20))
        assert one.link.evaluate("7") == 7
        assert eventually(lambda: not helpers())


def test_behind_a_second_shell_nothing_is_beside(sshd: Sshd) -> None:
    with connected(shell_on(sshd, "openssh"), BashShell("sh -i")) as one:
        with pytest.raises(ChannelStartError, match="single shell over SSH"):
            one.session.open_channel(["cat"], Deadline.after(20))
        assert one.link.evaluate("7") == 7


def test_a_control_socket_of_the_users_own_stays_theirs(sshd: Sshd, folder: Path) -> None:
    with connected(shell_on(sshd, "openssh", options=("ControlMaster=auto", f"ControlPath={folder}/mine"))) as one:
        assert [path.name for path in folder.iterdir()] == ["mine"]
        assert one.refuses() == "there is no other channel of its connection"


def test_a_folder_that_cannot_be_had_costs_the_change_only(sshd: Sshd, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_args: object, **_kwargs: object) -> str:
        raise OSError("no space left on device")

    monkeypatch.setattr(tempfile, "mkdtemp", refuse)
    with connected(shell_on(sshd, "openssh")) as one:
        assert one.refuses() == "there is no other channel of its connection"


def test_a_failed_login_leaves_nothing(sshd: Sshd, folder: Path) -> None:
    with pytest.raises(Exception, match="key"):
        InteractiveSession().spawn(shell_on(sshd, "openssh", identity=sshd.folder / "other"))
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("backend", BACKENDS)
def test_behind_a_second_shell_the_terminal_is_all_there_is(sshd: Sshd, backend: str) -> None:
    with connected(shell_on(sshd, backend), BashShell()) as one:
        assert one.refuses() == "there is no other channel of its connection"
        assert one.prompt_is_exact()


@pytest.mark.lab
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("role", ["bash", "dash", "zsh", "fish", "tcsh", "ash", "nasty"])
def test_every_login_shell(lab: Lab, role: str, backend: str) -> None:
    with connected(SshShell(f"alpha-{role}", config=lab.ssh_config, backend=backend)) as one:
        one.move()
        assert one.prompt_is_exact()


@pytest.mark.lab
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_host_behind_another(lab: Lab, backend: str) -> None:
    with connected(SshShell("gamma", config=lab.ssh_config, backend=backend)) as one:
        one.move()
        assert one.prompt_is_exact()
