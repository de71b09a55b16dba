"""Session records of a server, with python-x2go's class and attribute names.

`X2GoServerSessionInfo` holds what is known of one session, `X2GoServerSessionList` what ``x2golistsessions`` printed.
Text of the server is read by total functions: a line that is no session is left out, a field that is no number stays
None, and nothing here raises because of what a server printed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from crl.x2go._records import SessionRow, StartAnswer, parse_sessions, parse_start

__all__ = [
    "X2GoServerSessionInfo",
    "X2GoServerSessionInfoSTDOUT",
    "X2GoServerSessionList",
    "X2GoServerSessionListSTDOUT",
]

_TYPE = re.compile(r"_st(?P<letter>[A-Z])(?P<rest>[^_]*)", re.ASCII)


class X2GoServerSessionInfo:
    """What is known of one session.

    Attributes:
        name: The session's name on its server, "" when nothing is known.
        agent_pid: Process number of its x2goagent; None while the server starts it.
        display: Number of its X display on the server.
        hostname: The server's own name.
        status: "R" running, "S" suspended, "T" termination asked for, "F" finished; the list's word, not the truth.
        date_created: Local time of the server.
        date_suspended: When the status changed last; local time of the server.
        cookie: Opens both the session's display and its graphics; kept out of ``repr``.
        client: Where the client said it is.
        username: Owner on the server.
        graphics_port: Port on the server's loopback where the agent waits for its proxy.
        snd_port: Port for sound.
        sshfs_port: Port for shared folders.
        tekictrl_port: Port for telekinesis, None when off.
        tekidata_port: Port for telekinesis, None when off.
        local_container: Folder of the session on the client.
        remote_container: Folder of the session on the server.
    """

    def __init__(self) -> None:
        self._protected = False
        self.clear()

    def __str__(self) -> str:
        return self.name

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name or '(empty)'} {self.status} :{self.display} pid {self.agent_pid}>"

    def clear(self) -> None:
        """Forget everything."""
        self.name = ""
        self.agent_pid: int | None = None
        self.display: int | None = None
        self.hostname = ""
        self.status = ""
        self.date_created = ""
        self.date_suspended = ""
        self.cookie = ""
        self.client = ""
        self.username = ""
        self.graphics_port: int | None = None
        self.snd_port: int | None = None
        self.sshfs_port: int | None = None
        self.tekictrl_port: int | None = None
        self.tekidata_port: int | None = None
        self.local_container = ""
        self.remote_container = ""

    @classmethod
    def from_row(cls, row: SessionRow) -> X2GoServerSessionInfo:
        """The record of one line of the list."""
        info = cls()
        info._take(row)
        return info

    def _take(self, row: SessionRow) -> None:
        for key in SessionRow.__dataclass_fields__:
            if key != "age":
                setattr(self, key, getattr(row, key))

    def _parse_x2golistsessions_line(self, x2go_output: str) -> bool:
        """Take over one line of ``x2golistsessions``; False when it is none."""
        rows = parse_sessions(x2go_output)
        if len(rows) != 1:
            return False
        self._take(rows[0])
        return True

    def _parse_x2gostartagent_output(self, x2go_output: str) -> bool:
        """Take over what ``x2gostartagent`` printed; False when it names no session."""
        answer = parse_start(x2go_output)
        if answer is not None:
            self._take_answer(answer)
        return answer is not None

    def _take_answer(self, answer: StartAnswer) -> None:
        for key in StartAnswer.__dataclass_fields__:
            setattr(self, key, getattr(answer, key))

    def initialize(
        self,
        x2go_output: str,
        username: str = "",
        hostname: str = "",
        local_container: str = "",
        remote_container: str = "",
    ) -> bool:
        """Take over the output of ``x2gostartagent`` and protect it from list updates.

        Returns:
            False when the output names no session; the record is then as before.
        """
        answer = parse_start(x2go_output)
        if answer is None:
            return False
        self.initialize_from(answer, username, hostname, local_container, remote_container)
        return True

    def initialize_from(
        self,
        answer: StartAnswer,
        username: str = "",
        hostname: str = "",
        local_container: str = "",
        remote_container: str = "",
    ) -> None:
        """As `initialize`, with the answer already read."""
        self._take_answer(answer)
        self.status = "R"
        self.username = username
        self.hostname = hostname
        self.local_container = local_container
        self.remote_container = remote_container
        self.protect()

    def update(self, session_info: X2GoServerSessionInfo) -> None:
        """Take over what changes in a session's life: ports, status and its date."""
        ports = ("graphics_port", "snd_port", "sshfs_port", "tekictrl_port", "tekidata_port")
        for key in (*ports, "status", "date_suspended"):
            setattr(self, key, getattr(session_info, key))

    def protect(self) -> None:
        """Keep the record from being overwritten by list updates."""
        self._protected = True

    def unprotect(self) -> None:
        """Allow list updates again."""
        self._protected = False

    def is_protected(self) -> bool:
        """Whether list updates are kept off."""
        return self._protected

    def is_initialized(self) -> bool:
        """Whether a session is known."""
        return bool(self.name)

    def get_status(self) -> str:
        """The list's letter, "" when unknown."""
        return self.status

    def is_running(self) -> bool:
        """Whether the list says so; an agent that only waits for its proxy counts too."""
        return self.status == "R"

    def is_suspended(self) -> bool:
        """Whether the list says so."""
        return self.status == "S"

    def get_session_type(self) -> str | None:
        """The letter in the name: D desktop, R application, P published applications, S shared desktop, K kdrive."""
        match = _TYPE.search(self.name)
        if match is None:
            return None
        return "P" if self.is_published_applications_provider() else match["letter"]

    def get_share_mode(self) -> str | None:
        """"0" (look only) or "1" of a shared desktop, None of others."""
        match = _TYPE.search(self.name)
        return match["rest"][:1] if match and match["letter"] == "S" and match["rest"][:1] in {"0", "1"} else None

    def is_published_applications_provider(self) -> bool:
        """Whether the session publishes the server's menu."""
        return "_stRPUBLISHED_" in self.name

    def is_desktop_session(self) -> bool:
        """Whether it is a desktop."""
        return self.get_session_type() in {"D", "K"}

    def is_kdrive_session(self) -> bool:
        """Whether its agent is x2gokdrive."""
        return self.get_session_type() == "K"

    def is_nx3_session(self) -> bool:
        """Whether its agent is nxagent."""
        return self.get_session_type() in {"D", "R", "P"}


class X2GoServerSessionList:
    """The sessions that a server listed.

    Args:
        x2go_output: What ``x2golistsessions`` printed; lines that are no sessions are left out.
        info_backend: Makes the record of a line.
    """

    def __init__(
        self, x2go_output: str | None = None, info_backend: type[X2GoServerSessionInfo] = X2GoServerSessionInfo
    ) -> None:
        self.sessions: dict[str, X2GoServerSessionInfo] = {}
        self.set_sessions({row.name: info_backend.from_row(row) for row in parse_sessions(x2go_output or "")})

    def __call__(self) -> dict[str, X2GoServerSessionInfo]:
        """As `get_sessions`."""
        return self.get_sessions()

    def __iter__(self) -> Iterator[str]:
        return iter(self.sessions)

    def __len__(self) -> int:
        return len(self.sessions)

    def __contains__(self, session_name: object) -> bool:
        return session_name in self.sessions

    def get_sessions(self) -> dict[str, X2GoServerSessionInfo]:
        """The records by session name."""
        return self.sessions

    def set_sessions(self, sessions: dict[str, X2GoServerSessionInfo]) -> None:
        """Replace the records."""
        self.sessions = sessions

    def get_session_info(self, session_name: str) -> X2GoServerSessionInfo | None:
        """The record of one session, None when it is not in the list."""
        return self.sessions.get(session_name)

    def get_session_with(
        self, property_name: str, value: Any, hostname: str | None = None
    ) -> X2GoServerSessionInfo | None:
        """The first session with that property.

        Args:
            property_name: An attribute of `X2GoServerSessionInfo`.
            value: What it has to be; a display may be given as ``":50.0"``.
            hostname: Only sessions of this server.
        """
        wanted = str(value).lstrip(":").partition(".")[0] if property_name == "display" else str(value)
        matches: Callable[[X2GoServerSessionInfo], bool] = lambda info: (  # noqa: E731
            str(getattr(info, property_name, None)) == wanted and hostname in (None, info.hostname)
        )
        return next(filter(matches, self.sessions.values()), None)


X2GoServerSessionInfoSTDOUT = X2GoServerSessionInfo
X2GoServerSessionListSTDOUT = X2GoServerSessionList
