"""A shell on another host, reached by SSH: as first shell of a session, or pushed over a shell on the way.

It puts together ssh's call (`crl.channels.ssh`), the login (`_sshlogin`) and what makes a shell known (`BashShell`). It
promises verified host keys, passwords that appear nowhere, and one exception for each reason why a login fails.
"""

from __future__ import annotations

import os
import shlex
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from crl.channels import ChannelStartError, ProcessChannel
from crl.channels.ssh.control import ControlSocket
from crl.channels.ssh.diagnosis import Stop
from crl.channels.ssh.door import Door
from crl.channels.ssh.errors import SshLoginError
from crl.channels.ssh.known_hosts import KnownHosts
from crl.channels.ssh.openssh import local_environment, nested_line, ssh_argv
from crl.channels.ssh.resolve import resolve
from crl.channels.ssh.settings import SshSettings
from crl.deadlines import Deadline
from crl.errors import RemoteWorldError, UsageError
from crl.interactivesessions._spawn import ChannelSpawn
from crl.interactivesessions.interactivesessionexceptions import InteractiveSessionError, ShellStateError
from crl.interactivesessions.shells._lines import COLUMNS, ROWS, beginning, start_script
from crl.interactivesessions.shells._logins import crowd
from crl.interactivesessions.shells._prompt import Nonce
from crl.interactivesessions.shells._sshlogin import log_in, log_in_through_terminal
from crl.interactivesessions.shells.bashshell import START_TIMEOUT, BashShell
from crl.interactivesessions.shells.login import LoginDialogue
from crl.interactivesessions.shells.registershell import RegisterShell
from crl.interactivesessions.shells.shell import LOCALHOST
from crl.interactivesessions.shells.ssherrors import SshError, as_ssh_error
from crl.secrets import Secret, to_secret

if TYPE_CHECKING:
    from crl.link import Ahead, Lane

__all__ = ["SshError", "SshShell"]

_BACKENDS: Final = ("openssh", "paramiko")
_RETURN_PATIENCE: Final = 10.0


def _prepare_link() -> None:
    """In a process that uses links, make what the first one sends, while somebody else is at work."""
    program = sys.modules.get("crl.link.program")
    if program is not None:
        program.prepare()


@RegisterShell()
class SshShell(BashShell):
    """A shell on another host.

    As first shell of a session, ``ssh`` (or paramiko) runs on this machine; pushed over another shell, ``ssh`` runs
    where that shell runs, `identity` and `config` are paths there, and our known_hosts travel with the call.

    Args:
        ip: Address, name, or alias of the ssh configuration.
        username: Login name; None is what the configuration says.
        password: The password, a `str` or a `Secret`; without one, a key or agent has to do.
        tty_echo: Whether the terminal echoes what is typed.
        second_password: The answer to a second question after the first.
        port: TCP port; None is what the configuration says.
        init_env: A file to source after the login, or ``content:`` and the lines themselves.
        identity: Path of a private key; then no other key is offered.
        config: Path of an ssh configuration; None is the user's own, ``"none"`` is none.
        known_hosts: Path of a known_hosts file on this machine, used instead of the configured ones.
        host_keys: ``"verify"``, ``"accept-new"`` or ``"off"``; None is CRL_HOST_KEYS, else ``"verify"``.
        backend: ``"openssh"`` or ``"paramiko"``; concerns the first shell only.
        jump: Hosts to go through, ``[user@]host[:port]``, one or several.
        command: What the host is to run instead of a plain bash (or sh); ``""`` is the user's login shell.
        login: Whether the plain bash reads the profile.
        passphrase: The passphrase of the private key; None is the password, if one is given.
        options: Further ssh options, ``"Name=value"``.
        connect_timeout: Seconds until the host's greeting must be there.
        start_timeout: Seconds that login and start may take together.
        workdir: The folder to change to after the login.
        lane_change: Whether a link on this shell, when it is the only one of its session, may go over to a further
            channel of the same connection for bulk. Options that name a control socket of one's own switch it off.

    Raises:
        UsageError: A value is impossible.

    Attributes:
        logs_in: That its start, as a first shell, is a login to another host, which takes its turn in this process.
    """

    logs_in = True

    def __init__(
        self,
        ip: str,
        username: str | None = None,
        password: str | Secret | None = None,
        tty_echo: bool = False,
        second_password: str | Secret | None = None,
        port: int | str | None = None,
        init_env: str | None = None,
        *,
        identity: str | os.PathLike[str] | None = None,
        config: str | os.PathLike[str] | None = None,
        known_hosts: str | os.PathLike[str] | None = None,
        host_keys: str | None = None,
        backend: str = "openssh",
        jump: str | Sequence[str] | None = None,
        command: str | None = None,
        login: bool = False,
        passphrase: str | Secret | None = None,
        options: Sequence[str] = (),
        connect_timeout: float = 15.0,
        start_timeout: float = START_TIMEOUT,
        workdir: str | None = None,
        lane_change: bool = True,
    ) -> None:
        super().__init__(tty_echo=tty_echo, init_env=init_env, workdir=workdir, start_timeout=start_timeout)
        if backend not in _BACKENDS:
            raise UsageError(f"backend is {backend!r}", host=ip, advice=f"use one of {', '.join(_BACKENDS)}")
        self.settings = SshSettings(
            ip,
            user=username,
            port=None if port is None else int(port),
            identity=identity,
            config=config,
            known_hosts=known_hosts,
            host_keys=host_keys,
            jump=(jump,) if isinstance(jump, str) else tuple(jump or ()),
            connect_timeout=min(connect_timeout, start_timeout),
            options=tuple(options),
        )
        self.backend = backend
        given = (to_secret(password), to_secret(second_password))
        self._secrets = tuple(secret for secret in given if secret is not None and secret.value)
        self._passphrase = to_secret(passphrase)
        self._command = command
        self._login = login
        self.changes_lane = lane_change
        self._control: ControlSocket | None = None
        self._deadline_of_start: Deadline | None = None
        self._expected: Ahead | None = None
        self._ahead: Ahead | None = None
        self._asked_at = 0.0
        self._trip: float | None = None
        self._renew()

    def _renew(self) -> None:
        """Each start has nonces of its own."""
        self._authenticated = Nonce()
        self._announcement = Nonce()
        self._beginning = Nonce()
        self._ahead, self._expected = self._expected, None
        self._begun = False

    def __repr__(self) -> str:
        return f"{self._name()}({self.settings.host!r}, {self.settings.user!r})"

    @property
    def ip(self) -> str:
        """Address, name or alias of the host."""
        return self.settings.host

    @property
    def username(self) -> str | None:
        """The login name given."""
        return self.settings.user

    @property
    def port(self) -> int | None:
        """The TCP port given."""
        return self.settings.port

    @property
    def passwords(self) -> list[Secret]:
        """The passwords given, in the order they are used."""
        return list(self._secrets)

    @property
    def host(self) -> str:
        """The host's name as it was given."""
        return self.settings.host

    def _what(self) -> str:
        return f"{self._name()} ({self.settings.host})"

    # The call of ssh

    def _settings_with(self, *options: str) -> SshSettings:
        """The settings with options of ours behind the user's; without any secret ssh must not ask at all."""
        quiet = () if self._secrets or self._passphrase else ("BatchMode=yes",)
        return replace(self.settings, options=(*self.settings.options, *quiet, *options))

    def _remote_command(self) -> str | None:
        if self._command is not None:
            return self._command or None
        first = beginning(self._beginning, self._ahead.script) if self._ahead is not None else ""
        return start_script(self._announcement, login=self._login, first=first)

    def get_start_cmd(self) -> str:
        """The line that runs ssh in another shell; holds no secret, but the host keys of the target."""
        # It could be too long for that shell's terminal.
        self._expected = None
        self._renew()
        # A banner would come in the same stream as the prompts; errors alone still say why a login fails.
        return nested_line(
            self._settings_with("LogLevel=ERROR"),
            self._known_for_travel(),
            command=self._remote_command(),
            nonce=self._authenticated.text,
            password=bool(self._secrets),
        )

    def _known_for_travel(self) -> KnownHosts | None:
        """What we know, when we know anything about the target; else the files of the host before have to do."""
        if self.settings.known_hosts is not None:
            return KnownHosts.load([self.settings.known_hosts_file])
        known = KnownHosts.load(["~/.ssh/known_hosts", "/etc/ssh/ssh_known_hosts"])
        port = self.settings.port or 22
        return known if known.of_host(self.settings.host, port) else None

    def _has_own_start_cmd(self) -> bool:
        """Whether a subclass says itself how ssh is called."""
        return type(self).get_start_cmd is not SshShell.get_start_cmd

    def find_door(self) -> Door | None:
        """The port of the first host on the way; None where a command makes the connection."""
        return None if self._has_own_start_cmd() else Door.find(self.settings)

    # Start

    def spawn(self, timeout: float) -> ChannelSpawn:
        """Start ssh on this machine.

        Args:
            timeout: Seconds that the whole start may take; the smaller of it and ``start_timeout`` counts.

        Raises:
            ChannelStartError: There is no ssh.
        """
        deadline = self._deadline_of_start = Deadline.after(min(timeout, self.start_timeout))
        self._renew()
        if self.backend == "paramiko":
            return self._spawn_by_paramiko(deadline)
        control = self._control = self._new_control()
        try:
            channel = ProcessChannel(self._argv(), env=local_environment(), name=f"ssh {self.settings.host}")
        except BaseException:
            if control is not None:
                control.close()
            raise
        return ChannelSpawn(
            channel,
            sides=(channel.stderr, channel.dialogue),
            timeout=timeout,
            on_close=None if control is None else control.close,
        )

    def _new_control(self) -> ControlSocket | None:
        """Where this ssh takes further sessions, when they may be wanted."""
        theirs = any(option.lower().startswith("control") for option in self.settings.options)
        if theirs or self._has_own_start_cmd():
            return None
        return ControlSocket.make()

    def _spawn_by_paramiko(self, deadline: Deadline) -> ChannelSpawn:
        """Log in inside this process and start what the host is to run."""
        from crl.channels.ssh.paramiko_client import connect

        first, second = (*self._secrets, self._passphrase, None)[:2]
        try:
            with self._preparing():
                connection = connect(self.settings, first, second, deadline)
        except SshLoginError as error:
            raise as_ssh_error(error) from error
        try:
            left = deadline.remaining() or 0.0
            self._asked_at = time.monotonic()
            channel = connection.open_channel(
                self._remote_command(), columns=COLUMNS, rows=ROWS, term="dumb", timeout=left
            )
        except ChannelStartError:
            connection.close()
            raise
        spawn = ChannelSpawn(channel, timeout=self.start_timeout, on_close=connection.close)
        spawn.beside = lambda command, deadline: connection.open_channel(
            command, pty=False, timeout=deadline.sooner(self.start_timeout).remaining() or 0.0
        )
        return spawn

    @contextmanager
    def _preparing(self) -> Iterator[None]:
        """What is sent to an interpreter is made in the meantime: a login in this process waits for others, too."""
        thread = threading.Thread(target=_prepare_link, name="crl-prepare", daemon=True)
        thread.start()
        try:
            yield
        finally:
            thread.join()

    def _argv(self) -> list[str]:
        if self._has_own_start_cmd():
            return shlex.split(self.get_start_cmd())
        return ssh_argv(
            self._settings_with(),
            command=self._remote_command(),
            nonce=self._authenticated.text,
            password=bool(self._secrets),
            control=None if self._control is None else self._control.path,
        )

    def start(self) -> str:
        """Log in and make the shell known; returns what was printed before (with ``login`` or a command of one's own).

        Raises:
            SshError: The login failed; its class says why.
            ShellStartError: The login worked, and the session ended at once.
            ShellStateError: What the host runs does not answer as a shell.
        """
        deadline = self._deadline_of_start or Deadline.after(self.start_timeout)
        self._deadline_of_start = None
        terminal = self._terminal
        if self._parent_prompt is not None:
            terminal.take_back(self._log_in_from_parent(deadline))
        elif isinstance(channel := getattr(terminal, "channel", None), ProcessChannel):
            _prepare_link()
            terminal.take_back(log_in(channel, self._dialogue(), self.settings, deadline, self._stops))
            self._asked_at = time.monotonic()
            control, self._control = self._control, None
            if control is not None and control.seize():
                terminal.beside = control.open_channel
        self.check_start_success()
        return self._make_known(deadline)

    def _log_in_from_parent(self, deadline: Deadline) -> bytes:
        """The dialogue in the parent's terminal; errors name the host that ssh runs on as hop."""
        dialogue = self._dialogue(one_terminal=True)
        try:
            return log_in_through_terminal(self._terminal, dialogue, self.settings, deadline, self._parent_status)
        except SshLoginError as error:
            if self._parent_host != LOCALHOST and error.hop is None:
                error.hop = self._parent_host
            raise

    def _dialogue(self, *, one_terminal: bool = False) -> LoginDialogue:
        return LoginDialogue(
            self._authenticated.bytes,
            passwords=self._secrets,
            passphrase=self._passphrase or (self._secrets[0] if self._secrets else None),
            hosts=self._asking_hosts(one_terminal=one_terminal),
            one_terminal=one_terminal,
        )

    def _asking_hosts(self, *, one_terminal: bool) -> frozenset[str]:
        """The names by which the target may ask for the password; empty where no other host can ask."""
        if one_terminal:
            return frozenset({self.settings.host}) if self.settings.jump else frozenset()
        if not self._secrets or self._has_own_start_cmd():
            return frozenset()
        target = resolve(self.settings)
        if not target.jumps and target.proxy_command is None:
            return frozenset()
        return frozenset({self.settings.host, target.hostname, target.label})

    def _stops(self) -> Sequence[Stop]:
        """The hosts on the way, for errors; only asked for when a login failed."""
        try:
            return resolve(self.settings).stops
        except (RemoteWorldError, UsageError):
            return ()

    def _make_known(self, deadline: Deadline) -> str:
        if self._ahead is not None:
            self._adoption(deadline).begun(self._beginning)
            # To have something run in a new session takes ssh three round trips, paramiko four, and the host its time;
            # others may have been in the way here.
            self._trip = (time.monotonic() - self._asked_at) / 3 / crowd()
            self._begun = True
            return ""
        return self._make_shell_known(deadline)

    def _make_shell_known(self, deadline: Deadline) -> str:
        kind = None
        if self._command is None and not self._login and not self._has_own_start_cmd():
            kind = self._adoption(deadline).announced(self._announcement)
        return self._set_bash_environment(kind, deadline)

    def check_start_success(self) -> None:
        """Called after the login and before the shell is set up; subclasses may raise here."""

    # The link

    def expect_link(self, python: str | None) -> None:
        """Have Python started by the login itself, where nothing else comes first; see `Shell.expect_link`."""
        from crl.link import Ahead

        others = (self._command, self.init_env, self.workdir, self.carries)
        plain = all(one is None for one in others) and not (self._login or self._tty_echo or self._has_own_start_cmd())
        self._expected = Ahead.make(python) if plain else None

    def _end_what_was_begun(self) -> None:
        from crl.link import Ahead

        self._begun = False
        with self._own_errors():
            self._spawned.send(Ahead.NOTHING)
        self._come_up(self.start_timeout)

    def lane(self) -> Lane:
        """As of every shell; where Python was begun for the link, the lane says so."""
        from crl.link import Lane

        if not self._begun:
            return super().lane()
        self._begun = False
        terminal = self._spawned
        return Lane(
            channel=terminal.lend("the link"),
            send_line=self._type_for_link,
            read_pending=terminal.take_pending,
            give_back=self._back_from_begun,
            host=self.host,
            ahead=self._ahead,
            trip=self._trip,
        )

    def _back_from_begun(self, leftover: bytes) -> None:
        """What was begun is over, and the shell comes up only now."""
        self._spawned.take_back(leftover)
        self._come_up(_RETURN_PATIENCE)

    def _come_up(self, seconds: float) -> None:
        try:
            self._make_shell_known(Deadline.after(seconds))
        except InteractiveSessionError as error:
            self.mark_unknown("the shell did not come up behind what was begun for a link")
            raise ShellStateError(
                self._trouble, host=self.host, doing="taking the terminal back", transcript=self._tail()
            ) from error
