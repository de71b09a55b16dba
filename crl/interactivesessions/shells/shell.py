"""The base of all shells, with the names that shells written for the published package use.

A shell speaks to its terminal, a pexpect-like spawn, and knows nothing of the session that stacks it. It promises that
a shell which has another one pushed over it, or whose terminal is lent, raises `ChannelInUse` instead of typing.
"""

from __future__ import annotations

import abc
import contextlib
import logging
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import pexpect

from crl.channels.base import ChannelInUse
from crl.deadlines import Deadline
from crl.errors import UsageError
from crl.interactivesessions.interactivesessionexceptions import InteractiveSessionError, ShellEnded, UnexpectedPrompt
from crl.interactivesessions.shells._prompt import ShellPrompt
from crl.secrets import redact

if TYPE_CHECKING:
    from crl.interactivesessions._patience import HasDoor
    from crl.link import Lane
    from crl.link.lane import LaneKind

__all__ = ["DEFAULT_STATUS_TIMEOUT", "CommandResult", "DefaultStatusTimeout", "Shell", "TimeoutError"]

LONGEST_WAIT: Final = 3600.0
"""Seconds that a timeout of None stands for: every wait ends."""

LOCALHOST: Final = "localhost"
"""How errors call the host of a first shell that runs on this machine."""

_INTERRUPT_PATIENCE: Final = 0.9
_MOST_READS: Final = 64
_log = logging.getLogger("crl.interactivesessions.shells")


class TimeoutError(InteractiveSessionError):  # noqa: A001 - the published name
    """A command, or what a shell waited for, did not come in time.

    Args:
        output: What had come until then.
    """

    def __init__(self, output: str = "", **details: Any) -> None:
        super().__init__(output, **details)
        self.output = output.encode("ascii", "xmlcharrefreplace")

    @property
    def message(self) -> str:
        """The text that the published package gives: the console's output."""
        return f"TIMEOUT, console log:\n{redact(self.output.decode('ascii'))}"


@dataclass(frozen=True)
class CommandResult:
    """What a command did.

    Args:
        status: Its exit status.
        output: What it wrote on the terminal (standard output and error), byte for byte.
    """

    status: int
    output: bytes


class DefaultStatusTimeout:
    """How long `Shell.get_status_code` waits, for the whole process; 5 seconds unless set."""

    _orig: Final = 5.0
    _timeout: float = _orig

    def __float__(self) -> float:
        return float(self._timeout)

    def __repr__(self) -> str:
        return repr(self._timeout)

    @classmethod
    def get(cls) -> float:
        """The seconds now in force."""
        return cls._timeout

    @classmethod
    def set(cls, timeout: float) -> None:
        """Wait `timeout` seconds from now on."""
        cls._timeout = timeout

    @classmethod
    def reset(cls) -> None:
        """Wait the original 5 seconds from now on."""
        cls._timeout = cls._orig


DEFAULT_STATUS_TIMEOUT: Final = DefaultStatusTimeout()


class Shell(abc.ABC):
    """What every shell offers; subclasses say how it is started, set up and left.

    Args:
        tty_echo: Whether the terminal echoes what is typed.
    """

    rides_link = False
    """Whether the shell runs on a link over the shell under it, and gives that one its terminal back by itself."""

    _spawned: Any = None
    _covered_by: str | None = None
    _parent_prompt: str | None = None
    _parent_host: str = LOCALHOST
    _parent_status: ShellPrompt | None = None
    _parents: tuple[Shell, ...] = ()
    _shell_prompt: ShellPrompt | None = None
    _displaced: bool = False
    _prompt: Any = None
    _tty_echo: bool = False
    lane_kind: LaneKind | None = None
    """What the terminal of this shell carries, as far as that is this shell's doing; None is every byte."""
    _begun: bool = False
    """Whether something else runs in the terminal, which was begun for a link and has to end before the shell."""
    exclusive: bool = False
    """Whether its terminal cannot be opened a second time beside the first; a link over it is then not resumed."""
    changes_lane: bool = True
    """Whether a link over it may go over to another channel of the same connection, where that can be had."""
    _parent_carries: LaneKind | None = None

    def __init__(self, tty_echo: bool = False) -> None:
        self._tty_echo = tty_echo

    def find_door(self) -> HasDoor | None:
        """Where it shows, without a login, whether a first shell of this kind can be started now; None: nowhere."""
        return None

    # The terminal

    @property
    def _terminal(self) -> Any:
        """The terminal that this shell may use now.

        Raises:
            ChannelInUse: Another shell is pushed over this one.
        """
        if self._covered_by is not None:
            raise ChannelInUse(
                f"{type(self).__name__} is covered by {self._covered_by}, which uses its terminal",
                advice="pop that shell first, or use session.current_shell()",
            )
        if self._begun:
            self._end_what_was_begun()
        return self._spawned

    @_terminal.setter
    def _terminal(self, terminal: Any) -> None:
        self._spawned = terminal

    def expect_link(self, python: str | None) -> None:  # noqa: B027 - most shells have no use for it
        """Say before the start that a link is wanted at once: a shell that can has Python started by its login.

        The shell can be used all the same: what was begun is then ended first. For sessions.

        Args:
            python: The interpreter to use, by name or path; None tries the usual names.
        """

    def _end_what_was_begun(self) -> None:  # noqa: B027 - as above
        """Have the terminal for the shell alone; only where `expect_link` does something."""

    def set_terminal(self, terminal: Any) -> None:
        """Use this pexpect-like terminal from now on."""
        self._terminal = terminal

    def cover(self, child: Shell | None) -> None:
        """Say that `child` uses the terminal now; None ends that. For sessions."""
        self._covered_by = None if child is None else f"{type(child).__name__} pushed over it"

    def guard(self, command: str) -> str:
        """The line that runs a command which starts another shell from this one; for sessions.

        Shells that can see to it that what was meant for the other shell is not read by this one when that has ended.
        """
        return command

    def set_parent(self, parent: Shell | None) -> None:
        """Tell the shell under this one: its prompt coming back means that this shell did not start. For sessions.

        Args:
            parent: The shell that this one is started from; None for the first of a session.
        """
        self._covered_by = None
        self._displaced = False
        self._parents = () if parent is None else (parent, *parent._parents)  # noqa: SLF001 - one of us
        if parent is None:
            self._parent_prompt = self._parent_status = None
            self._parent_host = LOCALHOST
            self._parent_carries = None
            return
        prompt = parent.get_prompt()
        self._parent_prompt = prompt if isinstance(prompt, str) else None
        self._parent_status = parent._shell_prompt  # noqa: SLF001 - one of us
        self._parent_host = parent.host
        self._parent_carries = parent.carries
        self.set_tty_echo(parent.tty_echo)

    @property
    def host(self) -> str:
        """The name of the host that this shell runs on, for errors and logs."""
        return self._parent_host

    @property
    def carries(self) -> LaneKind | None:
        """What comes through this shell's terminal and all those under it; None is every byte."""
        own, under = self.lane_kind, self._parent_carries
        return own.through(under) if own is not None and under is not None else own or under

    @property
    def tty_echo(self) -> bool:
        """Whether the terminal echoes what is typed."""
        return self._tty_echo

    def set_tty_echo(self, tty_echo: bool) -> None:
        """Say whether the terminal echoes what is typed."""
        self._tty_echo = tty_echo

    @property
    def delaybeforesend(self) -> float | None:
        """Seconds that the terminal waits before it sends; None here unless set."""
        delay: float | None = self._terminal.delaybeforesend
        return delay

    @delaybeforesend.setter
    def delaybeforesend(self, delaybeforesend: float | None) -> None:
        self._terminal.delaybeforesend = delaybeforesend

    # What a subclass says

    @abc.abstractmethod
    def get_start_cmd(self) -> str:
        """The command that starts this shell; called by the session's `spawn` and `push`."""

    @abc.abstractmethod
    def start(self) -> str | None:
        """Set the shell up after its start command was run; returns what was seen meanwhile."""

    @abc.abstractmethod
    def exit(self) -> None:
        """Leave the shell."""

    def start_over(self, lane: Lane, timeout: float) -> str:
        """Start a shell that `rides_link`, on the lane of the shell under it; for sessions.

        Raises:
            UsageError: This kind of shell is started by its command.
        """
        del lane, timeout
        raise UsageError(f"a {type(self).__name__} is started by its command")

    def drop(self) -> None:  # noqa: B027 - most shells hold nothing
        """Let go of what the shell holds beside its terminal, which is being closed; for sessions."""

    # The prompt

    def get_prompt(self) -> Any:
        """The prompt that ends a command's output: a text, or a list of texts."""
        return self._prompt

    def get_prompt_from_terminal(self, empty_command: str = "", timeout: float = -1) -> str:
        """Send an empty command and return the prompt that came, or what came instead of it."""
        prompt = self._prompt_after(empty_command, timeout)
        if prompt == "":
            self._send_interrupt()
            prompt = self._prompt_after(empty_command, timeout)
        return prompt

    def _prompt_after(self, empty_command: str, timeout: float) -> str:
        self._read_until_end(chunk_timeout=0)
        self._send_input_line(empty_command)
        try:
            self._read_until_prompt(timeout=timeout)
        except TimeoutError:
            return _text(self._terminal.before)
        return _text(self._terminal.after)

    def is_terminal_hung(self, empty_command: str = "", timeout: float = -1) -> bool:
        """Whether an empty command is not answered by the prompt."""
        self._send_input_line(empty_command)
        try:
            self._read_until_prompt(timeout=timeout)
        except TimeoutError:
            return True
        return False

    def is_terminal_prompt_matching(self, terminal_prompt: str) -> bool:
        """Whether `terminal_prompt` is this shell's prompt, or one of them."""
        prompt = self.get_prompt()
        return terminal_prompt == prompt if isinstance(prompt, str) else terminal_prompt in prompt

    def verify(self, timeout: float = 3.0) -> None:
        """See that the shell answers.

        Raises:
            UnexpectedPrompt: Something else than its prompt came in time.
            ShellEnded: It has ended.
        """
        self._require_there()
        received = self.get_prompt_from_terminal(timeout=timeout)
        if not self.is_terminal_prompt_matching(received):
            raise UnexpectedPrompt(received, self.get_prompt())

    def recover(self, timeout: float) -> None:
        """Come back to the prompt after something went wrong in the terminal: wait for it, then interrupt.

        Raises:
            TimeoutError: The prompt does not come.
        """
        try:
            self._read_until_prompt(timeout=timeout)
        except TimeoutError:
            self._send_interrupt()
            self._read_until_prompt(timeout=timeout)

    # Commands

    def exec_command(self, cmd: str, timeout: float | None = -1) -> str:
        r"""Run a command and return what it printed on the terminal (lines end with ``\r\n``).

        Args:
            cmd: The command.
            timeout: Seconds; -1 is the terminal's default (60), None an hour.

        Raises:
            TimeoutError: It did not end in time; it was interrupted (Ctrl-C).
            ShellEnded: The shell or the connection has ended. A command that was not sent yet is not: the shell
                under it, whose prompt is there, would run it.
            ChannelInUse: The terminal is used by a shell pushed over this one, or lent.
        """
        self._require_known()
        self._read_until_end(chunk_timeout=0)
        self._exec_cmd(cmd)
        try:
            return self._read_until_prompt(timeout)
        except TimeoutError:
            self._after_timeout()
            raise

    def _after_timeout(self) -> None:
        """End the command that took too long; subclasses that can tell mark the shell when that fails."""
        self._send_interrupt()
        with contextlib.suppress(TimeoutError):  # the caller gets the first one
            self._read_until_prompt(_INTERRUPT_PATIENCE)

    def exec_command_expecting_more(self, cmd: str, more_prompt: str = "--More--") -> tuple[int, str]:
        """Run a command whose output comes in pages, asking for each.

        Returns:
            How often `more_prompt` came, and the output (without it).
        """
        self._exec_cmd(cmd)
        output, count = "", 0
        while self._expect([more_prompt, self.get_prompt()]) == 0:
            count += 1
            output += self._before()
            self._send_input(" ")
        return count, output + self._before()

    def exec_prompting_command(self, cmd: str, responses: Iterable[tuple[Any, str]], timeout: float = -1) -> str:
        """Run a command that asks, answering each prompt in turn.

        Args:
            cmd: The command.
            responses: Pairs of the prompt (text, pattern, or list of them) and the answer.
            timeout: Seconds for each prompt, and for the end.
        """
        self._require_known()
        self._exec_cmd(cmd)
        output = ""
        for prompt, response in responses:
            output += self._read_until(prompt, timeout)
            self._terminal.sendline(response)
        return output + self._read_until_prompt(timeout)

    @staticmethod
    def create_responses_list(*args: Any) -> list[tuple[Any, Any]]:
        """Pairs of prompt and answer for `exec_prompting_command`, out of a flat list.

        Raises:
            ValueError: The number of arguments is odd.
        """
        if len(args) % 2:
            raise ValueError("each prompt needs exactly one response")
        return list(zip(args[::2], args[1::2], strict=True))

    def get_status_code(self, timeout: float | DefaultStatusTimeout = DEFAULT_STATUS_TIMEOUT) -> int:
        """The exit status of the last command; shells that have none raise.

        Raises:
            UsageError: This kind of shell has no exit statuses.
        """
        del timeout
        raise UsageError(f"a {type(self).__name__} has no exit statuses")

    def lane(self) -> Lane:
        """Lend the terminal to a link; only a POSIX-like shell can.

        Raises:
            UsageError: This kind of shell cannot.
        """
        raise UsageError(f"a {type(self).__name__} cannot carry a link", advice="pop it, or push a BashShell over it")

    # Helpers for subclasses, with their published names

    def _exec_cmd(self, cmd: str) -> None:
        self._send_input_line(cmd)

    def _send_input(self, _input: str) -> None:
        with self._own_errors():
            sent = self._terminal.send(_input)
        if self._tty_echo:
            self._read(sent)

    def _send_input_line(self, _input: str) -> None:
        with self._own_errors():
            sent = self._terminal.sendline(_input)
        if self._tty_echo:
            self._read(sent + 1)  # the terminal shows the newline as CR and LF

    def _send_interrupt(self) -> None:
        with self._own_errors():
            self._terminal.sendcontrol("c")

    def _read(self, count: int, timeout: float = -1) -> str:
        """Read exactly `count` bytes."""
        pending = re.compile(b".{%d}" % count, re.DOTALL)
        with self._own_errors():
            self._terminal.expect_list([pending], timeout)
        return _text(self._terminal.after)

    def _read_until_end(self, timeout: float = 0, chunk_timeout: float = 0.1) -> str:
        """Read until nothing more comes.

        Args:
            timeout: Seconds to wait for the first of it; 0 does not wait, otherwise nothing raises TimeoutError.
            chunk_timeout: Seconds of silence that count as the end.
        """
        output = bytearray(self._terminal.buffer)
        self._terminal.buffer = b""
        deadline = Deadline.after(self._terminal.timeout)
        with self._own_errors():
            if timeout and not output:
                output += self._terminal.read_nonblocking(size=65536, timeout=timeout)
            with contextlib.suppress(pexpect.TIMEOUT):  # silence is what is waited for
                while not deadline.expired:
                    output += self._terminal.read_nonblocking(size=65536, timeout=chunk_timeout)
        return _text(output)

    def _read_until_prompt(self, timeout: float | None = -1, suppress_timeout: bool = False) -> str:
        return self._read_until(self.get_prompt(), timeout, suppress_timeout)

    def _read_until(self, trigger: Any, timeout: float | None = -1, suppress_timeout: bool = False) -> str:
        """Read until a text or pattern (or the first of a list of one kind) comes and return what was before it."""
        try:
            self._expect(trigger, timeout)
        except TimeoutError:
            if not suppress_timeout:
                raise
        return self._before()

    def _expect(self, trigger: Any, timeout: float | None = -1) -> int:
        """Wait for a text or pattern, or one of a list; its index."""
        triggers: Sequence[Any] = trigger if isinstance(trigger, list | tuple) else [trigger]
        under = self._prompts_under()
        searched = [*triggers, *under.values()]
        search: Callable[..., int] = self._terminal.expect_exact
        if any(isinstance(item, re.Pattern) for item in triggers):
            search = self._terminal.expect
            searched = [re.escape(item) if isinstance(item, str) else item for item in searched]
        with self._own_errors():
            index = search(searched, timeout=LONGEST_WAIT if timeout is None else timeout)
        if index >= len(triggers):
            self._displaced_by(list(under)[index - len(triggers)])
            raise self._not_there()
        return index

    # Whether this shell is the one that reads what is typed

    def has_ended(self) -> bool:
        """Whether a shell under this one has the terminal again; costs no round trip."""
        if not self._displaced and self._parents:
            pending = self._look_ahead()
            for parent, prompt in self._prompts_under().items():
                if prompt.encode("ascii") in pending:
                    self._displaced_by(parent)
        return self._displaced

    def _prompts_under(self) -> dict[Shell, str]:
        """The shells under this one whose prompt nothing but they themselves can show."""
        if self._displaced:
            return {}
        shown = ((parent, parent._shell_prompt) for parent in self._parents)  # noqa: SLF001 - all are shells
        return {parent: prompt.end for parent, prompt in shown if prompt is not None}

    def _require_there(self) -> None:
        """See, without a round trip, that what is typed now is read by this shell.

        Raises:
            ShellEnded: The prompt of a shell under it is there, or the terminal's end.
        """
        if self.has_ended():
            raise self._not_there()

    def _require_known(self) -> None:
        """See that a command may be typed; subclasses that can tell make sure of the shell's state too."""
        self._require_there()

    def _look_ahead(self) -> bytes:
        """What the terminal has now; it stays to be read."""
        pending = bytearray(self._terminal.buffer)
        with self._own_errors(), contextlib.suppress(pexpect.TIMEOUT):  # nothing more is there
            for _ in range(_MOST_READS):
                pending += self._terminal.read_nonblocking(size=65536, timeout=0)
        self._terminal.buffer = bytes(pending)
        return bytes(pending)

    def _displaced_by(self, parent: Shell) -> None:
        """Note that a shell under this one has the terminal again: this one, and those between, are gone."""
        for shell in (self, *self._parents[: self._parents.index(parent)]):
            shell._displaced = True  # noqa: SLF001 - one of us

    def _not_there(self) -> ShellEnded:
        return ShellEnded(
            "the shell has ended, or was stopped: the prompt of a shell under it came",
            host=self.host,
            doing=self._name(),
            advice="nothing is typed into the other shell; pop this one, or open the session anew",
            transcript=self._tail(),
        )

    def _before(self) -> str:
        return _text(self._terminal.before)

    @contextlib.contextmanager
    def _own_errors(self) -> Iterator[None]:
        """Turn pexpect's errors into ours."""
        try:
            yield
        except pexpect.TIMEOUT:
            before = self._terminal.before
            raise TimeoutError(_text(before) if isinstance(before, bytes) else "", host=self.host) from None
        except pexpect.EOF:
            raise ShellEnded(
                f"the shell, or the connection under it, has ended{self._end_status()}",
                host=self.host,
                doing=self._name(),
                advice="what was running in it ends with it; open the session anew",
                transcript=self._tail(),
            ) from None

    def _name(self) -> str:
        return type(self).__name__

    def _end_status(self) -> str:
        end_status = getattr(self._spawned, "end_status", None)
        code = None if end_status is None else end_status()
        return "" if code is None else f" (exit status {code})"

    def _tail(self) -> str:
        """What came last, and what the program behind the terminal said beside it."""
        tail, sides = (getattr(self._spawned, name, None) for name in ("tail", "drain_sides"))
        parts = [tail() if callable(tail) else "", _text(sides()) if callable(sides) else ""]
        return redact("\n".join(part for part in parts if part))

    @staticmethod
    def _deadline(timeout: float | None, default: float = 60.0) -> Deadline:
        if timeout is None:
            return Deadline.after(LONGEST_WAIT)
        return Deadline.after(default if timeout == -1 else timeout)


def _text(data: Any) -> str:
    return data.decode("utf-8", "surrogateescape") if isinstance(data, bytes | bytearray) else str(data)
