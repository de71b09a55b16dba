"""The keywords of ``X2GoLibrary``.

They know `crl.x2go`, Robot Framework and ``TargetLibrary``, whose targets they use and which closes the sessions before
it closes a target. Each keyword is one step or one look of a session.
"""

from __future__ import annotations

from contextlib import ExitStack
from datetime import timedelta
from functools import partial
from typing import Any, Literal

from assertionengine import AssertionOperator
from robot.api import logger
from robot.api.deco import keyword
from robot.libraries.BuiltIn import BuiltIn
from TargetLibrary import TargetLibrary
from TargetLibrary.foundation import CrlLibrary, asserted

from crl.display import Window, window_matcher
from crl.errors import CrlError, UsageError
from crl.targets import Target
from crl.x2go import SessionState, Verification, X2GoServerSessionInfo, X2GoSession, list_sessions
from crl.x2go.pulseaudio import X2GoPulseAudio
from X2GoLibrary.pictures import EMBED, Picture, show
from X2GoLibrary.registry import OpenSessions
from X2GoLibrary.services import ServiceKeywords, Sound, with_truth

__all__ = ["X2GoLibrary"]

LinkSpeed = Literal["modem", "isdn", "adsl", "wan", "lan"]
Clipboard = Literal["both", "server", "client", "none"]
AtExit = Literal["terminate", "suspend", "leave"]

MINUTE = timedelta(minutes=1)
HALF_A_MINUTE = timedelta(seconds=30)
NO_TIME = timedelta()


class X2GoLibrary(ServiceKeywords, CrlLibrary):
    """Starts, looks at, suspends, resumes and ends X2Go sessions.

    The server is a target of ``TargetLibrary``: open it there first. The graphics travel over the target's own
    connection, through jump hosts and other users' shells too. The server needs ``x2goserver``; this machine needs
    ``nxproxy`` and, when it has no display, ``Xvfb`` and a window manager.

    = Sessions =

    A session that was started is the one in use; keywords concern it, or the one whose alias or name they are given as
    ``session``. A session ends when its target is closed, at the latest; with ``at_exit=suspend`` or ``at_exit=leave``
    it goes on, and `Resume Session` takes it over later by its name.

    = Pictures =

    ``EMBED``, the default for a file's name, puts a picture into ``log.html`` itself: one file to keep or to send, also
    from parallel runs with pabot. When a keyword of this library fails, the state of the session and its picture are
    put into the log; ``run_on_failure`` at `Importing` switches that off.

    = Windows =

    A window is named by its title, or by the instance or class of its application, with the wildcards ``*`` and ``?``.

    = Example =

    | Library    TargetLibrary
    | Library    X2GoLibrary
    |
    | The desktop comes up
    |     Open Target    beta
    |     Start Desktop Session    openbox-session    geometry=1024x768
    |     Verify Session
    """

    def __init__(self, run_on_failure: bool = True, retry_for: timedelta = NO_TIME) -> None:
        """Settings for all keywords.

        Args:
            run_on_failure: Whether a failing keyword of this library logs the session's state and picture.
            retry_for: How long assertions are tried again, where a keyword does not say it.
        """
        self._run_on_failure = run_on_failure
        self._retry_for = retry_for
        self.sessions = OpenSessions()
        super().__init__()

    # Starting and ending

    @keyword
    def start_desktop_session(
        self,
        command: str = "TERMINAL",
        alias: str | None = None,
        *,
        target: str | Target | None = None,
        geometry: str = "1024x768",
        link: LinkSpeed = "adsl",
        clipboard: Clipboard = "both",
        client_display: str | None = None,
        at_exit: AtExit = "terminate",
        sound: Sound = "none",
        printing: bool = False,
        mimebox: bool = False,
        timeout: timedelta = MINUTE,
        **parameters: Any,
    ) -> X2GoSession:
        """Starts a desktop and uses its session from now on.

        Example:
        | Start Desktop Session    openbox-session    geometry=1280x800
        | Start Desktop Session    MATE    alias=second    target=beta    client_display=:0

        Args:
            command: The program, or one of the server's words such as ``MATE``, ``XFCE``, ``OPENBOX``, ``TERMINAL``.
            alias: What to call the session; its name on the server works in any case.
            target: Alias of the target; by default the one in use.
            geometry: Width and height in pixels, or ``fullscreen``.
            link: How fast the way is.
            clipboard: Which way the clipboard works.
            client_display: The display here, ``:0`` or ``$DISPLAY``; by default one is started for the session alone.
            at_exit: What becomes of the session when its target is closed.
            sound: ``play`` lets its programs be heard by the sound server of this machine, ``record`` by one that
                is started for the session alone; see `Wait For Tone`.
            printing: Whether what it prints comes here; see `Set Print Action`.
            mimebox: Whether it has a folder whose files come here.
            timeout: How long the start may take.
            **parameters: Further parameters of `crl.x2go.X2GoSession`, such as ``depth``, ``pack``, ``kbtype``;
                ``True`` and ``False`` are understood as such.

        Returns:
            The session.
        """
        parameters |= {"geometry": geometry, "link": link, "clipboard": clipboard}
        parameters |= {"client_display": client_display, "at_exit": at_exit}
        parameters |= {"sound": sound, "printing": printing, "allow_mimebox": mimebox}
        return self._start("desktop", command, alias, target, timeout, parameters)

    @keyword
    def start_application_session(
        self,
        command: str,
        alias: str | None = None,
        *,
        target: str | Target | None = None,
        link: LinkSpeed = "adsl",
        clipboard: Clipboard = "both",
        client_display: str | None = None,
        at_exit: AtExit = "terminate",
        sound: Sound = "none",
        printing: bool = False,
        mimebox: bool = False,
        timeout: timedelta = MINUTE,
        **parameters: Any,
    ) -> X2GoSession:
        """Starts a single application, whose windows stand among those of the display here.

        Args:
            command: The program with its arguments.
            alias: As of `Start Desktop Session`.
            target: As of `Start Desktop Session`.
            link: As of `Start Desktop Session`.
            clipboard: As of `Start Desktop Session`.
            client_display: As of `Start Desktop Session`.
            at_exit: As of `Start Desktop Session`.
            sound: As of `Start Desktop Session`.
            printing: As of `Start Desktop Session`.
            mimebox: As of `Start Desktop Session`.
            timeout: As of `Start Desktop Session`.
            **parameters: As of `Start Desktop Session`.

        Returns:
            The session.
        """
        parameters |= {"link": link, "clipboard": clipboard, "client_display": client_display, "at_exit": at_exit}
        parameters |= {"sound": sound, "printing": printing, "allow_mimebox": mimebox}
        return self._start("application", command, alias, target, timeout, parameters)

    def _start(
        self,
        kind: str,
        command: str,
        alias: str | None,
        target: str | Target | None,
        timeout: timedelta,
        parameters: dict[str, Any],
    ) -> X2GoSession:
        self.sessions.refuse_taken(alias)
        session = self._new_session(target, session_type=kind, cmd=command, **parameters)
        self.sessions.use(session)
        session.start(timeout=timeout.total_seconds())
        self.sessions.add(session, alias)
        logger.info(repr(session))
        return session

    def _new_session(self, target: str | Target | None, *, sound: Sound = "none", **parameters: Any) -> X2GoSession:
        library = _target_library()
        server = library.targets.find(target)
        with ExitStack() as made:
            recorder = made.enter_context(X2GoPulseAudio(sink="null")) if sound == "record" else None
            if sound != "none":
                parameters |= {"snd_system": "pulse", "sound_server": recorder}
            session = X2GoSession(target=server, **with_truth(parameters))
            made.pop_all()
        if recorder is not None:
            self.sessions.add_recorder(session, recorder)
        library.targets.before_closing(server, partial(self.sessions.leave, session))
        return session

    @keyword
    def suspend_session(self, session: str | X2GoSession | None = None, *, timeout: timedelta = MINUTE) -> None:
        """Suspends a session: its programs go on, nothing of it is shown here.

        Args:
            session: Alias or name; by default the session in use.
            timeout: How long it may take.
        """
        self.sessions.find(session).suspend(timeout=timeout.total_seconds())

    @keyword
    def resume_session(
        self,
        session: str | X2GoSession | None = None,
        *,
        target: str | Target | None = None,
        client_display: str | None = None,
        timeout: timedelta = MINUTE,
    ) -> X2GoSession:
        """Shows a suspended session again and uses it from now on.

        Args:
            session: Alias or name; by default the session in use. A name that this library does not know is looked for
                on the server, so that a session of another run can be taken over.
            target: Alias of the target of such a session; by default the one in use.
            client_display: The display here for such a session, as of `Start Desktop Session`.
            timeout: How long it may take.

        Returns:
            The session.
        """
        found = self.sessions.known(session) or self._new_session(
            target, session_name=session, client_display=client_display
        )
        found.resume(timeout=timeout.total_seconds())
        self.sessions.add(found)
        self.sessions.use(found)
        return found

    @keyword
    def terminate_session(
        self,
        session: str | X2GoSession | None = None,
        *,
        target: str | Target | None = None,
        timeout: timedelta = MINUTE,
    ) -> str:
        """Ends a session and removes what it left on both sides.

        Args:
            session: As of `Resume Session`.
            target: As of `Resume Session`.
            timeout: How long it may take.

        Returns:
            The name that it had.
        """
        found = self.sessions.known(session) or self._new_session(target, session_name=session)
        found.terminate(timeout=timeout.total_seconds())
        self.sessions.close(found)
        return str(found.get_session_name())

    # Looking

    @keyword(tags=("Getter", "Assertion"))
    def get_session_state(
        self,
        assertion_operator: AssertionOperator | None = None,
        assertion_expected: str | None = None,
        message: str | None = None,
        *,
        session: str | X2GoSession | None = None,
        retry_for: timedelta | None = None,
    ) -> str:
        """Gets the true state of a session, asked of the server.

        It is ``RUNNING``, ``SUSPENDED`` or ``TERMINATED``, or for a moment ``STARTING``, ``SUSPENDING``, ``RESUMING``
        or ``TERMINATING``.

        Example:
        | Get Session State    ==    RUNNING
        | Get Session State    ==    SUSPENDED    session=second    retry_for=5s

        Args:
            assertion_operator: How it is compared.
            assertion_expected: The state expected.
            message: The error's text when the assertion fails.
            session: Alias or name; by default the session in use.
            retry_for: How long to ask again until the assertion holds.
        """
        found = self.sessions.find(session)
        return str(
            asserted(
                lambda: str(found.get_state()),
                assertion_operator,
                assertion_expected,
                message,
                what="The session's state",
                retry_for=self._retry_for if retry_for is None else retry_for,
            )
        )

    @keyword(tags=("Getter",))
    def list_sessions(
        self, target: str | Target | None = None, *, timeout: timedelta = MINUTE
    ) -> list[X2GoServerSessionInfo]:
        """Lists the sessions of the target's account on its server, running and suspended ones.

        Args:
            target: Alias of the target; by default the one in use.
            timeout: How long it may take.

        Returns:
            Records with ``name``, ``status``, ``display``, ``agent_pid``, ``hostname``, ``client``, ``date_created``
            and more.
        """
        server = _target_library().targets.find(target)
        found = list(list_sessions(server, timeout=timeout.total_seconds()).values())
        logger.info("\n".join(map(repr, found)) or "no sessions")
        return found

    @keyword(tags=("Getter",))
    def get_session_environment(self, *, session: str | X2GoSession | None = None) -> dict[str, str]:
        """Gets the variables with which a program on the server shows itself in a session, and is heard there.

        Example:
        | ${environment}    Get Session Environment
        | Start Process    xterm    env=${environment}

        Args:
            session: Alias or name; by default the session in use.
        """
        found = self.sessions.find(session)
        if found.terminal_session is None:
            raise UsageError(f"{found!r} shows no programs", advice="start or resume it first")
        return found.terminal_session.environment()

    @keyword
    def wait_for_window(
        self, window: str, *, session: str | X2GoSession | None = None, timeout: timedelta = HALF_A_MINUTE
    ) -> Window:
        """Waits until a session shows a window.

        Args:
            window: Title, instance or class, with wildcards.
            session: Alias or name; by default the session in use.
            timeout: How long to wait.

        Returns:
            The window, with ``name``, ``wm_class``, ``geometry``, ``pid`` and more.
        """
        found = self.sessions.find(session).wait_for_window(window, timeout.total_seconds())
        logger.info(str(found))
        return found

    @keyword(tags=("Getter",))
    def get_windows(self, pattern: str = "*", *, session: str | X2GoSession | None = None) -> list[Window]:
        """Gets the windows that a session shows now, lowest first.

        Args:
            pattern: Title, instance or class, with wildcards.
            session: Alias or name; by default the session in use.
        """
        matches = window_matcher(pattern)
        found = [window for window in self.sessions.find(session).windows() if matches(window)]
        logger.info("\n".join(map(str, found)) or "no windows")
        return found

    @keyword
    def verify_session(
        self,
        *windows: str,
        session: str | X2GoSession | None = None,
        timeout: timedelta = HALF_A_MINUTE,
        pictures: bool = True,
    ) -> Verification:
        """Verifies a session from both sides: state, processes, windows, pictures.

        The agent runs, the proxy shows it here, each window is there, and neither picture is of one colour.

        Args:
            *windows: Windows that have to be there.
            session: Alias or name; by default the session in use.
            timeout: How long to wait for the windows.
            pictures: Whether both pictures are put into the log.

        Returns:
            What was seen, with ``state``, ``server_windows``, ``client_windows`` and both pictures.
        """
        found = self.sessions.find(session)
        seen = found.verify(windows, timeout=timeout.total_seconds())
        logger.info("\n".join(f"{name}: {value}" for name, value in _described(seen).items()))
        if pictures:
            for side, image in (("The session", seen.server_picture), ("The display here", seen.client_picture)):
                if image is not None:
                    show(image, f"{side}: {seen.session_name}")
        return seen

    @keyword
    def take_server_picture(self, filename: str = EMBED, *, session: str | X2GoSession | None = None) -> Picture:
        """Takes a picture of a session as the server draws it.

        Args:
            filename: ``EMBED`` for a picture in the log itself, or a file's name, relative to the output folder.
                ``{index}`` in it becomes the first free number; a file that is there is never overwritten.
            session: Alias or name; by default the session in use.

        Returns:
            The picture, with ``width``, ``height``, ``path`` and ``image``.
        """
        found = self.sessions.find(session)
        return show(found.server_picture(), f"The session: {found.get_session_name()}", filename)

    @keyword
    def take_client_picture(
        self, filename: str = EMBED, *, session_only: bool = False, session: str | X2GoSession | None = None
    ) -> Picture:
        """Takes a picture of the display here that shows a session.

        Args:
            filename: As of `Take Server Picture`.
            session_only: Only the window of a desktop.
            session: Alias or name; by default the session in use.

        Returns:
            As of `Take Server Picture`.
        """
        found = self.sessions.find(session)
        image = found.client_picture(session_only=session_only)
        return show(image, f"The display here: {found.get_session_name()}", filename)

    # Failures

    def keyword_failed(self, error: Exception) -> None:
        """Put the state and the picture of the session in use into the log."""
        session = self.sessions.current
        if not self._run_on_failure or session is None or isinstance(error, UsageError):
            return
        try:
            logger.info(f"{session!r}; the agent on the server is {session.get_state()}")
            if session.state is SessionState.RUNNING:
                logger.info("\n".join(map(str, session.windows())) or "no windows")
                show(session.server_picture(), f"When it failed, the session: {session.get_session_name()}")
                show(session.client_picture(), f"When it failed, the display here: {session.get_session_name()}")
        except (CrlError, OSError) as second:  # the failure of the keyword is the one to report
            logger.info(f"There is no more to show: {second}")


def _target_library() -> TargetLibrary:
    """The ``TargetLibrary`` of the suite; with several, the first that has open targets."""
    libraries: Any = BuiltIn().get_library_instance(all=True)
    found = [library for library in libraries.values() if isinstance(library, TargetLibrary)]
    for library in sorted(found, key=lambda library: not library.targets.aliases):
        return library
    raise UsageError("the suite does not use TargetLibrary", advice="import it: Library    TargetLibrary")


def _described(seen: Verification) -> dict[str, object]:
    return {
        "state": seen.state,
        "windows on the server": "; ".join(map(str, seen.server_windows)),
        "windows here": "; ".join(str(window) for window in seen.client_windows if window.viewable),
    }
