"""A shell by SSH without an ``ssh`` program: the first shell of a session, logged in to by paramiko in this process.

It is an `SshShell` with the published package's arguments. It promises that host keys are verified as everywhere, and
that every failure is a `RemoteError` whose cause says exactly why.
"""

from __future__ import annotations

import os

from crl.interactivesessions._spawn import ChannelSpawn
from crl.interactivesessions.shells.registershell import RegisterShell
from crl.interactivesessions.shells.ssherrors import SshError
from crl.interactivesessions.shells.sshshell import SshShell
from crl.secrets import Secret

__all__ = ["RemoteError", "RemoteShell"]


class RemoteError(SshError):
    """A `RemoteShell` could not be started; the cause is the exact error.

    Attributes:
        definite: Whether trying again cannot help, as with a wrong password.
    """

    definite = False


@RegisterShell()
class RemoteShell(SshShell):
    """A shell by SSH, with paramiko; only as the first shell of a session.

    Args:
        ip: Address, name, or alias of the ssh configuration.
        username: The user; None is the configuration's.
        password: The password, a `str` or a `Secret`.
        tty_echo: Whether the terminal echoes what is typed.
        port: The port; None is the configuration's.
        source: A file to source after the login, as `init_env` of `BashShell`.
        key_file: A private key.
        sudo: Whether to become root by ``sudo -i``, without a password; where it asks for one, push a `SudoShell`.
        config: As of `SshShell`.
        known_hosts: As of `SshShell`.
        host_keys: As of `SshShell`.
        start_timeout: As of `SshShell`.
    """

    def __init__(
        self,
        ip: str,
        username: str | None = None,
        password: str | Secret | None = None,
        tty_echo: bool = False,
        port: int | str | None = None,
        source: str | None = None,
        key_file: str | os.PathLike[str] | None = None,
        sudo: bool | None = None,
        *,
        config: str | os.PathLike[str] | None = None,
        known_hosts: str | os.PathLike[str] | None = None,
        host_keys: str | None = None,
        start_timeout: float = 30.0,
    ) -> None:
        super().__init__(
            ip,
            username,
            password,
            tty_echo,
            port=port,
            init_env=source,
            identity=key_file,
            config=config,
            known_hosts=known_hosts,
            host_keys=host_keys,
            start_timeout=start_timeout,
            backend="paramiko",
            command="sudo -i" if sudo else None,
        )

    def get_start_cmd(self) -> str:
        """Raise, since there is no command: this shell is made in this process.

        Raises:
            RemoteError: Always.
        """
        raise RemoteError(
            "a RemoteShell can only be the first shell of a session",
            host=self.host,
            doing=f"starting {self._what()}",
            advice="push an SshShell, or reach the host by jump= of an SshShell",
        )

    def _has_own_start_cmd(self) -> bool:
        return False

    def spawn(self, timeout: float) -> ChannelSpawn:
        """Log in.

        Raises:
            RemoteError: It failed; the cause says why.
        """
        try:
            return super().spawn(timeout)
        except SshError as error:
            ours = RemoteError(f"{type(error).__name__}: {error.message}", host=error.host, hop=error.hop)
            ours.doing, ours.advice, ours.transcript = error.doing, error.advice, error.transcript
            ours.definite = getattr(error, "definite", False)
            raise ours from error
