"""Pyro5: a daemon on the target, to which its package is copied, reached by ``ssh -L``; serializer marshal."""

from __future__ import annotations

import io
import os
import shlex
import shutil
import socket
import subprocess
import tarfile
import tempfile
import time
from pathlib import Path
from typing import Any

import Pyro5.api
import serpent

from benchmarks.peers.base import Peer, Settings, target_text

__all__ = ["Pyro5Peer", "make"]

SERVER = """
import sys
sys.path.insert(0, {folder!r})
import Pyro5.api
functions = {{}}
exec({text!r}, functions)
class Functions:
    @Pyro5.api.expose
    def call(self, name, args):
        return functions[name](*args)
Pyro5.config.SERIALIZER = "marshal"
daemon = Pyro5.api.Daemon(host="127.0.0.1")
print(daemon.register(Functions(), "functions").location, flush=True)
daemon.requestLoop()
"""


class Pyro5Peer(Peer):
    """A proxy of a Pyro object."""

    pipelines = False

    def __init__(self, settings: Settings, uri: str = "") -> None:
        super().__init__(settings)
        Pyro5.config.SERIALIZER = "marshal"
        self._uri = uri
        self._folder = ""
        self._running: list[subprocess.Popen[bytes]] = []
        self._proxy = Pyro5.api.Proxy(uri) if uri else None

    def _copy_package(self, place: str, folder: str) -> None:
        data = io.BytesIO()
        with tarfile.open(fileobj=data, mode="w") as tar:
            tar.add(Path(Pyro5.__file__).parent, "Pyro5")
            tar.add(serpent.__file__, "serpent.py")
        line = f"rm -rf {folder}; mkdir {folder}; tar xf - -C {folder}"
        subprocess.run(self.settings.ssh(place, line), input=data.getvalue(), check=True)

    def open(self, place: str) -> None:
        """Copy the package once, start the daemon, forward to it, connect."""
        folder = f"/tmp/pyro-{os.getpid()}"
        if not self._uri:
            self._copy_package(place, folder)
        code = SERVER.format(folder=folder, text=target_text())
        server = subprocess.Popen(
            self.settings.ssh(place, f"exec python3 -c {shlex.quote(code)}", tty=True),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
        )
        self._running.append(server)
        assert server.stdout is not None
        location = server.stdout.readline().decode().strip()
        # A short path: a unix socket's name has 108 bytes.
        self._folder = tempfile.mkdtemp(prefix="pyro")
        path = f"{self._folder}/s"
        forward = subprocess.Popen(
            self.settings.ssh(place, None, more=["-N", "-L", f"{path}:{location}"]), stdin=subprocess.DEVNULL
        )
        self._running.append(forward)
        while not _answers(path):
            assert forward.poll() is None, "ssh has ended"
            time.sleep(0.002)
        self._uri = f"PYRO:functions@./u:{path}"
        self._proxy = Pyro5.api.Proxy(self._uri)

    def close(self) -> None:
        """End daemon and forward."""
        if self._proxy is not None:
            self._proxy._pyroRelease()  # noqa: SLF001
            self._proxy = None
        for process in self._running:
            process.terminate()
            process.communicate()
        self._running.clear()
        if self._folder:
            shutil.rmtree(self._folder)
            self._folder = ""

    def call(self, name: str, *args: Any) -> Any:
        """A call of the object."""
        assert self._proxy is not None
        return self._proxy.call(name, args)

    def lane(self) -> Peer:
        """A proxy belongs to one thread."""
        return _Lane(self.settings, self._uri)


class _Lane(Pyro5Peer):
    """A proxy of its own, made in the thread that calls."""

    def __init__(self, settings: Settings, uri: str) -> None:
        super().__init__(settings)
        self._uri = uri

    def call(self, name: str, *args: Any) -> Any:
        """A call of the object."""
        if self._proxy is None:
            self._proxy = Pyro5.api.Proxy(self._uri)
        self._proxy._pyroClaimOwnership()  # noqa: SLF001
        return self._proxy.call(name, args)


def _answers(path: str) -> bool:
    with socket.socket(socket.AF_UNIX) as sock:
        return sock.connect_ex(path) == 0


def make(settings: Settings) -> Peer:
    """This peer."""
    return Pyro5Peer(settings)
