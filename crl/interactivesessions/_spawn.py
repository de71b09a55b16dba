"""pexpect's spawn API over a channel, so that shells written for pexpect run over anything that carries bytes.

It knows channels and pexpect's `SpawnBase`, and nothing of shells but the prompt whose status mark it takes out of
``before``. It promises bounded memory, waits that end, and a named error while the channel is lent to somebody else.
"""

from __future__ import annotations

import logging
import re
import select
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

import pexpect
from pexpect.expect import Expecter, searcher_re, searcher_string
from pexpect.spawnbase import SpawnBase

from crl.channels.base import Channel, ChannelInUse
from crl.deadlines import Deadline
from crl.secrets import Secret, redact

__all__ = ["OUTPUT_CAP", "ChannelSpawn", "StatusPrompt"]

OUTPUT_CAP: Final = 64 * 1024 * 1024
"""Bytes of unmatched output that are kept; of more, the oldest are dropped and counted in `ChannelSpawn.dropped`."""

READ_SIZE: Final = 65536
STATUS_PATIENCE: Final = 5.0
_SIDE_TAIL: Final = 8192
_CAP_SLACK: Final = 1024 * 1024
_SECRET_IN_LOG: Final = b"<secret>\n"
_log = logging.getLogger("crl.interactivesessions")

# pexpect's methods are typed for text and bytes at once, which a bytes-only spawn cannot repeat.
_PexpectSpawn: Any = SpawnBase
_Expecter: Any = Expecter


class StatusPrompt(Protocol):
    """A prompt that carries the exit status in front of its fixed text."""

    @property
    def text(self) -> bytes:
        """The fixed text at the prompt's end, which is what is searched for."""

    @property
    def status_pattern(self) -> re.Pattern[bytes]:
        """Matches the variable part at the end of what stands before `text`; group 1 is the status."""


class ChannelSpawn(_PexpectSpawn):  # type: ignore[misc]
    """A pexpect spawn whose program is behind a `Channel`.

    It is in pexpect's bytes mode, as the published package's terminals are: ``before`` and ``after`` are bytes, and
    patterns and input may be bytes or any text, which is taken as UTF-8.

    Args:
        channel: The data of the program; `close` closes it.
        sides: Channels to drain beside it (stderr, dialogue), so that the program never blocks on them; the last 8 KiB
            are in `side_tail`.
        timeout: Default of all waits, in seconds.
        maxread: Largest read at a time.
        output_cap: Bytes of unmatched output that are kept.
        on_close: Called once after the channel was closed, to free what it stood on.

    Attributes:
        beside: Runs a command without a terminal on the same connection; None where that cannot be done.
    """

    _before: Any
    before: Any
    after: Any
    logfile_read: Any
    logfile_send: Any

    def __init__(
        self,
        channel: Channel,
        *,
        sides: Sequence[Channel] = (),
        timeout: float = 30.0,
        maxread: int = READ_SIZE,
        output_cap: int = OUTPUT_CAP,
        on_close: Callable[[], None] | None = None,
    ) -> None:
        super().__init__(timeout=timeout, maxread=maxread)
        self.channel = channel
        self.name = channel.name
        self.closed = False
        self.terminated = False
        self.delaybeforesend = None
        self.delayafterread = None
        self.output_cap = output_cap
        self.dropped = 0
        self.side_tail = b""
        self.prompts: dict[bytes, StatusPrompt] = {}
        self.last_status: int | None = None
        self._shown: dict[bytes, bool] = {}
        self._last_read = b""
        self._sides = list(sides)
        self._ahead = bytearray()
        self._lent_to: str | None = None
        self._on_close = on_close
        self.beside: Callable[[str, Deadline], Channel] | None = None

    def add_prompt(self, prompt: StatusPrompt) -> None:
        """Take the status out of ``before``, into `last_status`, whenever this prompt is what was found."""
        self.prompts[prompt.text] = prompt

    def look_out_for(self, text: bytes) -> None:
        """Notice when a text comes, whoever reads it and for whatever reason; see `has_shown`."""
        self._shown[text] = False
        self._last_read = b""

    def has_shown(self, text: bytes) -> bool:
        """Whether a text that is looked out for was read."""
        return self._shown.get(text, False)

    def forget(self, text: bytes) -> None:
        """Look out for a text no more."""
        self._shown.pop(text, None)

    def _look_at(self, data: bytes) -> None:
        if self._shown:
            seen = self._last_read + data
            for text in self._shown:
                self._shown[text] = self._shown[text] or text in seen
            self._last_read = seen[-max(map(len, self._shown)) :]

    # Ownership

    def lend(self, borrower: str) -> Channel:
        """Lend the channel: until `take_back` every use of this spawn raises `ChannelInUse` naming the borrower."""
        self._check_mine()
        self._lent_to = borrower
        return self.channel

    def take_pending(self) -> bytes:
        """Take the bytes that were read ahead of what was matched; also while the channel is lent."""
        pending = self._before.getvalue() + bytes(self._ahead)
        self._clear_buffers()
        return bytes(pending)

    def take_back(self, leftover: bytes = b"") -> None:
        """End the lending; `leftover` are bytes that the borrower read and that are this spawn's."""
        self._lent_to = None
        self._ahead[:0] = leftover

    def write_lent(self, data: bytes) -> None:
        """Write on behalf of the borrower, who types the line that starts its program."""
        self._write(data)

    def _check_mine(self) -> None:
        if self._lent_to is not None:
            raise ChannelInUse(
                f"the terminal is in use by {self._lent_to}",
                host=self.name,
                advice=f"wait until {self._lent_to} gives it back, or open a second session",
            )

    # Reading

    def _get_buffer(self) -> Any:
        return self._buffer.getvalue()

    def _set_buffer(self, value: Any) -> None:
        # Both of pexpect's buffers: it searches one and builds `before` from the other.
        for name in ("_buffer", "_before"):
            fresh = self.buffer_type()
            fresh.write(value)
            setattr(self, name, fresh)

    buffer = property(_get_buffer, _set_buffer)

    def _clear_buffers(self) -> None:
        self._set_buffer(b"")
        self._ahead.clear()

    def read_nonblocking(self, size: int = 1, timeout: float | None = -1) -> bytes:
        """Read what is there, at most `size` bytes, waiting up to `timeout` seconds for the first of them.

        Args:
            size: Most bytes to return.
            timeout: Seconds; -1 is the spawn's default, None the longest wait allowed (one hour).

        Raises:
            pexpect.EOF: The program has ended.
            pexpect.TIMEOUT: Nothing came in time.
            ChannelInUse: The channel is lent.
        """
        self._check_mine()
        self._keep_within_cap()
        deadline = self._deadline(timeout)
        while not self._ahead:
            if self.flag_eof:
                raise pexpect.EOF(f"{self.name} has ended")
            data = self._read_once(size)
            if data:
                return self._noted(data)
            if data is None and not self._wait(select.POLLIN, deadline):
                raise pexpect.TIMEOUT(f"nothing came from {self.name} in time")
        data = bytes(self._ahead[:size])
        del self._ahead[:size]
        return self._noted(data)

    def _noted(self, data: bytes) -> bytes:
        self._log(data, "read")
        self._look_at(data)
        return data

    def _read_once(self, size: int) -> bytes | None:
        """Bytes, b"" at the end (flag_eof is then set), None when nothing is there yet."""
        if self.channel.closed:
            self.flag_eof = True
            return b""
        try:
            data = self.channel.read(size)
        except BlockingIOError:
            return None
        if not data:
            self.flag_eof = True
        return data

    def _keep_within_cap(self) -> None:
        size = self._before.tell()
        if size <= self.output_cap + min(_CAP_SLACK, self.output_cap):
            return
        kept = self._before.getvalue()[-self.output_cap :]
        if not self.dropped:
            _log.warning("%s: more than %d bytes of unread output; the oldest are dropped", self.name, self.output_cap)
        self.dropped += size - len(kept)
        # Only the text that `before` is built from is cut: what is still searched is at its end.
        self._before = self.buffer_type()
        self._before.write(kept)

    def _deadline(self, timeout: float | None) -> Deadline:
        if timeout is None:
            return Deadline.after(3600.0)
        return Deadline.after(self.timeout if timeout == -1 else max(0.0, timeout))

    def _wait(self, events: int, deadline: Deadline) -> bool:
        """Wait for the channel; drains the side channels meanwhile. False when the deadline came first."""
        poll = select.poll()
        poll.register(self.channel.fileno(), events)
        for side in self._sides:
            poll.register(side.fileno(), select.POLLIN)
        own = self.channel.fileno()
        while True:
            ready = {descriptor for descriptor, _ in poll.poll(deadline.poll_ms())}
            for side in list(self._sides):
                if side.fileno() in ready and not self._drain(side):
                    poll.unregister(side.fileno())
                    self._sides.remove(side)
            if own in ready:
                return True
            if deadline.expired:
                return False

    def _drain(self, side: Channel) -> bool:
        try:
            data = side.read(READ_SIZE)
        except BlockingIOError:
            return True
        self.side_tail = (self.side_tail + data)[-_SIDE_TAIL:]
        return bool(data)

    def drain_sides(self) -> bytes:
        """Read what is on the side channels now, without waiting, and return the tail of all that came there."""
        for side in list(self._sides):
            if side.closed or not self._drain(side):
                self._sides.remove(side)
        return self.side_tail

    # Searching: pexpect's own, on the monotonic clock, with text patterns as UTF-8 and the status taken out of `before`

    def _coerce_expect_string(self, s: str | bytes) -> bytes:
        return s.encode("utf-8") if isinstance(s, str) else s

    def expect(self, pattern: Any, timeout: Any = -1, searchwindowsize: Any = -1) -> int:
        """Wait for the first of regular expressions; as pexpect's, without its asyncio variant."""
        return self.expect_list(self.compile_pattern_list(pattern), timeout, searchwindowsize)

    def expect_list(self, pattern_list: Any, timeout: Any = -1, searchwindowsize: Any = -1) -> int:
        """Wait for the first of compiled patterns; as pexpect's, without its asyncio variant."""
        return self._search(searcher_re(pattern_list), timeout, searchwindowsize)

    def expect_exact(self, pattern_list: Any, timeout: Any = -1, searchwindowsize: Any = -1) -> int:
        """Wait for the first of plain texts, with any characters; as pexpect's, without its asyncio variant."""
        if isinstance(pattern_list, str | bytes) or pattern_list in (pexpect.EOF, pexpect.TIMEOUT):
            pattern_list = [pattern_list]
        return self._search(searcher_string(list(map(self._exact, pattern_list))), timeout, searchwindowsize)

    def _exact(self, pattern: Any) -> Any:
        if isinstance(pattern, str | bytes):
            return self._coerce_expect_string(pattern)
        if pattern not in (pexpect.EOF, pexpect.TIMEOUT):
            self._pattern_type_err(pattern)
        return pattern

    def expect_loop(self, searcher: Any, timeout: Any = -1, searchwindowsize: Any = -1) -> int:
        """Wait for what a searcher of pexpect finds."""
        return self._search(searcher, timeout, searchwindowsize)

    def _search(self, searcher: Any, timeout: float | None, window: Any) -> int:
        """Read until the searcher finds something; output that never stops does not keep the deadline from coming."""
        self._check_mine()
        expecter = _Expecter(self, searcher, window)
        deadline = self._deadline(timeout)
        try:
            index = expecter.existing_data()
            while index is None:
                index = expecter.new_data(self.read_nonblocking(self.maxread, deadline.remaining()))
                if index is None and deadline.expired:
                    index = expecter.timeout()
        except pexpect.EOF as error:
            index = expecter.eof(error)
        except pexpect.TIMEOUT as error:
            index = expecter.timeout(error)
        self._take_status()
        return int(index)

    def _take_status(self) -> None:
        prompt = self.prompts.get(self.after) if isinstance(self.after, bytes) else None
        if prompt is None:
            return
        match = prompt.status_pattern.search(self.before[-64:])
        if match is None:
            self.last_status = None
            return
        self.last_status = int(match.group(1))
        self.before = self.before[: len(self.before) - len(match.group(0))]

    # Writing

    def send(self, s: str | bytes) -> int:
        """Send text (as UTF-8) or bytes; returns how many bytes that were.

        Raises:
            pexpect.EOF: The program has ended.
            pexpect.TIMEOUT: It does not take the bytes.
            ChannelInUse: The channel is lent.
        """
        data = s.encode("utf-8", "surrogateescape") if isinstance(s, str) else bytes(s)
        self._check_mine()
        self._log(data, "send")
        self._write(data)
        return len(data)

    def send_secret(self, secret: Secret) -> None:
        """Send a secret and a newline; the log of what was sent shows a mask."""
        self._check_mine()
        self._log(_SECRET_IN_LOG, "send")
        self._write(secret.value.encode("utf-8") + b"\n")

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        deadline = self._deadline(self.timeout)
        try:
            while view:
                written = self.channel.write(view)
                view = view[written:]
                if view and not written:
                    self._wait_to_write(deadline)
                if self.flag_eof and view:
                    raise pexpect.EOF(f"{self.name} has ended")
        except BrokenPipeError as error:
            raise pexpect.EOF(f"{self.name} has ended") from error

    def _wait_to_write(self, deadline: Deadline) -> None:
        """Wait until more can be written; reads meanwhile, since the program may wait for us to read."""
        if not self._wait(select.POLLIN | select.POLLOUT, deadline):
            raise pexpect.TIMEOUT(f"{self.name} does not take what is sent to it")
        self._ahead += self._read_once(READ_SIZE) or b""

    def sendline(self, s: str | bytes = "") -> int:
        """Send a line; see `send`."""
        data = s.encode("utf-8", "surrogateescape") if isinstance(s, str) else bytes(s)
        return self.send(data + b"\n")

    def write(self, s: str | bytes) -> None:
        """As `send`, without a result."""
        self.send(s)

    def writelines(self, sequence: Sequence[str | bytes]) -> None:
        """Send each of the texts."""
        for text in sequence:
            self.send(text)

    def sendcontrol(self, char: str) -> int:
        """Send a control character: ``sendcontrol("c")`` is Ctrl-C."""
        return self.send(bytes([ord(char.upper()) ^ 0x40]))

    def sendintr(self) -> None:
        """Send Ctrl-C."""
        self.sendcontrol("c")

    def sendeof(self) -> None:
        """Send Ctrl-D."""
        self.sendcontrol("d")

    # Life

    def fileno(self) -> int:
        """The channel's descriptor."""
        return self.channel.fileno()

    @property
    def returncode(self) -> int | None:
        """Exit status of the program behind the channel where that is known."""
        code: int | None = getattr(self.channel, "returncode", None)
        return code

    def end_status(self) -> int | None:
        """Exit status of a program whose end was seen on the channel, which may come a moment after that end."""
        wait = getattr(self.channel, "wait", None)
        status: int | None = self.returncode if self.closed or wait is None else wait(STATUS_PATIENCE)
        return status

    def isalive(self) -> bool:
        """Whether the program is there: not closed, not ended, no end seen on the channel."""
        if self.closed or self.channel.closed:
            return False
        if self._lent_to is None and not self.flag_eof:
            self._ahead += self._read_once(READ_SIZE) or b""
        return not self.flag_eof and self.returncode is None

    def setwinsize(self, rows: int, cols: int) -> None:
        """Set the terminal's size in characters, where the channel has one."""
        self.channel.resize(cols, rows)

    def hang_up(self) -> None:
        """End the program, from any thread, where the channel can; who reads sees its end, who owns this closes it."""
        end = getattr(self.channel, "hang_up", None)
        if end is not None:
            end()

    def close(self, force: bool = True) -> None:  # noqa: ARG002 - pexpect's signature; a channel is always closed
        """Close the channel and all side channels; ends the program."""
        self.closed = True
        self.terminated = True
        self.channel.close()
        for side in self._sides:
            side.close()
        self._sides.clear()
        on_close, self._on_close = self._on_close, None
        if on_close is not None:
            on_close()
        for log in (self.logfile_read, self.logfile_send):
            if log is not None:
                log.close()
        self.logfile_read = self.logfile_send = None

    def tail(self, size: int = 2000) -> str:
        """The end of what was seen last, as redacted text, for errors."""
        seen = self._before.getvalue() or (self.before if isinstance(self.before, bytes) else b"")
        return redact(bytes(seen + self._ahead)[-size:].decode("utf-8", "backslashreplace"))

    def __repr__(self) -> str:
        # Also pexpect's own constructor asks for it, before there is anything to say.
        return f"<{type(self).__name__} {getattr(self, 'name', '')}>"

    def __str__(self) -> str:
        # pexpect puts this into its exceptions: a short redacted tail, never the raw buffers.
        return f"{self!r}, last seen: {self.tail(200)!r}"
