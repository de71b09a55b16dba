"""PID 1 of a lab host: starts the host's services, buries the dead, reboots when told.

This file is copied into the host and run there by Debian's own python3 (3.9 and newer) with nothing but the standard
library; it knows its configuration file only. It promises to tell on descriptor 3 when the host is up or why not, and
that nothing is left when it ends: exit status 0 asks for a reboot, 10 for staying off.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from typing import Any

REBOOT, POWER_OFF = 0, 10
REPORT_FD = 3
TERM_GRACE = 1.0
RESPAWN_PAUSE = 0.5
READY_LIMIT = 40.0
WATCHED = frozenset({signal.SIGCHLD, signal.SIGINT, signal.SIGTERM, signal.SIGUSR2})


class Init:
    """The services of this host and the wish to end."""

    def __init__(self, config: dict[str, Any]) -> None:
        self.services: dict[int, tuple[dict[str, Any] | None, float]] = {}
        self.config = config
        self.ending: int | None = None

    def ask(self, number: int) -> None:
        """SIGINT and SIGTERM ask for a reboot, SIGUSR2 for power off."""
        self.ending = POWER_OFF if number == signal.SIGUSR2 else REBOOT

    def set_up(self) -> None:
        """Run the commands of the configuration; the first that fails is an error, unless it may fail."""
        for step in self.config["setup"]:
            result = subprocess.run(step["argv"], stdin=subprocess.DEVNULL, capture_output=True, check=False)
            if result.returncode and not step.get("may_fail"):
                text = (result.stdout + result.stderr).decode("utf-8", "replace").strip()
                raise RuntimeError("{} ended with {}: {}".format(" ".join(step["argv"]), result.returncode, text))

    def start(self, service: dict[str, Any]) -> None:
        """Start one service in a session of its own, with no signal blocked."""
        argv = service["argv"]
        no_input = (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0)
        pid = os.posix_spawn(argv[0], argv, os.environ, file_actions=[no_input], setsid=True, setsigmask=[])
        self.services[pid] = (service, time.monotonic())

    def bury(self) -> None:
        """Reap whatever has ended; services that shall live are started again."""
        while True:
            try:
                pid, _status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            service, since = self.services.pop(pid, (None, 0.0))
            if service and service.get("respawn") and self.ending is None:
                if time.monotonic() - since < RESPAWN_PAUSE:
                    signal.sigtimedwait([], RESPAWN_PAUSE)
                self.start(service)

    def stop_everything(self) -> None:
        """As at the end of a real system: TERM to all, a moment, then KILL."""
        for number, grace in ((signal.SIGTERM, TERM_GRACE), (signal.SIGKILL, TERM_GRACE)):
            with contextlib.suppress(ProcessLookupError):  # nobody is left
                os.kill(-1, number)
                os.kill(-1, signal.SIGCONT)  # the frozen have to hear it too
            limit = time.monotonic() + grace
            while time.monotonic() < limit:
                try:
                    pid, _status = os.waitpid(-1, os.WNOHANG)
                except ChildProcessError:
                    return
                if pid == 0:
                    signal.sigtimedwait([signal.SIGCHLD], 0.05)


def wait_for_port(port: int) -> None:
    """Wait until something says a first word on the host's own loopback."""
    limit = time.monotonic() + READY_LIMIT
    while True:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=READY_LIMIT) as connection:
                if connection.recv(1):
                    return
                raise ConnectionError(f"port {port} says nothing")
        except OSError:
            if time.monotonic() > limit:
                raise
            signal.sigtimedwait([], 0.01)


def report(message: dict[str, Any]) -> None:
    """Tell the supervisor, once, and close the way to it."""
    os.write(REPORT_FD, json.dumps(message).encode() + b"\n")
    os.close(REPORT_FD)


def main(path: str) -> int:
    """Be PID 1."""
    os.set_inheritable(REPORT_FD, False)  # noqa: FBT003  # it takes no keyword
    with open(path) as stream:
        init = Init(json.load(stream))
    try:
        init.set_up()
        signal.pthread_sigmask(signal.SIG_BLOCK, WATCHED)  # from here on they are waited for; children unblock them
        for service in init.config["services"]:
            init.start(service)
        wait_for_port(init.config["ready_port"])
    except (OSError, RuntimeError) as error:
        report({"error": str(error)})
        return POWER_OFF
    report({"ready": True})
    while init.ending is None:
        init.bury()
        wake = signal.sigtimedwait(WATCHED, 60.0)
        if wake is not None and wake.si_signo != signal.SIGCHLD:
            init.ask(wake.si_signo)
    init.stop_everything()
    return init.ending


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
