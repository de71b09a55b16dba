"""The steps of an X2Go session: through crl, by hand, and a list by pyhoca-cli.

All on the same account of ``alpha``, with the same command, kind of display and packing. By hand is what a person would
type: one multiplexed ssh connection, ``x2gostartagent``, a forward, ``nxproxy``, ``x2goruncommand``, and a wait for the
agent's state file. It needs `crl.x2go` for the client's display, which no clock counts.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.peers.base import NotThere, Peer, Settings
from benchmarks.peers.x2go_clock import Clock, Times
from benchmarks.peers.x2go_shares import share_by_crl, share_by_hand
from crl.targets import Target
from crl.x2go import AgentState, ClientDisplay, X2GoSession

__all__ = ["SessionsByCrl", "make"]

ALIAS = "alpha-zsh"
PARAMETERS = ["800x600", "lan", "nopack", "unix-kde-depth_24", "us", "pc105/us", "1", "R", "xterm", "both"]
RESUMED = ["800x600", "lan", "nopack", "us", "pc105/us", "1", "both", "false"]
WAIT = 'while [ "$(cat ~/.x2go/C-{0}/state 2>/dev/null)" != {1} ]; do sleep 0.02; done'
WAIT_GONE = "while kill -0 {1} 2>/dev/null && grep -q {0} /proc/{1}/cmdline; do sleep 0.02; done"
WAIT_LISTENING = "while ! ss -Hltn | grep -q :{0}; do sleep 0.02; done"
OURS: dict[str, Any] = {"link": "lan", "pack": "nopack", "kbtype": "pc105/us", "kblayout": "us", "cmd": "xterm"}
INSTALL = "apt-get install --no-install-recommends pyhoca-cli"
WINDOW_TIME = 30.0
AT_ONCE_TIME = 240.0


class SessionsByCrl:
    """What crl's own peer can do beside calls."""

    settings: Settings

    def x2go(self) -> Times:
        """Seconds of each step of one session."""
        with self._x2go_target() as target, ClientDisplay.start() as display:
            clock = Clock()
            with X2GoSession(target=target, client_display=display, **OURS) as session:
                session.start()
                clock.note("start")
                display.screen.wait_for_window("xterm", WINDOW_TIME)
                clock.note("window")
                session.list_sessions()  # the first one asks what the server can do
                clock.start()
                session.list_sessions()
                clock.note("list")
                for what in ("suspend", "resume", "terminate"):
                    clock.start()
                    getattr(session, what)()
                    clock.note(what)
                    if what == "resume":
                        display.screen.wait_for_window("xterm", WINDOW_TIME)
        return clock.times

    def x2go_at_once(self, count: int) -> Times:
        """Seconds until so many sessions, started at the same time, run, and are verified; and how many that were."""
        with self._x2go_target() as target, ClientDisplay.start((1280, 1024)) as display:
            sessions = [X2GoSession(target=target, client_display=display, **OURS) for _ in range(count)]
            clock = Clock()
            try:
                _together([lambda one=one: one.start(timeout=AT_ONCE_TIME) for one in sessions])  # type: ignore[misc]
                clock.note("started")
                running = [one.get_state() for one in sessions].count(AgentState.RUNNING)
                verified = [one.verify(["xterm"], timeout=60).ok for one in sessions].count(True)
                clock.note("verified")
            finally:
                _together([one.close for one in sessions])
        return {**clock.times, "good": min(running, verified)}

    def x2go_share(self) -> Times:
        """Seconds of a mount, and bytes and files a second in it."""
        return share_by_crl(self.settings)

    def _x2go_target(self) -> Target:
        return Target.from_ssh_alias(ALIAS, config=self.settings.ssh_config)


def _together(steps: Sequence[Callable[[], object]]) -> None:
    """Run each in a thread of its own; a failure ends the measurement."""
    failures: list[Exception] = []

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
        raise ExceptionGroup("sessions failed", failures)


class _Stepper(Peer):
    """A peer that makes sessions and no calls."""

    def open(self, place: str) -> None:
        """Each measurement makes its own connection."""
        raise NotThere(f"no connection to hold ({place})")

    def close(self) -> None:
        """Nothing is held."""

    def call(self, name: str, *args: Any) -> Any:
        """Not its matter."""
        raise NotThere(f"no calls ({name}, {len(args)} arguments)")


class ByHand(_Stepper):
    """Sessions by ssh and nxproxy alone."""

    def x2go(self) -> Times:
        """Seconds of each step of one session."""
        with tempfile.TemporaryDirectory() as folder, ClientDisplay.start() as display:
            ssh = ["ssh", "-F", self.settings.ssh_config, "-S", f"{folder}/mux"]
            subprocess.run([*ssh, "-M", "-f", "-N", ALIAS], check=True)
            try:
                return _Plain([*ssh, ALIAS], Path(folder)).session(display)
            finally:
                subprocess.run([*ssh, "-O", "exit", ALIAS], check=True, capture_output=True)

    def x2go_share(self) -> Times:
        """Seconds of a mount, and bytes and files a second in it."""
        return share_by_hand(self.settings)


class _Plain:
    """One session over an ssh connection that is there."""

    def __init__(self, ssh: list[str], folder: Path) -> None:
        self._ssh, self._folder = ssh, folder

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
        clock = Clock()
        words = self._run("x2gostartagent " + " ".join(PARAMETERS)).split()
        number, cookie, pid, name, port, sound, _ = words
        with self._shown(display, number, cookie, port):
            self._run(WAIT.format(name, "RUNNING"))
            clock.note("start")
            self._run(
                f"setsid x2goruncommand {number} {pid} {name} {sound} xterm none R >/dev/null 2>&1 </dev/null & exit"
            )
            display.screen.wait_for_window("xterm", WINDOW_TIME)
            clock.note("window")
            clock.start()
            self._run("x2golistsessions")
            clock.note("list")
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
            display.screen.wait_for_window("xterm", WINDOW_TIME)
            clock.start()
            clean = f"rm -rf ~/.x2go/C-{name} /tmp/.x2go-$USER/C-{name}"
            self._run(f"x2goterminate-session {name}; {WAIT_GONE.format(name, pid)}; {clean}")
            clock.note("terminate")
        return clock.times


class Pyhoca(_Stepper):
    """python-x2go's own program."""

    def x2go_list(self) -> float:
        """Seconds of a list, for which it connects."""
        if shutil.which("pyhoca-cli") is None:
            raise NotThere(f"pyhoca-cli is not installed ({INSTALL})")
        facts = dict(
            line.split(" ", 1)
            for line in subprocess.run(
                ["ssh", "-F", self.settings.ssh_config, "-G", ALIAS], check=True, capture_output=True, text=True
            ).stdout.splitlines()
        )
        with tempfile.TemporaryDirectory() as folder, ClientDisplay.start() as display:
            keys = Path(folder) / ".ssh"  # it takes no notice of a key that it is given by option
            keys.mkdir(mode=0o700)
            shutil.copy2(Path(facts["identityfile"]).expanduser(), keys / "id_ed25519")
            command = [
                "pyhoca-cli", "--server", facts["hostname"], "-p", facts["port"], "-u", facts["user"],
                "--add-to-known-hosts", "-L",
            ]  # fmt: skip
            # It is Debian's, so it needs Debian's Python and nothing of ours.
            clean = {"PATH": "/usr/bin:/bin", "HOME": folder, "LANG": "C.UTF-8", "USER": "bench", "LOGNAME": "bench"}
            clean |= {"DISPLAY": display.name, "XAUTHORITY": str(display.xauthority)}
            clock = Clock()
            done = subprocess.run(command, env=clean, capture_output=True, text=True, timeout=120, check=False)
            clock.note("list")
        if done.returncode or "ERROR" in done.stderr:
            raise RuntimeError(f"pyhoca-cli: {done.stderr.strip()[-300:]}")
        return clock.times["list"]


def make(settings: Settings) -> Peer:
    """The one that the option names."""
    return Pyhoca(settings) if settings.option == "pyhoca-cli" else ByHand(settings)
