"""nxproxy as the session's graphics proxy.

The module knows nxproxy's options. The session's cookie goes to it in a file of mode 0600, never in its arguments,
where every user of the controller could read it.
"""

from __future__ import annotations

import os
from typing import Any, ClassVar

from crl.x2go.backends.proxy.base import X2GoProxyBASE
from crl.x2go.x2go_exceptions import X2GoParameterError

__all__ = ["X2GoProxy", "X2GoProxyNX3"]

OPTIONS = "options"


class X2GoProxyNX3(X2GoProxyBASE):
    """Shows a session of an nxagent (x2goagent) on the controller's display; arguments as of `X2GoProxyBASE`.

    Attributes:
        PROXY_OPTIONS: nxproxy's own options, beside those that tell it which session; of each proxy's own, so that a
            `process_proxy_options` may add to it.
    """

    PROXY_CMD: str = "nxproxy"
    PROXY_ARGS: list[str] = ["-S"]
    PROXY_ENV: dict[str, str] = {"NX_CLIENT": "/bin/true"}
    PROXY_OPTIONS: list[str] = ["nx/nx", "retry=5", "composite=1", "connect=127.0.0.1", "clipboard=1"]
    SUBSYSTEM: ClassVar[str] = "NX Proxy"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.PROXY_OPTIONS = list(self.PROXY_OPTIONS)

    def _environment(self) -> dict[str, str]:
        return {**super()._environment(), "NX_ROOT": str(self.sessions_root)}

    def _update_local_proxy_socket(self, port: int) -> None:
        self._set_option("port", str(port))

    def _set_option(self, name: str, value: str) -> None:
        """Give an option its only value."""
        kept = [option for option in self.PROXY_OPTIONS if option.partition("=")[0] != name]
        self.PROXY_OPTIONS = [*kept, f"{name}={value}"]

    def _tidy_up(self) -> None:
        """As of the base; the file with the cookie goes too."""
        super()._tidy_up()
        if self._container is not None:
            (self._container / OPTIONS).unlink(missing_ok=True)

    def _generate_cmdline(self) -> list[str]:
        info, tunnel = self.session_info, self.fw_tunnel
        if info is None or tunnel is None:
            raise X2GoParameterError("nxproxy needs a session and a tunnel")
        errors, options = self.container / self.session_errors, self.container / OPTIONS
        if set(str(self.container)) & set(",:="):
            raise X2GoParameterError(f"nxproxy cannot use a folder with ',', ':' or '=' in its name: {self.container}")
        if isinstance(tunnel.address, str):
            self._set_option("connect", f"unix:{tunnel.address}")
        else:
            self._set_option("connect", str(tunnel.address[0]))
        text = ",".join([*self.PROXY_OPTIONS, f"cookie={info.cookie}", f"errors={errors}:{info.display}"])
        descriptor = os.open(options, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
        with open(descriptor, "w", encoding="utf-8") as stream:
            os.fchmod(descriptor, 0o600)
            stream.write(text)
        return [self.PROXY_CMD, *self.PROXY_ARGS, f"nx/nx,options={options}:{info.display}"]


X2GoProxy = X2GoProxyNX3
