"""The engine of one link: moves frames between a channel and a session, with as few threads as possible.

A thread that waits for an answer reads for itself; where several wait, one reads for all; where nobody waits, the
process's I/O thread does. Nobody ever blocks in a write. The engine knows messages only as bytes and hands each to its
owner exactly once, whatever exception interrupts the reading thread.
"""

from __future__ import annotations

import math
import os
import re
import select
import signal
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Final

from crl.channels.base import Channel, ChannelClosed
from crl.deadlines import Deadline
from crl.link._driver import driver
from crl.link.errors import LinkError, LinkLost, ProtocolViolation
from crl.link.wire import messages
from crl.link.wire.errors import ProtocolError
from crl.link.wire.session import Session

__all__ = ["HEARTBEAT", "SILENCE_LIMIT", "Engine", "Waiter"]

HEARTBEAT: Final = 5.0 / 3
SUSPECT_AFTER: Final = 5.0
SILENCE_LIMIT: Final = 30.0
POLL_SLICE: Final = 0.5
POLL_SLICE_MS: Final = 500
VERDICT_PATIENCE: Final = 5.0
TRANSCRIPT_SIZE: Final = 2000
SIGNAL_STATUS: Final = 128


def _cause(status: int) -> str:
    """What a status of the start line says about the remote program's end."""
    try:
        return signal.Signals(status - SIGNAL_STATUS).name
    except ValueError:
        return f"status {status}"


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
        bell = self._bell
        if bell is not None:
            bell.acquire(timeout=-1 if seconds is None else seconds)

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
        end_mark: What the shell prints before a status and ``;`` when the remote program was killed.
        on_message: Called with each message, in the reading thread, and again when it was interrupted; it must be
            quick and must not raise.
        on_lost: Called once, with the reason, when the link is lost or closed.

    Attributes:
        lost: Why the link can be used no more; None while it can.
        after: The bytes behind the end of the remote program, which are the shell's; None when it has not ended.
        busy_streams: How many connections want input to be read even when nobody waits.
        last_heard: When the target gave the last sign of life, on the monotonic clock.
    """

    def __init__(
        self,
        channel: Channel,
        session: Session,
        host: str,
        end_mark: bytes,
        on_message: Callable[[bytes], None],
        on_lost: Callable[[LinkError], None],
    ) -> None:
        self.session = session
        self.host = host
        self.lost: LinkError | None = None
        self.after: bytes | None = None
        self.busy_streams = 0
        self.last_heard = time.monotonic()
        self._end_mark = re.compile(re.escape(end_mark) + rb":(\d+);")
        self._mark = end_mark
        self._channel = channel
        self._on_message = on_message
        self._on_lost = on_lost
        self._pid = os.getpid()
        self._lock = threading.Lock()
        # Whether they are ours can be asked, so that an exception right after taking one leaves none behind.
        self._reading = threading.RLock()
        self._writing = threading.RLock()
        self._write_again = False
        self._unsent: deque[memoryview] = deque()
        self._inbox: deque[bytes] = deque()
        self._followers: deque[Waiter] = deque()
        self._heard = session.heard
        self._noise = session.decoder.noise_bytes
        self._over = Waiter()
        self._closing = False
        # Counts what callers do, so that the I/O thread can tell whether somebody is about to read for himself.
        self._activity = self._activity_seen = 0
        self._pings = self._missed = 0
        self._beat = (session.heard, time.monotonic())
        descriptor = channel.fileno()
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLIN)
        # A second descriptor of the same channel, so that reading and writing are armed apart.
        self._second = os.dup(descriptor)
        self._in = driver.add(descriptor, self._on_readable, select.EPOLLIN)
        self._out = driver.add(self._second, self._on_writable, 0)
        driver.call_later(HEARTBEAT, self._heartbeat)

    # -- sending ---------------------------------------------------------------------------------------------------

    def send(self, message: bytes, order: int | None = None) -> None:
        """Queue a message and write what can be written now; see `Session.post` for the order.

        Raises:
            LinkLost: The link is gone; the message was not sent.
            NotTransferable: It is too large.
        """
        self.check()
        self._activity += 1
        with self._lock:
            self.session.post(message, order)
        self.flush()

    def check(self) -> None:
        """Raise unless the link can be used here and now."""
        if self.lost is not None:
            raise self.lost.again()
        if self.foreign:
            raise LinkError(
                "this link belongs to the parent process",
                host=self.host,
                doing="using a link in a forked process",
                advice="open a link of its own in the child",
            )

    @property
    def foreign(self) -> bool:
        """Whether this is a forked child of the process that the link belongs to."""
        return os.getpid() != self._pid

    def flush(self) -> None:
        """Write what may be written, without ever blocking; the I/O thread writes the rest."""
        while True:
            self._write_again = True
            try:
                if not self._writing.acquire(blocking=False):
                    return
                while self._write_again:
                    self._write_again = False
                    self._write()
            finally:
                if self._writing._is_owned():  # type: ignore[attr-defined]  # noqa: SLF001
                    self._writing.release()
            if not self._write_again:
                return

    def _write(self) -> None:
        unsent = self._unsent
        while True:
            if not unsent:
                if not self.session.has_outgoing:
                    return
                with self._lock:
                    unsent.extend(map(memoryview, self.session.outgoing()))
                if not unsent:
                    return
            try:
                count = self._channel.write(unsent[0])
            except BrokenPipeError:
                # The reading side sees the end as well and has the better words for it.
                self._in.arm(select.EPOLLIN)
                return
            except ChannelClosed:
                self.give_up(self._ended("the terminal was closed under the link"))
                return
            if count == len(unsent[0]):
                unsent.popleft()
            else:
                unsent[0] = unsent[0][count:]
                self._out.arm(select.EPOLLOUT)
                # The target may have to write before it reads on.
                self._in.arm(select.EPOLLIN)
                return

    # -- receiving -------------------------------------------------------------------------------------------------

    def wait(self, waiter: Waiter, deadline: Deadline) -> bool:
        """Wait until `waiter` is done, reading for all when nobody else reads.

        Returns:
            Whether it is done; False when the deadline came first.

        Raises:
            LinkError: The link is the parent process's.
        """
        while not waiter.done:
            if self.lost is not None:
                return self._await_verdict(waiter)
            self.check()
            try:
                if self._reading.acquire(blocking=False):
                    if not self._read_until(waiter, deadline):
                        return waiter.done
                    continue
            finally:
                if self._reading._is_owned():  # type: ignore[attr-defined]  # noqa: SLF001
                    self._pass_reading_on()
            if not self._follow(waiter, deadline):
                return waiter.done
        return True

    def _read_until(self, waiter: Waiter, deadline: Deadline) -> bool:
        """Read as the one reader, until the waiter is done or the link lost; False when the deadline comes first."""
        self._drain_inbox()
        while not waiter.done and self.lost is None:
            # In slices: the I/O thread may give the link up while we wait.
            left = deadline.remaining()
            if self._poll.poll(POLL_SLICE_MS if left is None or left > POLL_SLICE else math.ceil(left * 1000)):
                self._read_once()
            # Looked at after each read as well: a target that never stops talking must not keep us.
            if deadline.expired:
                return waiter.done
        return True

    def _await_verdict(self, waiter: Waiter) -> bool:
        """The link is lost: whoever found out is about to tell everybody."""
        patience = Deadline.after(VERDICT_PATIENCE)
        waiter.prepare_to_sleep()
        while not waiter.done and not patience.expired:
            waiter.sleep(patience.remaining())
        waiter.ring()
        return waiter.done

    def _follow(self, waiter: Waiter, deadline: Deadline) -> bool:
        """Sleep while another thread reads; False when the deadline comes first."""
        waiter.prepare_to_sleep()
        self._followers.append(waiter)
        try:
            # The reader may have stopped, or finished us, before we stood in the queue.
            if waiter.done or self.lost is not None or not self._is_read():
                return True
            waiter.sleep(deadline.remaining())
            return waiter.done or not deadline.expired
        finally:
            if waiter.done:
                # Others may wait for the same.
                waiter.ring()
            try:
                self._followers.remove(waiter)
            except ValueError:
                # Whoever stopped reading took us out to let us read: somebody else has to, if we do not.
                if waiter.done or deadline.expired:
                    self._wake_follower()

    def _is_read(self) -> bool:
        """Whether somebody has the role of the reader."""
        if not self._reading.acquire(blocking=False):
            return True
        self._reading.release()
        return False

    def _pass_reading_on(self) -> None:
        self._reading.release()
        self._wake_follower()
        if self.busy_streams:
            self._in.arm(select.EPOLLIN)

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
        """Read once, and hand out what came. Whoever calls it has the role of the reader."""
        try:
            data = self._channel.read()
        except BlockingIOError:
            return
        except (ChannelClosed, OSError) as error:
            self.give_up(LinkLost(f"the terminal failed: {error}", host=self.host, doing="reading from the target"))
            return
        if not data:
            self.give_up(self._ended("the connection to the target has ended"))
            return
        session = self.session
        try:
            with self._lock:
                self._inbox.extend(session.receive(data))
        except ProtocolError as error:
            self.violated(str(error))
            return
        except BaseException:
            # Ctrl-C or a timeout of Robot's has hit the few instructions that must not be cut in two.
            self.give_up(self._ended("reading was interrupted in the middle of a message"))
            raise
        if session.heard != self._heard:
            self._heard = session.heard
            self.last_heard = time.monotonic()
        self._drain_inbox()
        if session.ended or session.decoder.noise_bytes != self._noise or session.decoder.partial:
            self._noise = session.decoder.noise_bytes
            self._look_for_end()
        if session.has_outgoing:
            self.flush()

    def _look_for_end(self) -> None:
        """Has the remote program said goodbye, or the shell that it was killed?"""
        decoder = self.session.decoder
        if self.session.ended:
            self.after = decoder.rest()
            what = "the link was closed" if self._closing else "the remote program has ended by itself"
            self.give_up(LinkLost(what, host=self.host, doing="using a link"))
            return
        # A frame that was cut short swallows what follows, so that its unfinished part is looked at too.
        seen = decoder.noise + decoder.rest()
        mark = self._end_mark.search(seen)
        if mark is not None:
            self.after = seen[mark.end() :]
            self._hand_out_last_words(seen[: mark.start()])
            self.give_up(self._ended(f"the remote program was ended by force ({_cause(int(mark.group(1)))})"))

    def _hand_out_last_words(self, seen: bytes) -> None:
        """What its code had written when the remote program died, as the tiny parent found it in the pipes."""
        before, said, errors = seen.rpartition(self._mark + b">2>")
        if said:
            # Without the first mark, more was said than is kept, and the beginning is lost.
            output = before.rpartition(self._mark + b">1>")[2]
            for number, words in ((1, output), (2, errors)):
                if words:
                    self._on_message(messages.pack(messages.OUTPUT, number, words))

    def _ended(self, message: str) -> LinkLost:
        noise = self.session.decoder.noise[-TRANSCRIPT_SIZE:].decode("utf-8", "replace")
        return LinkLost(message, host=self.host, doing="talking to the target", transcript=noise)

    def violated(self, message: str) -> ProtocolViolation:
        """The target breaks the protocol: give the link up; returns the reason."""
        reason = ProtocolViolation(
            message,
            host=self.host,
            doing="reading what the target sent",
            advice="do not trust this target: it breaks the protocol on purpose or runs another program",
        )
        self.give_up(reason)
        return reason

    def _on_readable(self, _events: int) -> None:
        """The I/O thread: read, unless a caller is at it."""
        if not self._reading.acquire(blocking=False):
            self._in.arm_soon()
            return
        try:
            if self.lost is None:
                self._drain_inbox()
                self._read_once()
        finally:
            self._reading.release()
            self._wake_follower()
        if self.lost is None:
            self._serve_again()

    def _serve_again(self) -> None:
        """Look again at once where nobody else would read; after a moment where callers are active.

        Two threads that wake for the same answer cost more than the answer.
        """
        if self._activity == self._activity_seen or self.busy_streams:
            self._in.arm(select.EPOLLIN)
        else:
            self._activity_seen = self._activity
            self._in.arm_soon()

    def _on_writable(self, _events: int) -> None:
        self.flush()

    # -- life ------------------------------------------------------------------------------------------------------

    @property
    def silent_for(self) -> float:
        """Seconds since the target gave a sign of life."""
        return time.monotonic() - self.last_heard

    def _heartbeat(self) -> float | None:
        """Ask for a sign of life; runs in the I/O thread at every interval."""
        if self.lost is not None:
            return None
        heard, when = self._beat
        now = time.monotonic()
        self._beat = (self.session.heard, now)
        # When we were the ones who stood still, the silence says nothing.
        suspended = now - when > 2 * HEARTBEAT
        self._missed = 0 if suspended or self.session.heard != heard else self._missed + 1
        if self._missed * HEARTBEAT >= SILENCE_LIMIT:
            reason = self._ended(f"the target has been silent for {self.silent_for:.0f} s")
            reason.advice = "look whether the host or its network is down, or its remote program is stopped"
            self.give_up(reason)
            return None
        with self._lock:
            self._pings += 1
            self.session.ping(self._pings)
        self.flush()
        return HEARTBEAT

    def close(self, deadline: Deadline) -> bool:
        """Wait for the target's BYE after it was asked to end; False when it does not come in time.

        Afterwards the link is over, and `after` has the bytes that follow the remote program's.
        """
        self._closing = True
        self.wait(self._over, deadline)
        self.give_up(LinkLost("the remote program did not end in time", host=self.host, doing="closing the link"))
        return self.after is not None

    def give_up(self, reason: LinkError) -> None:
        """The link is over: tell the owner, wake everybody, serve the descriptors no more."""
        with self._lock:
            if self.lost is not None:
                return
            self.lost = reason
        self._in.remove()
        self._out.remove()
        os.close(self._second)
        self._on_lost(reason)
        self._over.finish()
        while self._followers:
            self._wake_follower()
