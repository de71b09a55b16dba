"""nxproxy as the session's graphics proxy.

The module knows nxproxy's options. The session's cookie goes to it in a file of mode 0600, never in its arguments,
where every user of the controller could read it.
"""

from __future__ import annotations

import os
from typing import ClassVar

from crl.x2go.backends.proxy.base import X2GoProxyBASE
from crl.x2go.x2go_exceptions import X2GoParameterError

__all__ = ["X2GoProxy", "X2GoProxyNX3"]


class X2GoProxyNX3(X2GoProxyBASE):
    """Shows a session of an nxagent (x2goagent) on the controller's display; arguments as of `X2GoProxyBASE`."""

    PROXY_CMD: ClassVar[str] = "nxproxy"
    PROXY_ARGS: ClassVar[list[str]] = ["-S"]
    PROXY_ENV: ClassVar[dict[str, str]] = {"NX_CLIENT": "/bin/true"}

    def _environment(self) -> dict[str, str]:
        return {**super()._environment(), "NX_ROOT": str(self.sessions_root)}

    def _generate_cmdline(self) -> list[str]:
        info, tunnel = self.session_info, self.fw_tunnel
        if info is None or tunnel is None:
            raise X2GoParameterError("nxproxy needs a session and a tunnel")
        errors, options = self.container / "session.err", self.container / "options"
        if set(str(self.container)) & set(",:="):
            raise X2GoParameterError(f"nxproxy cannot use a folder with ',', ':' or '=' in its name: {self.container}")
        address = tunnel.address
        where = f"connect=unix:{address}" if isinstance(address, str) else f"connect={address[0]},port={address[1]}"
        text = f"nx/nx,retry=5,composite=1,{where},clipboard=1,cookie={info.cookie},errors={errors}:{info.display}"
        descriptor = os.open(options, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with open(descriptor, "w", encoding="ascii") as stream:
            os.fchmod(descriptor, 0o600)
            stream.write(text)
        return [self.PROXY_CMD, *self.PROXY_ARGS, f"nx/nx,options={options}:{info.display}"]


X2GoProxy = X2GoProxyNX3
