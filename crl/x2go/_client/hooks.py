"""What a client's application is told and asked: the HOOK_ methods, to be overridden.

Each one here only logs, and answers questions with no. They are called from whatever thread saw the event, never under
a lock; what an application's hook raises in the guardian is logged.
"""

from __future__ import annotations

from typing import Any

from crl.x2go.log import X2GoLogger, loglevel_NOTICE, loglevel_WARN

__all__ = ["ClientHooks"]


class ClientHooks:
    """The hooks of a client, each as it is when nobody overrides it."""

    logger: X2GoLogger

    def _tell(self, text: str, profile_name: str = "", session_name: str | None = "", *, event: bool = False) -> None:
        about = "".join(f"{name}: " for name in (profile_name, session_name) if name and name != "UNKNOWN")
        self.logger(about + text, loglevel=loglevel_NOTICE if event else loglevel_WARN)

    def HOOK_profile_auto_connect(self, profile_name: str = "UNKNOWN") -> None:
        """A profile is to connect by itself, but somebody has to give credentials."""
        self._tell("the profile needs credentials to connect by itself", profile_name)

    def HOOK_broker_connection_exception(self, profile_name: str = "UNKNOWN") -> None:
        """A session broker cannot be reached."""
        self._tell("the session broker cannot be reached", profile_name)

    def HOOK_broker_ignore_connection_problems(
        self,
        profile_name: str = "UNKNOWN",
        is_profile_connected: bool = False,  # noqa: ARG002 - for who overrides it
    ) -> bool:
        """Whether to go on with what is known of a profile although its broker cannot be reached."""
        self._tell("the session broker cannot be reached; going on without it was not agreed to", profile_name)
        return False

    def HOOK_session_startup_failed(self, profile_name: str = "UNKNOWN") -> None:
        """The server did not give us a session."""
        self._tell("the session was not started", profile_name)

    def HOOK_desktop_sharing_denied(self, profile_name: str = "UNKNOWN") -> None:
        """The owner of a desktop did not let us share it."""
        self._tell("the desktop's owner did not agree to share it", profile_name)

    def HOOK_list_desktops_timeout(self, profile_name: str = "UNKNOWN") -> None:
        """The server took too long to list the desktops that can be shared."""
        self._tell("the server took too long to list its desktops", profile_name)

    def HOOK_no_such_desktop(self, profile_name: str = "UNKNOWN", desktop: str = "UNKNOWN") -> None:
        """The desktop to be shared is gone."""
        self._tell(f"there is no desktop {desktop}", profile_name)

    def HOOK_no_known_xserver_found(self) -> None:
        """The old name of `HOOK_no_installed_xservers_found`, which it calls."""
        self.HOOK_no_installed_xservers_found()

    def HOOK_no_installed_xservers_found(self) -> None:
        """No X server is installed here (Windows)."""
        self._tell("no X server is installed")

    def HOOK_open_print_dialog(self, profile_name: str = "UNKNOWN", session_name: str = "UNKNOWN") -> Any:
        """Ask what to do with a print job: give an object of a print action."""
        self._tell("nobody was asked about a print job", profile_name, session_name)
        return None

    def HOOK_no_such_command(self, cmd: str, profile_name: str = "UNKNOWN", session_name: str = "UNKNOWN") -> None:
        """The command does not exist on the server."""
        self._tell(f"there is no command {cmd} on the server", profile_name, session_name)

    def HOOK_open_mimebox_saveas_dialog(
        self, filename: str, profile_name: str = "UNKNOWN", session_name: str = "UNKNOWN"
    ) -> None:
        """Ask where to keep a file of the MIME box."""
        self._tell(f"nobody was asked where to keep {filename}", profile_name, session_name)

    def HOOK_printaction_error(
        self,
        filename: str,
        profile_name: str = "UNKNOWN",
        session_name: str = "UNKNOWN",
        err_msg: str = "GENERIC_ERROR",
        printer: str | None = None,  # noqa: ARG002 - for who overrides it
    ) -> None:
        """Printing a file failed."""
        self._tell(f"printing {filename} failed: {err_msg}", profile_name, session_name)

    def HOOK_check_host_dialog(
        self,
        profile_name: str = "UNKNOWN",
        host: str = "UNKNOWN",
        port: int = 22,
        fingerprint: str = "no fingerprint",
        fingerprint_type: str = "UNKNOWN",
    ) -> bool:
        """Whether a host's unknown key is right; here: no. python-x2go says yes."""
        self._tell(
            f"the key {fingerprint_type} {fingerprint} of {host}, port {port}, is not known: refused", profile_name
        )
        return False

    def HOOK_on_control_session_death(self, profile_name: str) -> None:
        """The connection of a profile is lost."""
        self._tell("the connection is lost", profile_name)

    def HOOK_on_failing_SFTP_client(self, profile_name: str, session_name: str) -> None:
        """The server gives no SFTP."""
        self._tell("the server gives no SFTP", profile_name, session_name)

    def HOOK_pulseaudio_not_supported_in_RDPsession(self) -> None:
        """There is no sound in an RDP session (Windows)."""
        self._tell("there is no sound in an RDP session")

    def HOOK_pulseaudio_server_startup_failed(self) -> None:
        """The sound server could not be started (Windows)."""
        self._tell("the sound server could not be started")

    def HOOK_pulseaudio_server_died(self) -> None:
        """The sound server has ended (Windows)."""
        self._tell("the sound server has ended")

    def HOOK_on_sound_tunnel_failed(self, profile_name: str = "UNKNOWN", session_name: str = "UNKNOWN") -> None:
        """There is no tunnel for sound."""
        self._tell("there is no tunnel for sound", profile_name, session_name)

    def HOOK_rforward_request_denied(
        self, profile_name: str = "UNKNOWN", session_name: str = "UNKNOWN", server_port: int = 0
    ) -> None:
        """The server let us not listen on one of its ports."""
        self._tell(f"the server did not let us listen on its port {server_port}", profile_name, session_name)

    def HOOK_forwarding_tunnel_setup_failed(
        self,
        profile_name: str = "UNKNOWN",
        session_name: str = "UNKNOWN",
        chain_host: str = "UNKNOWN",
        chain_port: int = 0,
        subsystem: str | None = None,
    ) -> None:
        """A tunnel to the server could not be made."""
        self._tell(
            f"there is no tunnel to {chain_host}, port {chain_port}, for {subsystem}", profile_name, session_name
        )

    def HOOK_on_session_has_started_by_me(
        self,
        session_uuid: str = "UNKNOWN",  # noqa: ARG002 - for who overrides it
        profile_name: str = "UNKNOWN",
        session_name: str = "UNKNOWN",
    ) -> None:
        """A session was started, by us."""
        self._tell("the session was started here", profile_name, session_name, event=True)

    def HOOK_on_session_has_started_by_other(
        self,
        session_uuid: str = "UNKNOWN",  # noqa: ARG002 - for who overrides it
        profile_name: str = "UNKNOWN",
        session_name: str = "UNKNOWN",
    ) -> None:
        """A session was started, by somebody else."""
        self._tell("the session was started elsewhere", profile_name, session_name, event=True)

    def HOOK_on_session_has_resumed_by_me(
        self,
        session_uuid: str = "UNKNOWN",  # noqa: ARG002 - for who overrides it
        profile_name: str = "UNKNOWN",
        session_name: str = "UNKNOWN",
    ) -> None:
        """A session was resumed, by us."""
        self._tell("the session was resumed here", profile_name, session_name, event=True)

    def HOOK_on_session_has_resumed_by_other(
        self,
        session_uuid: str = "UNKNOWN",  # noqa: ARG002 - for who overrides it
        profile_name: str = "UNKNOWN",
        session_name: str = "UNKNOWN",
    ) -> None:
        """A session was resumed, by somebody else."""
        self._tell("the session was resumed elsewhere", profile_name, session_name, event=True)

    def HOOK_on_found_session_running_after_connect(
        self,
        session_uuid: str = "UNKNOWN",  # noqa: ARG002 - for who overrides it
        profile_name: str = "UNKNOWN",
        session_name: str = "UNKNOWN",
    ) -> None:
        """A session ran already when we connected."""
        self._tell("the session runs already", profile_name, session_name, event=True)

    def HOOK_on_session_has_been_suspended(
        self,
        session_uuid: str = "UNKNOWN",  # noqa: ARG002 - for who overrides it
        profile_name: str = "UNKNOWN",
        session_name: str = "UNKNOWN",
    ) -> None:
        """A session was suspended."""
        self._tell("the session was suspended", profile_name, session_name, event=True)

    def HOOK_on_session_has_terminated(
        self,
        session_uuid: str = "UNKNOWN",  # noqa: ARG002 - for who overrides it
        profile_name: str = "UNKNOWN",
        session_name: str = "UNKNOWN",
    ) -> None:
        """A session has ended."""
        self._tell("the session has ended", profile_name, session_name, event=True)

    def HOOK_printing_not_available(self, profile_name: str = "UNKNOWN", session_name: str = "UNKNOWN") -> None:
        """Printing could not be set up."""
        self._tell("printing is not available", profile_name, session_name)

    def HOOK_mimebox_not_available(self, profile_name: str = "UNKNOWN", session_name: str = "UNKNOWN") -> None:
        """The MIME box could not be set up."""
        self._tell("the MIME box is not available", profile_name, session_name)

    def HOOK_foldersharing_not_available(self, profile_name: str = "UNKNOWN", session_name: str = "UNKNOWN") -> None:
        """Folder sharing could not be set up."""
        self._tell("folder sharing is not available", profile_name, session_name)

    def HOOK_sshfs_not_available(self, profile_name: str = "UNKNOWN", session_name: str = "UNKNOWN") -> None:
        """The server cannot mount folders of ours."""
        self._tell("the server cannot mount folders of the client", profile_name, session_name)
