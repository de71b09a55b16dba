"""The prompt of OpenSSH's ``sftp``, as a shell.

It knows the dialogue of an SSH login and sftp's prompt. It promises that host keys are verified and that the password
is sent once; for copies in programs use the files of a link, which need no prompt.
"""

from __future__ import annotations

import shlex
from dataclasses import replace
from typing import Final

from crl.channels import LocalPtyChannel
from crl.channels.ssh.diagnosis import diagnose
from crl.channels.ssh.openssh import ssh_options
from crl.channels.ssh.settings import SshSettings
from crl.deadlines import Deadline
from crl.interactivesessions._spawn import ChannelSpawn
from crl.interactivesessions.interactivesessionexceptions import InteractiveSessionError
from crl.interactivesessions.shells._lines import COLUMNS, ROWS
from crl.interactivesessions.shells._sshlogin import log_in_through_terminal
from crl.interactivesessions.shells.login import LoginDialogue, Source
from crl.interactivesessions.shells.registershell import RegisterShell
from crl.interactivesessions.shells.shell import Shell
from crl.interactivesessions.shells.ssherrors import SshError
from crl.secrets import Secret, to_secret

__all__ = ["SftpConnectionError", "SftpShell"]

_PROMPT: Final = "sftp> "


class SftpConnectionError(InteractiveSessionError):
    """The sftp did not come up; the text says why.

    Attributes:
        definite: Whether trying again cannot help, as with a wrong password.
    """

    definite = False


@RegisterShell()
class SftpShell(Shell):
    """An ``sftp`` to a host, from this machine or from the shell that it is pushed over.

    Args:
        ip: Address, name, or alias of the ssh configuration.
        username: The user; None is the configuration's.
        password: The password, a `str` or a `Secret`; None logs in by key.
        cmd: The program.
        port: The port; None is the configuration's.
        identity: A private key.
        config: The ssh configuration; None is the user's own.
        known_hosts: The file of known host keys; None is ssh's own.
        host_keys: As of `SshShell`.
        start_timeout: Seconds that login and start may take.
    """

    def __init__(
        self,
        ip: str,
        username: str | None = None,
        password: str | Secret | None = None,
        cmd: str = "sftp",
        *,
        port: int | None = None,
        identity: str | None = None,
        config: str | None = None,
        known_hosts: str | None = None,
        host_keys: str | None = None,
        start_timeout: float = 30.0,
    ) -> None:
        super().__init__()
        self._prompt = _PROMPT
        self._cmd = cmd
        self._password = to_secret(password)
        self.start_timeout = start_timeout
        own = [] if username is None else [f"User={username}"]
        own += [] if port is None else [f"Port={port}"]
        own += ["NumberOfPasswordPrompts=1" if self._password else "BatchMode=yes", "LogLevel=ERROR"]
        own += ["ControlMaster=no", "ControlPath=none"]
        self.settings = SshSettings(
            ip, identity=identity, config=config, known_hosts=known_hosts, host_keys=host_keys, options=tuple(own)
        )

    @property
    def host(self) -> str:
        """The host's name as it was given."""
        return self.settings.host

    def get_start_cmd(self) -> str:
        """The command; holds no secret."""
        words = [*ssh_options(replace(self.settings, user=None, port=None)), "--", self.settings.host]
        return f"env TERM=dumb {self._cmd} {' '.join(map(shlex.quote, words))}"

    def spawn(self, timeout: float) -> ChannelSpawn:
        """Start it on this machine, as first shell, in a terminal that does not echo: sftp shows what is typed."""
        command = ["/bin/sh", "-c", f"stty -echo; exec {self.get_start_cmd()}"]
        channel = LocalPtyChannel(command, columns=COLUMNS, rows=ROWS, name="sftp")
        return ChannelSpawn(channel, timeout=timeout)

    def start(self) -> str:
        """Log in and wait for the prompt.

        Raises:
            SftpConnectionError: It did not come; the cause is the exact error.
        """
        secrets = [self._password] if self._password else []
        dialogue = LoginDialogue(_PROMPT.encode(), passwords=secrets, one_terminal=True)
        deadline = Deadline.after(self.start_timeout)
        try:
            after = log_in_through_terminal(self._terminal, dialogue, self.settings, deadline, self._parent_status)
        except SshError as error:
            raise self._failed(error, dialogue) from error
        self._terminal.take_back(after)
        return ""

    def _failed(self, error: SshError, dialogue: LoginDialogue) -> SftpConnectionError:
        seen = dialogue.transcript(Source.DATA)
        cause = error if self._parent_status or dialogue.refusal else diagnose(seen, self.settings)
        refused = dialogue.answered > 0
        ours = SftpConnectionError(
            "the password was not accepted; it is not tried again" if refused else cause.message,
            host=self.host,
            doing="starting sftp",
            advice=cause.advice,
            transcript=seen,
        )
        ours.definite = refused or getattr(cause, "definite", False)
        return ours

    def _exec_cmd(self, cmd: str) -> None:
        super()._exec_cmd(cmd)
        # sftp's own line editor shows what is typed, whatever the terminal does.
        self._read_until("\r\n")

    def exec_command(self, cmd: str, timeout: float | None = -1) -> str:
        """Run a command of sftp and return what it printed; see `Shell.exec_command`."""
        # What is typed while the editor is only about to listen is shown twice.
        return super().exec_command(cmd, timeout).removeprefix(f"{cmd}\r\n")

    def exit(self) -> None:
        """Leave sftp."""
        self._send_input_line("bye")
