"""A shell at the other end of a serial line, always the first of its session.

It presses Enter until somebody answers, logs in where that is asked for, and says how fast the line is, so that a link
gets the time that it takes. It promises that name and password are sent at most once.
"""

from __future__ import annotations

from crl.channels.serial import SerialChannel
from crl.deadlines import Deadline
from crl.errors import UsageError
from crl.interactivesessions._spawn import ChannelSpawn
from crl.interactivesessions.shells._consolelogin import ConsoleLogin, ConsoleLoginError
from crl.interactivesessions.shells.bashshell import START_TIMEOUT, BashShell
from crl.interactivesessions.shells.registershell import RegisterShell
from crl.link.lane import FLOW_CONTROL, LaneKind
from crl.secrets import Secret, to_secret

__all__ = ["ConsoleLoginError", "SerialShell"]

# A start bit, eight data bits and a stop bit.
_BITS_OF_BYTE = 10


@RegisterShell()
class SerialShell(BashShell):
    """A shell on a serial line, or another terminal device of this machine.

    Args:
        device: Path of the device, for example ``/dev/ttyUSB0``.
        username: Login name; None where nobody asks for one.
        password: The password, a `str` or a `Secret`; None where nobody asks for one.
        baud: Speed in bits a second.
        flow: ``"none"``, ``"xonxoff"`` or ``"rtscts"``.
        printable: Whether only 7-bit text comes through.
        init_env: As of `BashShell`.
        workdir: As of `BashShell`.
        start_timeout: Seconds that login and start may take together.
    """

    exclusive = True

    def __init__(
        self,
        device: str,
        username: str | None = None,
        password: str | Secret | None = None,
        baud: int | str = 115200,
        flow: str = "none",
        *,
        printable: bool = False,
        init_env: str | None = None,
        workdir: str | None = None,
        start_timeout: float = START_TIMEOUT,
    ) -> None:
        super().__init__(init_env=init_env, workdir=workdir, start_timeout=start_timeout)
        self._device = device
        self._username = username
        self._password = to_secret(password)
        self._baud = int(baud)
        self._flow = flow
        rate = self._baud // _BITS_OF_BYTE
        # Also without flow control here: the other end may have it.
        forbidden = b"" if printable else FLOW_CONTROL.forbidden
        self.lane_kind = LaneKind(forbidden, printable=printable, rate=rate)

    @property
    def host(self) -> str:
        """The device, for there is no other name."""
        return self._device

    def get_start_cmd(self) -> str:
        """There is none.

        Raises:
            UsageError: Always: a serial line is opened on this machine only.
        """
        raise UsageError(
            "a serial line can only be the first shell of a session",
            doing=f"pushing {self._what()}",
            advice="spawn it, or push a BashShell with a terminal program of the other host",
        )

    def spawn(self, timeout: float) -> ChannelSpawn:
        """Open the line.

        Raises:
            SerialLineError: It cannot be used.
        """
        return ChannelSpawn(SerialChannel(self._device, baud=self._baud, flow=self._flow), timeout=timeout)

    def start(self) -> str:
        """Log in, and make the shell known.

        Raises:
            ConsoleLoginError: Nobody answers, or the login failed; the text says why.
            ShellStateError: What came up does not answer as a shell.
        """
        deadline = Deadline.after(self.start_timeout)
        login = ConsoleLogin(self._terminal, self._username, self._password, self._device, self._what())
        login.run(deadline, wake=True)
        return self._set_bash_environment(None, deadline, settled=True)

    def _what(self) -> str:
        return f"{self._name()} ({self._device})"
