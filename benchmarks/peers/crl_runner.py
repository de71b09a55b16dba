"""What is asked of crl's `RemoteRunner` and of its recovery, beside the calls of a target.

It uses the published keywords, and the lab's own word for a reboot. Each measurement has what it is compared with in
itself where that is crl's too.
"""

from __future__ import annotations

import socket
import statistics
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks.peers.base import Peer, Settings
from crl.interactivesessions.remoterunner import RemoteRunner
from crl.lab import Lab
from crl.targets import Target

__all__ = ["RunnerPeer"]

COMMANDS = 50
FILE = b"x" * 200
BOOT = 60.0


class RunnerPeer(Peer):
    """Measurements of commands, copies and recovery."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._runner: RemoteRunner | None = None

    def _set(self, runner: RemoteRunner, alias: str, name: str) -> None:
        runner.set_target([{"host": alias, "config": self.settings.ssh_config}], name)

    def close_runner(self) -> None:
        """End its connections."""
        if self._runner is not None:
            self._runner.close()
            self._runner = None

    def _open_runner(self) -> RemoteRunner:
        if self._runner is None:
            self._runner = RemoteRunner()
            self._set(self._runner, "alpha", "default")
            self._runner.execute_command_in_target("true")
        return self._runner

    def runner_command(self) -> float:
        """Median seconds of ``true`` by the keyword."""
        runner, times = self._open_runner(), []
        for _ in range(COMMANDS):
            started = time.perf_counter()
            assert runner.execute_command_in_target("true").status == "0"
            times.append(time.perf_counter() - started)
        return statistics.median(times)

    def runner_tree(self, target: Target, count: int) -> dict[str, float]:
        """Seconds for a folder of small files: by the keyword, and as the link's stream."""
        runner, found = self._open_runner(), {}
        with tempfile.TemporaryDirectory() as folder:
            for number in range(count):
                Path(folder, f"{number}").write_bytes(FILE)
            # The first ones bring the parts of the program that copy; they are not counted.
            for way in ("runner", "link", "runner", "link"):
                there = f"/tmp/tree-{way}"
                target.run(["rm", "-rf", there], check=True)
                started = time.perf_counter()
                if way == "runner":
                    runner.copy_directory_to_target(folder, there)
                else:
                    target.files.push(folder, there)
                found[way] = time.perf_counter() - started
        return found

    def first_commands(self, aliases: list[str]) -> dict[str, float]:
        """Seconds of the first command on one target, and on many at once."""
        return {"one": self._first(aliases[:1]), "many": self._first(aliases)}

    def _first(self, aliases: list[str]) -> float:
        with RemoteRunner() as runner, ThreadPoolExecutor(len(aliases)) as pool:
            names = [f"{number}" for number, _ in enumerate(aliases)]
            for name, alias in zip(names, aliases, strict=True):
                self._set(runner, alias, name)
            started = time.perf_counter()
            done = list(pool.map(lambda name: runner.execute_command_in_target("true", target=name), names))
            assert all(result.status == "0" for result in done)
            return time.perf_counter() - started

    def after_reboot(self) -> dict[str, float]:
        """Seconds from sshd's first answer after a reboot until a target is back, and those of a cold connect."""
        lab = Lab(Path(self.settings.ssh_config).parent)
        host = lab.host("alpha")
        with Target.from_ssh_alias("alpha", self.settings.ssh_config) as target:
            boot = target.facts.boot_id
            rebooting = threading.Thread(target=host.reboot, kwargs={"hard": True})
            rebooting.start()
            while (engine := target.terminal.link.engine).down is None and engine.lost is None:
                time.sleep(0.001)
            up: list[float] = []
            looking = threading.Thread(target=lambda: up.append(_answers(host.address)))
            looking.start()
            assert target.wait_until_up(BOOT).boot_id != boot
            now = time.perf_counter()
            looking.join()
            rebooting.join()
        started = time.perf_counter()
        with Target.from_ssh_alias("alpha", self.settings.ssh_config) as target:
            assert target.facts.boot_id
            cold = time.perf_counter() - started
        return {"seconds": now - up[0], "cold": cold}


def _answers(address: str) -> float:
    """When an sshd greets there."""
    until = time.perf_counter() + BOOT
    while time.perf_counter() < until:
        try:
            with socket.create_connection((address, 22), timeout=0.2) as connection:
                connection.settimeout(1.0)
                if connection.recv(4) == b"SSH-":
                    return time.perf_counter()
        except OSError:
            time.sleep(0.005)
    raise TimeoutError("no sshd answers")

