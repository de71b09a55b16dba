"""crl as it is in this tree: the option is its backend for ssh, ``openssh`` or ``paramiko``.

It uses what a user uses, `Target`, and the link below it where a row is about the link.
"""

from __future__ import annotations

import os
import resource
import signal
import socket
import statistics
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks.peers.base import MIB, Peer, Settings, Thunk, target_text
from benchmarks.peers.broker_steps import BrokerByCrl
from benchmarks.peers.crl_runner import RunnerPeer
from benchmarks.peers.x2go_print import PrintsByCrl
from benchmarks.peers.x2go_steps import SessionsByCrl
from crl.errors import CrlError
from crl.interactivesessions import SshShell, SudoShell
from crl.interactivesessions.InteractiveSession import InteractiveSession
from crl.interactivesessions.runnerterminal import RunnerTerminal
from crl.interactivesessions.shells.shell import Shell
from crl.link import Link
from crl.link.wire import values
from crl.targets import Target

__all__ = ["CrlPeer", "make"]

PATIENCE = 60.0
FEED = 256 * 1024


class CrlPeer(SessionsByCrl, BrokerByCrl, PrintsByCrl, RunnerPeer):
    """A target of crl."""

    codec = (values.encode, values.decode)

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._target: Target | None = None

    def _shells(self, place: str) -> list[Shell]:
        def ssh(alias: str) -> Shell:
            return SshShell(alias, config=self.settings.ssh_config, backend=self.settings.option)

        if place == "hop":
            return [ssh("gateway"), SshShell("beta", known_hosts=self.settings.known_hosts)]
        return [ssh("alpha-both"), SudoShell()] if place == "sudo" else [ssh(place)]

    def open(self, place: str) -> None:
        """Connect a target and give it the functions."""
        self._target = Target(self._shells(place)).connect()
        self._define()

    def _define(self) -> None:
        self._link.evaluate(target_text())

    @property
    def _live(self) -> Target:
        assert self._target is not None
        return self._target

    @property
    def _link(self) -> Link:
        return self._live.terminal.link

    def close(self) -> None:
        """Close the target."""
        self.close_runner()
        if self._target is not None:
            self._target.close()
            self._target = None

    def call(self, name: str, *args: Any) -> Any:
        """A call of the link."""
        return self._link.invoke(name, *args)

    def submit(self, name: str, *args: Any) -> Thunk:
        """A call of the link without waiting."""
        call = self._link.submit_invoke(name, args)
        return lambda: call.result(PATIENCE)

    def lane(self) -> Peer:
        """A link serves all threads."""
        return self

    def run(self, argv: list[str]) -> object:
        """The verb."""
        return self._live.run(argv, check=True)

    def tunnel(self, port: int) -> socket.socket:
        """The verb."""
        return self._live.connect_socket(("127.0.0.1", port))

    # -- files

    def push(self, local: str, remote: str) -> None:
        """The verb."""
        self._live.files.push(local, remote)

    def pull(self, remote: str, local: str) -> None:
        """The verb."""
        self._live.files.pull(remote, local)

    def push_tree(self, local: str, remote: str) -> None:
        """The verb; the folder is new."""
        self._live.run(["rm", "-rf", remote], check=True)
        self._live.files.push(local, remote)

    def pull_tree(self, remote: str, local: str) -> None:
        """The verb."""
        self._live.files.pull(remote, local)

    def pipe_push(self, local: str, remote: str) -> None:
        """A file through the standard input of a process."""
        process = self._link.start_process(f"cat > {remote}")
        with open(local, "rb") as file:
            while data := file.read(FEED):
                process.write(data, PATIENCE)
        process.close_stdin()
        assert process.wait(PATIENCE) == 0

    def pipe_pull(self, remote: str, local: str) -> None:
        """A file through the standard output of a process."""
        process = self._link.start_process(["cat", remote])
        process.close_stdin()
        with open(local, "wb") as file:
            while data := process.read_stdout(PATIENCE):
                file.write(data)
        assert process.wait(PATIENCE) == 0

    # -- what only crl is asked for

    def copied_tree(self, count: int) -> dict[str, float]:
        """As `runner_tree`, with the target that is open."""
        return self.runner_tree(self._live, count)

    def proxy_call(self) -> float:
        """Median seconds of a small call as a user writes it, ``target.python.call``."""
        call, times = self._live.python.call, []
        for number in range(self.calls):
            started = time.perf_counter()
            call("add", number)
            times.append(time.perf_counter() - started)
        return statistics.median(times)

    def reach(self) -> float:
        """Seconds from nothing to the answer of a call of what is there."""
        self.close()
        started = time.perf_counter()
        try:
            self._target = Target(self._shells("alpha")).connect()
            self._link.invoke("abs", -1)
            return time.perf_counter() - started
        finally:
            self.close()

    def from_prompt(self) -> float:
        """Seconds from a waiting prompt to the first result."""
        with InteractiveSession() as session:
            session.spawn(self._shells("alpha")[0])
            terminal = RunnerTerminal()
            started = time.perf_counter()
            terminal.initialize(_Ready(session))
            terminal.link.invoke("abs", -1)
            seconds = time.perf_counter() - started
            terminal.close()
            return seconds

    def after_cut(self, number: int) -> dict[str, float]:
        """Seconds from a signal to ssh until the next result; whether the old session and its objects lived on.

        Args:
            number: The signal: KILL is a cut, STOP is a black hole.
        """
        self.open("alpha")
        before = self._link
        kept = self._live.python.proxy_of_call("list")
        self._await_resumable()
        ssh = _children("ssh")
        started = time.perf_counter()
        for pid in ssh:
            os.kill(pid, number)
        try:
            while time.perf_counter() - started < PATIENCE:
                try:
                    assert self._live.python.call("abs", -1) == 1
                    seconds = time.perf_counter() - started
                    return {"seconds": seconds, "resumed": float(_lives(kept) and self._link is before)}
                except CrlError:
                    continue  # the call under way is lost with the link; the next one connects again
            raise TimeoutError(f"no result in {PATIENCE:g} s")
        finally:
            for pid in set(ssh) & set(_children("ssh")):
                os.kill(pid, signal.SIGKILL)
            self.close()

    def _await_resumable(self) -> None:
        """A link survives a cut from some tenths of a second after its start on."""
        limit = time.monotonic() + PATIENCE
        while not self._link.resumable:
            assert time.monotonic() < limit, self._link.why_not_resumable
            time.sleep(0.01)

    def fleet(self, aliases: list[str]) -> dict[str, float]:
        """Seconds, threads and CPU to open many targets at once, up to a result of each."""
        targets = [Target(self._shells(alias)) for alias in aliases]
        before, used = threading.active_count(), _cpu()
        started = time.perf_counter()
        try:
            with ThreadPoolExecutor(len(targets)) as pool:
                assert list(pool.map(_first_result, targets)) == [1] * len(targets)
                seconds = time.perf_counter() - started
                # Those of the pool are the test's own.
                more = threading.active_count() - before - len(pool._threads)  # noqa: SLF001
            return {"seconds": seconds, "threads": more, "cpu": _cpu() - used}
        finally:
            with ThreadPoolExecutor(32) as pool:
                list(pool.map(Target.close, targets))


class _Ready:
    """A session that waits at its prompt, as `RunnerTerminal` wants it."""

    def __init__(self, session: InteractiveSession) -> None:
        self._session = session

    def get_session(self) -> InteractiveSession:
        """The session."""
        return self._session


def _first_result(target: Target) -> int:
    target.connect(PATIENCE * 2)
    return int(target.terminal.link.invoke("abs", -1))


def _lives(proxy: Any) -> bool:
    """Whether an object of before is still there."""
    try:
        proxy.append(1)
    except CrlError:
        return False
    return True


def _children(name: str) -> list[int]:
    """Our own children of a name."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            pid, _, rest = path.read_text(encoding="utf-8").partition(" (")
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has just ended
        command, _, rest = rest.rpartition(") ")
        if command == name and int(rest.split()[1]) == os.getpid():
            found.append(int(pid))
    return found


def _cpu() -> float:
    both = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(used.ru_utime + used.ru_stime for used in both)


def make(settings: Settings) -> Peer:
    """This peer."""
    peer = CrlPeer(settings)
    peer.bulk = 64 * MIB
    return peer
