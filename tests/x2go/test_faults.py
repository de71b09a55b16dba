"""What can happen to a session that runs: its state is the right one soon after, and other sessions go on.

Each fault is a real one on a real server. How long it takes until the session knows is told, not asserted beyond what a
slow machine needs; the issue's bound is three seconds.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from crl.deadlines import Deadline
from crl.errors import CrlError
from crl.lab import Lab, LabHost
from crl.targets import Target
from crl.x2go import (
    AgentState,
    ClientDisplay,
    SessionState,
    X2GoControlSessionException,
    X2GoException,
    X2GoSession,
    X2GoSessionEnded,
    X2GoStateError,
    X2GoTimeOutException,
    list_sessions,
)
from crl.x2go.backends.proxy.nx3 import X2GoProxyNX3
from tests.link.peers import eventually
from tests.x2go.conftest import OpenTarget, Session, remains_of, wait_until, wait_until_gone

pytestmark = pytest.mark.lab
PATIENCE = 30.0
QUIET_XTERM = ["xterm", "-e", "sleep", "600"]  # in which no prompt comes later
Figure = Callable[[str], None]


def becomes(one: X2GoSession, state: SessionState, figure: Figure, what: str) -> None:
    """The session comes to know by itself what it is now; tells how long that took."""
    began = time.monotonic()
    assert eventually(lambda: one.state is state, PATIENCE), f"{what}: {one.state}, really {one.get_state()}"
    figure(f"{what}: {state} after {time.monotonic() - began:.2f} s")


def shown(one: X2GoSession) -> bytes:
    """The pixels that the client's display shows of the session."""
    return one.client_picture().tobytes()


def shown_at_rest(one: X2GoSession) -> bytes:
    """As `shown`, when nothing has been drawn for a second."""
    end = time.monotonic() + 60
    before, since = shown(one), time.monotonic()
    while time.monotonic() - since < 1:
        assert time.monotonic() < end, "something is drawn all the time"
        now = shown(one)
        if now != before:
            before, since = now, time.monotonic()
        time.sleep(0.05)
    return before


def ssh_of_this_process() -> list[int]:
    """Our ssh processes."""
    found = []
    for entry in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            status = Path(f"/proc/{entry}/stat").read_text(errors="replace").rpartition(")")[2].split()
            command = Path(f"/proc/{entry}/cmdline").read_bytes().split(b"\0")
            if int(status[1]) == os.getpid() and command[0].rpartition(b"/")[2] == b"ssh":
                found.append(int(entry))
    return found


def still_the_same(one: X2GoSession, before: bytes, what: str) -> None:
    """Nothing has happened to a session: it runs, its proxy too, and it shows what it showed and what is new."""
    assert one.get_state() is AgentState.RUNNING, what
    assert one.session_ok(), what
    assert eventually(lambda: shown(one) == before, PATIENCE), f"{what}: another picture"
    assert one.verify(["xterm"]).ok


@pytest.fixture
def nothing_left_but_another_ssh(alpha: Target, lab: Lab) -> Iterator[None]:
    """As `nothing_left`, where the link has come to be over another process of ssh."""
    before = remains_of(lab, "alpha", "zshuser")

    def new() -> list[str]:
        return [line for line in remains_of(lab, "alpha", "zshuser").new_since(before) if " ssh -F " not in line]

    yield
    wait_until_gone(new)
    wait_until(lambda: len(ssh_of_this_process()) == 1)
    assert len(ssh_of_this_process()) == 1
    assert list_sessions(alpha) == {}


@pytest.mark.usefixtures("nothing_left_but_another_ssh")
def test_the_connection_is_replaced_under_a_session(
    alpha: Target, session: Session, lab: Lab, figure: Figure
) -> None:
    with session(alpha, cmd=QUIET_XTERM) as one:
        one.start()
        assert one.verify(["xterm"]).ok
        before = shown_at_rest(one)
        for end, what in ((kill_ssh, "ssh killed"), (kill_child_of_sshd, "sshd's child killed")):
            began = time.monotonic()
            end(lab)
            assert alpha.run(["echo", "here"]).stdout == "here\n"
            figure(f"{what}: a command went through after {time.monotonic() - began:.2f} s")
            still_the_same(one, before, what)


def kill_ssh(lab: Lab) -> None:
    processes = ssh_of_this_process()
    assert processes
    for process in processes:
        with contextlib.suppress(ProcessLookupError):  # what runs beside ends with the one that has the connection
            os.kill(process, signal.SIGKILL)


def kill_child_of_sshd(lab: Lab) -> None:
    assert lab.host("alpha").kill("sshd: zshuser@")


@pytest.mark.long
@pytest.mark.timeout(240)
@pytest.mark.usefixtures("nothing_left_but_another_ssh")
@pytest.mark.parametrize("drop", [False, True], ids=["carrier lost", "packets dropped"])
def test_a_link_that_is_down_for_25_seconds(
    drop: bool, alpha: Target, session: Session, lab: Lab, figure: Figure
) -> None:
    host = lab.host("alpha")
    with session(alpha, cmd=QUIET_XTERM) as one:
        one.start()
        assert one.verify(["xterm"]).ok
        before = shown_at_rest(one)
        host.cut(drop=drop)
        try:
            time.sleep(25)
        finally:
            host.restore()
        began = time.monotonic()
        assert alpha.run(["echo", "here"]).stdout == "here\n"
        figure(f"a command went through {time.monotonic() - began:.2f} s after the link was back")
        still_the_same(one, before, "25 s without a link")


@pytest.mark.long
@pytest.mark.usefixtures("nothing_left")
def test_tunnel_and_display_are_lost(alpha: Target, session: Session, lab: Lab, figure: Figure) -> None:
    """And whoever then takes the session finds it in a list full of rubbish."""
    with ClientDisplay.start((640, 480)) as display, session(alpha, cmd="xterm", at_exit="terminate") as one:
        one.start()
        one.wait_for_window("xterm")
        assert one.terminal_session is not None
        assert one.terminal_session.proxy is not None
        tunnel = one.terminal_session.proxy.fw_tunnel
        assert tunnel is not None
        tunnel.drop()  # type: ignore[attr-defined]
        becomes(one, SessionState.SUSPENDED, figure, "tunnel cut")
        assert eventually(lambda: not one.session_ok())
        one.resume()
        assert one.verify(["xterm"]).ok
        proxy = one.terminal_session.proxy
        one.client_display.close()
        becomes(one, SessionState.SUSPENDED, figure, "display lost")
        assert proxy is not None
        assert "X display has gone" in str(proxy.ending())
        assert eventually(lambda: not one.session_ok())
        other = session(alpha, session_name=one.get_session_name(), client_display=display, at_exit="leave")
        with program_before(lab.host("alpha"), "x2golistsessions", GARBLED):
            other.resume()
        assert other.verify(["xterm"]).ok


@pytest.mark.long
@pytest.mark.usefixtures("nothing_left")
def test_the_agent_is_killed_beside_another(alpha: Target, session: Session, figure: Figure) -> None:
    with (
        ClientDisplay.start((1280, 1024)) as display,
        session(alpha, cmd="xterm", client_display=display) as one,
        session(alpha, cmd="xterm", client_display=display) as other,
    ):
        one.start()
        other.start()
        other.wait_for_window("xterm")
        alpha.run(["kill", "-9", str(one.info.agent_pid)], check=True)
        becomes(one, SessionState.TERMINATED, figure, "agent killed")
        assert eventually(lambda: not one.session_ok())
        with pytest.raises((X2GoSessionEnded, X2GoStateError), match=r"ended|terminated"):
            one.suspend()
        assert other.verify(["xterm"]).ok
        assert other.get_session_name() in list_sessions(alpha)


class Idle(X2GoProxyNX3):
    """A proxy that connects to nobody."""

    PROXY_CMD = "sleep"
    seconds = 2.0

    def bring_up(self, deadline: Deadline) -> None:
        super().bring_up(deadline.sooner(self.seconds))

    def _generate_cmdline(self) -> list[str]:
        return [self.PROXY_CMD, "300"]


@pytest.mark.long
@pytest.mark.usefixtures("nothing_left")
def test_a_proxy_that_does_not_come(alpha: Target, session: Session) -> None:
    one = session(alpha, cmd="xterm", proxy_class=Idle)
    with pytest.raises(X2GoTimeOutException, match="did not show the session in time"):
        one.start()


@pytest.mark.long
@pytest.mark.timeout(240)
@pytest.mark.usefixtures("nothing_left")
def test_no_proxy_within_a_minute(alpha: Target, session: Session, figure: Figure) -> None:
    one = session(alpha, cmd="xterm", proxy_class=type("Patient", (Idle,), {"seconds": 80.0}))
    began = time.monotonic()
    with pytest.raises(X2GoException) as caught:
        one.start(timeout=120)
    figure(f"{type(caught.value).__name__} after {time.monotonic() - began:.1f} s; the agent gives up after 60")


@contextlib.contextmanager
def program_before(host: LabHost, name: str, script: str) -> Iterator[None]:
    """A program of that name before the server's own on every PATH."""
    path = f"/usr/local/bin/{name}"
    assert host.exec(["sh", "-c", f"cat > {path} && chmod 755 {path}"], input=script.encode()).returncode == 0
    try:
        yield
    finally:
        host.exec(["rm", path])


GARBLED = r"""#!/bin/sh
echo "some warning of a login script"
printf '\377\376|||\033[31m|%s\n' "not a number|x|y"
/usr/bin/x2golistsessions "$@"
echo '1|2|3'
echo 'x|../../etc|50|alpha|R|then|cookie|1.2.3.4|a|b|now|zshuser|4|c|d|e'
"""


def test_a_list_that_cannot_be_made(alpha: Target, lab: Lab) -> None:
    host = lab.host("alpha")
    with program_before(host, "x2golistsessions", GARBLED):
        assert [name for name in list_sessions(alpha) if "/" in name] == []
    with program_before(host, "x2golistsessions", "#!/bin/sh\necho 'the database is locked' >&2\nexit 3\n"):
        with pytest.raises(X2GoControlSessionException, match="ended with status 3") as caught:
            list_sessions(alpha)
        assert "the database is locked" in str(caught.value)


# Until a program was seen to run so many times; what it forks is it for a moment, too.
HOLD_DATABASE = r"""
import glob, os, sqlite3, sys, time
program, count = sys.argv[1].encode(), int(sys.argv[2])
database = sqlite3.connect("/var/lib/x2go/x2go_sessions", timeout=30, isolation_level=None)
database.execute("BEGIN EXCLUSIVE")
print("held", flush=True)
end, seen = time.monotonic() + 40, set()

def runs(folder):
    with open(f"{folder}/cmdline", "rb") as source:
        return program in map(os.path.basename, source.read().split(b"\0"))

while len(seen) < count and time.monotonic() < end:
    for folder in set(glob.glob("/proc/[0-9]*")) - {f"/proc/{os.getpid()}"}:
        try:
            with open(f"{folder}/stat") as source:
                parent = source.read().rpartition(")")[2].split()[1]
            if runs(folder) and not runs(f"/proc/{parent}"):
                seen.add(folder)
        except OSError:
            pass
    time.sleep(0.02)
database.execute("ROLLBACK")
"""


@contextlib.contextmanager
def locked_database(host: LabHost, until: str, count: int) -> Iterator[None]:
    """The server's database is locked until a program has run so many times."""
    command = host.command(["/usr/bin/python3", "-c", HOLD_DATABASE, until, str(count)])
    with subprocess.Popen(command, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        yield
        assert holder.wait(60) == 0


@pytest.mark.usefixtures("nothing_left")
def test_a_database_that_is_locked_keeps_no_session_from_being_seen_and_suspended(
    alpha: Target, session: Session, lab: Lab
) -> None:
    """The scripts get nothing from it, and end with success all the same; the lock is held until they have tried."""
    host = lab.host("alpha")
    with ClientDisplay.start((640, 480)) as display:
        one = session(alpha, cmd="xterm", client_display=display)
        one.start()
        with locked_database(host, "x2golistsessions", 2):
            assert one.info.name in list_sessions(alpha)
        # Before it comes to this, x2gosuspend-session has asked for the agent's process.
        with locked_database(host, "x2goumount-session", 1):
            one.suspend()
        assert one.get_state() is AgentState.SUSPENDED
        one.terminate()


FORGET = r"""
import sqlite3, sys
with sqlite3.connect("/var/lib/x2go/x2go_sessions", timeout=30) as database:
    print(database.execute("DELETE FROM sessions WHERE session_id = ?", sys.argv[1:]).rowcount)
"""


@pytest.mark.usefixtures("nothing_left")
def test_a_session_that_the_server_has_forgotten_can_be_ended(alpha: Target, session: Session, lab: Lab) -> None:
    """Its daemon forgets sessions whose start takes more than ten seconds; its script then ends nothing."""
    with ClientDisplay.start((640, 480)) as display:
        one = session(alpha, cmd="", session_type="application", published_applications=True, client_display=display)
        one.start()
        forgotten = lab.host("alpha").exec(["/usr/bin/python3", "-c", FORGET, one.info.name])
        assert forgotten.stdout == b"1\n"
        one.terminate()
        assert one.state is SessionState.TERMINATED


@pytest.fixture(scope="module")
def own_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A lab whose hosts may be rebooted."""
    with Lab(tmp_path_factory.mktemp("lab") / "lab", f"r{os.getpid() % 1_000_000}") as own:
        yield own


ODD = "export TZ=Pacific/Kiritimati LANG=tr_TR.UTF-8 LC_ALL=tr_TR.UTF-8 LANGUAGE=tr\n"
AHEAD = "#!/bin/sh\nexec /usr/bin/date -d '+26000 days' \"$@\"\n"


@pytest.mark.long
@pytest.mark.usefixtures("nothing_left")
def test_an_odd_clock_and_locale(open_target: OpenTarget, session: Session, lab: Lab) -> None:
    """A server 71 years ahead for its scripts, in another zone, with a locale it does not have."""
    host = lab.host("alpha")
    assert host.exec(["sh", "-c", "cat > ~/.zshenv"], "zshuser", input=ODD.encode()).returncode == 0
    try:
        with (
            program_before(host, "date", AHEAD),
            open_target("alpha") as target,
            session(target, cmd="xterm") as one,
        ):
            one.start()
            info = list_sessions(one.target)[one.get_session_name() or ""]
            assert info.is_running()
            assert one.verify(["xterm"]).ok
            one.suspend()
            one.resume()
            assert one.verify(["xterm"]).ok
            assert int((one.get_session_name() or "").split("-")[2].partition("_")[0]) > 4_000_000_000
    finally:
        host.exec(["rm", "/home/zshuser/.zshenv"])


@pytest.mark.long
@pytest.mark.usefixtures("nothing_left")
def test_two_clients_take_the_same_session_at_once(alpha: Target, session: Session, open_target: OpenTarget) -> None:
    first = session(alpha, cmd="xterm", at_exit="leave")
    first.start()
    name = first.get_session_name()
    targets = [open_target("alpha") for _ in range(2)]
    takers = [session(target, session_name=name, at_exit="leave") for target in targets]
    problems: list[CrlError] = []

    def take(one: X2GoSession) -> None:
        try:
            one.resume()
        except CrlError as error:
            problems.append(error)

    threads = [threading.Thread(target=take, args=(one,)) for one in takers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(90)
    assert all(isinstance(problem, X2GoException) for problem in problems)
    everybody = [first, *takers]
    wait_until(lambda: sum(one.session_ok() for one in everybody) <= 1)
    shows = sum(one.session_ok() for one in everybody)
    # Whoever comes now gets it, whole.
    with session(alpha, session_name=name) as last:
        last.resume()
        assert last.verify(["xterm"]).ok
        assert not [one for one in everybody if one.session_ok()]
    assert shows <= 1
    for taker in takers:
        taker.close()
    for target in targets:
        target.close()


@pytest.mark.long
@pytest.mark.timeout(400)
def test_the_server_is_rebooted(
    own_lab: Lab, session: Session, figure: Figure, tmp_path: Path
) -> None:
    host = own_lab.host("alpha")
    with Target.from_ssh_alias("alpha-zsh", config=str(own_lab.ssh_config)) as target:
        one = session(target, cmd="xterm", at_exit="leave")
        one.start()
        assert one.verify(["xterm"]).ok
        host.reboot(hard=True)
        began = time.monotonic()
        assert eventually(lambda: ended(one), 60)
        figure(f"{one.state} {time.monotonic() - began:.2f} s after the server was up again")
        assert not one.session_ok()
        former = one.get_session_name()
        one.start()  # a new one, by the same object
        assert one.verify(["xterm"]).ok
        assert one.get_session_name() != former
        one.terminate()
        # The server's record of the former one may outlive it: its process number is somebody else's now.
        assert set(list_sessions(target)) <= {former}


def ended(one: X2GoSession) -> bool:
    """Whether the session is known to have ended; the link may still be on its way back."""
    try:
        return one.get_state() is AgentState.TERMINATED
    except CrlError:
        return False


@pytest.mark.long
def test_what_the_servers_daemon_suspends_by_mistake_is_resumed_again(
    alpha: Target, session: Session, figure: Figure, caplog: pytest.LogCaptureFixture
) -> None:
    """x2goresume-session wakes the agent before it notes that; between the two the daemon sees what is made here."""
    seen: list[SessionState] = []
    with ClientDisplay.start((640, 480)) as display:
        one = session(alpha, cmd="xterm", client_display=display, on_change=lambda step: seen.append(step.after))
        one.start()
        one.suspend()
        one.resume()
        seen.clear()
        began = time.monotonic()
        noted = alpha.run(["/usr/lib/x2go/x2gochangestatus", "S", one.info.name], env={"LC_ALL": "C"})
        assert noted.status == 0
        assert eventually(lambda: SessionState.SUSPENDED in seen, 25), "the daemon did not suspend it"
        figure(f"suspended by the daemon after {time.monotonic() - began:.1f} s")
        assert eventually(lambda: one.state is SessionState.RUNNING, 30), f"{one.state}"
        figure(f"running again after {time.monotonic() - began:.1f} s")
        assert one.get_state() is AgentState.RUNNING
        assert one.verify(["xterm"]).ok
        assert "x2gocleansessions took it for one" in caplog.text
        # What others suspend stays so.
        seen.clear()
        assert alpha.run(["x2gosuspend-session", one.info.name]).status == 0
        assert eventually(lambda: one.state is SessionState.SUSPENDED, PATIENCE)
        assert SessionState.RESUMING not in seen
        one.terminate()
