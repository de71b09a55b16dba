"""X2Go sessions: logged in, started, looked at, suspended, resumed, shared and terminated.

`X2GoSession` is the client's face, with python-x2go's names. It is made for a target (`crl.targets.Target`: any stack
of shells) or for a server that it logs in on (by paramiko); below, both are the same: a control session offers a host,
and everything, graphics too, goes over the link to it. One state machine tells what the session is, and the old flags
(`virgin`, `running`, `suspended`, `terminated`, `faulty`, `connected`) are read off it. Every step ends by its
deadline, raises an exception of its own when it fails, and leaves nothing behind on either side when it does.
"""

from __future__ import annotations

import contextlib
import os
import threading
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self

from crl.deadlines import Deadline
from crl.display import Display
from crl.errors import CrlError, UsageError
from crl.x2go import defaults, utils
from crl.x2go._aliases import mangled_aliases
from crl.x2go._foldersharing import FolderSharing
from crl.x2go._host import Host
from crl.x2go._life import DEFAULT_TIMEOUT, SessionRecords
from crl.x2go._server import X2GoServer
from crl.x2go._sessionboxes import SessionBoxes
from crl.x2go._sessionlists import SessionLists
from crl.x2go._sessionnames import SessionNames
from crl.x2go._sessionparams import SessionParameters
from crl.x2go._sessionsound import HearsSound
from crl.x2go._sessionstatus import SessionStatus, first_state
from crl.x2go.backends.info.plain import X2GoServerSessionInfo
from crl.x2go.backends.terminal.plain import X2GoSessionParams, X2GoTerminalSession
from crl.x2go.clientdisplay import FROM_ENVIRONMENT, ClientDisplay
from crl.x2go.log import X2GoLogger
from crl.x2go.state import SessionStateMachine, Transition
from crl.x2go.utils import _get_backend_class
from crl.x2go.x2go_exceptions import (
    X2GoParameterError,
    X2GoSessionException,
)

if TYPE_CHECKING:
    from crl.x2go.backends.proxy.base import X2GoProxyBASE

__all__ = ["X2GoSession", "list_sessions"]

SHARING_TIMEOUT = 150.0
LAST_WAIT = 5.0
_PUBLIC = (
    "get_client_instance init_control_session is_master_session set_master_session unset_master_session set_server "
    "set_port set_profile_name get_session_profile_option get_uuid get_username get_remote_home user_is_x2gouser "
    "get_password get_server_peername remote_peername get_server_hostname get_server_port get_session_name "
    "set_session_name get_session_info get_session_cmd get_session_type get_session_title get_control_session "
    "has_control_session get_terminal_session has_terminal_session is_associated check_host uses_sshproxy "
    "reuses_sshproxy_authinfo can_sshproxy_auto_connect can_auto_connect do_auto_connect connect disconnect "
    "retrieve_server_features get_server_features has_server_feature set_session_window_title raise_session_window "
    "set_print_action is_alive clean_sessions list_sessions list_desktops list_mounts update_status "
    "is_published_applications_provider get_published_applications exec_published_application "
    "do_auto_start_or_resume resume start share_desktop is_desktop_session is_rootless_session is_shadow_session "
    "is_pubapp_session suspend terminate get_profile_name get_profile_id session_ok color_depth_from_session_name "
    "is_color_depth_ok is_connected is_running is_suspended has_terminated is_folder_sharing_available "
    "share_local_folder share_all_local_folders unshare_local_folder unshare_all_local_folders get_shared_folders "
    "session_cleanup "
)


@mangled_aliases(_PUBLIC.split())
class X2GoSession(SessionLists, SessionNames, SessionStatus, HearsSound, FolderSharing, SessionBoxes):
    """One X2Go session.

    It is made for a server that it logs in on with `connect`, or for a target that is reached already. The two have
    different habits, where nothing else is said: for a target the session's windows appear in an Xvfb of its own, its
    files are in a private folder, and `close` terminates it; for a server they appear on ``$DISPLAY``, the files are in
    ``~/.x2go``, and `close` suspends it.

    Args:
        server: The server, also an alias of the ssh configuration.
        port: The port of its sshd; 22 is what the configuration says.
        control_session: A login that is there, to be shared.
        use_sshproxy: Whether the way to the server leads through a hop (``sshproxy_…`` among the parameters).
        sshproxy_reuse_authinfo: Whether the hop takes the same credentials as the server.
        profile_id: The profile's id.
        profile_name: A name for people.
        session_name: Name of a session that exists already, for `resume`, `suspend` or `terminate`.
        auto_start_or_resume: Whether `connect` goes on to resume the newest suspended session, or start one.
        auto_connect: Whether a step logs in by itself, with keys, where there is no login yet.
        printing: Whether print jobs of the session come here; `print_action` and `print_action_args` among the
            parameters say what is done with them, or the client's print settings do.
        allow_mimebox: Whether files that the session puts into its MIME box come here.
        mimebox_extensions: The endings of names that are taken; none are all but those of programs.
        mimebox_action: What is done with such a file: ``"OPEN"``, ``"OPENWITH"``, ``"SAVEAS"``, a class or an object.
        allow_share_local_folders: Whether folders of this machine may be shared; with a target they always may.
        share_local_folders: Folders to share at each start and resume.
        restore_shared_local_folders: Whether the session's profile is to remember which folders are shared.
        control_backend: Name or class of the backend of logins.
        terminal_backend: Name or class of the backend of sessions on a server.
        info_backend: Name or class of the backend of session records.
        list_backend: Name or class of the backend of session lists.
        proxy_backend: Name or class of the proxy's backend.
        settings_backend: Accepted as in python-x2go.
        printing_backend: Name or class of the backend of print settings.
        client_rootdir: The folder of the client's configuration; None is ``~/.x2goclient``.
        sessions_rootdir: Folder for the client's files of sessions; None goes by the habits above.
        ssh_rootdir: The folder of ssh's files; None is ``~/.ssh``.
        keep_controlsession_alive: Whether `close` leaves a login that was given as it is; one of its own is closed.
        add_to_known_hosts: Whether the key of a server that is not known is taken and kept.
        known_hosts: The known_hosts file; None is what the ssh configuration says.
        forward_sshagent: Whether the user's agent may be used by what runs in the session.
        logger: An `X2GoLogger`.
        loglevel: The level of one that is made here.
        connected: Accepted as in python-x2go; the control session knows.
        activated: Whether the session has been in use.
        virgin: Whether it was never started; so are the following: what is known of it at first.
        running: See `virgin`.
        suspended: See `virgin`.
        terminated: See `virgin`.
        faulty: See `virgin`.
        client_instance: The client it belongs to, whose hooks are called.
        target: The server and account as a host that is reached: whoever its shell is, owns the session.
        client_display: Where its windows appear: ``":0"`` or ``"$DISPLAY"`` for a display that is there, a
            `ClientDisplay` that several sessions use; None goes by the habits above.
        proxy_class: Class of the proxy; another name of `proxy_backend`.
        at_exit: What `close` and the end of a ``with`` block do with a session that lives.
        on_change: Called after each change of state.
        **params: How the session is to be (see `X2GoSessionParams`: geometry, depth, link, pack, kbtype, kblayout,
            clipboard, session_type, cmd, …), and how to log in: username, password, key_filename, ….

    Raises:
        X2GoParameterError: A parameter is not usable, or there is none of that name.

    Attributes:
        session_params: The session's `X2GoSessionParams`.
        last_error: The error that a hook was called for.
        sound_error: Why the session has no sound, when it was asked for and failed.
        activated: Whether the session has been in use.
        master_session: Whether it is the one of its profile that may share folders.
    """

    def __init__(
        self,
        server: str | None = None,
        port: int = 22,
        control_session: Any = None,
        use_sshproxy: bool = False,
        sshproxy_reuse_authinfo: bool = False,
        profile_id: str | None = None,
        profile_name: str = "UNKNOWN",
        session_name: str | None = None,
        auto_start_or_resume: bool = False,
        auto_connect: bool = False,
        printing: bool = False,
        allow_mimebox: bool = False,
        mimebox_extensions: Sequence[str] = (),
        mimebox_action: Any = "OPEN",
        allow_share_local_folders: bool = False,
        share_local_folders: Sequence[str] = (),
        restore_shared_local_folders: bool = False,
        control_backend: Any = "PLAIN",
        terminal_backend: Any = "PLAIN",
        info_backend: Any = "PLAIN",
        list_backend: Any = "PLAIN",
        proxy_backend: Any = "NX3",
        settings_backend: Any = "FILE",
        printing_backend: Any = "FILE",
        client_rootdir: str | os.PathLike[str] | None = None,
        sessions_rootdir: str | os.PathLike[str] | None = None,
        ssh_rootdir: str | os.PathLike[str] | None = None,
        keep_controlsession_alive: bool = False,
        add_to_known_hosts: bool = False,
        known_hosts: str | os.PathLike[str] | None = None,
        forward_sshagent: bool = False,
        logger: X2GoLogger | None = None,
        loglevel: int = 56,
        connected: bool = False,  # noqa: ARG002 - as published
        activated: bool = False,
        virgin: bool = True,
        running: bool | None = None,
        suspended: bool | None = None,
        terminated: bool | None = None,
        faulty: bool | None = None,
        client_instance: Any = None,
        *,
        target: Host | None = None,
        client_display: str | ClientDisplay | None = None,
        proxy_class: type[X2GoProxyBASE] | None = None,
        at_exit: Literal["terminate", "suspend", "leave"] | None = None,
        on_change: Callable[[Transition], object] | None = None,
        **params: Any,
    ) -> None:
        if at_exit not in {"terminate", "suspend", "leave", None}:
            raise X2GoParameterError(f"at_exit has to be 'terminate', 'suspend' or 'leave', not {at_exit!r}")
        self._has_habits_of_targets = target is not None
        of_target = self._has_habits_of_targets
        self.server, self.port = server, int(port)
        self.profile_name, self.profile_id = profile_name, profile_id or profile_name
        self.uuid = str(uuid.uuid1())
        self.client_instance = client_instance
        self.logger = logger or X2GoLogger(loglevel=loglevel, tag="session")
        self.use_sshproxy, self.sshproxy_reuse_authinfo = use_sshproxy, sshproxy_reuse_authinfo
        self.auto_connect, self.auto_start_or_resume = auto_connect, auto_start_or_resume
        self.printing, self.allow_mimebox = printing, allow_mimebox
        self.mimebox_extensions, self.mimebox_action = list(mimebox_extensions), mimebox_action
        self.allow_share_local_folders = allow_share_local_folders
        self.share_local_folders = list(share_local_folders)
        self.restore_shared_local_folders = restore_shared_local_folders
        self.control_backend, self.terminal_backend = control_backend, terminal_backend
        self.info_backend, self.list_backend = info_backend, list_backend
        self.proxy_backend: Any = proxy_class or proxy_backend
        self.settings_backend, self.printing_backend = settings_backend, printing_backend
        self.client_rootdir = os.fspath(client_rootdir or self._default_root(defaults.X2GO_CLIENT_ROOTDIR))
        self.ssh_rootdir = Path(ssh_rootdir or self._default_root(defaults.X2GO_SSH_ROOTDIR)).expanduser()
        if sessions_rootdir is None and not of_target:
            sessions_rootdir = self._default_root(defaults.X2GO_SESSIONS_ROOTDIR)
        self.sessions_rootdir = None if sessions_rootdir is None else os.fspath(sessions_rootdir)
        self.keep_controlsession_alive = keep_controlsession_alive
        self.add_to_known_hosts = add_to_known_hosts
        self.known_hosts = None if known_hosts is None else os.fspath(known_hosts)
        self.forward_sshagent = forward_sshagent
        self.activated, self.master_session, self.faulty_tunnel = activated, False, False
        self.last_error: CrlError | None = None
        self.sound_error = None
        self.parameters = SessionParameters()
        self._wanted_name = session_name
        self._display_wish = client_display or (None if of_target else FROM_ENVIRONMENT)
        self._at_exit = at_exit or ("terminate" if of_target else "suspend")
        initial = first_state(virgin=virgin, running=running, suspended=suspended, terminated=terminated, faulty=faulty)
        self._machine = SessionStateMachine(on_change, initial)
        self._lock = threading.RLock()
        self._login_lock, self._undoing = threading.RLock(), threading.RLock()
        self._client_display: ClientDisplay | None = None
        self._client_is_ours = False
        self._server_display: Display | None = None
        self._tidied = False
        self._threads: list[threading.Thread] = []
        self._progress, self._progress_event = 0, None
        self.parameters.take(params)
        self._take_control_session(control_session, target)
        self._make_terminal()
        self._begin_status()

    def _take_control_session(self, given: Any, target: Host | None) -> None:
        """Adopt a login, or note what one of our own is made of."""
        control = self.parameters.control
        self._control_params = {
            "profile_name": self.profile_name, "profile_id": self.profile_id,
            "add_to_known_hosts": self.add_to_known_hosts, "known_hosts": self.known_hosts,
            "forward_sshagent": self.forward_sshagent,
            "unique_hostkey_aliases": control.pop("unique_hostkey_aliases", False),
            "published_applications_no_submenus": control.get("published_applications_no_submenus", 0),
            "terminal_backend": self.terminal_backend, "info_backend": self.info_backend,
            "list_backend": self.list_backend, "proxy_backend": self.proxy_backend,
            "client_rootdir": self.client_rootdir, "sessions_rootdir": self.sessions_rootdir,
            "ssh_rootdir": self.ssh_rootdir, "logger": self.logger, "target": target,
        }  # fmt: skip
        self.control_session = given
        self._login_is_ours = given is None
        if given is None:
            self.session_params = X2GoSessionParams(**self.parameters.of_display()[0])
            self.init_control_session()

    def _make_terminal(self) -> None:
        """What stands for the session on its server, before it is there too."""
        ours, rest = self.parameters.of_display()
        self.session_params = X2GoSessionParams(**ours)
        for name in ("profile_name", "profile_id", "info_backend", "list_backend", "client_rootdir", "logger"):
            rest.setdefault(name, getattr(self, name))
        rest.setdefault("proxy_backend", self.proxy_backend)
        if self.sessions_rootdir is not None:
            rest.setdefault("sessions_rootdir", self.sessions_rootdir)
        kind = _get_backend_class(self.terminal_backend, "X2GoTerminalSession")
        self._terminal: X2GoTerminalSession = kind(
            self.control_session, params=self.session_params, session_instance=self, **rest
        )

    def __repr__(self) -> str:
        return f"<X2GoSession {self.get_session_name() or '(no name yet)'} on {self.place}: {self.state}>"

    def __str__(self) -> str:
        return self.uuid

    def __call__(self) -> str:
        """The text that tells this object from others."""
        return self.uuid

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
            return
        try:
            self.close()
        except CrlError as second:  # the error of the block is the one to show
            error.add_note(f"closing the session failed too: {second}")

    # Steps.

    def start(
        self,
        cmd: str | Sequence[str] | None = None,
        progress_event: threading.Event | None = None,
        *,
        timeout: float = DEFAULT_TIMEOUT,
    ) -> bool:
        """Start a new session and its command.

        Args:
            cmd: The command; by default that of the parameters.
            progress_event: Set whenever `get_progress_status` has changed.
            timeout: Seconds in which the session runs, or the error is raised and nothing is left.

        Returns:
            True; False when it failed and a hook of the client was told (see `last_error`).

        Raises:
            X2GoServerMissing: There is no X2Go server.
            X2GoCommandNotFound: The command does not exist on the server.
            X2GoProxyMissing: nxproxy is not installed here.
            X2GoClientDisplayError: There is no display here.
            X2GoTerminalSessionException: The server did not start it: `X2GoSessionLimitReached`, `X2GoAgentDied`, ….
            X2GoProxyException: nxproxy did not show it.
            X2GoTimeOutException: It took too long.
        """
        return self._tried(lambda: self._start(cmd, self._in_steps(timeout)), progress_event)

    def resume(
        self,
        session_name: str | None = None,
        session_list: SessionRecords | None = None,
        cmd: str | Sequence[str] | None = None,
        progress_event: threading.Event | None = None,
        *,
        timeout: float = DEFAULT_TIMEOUT,
    ) -> bool:
        """Show a suspended session again, here; one that runs elsewhere is taken from there.

        Args:
            session_name: Which session; by default the one this object has, or was made with. Where there is none, a
                session for a server starts one, as in python-x2go.
            session_list: What the server listed, if the caller knows.
            cmd: The command of a session that is started.
            progress_event: Set whenever `get_progress_status` has changed.
            timeout: Seconds.

        Returns:
            As `start`.

        Raises:
            X2GoSessionNotFound: The server does not know it.
            X2GoSessionEnded: It has ended.
            X2GoException: As for `start`.
        """
        if session_name is None and self.get_session_name() is None and not self._has_habits_of_targets:
            return self.start(cmd, progress_event, timeout=timeout)
        step = lambda: self._resume_step(session_name, session_list, self._in_steps(timeout))  # noqa: E731
        return self._tried(step, progress_event)

    def share_desktop(
        self,
        desktop: str | None = None,
        user: str | None = None,
        display: str | int | None = None,
        share_mode: int = 0,
        check_desktop_list: bool = True,
        progress_event: threading.Event | None = None,
        *,
        timeout: float = SHARING_TIMEOUT,
    ) -> bool:
        """Show a desktop that is there on the server.

        Args:
            desktop: Which one, ``user@:display``.
            user: Its owner, when `desktop` is not given.
            display: Its display, when `desktop` is not given.
            share_mode: 0 (`X2GO_SHARE_VIEWONLY`) to look, 1 (`X2GO_SHARE_FULLACCESS`) to work in it too.
            check_desktop_list: Whether to look first whether it is there.
            progress_event: Set whenever `get_progress_status` has changed.
            timeout: Seconds, in which its owner may be asked.

        Returns:
            As `start`.

        Raises:
            X2GoSessionException: There is no such desktop.
            X2GoDesktopSharingDenied: Its owner did not allow it.
        """
        from crl.x2go.backends.control.plain import shared_desktop

        cmd = shared_desktop(desktop, user, display, share_mode)
        wanted = "{1}@{2}".format(*cmd.split("XSHAD"))
        if check_desktop_list and wanted not in {one.removesuffix(".0") for one in self.list_desktops() or ()}:
            error = X2GoSessionException(f"there is no desktop {wanted} to be shared", host=self.place)
            self.last_error = error
            self.HOOK_no_such_desktop(desktop=wanted)
            if self.client_instance is None:
                raise error
            return False
        self.session_params.update(cmd=cmd, session_type="shared")
        return self._tried(lambda: self._start(None, self._in_steps(timeout)), progress_event)

    def suspend(self, *, timeout: float = DEFAULT_TIMEOUT) -> bool:
        """Suspend the session; its programs go on, nothing is shown here.

        Raises:
            X2GoStateError: It does not run.
            X2GoSessionEnded: It has ended.
        """
        return self._tried(lambda: self._suspend_step(Deadline.after(timeout)), None, only_death=True)

    def terminate(self, *, timeout: float = DEFAULT_TIMEOUT) -> bool:
        """End the session, and remove what it left on both sides."""
        return self._tried(lambda: self._terminate_step(Deadline.after(timeout)), None, only_death=True)

    # python-x2go's names for the steps without its lock; here there is one lock, which may be taken twice.
    _resume = resume
    _share_desktop = share_desktop
    _suspend = suspend
    _terminate = terminate

    def _tried(self, step: Callable[[], bool], event: threading.Event | None, *, only_death: bool = False) -> bool:
        """One step; its failure goes to a hook, and to the caller unless a client's hook has heard of it."""
        self._progress_event = event
        self.activated = True
        try:
            self._connect_if_automatic()
            return step()
        except UsageError:
            raise
        except CrlError as error:
            if only_death and not self._has_died():
                raise
            told = self._tell_failure(error)
            self.last_error = error
            if not told or self.client_instance is None:
                raise
            return False
        finally:
            self._progress_event = None

    def do_auto_start_or_resume(
        self,
        newest: bool = True,  # noqa: ARG002 - as published
        oldest: bool = False,
        all_suspended: bool = False,
        start: bool = True,
        redirect_to_client: bool = True,
    ) -> bool | None:
        """Resume a suspended session of the account, or start one.

        Args:
            newest: Take the newest one.
            oldest: Take the oldest one instead.
            all_suspended: Take all of them, with a client: a session object alone shows one.
            start: Start a session when none is suspended.
            redirect_to_client: Whether the client's methods do it, where there is a client.

        Returns:
            Whether a session was resumed or started; None when there was none, and none was to be started.

        Raises:
            X2GoParameterError: All of them were to be taken, without a client.
            X2GoException: As for `resume` and `start`.
        """
        client = self.client_instance if redirect_to_client else None
        if all_suspended and client is None:
            raise X2GoParameterError(
                "all_suspended needs a client: a session object alone shows one session",
                host=self.place,
                advice="make the session by X2GoClient.register_session, or resume each of list_sessions() by its name",
            )
        listed = self.list_sessions() or {}
        names = [
            name for name in utils.session_names_by_timestamp(listed)
            if listed[name].is_suspended() and listed[name].get_session_type() != "S"
        ]  # fmt: skip
        if not names:
            if not start:
                return None
            return bool(client.start_session(str(self))) if client is not None else self.start()
        if client is not None and all_suspended:
            resumed = [client.resume_session(str(self), session_name=name) for name in names]
            return all(resumed)
        name = names[0] if oldest else names[-1]
        if client is not None:
            return bool(client.resume_session(str(self), session_name=name))
        return self.resume(name, session_list=listed)

    def reset_progress_status(self) -> None:
        """Begin to count at 0 again."""
        self._progress = 0

    def get_progress_status(self) -> int:
        """How far a start or resume is: 0 to 100, -1 when it failed."""
        return self._progress

    def is_locked(self) -> bool:
        """Whether a step is under way."""
        if not self._lock.acquire(blocking=False):
            return True
        self._lock.release()
        return False

    # The window.

    def set_session_window_title(self, title: str = "") -> None:
        """Give the window of a desktop another title; "" is its own."""
        if self.terminal_session is not None:
            self.terminal_session.set_session_window_title(title)

    def raise_session_window(self) -> None:
        """Bring the window of a desktop to the front."""
        if self.terminal_session is not None:
            self.terminal_session.raise_session_window()

    # The end.

    def __del__(self) -> None:
        if "_terminal" in self.__dict__:
            with contextlib.suppress(Exception):  # nobody is left to tell; a login ends with who uses it last
                self._release()

    def session_cleanup(self) -> None:
        """End what shows the session here; on the server it stays as it is."""
        self._release()

    def close(self) -> None:
        """End what belongs to the session object: the session as `at_exit` says, proxy, own display, own login."""
        try:
            if self.info.is_initialized() and not self._tidied and self.is_connected():
                self._end_as_wished()
        finally:
            self._release()
            for thread in self._threads:
                if thread is not threading.current_thread():
                    thread.join(LAST_WAIT)
            if self._login_is_ours and self.control_session is not None and not self._has_habits_of_targets:
                self.control_session.disconnect()


def list_sessions(target: Host, *, timeout: float = DEFAULT_TIMEOUT) -> dict[str, X2GoServerSessionInfo]:
    """The sessions of the target's account on its X2Go server, by name.

    The status is the list's; the truth of one session is `X2GoSession.get_state`.

    Raises:
        X2GoServerMissing: There is no X2Go server.
        X2GoControlSessionException: The list could not be made.
    """
    return X2GoServer(target).list_sessions(Deadline.after(timeout))()
