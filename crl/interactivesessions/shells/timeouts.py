"""The timeouts of shells and proxies that hold for the whole process, as keywords for Robot Framework.

It sets what shells and proxies look at and starts nothing. It promises that each reset brings back what there was at
first.
"""

from __future__ import annotations

from crl.interactivesessions.remoteproxies import _RemoteProxy
from crl.interactivesessions.shells.msgreader import MsgReader
from crl.interactivesessions.shells.pythonshellbase import PythonShellBase
from crl.interactivesessions.shells.shell import DEFAULT_STATUS_TIMEOUT

__all__ = ["Timeouts"]


class Timeouts:
    """Sets timeouts for the whole process.

    | Library      | crl.interactivesessions.shells.timeouts.Timeouts | AS | Timeouts |
    | Timeouts.Set | 100 |
    | Timeouts.Reset |
    """

    ROBOT_LIBRARY_SCOPE = "GLOBAL"

    @staticmethod
    def set(timeout: float) -> None:
        """Wait this long for the status of a command, where that has to be asked for, and for banners.

        Args:
            timeout: Seconds.
        """
        DEFAULT_STATUS_TIMEOUT.set(float(timeout))
        MsgReader.set_timeout(timeout)

    @staticmethod
    def reset() -> None:
        """Take back `Set`: 5 seconds for the status and 15 for banners."""
        DEFAULT_STATUS_TIMEOUT.reset()
        MsgReader.reset_timeout()

    @staticmethod
    def set_python_short_timeout(timeout: float) -> None:
        """Wait this long for short statements of a Python shell that have no timeout of their own.

        Args:
            timeout: Seconds.
        """
        PythonShellBase.set_short_timeout(float(timeout))

    @staticmethod
    def reset_python_short_timeout() -> None:
        """Take back `Set Python Short Timeout`: 10 seconds."""
        PythonShellBase.reset_short_timeout()

    @staticmethod
    def set_proxy_default_timeout(timeout: float) -> None:
        """Wait this long for calls of proxies that have no timeout of their own.

        Args:
            timeout: Seconds.
        """
        _RemoteProxy.set_remote_proxy_default_timeout(float(timeout))

    @staticmethod
    def reset_proxy_default_timeout() -> None:
        """Take back `Set Proxy Default Timeout`: the terminal's own, which is an hour."""
        _RemoteProxy.reset_remote_proxy_default_timeout()
