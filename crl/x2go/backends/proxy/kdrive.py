"""x2gokdriveclient as the session's graphics proxy.

The module knows how X2Go's client of x2gokdrive is called: as nxproxy, but by a TCP port, and with a word of its own
for the program. What it says is its own; so it shows a session when it runs and has come through the tunnel.
"""

from __future__ import annotations

import os
import shutil
from typing import Any, ClassVar

from crl.x2go.backends.proxy.nx3 import X2GoProxyNX3
from crl.x2go.x2go_exceptions import X2GoProxyMissing

__all__ = ["X2GoProxy", "X2GoProxyKDRIVE"]

BINARY = "X2GOKDRIVECLIENT_BINARY"


class X2GoProxyKDRIVE(X2GoProxyNX3):
    """Shows a session of an x2gokdrive on the controller's display; arguments as of `X2GoProxyBASE`.

    The variable ``X2GOKDRIVECLIENT_BINARY`` names another program than ``x2gokdriveclient``.

    Attributes:
        PROXY_OPTIONS: As of `X2GoProxyNX3`.
    """

    PROXY_CMD: str = "x2gokdriveclient"
    PROXY_ENV: dict[str, str] = {}
    SUBSYSTEM: ClassVar[str] = "X2Go KDrive Client"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.PROXY_CMD = self._program()

    @classmethod
    def _program(cls) -> str:
        return os.environ.get(BINARY) or cls.PROXY_CMD

    @classmethod
    def require_program(cls) -> None:
        """Make sure the program is installed here.

        Raises:
            X2GoProxyMissing: It is not.
        """
        if shutil.which(cls._program()) is None:
            raise X2GoProxyMissing(
                f"{cls._program()} is not installed on this machine",
                host="this machine",
                doing="connecting the session's graphics",
                advice="install x2gokdriveclient (where your system has none: packages.x2go.org), or say kdrive=False",
            )

    def _listen_address(self) -> tuple[str, int]:
        return ("127.0.0.1", 0)

    def _shows(self) -> bool:
        process, tunnel = self.proxy, self.fw_tunnel
        if process is None or process.poll() is not None or tunnel is None:
            return False
        # A target's tunnel counts its connections, a transport's notes the first.
        connected = getattr(tunnel, "connections", None)
        return bool(getattr(tunnel, "is_active", True) if connected is None else connected)


X2GoProxy = X2GoProxyKDRIVE
