"""Python that a login starts for a link: the link finds it there, and the shell is as good as any other afterwards."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from crl.interactivesessions import BashShell, SshShell
from crl.interactivesessions.InteractiveSession import InteractiveSession
from crl.interactivesessions.interactivesessionexceptions import InteractiveSessionError
from crl.interactivesessions.shells._lines import beginning, start_script
from crl.interactivesessions.shells._prompt import Nonce
from crl.lab import Lab
from crl.link import Ahead, Link, LinkLost, PythonNotFound
from crl.targets import Target
from tests.channels.conftest import Sshd, running_sshd
from tests.link.peers import eventually
from tests.shells.test_lines import SHELLS, run

BACKENDS = ["openssh", "paramiko"]
Begin = Callable[..., InteractiveSession]


@pytest.fixture(scope="module")
def sshd() -> Iterator[Sshd]:
    with running_sshd() as server:
        yield server


@pytest.fixture(params=BACKENDS)
def shell(request: pytest.FixtureRequest, sshd: Sshd) -> Callable[..., SshShell]:
    def making(kind: type[SshShell] = SshShell, **options: object) -> SshShell:
        given = {"port": sshd.port, "identity": sshd.folder / "id", "config": "none", "known_hosts": sshd.known_hosts}
        return kind("127.0.0.1", "root", backend=request.param, **{**given, **options})  # type: ignore[arg-type]

    return making


@pytest.fixture
def begin(shell: Callable[..., SshShell]) -> Iterator[Begin]:
    opened: list[InteractiveSession] = []

    def beginning_one(python: str | None = None, **options: object) -> InteractiveSession:
        session = InteractiveSession()
        opened.append(session)
        session.expect_link(python)
        session.spawn(shell(**options))
        return session

    yield beginning_one
    for session in opened:
        session.close_terminal()


def is_exact(session: InteractiveSession) -> bool:
    shell = session.current_shell()
    assert shell.exec_command("echo here; stty size; false") == "here\r\n400 400\r\n"
    return shell.get_status_code() == 1


@pytest.mark.parametrize("shell", SHELLS)
def test_every_shell_runs_the_script(shell: str) -> None:
    first, then = Nonce(), Nonce()
    ahead = Ahead.make()
    assert ahead is not None
    script = start_script(then, first=beginning(first, ahead.script))
    assert not set(script) & set("\\!\n`")
    assert script.count("'") == 2
    output = run(shell, script, Ahead.NOTHING.decode())
    assert output.startswith(f"{first.text}{ahead.token}:3.")
    # The mark of a bad end would stand between the two.
    assert output.endswith(f";{then.text}:bash:\n")
    assert len(output.split(";")) == 2


def test_a_name_that_needs_quotes_is_not_begun() -> None:
    assert Ahead.make("py'thon") is None
    assert Ahead.make("/opt/my python") is None
    assert Ahead.make("/opt/python3.9") is not None


def test_a_link_finds_it_and_the_shell_comes_up_behind_it(begin: Begin) -> None:
    session = begin()
    lane = session.lane()
    assert lane.ahead is not None
    assert lane.trip is not None
    with Link.start(lane, timeout=30) as link:
        assert link.evaluate("6 * 7") == 42
        assert link.close()
    assert is_exact(session)
    # The shell is one as any other: the next link types its line.
    lane = session.lane()
    assert lane.ahead is None
    with Link.start(lane, timeout=30) as link:
        assert link.evaluate("6 * 7") == 42
    assert is_exact(session)


def test_a_shell_that_is_used_first_ends_what_was_begun(begin: Begin) -> None:
    session = begin()
    assert is_exact(session)
    session.push(BashShell())
    assert is_exact(session)
    session.pop()
    assert is_exact(session)


def test_a_session_that_is_not_used_at_all_closes(begin: Begin) -> None:
    session = begin()
    session.close_terminal()
    assert not session.isalive()


@pytest.mark.parametrize("shell", ["openssh"], indirect=True)
def test_a_connection_that_ends_before_anything_is_asked(begin: Begin) -> None:
    session = begin()
    session.terminal.hang_up()
    assert eventually(lambda: not session.isalive())
    for _ in range(2):
        with pytest.raises(InteractiveSessionError):
            session.current_shell().exec_command("echo here", timeout=30)


def test_no_interpreter(begin: Begin) -> None:
    session = begin("there-is-no-such-python")
    with pytest.raises(PythonNotFound):
        Link.start(session.lane(), timeout=30, python="there-is-no-such-python")
    assert is_exact(session)


def test_a_program_that_is_killed_leaves_the_shell(begin: Begin) -> None:
    session = begin()
    link = Link.start(session.lane(), timeout=30, grace=0)
    with pytest.raises(LinkLost, match="SIGKILL"):
        link.evaluate(f"__import__('os').kill(__import__('os').getpid(), {int(signal.SIGKILL)})")
    assert link.close()
    assert is_exact(session)


def test_what_has_to_come_first_comes_first(begin: Begin) -> None:
    for options in ({"workdir": "/usr"}, {"init_env": "content:cd /usr"}, {"command": ""}):
        session = begin(**options)
        lane = session.lane()
        assert lane.ahead is None
        with Link.start(lane, timeout=30) as link:
            assert options == {"command": ""} or link.evaluate("__import__('os').getcwd()") == "/usr"


def _has_resumed(link: Link, times: int) -> bool:
    return link.statistics.resumed == times


@pytest.mark.parametrize("shell", ["openssh"], indirect=True)
def test_a_resume_is_begun_too(begin: Begin) -> None:
    session = begin()
    link = Link.start(session.lane(), timeout=30)
    assert eventually(lambda: link.resumable, 15)
    for times in (1, 2):
        before = link._resumer.lane
        session.terminal.hang_up()
        assert link.evaluate("6 * 7", timeout=30) == 42
        # The answer may be faster than the shells are exchanged.
        assert eventually(partial(_has_resumed, link, times))
        assert link._resumer.lane is not before
        assert link._resumer.lane.ahead is not None
    assert link.close()
    assert is_exact(session)


def test_a_target_is_begun(shell: Callable[..., SshShell]) -> None:
    one = shell()
    with Target([one]) as target:
        assert target.terminal.link._resumer.lane.ahead is not None
        assert target.python.os.getpid() > 0
        with target.shell() as other:
            assert other.exec_command("echo here") == "here\r\n"


def test_shells_of_users_that_ask_first(shell: Callable[..., SshShell], tmp_path: Path) -> None:
    class Asking(SshShell):
        found = ""

        def start(self) -> str:
            output = super().start()
            self.found = self.exec_command("echo found")
            return output

    one = shell(Asking)
    with Target([one]) as target:
        assert isinstance(one, Asking)
        assert one.found == "found\r\n"
        assert target.run(["pwd"], cwd=str(tmp_path)).stdout.strip() == os.fspath(tmp_path)


@pytest.mark.lab
@pytest.mark.parametrize("role", ["bash", "dash", "zsh", "fish", "tcsh", "ash", "nasty"])
def test_every_login_shell(lab: Lab, role: str) -> None:
    session = InteractiveSession()
    session.expect_link(None)
    session.spawn(SshShell(f"alpha-{role}", config=lab.ssh_config))
    try:
        with Link.start(session.lane(), timeout=30) as link:
            assert link.evaluate("6 * 7") == 42
        assert is_exact(session)
    finally:
        session.close_terminal()


def test_a_host_that_runs_something_else_is_refused(shell: Callable[..., SshShell]) -> None:
    with running_sshd("ForceCommand echo no\n") as other:
        session = InteractiveSession()
        session.expect_link(None)
        with pytest.raises(Exception, match="did not start"):
            session.spawn(shell(port=other.port, identity=other.folder / "id", known_hosts=other.known_hosts))
