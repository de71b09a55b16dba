"""The keywords of ``TargetLibrary``.

They know `crl.targets` and Robot Framework. Each is one verb of a target with its arguments converted and its result
logged; a command is never run twice unless the suite says that it may.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from datetime import timedelta
from enum import Enum
from pathlib import Path
from typing import Any, Literal

from assertionengine import AssertionOperator
from robot.api import logger
from robot.api.deco import keyword
from robot.api.types import Secret

from crl.errors import UsageError
from crl.interactivesessions.shells.sshshell import SshShell
from crl.link import Tunnel
from crl.secrets import redact, to_secret
from crl.targets import Fleet, RunResult, Target, TargetFacts
from TargetLibrary.files import FileKeywords
from TargetLibrary.fleets import FleetKeywords
from TargetLibrary.foundation import CrlLibrary, asserted, importing, make_reportable, seconds
from TargetLibrary.processkeywords import ProcessKeywords, environment, log_result, plain
from TargetLibrary.registry import Opened, OpenTargets

__all__ = ["AutoClose", "HostKeys", "TargetLibrary"]

HostKeys = Literal["verify", "accept-new", "off"]
Backend = Literal["openssh", "paramiko"]

NO_TIME = timedelta()


class AutoClose(Enum):
    """When targets that are still open are closed.

    ``SUITE`` is the end of the suite that has opened them, ``TEST`` the end of the test, ``MANUAL`` the end of the run.
    """

    SUITE = "suite"
    TEST = "test"
    MANUAL = "manual"


class TargetLibrary(FileKeywords, ProcessKeywords, FleetKeywords, CrlLibrary):
    """Drives hosts: runs commands, starts processes, copies files, uses Python there, opens tunnels, reboots.

    Nothing is installed on a host: it needs a shell and a Python. A host is reached by its name in the SSH
    configuration (all of it is honoured: ``ProxyJump``, keys, agents, ``Include``) or by a stack of shells.

    = Targets =

    `Open Target` opens a host and uses it; the keywords that follow concern the target in use. With several hosts,
    give each an alias and go from one to the other with `Switch Target`. What is still open at the end of the suite
    that opened it is closed then, with everything under way there; see ``auto_close`` at `Importing`.

    = Fleets =

    `Open Fleet` connects to many hosts beside each other. The keywords that end in *Fleet* do the same on all of them
    and give one outcome for each; they fail with what was wrong on each, or go on with ``may_fail``.

    = Secrets =

    Give passwords as Robot Framework's ``Secret`` variables: their value is in no log, on no command line, in no error
    text.

    = Host keys =

    The key of a host is verified. ``host_keys=accept-new`` takes the key of a host that is not known yet, and
    ``host_keys=off`` verifies nothing.

    = Time =

    Every keyword ends at its timeout, given as Robot Framework's time (``10s``, ``2 minutes``). After a timeout the
    command and its children are gone from the host, or the error says what is left.

    = Assertions =

    Keywords that get a value take an operator, what is expected and a message: ``==``, ``!=``, ``<``, ``contains``,
    ``matches``, ``validate``, ``then`` and so on. With ``retry_for`` they ask again until it holds.

    = Example =

    | Library    TargetLibrary
    |
    | The host is in order
    |     Open Target    web1    config=%{HOME}/.ssh/config
    |     Run Command    systemctl is-active nginx    ==    0
    |     Get Remote Value    __import__('os').cpu_count()    >=    2
    """

    ROBOT_LISTENER_API_VERSION = 3

    def __init__(self, auto_close: AutoClose = AutoClose.SUITE, retry_for: timedelta = NO_TIME) -> None:
        """Settings for all keywords.

        Args:
            auto_close: When targets that are still open are closed.
            retry_for: How long assertions are tried again, where a keyword does not say it.
        """
        self.ROBOT_LIBRARY_LISTENER = self
        self.targets = OpenTargets()
        self.fleets: Opened[Fleet] = Opened("fleet")
        self._auto_close = auto_close
        self._retry_for = retry_for
        self._scopes: list[str] = []
        self._last_process = None
        super().__init__()

    # What Robot Framework tells

    def _start_suite(self, data: Any, _result: Any) -> None:
        self._scopes.append(data.full_name)

    def _end_suite(self, _data: Any, _result: Any) -> None:
        scope = self._scopes.pop()
        if self._auto_close is not AutoClose.MANUAL or not self._scopes:
            self._close_owned(scope if self._auto_close is not AutoClose.MANUAL else None)

    def _start_test(self, data: Any, _result: Any) -> None:
        if self._auto_close is AutoClose.TEST:
            self._scopes.append(data.full_name)

    def _end_test(self, _data: Any, _result: Any) -> None:
        if self._auto_close is AutoClose.TEST:
            self._close_owned(self._scopes.pop())

    def _close_owned(self, owner: str | None) -> None:
        self._last_process = None
        try:
            with ExitStack() as stack:
                stack.callback(self.targets.close_all, owner)
                stack.callback(self.fleets.close_all, owner)
        except Exception as error:
            make_reportable(error)
            raise

    # Connections

    @keyword
    def open_target(
        self,
        host: str | list[dict[str, Any]],
        alias: str | None = None,
        *,
        config: Path | None = None,
        user: str | None = None,
        password: Secret | str | None = None,
        port: int | None = None,
        identity: Path | None = None,
        jump: str | None = None,
        host_keys: HostKeys | None = None,
        known_hosts: Path | None = None,
        backend: Backend = "openssh",
        python: str | None = None,
        max_tries: int = 3,
        timeout: timedelta | None = timedelta(minutes=2),
    ) -> Target:
        """Connects to a host and uses it from now on.

        Example:
        | Open Target    beta    config=${CURDIR}/ssh_config
        | Open Target    10.0.0.7    db    user=admin    password=${PASSWORD}    host_keys=accept-new
        | VAR    &{host}    host=gateway    user=me
        | VAR    &{root}    shellname=SudoShell    password=${PASSWORD}
        | VAR    @{shells}    ${host}    ${root}
        | Open Target    ${shells}    alias=root

        Args:
            host: Name in the SSH configuration, or address; or a list of dictionaries, one for each shell from the
                first hop to the last, with ``shellname`` and the arguments of that shell (``host`` for one by SSH).
            alias: What to call it; by default the host's name.
            config: An SSH configuration instead of the user's own.
            user: Login name.
            password: Password; best a ``Secret``.
            port: TCP port.
            identity: File of a private key.
            jump: Hosts to go through, ``[user@]host[:port]`` with commas between them.
            host_keys: What to do about the host's key; by default it is verified.
            known_hosts: A file of known host keys instead of the configured ones.
            backend: What speaks SSH.
            python: The Python interpreter to use there; by default one is found.
            max_tries: How often connecting is tried.
            timeout: How long all of it may take.

        Returns:
            The target: ``${target.name}``, ``${target.python.platform.node()}``.
        """
        options: dict[str, Any] = {"username": user, "password": to_secret(password), "port": port, "config": config}
        options |= {"identity": identity, "jump": _hops(jump), "host_keys": host_keys, "known_hosts": known_hosts}
        target = Target(_shells(host, backend, options), name=alias or _name(host), max_tries=max_tries, python=python)
        name = alias or target.name
        self.targets.refuse_taken(name)
        try:
            target.connect(seconds(timeout))
        except BaseException:
            target.close()
            raise
        self.targets.add(name, target, self._scopes[-1] if self._scopes else "")
        return target

    @keyword
    def switch_target(self, target: str | Target) -> str | None:
        """Uses another open target.

        Args:
            target: Its alias, or the target as `Open Target` gave it.

        Returns:
            The alias of the target used until now.
        """
        return self.targets.use(target)

    @keyword
    def close_target(self, target: str | Target | None = None) -> None:
        """Closes a target and all that is under way there.

        Args:
            target: Which one; by default the one in use.
        """
        self.targets.close(target)

    @keyword
    def close_all_targets(self) -> None:
        """Closes all targets."""
        self.targets.close_all()

    # Commands

    @keyword
    def run_command(
        self,
        command: str | list[str],
        assertion_operator: AssertionOperator | None = None,
        assertion_expected: Any = None,
        message: str | None = None,
        *,
        check: bool = False,
        timeout: timedelta = timedelta(minutes=1),
        env: dict[str, Any] | None = None,
        cwd: str | None = None,
        input: Secret | str | bytes | None = None,  # noqa: A002 - the name of the verb's argument
        become: str | None = None,
        become_password: Secret | str | None = None,
        retry_for: timedelta = NO_TIME,
    ) -> RunResult:
        """Runs a command to its end; the assertion is about its exit status.

        Example:
        | Run Command    systemctl is-active ssh    ==    0
        | ${result}    Run Command    uname -r    check=True
        | Should Start With    ${result.stdout}    6.

        Args:
            command: A line for ``/bin/sh``, or a list that is run as it is.
            assertion_operator: How the status is compared.
            assertion_expected: The status expected.
            message: The error's text when the assertion fails.
            check: Fail when the status is not 0; the error has the tail of its error output.
            timeout: How long it may take; then it is killed with its children.
            env: Changes to the environment; ``${None}`` as a value removes a variable.
            cwd: The directory to run in.
            input: What it reads.
            become: The user to run it as.
            become_password: What sudo asks for; without one it must not ask.
            retry_for: How long it may be *run again* when the assertion does not hold; by default it is run once.

        Returns:
            The result, with ``status``, ``ok``, ``stdout``, ``stderr`` and ``duration``.
        """
        target = self.targets.find(None)
        result: RunResult | None = None

        def status() -> int:
            nonlocal result
            result = target.run(
                command,
                check=check,
                timeout=seconds(timeout),
                env=environment(env),
                cwd=cwd,
                input=plain(input),
                become=become,
                become_password=plain(become_password),
            )
            log_result(result)
            return result.status

        what = "The status of the command"
        asserted(status, assertion_operator, assertion_expected, message, what=what, retry_for=retry_for)
        assert result is not None
        return result

    # Python there

    @keyword(tags=("Getter", "Assertion"))
    def get_remote_value(
        self,
        expression: str,
        assertion_operator: AssertionOperator | None = None,
        assertion_expected: Any = None,
        message: str | None = None,
        *,
        retry_for: timedelta | None = None,
        timeout: timedelta = timedelta(minutes=1),
    ) -> Any:
        """Gets the value of a Python expression on the host.

        Example:
        | Get Remote Value    __import__('platform').system()    ==    Linux
        | Get Remote Value    __import__('os').path.exists('/run/ready')    ==    True    retry_for=10s

        Args:
            expression: The expression.
            assertion_operator: How its value is compared.
            assertion_expected: What is expected; a text is read as a Python literal where the value is no text.
            message: The error's text when the assertion fails.
            retry_for: How long to ask again until the assertion holds.
            timeout: How long one evaluation may take.
        """
        target = self.targets.find(None)
        return asserted(
            lambda: target.python.eval(expression, seconds(timeout)),
            assertion_operator,
            assertion_expected,
            message,
            what=f"The value of {redact(expression)}",
            retry_for=self._retry_for if retry_for is None else retry_for,
        )

    @keyword
    def call_remote_function(self, function: str | Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Calls a Python function on the host and returns its value.

        Arguments are given as they are: for a number write ``${5}``.

        Example:
        | ${names}    Call Remote Function    os.listdir    /etc
        | ${home}    Call Remote Function    os.path.expanduser    ~

        Args:
            function: Its name with its module (``os.path.join``), an expression for it, or a function of Python code
                here, which is sent there with what it uses.
            *args: Its arguments.
            **kwargs: Its named arguments.
        """
        target = self.targets.find(None)
        return target.python.call(importing(function) if isinstance(function, str) else function, *args, **kwargs)

    # Tunnels

    @keyword
    def open_tunnel(self, address: str, port: int | None = None, *, listen_port: int = 0) -> Tunnel[Any]:
        """Opens a tunnel: what connects to it here comes out at an address that the host reaches.

        It is closed with its target. It listens on the loopback address only.

        Example:
        | ${tunnel}    Open Tunnel    127.0.0.1    8080
        | Log    ${tunnel.address}[1] leads to the service

        Args:
            address: A host as the target calls it, or the path of a unix socket there.
            port: The port there; not for a unix socket.
            listen_port: The port here; 0 takes a free one.

        Returns:
            The tunnel; ``${tunnel.address}`` is its host and port here.
        """
        target = self.targets.find(None)
        there = address if port is None else (address, port)
        tunnel = target.forward(there, ("127.0.0.1", listen_port))
        self.targets.before_closing(target, tunnel.close)
        logger.info(f"{tunnel.address} here leads to {there} of {target.name}")
        return tunnel

    @keyword
    def open_reverse_tunnel(
        self, address: str, port: int | None = None, *, listen: str = "127.0.0.1", listen_port: int = 0
    ) -> Tunnel[Any]:
        """Opens a tunnel from the host to here: what connects to it there comes out at an address of this machine.

        It is closed with its target. It listens on the host's loopback address only.

        Example:
        | ${tunnel}    Open Reverse Tunnel    127.0.0.1    8000
        | Run Command    curl -s http://127.0.0.1:${tunnel.address}[1]/

        Args:
            address: A host that this machine reaches, or the path of a unix socket here.
            port: The port there; not for a unix socket.
            listen: The loopback address of the host to listen on, or a path for a unix socket there.
            listen_port: The port on the host; 0 takes a free one.

        Returns:
            The tunnel; ``${tunnel.address}`` is where the host listens.
        """
        target = self.targets.find(None)
        here = address if port is None else (address, port)
        there: Any = listen if listen.startswith("/") else (listen, listen_port)
        tunnel: Tunnel[Any] = target.reverse(there, here)
        self.targets.before_closing(target, tunnel.close)
        logger.info(f"{tunnel.address} of {target.name} leads to {here} here")
        return tunnel

    # The host

    @keyword
    def get_target_facts(self) -> TargetFacts:
        """Gets what the host says of itself.

        Returns:
            ``hostname``, ``user``, ``uid``, ``python`` (a version), ``os``, ``boot_id`` and ``pid``.
        """
        facts = self.targets.find(None).facts
        logger.info(repr(facts))
        return facts

    @keyword
    def reboot_target(
        self, *, timeout: timedelta = timedelta(minutes=10), command: str | list[str] = "reboot"
    ) -> TargetFacts:
        """Reboots the host and waits until it is back: it has another boot id, and Python answers.

        Args:
            timeout: How long all of it may take.
            command: What reboots it, with the rights of the target's shell; others than root use ``sudo -n``.

        Returns:
            The facts after the reboot.
        """
        argv = command.split() if isinstance(command, str) else command
        return self.targets.find(None).reboot(timeout.total_seconds(), command=argv)

    @keyword
    def wait_until_target_is_up(self, *, timeout: timedelta = timedelta(minutes=10)) -> TargetFacts:
        """Waits until the host can be reached, and connects.

        Args:
            timeout: How long to wait.

        Returns:
            The facts of the host.
        """
        return self.targets.find(None).wait_until_up(timeout.total_seconds())


def _name(host: str | list[dict[str, Any]]) -> str | None:
    return host if isinstance(host, str) else None


def _hops(jump: str | None) -> list[str] | None:
    return None if jump is None else [hop.strip() for hop in jump.split(",")]


def _shells(host: str | list[dict[str, Any]], backend: Backend, options: dict[str, Any]) -> list[Any]:
    """The shells of a target: as given, or one by SSH."""
    if isinstance(host, str):
        return [SshShell(host, backend=backend, **options)]
    if any(value is not None for value in options.values()):
        raise UsageError("with a list of shells, what a shell needs stands in its dictionary", doing="Open Target")
    return host
