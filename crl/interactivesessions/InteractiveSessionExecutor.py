# ruff: noqa: N999 - the published name of the module
"""A session from a host to a node behind it, through an agent host and a network namespace, as published.

A thin layer over `InteractiveSession` and shells; `RemoteRunner` does the same with any stack. It promises that a
session which does not come up leaves nothing open.
"""

from __future__ import annotations

import logging
import shlex
from typing import ClassVar

from crl.interactivesessions.InteractiveSession import InteractiveSession
from crl.interactivesessions.interactivesessionexceptions import InteractiveSessionError, UnknownShellState
from crl.interactivesessions.shells.namespaceshell import NamespaceShell
from crl.interactivesessions.shells.pythonshell import PythonShell
from crl.interactivesessions.shells.shell import Shell
from crl.interactivesessions.shells.sshshell import SshShell
from crl.secrets import Secret, to_secret

__all__ = ["FailedToRemoveWorkingDirectory", "FailedToSetWorkingDirectory", "InteractiveSessionExecutor"]

logger = logging.getLogger(__name__)


class FailedToSetWorkingDirectory(InteractiveSessionError):
    """The working directory could not be made or entered; the arguments are status and output."""


class FailedToRemoveWorkingDirectory(InteractiveSessionError):
    """The working directory could not be removed; the arguments are status and output."""


class InteractiveSessionExecutor:
    """A session on a node; connects when it is made.

    Args:
        node_name: The node; None is the host itself.
        host_name: The host to log in to first.
        host_user: The user there.
        host_password: The password there.
        node_ip: The node's address behind the host.
        node_user: The user on the node.
        node_password: The password on the node.
        python_command: The Python of the node; None is ``python``, or python3 where only that exists.
        node_namespace: The network namespace that the node is reached from.
        dhcpagenthost: The host that has the namespace; tried once, then the first host has to do.
        work_dir: For `setup_working_directory`.
        management_node_floating_ip: Log in here instead of the host, as the node's user.

    Raises:
        InteractiveSessionError: The node cannot be reached.
    """

    invalidhosts: ClassVar[list[str | None]] = []

    def __init__(
        self,
        node_name: str | None,
        host_name: str,
        host_user: str | None,
        host_password: str | Secret | None,
        node_ip: str | None = None,
        node_user: str | None = None,
        node_password: str | Secret | None = None,
        python_command: str | None = None,
        node_namespace: str | None = None,
        dhcpagenthost: str | None = None,
        work_dir: str | None = None,
        management_node_floating_ip: str | None = None,
    ) -> None:
        self.node_name = node_name
        self.python_command = python_command
        self.dhcpagenthost = dhcpagenthost
        self._floating_ip = management_node_floating_ip
        self._work_dir = work_dir
        self._host_shell: Shell | None = None
        self._node_shell: Shell | None = None
        self._session = InteractiveSession()
        self.initialize_host(host_name, host_user, host_password)
        self.initialize_node(node_ip, node_user, node_password, node_namespace)
        try:
            self.initialize_connection()
        except BaseException:
            self.close()
            raise

    def initialize_host(self, host_name: str, host_user: str | None, host_password: str | Secret | None) -> None:
        """Say how the host is logged in to."""
        self.host_name, self.host_user, self.host_password = host_name, host_user, to_secret(host_password)

    def initialize_node(
        self,
        node_ip: str | None,
        node_user: str | None,
        node_password: str | Secret | None,
        node_namespace: str | None,
    ) -> None:
        """Say how the node is logged in to."""
        self.node_ip, self.node_user, self.node_password = node_ip, node_user, to_secret(node_password)
        self.node_namespace = node_namespace

    # Connection; `make_ssh_shell` can be overridden where logins need more than a password

    def make_ssh_shell(self, address: str, user: str | None, password: Secret | None) -> Shell:
        """The shell for one login."""
        return SshShell(address, user, password)

    def initialize_connection(self) -> None:
        """Connect to the node."""
        if self._floating_ip:
            self._session.spawn(self.make_ssh_shell(self._floating_ip, self.node_user, self.node_password))
            if self.node_name is not None and self.node_name != self.run("hostname"):
                self._session.push(self.make_ssh_shell(self.node_name, self.node_user, self.node_password))
            self._host_shell = self._node_shell = self._session.current_shell()
            return
        self._session.spawn(self.make_ssh_shell(self.host_name, self.host_user, self.host_password))
        self._host_shell = self._node_shell = self._session.current_shell()
        if self.node_name is not None and self.node_ip is not None:
            self._connect_to_node(self.node_ip)

    def _connect_to_node(self, node_ip: str) -> None:
        self._try_agent_host()
        if self.node_namespace is not None:
            self._session.push(NamespaceShell(self.node_namespace))
        self._session.push(self.make_ssh_shell(node_ip, self.node_user, self.node_password))
        self._node_shell = self._session.current_shell()

    def _try_agent_host(self) -> None:
        agent = self.dhcpagenthost
        if agent is None or agent in self.invalidhosts:
            return
        try:
            if agent != self.run("hostname"):
                self._session.push(self.make_ssh_shell(agent, self.host_user, self.host_password))
        except InteractiveSessionError as error:
            logger.info("the agent host %s cannot be reached, going on from %s: %s", agent, self.host_name, error)
            self.invalidhosts.append(agent)

    def reset_session(self) -> None:
        """Come back to the node's shell, connecting to the node again where needed.

        Raises:
            UnknownShellState: The host's shell does not answer either.
        """
        host, node = self._host_shell, self._node_shell
        if host is None or node is None:
            raise UnknownShellState("the session was not connected", host=self.host_name)
        try:
            self._session.pop_until(node)
        except UnknownShellState:
            self._session.pop_until(host)
            if self.node_ip is not None:
                self._connect_to_node(self.node_ip)

    # Work

    def setup_working_directory(self) -> None:
        """Make the working directory and change to it.

        Raises:
            FailedToSetWorkingDirectory: That failed.
        """
        place = shlex.quote(str(self._work_dir))
        output = self.run(f"mkdir -p {place} && cd {place}", timeout=10)
        if status := self.get_status_code():
            raise self._failed(FailedToSetWorkingDirectory, "changing to", status, output)

    def remove_working_directory(self) -> None:
        """Leave the working directory and remove it.

        Raises:
            FailedToRemoveWorkingDirectory: That failed.
        """
        output = self.run(f"cd && rm -rf {shlex.quote(str(self._work_dir))}", timeout=10)
        if status := self.get_status_code():
            raise self._failed(FailedToRemoveWorkingDirectory, "removing", status, output)

    def _failed(
        self, kind: type[InteractiveSessionError], doing: str, status: int, output: str
    ) -> InteractiveSessionError:
        where = self.node_ip or self.host_name
        return kind(status, output, host=where, doing=f"{doing} {self._work_dir}", transcript=output)

    def transfer_text_file(self, textfile: str, destination_dir: str = "") -> None:
        """Write a file of this machine to the node, under its own name."""
        python = PythonShell(self.python_command) if self.python_command else PythonShell()
        self._session.push(python)
        try:
            python.transfer_text_file(textfile, destination_dir)
        finally:
            self._session.pop()

    def run(self, cmd: str, timeout: float = -1) -> str:
        """Run a command in the current shell; its output without line ends at its end."""
        return self.run_full_output(cmd, timeout=timeout).rstrip("\r\n")

    def run_full_output(self, cmd: str, timeout: float = -1) -> str:
        """Run a command in the current shell; all of its output."""
        return self._session.current_shell().exec_command(cmd, timeout=timeout)

    def get_status_code(self) -> int:
        """The exit status of the last command."""
        return self._session.current_shell().get_status_code()

    def get_current_shell(self) -> Shell:
        """The shell on top."""
        return self._session.current_shell()

    def get_session(self) -> InteractiveSession:
        """The session."""
        return self._session

    def isalive(self) -> bool:
        """Whether the session's program is there."""
        return self._session.isalive()

    def close(self) -> None:
        """Leave all shells and end the terminal."""
        self._session.close_terminal()

    def __str__(self) -> str:
        return f"Interactive Session on {self.node_ip or self.host_name}"
