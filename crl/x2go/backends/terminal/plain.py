"""One session: the server's commands and the client's proxy together.

`X2GoTerminalSession` starts, resumes, suspends and terminates, and after each step makes sure by the agent's own state
that it has happened. It keeps no history; every step either succeeds or leaves nothing of its own running on either
side.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crl.deadlines import Deadline
from crl.errors import CrlError
from crl.secrets import Secret
from crl.x2go._host import Forwarder, RunAnswer
from crl.x2go._pubapps import application_words
from crl.x2go._records import parse_resume, parse_start
from crl.x2go._server import X2GoServer
from crl.x2go.backends.info.plain import X2GoServerSessionInfo
from crl.x2go.backends.proxy.base import X2GoProxyBASE
from crl.x2go.backends.terminal._boxes import BoxMethods
from crl.x2go.backends.terminal._facts import SessionFacts
from crl.x2go.backends.terminal._failures import Failures, start_failure
from crl.x2go.backends.terminal._folders import SessionFolders
from crl.x2go.backends.terminal._params import SPACE, X2GoSessionParams, candidates, command_words
from crl.x2go.backends.terminal._shared import SessionShares
from crl.x2go.backends.terminal._sound import SessionSound
from crl.x2go.backends.terminal._telekinesis import SessionTelekinesis
from crl.x2go.backends.terminal._turns import start_turn
from crl.x2go.backends.terminal._window import SessionWindow, WindowMethods
from crl.x2go.log import X2GoLogger, loglevel_WARN
from crl.x2go.rforward import X2GoRevFwTunnel
from crl.x2go.state import AgentState
from crl.x2go.telekinesis import X2GoTelekinesisClient
from crl.x2go.utils import _get_backend_class
from crl.x2go.x2go_exceptions import (
    X2GoClientDisplayError,
    X2GoCommandNotFound,
    X2GoDesktopSharingDenied,
    X2GoParameterError,
    X2GoSuspendedByServer,
    X2GoTerminalSessionException,
    X2GoTimeOutException,
)

if TYPE_CHECKING:
    from crl.x2go.backends.control.plain import X2GoControlSession

__all__ = ["X2GoSessionParams", "X2GoTerminalSession", "X2GoTerminalSessionSTDOUT"]

CLEANING_TIME = 10.0
STEP_TIME = 60.0
SHARING_TIME = 120.0  # the owner of a desktop is asked
FORGOTTEN_AFTER = 9.0  # seconds that a start may take before the server forgets the session
_SETTLED = (AgentState.RUNNING, AgentState.SUSPENDED)
_KDRIVE_DESKTOPS = {"CINNAMON", "GNOME", "UNITY"}


class X2GoTerminalSession(
    SessionFacts, Failures, WindowMethods, SessionFolders, SessionShares, SessionSound, SessionTelekinesis, BoxMethods
):
    """A session on a server, shown on the controller.

    Args:
        control_session: The login on the server.
        session_info: The session, if it exists already.
        geometry: As of `X2GoSessionParams`; so are the following up to `cmd`, and those of RDP and XDMCP.
        set_session_title: Whether the window of a desktop gets a title.
        session_title: That title; "" is the profile's name and the server's.
        applications: Accepted as in python-x2go: what a menu of single applications offers.
        convert_encoding: Whether names in shared folders are changed from one encoding to another.
        server_encoding: The one on the server.
        client_encoding: The one here.
        rootdir: The folder of session folders; only an older name of `sessions_rootdir`.
        profile_name: A name for people.
        profile_id: The profile's id.
        print_action: What is done with print jobs: an action's name, its class or an object; None is what the client's
            print settings say.
        print_action_args: Arguments of that action.
        info_backend: Name or class of the backend of session records.
        list_backend: Name or class of the backend of session lists.
        proxy_backend: Name or class of the proxy's backend; ``"auto-detect"`` goes by the desktop.
        proxy_options: Options of the proxy.
        printing_backend: Name or class of the backend of print settings.
        client_rootdir: The folder of the client's configuration, with the print settings.
        sessions_rootdir: Where the client's folder of the session is made; None for a private one.
        session_instance: The session object this belongs to.
        logger: An `X2GoLogger`.
        loglevel: The level of one that is made here.
        sound_server: Where sound is to be heard: an `crl.x2go.pulseaudio.X2GoPulseAudio`, or an address as
            ``PULSE_SERVER`` has it; None is the client's own, or the user's.
        snd_microphone: Whether the session may also record with that sound server.
        params: The parameters, already put together; then single ones cannot be given.
        forwarder: What makes the tunnel for the graphics; by default the control session's host.
    """

    def __init__(
        self,
        control_session: X2GoControlSession,
        session_info: X2GoServerSessionInfo | None = None,
        geometry: str = "800x600",
        depth: int = 24,
        link: str = "adsl",
        pack: str = "16m-jpeg-9",
        dpi: str | int = "",
        cache_type: str = "unix-kde",
        kbtype: str = "null/null",
        kblayout: str = "null",
        kbvariant: str = "null",
        clipboard: str = "both",
        xinerama: bool = False,
        kdrive: bool = False,
        session_type: str = "application",
        snd_system: str = "none",
        snd_port: int = 4713,
        cmd: str | Sequence[str] | None = None,
        published_applications: bool = False,
        set_session_title: bool = False,
        session_title: str = "",
        applications: Sequence[str] = (),
        rdp_server: str | None = None,
        rdp_options: str | None = None,
        xdmcp_server: str | None = None,
        convert_encoding: bool = False,
        server_encoding: str = "UTF-8",
        client_encoding: str = "UTF-8",
        rootdir: str | os.PathLike[str] | None = None,
        profile_name: str = "UNKNOWN",
        profile_id: str | None = None,
        print_action: Any = None,
        print_action_args: Mapping[str, Any] | None = None,
        info_backend: Any = "PLAIN",
        list_backend: Any = "PLAIN",
        proxy_backend: Any = "NX3",
        proxy_options: Mapping[str, object] | None = None,
        printing_backend: Any = "FILE",
        client_rootdir: str | os.PathLike[str] | None = None,
        sessions_rootdir: str | os.PathLike[str] | None = None,
        session_instance: Any = None,
        logger: X2GoLogger | None = None,
        loglevel: int = 56,
        *,
        sound_server: Any = None,
        snd_microphone: bool = False,
        params: X2GoSessionParams | None = None,
        forwarder: Forwarder | None = None,
    ) -> None:
        if session_info is not None and not session_info.name:
            raise X2GoTerminalSessionException("the record of the session has no name")
        self.control_session = control_session
        self.session_info = session_info or X2GoServerSessionInfo()
        self.params = params or X2GoSessionParams(
            geometry, depth, link, pack, dpi, cache_type, kbtype, kblayout, kbvariant, clipboard, xinerama,
            session_type, cmd, kdrive, published_applications, rdp_server, rdp_options, xdmcp_server, snd_system,
            snd_port,
        )  # fmt: skip
        self.set_session_title, self.session_title = set_session_title, session_title
        self.applications = list(applications)
        self.convert_encoding = convert_encoding
        self.server_encoding, self.client_encoding = server_encoding, client_encoding
        self.profile_name, self.profile_id = profile_name, profile_id or profile_name
        self.print_action, self.print_action_args = print_action, dict(print_action_args or {})
        self.info_backend, self.list_backend, self.printing_backend = info_backend, list_backend, printing_backend
        self.client_rootdir = client_rootdir
        self.sessions_rootdir = sessions_rootdir or rootdir
        self.proxy_options = dict(proxy_options or {})
        self.proxy_backend: type[X2GoProxyBASE] = self._proxy_class(proxy_backend)
        self.forwarder = forwarder
        self.session_instance = session_instance
        self.logger = logger or X2GoLogger(loglevel=loglevel, tag="terminal")
        self.proxy: X2GoProxyBASE | None = None
        self.proxy_log = ""  # the last words of the last one
        self.session_window: SessionWindow | None = None
        self.sound_server, self.snd_microphone = sound_server, snd_microphone
        self.sound_tunnel: X2GoRevFwTunnel | None = None
        self.telekinesis_client: X2GoTelekinesisClient | None = None
        self._pulse_config: str | None = None

    def _proxy_class(self, backend: Any) -> type[X2GoProxyBASE]:
        if backend == "auto-detect":
            word = "" if self.params.is_published else self.params.words()[0]
            backend = "KDRIVE" if self.params.kdrive or word in _KDRIVE_DESKTOPS else "NX3"
        elif self.params.kdrive and backend in {"NX3", "default"}:
            backend = "KDRIVE"
        chosen: type[X2GoProxyBASE] = _get_backend_class(backend, "X2GoProxy")
        return chosen

    def __repr__(self) -> str:
        shown = "shown" if self.ok() else "not shown"
        return f"<X2GoTerminalSession {self.session_info.name or '(no name yet)'}: {shown}>"

    @property
    def server(self) -> X2GoServer:
        """The server's commands."""
        return self.control_session.server

    @property
    def _host(self) -> str:
        return self.server.host

    # The command.

    def has_command(self, cmd: str | Sequence[str]) -> bool:
        """Whether the server has the program of a command."""
        return bool(self.server.find_programs(candidates(cmd)))

    def require_command(self) -> None:
        """Make sure that the server can run what the session is for.

        Raises:
            X2GoCommandNotFound: The command does not exist.
            X2GoDesktopSharingDenied: The server does not share desktops of other users.
            X2GoTerminalSessionException: The server has no x2gokdrive, or publishes no applications.
        """
        if self.params.kdrive and self.params.rewrite_session_type() == "K":
            self._require_feature("X2GOKDRIVE_BASE_SUPPORT", "x2gokdrive")
        if self.params.is_published:
            self._require_feature("X2GO_PUBLISHED_APPLICATIONS", "published applications")
        elif self.params.is_shared:
            self._require_sharing()
        elif self.params.rdp_program is not None:
            self._require(self.params.rdp_program)
        elif not self.params.is_xdmcp:
            self._require(" ".join(self.params.words()))

    def _require(self, cmd: str) -> None:
        if not self.has_command(cmd):
            wanted = candidates(cmd)
            raise X2GoCommandNotFound(
                f"the command {cmd!r} does not exist there",
                host=self._host,
                doing="starting a session",
                advice=f"install one of: {', '.join(wanted)}" if len(wanted) > 1 else f"see: command -v {wanted[0]}",
            )

    def _require_feature(self, feature: str, what: str) -> None:
        if feature not in self.server.features():
            raise X2GoTerminalSessionException(
                f"the server has no {what} ({feature} is not among its features)",
                host=self._host,
                doing="starting a session",
            )

    def _require_sharing(self) -> None:
        owner = self.params.words()[0].split("XSHAD")[1]
        foreign = owner != self.server.get_facts().user
        if foreign and not self.server.find_programs(["x2godesktopsharing"]):
            raise X2GoDesktopSharingDenied(
                f"the server does not share desktops of others, such as {owner}: it has no x2godesktopsharing",
                host=self._host,
                doing="sharing a desktop",
                advice="install it on the server (Debian: apt-get install x2godesktopsharing)",
            )

    # Steps.

    def start(
        self, deadline: Deadline | None = None, *, display: str | None = None, xauthority: str | None = None
    ) -> bool:
        """Start a new session with its agent and proxy; its command comes with `run_command`.

        Args:
            deadline: By when; None is a minute.
            display: The display on the controller; by default that of the environment.
            xauthority: The file with its cookie.

        Raises:
            X2GoTerminalSessionException: The server did not start it, as its subclasses say.
            X2GoProxyException: The proxy did not show it, as its subclasses say.
            X2GoTimeOutException: It took too long.
        """
        deadline = deadline or Deadline.after(STEP_TIME)
        self._require_display(display)
        with contextlib.ExitStack() as on_failure:
            on_failure.callback(self._abandon_start)
            with start_turn(self._host, deadline, needed=not self.params.is_shared):
                begun = time.monotonic()
                answer = self.server.execute(
                    ["x2gostartagent", *self.params.start_arguments()],
                    deadline,
                    env=self.params.start_environment(),
                    leaves_child=True,
                    limit=SHARING_TIME if self.params.is_shared else STEP_TIME,
                )
                was_slow = time.monotonic() - begun > FORGOTTEN_AFTER
            self._take_start(answer)
            self._connect(deadline, display, xauthority, "starting a session")
            if was_slow and not self.params.is_shared:
                self._keep_listed()
            on_failure.pop_all()
        return True

    def _keep_listed(self) -> None:
        """See that the server has not forgotten the session; if it has for good, the session goes on all the same."""
        try:
            if self.server.keep_listed(self.session_info):
                return
            why = "it took very long to start"
        except CrlError as error:
            why = error.message
        self.logger(f"the server does not list {self.session_info.name}: {why}", loglevel=loglevel_WARN)

    @staticmethod
    def _require_display(display: str | None) -> None:
        """What nxproxy would only find out after a quarter of a minute, with the agent's end."""
        if display is None and not os.environ.get("DISPLAY"):
            raise X2GoClientDisplayError(
                "the environment has no DISPLAY", host="this machine", doing="looking for the client's display"
            )

    def _take_start(self, answer: RunAnswer) -> None:
        started = parse_start(answer.stdout) if answer.status == 0 else None
        if started is None:
            raise start_failure(answer, self._host)
        facts = self.server.get_facts()
        Secret(started.cookie)  # from now on it is taken out of every error text
        self.session_info.initialize_from(
            started, facts.user, facts.hostname, remote_container=f"{facts.home}/.x2go/C-{started.name}"
        )

    def _connect(self, deadline: Deadline, display: str | None, xauthority: str | None, doing: str) -> None:
        """Bring up the proxy and wait until the agent runs; the proxy is ended again if that fails."""
        self.release_proxy()
        proxy = self.proxy_backend(
            session_info=self.session_info,
            ssh_transport=self.forwarder or self.control_session.target,
            sessions_rootdir=self.sessions_rootdir,
            proxy_options=self.proxy_options,
            session_instance=self.session_instance,
            logger=self.logger,
            display=display,
            xauthority=xauthority,
        )
        with contextlib.ExitStack() as on_failure:
            on_failure.callback(proxy.stop_thread)
            try:
                proxy.bring_up(deadline)
            except CrlError as error:
                raise self._why(error, doing) from error
            report = self.server.watch(self.session_info, _SETTLED, deadline)
            if report.state is not AgentState.RUNNING or report.gone:
                raise self._not_running(report, proxy, doing)
            on_failure.pop_all()
        self.proxy = proxy
        self.control_session.associated_terminals[self.session_info.name] = self
        self._look_for_window(display, xauthority)

    def _look_for_window(self, display: str | None, xauthority: str | None) -> None:
        """Keep track of a desktop's window, and give it the title that was asked for."""
        if self.get_session_type() not in {"D", "K", "S"}:
            return
        folder = None if self.sessions_rootdir is None else Path(self.session_info.local_container)
        self.session_window = SessionWindow(self.session_info.name, display, xauthority, folder)
        if self.set_session_title or folder is not None:
            self.auto_session_window_title(dont_set=not self.set_session_title)

    def _abandon_start(self) -> None:
        """Leave nothing of a start that failed; what goes wrong here must not hide why it failed."""
        deadline = Deadline.after(CLEANING_TIME)
        with contextlib.suppress(CrlError, OSError):
            known = [self.session_info] if self.session_info.is_initialized() else []
            for info in known or self.server.started_by_us(deadline):
                self.server.terminate(info.name, deadline)
                self.server.clean(info, deadline)
        self.session_info = X2GoServerSessionInfo()

    def run_command(self, cmd: str | Sequence[str] | None = None, env: Mapping[str, str] | None = None) -> bool | None:
        """Start the session's command on its display; when it ends, the server ends the session.

        Args:
            cmd: The command; None is that of the parameters.
            env: Variables for it.

        Returns:
            True; None for sessions whose agent brings its own desktop.
        """
        info = self.session_info
        words = self.params.run_words(self.server.get_facts().user) if cmd is None else command_words(cmd)
        if not words:
            return None
        self.server.start_detached(
            [
                "x2goruncommand", str(info.display), str(info.agent_pid), info.name, str(info.snd_port),
                SPACE.join(words), self.params.snd_system or "none", self.get_session_type() or "R",
            ],
            env={**self._sound_environment(), **self.box_environment(), **(env or {})},
        )  # fmt: skip
        return True

    def exec_published_application(
        self,
        exec_name: str,
        timeout: float = 20,  # noqa: ARG002 - as published
        env: Mapping[str, str] | None = None,
    ) -> None:
        """Start a program in the session.

        Args:
            exec_name: Its command, as the server's menu has it: with quotes, but without anything else of a shell.
            timeout: Accepted as in python-x2go; starting it does not wait.
            env: Variables for it.

        Raises:
            X2GoParameterError: Its quotes do not close.
            X2GoCommandNotFound: The server does not have it.
        """
        words = application_words(exec_name)
        if not words:
            raise X2GoParameterError(f"{exec_name!r} is no command", host=self._host)
        program = next((word for word in words if "=" not in word), words[0])
        if not self.server.find_programs([program]):
            raise X2GoCommandNotFound(f"the command {program!r} does not exist there", host=self._host)
        self.server.start_detached(["env", *words], env={**self.environment(), **(env or {})})

    def environment(self) -> dict[str, str]:
        """The variables with which a program on the server shows itself in the session."""
        return {
            "DISPLAY": f":{self.session_info.display}",
            "XAUTHORITY": f"{self.server.get_facts().home}/.Xauthority",
            "X2GO_SESSION": self.session_info.name,
            **self._sound_environment(),
            **self.box_environment(),
        }

    def set_keyboard(self, layout: str = "null", variant: str = "null") -> bool:
        """Set layout and variant of the session's keyboard; whether the server did.

        Raises:
            X2GoParameterError: They cannot be names.
        """
        self.params.update(kblayout=layout, kbvariant=variant or "null")
        words = ["setxkbmap"]
        words += ["-layout", layout] if layout not in {"", "null"} else []
        words += ["-variant", variant] if variant not in {"", "null"} else []
        if len(words) == 1:
            return False
        try:
            return self.server.execute(words, env=self.environment()).status == 0
        except FileNotFoundError:
            return False

    def set_keyboard_as_wished(self) -> None:
        """Do what the server's own start leaves to the client: layout and variant, where a keyboard was named."""
        params = self.params
        given = {params.kblayout, params.kbvariant} - {"", "null"}
        if params.kbtype not in {"null/null", "auto"} and given:
            self.set_keyboard(params.kblayout, params.kbvariant)

    def resume(
        self, deadline: Deadline | None = None, *, display: str | None = None, xauthority: str | None = None
    ) -> bool:
        """Show the session again, here; a session that is shown elsewhere is taken from there.

        Raises:
            X2GoTerminalSessionException: The server did not resume it.
            X2GoProxyException: The proxy did not show it; the session is then suspended.
            X2GoTimeOutException: It took too long.
        """
        deadline = deadline or Deadline.after(STEP_TIME)
        self._require_display(display)
        try:
            self._resume_once(deadline, display, xauthority)
        except X2GoSuspendedByServer as error:
            self.logger(f"{self.session_info.name}: {error.message}; resuming it again", loglevel=loglevel_WARN)
            self._resume_once(deadline, display, xauthority)
        return True

    def _resume_once(self, deadline: Deadline, display: str | None, xauthority: str | None) -> None:
        info = self.session_info
        arguments = self.params.resume_arguments(self.server.checked_name(info.name))
        self._take_from_others(deadline)
        answer = self.server.execute(["x2goresume-session", *arguments], deadline)
        ports = parse_resume(answer.stdout) if answer.status == 0 and "ERROR" not in answer.stderr else None
        if ports is None:
            raise self._resume_failure(answer)
        info.graphics_port, info.snd_port, info.sshfs_port = ports.graphics_port, ports.snd_port, ports.sshfs_port
        info.tekictrl_port, info.tekidata_port = ports.tekictrl_port, ports.tekidata_port
        # The script does not wait for that, and nxproxy gives up at the first refusal, with words about a wrong cookie.
        self.server.wait_until_listening(info, deadline)
        try:
            self._connect(deadline, display, xauthority, "resuming a session")
        except CrlError:
            with contextlib.suppress(CrlError, OSError):  # the first error is the one to show
                self.server.suspend(info.name, Deadline.after(CLEANING_TIME))
            raise
        info.status = "R"

    def _take_from_others(self, deadline: Deadline) -> None:
        """Suspend a session that is not suspended, before it is resumed.

        x2goresume-session would do so too, but then waits two seconds. That is just long enough for the server's
        x2gocleansessions to take the session for one that should be suspended, and to do it again after our resume.
        """
        report = self.look()
        if report.gone:
            raise self._ended("resuming a session")
        if report.state is not AgentState.SUSPENDED:
            self._suspend_agent(deadline, "resuming a session")

    def suspend(self, deadline: Deadline | None = None) -> bool:
        """Suspend the session and end its proxy.

        Raises:
            X2GoSessionEnded: The session has ended instead.
            X2GoTimeOutException: The agent was not suspended in time.
        """
        self._suspend_agent(deadline or Deadline.after(STEP_TIME), "suspending a session")
        self.session_info.status = "S"
        return True

    def _suspend_agent(self, deadline: Deadline, doing: str) -> None:
        self.server.suspend(self.session_info.name, deadline)
        self.end_shares(asked=True)
        report = self.server.watch(self.session_info, (AgentState.SUSPENDED,), deadline)
        self.release_proxy()
        if report.gone:
            raise self._ended(doing)
        if report.state is not AgentState.SUSPENDED:
            raise X2GoTimeOutException(f"the agent is still {report.state}", host=self._host, doing=doing)

    def terminate(self, deadline: Deadline | None = None) -> bool:
        """End the session and remove what it left on both sides.

        Raises:
            X2GoTimeOutException: The agent did not end in time.
        """
        deadline = deadline or Deadline.after(STEP_TIME)
        self.end_shares()
        try:
            self.server.terminate(self.session_info.name, deadline)
            gone = self.server.clean(self.session_info, deadline)
        finally:
            self.release_proxy()
            self.release_boxes()
        if not gone:
            raise X2GoTimeOutException(
                f"the agent (process {self.session_info.agent_pid}) did not end",
                host=self._host,
                doing="terminating a session",
            )
        self.session_info.status = "F"
        self.post_terminate_cleanup()
        return True

    def release_proxy(self) -> None:
        """End the proxy, if there is one, and all that belongs to it; sound and shared folders too."""
        self.stop_sshfs()
        self.stop_sound()
        self.release_telekinesis()
        proxy, self.proxy = self.proxy, None
        window, self.session_window = self.session_window, None
        if window is not None:
            window.stop()
        if proxy is not None:
            proxy.stop_thread()
            self.proxy_log = proxy.log_tail
        self.control_session.dissociate(self)

    def _x2go_tidy_up(self) -> None:
        """End everything here; the session on the server stays."""
        self.release_proxy()
        self.release_boxes()
        self.session_info.clear()

    def __del__(self) -> None:
        if self.__dict__.get("proxy") is not None:
            with contextlib.suppress(Exception):  # nobody is left to tell
                self.release_proxy()
        if self.print_queue is not None or self.mimebox_queue is not None:
            with contextlib.suppress(Exception):
                self.release_boxes()

    def __enter__(self) -> X2GoTerminalSession:
        return self

    def __exit__(self, *_: Any) -> None:
        self.release_proxy()
        self.release_boxes()


X2GoTerminalSessionSTDOUT = X2GoTerminalSession
