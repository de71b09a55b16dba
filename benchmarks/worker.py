"""The runner's side of one peer: its process, and questions to it with a deadline.

It knows the line protocol of `benchmarks.peers.serve` and no peer. It promises that a peer that hangs is ended with all
that it started, and that the reason is an answer like any other.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.contestants import Contestant
from benchmarks.peers.base import Settings

__all__ = ["Answer", "Worker"]

# Only `benchmarks` of this tree is to be seen there: the published crl has the names of ours.
BOOT = """
import runpy, sys, types
package = types.ModuleType("benchmarks")
package.__path__ = [sys.argv.pop(1)]
sys.modules["benchmarks"] = package
runpy.run_module("benchmarks.peers.serve", run_name="__main__", alter_sys=False)
"""


@dataclass(frozen=True)
class Answer:
    """What came of a question.

    Attributes:
        value: The figure or figures; None when there is none.
        why: Why there is none.
        absent: Whether that is no failure: the peer has nothing of the kind.
    """

    value: Any = None
    why: str = ""
    absent: bool = False


class Worker:
    """One peer at work.

    Args:
        contestant: Which.
        python: Its interpreter.
        settings: What it is told.
        log: File for what it prints.
    """

    def __init__(self, contestant: Contestant, python: str, settings: Settings, log: Path) -> None:
        self.name = contestant.name
        self._command = [python, "-c", BOOT, str(Path(__file__).parent), contestant.module]
        self._environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        # As from an interactive shell: the bash that ssh starts for a LocalCommand would otherwise read ~/.bashrc.
        self._environment["SHLVL"] = "1"
        if contestant.own:
            self._environment["PYTHONPATH"] = str(Path(__file__).parent.parent)
        self._settings = settings
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None
        self._buffer = b""

    def _start(self) -> subprocess.Popen[bytes]:
        with self._log.open("ab") as log:
            process = subprocess.Popen(
                self._command,
                cwd=self._settings.folder,
                env=self._environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                bufsize=0,
                start_new_session=True,
            )
        assert process.stdin is not None
        self._buffer = b""
        process.stdin.write(json.dumps(asdict(self._settings)).encode() + b"\n")
        return process

    def ask(self, operation: str, timeout: float, **arguments: Any) -> Answer:
        """Have an operation of `benchmarks.peers.operations` done."""
        if self._process is None:
            self._process = self._start()
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps({"do": operation, "with": arguments}).encode() + b"\n")
            line = self._read_line(self._process, time.monotonic() + timeout)
        except (TimeoutError, ConnectionError) as error:
            self.kill()
            return Answer(why=str(error) or f"not done after {timeout:g} s")
        answer = json.loads(line)
        if "value" in answer:
            return Answer(answer["value"])
        return Answer(why=answer.get("absent") or answer["failed"], absent="absent" in answer)

    def _read_line(self, process: subprocess.Popen[bytes], deadline: float) -> bytes:
        assert process.stdout is not None
        poll = select.poll()
        poll.register(process.stdout.fileno(), select.POLLIN)
        while b"\n" not in self._buffer:
            if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
                raise TimeoutError
            data = process.stdout.read(65536)
            if not data:
                raise ConnectionError(f"the peer's process has ended; see {self._log.name}")
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line

    def close(self) -> None:
        """End it in order, or by force after a while."""
        if self._process is None:
            return
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self.kill()
            return
        self.kill()

    def kill(self) -> None:
        """End it and what it started in its session."""
        process, self._process = self._process, None
        if process is None:
            return
        with suppress(ProcessLookupError):  # nothing of it is left
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                stream.close()
