"""A serial line, or any other terminal device of this machine, as a channel.

It sets the device up with termios, keeps others of this kind out with a lock, and puts the settings back at the end. It
promises what `DescriptorChannel` promises.
"""

from __future__ import annotations

import fcntl
import os
import termios
import tty
from contextlib import suppress
from typing import Any

from crl.channels._descriptor import DescriptorChannel
from crl.channels.base import ChannelStartError
from crl.errors import UsageError

__all__ = ["FLOWS", "SerialChannel", "SerialLineError"]

FLOWS = ("none", "xonxoff", "rtscts")


class SerialLineError(ChannelStartError):
    """A serial line cannot be opened; trying again does not help."""

    definite = True


class SerialChannel(DescriptorChannel):
    """One serial line: 8 data bits, no parity, one stop bit.

    Args:
        device: Path of the device, for example ``/dev/ttyUSB0``.
        baud: Speed in bits a second.
        flow: ``"none"``, ``"xonxoff"`` or ``"rtscts"``.

    Raises:
        SerialLineError: It cannot be opened, is no terminal, or is in use by another channel.
        UsageError: There is no such speed or flow control.
    """

    def __init__(self, device: str, *, baud: int = 115200, flow: str = "none") -> None:
        self._descriptor = -1
        speed = getattr(termios, f"B{baud}", None)
        if speed is None or flow not in FLOWS:
            raise UsageError(
                f"{baud} baud with flow control {flow!r} is not possible",
                doing=f"opening {device}",
                advice=f"use a standard speed, and one of {', '.join(FLOWS)}",
            )
        descriptor = -1
        try:
            descriptor = os.open(device, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._before = termios.tcgetattr(descriptor)
            _set_up(descriptor, speed, flow)
        except (OSError, termios.error) as error:
            if descriptor >= 0:
                os.close(descriptor)
            why = "it is in use" if isinstance(error, BlockingIOError) else str(error.args[-1])
            raise SerialLineError(
                f"{device} cannot be used: {why}",
                doing="opening a serial line",
                advice="see whether the device is there and who else uses it (fuser)",
            ) from error
        super().__init__(descriptor, f"serial line {device}")

    def close(self) -> None:
        """Put the settings back and give the line up; again is harmless."""
        if not self.closed:
            with suppress(termios.error):  # the device has gone, and its settings with it
                termios.tcflush(self.fileno(), termios.TCIOFLUSH)
                termios.tcsetattr(self.fileno(), termios.TCSANOW, self._before)
        super().close()


def _set_up(descriptor: int, speed: int, flow: str) -> None:
    tty.setraw(descriptor, termios.TCSANOW)
    settings: list[Any] = termios.tcgetattr(descriptor)
    settings[0] &= ~(termios.IXON | termios.IXOFF | termios.IXANY)
    settings[2] |= termios.CLOCAL | termios.CREAD
    settings[2] &= ~termios.CRTSCTS
    if flow == "xonxoff":
        settings[0] |= termios.IXON | termios.IXOFF
    elif flow == "rtscts":
        settings[2] |= termios.CRTSCTS
    settings[4] = settings[5] = speed
    termios.tcsetattr(descriptor, termios.TCSANOW, settings)
