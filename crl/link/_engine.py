"""The engine of one link: moves frames between a channel and a session, with as few threads as possible.

A thread that waits for an answer reads for itself; where several wait, one reads for all; where nobody waits, the
process's I/O thread does. Nobody ever blocks in a write. The engine knows messages only as bytes and hands each to its
owner exactly once, whatever exception interrupts the reading thread.
"""

from __future__ import annotations

import os
import select
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from crl.channels.base import Channel, ChannelClosed
from crl.deadlines import Deadline
from crl.link._driver import driver
from crl.link.errors import LinkError, LinkLost, ProtocolViolation
from crl.link.wire.errors import ProtocolError
from crl.link.wire.session import Session

__all__ = ["HEARTBEAT", "SILENCE_LIMIT", "Engine", "Waiter"]

HEARTBEAT: Final = 5.0 / 3
SUSPECT_AFTER: Final = 5.0
SILENCE_LIMIT: Final = 30.0
POLL_SLICE: Final = 0.5


class Waiter:
    """Something that a thread can wait for with `Engine.wait`."""

    __slots__ = ("_bell", "done")

    def __init__(self) -> None:
        self.done = False
        self._bell: threading.Lock | None = None

    def finish(self) -> None:
        """Mark as done and wake who waits."""
        self.done = True
        self.ring()

    def ring(self) -> None:
        """Wake the waiting thread, if one sleeps, to look again."""
        bell = self._bell
        if bell is not None:
            try:
                bell.release()
            except RuntimeError:
                # It has been rung already and has not looked yet: one waking is enough.
                return

    def sleep(self, seconds: float | None) -> None:
        """Wait until somebody rings."""
        assert self._bell is not None
        self._bell.acquire(timeout=-1 if seconds is None else seconds)

    def prepare_to_sleep(self) -> None:
        """Make the bell, before the last look at `done`."""
        if self._bell is None:
            bell = threading.Lock()
            bell.acquire()
            self._bell = bell


class Engine:
    """Frames of one session over one channel.

    Args:
        channel: The bytes; borrowed.
        session: The session, which may have taken bytes already.
        host: The target's name for errors.
        on_message: Called with each message, in the reading thread; it must be quick and must not raise.
        on_lost: Called once, with the reason, when the link is lost or closed.
    """

    def __init__(
        self,
        channel: Channel,
        session: Session,
        host: str,
        on_message: Callable[[bytes], None],
        on_lost: Callable[[LinkError], None],
    ) -> None:
        self.session = session
        self.host = host
        self.lost: LinkError | None = None
        self.busy_streams = 0
        self.last_heard = time.monotonic()
        self._channel = channel
        self._on_message = on_message
        self._on_lost = on_lost
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._reading = threading.Lock()
        self._writing = threading.Lock()
        self._write_again = False
        self._unsent: deque[memoryview] = deque()
        self._inbox: deque[bytes] = deque()
        self._followers: deque[Waiter] = deque()
        self._in = channel.fileno()
        # A second descriptor of the same channel, so that reading and writing are armed apart.
        self._out = os.dup(self._in)
        self._poll = select.poll()
        self._poll.register(self._in, select.POLLIN)
        self._pings = 0
        driver.add(self._in, self._on_readable, select.EPOLLIN)
        driver.add(self._out, self._on_writable, 0)
        driver.call_later(HEARTBEAT, self._heartbeat)

    # -- sending -----------------------------------------------------------------------------------------------------

    def send(self, message: bytes, order: int | None = None) -> None:
        """Queue a message and write what can be written now; see `Session.post` for the order.

        Raises:
            LinkLost: The link is gone; the message was not sent.
        """
        self.check()
        with self._lock:
            self.session.post(message, order)
        self.flush()

    def check(self) -> None:
        """Raise unless the link can be used here and now."""
        if self.lost is not None:
            raise _again(self.lost)
        if os.getpid() != self._pid:
            raise LinkError(
                "this link belongs to the parent process",
                host=self.host,
                doing="using a link in a forked process",
                advice="open a link of its own in the child",
            )

    def flush(self) -> None:
        """Write what may be written, without ever blocking; the I/O thread writes the rest."""
        while True:
            self._write_again = True
            if not self._writing.acquire(blocking=False):
                return
            try:
                while self._write_again:
                    self._write_again = False
                    self._write()
            finally:
                self._writing.release()
            if not self._write_again:
                return

    def _write(self) -> None:
        unsent = self._unsent
        while True:
            if not unsent:
                with self._lock:
                    unsent.extend(map(memoryview, self.session.outgoing()))
                if not unsent:
                    return
            try:
                count = self._channel.write(unsent[0])
            except (BrokenPipeError, ChannelClosed):
                # The reading side sees the end as well and has the better words for it.
                driver.arm(self._in, select.EPOLLIN)
                return
            if count == len(unsent[0]):
                unsent.popleft()
            else:
                unsent[0] = unsent[0][count:]
                driver.arm(self._out, select.EPOLLOUT)
                return

    # -- receiving -----------------------------------------------------------------------------------------------------

    def wait(self, waiter: Waiter, deadline: Deadline) -> bool:
        """Wait until `waiter` is done, reading for all when nobody else reads.

        Returns:
            Whether it is done; False when the deadline came first.
        """
        while not waiter.done:
            if self._reading.acquire(blocking=False):
                try:
                    if not self._read_until(waiter, deadline):
                        return waiter.done
                finally:
                    self._pass_reading_on()
            elif not self._follow(waiter, deadline):
                return waiter.done
        return True

    def _read_until(self, waiter: Waiter, deadline: Deadline) -> bool:
        """Read as the one reader; False when the deadline comes first."""
        while not waiter.done:
            self._drain_inbox()
            if waiter.done or self.lost is not None:
                return waiter.done
            # In slices: the I/O thread may give the link up while we wait.
            if not self._poll.poll(deadline.sooner(POLL_SLICE).poll_ms()):
                if deadline.expired:
                    return False
                continue
            self._read_once()
        return True

    def _follow(self, waiter: Waiter, deadline: Deadline) -> bool:
        """Sleep while another thread reads; False when the deadline comes first."""
        waiter.prepare_to_sleep()
        self._followers.append(waiter)
        try:
            # The reader may have stopped, or finished us, before we stood in the queue.
            if waiter.done or not self._reading.locked():
                return True
            waiter.sleep(deadline.remaining())
            return waiter.done or not deadline.expired
        finally:
            try:
                self._followers.remove(waiter)
            except ValueError:
                # Whoever stopped reading took us out to let us read: somebody else has to, if we do not.
                if waiter.done or deadline.expired:
                    self._wake_follower()

    def _pass_reading_on(self) -> None:
        self._reading.release()
        self._wake_follower()
        if self.busy_streams:
            driver.arm(self._in, select.EPOLLIN)

    def _wake_follower(self) -> None:
        try:
            follower = self._followers.popleft()
        except IndexError:
            return
        follower.ring()

    def _drain_inbox(self) -> None:
        """Hand out messages; each stays in the inbox until it is handed out, whatever interrupts us."""
        inbox = self._inbox
        while inbox:
            self._on_message(inbox[0])
            inbox.popleft()

    def _read_once(self) -> None:
        try:
            data = self._channel.read()
        except BlockingIOError:
            return
        except (ChannelClosed, OSError) as error:
            self.give_up(LinkLost(f"the terminal failed: {error}", host=self.host, doing="reading from the target"))
            return
        if not data:
            self.give_up(self._ended())
            return
        self.last_heard = time.monotonic()
        try:
            with self._lock:
                self._inbox.extend(self.session.receive(data))
        except ProtocolError as error:
            self.give_up(self._violation(error))
            return
        self._drain_inbox()
        self.flush()

    def _ended(self) -> LinkLost:
        noise = self.session.decoder.noise.decode("utf-8", "replace")
        return LinkLost(
            "the connection to the target has ended", host=self.host, doing="talking to the target", transcript=noise
        )

    def _violation(self, error: ProtocolError) -> ProtocolViolation:
        return ProtocolViolation(
            str(error),
            host=self.host,
            doing="reading what the target sent",
            advice="do not trust this target: it breaks the protocol on purpose or runs another program",
        )

    def _on_readable(self, _events: int) -> None:
        """The I/O thread: read, unless a caller is at it."""
        if not self._reading.acquire(blocking=False):
            driver.arm_soon(self._in)
            return
        try:
            if self.lost is None:
                self._read_once()
        finally:
            self._reading.release()
            self._wake_follower()
        if self.lost is None:
            driver.arm(self._in, select.EPOLLIN)

    def _on_writable(self, _events: int) -> None:
        self.flush()

    # -- life ------------------------------------------------------------------------------------------------------------

    @property
    def silent_for(self) -> float:
        """Seconds since the target gave a sign of life."""
        return time.monotonic() - self.last_heard

    def _heartbeat(self) -> float | None:
        if self.lost is not None:
            return None
        if self.silent_for > SILENCE_LIMIT:
            self.give_up(
                LinkLost(
                    f"the target has been silent for {self.silent_for:.0f} s",
                    host=self.host,
                    doing="waiting for a sign of life",
                    advice="look whether the host or its network is down, or its remote program is stopped",
                )
            )
            return None
        with self._lock:
            self._pings += 1
            self.session.ping(self._pings)
        self.flush()
        return HEARTBEAT

    def close(self, deadline: Deadline, give_back: Callable[[bytes], None]) -> bool:
        """Wait for the target's BYE and hand back the bytes behind it; False when none came in time."""
        with self._reading_role(deadline) as reading:
            while reading and not self.session.ended and self.lost is None and not deadline.expired:
                if self._poll.poll(deadline.sooner(POLL_SLICE).poll_ms()):
                    self._read_once()
            orderly = self.session.ended and self.lost is None
            rest = self.session.decoder.rest() if orderly else b""
            self.give_up(
                LinkLost("the link was closed", host=self.host, doing="using a link")
                if orderly
                else LinkLost("the remote program did not end in time", host=self.host, doing="closing the link")
            )
        if orderly:
            give_back(rest)
        return orderly

    @contextmanager
    def _reading_role(self, deadline: Deadline) -> Iterator[bool]:
        """Be the one reader; False where another thread keeps the role until the deadline."""
        left = deadline.remaining()
        acquired = self._reading.acquire(timeout=-1 if left is None else left)
        try:
            yield acquired
        finally:
            if acquired:
                self._reading.release()
                self._wake_follower()

    def give_up(self, reason: LinkError) -> None:
        """The link is over: tell the owner, wake everybody, serve the descriptors no more."""
        with self._lock:
            if self.lost is not None:
                return
            self.lost = reason
        driver.remove(self._in)
        driver.remove(self._out)
        os.close(self._out)
        self._on_lost(reason)
        while self._followers:
            self._wake_follower()


def _again(error: LinkError) -> LinkError:
    """A fresh copy of the reason, so that each raise has its own traceback."""
    return type(error)(
        error.message,
        host=error.host,
        hop=error.hop,
        doing=error.doing,
        advice=error.advice,
        transcript=error.transcript,
    )
