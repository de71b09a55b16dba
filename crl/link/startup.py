"""Starts the remote program in a shell: one line, one token that proves a raw terminal, then the program.

It knows the POSIX shell's syntax and nothing of particular shells. It promises that nothing is written to the target's
disk, that no secret stands in an argument list, and that a failure names what was missing.
"""

from __future__ import annotations

import re
import secrets
import select
import time
from collections.abc import Iterator
from dataclasses import dataclass

from crl.channels.base import Channel
from crl.deadlines import Deadline
from crl.link._armoured import put_armour_on
from crl.link._marks import Mark
from crl.link.errors import LinkStartError, ProgramGone, PythonNotFound, PythonTooOld
from crl.link.lane import Lane, LaneKind
from crl.link.program import LINE, MAGIC, encoded_front, encoded_program
from crl.link.remote import front, tiny
from crl.link.startline import INTERPRETERS, end_mark, first_mark, start_line
from crl.link.wire import frames, sending
from crl.link.wire.session import Session

__all__ = ["Attached", "Started", "attach_program", "dialogue_seconds", "start_program"]

EPOCH = 1
TRANSCRIPT_SIZE = 4000
# Lanes that need armour may be slow, and what stands in their buffers cannot be overtaken; it grows where they are not.
ARMOURED_WINDOW = 8 * 1024
SLOW_WINDOW = 2 * 1024
# What the dialogue takes beside the program.
DIALOGUE_SIZE = 8 * 1024
# A shell that is heard within so many seconds is so near that more bytes cost less than to compile fewer.
NEAR = 0.04
# Token, version and byte code of an interpreter.
ANNOUNCED = re.compile(rb"([0-9a-f]{16}):(\d+)\.(\d+):([0-9a-f]*);")


@dataclass(frozen=True)
class Started:
    """A remote program that has greeted.

    Attributes:
        channel: The bytes of the frames.
        session: The session, which has taken all bytes read so far.
        hello: The encoded facts of the greeting.
        messages: Messages that came with the greeting.
        end_mark: What the shell prints before a status and ``;`` when the program does not end in order.
    """

    channel: Channel
    session: Session
    hello: bytes
    messages: tuple[bytes, ...]
    end_mark: bytes


def start_program(lane: Lane, config: dict[str, object], python: str | None, deadline: Deadline) -> Started:
    """Start the remote program on a lane.

    Args:
        lane: The terminal with an idle shell.
        config: Settings for the remote program.
        python: The interpreter to use, by name or path; None tries the usual names.
        deadline: When to give up; a lane that says that it is slow gets the time for the program itself besides.

    Raises:
        PythonNotFound: None of the interpreters is there.
        PythonTooOld: There is one, and it is older than 2.7 or 3.6.
        LinkStartError: Something else went wrong; the error has the tail of what was seen.
    """
    conversation = _Conversation(lane, deadline)
    token = _begin(lane, (python,) if python else INTERPRETERS)
    # While the interpreter starts.
    window = _window(lane)
    frame = sending.ARMOURED_FRAME if lane.kind.armour else sending.FRAME_LIMIT
    way = {"armour": lane.kind.armour, "window": window, "frame": frame}
    settings = {**config, "epoch": EPOCH, "mark": end_mark(token).decode(), **way}
    armoured = bool(lane.kind.armour)
    compiled = not armoured and conversation.is_near(token)
    program = encoded_program(settings, armoured=armoured, compiled=compiled, line=_line(lane))
    conversation.deadline = _later(deadline, lane, len(program))
    if _await_interpreter(conversation, token, python) != MAGIC and compiled:
        program = encoded_program(settings, line=_line(lane))
    conversation.write(program)
    conversation.put_armour_on()
    session = Session(EPOCH, window, frame, clock=time.monotonic)
    messages = session.receive(conversation.take())
    while session.hello is None:
        messages.extend(session.receive(conversation.read()))
        seen = session.decoder.noise + session.decoder.rest()
        conversation.part(token, seen)
        _check_ended(conversation, token, seen, [], python)
    return Started(conversation.channel, session, session.hello, tuple(messages), end_mark(token))


@dataclass(frozen=True)
class Attached:
    """A fresh terminal that a running remote program has taken.

    Attributes:
        channel: The bytes of the frames.
        data: What was read from it, with the program's greeting.
        end_mark: As of `Started`.
    """

    channel: Channel
    data: bytes
    end_mark: bytes


def attach_program(
    lane: Lane, door: str, line: str, epoch: int, interpreters: tuple[str, ...], deadline: Deadline
) -> Attached:
    """Hand a fresh lane to a remote program that runs already.

    Args:
        lane: The terminal with an idle shell.
        door: Name of the program's abstract socket.
        line: What opens it; see `front.attach`.
        epoch: Number of the new attachment, in the program's greeting.
        interpreters: The interpreters to try, in order.
        deadline: When to give up.

    Raises:
        ProgramGone: There is no such program any more.
        LinkStartError: It could not be asked, or does not answer.
    """
    conversation = _Conversation(lane, deadline)
    token = _begin(lane, interpreters)
    _await_interpreter(conversation, token, None)
    mark = end_mark(token).decode()
    conversation.write(encoded_front(door, line, mark, lane.kind.armour, line=_line(lane)))
    conversation.put_armour_on()
    decoder = frames.Decoder()
    data = b""
    arrived = conversation.take()
    while True:
        data += arrived
        if any(frame.kind == frames.HELLO and frame.epoch == epoch for frame in decoder.feed(arrived)):
            return Attached(conversation.channel, data, end_mark(token))
        seen = decoder.noise + decoder.rest()
        conversation.part(token, seen)
        _check_front(conversation, token, seen)
        arrived = conversation.read()


def _line(lane: Lane) -> int:
    """How long the lines of the program may be."""
    return lane.kind.columns if lane.kind.printable else LINE


def _later(deadline: Deadline, lane: Lane, size: int) -> Deadline:
    """The deadline, and the time that a slow lane takes for so many bytes."""
    left = deadline.remaining()
    if left is None or not lane.kind.rate:
        return deadline
    return Deadline.after(left + size / lane.kind.rate + dialogue_seconds(lane.kind))


def dialogue_seconds(kind: LaneKind) -> float:
    """What a slow lane takes for a login, the start line, and the little program that hands a terminal over."""
    return DIALOGUE_SIZE / kind.rate if kind.rate else 0.0


def _window(lane: Lane) -> int:
    """How much may be under way at first."""
    if not lane.kind.armour:
        return sending.WINDOW
    return max(SLOW_WINDOW, min(ARMOURED_WINDOW, 2 * lane.kind.rate or ARMOURED_WINDOW))


def _check_front(conversation: _Conversation, token: str, seen: bytes) -> None:
    """Raise when the front has ended: the program did not take the terminal."""
    ended = conversation.mark(token).status(seen)
    if ended is None:
        return
    status, after = ended
    if status == front.GONE:
        conversation.lane.give_back(after)
        raise ProgramGone(
            "the terminal has ended, and so has the remote program: it was killed, its host was restarted, its login "
            "session was ended with all that ran in it (KillUserProcesses), or it has waited for too long",
            host=conversation.lane.host,
            doing="resuming a link",
            advice="open a new session; what was done on the target until the end is not known",
        )
    reasons = {
        front.FOREIGN: "another user's program answers in its place",
        front.IMPOSSIBLE: "the interpreter there cannot hand its terminal over",
    }
    what = reasons.get(status, "the remote program refused the terminal")
    raise LinkStartError(f"{what} (status {status})", host=conversation.lane.host, doing="resuming a link")


def _begin(lane: Lane, interpreters: tuple[str, ...]) -> str:
    """Type the start line, unless one was begun with the shell; its token."""
    if lane.ahead is not None:
        return lane.ahead.token
    token = secrets.token_hex(8)
    # Where no CR is ours it may be an LF that the lane has changed.
    restore_cr = lane.kind.printable or b"\r" in lane.kind.forbidden
    _type(lane, start_line(token, interpreters, restore_cr=restore_cr))
    return token


def _type(lane: Lane, line: str) -> None:
    """Type the start line, in short ones where the lane may break long ones."""
    if not lane.kind.printable:
        lane.send_line(line)
        return
    # Each line is a command: not every shell goes on with one that is not complete.
    room = max(1, lane.kind.columns - len("crl_l=$crl_l''"))
    for piece in _quoted_pieces(line, room):
        lane.send_line(f"crl_l=$crl_l'{piece}'")
    lane.send_line('crl_t=$crl_l; crl_l=; eval "$crl_t"; unset crl_l crl_t')


def _quoted_pieces(text: str, room: int) -> Iterator[str]:
    """A text in pieces that may stand between single quotes."""
    piece = ""
    for character in text:
        typed = "'\\''" if character == "'" else character
        if piece and len(piece) + len(typed) > room:
            yield piece
            piece = ""
        piece += typed
    yield piece


class _Conversation:
    """Reading and writing on the lane while there are no frames yet."""

    def __init__(self, lane: Lane, deadline: Deadline) -> None:
        self.lane = lane
        self.channel: Channel = lane.channel
        self.deadline = deadline
        self.seen = b""
        self.pending = lane.read_pending()
        self.parted = False

    def read(self) -> bytes:
        """The next bytes; raises at the end of the channel or of the time."""
        poller = select.poll()
        poller.register(self.channel.fileno(), select.POLLIN)
        while True:
            if not poller.poll(self.deadline.poll_ms()):
                raise self.failure("the interpreter did not answer in time", LinkStartError)
            try:
                data = self.channel.read()
            except BlockingIOError:
                continue
            self.seen = (self.seen + data)[-TRANSCRIPT_SIZE:]
            if not data:
                raise self.failure("the terminal was closed", LinkStartError)
            return data

    def take(self) -> bytes:
        """The bytes that were read and not used."""
        pending, self.pending = self.pending, b""
        return pending

    def is_near(self, token: str) -> bool:
        """Whether the shell is heard so soon; what it says is kept."""
        if self.lane.trip is not None:
            return self.lane.trip < NEAR
        limit = self.deadline.sooner(NEAR)
        poller = select.poll()
        poller.register(self.channel.fileno(), select.POLLIN)
        while first_mark(token) not in self.pending and not limit.expired and poller.poll(limit.poll_ms()):
            self.pending += self.read()
        return first_mark(token) in self.pending

    def put_armour_on(self) -> None:
        """From now on the other end sends frames, as the lane needs them."""
        self.channel, self.pending = put_armour_on(self.channel, self.lane.kind, self.pending)

    def write(self, data: bytes) -> None:
        """Write all of `data` as it is, keeping what arrives meanwhile."""
        view = memoryview(data)
        poller = select.poll()
        poller.register(self.channel.fileno(), select.POLLIN | select.POLLOUT)
        while view:
            ready = poller.poll(self.deadline.poll_ms())
            if not ready:
                raise self.failure("the program was not taken in time", LinkStartError)
            if ready[0][1] & ~select.POLLOUT:
                self.pending += self.read()
            if ready[0][1] & select.POLLOUT:
                try:
                    view = view[self.lane.channel.write(view) :]
                except BrokenPipeError:
                    raise self.failure("the terminal was closed", LinkStartError) from None

    def mark(self, token: str) -> Mark:
        """What the end of the start line is told by."""
        return Mark(end_mark(token), broken=self.lane.kind.printable)

    def part(self, token: str, seen: bytes) -> None:
        """When the program has ended, tell what waits for it in the shell that we have nothing more to say."""
        if not self.parted and self.mark(token).first(seen, tiny.DEAD) is not None:
            self.parted = True
            self.write(tiny.last_line(end_mark(token)))

    def failure(self, message: str, cls: type[LinkStartError], advice: str | None = None) -> LinkStartError:
        """An error with what was seen."""
        return cls(
            message,
            host=self.lane.host,
            doing="starting the remote program",
            advice=advice,
            transcript=self.seen.decode("utf-8", "replace"),
        )


def _await_interpreter(conversation: _Conversation, token: str, python: str | None) -> str:
    """Wait until an interpreter of a good version says that it reads; what byte code it takes, as `MAGIC`."""
    too_old: list[str] = []
    data = conversation.take()
    while True:
        if conversation.lane.kind.printable:
            # It may have been broken where a line was full.
            data = data.translate(None, b"\r\n")
        match = next((found for found in ANNOUNCED.finditer(data) if found.group(1) == token.encode()), None)
        if match is None:
            _check_ended(conversation, token, data, too_old, python)
            data = data[-TRANSCRIPT_SIZE:] + conversation.read()
            continue
        version = int(match.group(2)), int(match.group(3))
        data = data[match.end() :]
        if (2, 7) <= version < (3, 0) or version >= (3, 6):
            conversation.pending = data
            return match.group(4).decode()
        too_old.append(f"{version[0]}.{version[1]}")


def _check_ended(
    conversation: _Conversation, token: str, data: bytes, too_old: list[str], python: str | None
) -> None:
    """Raise when the line is over: there was no interpreter, or it ended."""
    ended = conversation.mark(token).status(data)
    if ended is None:
        return
    status, after = ended
    conversation.lane.give_back(after)
    if too_old:
        raise conversation.failure(
            f"the target's Python is too old ({', '.join(too_old)}); 2.7, or 3.6 and later will do",
            PythonTooOld,
            "name a newer interpreter with python=",
        )
    if status in (126, 127):
        raise conversation.failure(
            f"no Python interpreter was found (looked for {python or ', '.join(INTERPRETERS)})",
            PythonNotFound,
            "install python3 on the target or name an interpreter with python=",
        )
    raise conversation.failure(f"the interpreter ended with status {status}", LinkStartError)
