"""One login on one X2Go server, with python-x2go's class and method names.

`X2GoControlSession` asks the server for its sessions, desktops and applications, and starts, resumes, suspends and ends
sessions. It promises one connection for any number of sessions and threads, a deadline for everything, an error where
python-x2go gives empty data, and nothing spliced into a shell line.
"""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterator, Sequence
from typing import Any

import paramiko

from crl.deadlines import Deadline
from crl.x2go import defaults
from crl.x2go._pubapps import PublishedApplications
from crl.x2go.backends.control._client import COMMAND_TIMEOUT, LoginClient
from crl.x2go.backends.control._connecting import X2GoConnectionFailed, X2GoHostKeyChanged
from crl.x2go.backends.control._login import X2GoAuthenticationFailed, X2GoPasswordRequired
from crl.x2go.backends.info.plain import X2GoServerSessionInfo, X2GoServerSessionList
from crl.x2go.backends.terminal.plain import X2GoTerminalSession
from crl.x2go.log import loglevel_INFO
from crl.x2go.state import AgentState
from crl.x2go.utils import _get_backend_class
from crl.x2go.x2go_exceptions import (
    X2GoParameterError,
    X2GoRemoteHomeException,
    X2GoSessionNotFound,
    X2GoSFTPClientException,
)

__all__ = [
    "X2GoAuthenticationFailed",
    "X2GoConnectionFailed",
    "X2GoControlSession",
    "X2GoControlSessionSTDOUT",
    "X2GoHostKeyChanged",
    "X2GoPasswordRequired",
]

SHARING_TIMEOUT = 120.0  # the owner of a desktop is asked


class X2GoControlSession(LoginClient):
    """One login on one X2Go server; arguments as of its base, which connects."""

    # Commands in python-x2go's words.

    def _x2go_exec_command(
        self,
        cmd_line: str | Sequence[str],
        loglevel: int = loglevel_INFO,
        timeout: float = COMMAND_TIMEOUT,
        **kwargs: Any,  # noqa: ARG002 - as published
    ) -> tuple[io.BytesIO, CommandOutput, io.BytesIO]:
        """Run a command to its end.

        Args:
            cmd_line: An argument list; a text is a line for ``sh``.
            loglevel: The level to log it at.
            timeout: Seconds for all of it.
            **kwargs: Accepted as in python-x2go.

        Returns:
            An empty standard input, the output and the error output; `exit_status` is an attribute of the output.

        Raises:
            X2GoControlSessionException: There is no connection.
            X2GoTimeOutException: It was not done in time.
        """
        words = ["sh", "-c", cmd_line] if isinstance(cmd_line, str) else list(cmd_line)
        self.logger(f"executing {words[-1 if isinstance(cmd_line, str) else 0]}", loglevel=loglevel)
        answer = self.server.execute(words, self._deadline(timeout))
        output = CommandOutput(answer.stdout.encode())
        output.exit_status = answer.status
        return io.BytesIO(), output, io.BytesIO(answer.stderr.encode())

    @property
    def _x2go_server_versions(self) -> dict[str, str]:
        return self.server.versions(self._deadline())

    def query_server_versions(self, force: bool = False) -> dict[str, str]:
        """The versions of the server's parts by name; asked once unless forced."""
        return self.server.versions(self._deadline(), force=force)

    get_server_versions = query_server_versions

    @property
    def _x2go_server_features(self) -> list[str]:
        return list(self.server.features(self._deadline()))

    def query_server_features(self, force: bool = False) -> list[str]:
        """What the server can do, in its own words; asked once unless forced."""
        return list(self.server.features(self._deadline(), force=force))

    get_server_features = query_server_features

    @property
    def _x2go_remote_home(self) -> str:
        return self.server.get_facts().home

    def _x2go_remote_group(self, group: str) -> list[str]:
        """The members of a group of the server."""
        answer = self.server.execute(["getent", "group", group], self._deadline())
        members = answer.stdout.strip().rpartition(":")[2]
        return [name for name in members.split(",") if name]

    @property
    def _x2go_session_auth_rsakey(self) -> paramiko.PKey:
        if self._session_key is None:
            self._session_key = paramiko.RSAKey.generate(defaults.RSAKEY_STRENGTH)
        return self._session_key

    _session_key: paramiko.PKey | None = None

    def is_sshfs_available(self) -> bool:
        """Whether the server can mount folders of the client."""
        return bool(self.server.find_programs(["fusermount3", "fusermount"]))

    def home_exists(self) -> bool:
        """Whether the account has its home directory."""
        try:
            self.server.get_facts()
        except X2GoRemoteHomeException:
            return False
        return True

    # Files, over paramiko.

    @contextlib.contextmanager
    def _sftp(self, doing: str, timeout: float) -> Iterator[paramiko.SFTPClient]:
        transport = self.get_transport()
        if transport is None:
            self.target  # noqa: B018 - says so when there is no connection at all
            raise X2GoSFTPClientException(
                "this login goes over a host that was given", host=self._place(), doing=doing, advice="use its `files`"
            )
        try:
            channel = transport.open_session(timeout=self._deadline(timeout).remaining())
            channel.settimeout(self._deadline(timeout).remaining())
            channel.invoke_subsystem("sftp")
            client = paramiko.SFTPClient(channel)
        except (paramiko.SSHException, OSError, EOFError) as error:
            raise X2GoSFTPClientException(
                f"no SFTP: {error or type(error).__name__}", host=self._place(), doing=doing
            ) from error
        try:
            yield client
        except (paramiko.SSHException, OSError, EOFError) as error:
            raise X2GoSFTPClientException(str(error), host=self._place(), doing=doing) from error
        finally:
            client.close()

    def test_sftpclient(self) -> None:
        """Make sure that files can be brought to the server; a host that was given needs no SFTP.

        Raises:
            X2GoSFTPClientException: They cannot.
        """
        if self._given is None:
            with self._sftp("trying SFTP", COMMAND_TIMEOUT):
                return

    def _x2go_sftp_put(
        self, local_path: str | os.PathLike[str], remote_path: str, timeout: float = COMMAND_TIMEOUT
    ) -> None:
        """Bring a file to the server; it is for its owner only there.

        Raises:
            X2GoSFTPClientException: It was not brought.
        """
        with open(local_path, "rb") as stream, self._sftp(f"writing {remote_path}", timeout) as client:
            self._put(client, stream.read(), remote_path)

    def _x2go_sftp_write(self, remote_path: str, content: str | bytes, timeout: float = COMMAND_TIMEOUT) -> None:
        """Write a file on the server; it is for its owner only there.

        Raises:
            X2GoSFTPClientException: It was not written.
        """
        data = content.encode() if isinstance(content, str) else content
        with self._sftp(f"writing {remote_path}", timeout) as client:
            self._put(client, data, remote_path)

    @staticmethod
    def _put(client: paramiko.SFTPClient, data: bytes, remote_path: str) -> None:
        with client.open(remote_path, "w") as file:
            file.chmod(0o600)
            file.write(data)

    def _x2go_sftp_remove(self, remote_path: str, timeout: float = COMMAND_TIMEOUT) -> None:
        """Remove a file of the server.

        Raises:
            X2GoSFTPClientException: It was not removed.
        """
        with self._sftp(f"removing {remote_path}", timeout) as client:
            client.remove(remote_path)

    # What there is on the server.

    def list_sessions(self, raw: bool = False) -> Any:
        """The account's sessions, shared desktops among them.

        Args:
            raw: Give what the server printed, output and error output as bytes.

        Returns:
            The sessions' records by name.

        Raises:
            X2GoControlSessionException: The list could not be made.
        """
        answer = self.server.list_text(self._deadline(), shadows=True)
        if raw:
            return answer.stdout.encode(), answer.stderr.encode()
        kind = _get_backend_class(self.list_backend, "X2GoServerSessionList")
        listed: X2GoServerSessionList = kind(
            answer.stdout, info_backend=_get_backend_class(self.info_backend, "X2GoServerSessionInfo")
        )
        return listed.get_sessions()

    def list_desktops(self, raw: bool = False, maxwait: float = 20) -> Any:
        """The desktops that could be shared, each as ``user@:display``.

        Raises:
            X2GoTimeOutException: The server was not done in time.
        """
        found = self.server.list_desktops(Deadline.after(maxwait))
        return ("".join(f"{one}\n" for one in found).encode(), b"") if raw else found

    def list_mounts(self, session_name: str, raw: bool = False, maxwait: float = 20) -> Any:
        """What of the client is mounted in a session, by the session's name.

        Raises:
            X2GoTimeOutException: The server was not done in time.
        """
        found = self.server.list_mounts(session_name, Deadline.after(maxwait))
        return ("".join(f"{one}\n" for one in found).encode(), b"") if raw else {session_name: found}

    def get_published_applications(
        self,
        lang: str | None = None,
        refresh: bool = False,
        raw: bool = False,
        very_raw: bool = False,
        max_no_submenus: int = defaults.PUBAPP_MAX_NO_SUBMENUS,
    ) -> Any:
        """The server's menu.

        Args:
            lang: The language of names and comments.
            refresh: Ask again.
            raw: Give all that is known of the applications, as a list.
            very_raw: Give what the server printed, as bytes.
            max_no_submenus: With no more applications than that, there are no categories.

        Returns:
            Applications by category, by language.
        """
        if very_raw:
            return self.server.applications(self._deadline()).encode()
        menu = self._menu
        if menu is None or refresh:
            menu = self._menu = PublishedApplications(self.server.applications(self._deadline()))
        if max_no_submenus == defaults.PUBAPP_MAX_NO_SUBMENUS:
            max_no_submenus = self.published_applications_no_submenus or max_no_submenus
        return menu.plain() if raw else menu.menu(lang, max_no_submenus)

    # Sessions.

    def start(self, **kwargs: Any) -> X2GoTerminalSession:
        """Start a session; its command comes with `X2GoTerminalSession.run_command`.

        Args:
            **kwargs: As of `X2GoTerminalSession`.
        """
        return self.resume(**kwargs)

    def resume(
        self,
        session_name: str | None = None,
        session_instance: Any = None,
        session_list: dict[str, X2GoServerSessionInfo] | X2GoServerSessionList | None = None,
        **kwargs: Any,
    ) -> X2GoTerminalSession:
        """Resume a session; without a name, start one.

        Args:
            session_name: Which session.
            session_instance: The session object it is for.
            session_list: What the server listed, if the caller knows.
            **kwargs: As of `X2GoTerminalSession`.

        Raises:
            X2GoSessionNotFound: The server does not know it.
            X2GoException: As of `X2GoTerminalSession.start` and `resume`.
        """
        known: Any = session_list() if isinstance(session_list, X2GoServerSessionList) else session_list
        info: X2GoServerSessionInfo | None = None
        if session_name is not None:
            info = (self.list_sessions() if known is None else known).get(session_name)
            if info is None:
                raise X2GoSessionNotFound(f"there is no session {session_name}", host=self._place())
        kind = _get_backend_class(self.terminal_backend, "X2GoTerminalSession")
        kwargs.setdefault("sessions_rootdir", self.sessions_rootdir)
        terminal: X2GoTerminalSession = kind(self, session_info=info, session_instance=session_instance, **kwargs)
        if info is None:
            terminal.start()
        else:
            terminal.resume()
        return terminal

    def share_desktop(
        self,
        desktop: str | None = None,
        user: str | None = None,
        display: str | int | None = None,
        share_mode: int = 0,
        **kwargs: Any,
    ) -> X2GoTerminalSession:
        """Show a desktop that is there on the server.

        Args:
            desktop: Which one, ``user@:display``.
            user: Its owner, when `desktop` is not given.
            display: Its display, when `desktop` is not given.
            share_mode: 0 to look, 1 to work in it too.
            **kwargs: As of `X2GoTerminalSession`.

        Raises:
            X2GoDesktopSharingDenied: Its owner did not allow it.
        """
        kwargs["cmd"] = shared_desktop(desktop, user, display, share_mode)
        kwargs["session_type"] = "shared"
        return self.start(**kwargs)

    def suspend(self, session_name: str) -> bool:
        """Suspend a session of the account, wherever it is shown."""
        terminal = self.associated_terminals.get(session_name)
        if terminal is not None:
            terminal.suspend()
            self._note(terminal, AgentState.SUSPENDED)
            return True
        self.server.suspend(session_name, self._deadline())
        return True

    def terminate(self, session_name: str, destroy_terminals: bool = True) -> bool:
        """End a session of the account.

        Args:
            session_name: Which one.
            destroy_terminals: End also what shows it here.
        """
        terminal = self.associated_terminals.get(session_name)
        if terminal is not None and destroy_terminals:
            terminal.terminate()
            self._note(terminal, AgentState.TERMINATED)
            return True
        info = self.list_sessions().get(session_name)
        self.server.terminate(session_name, self._deadline())
        if info is not None:
            self.server.clean(info, self._deadline())
        return True

    def clean_sessions(self, destroy_terminals: bool = True, published_applications: bool = False) -> None:
        """End all sessions of the account.

        Args:
            destroy_terminals: As of `terminate`.
            published_applications: Also those that publish applications.
        """
        for name, info in self.list_sessions().items():
            if published_applications or not info.is_published_applications_provider():
                self.terminate(name, destroy_terminals=destroy_terminals)

    def dissociate(self, terminal_session: X2GoTerminalSession) -> None:
        """Forget what shows a session here."""
        for name, terminal in list(self.associated_terminals.items()):
            if terminal is terminal_session:
                self.associated_terminals.pop(name, None)

    def is_running(self, session_name: str) -> bool | None:
        """Whether the list says that a session runs; None without a connection."""
        info = self._listed(session_name)
        return None if info is None else info is not False and info.is_running()

    def is_suspended(self, session_name: str) -> bool | None:
        """Whether the list says that a session is suspended; None without a connection."""
        info = self._listed(session_name)
        return None if info is None else info is not False and info.is_suspended()

    def has_terminated(self, session_name: str) -> bool | None:
        """Whether a session is not in the list any more; None without a connection."""
        info = self._listed(session_name)
        return None if info is None else info is False

    def _listed(self, session_name: str) -> Any:
        """A session's record; False when there is none, None without a connection."""
        if not self.is_connected():
            return None
        return self.list_sessions().get(session_name, False)


class CommandOutput(io.BytesIO):
    """The output of a command, with its status."""

    exit_status: int


def shared_desktop(desktop: str | None, user: str | None, display: str | int | None, share_mode: int) -> str:
    """The command of a session that shows a desktop of the server.

    Raises:
        X2GoParameterError: No desktop is named, or the mode is none.
    """
    if desktop is not None:
        user, _, display = desktop.partition("@")
    if not user or display in {None, ""}:
        raise X2GoParameterError("which desktop? Give desktop='user@:50', or user and display")
    if int(share_mode) not in {defaults.X2GO_SHARE_VIEWONLY, defaults.X2GO_SHARE_FULLACCESS}:
        raise X2GoParameterError(f"share_mode has to be 0 (look) or 1 (work in it), not {share_mode!r}")
    shown = str(display)
    return f"{int(share_mode)}XSHAD{user}XSHAD{shown if shown.startswith(':') else f':{shown}'}"


X2GoControlSessionSTDOUT = X2GoControlSession
