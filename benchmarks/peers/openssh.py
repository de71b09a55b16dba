"""OpenSSH alone: one multiplexed connection, a process for each call, scp and tar for files, ``ssh -L`` for tunnels."""

from __future__ import annotations

import ast
import os
import shlex
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.peers.base import Peer, Settings, target_text

__all__ = ["OpensshPeer", "make"]

CALL = "import sys; exec(sys.stdin.read()); print(repr({name}(*{args!r})))"


class OpensshPeer(Peer):
    """What a shell script would do."""

    calls = 15
    pipelines = False

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._folder = ""
        self._master: subprocess.Popen[bytes] | None = None

    @property
    def _mux(self) -> list[str]:
        return ["-o", f"ControlPath={self._folder}/m"]

    def _ssh(self, command: str) -> list[str]:
        return self.settings.ssh("alpha", command, more=self._mux)

    def open(self, place: str) -> None:
        """Start the master."""
        # A short path: a unix socket's name has 108 bytes.
        self._folder = tempfile.mkdtemp(prefix="mux")
        argv = self.settings.ssh(place, None, more=[*self._mux, "-o", "ControlMaster=yes", "-N"])
        self._master = subprocess.Popen(argv, stdin=subprocess.DEVNULL)
        while not os.path.exists(f"{self._folder}/m"):
            assert self._master.poll() is None, "ssh has ended"
            time.sleep(0.002)

    def close(self) -> None:
        """End the master."""
        if self._master is not None:
            self._master.terminate()
            self._master.wait()
            self._master = None
            shutil.rmtree(self._folder)

    def call(self, name: str, *args: Any) -> Any:
        """One interpreter for one call."""
        if name == "add":
            code = f"print({args[0]} + 1)"
            return int(subprocess.run(self._ssh(f"python3 -S -c {shlex.quote(code)}"), check=True, capture_output=True,
                                      stdin=subprocess.DEVNULL).stdout)  # fmt: skip
        if name == "size":
            code = "import sys; print(len(sys.stdin.buffer.read()))"
            done = subprocess.run(self._ssh(f"python3 -c {shlex.quote(code)}"), input=args[0], check=True,
                                  capture_output=True)  # fmt: skip
            return int(done.stdout)
        code = CALL.format(name=name, args=args)
        done = subprocess.run(self._ssh(f"python3 -c {shlex.quote(code)}"), input=target_text().encode(), check=True,
                              capture_output=True)  # fmt: skip
        return ast.literal_eval(done.stdout.decode())

    def lane(self) -> Peer:
        """Every call is a process of its own."""
        return self

    def run(self, argv: list[str]) -> object:
        """One session of the connection."""
        return subprocess.run(self._ssh(shlex.join(argv)), check=True, capture_output=True, stdin=subprocess.DEVNULL)

    def push(self, local: str, remote: str) -> None:
        """By scp."""
        self._scp(local, f"alpha:{remote}")

    def pull(self, remote: str, local: str) -> None:
        """By scp."""
        self._scp(f"alpha:{remote}", local)

    def _scp(self, source: str, target: str) -> None:
        subprocess.run(["scp", "-q", "-F", self.settings.ssh_config, *self._mux, source, target], check=True)

    def push_tree(self, local: str, remote: str) -> None:
        """By tar."""
        line = f"rm -rf {remote}; mkdir {remote}; tar xf - -C {remote}"
        self._piped(["tar", "cf", "-", "-C", local, "."], self._ssh(line))

    def pull_tree(self, remote: str, local: str) -> None:
        """By tar."""
        Path(local).mkdir()
        self._piped(self._ssh(f"tar cf - -C {remote} ."), ["tar", "xf", "-", "-C", local])

    def _piped(self, source: list[str], sink: list[str]) -> None:
        with subprocess.Popen(source, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as first:
            subprocess.run(sink, stdin=first.stdout, check=True)

    def tunnel(self, port: int) -> socket.socket:
        """By a forward of the connection."""
        path = f"{self._folder}/t"
        if not os.path.exists(path):
            forward = ["-O", "forward", "-L", f"{path}:127.0.0.1:{port}"]
            argv = self.settings.ssh("alpha", None, more=[*self._mux, *forward])
            subprocess.run(argv, check=True, stdin=subprocess.DEVNULL, capture_output=True)
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(path)
        return sock

    def first_commands(self, aliases: list[str]) -> dict[str, float]:
        """Seconds of a fresh ``ssh host true`` to one host, and to many at once."""
        return {"one": self._first(aliases[:1]), "many": self._first(aliases)}

    def _first(self, aliases: list[str]) -> float:
        started = time.perf_counter()
        all_of_them = [
            subprocess.Popen(self.settings.ssh(alias, "true"), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
            for alias in aliases
        ]
        assert [one.wait() for one in all_of_them] == [0] * len(aliases)
        return time.perf_counter() - started

    def cold(self, command: str) -> float:
        """Seconds of a fresh ``ssh host COMMAND``."""
        started = time.perf_counter()
        subprocess.run(self.settings.ssh("alpha", command), check=True, capture_output=True, stdin=subprocess.DEVNULL)
        return time.perf_counter() - started


def make(settings: Settings) -> Peer:
    """This peer."""
    return OpensshPeer(settings)
