"""A real sshd on the loopback with keys of its own, ended by its process id."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
from pathlib import Path
from typing import Any, Self

from crl.interactivesessions.shells.sshshell import SshShell
from tests.link.peers import PATIENCE, eventually

CONFIG = """
ListenAddress 127.0.0.1
Port {port}
HostKey {folder}/host
AuthorizedKeysFile {folder}/authorized
PidFile {folder}/pid
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
StrictModes no
PermitRootLogin yes
LogLevel ERROR
"""


class Sshd:
    """An sshd that lets the present user in with one key.

    Args:
        folder: Where its files are.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = 0
        self._place = socket.socket()
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.prepare()
        self.listen()
        return self

    def prepare(self) -> None:
        """Make all that the server needs, with a port that is kept for it until its end: nobody else gets it."""
        for name in ("host", "user"):
            subprocess.run(
                ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self.folder / name)], check=True, timeout=30
            )
        shutil.copy(self.folder / "user.pub", self.folder / "authorized")
        self._place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._place.bind(("127.0.0.1", 0))
        self.port = self._place.getsockname()[1]
        (self.folder / "config").write_text(CONFIG.format(port=self.port, folder=self.folder))
        kind, key, *_ = (self.folder / "host.pub").read_text().split()
        (self.folder / "known_hosts").write_text(f"[127.0.0.1]:{self.port} {kind} {key}\n")
        if os.getuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)

    def listen(self) -> None:
        """Start the server with the files that are there, and wait until it says by a file that it listens."""
        program = shutil.which("sshd") or "/usr/sbin/sshd"
        written = self.folder / "pid"
        written.unlink(missing_ok=True)
        process = self._process = subprocess.Popen([program, "-D", "-e", "-f", str(self.folder / "config")])
        # It writes the file first, and listens already then.
        assert eventually(lambda: process.poll() is not None or (written.exists() and written.read_text() != ""))
        assert process.poll() is None, "sshd has ended"

    def __exit__(self, *_: object) -> None:
        assert self._process is not None
        self._process.terminate()
        self._process.wait(PATIENCE)
        self._place.close()

    def shell(self, cls: type[SshShell] = SshShell, **options: Any) -> SshShell:
        """A shell of the present user there."""
        return cls(
            "127.0.0.1",
            getpass.getuser(),
            port=self.port,
            identity=self.folder / "user",
            known_hosts=self.folder / "known_hosts",
            **options,
        )
