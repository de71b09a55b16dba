"""Messages to a Python on a target, over the link of a terminal; and frames over a raw terminal.

It knows links and messages, and no shell. It promises that every wait ends at its limit, that what was sent is run in
the order in which it was sent, and that an error says whether the target was only slow or its connection is gone.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import Any, Final

import pexpect

from crl.deadlines import Deadline
from crl.errors import CrlError, UsageError
from crl.interactivesessions.interactivesessionexceptions import InteractiveSessionError
from crl.interactivesessions.shells.modules import MainModule
from crl.interactivesessions.shells.remotemodules import pythoncmdline
from crl.interactivesessions.shells.remotemodules.msgmanager import MsgManagerBase
from crl.interactivesessions.shells.remotemodules.msgs import (
    ExecCommandReply,
    ExecCommandRequest,
    ExitRequest,
    MsgBase,
    SendCommandRequest,
    ServerIdReply,
    ServerIdRequest,
)
from crl.interactivesessions.shells.shell import TimeoutError as ShellTimeout
from crl.link import Call, CallTimeout, Link, LinkError, LinkLost
from crl.link.wire import frames

__all__ = [
    "CommandTimeout",
    "TerminalClient",
    "TerminalClientError",
    "TerminalClientFatalError",
    "TerminalComm",
    "Timer",
    "TimerTimeout",
]

_START_TIMEOUT: Final = 30.0
_FRAME_SIZE: Final = 32 * 1024
_READ_SIZE: Final = 65536
_module = MainModule(pythoncmdline)
logger = logging.getLogger(__name__)


class TerminalClientError(InteractiveSessionError):
    """A message was not answered; the Python is still there, as far as is known."""


class TerminalClientFatalError(TerminalClientError):
    """The Python, or the way to it, is gone."""


class CommandTimeout(TerminalClientError, ShellTimeout):
    """A message was not answered in time; what it asked for goes on."""


class TimerTimeout(InteractiveSessionError):
    """The time of a `Timer` is over."""


class Timer:
    """Counts the time down, by the monotonic clock.

    Args:
        timeout: Seconds.
    """

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout
        self._end = time.monotonic() + timeout

    def remaining_timeouts(self) -> Iterator[float]:
        """The seconds that are left, each time anew.

        Raises:
            TimerTimeout: None are.
        """
        while True:
            left = self._end - time.monotonic()
            if left <= 0:
                raise TimerTimeout(f"{self._timeout:g} s are over")
            yield left


class TerminalComm:
    """Bytes as frames over a raw pexpect-like terminal; at its other end is another one.

    What others write in between is skipped, and bytes that were damaged on the way are not given out.

    Args:
        terminal: The terminal, in raw mode.
    """

    def __init__(self, terminal: Any) -> None:
        self._terminal = terminal
        self._timeout: float = -1
        self._decoder = frames.Decoder()
        self._seq = self._expected = 0
        self._ready = bytearray()

    def set_timeout(self, timeout: float) -> None:
        """Wait that many seconds in each `read`; -1 is the terminal's default."""
        self._timeout = timeout

    def write(self, s: bytes) -> None:
        """Send bytes."""
        for start in range(0, len(s), _FRAME_SIZE):
            self._seq += 1
            self._terminal.send(frames.encode(frames.DATA, 0, 0, 0, self._seq, 0, s[start : start + _FRAME_SIZE]))

    def read(self, n: int) -> bytes:
        """The next bytes, at least one and at most `n`.

        Raises:
            TimerTimeout: None came in time.
            TerminalClientFatalError: The terminal has ended, or bytes are missing.
        """
        seconds = self._terminal.timeout if self._timeout == -1 else self._timeout
        timer = Timer(seconds).remaining_timeouts()
        while not self._ready:
            self._take(next(timer))
        data = bytes(self._ready[:n])
        del self._ready[:n]
        return data

    def _take(self, seconds: float) -> None:
        try:
            data = self._terminal.read_nonblocking(_READ_SIZE, seconds)
        except pexpect.TIMEOUT as error:
            raise TimerTimeout("nothing came in time") from error
        except pexpect.EOF as error:
            raise TerminalClientFatalError("the terminal has ended") from error
        for frame in self._decoder.feed(data):
            self._expected += 1
            if frame.seq != self._expected:
                raise TerminalClientFatalError("bytes were lost on the way", doing="reading a raw terminal")
            self._ready += frame.payload

    def read_until_size(self, n: int) -> bytes:
        """The next `n` bytes; errors as of `read`."""
        data = b""
        while len(data) < n:
            data += self.read(n - len(data))
        return data


class TerminalClient(MsgManagerBase):
    """Sends messages to a Python on a target and takes its replies.

    The Python runs commands in a namespace of its own, in the process that the link of the terminal has on the target.
    """

    def __init__(self) -> None:
        super().__init__()
        self._link: Link | None = None
        self._cmdline = self._server_id = ""
        self._wrap: Callable[[], AbstractContextManager[object]] = nullcontext
        self._sent: deque[tuple[MsgBase, Call | None]] = deque()
        self._unwaited: deque[Call] = deque()

    @property
    def server_id(self) -> str:
        """The random name of the Python; empty before `set_terminal`."""
        return self._server_id

    def set_wrap_timeout_exception(self, wrap_timeout_exception: Callable[[], AbstractContextManager[object]]) -> None:
        """Have waits run in the context that `wrap_timeout_exception` makes, which may turn errors into others."""
        self._wrap = wrap_timeout_exception

    def set_terminal(self, terminal: Any) -> None:
        """Drive the Python of a terminal: anything whose attribute ``link`` is a link, or a link.

        The first message that can be received then tells which Python it is.

        Raises:
            UsageError: There is no Python of crl in the terminal.
            crl.link.LinkError: It cannot be set up.
        """
        link = terminal if isinstance(terminal, Link) else getattr(terminal, "link", None)
        if not isinstance(link, Link):
            raise UsageError(
                f"a {type(terminal).__name__} has no Python of crl",
                doing="making a TerminalClient",
                advice="give a RunnerTerminal, a MsgPythonShell or a crl.link.Link",
            )
        self._server_id = uuid.uuid4().hex
        self._cmdline = f"__cmdline_{self._server_id}"
        commands = [*_module.cmds_gen(), f"{self._cmdline} = {_module.module_var}.PythonCmdline('{self._server_id}')"]
        link.evaluate("\n".join(commands), timeout=_START_TIMEOUT)
        self._link = link
        self._sent.clear()
        self._unwaited.clear()
        announced = ServerIdReply.create_with_uid_and_args(-1, self._server_id)
        self._sent.append((announced, None))

    # Sending

    def send(self, msg: MsgBase) -> None:
        """Send a message; `receive_and_send_ack` gives its reply, if it has one.

        Raises:
            TerminalClientFatalError: The Python is gone.
        """
        call = self._submit(msg)
        if isinstance(msg, SendCommandRequest):
            self._unwaited.append(call)
        elif not isinstance(msg, ExitRequest):
            self._sent.append((msg, call))

    def _submit(self, msg: MsgBase) -> Call:
        link = self._opened()
        try:
            if isinstance(msg, ExecCommandRequest | SendCommandRequest):
                return link.submit_invoke(f"{self._cmdline}.answer", (msg.cmd,))
            if isinstance(msg, ServerIdRequest):
                return link.submit_evaluate(f"{self._cmdline}.server_id")
            if isinstance(msg, ExitRequest):
                self._link = None
                return link.submit_evaluate(f"del {self._cmdline}")
        except LinkLost as error:
            raise self._gone(error) from error
        raise UsageError(f"a {type(msg).__name__} is nothing that can be asked", doing="sending a message")

    def _opened(self) -> Link:
        if self._link is None:
            raise TerminalClientFatalError("no Python is served", advice="use set_terminal")
        return self._link

    # Receiving

    def send_and_receive(self, msg: MsgBase, timeout: float) -> MsgBase:
        """Send a message and wait for its reply.

        Args:
            msg: The message; what was sent before it is done first.
            timeout: Seconds.

        Raises:
            CommandTimeout: There was none in time; what was asked for goes on.
            TerminalClientFatalError: The Python is gone, or silent for longer than the `Retry` allows.
            crl.link.LinkError: The reply cannot cross.
        """
        deadline = Deadline.after(timeout)
        self._finish_sent(deadline)
        return self._reply(msg, self._submit(msg), deadline)

    def receive_and_send_ack(self, timeout: float) -> MsgBase:
        """The next reply to what was sent; errors as of `send_and_receive`.

        Raises:
            UsageError: Nothing is to be replied to.
        """
        if not self._sent:
            raise UsageError("nothing was sent that is replied to", doing="receiving a message")
        msg, call = self._sent[0]
        reply = msg if call is None else self._reply(msg, call, Deadline.after(timeout))
        self._sent.popleft()
        return reply

    def _finish_sent(self, deadline: Deadline) -> None:
        """Wait for commands that nobody waited for: their effects come first."""
        while self._unwaited:
            told = self._wait(self._unwaited[0], deadline)
            self._unwaited.popleft()
            if told:
                logger.debug("%s: a command that was only sent gave %r", self._opened().host, told)

    def _reply(self, msg: MsgBase, call: Call, deadline: Deadline) -> MsgBase:
        with self._wrap():
            value = self._wait(call, deadline)
        kind = ServerIdReply if isinstance(msg, ServerIdRequest) else ExecCommandReply
        return kind.create_reply(msg, value)

    def _wait(self, call: Call, deadline: Deadline) -> Any:
        link = self._opened()
        try:
            return call.result(deadline.remaining())
        except LinkLost as error:
            raise self._gone(error) from error
        except CallTimeout as error:
            silent = link.engine.silent_for
            if silent >= sum(self._retry.timeouts()):
                raise TerminalClientFatalError(
                    f"Connection broken: the target has been silent for {silent:.0f} s", host=link.host
                ) from error
            raise CommandTimeout(f"Timeout: {error.message}", host=link.host, advice=error.advice) from error

    def _gone(self, error: LinkError) -> TerminalClientFatalError:
        return TerminalClientFatalError(f"Connection broken: {error.message}", host=error.host, advice=error.advice)

    def close(self) -> None:
        """Forget the Python, with what it has in its namespace; again is harmless."""
        if self._link is not None:
            with suppress(CrlError):  # it is gone already
                self.send(ExitRequest.create())
