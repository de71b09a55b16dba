"""Telekinesis of a session: started where server and client have it, and not missed where they do not."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from crl.errors import CrlError
from crl.x2go import defaults
from crl.x2go.log import X2GoLogger, loglevel_INFO, loglevel_WARN
from crl.x2go.telekinesis import X2GoTelekinesisClient

if TYPE_CHECKING:
    from crl.x2go._server import X2GoServer
    from crl.x2go.backends.control.plain import X2GoControlSession
    from crl.x2go.backends.info.plain import X2GoServerSessionInfo

__all__ = ["SessionTelekinesis"]

FEATURE = "X2GO_TELEKINESIS"


class SessionTelekinesis:
    """What `X2GoTerminalSession` has of telekinesis."""

    control_session: X2GoControlSession
    session_info: X2GoServerSessionInfo
    session_instance: Any
    sessions_rootdir: str | os.PathLike[str] | None
    logger: X2GoLogger
    telekinesis_client: X2GoTelekinesisClient | None

    if TYPE_CHECKING:

        @property
        def server(self) -> X2GoServer: ...

    def start_telekinesis(self) -> None:
        """Start the client of telekinesis, when server and session have it and it is installed here.

        What it lacks is logged: the session goes on without.
        """
        self.release_telekinesis()
        info = self.session_info
        if not info.tekictrl_port or not info.tekidata_port or not defaults.SUPPORTED_TELEKINESIS:
            return
        if FEATURE not in self.server.features():
            return
        client = X2GoTelekinesisClient(
            info,
            self.control_session.target,
            sessions_rootdir=self.sessions_rootdir or info.local_container,
            session_instance=self.session_instance,
            logger=self.logger,
        )
        if not client.has_telekinesis_client():
            self.logger("no telekinesis: telekinesis-client is not installed", loglevel=loglevel_INFO)
            return
        try:
            client.start_telekinesis()
        except CrlError as error:
            self.logger(f"{error}", loglevel=loglevel_WARN)
            return
        self.telekinesis_client = client

    def release_telekinesis(self) -> None:
        """End the client of telekinesis, if there is one."""
        client, self.telekinesis_client = self.telekinesis_client, None
        if client is not None:
            client.stop_thread()
