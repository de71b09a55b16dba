"""What is known of one session: its name, kind and state, without changing anything."""

from __future__ import annotations

from typing import TYPE_CHECKING

from crl.x2go._remote import AgentReport
from crl.x2go.backends.info.plain import X2GoServerSessionInfo
from crl.x2go.backends.proxy.base import X2GoProxyBASE
from crl.x2go.backends.terminal._params import X2GoSessionParams
from crl.x2go.state import AgentState

if TYPE_CHECKING:
    from crl.x2go._server import X2GoServer
    from crl.x2go.backends.control.plain import X2GoControlSession

__all__ = ["SessionFacts"]


class SessionFacts:
    """What `X2GoTerminalSession` knows."""

    control_session: X2GoControlSession
    session_info: X2GoServerSessionInfo
    params: X2GoSessionParams
    proxy: X2GoProxyBASE | None

    if TYPE_CHECKING:

        @property
        def server(self) -> X2GoServer: ...

    def get_session_name(self) -> str:
        """The session's name, "" before its start."""
        return self.session_info.name

    def get_session_info(self) -> X2GoServerSessionInfo:
        """What is known of the session."""
        return self.session_info

    def get_session_cmd(self) -> str:
        """The session's command."""
        return "PUBLISHED" if self.params.is_published else " ".join(self.params.words())

    def get_session_type(self) -> str | None:
        """The session's letter: D or K desktop, R application, P published applications, S shared desktop."""
        return self.session_info.get_session_type() or self.params.rewrite_session_type()

    def is_desktop_session(self) -> bool:
        """Whether it is a desktop."""
        return self.get_session_type() in {"D", "K"}

    def is_kdrive_session(self) -> bool:
        """Whether its agent is x2gokdrive."""
        return self.get_session_type() == "K"

    def is_rootless_session(self) -> bool:
        """Whether its windows stand among those of the client's display."""
        return self.get_session_type() in {"R", "P"}

    def is_shadow_session(self) -> bool:
        """Whether it shows a desktop of the server."""
        return self.get_session_type() == "S"

    def is_pubapp_session(self) -> bool:
        """Whether it publishes the server's menu."""
        return self.is_published_applications_provider()

    def is_published_applications_provider(self) -> bool:
        """Whether it publishes the server's menu."""
        return self.get_session_type() == "P"

    def color_depth(self) -> int:
        """Bits of colour of the session's display."""
        return self.params.depth

    def session_info_protect(self) -> None:
        """Keep list updates off the record."""
        self.session_info.protect()

    def session_info_unprotect(self) -> None:
        """Allow list updates of the record again."""
        self.session_info.unprotect()

    def is_session_info_protected(self) -> bool:
        """Whether list updates are kept off the record."""
        return self.session_info.is_protected()

    def ok(self) -> bool:
        """Whether the session is known and its proxy shows it."""
        return self.session_info.is_initialized() and self.proxy is not None and self.proxy.ok()

    def look(self) -> AgentReport:
        """The agent's state on the server now."""
        return self.server.look(self.session_info)

    def is_running(self) -> bool:
        """Whether the agent runs, asked of the server."""
        return self.look().state is AgentState.RUNNING

    def is_suspended(self) -> bool:
        """Whether the agent is suspended, asked of the server."""
        report = self.look()
        return report.alive and report.state is AgentState.SUSPENDED

    def is_connected(self) -> bool:
        """Whether there is a login on the server."""
        return self.control_session.is_connected()

    def get_printing_spooldir(self) -> str:
        """The folder of print jobs on the server."""
        return f"{self.session_info.remote_container}/spool"

    def get_mimebox_spooldir(self) -> str:
        """The folder of the MIME box on the server."""
        return f"{self.session_info.remote_container}/mimebox"
