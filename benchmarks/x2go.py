"""What the steps of X2Go sessions take, beside the same steps by hand and beside pyhoca-cli.

All ways in turn, on the lab's host ``alpha``, with the same user, command, display and packing; bounds are judged by
the median of the ratios within the rounds. By hand is what a person would type: one multiplexed ssh connection,
``x2gostartagent``, a forward, ``nxproxy``, ``x2goruncommand``, and a wait for the agent's state file. With
``--at-once N`` it starts that many sessions at the same time and verifies each.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from crl.lab import Lab
from crl.targets import Target
from crl.x2go import AgentState, ClientDisplay, X2GoSession

PARAMETERS = ["800x600", "lan", "nopack", "unix-kde-depth_24", "us", "pc105/us", "1", "R", "xterm", "both"]
RESUMED = ["800x600", "lan", "nopack", "us", "pc105/us", "1", "both", "false"]
WAIT = 'while [ "$(cat ~/.x2go/C-{0}/state 2>/dev/null)" != {1} ]; do sleep 0.02; done'
WAIT_GONE = "while kill -0 {1} 2>/dev/null && grep -q {0} /proc/{1}/cmdline; do sleep 0.02; done"
WAIT_LISTENING = "while ! ss -Hltn | grep -q :{0}; do sleep 0.02; done"
OURS: dict[str, Any] = {"link": "lan", "pack": "nopack", "kbtype": "pc105/us", "kblayout": "us", "cmd": "xterm"}
INSTALL = "apt-get install --no-install-recommends pyhoca-cli"
BOUNDS = {
    "start to RUNNING": ("by hand", 1.15),
    "list on a live connection": ("pyhoca-cli", 0.2),
    "suspend": ("by hand", 1.1),
    "resume": ("by hand", 1.1),
    "terminate": ("by hand", 1.1),
}
Times = dict[str, float]


class Plain:
    """Sessions by ssh and nxproxy alone."""

    def __init__(self, lab: Lab, alias: str, folder: Path) -> None:
        self._ssh = ["ssh", "-F", str(lab.ssh_config), "-S", str(folder / "mux"), alias]
        self._folder = folder
        subprocess.run([*self._ssh[:-1], "-M", "-f", "-N", alias], check=True)

    def _run(self, line: str) -> str:
        return subprocess.run([*self._ssh, line], check=True, capture_output=True, text=True).stdout

    def _control(self, action: str, forward: str) -> None:
        subprocess.run([*self._ssh[:-1], "-O", action, "-L", forward, self._ssh[-1]], check=True, capture_output=True)

    @contextlib.contextmanager
    def _shown(self, display: ClientDisplay, number: str, cookie: str, port: str) -> Iterator[None]:
        """A forward and an nxproxy."""
        local = int(port) + 1000 if int(port) < 60000 else int(port) - 1000
        forward = f"127.0.0.1:{local}:127.0.0.1:{port}"
        self._control("forward", forward)
        (self._folder / "options").write_text(
            f"nx/nx,retry=5,composite=1,connect=127.0.0.1,clipboard=1,cookie={cookie},port={local},"
            f"errors={self._folder}/err:{number}"
        )
        environment = {
            **os.environ, "DISPLAY": display.name, "XAUTHORITY": str(display.xauthority), "NX_ROOT": str(self._folder),
            "NX_CLIENT": "/bin/true",
        }  # fmt: skip
        proxy = subprocess.Popen(
            ["nxproxy", "-S", f"nx/nx,options={self._folder}/options:{number}"],
            env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            yield
            proxy.wait(20)
        finally:
            proxy.kill()
            proxy.wait(20)
            self._control("cancel", forward)

    def session(self, display: ClientDisplay) -> Times:
        """One session from start to end."""
        times: Times = {}
        clock = Clock(times)
        words = self._run("x2gostartagent " + " ".join(PARAMETERS)).split()
        number, cookie, pid, name, port, sound, _ = words
        with self._shown(display, number, cookie, port):
            self._run(WAIT.format(name, "RUNNING"))
            clock.note("start to RUNNING")
            self._run(
                f"setsid x2goruncommand {number} {pid} {name} {sound} xterm none R >/dev/null 2>&1 </dev/null & exit"
            )
            display.screen.wait_for_window("xterm", 30)
            clock.note("start to window")
            clock.start()
            self._run("x2golistsessions")
            clock.note("list on a live connection")
            clock.start()
            self._run(f"x2gosuspend-session {name}; " + WAIT.format(name, "SUSPENDED"))
            clock.note("suspend")
        clock.start()
        answer = self._run(f"x2goresume-session {name} {' '.join(RESUMED)} 2>/dev/null")
        port = next(line.partition("=")[2] for line in answer.splitlines() if line.startswith("gr_port="))
        self._run(WAIT_LISTENING.format(port))
        with self._shown(display, number, cookie, port):
            self._run(WAIT.format(name, "RUNNING"))
            clock.note("resume")
            display.screen.wait_for_window("xterm", 30)
            clock.start()
            clean = f"rm -rf ~/.x2go/C-{name} /tmp/.x2go-$USER/C-{name}"
            self._run(f"x2goterminate-session {name}; {WAIT_GONE.format(name, pid)}; {clean}")
            clock.note("terminate")
        return times

    def close(self) -> None:
        """End the ssh connection."""
        subprocess.run([*self._ssh[:-1], "-O", "exit", self._ssh[-1]], check=True, capture_output=True)


class Clock:
    """Notes seconds since the last start."""

    def __init__(self, times: Times) -> None:
        self._times = times
        self.start()

    def start(self) -> None:
        """Count from now."""
        self._began = time.perf_counter()

    def note(self, what: str) -> None:
        """That took so long."""
        self._times[what] = time.perf_counter() - self._began


def ours(target: Target, display: ClientDisplay) -> Times:
    """A session through crl, from start to end."""
    times: Times = {}
    clock = Clock(times)
    with X2GoSession(target=target, client_display=display, **OURS) as session:
        session.start()
        clock.note("start to RUNNING")
        display.screen.wait_for_window("xterm", 30)
        clock.note("start to window")
        session.list_sessions()  # the first one asks what the server can do
        clock.start()
        session.list_sessions()
        clock.note("list on a live connection")
        for what, step in (("suspend", session.suspend), ("resume", session.resume), ("terminate", session.terminate)):
            clock.start()
            step()
            clock.note(what)
            if what == "resume":
                display.screen.wait_for_window("xterm", 30)
    return times


def pyhoca(lab: Lab, alias: str, folder: Path, display: ClientDisplay) -> Times:
    """A list by pyhoca-cli, which connects for it."""
    host, _, role = alias.partition("-")
    there = lab.host(host)
    command = [
        "pyhoca-cli", "--server", there.address, "-p", str(there.port), "-u", there.users[role].login,
        "--add-to-known-hosts", "-L",
    ]  # fmt: skip
    keys = folder / ".ssh"  # it takes no notice of a key that it is given by option
    keys.mkdir(mode=0o700, exist_ok=True)
    shutil.copy2(lab.key(role), keys / "id_ed25519")
    times: Times = {}
    clock = Clock(times)
    # It is Debian's, so it needs Debian's Python and nothing of ours.
    clean = {"PATH": "/usr/bin:/bin", "HOME": str(folder), "LANG": "C.UTF-8", "USER": "bench", "LOGNAME": "bench"}
    clean |= {"DISPLAY": display.name, "XAUTHORITY": str(display.xauthority)}
    done = subprocess.run(command, env=clean, capture_output=True, text=True, timeout=120, check=False)
    clock.note("list on a live connection")
    if done.returncode or "ERROR" in done.stderr:
        raise RuntimeError(f"pyhoca-cli: {done.stderr.strip()[-300:]}")
    return times


def wait_gone(display: ClientDisplay) -> None:
    """The next round starts with an empty display."""
    while any(window.wm_class[1] == "XTerm" for window in display.screen.windows()):
        time.sleep(0.05)


def compare(lab: Lab, alias: str, rounds: int) -> None:
    """Measure all ways in turn and print medians and bounds."""
    with (
        tempfile.TemporaryDirectory() as folder,
        ClientDisplay.start() as display,
        Target.from_ssh_alias(alias, config=str(lab.ssh_config)) as target,
    ):
        plain = Plain(lab, alias, Path(folder))
        ways: dict[str, Callable[[], Times]] = {
            "by hand": lambda: plain.session(display),
            "crl": lambda: ours(target, display),
        }
        if shutil.which("pyhoca-cli"):
            ways["pyhoca-cli"] = lambda: pyhoca(lab, alias, Path(folder), display)
        else:
            print(f"pyhoca-cli is not installed; this shows it too: {INSTALL}\n")
        taken: dict[str, list[Times]] = {way: [] for way in ways}
        try:
            for _ in range(rounds):
                for way, run in ways.items():
                    taken[way].append(run())
                    wait_gone(display)
        finally:
            plain.close()
    tell(taken)


def tell(taken: dict[str, list[Times]]) -> None:
    """Print the table."""
    rounds, load = len(taken["crl"]), ", ".join(f"{value:.2f}" for value in os.getloadavg())
    print(f"{rounds} rounds, medians in seconds; load {load}.\n")
    print(f"| | {' | '.join(taken)} | bound | comes to | |\n|---|{'---|' * len(taken)}---|---|---|")
    for what in taken["crl"][0]:
        medians = [
            f"{statistics.median(times[what] for times in series):.3f}" if what in series[0] else "–"
            for series in taken.values()
        ]
        print(f"| {what} | {' | '.join(medians)} | {judged(what, taken)} |")


def judged(what: str, taken: dict[str, list[Times]]) -> str:
    """What is promised, what it comes to, and whether that is met."""
    than, limit = BOUNDS.get(what, ("", 0.0))
    if than not in taken:
        return " | | "
    ratio = statistics.median(
        mine[what] / theirs[what] for mine, theirs in zip(taken["crl"], taken[than], strict=True)
    )
    return f"≤ {limit} × {than} | {ratio:.2f} × | {'met' if ratio <= limit else '**missed**'}"


def at_once(lab: Lab, alias: str, count: int) -> None:
    """Start sessions at the same time, verify each, terminate all."""
    with (
        ClientDisplay.start((1280, 1024)) as display,
        Target.from_ssh_alias(alias, config=str(lab.ssh_config)) as target,
    ):
        sessions = [X2GoSession(target=target, client_display=display, **OURS) for _ in range(count)]
        began = time.perf_counter()
        together([lambda one=one: one.start(timeout=180) for one in sessions])  # type: ignore[misc]
        running = time.perf_counter() - began
        states = [one.get_state() for one in sessions]
        for one in sessions:
            one.verify(["xterm"], timeout=60)
        verified = time.perf_counter() - began
        together([one.terminate for one in sessions])
        print(
            f"{count} sessions at once: {states.count(AgentState.RUNNING)} RUNNING after {running:.1f} s, all verified "
            f"after {verified:.1f} s, all terminated after {time.perf_counter() - began:.1f} s"
        )


def together(steps: list[Callable[[], object]]) -> None:
    """Run each in a thread of its own; a failure ends the measurement."""
    failures: list[BaseException] = []

    def one(step: Callable[[], object]) -> None:
        try:
            step()
        except Exception as error:  # noqa: BLE001 - whatever it is, it is raised below
            failures.append(error)

    threads = [threading.Thread(target=one, args=(step,)) for step in steps]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise ExceptionGroup("sessions failed", [error for error in failures if isinstance(error, Exception)])


def main() -> None:
    """Measure and print."""
    arguments = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    arguments.add_argument("--rounds", type=int, default=10)
    arguments.add_argument("--alias", default="alpha-zsh")
    arguments.add_argument("--at-once", type=int, metavar="N", help="start so many sessions at the same time instead")
    chosen = arguments.parse_args()
    lab = Lab()
    lab.up()
    if chosen.at_once:
        at_once(lab, chosen.alias, chosen.at_once)
    else:
        compare(lab, chosen.alias, chosen.rounds)


if __name__ == "__main__":
    main()
