"""Real connections of real hosts, cut at random moments under load: nothing lost, nothing done twice.

Quick: 100 cuts of all kinds. Long: 1,000.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from statistics import median

import pytest

from crl.interactivesessions import SshShell, SudoShell
from crl.interactivesessions.InteractiveSession import InteractiveSession
from crl.lab import Lab, LabError
from crl.link import Link, LinkLost
from tests.link.peers import eventually
from tests.link.storm import Storm

pytestmark = pytest.mark.lab
Figure = Callable[[str], None]

# Cuts of the quick form; the long form does ten times as many.
MIX = {"ssh killed": 50, "sshd's child killed": 44, "packets dropped": 2, "ssh frozen": 2, "gateway rebooted": 2}
SUSPICION = 5.0


@pytest.fixture(scope="module")
def own_lab(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A lab whose links may be cut: the shared one belongs to all tests."""
    assert lab.status().up
    own = Lab(tmp_path_factory.mktemp("lab") / "own", f"c{os.getpid() % 1_000_000}")
    own.up()
    yield own
    own.down()


class Connected:
    """A session on a lab host with a link that can be cut."""

    def __init__(self, lab: Lab, host: str, grace: float = 60.0) -> None:
        self.lab = lab
        self.host = lab.host(host)
        self.session = InteractiveSession()
        self.session.expect_link(None)
        self.session.spawn(SshShell(host, config=lab.ssh_config))
        self.link = Link.start(self.session.lane(), timeout=30, grace=grace)
        assert eventually(lambda: self.link.resumable), self.link.why_not_resumable

    def close(self) -> None:
        """End all."""
        self.link.close()
        self.session.close_terminal()

    @property
    def ssh(self) -> int:
        """The ssh program in use."""
        return int(self.session.terminal.channel.pid)

    def cut(self, kind: str) -> None:
        """Cut the terminal in use."""
        if kind == "ssh killed":
            # After a silence another terminal may take its place just now.
            with suppress(ProcessLookupError):
                os.kill(self.ssh, signal.SIGKILL)
        elif kind == "ssh frozen":
            os.kill(self.ssh, signal.SIGSTOP)
        elif kind == "sshd's child killed":
            self._kill_sshd()
        elif kind == "packets dropped":
            self.host.cut(drop=True)
        else:
            self.lab.host("gateway").reboot(hard=True)

    def _kill_sshd(self) -> None:
        """Kill what serves connections; the listener, which is the parent of all, stays."""
        for process in self.host.processes():
            command = " ".join(process.argv)
            if command.startswith("sshd: ") and "[listener]" not in command:
                with suppress(LabError):  # one ends with the other
                    self.host.kill(process.pid)


@pytest.fixture
def connect(own_lab: Lab) -> Iterator[Callable[..., Connected]]:
    made: list[Connected] = []

    def make(host: str, grace: float = 60.0) -> Connected:
        made.append(Connected(own_lab, host, grace))
        return made[-1]

    yield make
    for one in made:
        one.close()


def _has_resumed(link: Link, before: int) -> bool:
    return link.statistics.resumed > before


def _storm_of_cuts(connected: Connected, kinds: list[str], chance: random.Random, figure: Figure) -> None:
    storm = Storm(connected.link)
    pauses: dict[str, list[float]] = {}
    try:
        for kind in kinds:
            time.sleep(chance.uniform(0.0, 0.05))
            before = connected.link.statistics.resumed
            cut_at = time.monotonic()
            connected.cut(kind)
            if kind == "packets dropped":
                assert eventually(connected.link.engine.in_doubt, 3 * SUSPICION)
                time.sleep(chance.uniform(0.0, 1.0))
                # From here on the old terminal may speak again before there is a new one.
                connected.host.restore()
            else:
                assert eventually(partial(_has_resumed, connected.link, before), 60), (kind, connected.link.engine.lost)
            pauses.setdefault(kind, []).append(storm.pause_after(cut_at, 60))
        calls = storm.end()
    except BaseException:
        storm.abort()
        raise
    for kind, seconds in sorted(pauses.items()):
        figure(f"{kind}: {len(seconds)} cuts, next result after {median(seconds):.2f} s, at most {max(seconds):.2f} s")
    figure(f"{calls} calls over {len(kinds)} cuts: 0 lost, 0 doubled")


def _mixed(times: int, chance: random.Random, *, gateway: bool) -> list[str]:
    kinds = [kind for kind, count in MIX.items() for _ in range(count * times) if ("gateway" in kind) == gateway]
    chance.shuffle(kinds)
    return kinds


# A hundred logins, one after the other, on a machine that may have more to do.
@pytest.mark.timeout(600)
def test_cuts_of_a_direct_connection(connect: Callable[..., Connected], figure: Figure) -> None:
    chance = random.Random(1)
    _storm_of_cuts(connect("alpha"), _mixed(1, chance, gateway=False), chance, figure)


def test_a_gateway_between_that_is_rebooted(connect: Callable[..., Connected], figure: Figure) -> None:
    chance = random.Random(2)
    _storm_of_cuts(connect("gamma"), _mixed(1, chance, gateway=True), chance, figure)


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_a_thousand_cuts(connect: Callable[..., Connected], figure: Figure) -> None:
    chance = random.Random(3)
    _storm_of_cuts(connect("alpha"), _mixed(10, chance, gateway=False), chance, figure)
    _storm_of_cuts(connect("gamma"), _mixed(10, chance, gateway=True), chance, figure)


def test_root_behind_sudo_is_resumed_as_root(connect: Callable[..., Connected], own_lab: Lab) -> None:
    password = own_lab.host("alpha").user("both").password
    session = InteractiveSession()
    session.spawn(SshShell("alpha-both", config=own_lab.ssh_config))
    session.push(SudoShell(password=password))
    link = Link.start(session.lane(), timeout=30)
    try:
        assert eventually(lambda: link.resumable)
        program = link.evaluate("__import__('os').getpid()")
        os.kill(session.terminal.channel.pid, signal.SIGKILL)
        assert link.evaluate("__import__('os').getpid(), __import__('os').getuid()", timeout=60) == (program, 0)
    finally:
        link.close()
        session.close_terminal()


def test_another_user_cannot_attach(connect: Callable[..., Connected], own_lab: Lab) -> None:
    connected = connect("alpha")
    recipe = connected.link._resumer._recipe
    code = (
        "import socket, struct\n"
        "s = socket.socket(socket.AF_UNIX)\n"
        f"s.connect('\\0{recipe.door}')\n"
        "for _ in range(2):\n"
        "    s.sendmsg([b'd'], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack('i', 0))])\n"
        f"s.sendall(b'{recipe.token} 9 1\\n')\n"
        "print('refused' if not s.recv(1) else 'taken')\n"
    )
    command = connected.host.command(["python3", "-c", code], user="password")
    answer = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    refusals = ("ConnectionResetError", "BrokenPipeError")
    assert answer.stdout.strip() == "refused" or any(error in answer.stderr for error in refusals)
    assert connected.link.statistics.resumed == 0
    assert connected.link.evaluate("6 * 7", timeout=60) == 42


def test_after_the_grace_nothing_is_left(connect: Callable[..., Connected]) -> None:
    connected = connect("alpha", grace=2.0)
    link = connected.link
    owned = link.start_process("sleep 312 & setsid sleep 313 & echo $!; wait")
    stray = int(owned.read_stdout(60))
    detached = link.start_detached(["sleep", "314"]).pid
    ours = {link.facts.pid, owned.pid, stray}

    def living() -> set[int]:
        return {process.pid for process in connected.host.processes() if process.state not in "ZX"}

    assert ours | {detached} <= living()
    connected.host.cut(drop=True)
    try:
        os.kill(connected.ssh, signal.SIGKILL)
        with pytest.raises(LinkLost, match="no other terminal could be opened"):
            link.evaluate("1", timeout=30)
        # Its end of the connection hears nothing of the kill: silence for three heartbeats, then the grace.
        assert eventually(lambda: not ours & living(), 40)
        assert detached in living()
    finally:
        connected.host.restore()
        connected.host.kill(detached)


def test_a_rebooted_host_is_named(connect: Callable[..., Connected]) -> None:
    connected = connect("beta")
    call = connected.link.submit_invoke("__import__('time').sleep", (100,))
    connected.host.reboot(hard=True)
    with pytest.raises(LinkLost, match=r"restarted|no other terminal|ended"):
        call.result(70)


CONTROLLER = """
import sys, time
sys.path.insert(0, {root!r})
from crl.interactivesessions import SshShell
from crl.interactivesessions.InteractiveSession import InteractiveSession
from crl.link import Link
session = InteractiveSession()
session.spawn(SshShell("alpha", config={config!r}))
link = Link.start(session.lane(), grace=1.0)
while not link.resumable:
    link.evaluate("1")
process = link.start_process("sleep 315 & setsid sleep 316 & echo $!; wait")
print(link.facts.pid, process.pid, int(process.read_stdout(60)), link.start_detached(["sleep", "317"]).pid, flush=True)
time.sleep(100)
"""


def test_a_killed_controller_leaves_only_what_is_detached(own_lab: Lab) -> None:
    code = CONTROLLER.format(root=str(Path(__file__).parents[2]), config=str(own_lab.ssh_config))
    host = own_lab.host("alpha")
    controller = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert controller.stdout is not None
    with controller.stdout:
        *ours, detached = map(int, controller.stdout.readline().split())

        def living() -> set[int]:
            return {process.pid for process in host.processes() if process.state not in "ZX"}

        assert {*ours, detached} <= living()
        controller.kill()
        controller.wait(60)
        try:
            assert eventually(lambda: not set(ours) & living(), 40)
            assert detached in living()
        finally:
            host.kill(detached)
