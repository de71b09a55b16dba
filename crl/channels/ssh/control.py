"""Further sessions on the connection of an ssh that runs already, by OpenSSH's own multiplexing.

The ssh of a terminal listens on a socket in a fresh folder of mode 0700. As soon as it does, we keep a descriptor of
the socket and remove socket and folder: nobody else finds it, a kill leaves nothing behind, and we can still connect.
It promises that no second login is ever tried: where the host opens no further session, there is none.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from typing import Final

from crl.channels.base import Channel, ChannelClosed
from crl.channels.process import ProcessChannel
from crl.channels.ssh.openssh import local_environment
from crl.channels.ssh.settings import NO_CONFIG
from crl.deadlines import Deadline

__all__ = ["ControlSocket"]

# A unix socket's path has 107 bytes, and ssh adds seventeen while it makes it.
_LONGEST_PATH: Final = 107 - 17
_NAME: Final = "s"
_OPTIONS: Final = (
    # Where the socket does not answer, ssh would connect anew; then this ends it.
    "ProxyCommand=false",
    "BatchMode=yes",
    "ClearAllForwardings=yes",
    "ForwardAgent=no",
    "ForwardX11=no",
    "ControlMaster=no",
    "EscapeChar=none",
    "LogLevel=ERROR",
)


class ControlSocket:
    """The control socket of one ssh; made by `make` before that ssh starts.

    Args:
        folder: A folder of our own, which holds the socket and nothing else.

    Attributes:
        path: Where ssh is to listen.
    """

    def __init__(self, folder: str) -> None:
        self._folder: str | None = folder
        self._descriptor = -1
        self.path = os.path.join(folder, _NAME)

    @classmethod
    def make(cls) -> ControlSocket | None:
        """One in a fresh folder; None where no folder with a short enough path can be made."""
        for place in (tempfile.gettempdir(), "/tmp"):
            if len(os.fsencode(os.path.join(place, "crl-12345678", _NAME))) <= _LONGEST_PATH:
                with contextlib.suppress(OSError):  # the next place, or none
                    return cls(tempfile.mkdtemp(prefix="crl-", dir=place))
        return None

    def seize(self) -> bool:
        """Take the socket away from its path, once the login is done; False when ssh does not listen."""
        with contextlib.suppress(OSError):
            self._descriptor = os.open(self.path, os.O_PATH | os.O_CLOEXEC)
        self._remove()
        return self._descriptor >= 0

    def open_channel(self, command: str, deadline: Deadline) -> Channel:
        """Run a command without a terminal on the connection.

        Args:
            command: What the user's login shell there is to run.
            deadline: When to give up.

        Raises:
            ChannelStartError: There is no ssh.
            ChannelClosed: The socket was closed.
        """
        if self._descriptor < 0:
            raise ChannelClosed("the connection is closed")
        argv = ["ssh", "-F", NO_CONFIG, "-T", "-S", f"/proc/{os.getpid()}/fd/{self._descriptor}"]
        left = deadline.remaining()
        options = _OPTIONS if left is None else (*_OPTIONS, f"ConnectTimeout={max(1, int(left))}")
        for option in options:
            argv += ["-o", option]
        return ProcessChannel([*argv, "--", "beside", command], env=local_environment(), name="ssh", dialogue=False)

    def _remove(self) -> None:
        folder, self._folder = self._folder, None
        if folder is not None:
            with contextlib.suppress(FileNotFoundError):  # ssh did not get so far, or has ended
                os.unlink(self.path)
            os.rmdir(folder)

    def close(self) -> None:
        """Forget the socket, and remove it where it still has a path; again is harmless."""
        self._remove()
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)
