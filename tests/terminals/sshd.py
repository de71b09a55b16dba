"""A real sshd on the loopback with keys of its own, ended by its process id."""

from __future__ import annotations

import getpass
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any, Self

from crl.interactivesessions.shells.sshshell import SshShell
from tests.channels.conftest import free_port
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
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        for name in ("host", "user"):
            subprocess.run(
                ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self.folder / name)], check=True, timeout=30
            )
        shutil.copy(self.folder / "user.pub", self.folder / "authorized")
        if os.getuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        # Somebody else may take the port in the moment before.
        assert any(self._listens_on(free_port()) for _ in range(5)), "sshd does not listen"
        return self

    def _listens_on(self, port: int) -> bool:
        self.port = port
        (self.folder / "config").write_text(CONFIG.format(port=port, folder=self.folder))
        kind, key, *_ = (self.folder / "host.pub").read_text().split()
        (self.folder / "known_hosts").write_text(f"[127.0.0.1]:{port} {kind} {key}\n")
        return self._start()

    def listen(self) -> None:
        """Start the server with the files that are there."""
        assert self._start(), "sshd has ended"

    def _start(self) -> bool:
        """Start the server; whether it listens, which it says itself by a file."""
        program = shutil.which("sshd") or "/usr/sbin/sshd"
        written = self.folder / "pid"
        written.unlink(missing_ok=True)
        process = self._process = subprocess.Popen([program, "-D", "-e", "-f", str(self.folder / "config")])
        # It writes the file first, and listens already then.
        assert eventually(lambda: process.poll() is not None or (written.exists() and written.read_text() != ""))
        return process.poll() is None

    def __exit__(self, *_: object) -> None:
        assert self._process is not None
        self._process.terminate()
        self._process.wait(PATIENCE)

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
