"""What a session is called and how it is to be: names, parameters, and what they say of its kind.

This is the part of `crl.x2go.X2GoSession` that asks nobody: no server, no display.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from crl.x2go._host import Host
from crl.x2go._sessionparams import SessionParameters
from crl.x2go.backends.info.plain import X2GoServerSessionInfo
from crl.x2go.backends.terminal.plain import X2GoSessionParams, X2GoTerminalSession
from crl.x2go.x2go_exceptions import X2GoProfileException, X2GoSessionException

__all__ = ["SessionNames"]

_ATTRIBUTES = frozenset(
    {
        "server", "port", "profile_name", "profile_id", "use_sshproxy", "sshproxy_reuse_authinfo", "printing",
        "auto_start_or_resume", "auto_connect", "allow_mimebox", "mimebox_extensions", "mimebox_action",
        "allow_share_local_folders", "share_local_folders", "restore_shared_local_folders", "add_to_known_hosts",
        "known_hosts", "forward_sshagent", "session_name", "keep_controlsession_alive", "client_instance",
    }
)  # fmt: skip


class SessionNames:
    """Names and parameters of `crl.x2go.X2GoSession`."""

    control_session: Any
    parameters: SessionParameters
    session_params: X2GoSessionParams
    profile_name: str
    profile_id: str
    uuid: str
    _terminal: X2GoTerminalSession
    _wanted_name: str | None

    if TYPE_CHECKING:

        @property
        def place(self) -> str: ...

        @property
        def info(self) -> X2GoServerSessionInfo: ...

        def get_session_name(self) -> str | None: ...

    @property
    def target(self) -> Host:
        """The host that everything goes over.

        Raises:
            X2GoControlSessionException: There is no connection.
        """
        host: Host = self.control_session.target
        return host

    @property
    def control_params(self) -> dict[str, Any]:
        """The parameters of the login; passwords are secrets, and gone after it."""
        return self.parameters.control

    @property
    def terminal_params(self) -> dict[str, Any]:
        """The parameters of the session itself."""
        return self.parameters.terminal

    @property
    def sshproxy_params(self) -> dict[str, Any]:
        """The parameters of the login on the hop; passwords are secrets, and gone after it."""
        return self.parameters.sshproxy

    def update_params(self, params: Mapping[str, Any]) -> None:
        """Change parameters: attributes of the session, and those of display and login.

        Raises:
            X2GoParameterError: There is none of a name, or a value is not usable.
        """
        rest = {}
        for name, value in params.items():
            if name in _ATTRIBUTES:
                setattr(self, name, value)
            else:
                rest[name] = value
        self.parameters.take(rest)
        ours, others = self.parameters.of_display()
        self.session_params.update(**ours)
        for name, value in others.items():
            if name in rest:
                setattr(self._terminal, name, value)

    def get_session_profile_option(self, option: str) -> Any:
        """An attribute or parameter by its name.

        Raises:
            X2GoProfileException: There is none of that name.
        """
        for group in (self.parameters.terminal, self.parameters.control, self.parameters.sshproxy):
            if option in group:
                return group[option]
        for holder in (self, self.session_params):
            if not option.startswith("_") and hasattr(holder, option):
                return getattr(holder, option)
        raise X2GoProfileException(f"a session has no option {option!r}", doing="looking at a session's options")

    def set_profile_name(self, profile_name: str) -> None:
        """Give it another name for people."""
        self.profile_name = profile_name
        if self.control_session is not None:
            self.control_session.set_profile_name(profile_name)

    def get_profile_name(self) -> str:
        """The name for people."""
        return self.profile_name

    def get_profile_id(self) -> str:
        """The profile's id."""
        return self.profile_id

    def get_uuid(self) -> str:
        """A text that tells this object from others."""
        return self.uuid

    @property
    def session_name(self) -> str | None:
        """The session's name on the server."""
        return self.get_session_name()

    @session_name.setter
    def session_name(self, name: str | None) -> None:
        self.set_session_name(name)

    def set_session_name(self, session_name: str | None) -> None:
        """Say which session of the server it is.

        Raises:
            X2GoStateError: It is another one already, which is shown here.
        """
        if session_name != self.get_session_name():
            if self._terminal.proxy is not None:
                raise X2GoSessionException(f"it is the session {self.get_session_name()} already", host=self.place)
            self._terminal.session_info = X2GoServerSessionInfo()
        self._wanted_name = session_name

    def get_session_info(self) -> X2GoServerSessionInfo:
        """What is known of the session on the server."""
        return self.info

    def get_session_cmd(self) -> str:
        """The session's command."""
        return self._terminal.get_session_cmd()

    def get_session_type(self) -> str | None:
        """The session's letter: D or K desktop, R application, P published applications, S shared desktop."""
        return self._terminal.get_session_type()

    def get_session_title(self) -> str:
        """The title of a desktop's window on the client: the server's, or the one that it was given."""
        return self._terminal.given_title or f"X2GO-{self.get_session_name()}"

    @property
    def terminal_session(self) -> X2GoTerminalSession | None:
        """What shows the session here; None while nothing does."""
        return self._terminal if self._terminal.proxy is not None else None

    def get_terminal_session(self) -> X2GoTerminalSession | None:
        """As `terminal_session`."""
        return self.terminal_session

    def has_terminal_session(self) -> bool:
        """Whether this object shows the session here."""
        return self.terminal_session is not None

    is_associated = has_terminal_session

    def is_desktop_session(self) -> bool:
        """Whether it is a desktop."""
        return self._terminal.is_desktop_session()

    def is_rootless_session(self) -> bool:
        """Whether its windows stand among those of the client's display."""
        return self._terminal.is_rootless_session()

    def is_shadow_session(self) -> bool:
        """Whether it shows a desktop of the server."""
        return self._terminal.is_shadow_session()

    def is_pubapp_session(self) -> bool:
        """Whether it publishes the server's menu."""
        return self._terminal.is_pubapp_session()

    def is_published_applications_provider(self) -> bool:
        """Whether it publishes the server's menu."""
        return self._terminal.is_published_applications_provider()
