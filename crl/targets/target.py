"""A target: one host and what can be done there, as verbs.

This module joins an `AutoRunnerTerminal` with the services of its link and re-implements neither. It promises that many
threads may use one target, that every verb ends at its timeout, that a command is never run twice, and that the target
is connected, and connected again after a loss, when a verb needs it.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import socket
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, Self, overload

from crl.deadlines import Deadline
from crl.errors import UsageError
from crl.interactivesessions._beside import CommandChannel
from crl.interactivesessions._patience import Patience
from crl.interactivesessions._recovery import RecoveryPending
from crl.interactivesessions.autorunnerterminal import AutoRunnerTerminal
from crl.interactivesessions.InteractiveSession import InteractiveSession
from crl.interactivesessions.runnerexceptions import (
    RemoteTimeout,
    RunnerException,
    RunnerTerminalSessionBroken,
    SessionInitializationFailed,
)
from crl.interactivesessions.shells.shell import Shell
from crl.interactivesessions.shells.shellstack import ShellStack
from crl.interactivesessions.shells.sshshell import SshShell
from crl.link import TUNNEL_LIMIT, Address, Link, LinkLost, ProcessTimeout, RemoteProcess, Taker, TcpAddress, Tunnel
from crl.link import RunResult as LinkResult
from crl.link.given import CommandLine, Environment, RemoteName
from crl.secrets import Secret, to_secret
from crl.targets import _become
from crl.targets._becoming import Becoming, account_of
from crl.targets._waiting import LONGEST_PAUSE, SHUT_SECONDS, PatientSession, tries_until
from crl.targets.detached import DetachedProcess, from_token
from crl.targets.facts import COLLECT, TargetFacts, parse_facts
from crl.targets.files import TargetFiles
from crl.targets.python import Python
from crl.targets.results import (
    CommandFailed,
    CommandTimeout,
    ConnectTimeout,
    RebootFailed,
    RunResult,
    shown,
)

__all__ = ["Target"]

ShellLike = Shell | Mapping[str, Any]

RUN_TIMEOUT = 60.0
REBOOT_TIMEOUT = 600.0
FACTS_TIMEOUT = 30.0
CHANNEL_TIMEOUT = 15.0
PTY_SIZE = (24, 80)
BOOT_ID = "/proc/sys/kernel/random/boot_id"


class Target:
    r"""One host, reached through a shell or a stack of shells.

    Nothing is connected before the first verb, or `connect`. After a loss the next verb connects again; what was under
    way raises, and is not run again.

    Args:
        shells: One shell or the shells from the first hop to the last; dictionaries are taken as
            `shells.shellstack.ShellStack` takes them.
        name: What to call it in texts; None takes the host's name from the shells.
        max_tries: How often connecting is tried.
        python: The Python interpreter to use there; None finds one.

    Attributes:
        terminal: The `AutoRunnerTerminal` behind all verbs.
        python: Python there: ``target.python.os.getpid()``.
        files: Files there: ``target.files.push("tree", "/srv/tree")``.

    Example:
        >>> with Target(SshShell("alpha")) as target:
        ...     target.run(["uname", "-s"], check=True).stdout
        'Linux\n'
    """

    def __init__(
        self,
        shells: ShellLike | Iterable[ShellLike],
        *,
        name: str | None = None,
        max_tries: int = 3,
        python: str | None = None,
    ) -> None:
        self._shells = _as_shells(shells)
        # What `shell` opens is of its own: these were never started.
        self._patterns = [copy.copy(shell) for shell in self._shells]
        self._name = name
        self._session = PatientSession()
        self._session.initialize(self._shells, max_tries=max_tries)
        self.terminal = AutoRunnerTerminal()
        self.terminal.python = python
        self.terminal.initialize(self._session)
        self.python = Python(self.terminal, self._ensure)
        self.files = TargetFiles(self._ensure)
        self._closed = False
        self._stopped = threading.Event()
        self._accounts: dict[tuple[str | None, str], _become.Account] = {}

    @classmethod
    def from_ssh_alias(cls, alias: str, config: str | None = None, **options: Any) -> Self:
        """A target for a host of an OpenSSH configuration.

        Args:
            alias: The name as given to ``ssh``.
            config: The configuration file; None is the user's own.
            options: As for the class.
        """
        options.setdefault("name", alias)
        return cls(SshShell(alias, config=config), **options)

    def __repr__(self) -> str:
        return f"<Target {self.name} ({'closed' if self._closed else self._state()})>"

    def _state(self) -> str:
        return "connected" if self.terminal.session_id is not None else "not connected"

    @property
    def name(self) -> str:
        """What the target is called in texts."""
        return self._name or self._session.name

    @property
    def shells(self) -> tuple[Shell, ...]:
        """Copies of its shells, from the first hop to the last; they were never started."""
        return tuple(copy.copy(shell) for shell in self._patterns)

    # Connection

    def connect(self, timeout: float | None = None) -> Self:
        """Connect, when that is not done; opens a closed target again.

        Args:
            timeout: Seconds; None waits as long as the shells' own limits last.

        Raises:
            SessionInitializationFailed: It cannot be reached; the reason is the first argument.
            ConnectTimeout: Not in that time.
        """
        if self._closed:
            self._stopped.clear()
            self.terminal.initialize(self._session)
            self._closed = False
        self._ensure(Deadline.after(timeout))
        return self

    def close(self) -> None:
        """End everything under way there and the connection; again is harmless."""
        self._closed = True
        self._stopped.set()
        self.terminal.close()

    def __enter__(self) -> Self:
        return self.connect()

    def __exit__(self, *_: object) -> None:
        self.close()

    def _ensure(self, deadline: Deadline) -> Link:
        if self._closed:
            raise UsageError("the target is closed", host=self.name, advice="call connect()")
        try:
            self.terminal.ensure_open(deadline)
        except RecoveryPending as error:
            raise ConnectTimeout(error.message, host=self.name, doing="connecting") from error
        return self.terminal.link

    # Commands

    def run(
        self,
        command: CommandLine,
        *,
        check: bool = False,
        timeout: float | None = RUN_TIMEOUT,
        env: Environment | None = None,
        cwd: RemoteName | None = None,
        input: str | bytes | None = None,  # noqa: A002 - the name of subprocess.run
        become: str | None = None,
        become_password: str | Secret | None = None,
        umask: int | None = None,
        merge: bool = False,
        contain: bool = False,
    ) -> RunResult:
        """Run a command to its end.

        Args:
            command: An argument list, which is run as it is, or a line for ``/bin/sh``.
            check: Raise when the status is not 0.
            timeout: Seconds for all of it; None waits for ever.
            env: Changes to the environment; None as a value removes a variable.
            cwd: The directory to run in.
            input: What it reads; nothing by default.
            become: The user to run it as.
            become_password: What sudo asks for; without one it must not ask.
            umask: Mask for the modes of files that it makes, for example ``0o077``.
            merge: Put its error output into its output, in the exact order in which it writes both.
            contain: Find children that leave its session, clean their environment *and* lose their parent all the same
                when it is killed; such children become those of the command.

        Raises:
            CommandFailed: `check` was asked for and the status is not 0.
            CommandTimeout: It took too long; it and its children were killed, or the text says what was not.
            BecomeRefused: It may not be run as that user.
            OSError: It could not be started, as `subprocess.run` would say there.
            crl.link.LinkLost: The link was lost; whether the command ended is unknown. It is not run again.
            SessionInitializationFailed: The target cannot be reached; nothing was run.
        """
        deadline = Deadline.after(timeout)
        link = self._ensure(deadline)
        as_other = None if become is None else self._becoming(become, command, become_password, deadline, link)
        how: dict[str, Any] = {"cwd": cwd, "umask": umask, "merge": merge, "contain": contain}
        data = input.encode() if isinstance(input, str) else input or b""
        try:
            if as_other is not None:
                ended = as_other.run(deadline, env, data, **how)
            else:
                ended = link.run(command, env=env, stdin=data, timeout=deadline.remaining(), **how)
        except ProcessTimeout as error:
            raise _timed_out(error, command, timeout, self.name) from error
        result = _as_text(ended)
        if check and not result.ok:
            raise CommandFailed(shown(command), result, host=self.name)
        return result

    def _becoming(
        self, user: str, command: CommandLine, password: str | Secret | None, deadline: Deadline, link: Link
    ) -> Becoming:
        key = (self.terminal.session_id, user)
        if key not in self._accounts:
            look_up = functools.partial(self.terminal.run_python_call_with_timeout, deadline.remaining())
            self._accounts[key] = account_of(look_up, user, self.name)
        return Becoming(link, self._accounts[key], command, to_secret(password))

    @overload
    def start(
        self,
        command: CommandLine,
        *,
        env: Environment | None = ...,
        cwd: RemoteName | None = ...,
        umask: int | None = ...,
        detached: Literal[False] = ...,
        pty: bool | tuple[int, int] = ...,
        merge: bool = ...,
        spool: int | None = ...,
        contain: bool = ...,
        become: str | None = ...,
        become_password: str | Secret | None = ...,
    ) -> RemoteProcess: ...

    @overload
    def start(
        self,
        command: CommandLine,
        *,
        env: Environment | None = ...,
        cwd: RemoteName | None = ...,
        umask: int | None = ...,
        detached: Literal[True],
        spool: int | None = ...,
    ) -> DetachedProcess: ...

    @overload
    def start(
        self, command: CommandLine, *, env: Environment | None = ..., cwd: RemoteName | None = ..., detached: bool = ...
    ) -> RemoteProcess | DetachedProcess: ...

    def start(
        self,
        command: CommandLine,
        *,
        env: Environment | None = None,
        cwd: RemoteName | None = None,
        umask: int | None = None,
        detached: bool = False,
        pty: bool | tuple[int, int] = False,
        merge: bool = False,
        spool: int | None = None,
        contain: bool = False,
        become: str | None = None,
        become_password: str | Secret | None = None,
    ) -> RemoteProcess | DetachedProcess:
        """Start a command and go on.

        Args:
            command: As in `run`.
            env: As in `run`.
            cwd: As in `run`.
            umask: As in `run`.
            detached: Let it outlive the connection; it then has no input, and no output but what `spool` keeps.
            pty: Give it a terminal of its own, of 24 rows and 80 columns or of those given; output and error output
                come together.
            merge: As in `run`.
            spool: How many bytes of each output, the newest ones, are kept there while nobody here reads them, so that
                the command never waits; `RemoteProcess.stdout.dropped` tells how many were not kept.
            contain: As in `run`.
            become: As in `run`. What another user runs can be signalled and killed only where this one may do that.
            become_password: As in `run`.

        Returns:
            The process: live output, input, signals, wait and kill; `DetachedProcess` for a detached one.

        Raises:
            OSError: It could not be started.
            BecomeRefused: It may not be run as that user.
            UsageError: `detached` together with `pty`, `merge`, `contain` or `become` was asked for.
        """
        deadline = Deadline.after(RUN_TIMEOUT)
        link = self._ensure(deadline)
        if detached and (pty or merge or contain or become):
            raise UsageError(
                "a detached process has no terminal, has its outputs in one, is not contained, and is this user's",
                host=self.name,
                doing="starting a detached process",
            )
        if detached:
            return DetachedProcess(link.start_detached(command, env=env, cwd=cwd, umask=umask, spool=spool), self)
        size = (PTY_SIZE if pty else None) if isinstance(pty, bool) else pty
        how: dict[str, Any] = {"cwd": cwd, "umask": umask, "merge": merge, "pty": size, "spool": spool}
        if become is not None:
            as_other = self._becoming(become, command, become_password, deadline, link)
            return as_other.start(deadline, env, contain=contain, **how)
        return link.start_process(command, env=env, contain=contain, **how)

    def detached(self, token: str) -> DetachedProcess:
        """A process that was started detached, also by an earlier run.

        Args:
            token: Its `DetachedProcess.token`.
        """
        return DetachedProcess(from_token(token), self)

    @contextlib.contextmanager
    def shell(self) -> Iterator[Shell]:
        """An interactive shell there, in a connection of its own for as long as the block lasts.

        Example:
            >>> with target.shell() as shell:
            ...     shell.exec_command("echo hello")
            'hello'
        """
        if self._closed:
            raise UsageError("the target is closed", host=self.name, advice="call connect()")
        session = InteractiveSession()
        try:
            first, *rest = self.shells
            session.spawn(first)
            for shell in rest:
                session.push(shell)
            yield session.current_shell()
        finally:
            session.close_terminal()

    # Tunnels

    @overload
    def forward(
        self, address: Address, listen: TcpAddress = ..., *, public: bool = ..., limit: int = ...
    ) -> Tunnel[TcpAddress]: ...

    @overload
    def forward(self, address: Address, listen: str, *, public: bool = ..., limit: int = ...) -> Tunnel[str]: ...

    def forward(
        self, address: Address, listen: Any = ("127.0.0.1", 0), *, public: bool = False, limit: int = TUNNEL_LIMIT
    ) -> Tunnel[Any]:
        r"""Listen here; each connection comes out at an address that the target reaches.

        Args:
            address: ``(host, port)``, the path of a unix socket, or ``"\0name"`` for an abstract one.
            listen: A loopback address (``127.0.0.1``, ``::1``, ``localhost``), port 0 for any free one; or a path for a
                unix socket, which gets mode 0600, or an abstract name: only this user and root may then connect.
            public: Let others connect: any address, any user.
            limit: How many connections may be open at once; more wait until one ends.

        Returns:
            The tunnel, with its `address` and `close`.
        """
        return self._ensure(Deadline.after(RUN_TIMEOUT)).forward(address, listen, public=public, limit=limit)

    @overload
    def reverse(
        self, listen: TcpAddress, address: Address | Taker, *, public: bool = ..., limit: int = ...
    ) -> Tunnel[TcpAddress]: ...

    @overload
    def reverse(
        self, listen: str, address: Address | Taker, *, public: bool = ..., limit: int = ...
    ) -> Tunnel[str]: ...

    def reverse(
        self, listen: Any, address: Address | Taker, *, public: bool = False, limit: int = TUNNEL_LIMIT
    ) -> Tunnel[Any]:
        """Have the target listen; each connection comes out at an address that this machine reaches.

        Args:
            listen: Where the target listens, as in `forward`.
            address: Where this machine connects to, as in `forward`; or a function of this program, which is given each
                connection as a `crl.link.End`, with the methods of a socket, and must neither wait nor raise.
            public: As in `forward`.
            limit: As in `forward`.

        Returns:
            The tunnel, with its `address` on the target and `close`.

        Raises:
            TunnelError: The target cannot listen there.
        """
        return self._ensure(Deadline.after(RUN_TIMEOUT)).reverse(listen, address, public=public, limit=limit)

    def connect_socket(self, address: Address, timeout: float = 10.0) -> socket.socket:
        """A socket here whose other end is at an address that the target reaches; as in `forward`."""
        deadline = Deadline.after(timeout)
        link = self._ensure(deadline)
        return link.connect(address, deadline.remaining() or 0.0)

    def open_channel(
        self, words: Sequence[str], timeout: float = CHANNEL_TIMEOUT, *, connect: bool = True
    ) -> CommandChannel:
        """Run a command in a channel of its own, beside the link on the same SSH connection.

        It is for streams that need nothing of the link: they go nowhere but through SSH, and end with the connection,
        while the link goes on over another one.

        Args:
            words: Program and arguments; what the program writes as errors is lost.
            timeout: Seconds until it runs.
            connect: Whether a target that is not connected is.

        Returns:
            Its stream, which is the caller's to close.

        Raises:
            crl.channels.ChannelStartError: The target is not reached by a single login over SSH, or the host runs
                nothing more on that connection.
        """
        deadline = Deadline.after(timeout)
        if connect or self._closed:
            self._ensure(deadline)
        return self.terminal.get_session().open_channel(words, deadline)

    # The host

    @property
    def facts(self) -> TargetFacts:
        """What the target says of itself now, in one round trip."""
        deadline = Deadline.after(FACTS_TIMEOUT)
        self._ensure(deadline)
        return parse_facts(self.terminal.run_python_call_with_timeout(deadline.remaining(), COLLECT), self.name)

    def reboot(self, timeout: float = REBOOT_TIMEOUT, *, command: CommandLine = ("reboot",)) -> TargetFacts:
        """Reboot the host and wait until it is back: its boot id has changed and Python answers.

        Args:
            timeout: Seconds for all of it.
            command: What reboots it, with the rights that the shells have; ``sudo -n`` is put before for other users
                than root.

        Returns:
            The facts after the reboot.

        Raises:
            RebootFailed: The command was refused, or the host did not come back with another boot id in time.
        """
        deadline = Deadline.after(timeout)
        before = self.facts
        if not before.boot_id:
            raise RebootFailed("the host has no boot id, so a reboot cannot be told", host=self.name, doing="reboot")
        argv = _become.as_argv(command)
        if before.uid != 0:
            argv = ["sudo", "-n", "--", *argv]
        try:
            result = self.run(argv, timeout=deadline.sooner(RUN_TIMEOUT).remaining())
        except (LinkLost, CommandTimeout):
            result = None  # It went down before it could answer.
        except OSError as error:
            raise RebootFailed(f"{argv[0]}: {error.strerror}", host=self.name, doing="reboot") from error
        if result is not None and not result.ok:
            raise RebootFailed(
                f"the command ended with status {result.status}",
                host=self.name,
                doing=shown(argv),
                transcript=result.stderr,
                advice="use an account that may reboot the host",
            )
        return self._until_up(deadline, before.boot_id)

    def wait_until_up(self, timeout: float = REBOOT_TIMEOUT) -> TargetFacts:
        """Wait until the target can be reached, connect in full, and return its facts.

        Args:
            timeout: Seconds.

        Raises:
            SessionInitializationFailed: It refuses us for good (wrong password, host key); more tries would not help.
            RebootFailed: It was not up in time.
        """
        return self._until_up(Deadline.after(timeout), None)

    def _facts_of_now(self, deadline: Deadline) -> TargetFacts:
        """The facts, from a new session when the one there was turns out to be lost."""
        self._ensure(deadline)
        try:
            answer = self.terminal.run_python_call_with_timeout(deadline.remaining(), COLLECT)
        except (RunnerTerminalSessionBroken, LinkLost):
            self._ensure(deadline)
            answer = self.terminal.run_python_call_with_timeout(deadline.remaining(), COLLECT)
        return parse_facts(answer, self.name)

    def _until_up(self, deadline: Deadline, old_boot_id: str | None) -> TargetFacts:
        reason = "connecting, or the first answer, took too long"
        patience = Patience(self._session.find_door, LONGEST_PAUSE, SHUT_SECONDS)
        if self.terminal.session_id is None:
            # A login that begins while nobody is there notices late that somebody has come; but one says why not.
            patience.wait_for_door(self._stopped, deadline.sooner((deadline.remaining() or 0.0) / 2))
        for _ in tries_until(deadline, self._stopped, patience):
            try:
                facts = self._facts_of_now(deadline)
            except SessionInitializationFailed as error:
                if _is_definite(error):
                    raise
                reason = error.message
                continue
            except (ConnectTimeout, RemoteTimeout):
                continue  # Only the time is over; the reason found before says more.
            except (RunnerException, LinkLost) as error:
                reason = error.message
                continue
            if facts.boot_id != old_boot_id:
                return facts
            reason = "the boot id is still the same"
            self._session.close()
        raise RebootFailed(f"not up in time: {reason}", host=self.name, doing="waiting until it is up")


def _as_shells(shells: ShellLike | Iterable[ShellLike]) -> list[Shell]:
    given = [shells] if isinstance(shells, Shell | Mapping) else list(shells)
    made: list[Shell] = []
    for one in given:
        if isinstance(one, Shell):
            made.append(one)
        else:
            stack = ShellStack()
            stack.initialize([dict(one)])
            made.extend(stack.shells)
    if not made:
        raise UsageError("a target needs at least one shell", doing="making a target")
    return made


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def _as_text(result: LinkResult) -> RunResult:
    return RunResult(result.status, _text(result.stdout), _text(result.stderr), result.duration, result.complete)


def _timed_out(error: ProcessTimeout, command: CommandLine, timeout: float | None, host: str) -> CommandTimeout:
    stdout, stderr = (_text(part) for part in error.partial)
    timed_out = CommandTimeout(
        f"the command took longer than {timeout:g} s; {error.fate}" if timeout is not None else error.message,
        host=host,
        doing=f"running {shown(command)}",
        advice="give it more time",
        transcript=stderr,
    )
    timed_out.stdout, timed_out.stderr, timed_out.alive = stdout, stderr, error.alive
    return timed_out


def _is_definite(error: SessionInitializationFailed) -> bool:
    return any(getattr(one, "definite", False) is True for one in (error, *error.args))
