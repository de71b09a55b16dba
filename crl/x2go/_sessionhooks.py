"""The hooks of a session: what an application can hear and decide by overriding methods of its client.

A session forwards each to its client, or logs it when it has none. Which failure belongs to which hook stands here
too, and nowhere else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from crl.errors import CrlError
from crl.x2go.log import X2GoLogger, loglevel_WARN
from crl.x2go.x2go_exceptions import (
    X2GoCommandNotFound,
    X2GoControlSessionException,
    X2GoDesktopSharingDenied,
    X2GoException,
    X2GoSFTPClientException,
)

__all__ = ["SessionHooks"]


class SessionHooks:
    """The hooks of `crl.x2go.X2GoSession`."""

    client_instance: Any
    control_session: Any
    profile_name: str
    logger: X2GoLogger
    faulty_tunnel: bool

    if TYPE_CHECKING:

        def get_session_name(self) -> str | None: ...

        def get_session_cmd(self) -> str: ...

        def _leave_lost(self) -> None: ...

        def _release(self) -> None: ...

    def get_client_instance(self) -> Any:
        """The client that this session belongs to, None for one that stands alone."""
        return self.client_instance

    def _tell(self, hook: str, text: str, *args: Any, **kwargs: Any) -> Any:
        """Call a hook of the client, or log what there was to tell."""
        if self.client_instance is None:
            self.logger(f"{self.profile_name}: {text}", loglevel=loglevel_WARN)
            return None
        return getattr(self.client_instance, hook)(*args, **kwargs)

    def _names(self) -> dict[str, str]:
        return {"profile_name": self.profile_name, "session_name": self.get_session_name() or "UNKNOWN"}

    def HOOK_on_control_session_death(self) -> None:
        """The connection to the server was lost."""
        self._tell("HOOK_on_control_session_death", "the connection to the server was lost", self.profile_name)

    def HOOK_on_failing_SFTP_client(self) -> None:
        """Files cannot be brought to the server."""
        self._tell("HOOK_on_failing_SFTP_client", "files cannot be brought to the server", **self._names())

    def HOOK_auto_connect(self) -> None:
        """The login by itself did not work: somebody has to give a password."""
        self._tell("HOOK_profile_auto_connect", "no login without a password", profile_name=self.profile_name)

    def HOOK_session_startup_failed(self) -> None:
        """The session could not be started or resumed."""
        self._tell("HOOK_session_startup_failed", "the session was not started", profile_name=self.profile_name)

    def HOOK_desktop_sharing_denied(self) -> None:
        """The owner of a desktop did not allow to share it."""
        self._tell("HOOK_desktop_sharing_denied", "the desktop is not shared", profile_name=self.profile_name)

    def HOOK_list_desktops_timeout(self) -> None:
        """The list of desktops took too long."""
        self._tell("HOOK_list_desktops_timeout", "listing desktops took too long", profile_name=self.profile_name)

    def HOOK_no_such_desktop(self, desktop: str = "UNKNOWN") -> None:
        """A desktop that was to be shared is not there."""
        text = f"there is no desktop {desktop}"
        self._tell("HOOK_no_such_desktop", text, profile_name=self.profile_name, desktop=desktop)

    def HOOK_no_such_command(self, cmd: str) -> None:
        """The command of the session does not exist on the server."""
        self._tell("HOOK_no_such_command", f"there is no command {cmd}", cmd, **self._names())

    def HOOK_on_sound_tunnel_failed(self) -> None:
        """There is no sound: this machine has no sound server, or there is no way to it."""
        self._tell("HOOK_on_sound_tunnel_failed", "there is no tunnel for sound", **self._names())

    def HOOK_rforward_request_denied(self, server_port: int = 0) -> None:
        """The server did not let us listen there."""
        text = f"the server does not listen on port {server_port} for us"
        self._tell("HOOK_rforward_request_denied", text, **self._names(), server_port=server_port)

    def HOOK_forwarding_tunnel_setup_failed(
        self, chain_host: str = "UNKNOWN", chain_port: int = 0, subsystem: str | None = None
    ) -> None:
        """A tunnel to the server could not be opened."""
        text = f"no tunnel to {chain_host} port {chain_port}{f' ({subsystem})' if subsystem else ''}"
        where = {"chain_host": chain_host, "chain_port": chain_port, "subsystem": subsystem}
        if (subsystem or "").endswith("Proxy"):
            self.faulty_tunnel = True
        self._tell("HOOK_forwarding_tunnel_setup_failed", text, **self._names(), **where)

    def HOOK_printing_not_available(self) -> None:
        """Printing could not be set up."""
        self._tell("HOOK_printing_not_available", "no printing", **self._names())

    def HOOK_mimebox_not_available(self) -> None:
        """The MIME box could not be set up."""
        self._tell("HOOK_mimebox_not_available", "no MIME box", **self._names())

    def HOOK_foldersharing_not_available(self) -> None:
        """Folders cannot be shared."""
        self._tell("HOOK_foldersharing_not_available", "no shared folders", **self._names())

    def HOOK_sshfs_not_available(self) -> None:
        """The server cannot mount the client's folders."""
        self._tell("HOOK_sshfs_not_available", "the server cannot mount folders", **self._names())

    def HOOK_check_host_dialog(
        self, host: str, port: int, fingerprint: str = "no fingerprint", fingerprint_type: str = "UNKNOWN"
    ) -> bool:
        """Whether the key of a server that nobody knows yet is right; without a client nobody can say so: no."""
        answer = self._tell(
            "HOOK_check_host_dialog",
            f"the key {fingerprint_type} {fingerprint} of {host} port {port} is not known",
            profile_name=self.profile_name,
            host=host,
            port=port,
            fingerprint=fingerprint,
            fingerprint_type=fingerprint_type,
        )
        return answer is True

    def _tell_failure(self, error: CrlError) -> bool:
        """Call the hook for a failed step; False when there is none for it."""
        if not isinstance(error, X2GoException):
            return False
        self.logger(str(error), loglevel=loglevel_WARN)
        if isinstance(error, X2GoControlSessionException) and self._has_died():
            self._tell_death()
        elif isinstance(error, X2GoCommandNotFound):
            self.HOOK_no_such_command(self.get_session_cmd())
        elif isinstance(error, X2GoDesktopSharingDenied):
            self.HOOK_desktop_sharing_denied()
        elif isinstance(error, X2GoSFTPClientException):
            self.HOOK_on_failing_SFTP_client()
        else:
            self.HOOK_session_startup_failed()
        return True

    def _tell_death(self) -> None:
        """Tell once, however many sessions share the login, that it was lost, and let go of what went over it.

        In the other order: who hears it may connect again at once, and keeps what he has.
        """
        if not self.control_session.note_death_told():
            self._release()
            return
        self._leave_lost()
        self.HOOK_on_control_session_death()

    def _has_died(self) -> bool:
        return self.control_session is not None and self.control_session.has_session_died()
