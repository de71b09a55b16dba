"""How long an X2Go session takes to run and to show its window, against plain ssh and nxproxy by hand.

Both ways in turn, on the lab's host ``alpha``, with the same user, command, display and packing; prints medians and
their differences. The floor is what a person would type: one multiplexed ssh connection, ``x2gostartagent``, a forward,
``nxproxy``, ``x2goruncommand``.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from crl.lab import Lab
from crl.targets import Target
from crl.x2go import ClientDisplay, X2GoSession

PARAMETERS = ["800x600", "lan", "nopack", "unix-kde-depth_24", "us", "pc105/us", "1", "R", "xterm", "both"]
WAIT_RUNNING = 'while [ "$(cat ~/.x2go/C-{0}/state 2>/dev/null)" != RUNNING ]; do sleep 0.02; done'
Times = tuple[float, float]


class Plain:
    """Sessions by ssh and nxproxy alone."""

    def __init__(self, lab: Lab, alias: str, folder: Path) -> None:
        self._ssh = ["ssh", "-F", str(lab.ssh_config), "-S", str(folder / "mux"), alias]
        self._folder = folder
        subprocess.run([*self._ssh[:-1], "-M", "-f", "-N", alias], check=True)

    def _run(self, line: str) -> str:
        return subprocess.run([*self._ssh, line], check=True, capture_output=True, text=True).stdout

    def session(self, display: ClientDisplay) -> Times:
        """One session from start to end: seconds until it runs, and until its window is there."""
        began = time.perf_counter()
        words = self._run("x2gostartagent " + " ".join(PARAMETERS)).split()
        number, cookie, pid, name, port, sound, _ = words
        local = int(port) + 1000 if int(port) < 60000 else int(port) - 1000
        subprocess.run(
            [*self._ssh[:-1], "-O", "forward", "-L", f"127.0.0.1:{local}:127.0.0.1:{port}", self._ssh[-1]], check=True
        )
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
        self._run(WAIT_RUNNING.format(name))
        running = time.perf_counter() - began
        self._run(f"setsid x2goruncommand {number} {pid} {name} {sound} xterm none R >/dev/null 2>&1 </dev/null & exit")
        display.screen.wait_for_window("xterm", 20)
        window = time.perf_counter() - began
        self._run(f"x2goterminate-session {name}; rm -rf ~/.x2go/C-{name} /tmp/.x2go-$USER/C-{name}")
        proxy.wait(10)
        cancel = ["-O", "cancel", "-L", f"127.0.0.1:{local}:127.0.0.1:{port}"]
        subprocess.run([*self._ssh[:-1], *cancel, self._ssh[-1]], check=True)
        return running, window

    def close(self) -> None:
        """End the ssh connection."""
        subprocess.run([*self._ssh[:-1], "-O", "exit", self._ssh[-1]], check=True, capture_output=True)


def ours(target: Target, display: ClientDisplay) -> Times:
    """A session through crl."""
    began = time.perf_counter()
    with X2GoSession(
        target=target, client_display=display, link="lan", pack="nopack", kbtype="pc105/us", kblayout="us", cmd="xterm"
    ) as session:
        session.start()
        running = time.perf_counter() - began
        display.screen.wait_for_window("xterm", 20)
        return running, time.perf_counter() - began


def wait_gone(display: ClientDisplay) -> None:
    """The next round starts with an empty display."""
    while any(window.wm_class[1] == "XTerm" for window in display.screen.windows()):
        time.sleep(0.05)


def main() -> None:
    """Measure and print."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--rounds", type=int, default=10)
    arguments.add_argument("--alias", default="alpha-zsh")
    chosen = arguments.parse_args()
    lab = Lab()
    lab.up()
    with (
        tempfile.TemporaryDirectory() as folder,
        ClientDisplay.start() as display,
        Target.from_ssh_alias(chosen.alias, config=str(lab.ssh_config)) as target,
    ):
        plain = Plain(lab, chosen.alias, Path(folder))
        ways: dict[str, Callable[[], Times]] = {
            "plain": lambda: plain.session(display),
            "crl": lambda: ours(target, display),
        }
        taken: dict[str, list[Times]] = {way: [] for way in ways}
        try:
            for _ in range(chosen.rounds):
                for way, run in ways.items():
                    taken[way].append(run())
                    wait_gone(display)
        finally:
            plain.close()
    for place, what in enumerate(("running", "window")):
        medians = {way: statistics.median(times[place] for times in taken[way]) for way in ways}
        print(
            f"start to {what}: plain {medians['plain']:.2f} s, crl {medians['crl']:.2f} s, "
            f"difference {medians['crl'] - medians['plain']:+.2f} s, ratio {medians['crl'] / medians['plain']:.2f}"
        )


if __name__ == "__main__":
    main()
