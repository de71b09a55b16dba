"""The demonstration on the hosts of the lab: stacks of shells, desktops, comparison, examples, and the proof.

It brings the lab up and, unless it was up or is to be kept, down again; both are part of what is shown.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from contextlib import closing
from functools import partial
from pathlib import Path

from crl.interactivesessions import SshShell, SudoShell
from crl.lab import Lab
from crl.lab.requirements import check, install
from crl.targets import Target
from crl.x2go import X2GoSession
from crl.x2go.clientdisplay import ClientDisplay
from demo.desktops import Desktop, show_session
from demo.hosts import use_host
from demo.plain import PlainSession
from demo.recorder import Recorder, Step
from demo.traces import (
    LabParts,
    difference_when_settled,
    inventory_of_host,
    inventory_of_us,
)

__all__ = ["LabPart"]

ROOT = Path(__file__).resolve().parent.parent
HOSTS = ("gateway", "alpha", "beta", "gamma")
COMPARED_ROUNDS = 3
# The bound: starting through crl may take this many times what plain ssh and nxproxy take.
START_BOUND = 1.3

ON_THE_DESKTOP = (
    ("xsetroot", "-solid", "steelblue"),
    ("xterm", "-geometry", "80x20+40+60", "-T", "hello from crl", "-e", "top"),
    ("xterm", "-geometry", "60x12+420+400", "-T", "who and where", "-e", "sh", "-c", "uname -a; id; exec cat"),
)
DESKTOP = Desktop("desktop", "openbox desktop", "openbox-session", "desktop", ON_THE_DESKTOP, "hello from crl")
APPLICATION = Desktop("application", "single application xterm", "xterm", "application", (), "*xterm*")


class LabPart:
    """The whole job on the lab.

    Args:
        recorder: Where it is kept.
        lab: The lab.
        keep: Leave it up at the end.
    """

    def __init__(self, recorder: Recorder, lab: Lab, *, keep: bool) -> None:
        self.recorder = recorder
        self.lab = lab
        self.was_there = lab.status().exists
        self.keep = keep or self.was_there

    def run(self) -> None:
        """Do it all."""
        recorder, lab = self.recorder, self.lab
        recorder.section("The lab: hosts with sshd, sudo and X2Go servers on this one machine")
        with recorder.step("install the Debian packages that it needs") as step:
            missing = check().to_install
            step.fact("missing packages", ", ".join(missing) or "none")
            install(missing, recorder.say)
        try:
            with recorder.step("crl lab up") as step:
                status = lab.up(recorder.say)
                for host in status.hosts:
                    step.fact(host.name, f"{host.address}, {'through ' + host.via if host.via else 'reached directly'}")
            before_us = inventory_of_us()
            before = {name: inventory_of_host(lab, name) for name in HOSTS}
            self._hosts_and_desktops()
            self._comparison()
            self._examples()
            recorder.section("The proof that nothing was left")
            for name in HOSTS:
                with recorder.step(f"{name}: processes, files, X displays") as step:
                    left = difference_when_settled(before[name], partial(inventory_of_host, lab, name))
                    _check_nothing_left(step, left)
            with recorder.step("this side: processes, threads, files, X displays") as step:
                left = difference_when_settled(before_us, inventory_of_us)
                _check_nothing_left(step, left)
        finally:
            if not self.keep:
                self._down()

    def _down(self) -> None:
        with self.recorder.step("crl lab down: namespaces, mounts, interfaces, users") as step:
            parts = LabParts.of(self.lab)
            step.check(bool(parts.namespaces and parts.interfaces), "there is a lab to be taken down")
            self.lab.down()
            left = difference_when_settled(frozenset(), parts.left)
            _check_nothing_left(step, left)

    # -- the three ways ----------------------------------------------------------------------------------------------

    def _hosts_and_desktops(self) -> None:
        self.recorder.section("alpha: ssh with a key")
        with closing(Target(self._ssh("alpha"), name="alpha")) as target:
            use_host(self.recorder, target, "alpha")
            show_session(self.recorder, target, DESKTOP, "alpha")
            show_session(self.recorder, target, APPLICATION, "alpha")
        self.recorder.section("alpha, as another user: ssh, then sudo with a password")
        shells = [self._ssh("alpha-both"), self._sudo("alpha", "pwuser")]
        with closing(Target(shells, name="alpha as pwuser")) as target:
            use_host(self.recorder, target, "alpha")
            show_session(self.recorder, target, APPLICATION, "alpha-sudo")
        self.recorder.section("beta: ssh to the gateway, and there ssh with a password")
        with closing(Target([self._ssh("gateway"), self._nested_ssh("beta")], name="beta")) as target:
            use_host(self.recorder, target, "beta")
            show_session(self.recorder, target, DESKTOP, "beta")
            show_session(self.recorder, target, APPLICATION, "beta")

    def _ssh(self, alias: str) -> SshShell:
        return SshShell(alias, config=self.lab.ssh_config)

    def _nested_ssh(self, host: str) -> SshShell:
        user = self.lab.host(host).user("password")
        return SshShell(host, user.login, user.password, known_hosts=self.lab.known_hosts)

    def _sudo(self, host: str, user: str) -> SudoShell:
        return SudoShell(f"sudo -u {user} -H bash", self.lab.host(host).user("both").password)

    # -- comparison --------------------------------------------------------------------------------------------------

    def _comparison(self) -> None:
        self.recorder.section("Compared with plain ssh and nxproxy, in turns")
        ours: list[float] = []
        theirs: list[float] = []
        with (
            self.recorder.step("from the request to RUNNING") as step,
            ClientDisplay.start() as display,
            Target(self._ssh("alpha"), name="alpha") as target,
        ):
            target.connect()
            xauthority = None if display.xauthority is None else str(display.xauthority)
            plain = PlainSession(self.lab.ssh_config, "alpha", (display.name, xauthority))
            for _ in range(COMPARED_ROUNDS):
                theirs.append(plain.seconds_to_running(DESKTOP.cmd))
                ours.append(_seconds_to_running(target, display))
            self._judge(step, ours, theirs)

    def _judge(self, step: Step, ours: list[float], theirs: list[float]) -> None:
        step.fact("plain ssh and nxproxy, s", ", ".join(f"{seconds:.2f}" for seconds in theirs))
        step.fact("crl, s", ", ".join(f"{seconds:.2f}" for seconds in ours))
        ratio = statistics.median(ours) / statistics.median(theirs)
        step.fact("crl : plain, medians", f"{ratio:.2f}")
        step.check(ratio <= START_BOUND, f"crl takes at most {START_BOUND} times as long")

    # -- the same job as suites --------------------------------------------------------------------------------------

    def _examples(self) -> None:
        self.recorder.section("The same job as a Robot suite and as a pytest test")
        folder = self.recorder.folder.resolve()
        examples = ROOT / "docs" / "examples"
        robot = ["-m", "robot", "--outputdir", str(folder / "robot"), str(examples / "desktop.robot")]
        self._suite("Robot Framework", robot, folder / "robot" / "output.txt", "robot/log.html")
        pytest = ["-m", "pytest", "-p", "no:cacheprovider", str(examples / "test_desktop.py")]
        self._suite("pytest", pytest, folder / "pytest" / "output.txt", "pytest/output.txt")

    def _suite(self, name: str, arguments: list[str], output: Path, link: str) -> None:
        output.parent.mkdir(parents=True, exist_ok=True)
        with self.recorder.step(f"{name}: {Path(arguments[-1]).relative_to(ROOT)}") as step:
            done = subprocess.run(
                [sys.executable, *arguments],
                env={**os.environ, "CRL_LAB_DIR": str(self.lab.folder)},
                cwd=ROOT,
                capture_output=True,
                text=True,
                timeout=600,
                check=False,
            )
            output.write_text(done.stdout + done.stderr, encoding="utf-8")
            self.recorder.links[f"{name} log"] = link
            step.check(done.returncode == 0, f"exit status 0 (its output is in {output.name})")


def _check_nothing_left(step: Step, left: frozenset[str]) -> None:
    step.check(not left, f"left: {', '.join(sorted(left))}" if left else "nothing is there that was not before")


def _seconds_to_running(target: Target, display: ClientDisplay) -> float:
    begin = time.monotonic()
    session = X2GoSession(
        target=target,
        cmd=DESKTOP.cmd,
        session_type="desktop",
        geometry="1024x768",
        pack="nopack",
        client_display=display,
    )
    with session:
        session.start()
        return time.monotonic() - begin
