"""The tests that every channel passes, for people who write their own.

Derive a test class from `ChannelConformance`, say in `make_channel` how your channel starts a program, and run it with
pytest. The programs are small Python scripts; they put their terminal into raw mode where they have one. Each test is
bounded in time and needs nothing but the standard library.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import select
import sys
import threading
from collections.abc import Callable, Sequence
from typing import Final

from crl.channels.base import Channel, ChannelClosed
from crl.deadlines import Deadline

__all__ = ["ECHO", "READY", "ChannelConformance", "read_exactly", "read_to_end", "write_all"]

READY: Final = b"<ready>"
PATIENCE: Final = 20.0

_RAW: Final = """
import os, sys
try:
    import termios, tty
    if os.isatty(0): tty.setraw(0)
except ImportError: pass
def put(data):
    view = memoryview(data)
    while view: view = view[os.write(1, view):]
put(b'<ready>')
"""
#: A program that answers every byte by the same byte, until its input ends.
ECHO: Final = _RAW + "for data in iter(lambda: os.read(0, 65536), b''): put(data)\n"
_FLOOD: Final = _RAW + "put(bytes(range(256)) * 4096); os.read(0, 1)\n"
_COUNT: Final = _RAW + """
import time, hashlib
left, digest = 1 << 20, hashlib.sha256()
time.sleep(0.3)
while left:
    data = os.read(0, min(left, 65536)); digest.update(data); left -= len(data)
put(digest.hexdigest().encode())
"""
_DIE: Final = _RAW + "put(b'bye'); os.kill(os.getpid(), 9)\n"
_STUBBORN: Final = (
    _RAW.replace("put(b'<ready>')", "")
    + "import signal, time\nfor s in (1, 2, 3, 13, 15): signal.signal(s, signal.SIG_IGN)\n"
    # Longer than any close may take, and no longer: nobody can end it where the channel's end is not its own.
    + "put(b'<ready>%d;' % os.getpid())\ntime.sleep(30)\n"
)


class ChannelConformance:
    """A base class for the tests of one kind of channel.

    Override `make_channel`; override `peer_is_local` when the programs run on another machine or outside this process
    table. What `make_channel` needs besides (a connection, say) has to be there before the first test: descriptors and
    threads are counted within each test.
    """

    python: str = sys.executable
    peer_is_local: bool = True

    def make_channel(self, argv: Sequence[str]) -> Channel:
        """Start a program and give the channel to it."""
        raise TypeError(f"{type(self).__name__} has to define make_channel, to start {argv!r}")

    def start(self, program: str) -> Channel:
        """Start one of the Python programs, and wait until its terminal is raw."""
        channel = self.make_channel([self.python, "-S", "-c", program])
        try:
            seen = read_exactly(channel, len(READY))
            assert seen == READY, f"the program did not start: {seen!r}"
        except BaseException:
            channel.close()
            raise
        return channel

    def test_it_is_a_channel(self) -> None:
        """It has all that `Channel` has, a name, and a descriptor that does not block."""
        with _closing(self.start(ECHO)) as channel:
            assert isinstance(channel, Channel)
            assert channel.name
            assert not channel.closed
            assert not os.get_blocking(channel.fileno())
            channel.resize(100, 40)

    def test_every_byte_value_comes_back_unchanged(self) -> None:
        """All 256 values, and sequences that terminals and ssh take for their own."""
        data = bytes(range(256)) * 3 + b"\r~.\r~?\n~~\x1d\x03\x04\x1a\x11\x13\x1c\x16\xff\xff\xfe\x00"
        with _closing(self.start(ECHO)) as channel:
            write_all(channel, data)
            assert read_exactly(channel, len(data)) == data

    def test_a_byte_at_a_time(self) -> None:
        """Single bytes written and read are as good as many."""
        with _closing(self.start(ECHO)) as channel:
            for value in range(0, 256, 5):
                write_all(channel, bytes([value]))
                assert read_exactly(channel, 1, size=1) == bytes([value])

    def test_reading_nothing_raises_and_does_not_block(self) -> None:
        """An idle peer makes `read` raise BlockingIOError, and the descriptor is not ready."""
        with _closing(self.start(ECHO)) as channel:
            assert not _ready(channel, select.POLLIN, 0.05)
            _assert_raises(BlockingIOError, channel.read)

    def test_the_descriptor_tells_when_something_can_be_done(self) -> None:
        """It is writable at rest, and readable once the peer has answered."""
        with _closing(self.start(ECHO)) as channel:
            assert _ready(channel, select.POLLOUT, PATIENCE)
            write_all(channel, b"x")
            assert _ready(channel, select.POLLIN, PATIENCE)
            assert channel.read() == b"x"

    def test_a_mebibyte_is_written_while_nobody_reads_at_first(self) -> None:
        """Writes are partial, never blocking, and 0 when the buffers are full; nothing is lost."""
        data = os.urandom(1 << 20)
        with _closing(self.start(_COUNT)) as channel:
            taken = _write_until_full(channel, memoryview(data))
            write_all(channel, memoryview(data)[taken:])
            assert read_exactly(channel, 64) == hashlib.sha256(data).hexdigest().encode()

    def test_a_mebibyte_is_read_late(self) -> None:
        """A peer that writes more than the buffers hold waits for us; nothing is lost."""
        with _closing(self.start(_FLOOD)) as channel:
            assert _ready(channel, select.POLLIN, PATIENCE)
            assert read_exactly(channel, 1 << 20) == bytes(range(256)) * 4096

    def test_the_end_of_the_peer_is_an_empty_read(self) -> None:
        """What the peer wrote before its end is read first, and the end stays."""
        with _closing(self.start(_DIE)) as channel:
            assert read_to_end(channel) == b"bye"
            assert channel.read() == b""
            assert not channel.closed

    def test_writing_to_an_ended_peer_is_a_broken_pipe(self) -> None:
        """Sooner or later `write` raises BrokenPipeError; it never blocks nor raises anything else."""
        with _closing(self.start(_DIE)) as channel:
            read_to_end(channel)
            _assert_raises(BrokenPipeError, lambda: _write_for_ever(channel))

    def test_using_a_closed_channel_is_refused(self) -> None:
        """Everything but `close`, `closed` and `name` raises ChannelClosed."""
        channel = self.start(ECHO)
        channel.close()
        channel.close()
        assert channel.closed
        assert channel.name
        uses: list[Callable[[], object]] = [channel.fileno, channel.read, lambda: channel.write(b"x")]
        for use in [*uses, lambda: channel.resize(80, 24)]:
            _assert_raises(ChannelClosed, use)

    def test_a_close_beside_reads_and_writes_is_a_closed_channel_to_them(self) -> None:
        """Whoever reads or writes while another thread closes sees the end or ChannelClosed, and no other failure."""
        for _ in range(3):
            channel, wrong = self.start(ECHO), list[Exception]()
            busy = threading.Barrier(3)
            uses = (lambda channel=channel: channel.write(b"x"), lambda channel=channel: channel.read(1))
            threads = [threading.Thread(target=_use_until_closed, args=(use, busy, wrong)) for use in uses]
            for thread in threads:
                thread.start()
            busy.wait(PATIENCE)
            channel.close()
            for thread in threads:
                thread.join(PATIENCE)
                assert not thread.is_alive()
            assert not wrong, wrong

    def test_close_leaves_nothing_behind(self) -> None:
        """Neither a descriptor nor a thread stays; both are counted around a whole life."""
        self.start(ECHO).close()
        before = _inventory()
        for _ in range(3):
            self.start(ECHO).close()
        # What others had left may go meanwhile.
        _assert_soon(
            lambda: all(now <= then for now, then in zip(_inventory(), before, strict=True)),
            "a descriptor or thread was left behind",
        )

    def test_close_is_quick_and_ends_a_stubborn_program(self) -> None:
        """A program that ignores every signal that can be ignored is gone after a close, which does not wait for it."""
        channel = self.start(_STUBBORN)
        try:
            number = b""
            while not number.endswith(b";"):
                number += read_exactly(channel, 1)
            limit = Deadline.after(PATIENCE)
        finally:
            channel.close()
        assert not limit.expired
        if self.peer_is_local:
            assert not os.path.exists(f"/proc/{int(number[:-1])}")


class _closing:  # noqa: N801 - it is used as a statement
    """Close a channel at the end of a block."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    def __enter__(self) -> Channel:
        return self._channel

    def __exit__(self, *_: object) -> None:
        self._channel.close()


def read_exactly(channel: Channel, count: int, *, size: int = 65536) -> bytes:
    """Read that many bytes, in reads of at most `size`, or fewer at the end of the peer; TimeoutError after 20 s."""
    deadline = Deadline.after(PATIENCE)
    result = bytearray()
    while len(result) < count:
        _wait(channel, select.POLLIN, deadline)
        try:
            data = channel.read(min(size, count - len(result)))
        except BlockingIOError:
            continue
        if not data:
            break
        result += data
    return bytes(result)


def read_to_end(channel: Channel) -> bytes:
    """Read until the peer's end; TimeoutError after 20 s."""
    return read_exactly(channel, sys.maxsize)


def write_all(channel: Channel, data: bytes | memoryview) -> None:
    """Write everything, waiting where the channel takes nothing; TimeoutError after 20 s."""
    deadline = Deadline.after(PATIENCE)
    rest = memoryview(data)
    while rest:
        taken = channel.write(rest)
        rest = rest[taken:]
        if not taken:
            _wait(channel, select.POLLOUT, deadline)


def _ready(channel: Channel, events: int, seconds: float) -> bool:
    poll = select.poll()
    poll.register(channel.fileno(), events)
    return bool(poll.poll(seconds * 1000))


def _wait(channel: Channel, events: int, deadline: Deadline) -> None:
    poll = select.poll()
    poll.register(channel.fileno(), events)
    if not poll.poll(deadline.poll_ms()):
        raise TimeoutError(f"{channel.name} was not ready in time")


def _write_until_full(channel: Channel, data: memoryview) -> int:
    """Write as long as something is taken, without waiting; how much that was."""
    taken = 0
    while taken < len(data):
        count = channel.write(data[taken:])
        assert 0 <= count <= len(data) - taken
        if not count:
            break
        taken += count
    return taken


def _write_for_ever(channel: Channel) -> None:
    """Write until that fails; the buffers on the way may take a while to know."""
    deadline = Deadline.after(PATIENCE)
    while not deadline.expired:
        if not channel.write(b"x" * 65536):
            _wait(channel, select.POLLOUT, deadline)


def _assert_raises(kind: type[BaseException], call: Callable[[], object]) -> None:
    try:
        result = call()
    except kind:
        return
    raise AssertionError(f"{kind.__name__} was not raised, but {result!r} returned")


def _inventory() -> tuple[int, int]:
    return len(os.listdir("/proc/self/fd")), threading.active_count()


def _assert_soon(condition: Callable[[], bool], text: str) -> None:
    """Assert a condition that a thread's end brings about, of which nothing can be waited for."""
    deadline = Deadline.after(PATIENCE)
    never = threading.Event()
    while not condition():
        assert not deadline.expired, text
        never.wait(0.01)


def _use_until_closed(use: Callable[[], object], busy: threading.Barrier, wrong: list[Exception]) -> None:
    deadline = Deadline.after(PATIENCE)
    try:
        for _ in range(20):
            _try(use)
        busy.wait(PATIENCE)
        while not deadline.expired:
            _try(use)
    except (ChannelClosed, BrokenPipeError):
        return
    except Exception as error:  # noqa: BLE001 - told by the thread that asked
        wrong.append(error)
    else:
        wrong.append(TimeoutError("a closed channel goes on"))


def _try(use: Callable[[], object]) -> None:
    with contextlib.suppress(BlockingIOError):  # nothing is there yet
        use()
