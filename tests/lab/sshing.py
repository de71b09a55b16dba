"""Plain OpenSSH, as a user of the lab would call it, with passwords through SSH_ASKPASS."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from crl.lab import Lab


class Ssh:
    def __init__(self, lab: Lab, folder: Path) -> None:
        self.lab = lab
        self.askpass = folder / "askpass"
        self.askpass.write_text('#!/bin/sh\nprintf "%s\\n" "$LAB_TEST_PASSWORD"\n')
        self.askpass.chmod(0o700)

    def __call__(
        self, alias: str, command: str, *options: str, password: str = "", typed: str = "", timeout: float = 60
    ) -> subprocess.CompletedProcess[str]:
        environment = os.environ | {
            "SSH_ASKPASS": str(self.askpass),
            "SSH_ASKPASS_REQUIRE": "force",
            "LAB_TEST_PASSWORD": password,
        }
        return subprocess.run(
            ["ssh", "-F", str(self.lab.ssh_config), *options, alias, command],
            capture_output=True,
            text=True,
            input=typed,
            env=environment,
            timeout=timeout,
            check=False,
        )

    def as_role(self, host: str, role: str, command: str, *options: str) -> subprocess.CompletedProcess[str]:
        password = self.lab.host(host).users[role].password
        return self(f"{host}-{role}", command, *options, password=password.value if password else "")
