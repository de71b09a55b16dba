"""A shell on another host, reached by telnet: as first shell of a session, or pushed over a shell on the way.

The first one is a connection of this process; a pushed one runs the `telnet` program there. It promises that links go
over either, with the bytes escaped that telnet may change, and that name and password are sent at most once.
"""

from __future__ import annotations

import shlex

from crl.channels.telnet import TelnetChannel
from crl.deadlines import Deadline
from crl.interactivesessions._spawn import ChannelSpawn
from crl.interactivesessions.shells._consolelogin import ConsoleLogin, ConsoleLoginError
from crl.interactivesessions.shells._lines import COLUMNS, ROWS
from crl.interactivesessions.shells.bashshell import START_TIMEOUT, BashShell
from crl.interactivesessions.shells.registershell import RegisterShell
from crl.link.lane import TELNET, LaneKind
from crl.secrets import Secret, to_secret

__all__ = ["ConsoleLoginError", "TelnetShell"]


@RegisterShell()
class TelnetShell(BashShell):
    """A shell by telnet. Telnet encrypts nothing: use it where there is no SSH, on networks that you trust.

    Args:
        host: Name or address.
        username: Login name; None where the server asks for none.
        password: The password, a `str` or a `Secret`; None where the server asks for none.
        port: TCP port.
        client: The command that a pushed one runs: without escape character and with every byte.
        lane_kind: What the connection carries.
        init_env: As of `BashShell`.
        workdir: As of `BashShell`.
        start_timeout: Seconds that connection, login and start may take together.
    """

    def __init__(
        self,
        host: str,
        username: str | None = None,
        password: str | Secret | None = None,
        port: int | str = 23,
        *,
        client: str = "telnet -8 -E",
        lane_kind: LaneKind = TELNET,
        init_env: str | None = None,
        workdir: str | None = None,
        start_timeout: float = START_TIMEOUT,
    ) -> None:
        super().__init__(init_env=init_env, workdir=workdir, start_timeout=start_timeout)
        self._host = host
        self._port = int(port)
        self._username = username
        self._password = to_secret(password)
        self._client = client
        self.lane_kind = lane_kind

    @property
    def host(self) -> str:
        """The host given."""
        return self._host

    def get_start_cmd(self) -> str:
        """The client with host and port."""
        return f"{self._client} {shlex.quote(self._host)} {self._port}"

    def spawn(self, timeout: float) -> ChannelSpawn:
        """Connect, as first shell.

        Raises:
            ChannelStartError: There is no connection.
        """
        limit = min(timeout, self.start_timeout)
        channel = TelnetChannel(self._host, self._port, timeout=limit, columns=COLUMNS, rows=ROWS)
        return ChannelSpawn(channel, timeout=timeout)

    def start(self) -> str:
        """Log in, and make the shell known.

        Raises:
            ConsoleLoginError: The login failed; the text says why.
            ShellStateError: What came up does not answer as a shell.
        """
        deadline = Deadline.after(self.start_timeout)
        login = ConsoleLogin(
            self._terminal, self._username, self._password, self._host, self._what(), self._parent_status
        )
        login.run(deadline)
        return self._set_bash_environment(None, deadline, settled=True)

    def _what(self) -> str:
        return f"{self._name()} ({self._host}:{self._port})"
