# ruff: noqa: N999 - the published name of the module
"""Named terminals with stacks of shells, by the keywords of the published ``InteractiveSessions`` library.

A thin layer over `InteractiveSession`, for suites that have it; new ones use `RemoteRunner` or the TargetLibrary. It
promises that every keyword says which terminal is missing.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

from crl.errors import UsageError
from crl.interactivesessions.InteractiveSession import InteractiveSession
from crl.interactivesessions.shells.shell import Shell

__all__ = ["InteractiveSessionFactory", "InteractiveSessions", "NoSuchTerminal", "TerminalAlreadyExists"]


class NoSuchTerminal(UsageError):
    """No terminal has that name."""


class TerminalAlreadyExists(UsageError):
    """A terminal has that name already."""


class SessionFactory(Protocol):
    """Makes the sessions of `InteractiveSessions`."""

    def allocate(self, dump_received: str | None = None, dump_outgoing: str | None = None) -> InteractiveSession:
        """A new session."""


class InteractiveSessionFactory:
    """Makes plain sessions."""

    @staticmethod
    def allocate(dump_received: str | None = None, dump_outgoing: str | None = None) -> InteractiveSession:
        """A new session; the files get what it receives and sends."""
        return InteractiveSession(dump_received, dump_outgoing)


class InteractiveSessions:
    """Terminals with shells, by name.

    Args:
        session_factory: Makes the sessions; None makes plain ones.
    """

    ROBOT_LIBRARY_SCOPE = "GLOBAL"
    _default_terminal_name = "default_terminal"

    def __init__(self, session_factory: SessionFactory | None = None) -> None:
        self._terminals: dict[str, InteractiveSession] = {}
        self._session_factory = session_factory or InteractiveSessionFactory()

    def _find_terminal(self, terminal_name: str | None) -> InteractiveSession:
        name = terminal_name or self._default_terminal_name
        try:
            return self._terminals[name]
        except KeyError:
            known = ", ".join(sorted(self._terminals)) or "none"
            raise NoSuchTerminal(f"there is no terminal {name!r}", advice=f"create it; there are: {known}") from None

    def _shell(self, terminal_name: str | None) -> Any:
        return self._find_terminal(terminal_name).current_shell()

    def set_default_terminal_name(self, terminal_name: str) -> None:
        """Say which terminal is meant where none is named.

        Args:
            terminal_name: Its name.
        """
        self._default_terminal_name = terminal_name

    def create_terminal(
        self, terminal_name: str | None = None, dump_received: str | None = None, dump_outgoing: str | None = None
    ) -> str:
        """Create a terminal, without any shell yet.

        Args:
            terminal_name: What to call it; None is the default name.
            dump_received: A file that gets all that comes.
            dump_outgoing: A file that gets all that is sent, without passwords.

        Returns:
            Its name.
        """
        name = terminal_name or self._default_terminal_name
        if name in self._terminals:
            raise TerminalAlreadyExists(f"there is a terminal {name!r} already", advice="close it, or take another")
        self._terminals[name] = self._session_factory.allocate(dump_received, dump_outgoing)
        return name

    def spawn(self, shell: Shell, terminal_name: str | None = None) -> str | None:
        """Start the first shell of a terminal; returns what it printed.

        Args:
            shell: The shell.
            terminal_name: The terminal.
        """
        return self._find_terminal(terminal_name).spawn(shell)

    def push(self, shell: Shell, terminal_name: str | None = None) -> str | None:
        """Start a shell from the current one; returns what it printed.

        Args:
            shell: The shell.
            terminal_name: The terminal.
        """
        return self._find_terminal(terminal_name).push(shell)

    def get_current_prompt(self, terminal_name: str | None = None) -> Any:
        """The prompt of the current shell.

        Args:
            terminal_name: The terminal.
        """
        return self._shell(terminal_name).get_prompt()

    def get_status_code(self, terminal_name: str | None = None) -> int:
        """The exit status of the last command.

        Args:
            terminal_name: The terminal.
        """
        return int(self._shell(terminal_name).get_status_code())

    def get_pid(self, terminal_name: str | None = None) -> int:
        """The process id of the last background process.

        Args:
            terminal_name: The terminal.
        """
        return int(self._shell(terminal_name).get_pid())

    def exec_command(self, cmd: str, terminal_name: str | None = None, timeout: float = -1) -> str:
        """Run a command in the current shell; returns its output without white space around it.

        Args:
            cmd: The command.
            terminal_name: The terminal.
            timeout: Seconds; -1 is 60.
        """
        return str(self._shell(terminal_name).exec_command(cmd, timeout=float(timeout))).strip()

    def exec_prompting_command(
        self,
        cmd: str,
        responses: Iterable[tuple[Any, str]] | None = None,
        terminal_name: str | None = None,
        timeout: float = -1,
    ) -> str:
        """Run a command that asks; returns its output without white space around it.

        Args:
            cmd: The command.
            responses: From `Create Responses List`.
            terminal_name: The terminal.
            timeout: Seconds for each question and for the end; -1 is 60.
        """
        shell = self._shell(terminal_name)
        return str(shell.exec_prompting_command(cmd, responses or [], timeout=float(timeout))).strip()

    @staticmethod
    def create_responses_list(*args: Any) -> list[tuple[Any, Any]]:
        """Questions and answers for `Exec Prompting Command`.

        Args:
            *args: A question, its answer, the next question, and so on
        """
        return Shell.create_responses_list(*args)

    def exec_command_expecting_more(
        self, cmd: str, more_prompt: str = "--More--", terminal_name: str | None = None
    ) -> tuple[int, str]:
        """Run a command whose output comes in pages; returns how many there were, and the output.

        Args:
            cmd: The command.
            more_prompt: What is shown at the end of a page.
            terminal_name: The terminal.
        """
        count, output = self._shell(terminal_name).exec_command_expecting_more(cmd, more_prompt)
        return int(count), str(output)

    def exit_shell(self, terminal_name: str | None = None) -> str:
        """Leave the current shell; returns what was printed meanwhile.

        Args:
            terminal_name: The terminal.
        """
        return (self._find_terminal(terminal_name).pop() or "").strip()

    def close_terminal(self, terminal_name: str | None = None) -> None:
        """Leave all shells of a terminal and forget it.

        Args:
            terminal_name: The terminal.
        """
        self._find_terminal(terminal_name).close_terminal()
        del self._terminals[terminal_name or self._default_terminal_name]
