"""The engine of one link: moves frames between a terminal and a session, with as few threads as possible.

A thread that waits for an answer reads for itself; where several wait, one reads for all; where nobody waits, the
process's I/O thread does. Nobody ever blocks in a write. The engine knows messages only as bytes and hands each to its
owner exactly once, whatever exception interrupts the reading thread and however often the terminal is replaced.
"""

from __future__ import annotations

import math
import os
import select
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

from crl.channels.base import Channel, ChannelClosed
from crl.deadlines import Deadline
from crl.link._attachment import Attachment
from crl.link._bulk import LARGE_PIECE, BulkWatch
from crl.link._driver import driver
from crl.link._terminals import Terminals
from crl.link._waiting import Waiter
from crl.link.errors import LinkError, LinkLost, ProtocolViolation
from crl.link.wire.errors import NotTransferable, ProtocolError
from crl.link.wire.session import Session

__all__ = ["HEARTBEAT", "SILENCE_LIMIT", "SUSPECT_AFTER", "Engine", "Waiter"]

HEARTBEAT: Final = 5.0 / 3
# The first measures the way, soon after the first answer.
FIRST_HEARTBEAT: Final = 0.05
SUSPECT_AFTER: Final = 5.0
SILENCE_LIMIT: Final = 30.0
POLL_SLICE: Final = 0.5
POLL_SLICE_MS: Final = 500
VERDICT_PATIENCE: Final = 5.0
LOOKS_BEFORE_FREEING: Final = 4


class Engine(Terminals):
    """Frames of one session over one terminal at a time.

    Args:
        channel: The bytes; borrowed.
        session: The session, which may have taken bytes already.
        host: The target's name for errors.
        end_mark: What the shell prints before a status and ``;`` when the remote program was killed.
        on_message: Called with each message, in the reading thread, and again when it was interrupted; it must be
            quick and must not raise.
        on_lost: Called once, with the reason, when the link is lost or closed.
        on_doubt: Called when the terminal has ended, or has been silent for too long, with the reason; it says whether
            another terminal is being opened. It must be quick.
        under: As of `Lane`.

    Attributes:
        lost: Why the link can be used no more; None while it can.
        after: The bytes behind the end of the remote program, which are the shell's; None when it has not ended.
        busy_streams: How many connections want input to be read even when nobody waits.
        bulk: Tells when much has gone over the terminal.
        last_heard: When the target gave the last sign of life, on the monotonic clock.
        down: Why there is no terminal now; None while there is one.
        closing: Set when the end of the remote program is what is wanted.
    """

    def __init__(
        self,
        channel: Channel,
        session: Session,
        host: str,
        end_mark: bytes,
        on_message: Callable[[bytes], None],
        on_lost: Callable[[LinkError], None],
        on_doubt: Callable[[LinkLost], bool],
        *,
        under: Sequence[bytes] = (),
    ) -> None:
        self.session = session
        self.host = host
        self.lost: LinkError | None = None
        self.after: bytes | None = None
        self.down: LinkLost | None = None
        self.busy_streams = 0
        self.last_heard = time.monotonic()
        self._on_message = on_message
        self._on_lost = on_lost
        self._on_doubt = on_doubt
        self._pid = driver.pid
        self._lock = threading.Lock()
        # Whether it is ours can be asked, so that an exception right after taking it seldom leaves it behind.
        self._reading = threading.RLock()
        self._writing = threading.Lock()
        # Whether somebody has something to write while another thread writes.
        self._more = False
        self._handing_out = threading.RLock()
        self._reads = self._reads_seen = self._looks = 0
        self._followers: deque[Waiter] = deque()
        self._heard = session.heard
        self._over = Waiter()
        self.closing = False
        self.bulk = BulkWatch()
        # Counts what callers do, so that the I/O thread can tell whether somebody is about to read for himself.
        self._activity = self._activity_seen = 0
        self._pings = 0
        self._beat = time.monotonic()
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._attachment: Attachment | None = self._attach_to(channel, end_mark, under=under)
        self._attachment.incoming.arm(select.EPOLLIN)
        self._heart = driver.call_later(FIRST_HEARTBEAT, self._heartbeat)

    # -- sending ---------------------------------------------------------------------------------------------------

    def send(self, message: bytes, order: int | None = None) -> None:
        """Queue a message and write what can be written now; see `Session.post` for the order.

        While there is no terminal it waits in the queue.

        Raises:
            LinkLost: The link is gone; the message was not sent.
            NotTransferable: It is too large.
        """
        if self.lost is not None or driver.pid != self._pid:
            self.check()
        self._activity += 1
        if self._send_at_once(message):
            return
        session = self.session
        with self._lock:
            if session.interrupted:
                self._mend()
            try:
                session.post(message, order)
            except NotTransferable:
                raise
            except BaseException:
                session.interrupted = True
                raise
        self.flush()

    def _send_at_once(self, message: bytes) -> bool:
        """Write a small message in one go when nobody writes and nothing stands before it; False if it was not sent."""
        attachment, writing, session = self._attachment, self._writing, self.session
        if attachment is None or writing.locked():
            return False
        with writing:
            try:
                with self._lock:
                    if attachment is not self._attachment or attachment.parted or session.interrupted:
                        return False
                    frame = None if attachment.unsent else session.at_once(message)
                if frame is None:
                    return False
                attachment.unsent.append(frame)
                self._write_to(attachment)
            except BaseException:
                self._is_cut_short(attachment)
                raise
        if self._more:
            self.flush()
        return True

    def _is_cut_short(self, attachment: Attachment) -> None:
        """Somebody was interrupted while he wrote."""
        # A frame that was on its way counts as lost; the next ping uncovers it.
        self.session.interrupted = True
        # What others have left to us must not wait for that.
        attachment.outgoing.arm(select.EPOLLOUT)

    def _mend(self) -> None:
        """Somebody was interrupted in the session; what got lost by that is asked for again. Under the lock."""
        self.session.recover()
        self._pings += 1
        self.session.ping(self._pings)

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
        return driver.pid != self._pid

    def flush(self) -> None:
        """Write what may be written, without ever blocking; who writes already takes ours along.

        The I/O thread writes what the terminal does not take.
        """
        writing = self._writing
        while True:
            self._more = True
            # Many threads that queue for this lock would each wake for one small write.
            if writing.locked():
                return
            # By `with`, which no exception can part from giving it back; who comes between us waits for one write.
            with writing:
                while self._more:
                    self._more = False
                    self._write_ready()
            if not self._more:
                return

    def _write_ready(self) -> None:
        """Write what may be written now. Whoever calls it is the one who writes."""
        if (attachment := self._attachment) is None:
            return
        unsent, session = attachment.unsent, self.session
        try:
            if unsent and not self._write_to(attachment):
                return
            with self._lock:
                if attachment is not self._attachment or attachment.parted:
                    return
                if session.interrupted:
                    self._mend()
                ready = session.outgoing()
                # Never so many that they would look like bulk.
                joined = len(ready) > 1 and sum(map(len, ready)) < LARGE_PIECE
                unsent.extend((b"".join(ready),) if joined else ready)
            if unsent:
                self._write_to(attachment)
        except BaseException:
            self._is_cut_short(attachment)
            raise

    def _write_to(self, attachment: Attachment) -> bool:
        """Write what is unsent; whether all of it was taken."""
        unsent, write = attachment.unsent, attachment.write
        while unsent:
            frame = unsent[0]
            try:
                count = write(frame)
            except BrokenPipeError:
                # The reading side sees the end as well and has the better words for it.
                attachment.incoming.arm(select.EPOLLIN)
                return False
            except ChannelClosed:
                self._ends(attachment, self._ended("the terminal was closed under the link"))
                return False
            if count != len(frame):
                unsent[0] = memoryview(frame)[count:]
                if count >= LARGE_PIECE:
                    self.bulk.note(count)
                attachment.outgoing.arm(select.EPOLLOUT)
                # The target may have to write before it reads on.
                attachment.incoming.arm(select.EPOLLIN)
                return False
            unsent.popleft()
            if count >= LARGE_PIECE:
                self.bulk.note(count)
        return True

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
            if driver.pid != self._pid:
                self.check()
            # The same one all the time, for it may be taken away.
            reading = self._reading
            try:
                if self._attachment is not None and reading.acquire(blocking=False):
                    if not self._read_until(waiter, deadline):
                        return waiter.done
                    continue
            finally:
                if reading._is_owned():  # type: ignore[attr-defined]  # noqa: SLF001
                    reading.release()
                    self._pass_reading_on()
            if not self._follow(waiter, deadline):
                return waiter.done
        return True

    def _read_until(self, waiter: Waiter, deadline: Deadline) -> bool:
        """Read as the one reader, until the waiter is done or the terminal gone; False when the deadline is first."""
        session = self.session
        while True:
            # Here too, for what came with a new terminal.
            if session.delivered or session.interrupted:
                self._hand_out()
            attachment = self._attachment
            if waiter.done or self.lost is not None or attachment is None:
                return True
            # In slices: a thread that is interrupted here must be able to look.
            left = deadline.remaining()
            if attachment.wait(POLL_SLICE_MS if left is None or left > POLL_SLICE else math.ceil(left * 1000)):
                self._read_once(attachment)
            # Looked at after each read as well: a target that never stops talking must not keep us.
            if waiter.done or deadline.expired:
                return waiter.done

    def _await_verdict(self, waiter: Waiter) -> bool:
        """The link is lost: whoever found out is about to tell everybody."""
        patience = Deadline.after(VERDICT_PATIENCE)
        waiter.prepare_to_sleep()
        while not waiter.done and not patience.expired:
            waiter.sleep(patience.remaining())
        waiter.ring()
        return waiter.done

    def _follow(self, waiter: Waiter, deadline: Deadline) -> bool:
        """Sleep while another thread reads, or there is no terminal; False when the deadline comes first."""
        waiter.prepare_to_sleep()
        self._followers.append(waiter)
        try:
            # The reader may have stopped, or finished us, before we stood in the queue.
            if waiter.done or self.lost is not None or (self._attachment is not None and not self._is_read()):
                return True
            # In slices, too: a signal that another thread got is handled in the main one when it wakes.
            waiter.sleep(deadline.sooner(POLL_SLICE).remaining())
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
        reading = self._reading
        free = reading.acquire(blocking=False)
        if free:
            reading.release()
        return not free

    def _pass_reading_on(self) -> None:
        if self.lost is not None:
            self._close_wake()
        if self._followers:
            self._wake_follower()
        if self.busy_streams and (attachment := self._attachment) is not None:
            attachment.incoming.arm(select.EPOLLIN)

    def _close_wake(self) -> None:
        """The last reader of a lost link has stopped: nobody has to be woken any more."""
        reading = self._reading
        if not reading.acquire(blocking=False):
            return
        try:
            with self._lock:
                descriptor, self._wake = self._wake, -1
            if descriptor >= 0:
                os.close(descriptor)
        finally:
            reading.release()

    def _wake_follower(self) -> None:
        with suppress(IndexError):  # another thread was faster
            self._followers.popleft().ring()

    def _hand_out(self) -> None:
        """Hand out messages; each stays in its place until it is handed out, whatever interrupts us."""
        if self.session.interrupted:
            with self._lock:
                self._mend()
            self.flush()
        delivered = self.session.delivered
        with self._handing_out:
            while delivered:
                self._on_message(delivered[0][2])
                delivered.popleft()

    def _read_once(self, attachment: Attachment) -> None:
        """Read once, and hand out what came. Whoever calls it has the role of the reader."""
        session = self.session
        try:
            # Read and taken in one: bytes must not change their order, whoever reads.
            with self._lock:
                if attachment is not self._attachment:
                    return
                if session.interrupted:
                    self._mend()
                try:
                    data = attachment.channel.read(attachment.read_size)
                    session.take(data)
                except (ChannelClosed, OSError, ProtocolError):
                    raise
                except BaseException:
                    # Ctrl-C or a timeout of Robot's: what was read counts as lost, and is asked for again.
                    session.interrupted = True
                    raise
                self._reads += 1
        except BlockingIOError:
            return
        except (ChannelClosed, OSError) as error:
            self._ends(attachment, self._ended(f"the terminal failed: {error}"))
            return
        except ProtocolError as error:
            self.violated(str(error))
            return
        if not data:
            self._ends(attachment, self._ended("the connection to the target has ended"))
            return
        attachment.expect_after(len(data))
        if len(data) >= LARGE_PIECE:
            self.bulk.note(len(data))
        self._use_what_came(attachment, data)

    def _use_what_came(self, attachment: Attachment, data: bytes) -> None:
        """Hand out what was taken, look for the end, answer the peer."""
        session = self.session
        if session.heard != self._heard:
            self._heard = session.heard
            self.last_heard = time.monotonic()
        if session.delivered or session.interrupted:
            self._hand_out()
        decoder = session.decoder
        if session.ended or decoder.noise_bytes != attachment.noise or (decoder.partial and attachment.may_end(data)):
            attachment.noise = decoder.noise_bytes
            self._look_for_end(attachment)
        if session.has_outgoing:
            self.flush()

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
        attachment = self._attachment
        if attachment is None:
            return
        if not self._reading.acquire(blocking=False):
            self._free_the_role()
            attachment.incoming.arm_soon()
            return
        try:
            if self.lost is None:
                self._hand_out()
                self._read_once(attachment)
        finally:
            self._reading.release()
            self._wake_follower()
        if self.lost is None:
            self._serve_again()
        else:
            self._close_wake()

    def _free_the_role(self) -> None:
        """There is input, and somebody has the role of the reader: when he reads nothing for a while, take it away.

        An exception may have struck him when he was just giving it back. If he reads after all, nothing happens: what
        must not be done by two at a time is behind locks.
        """
        self._looks = self._looks + 1 if self._reads == self._reads_seen else 0
        self._reads_seen = self._reads
        if self._looks >= LOOKS_BEFORE_FREEING:
            self._looks = 0
            self._reading = threading.RLock()
            self._wake_follower()

    def _serve_again(self) -> None:
        """Look again at once where nobody else would read; after a moment where callers are active.

        Two threads that wake for the same answer cost more than the answer.
        """
        attachment = self._attachment
        if attachment is None:
            return
        if self._activity == self._activity_seen or self.busy_streams:
            attachment.incoming.arm(select.EPOLLIN)
        else:
            self._activity_seen = self._activity
            attachment.incoming.arm_soon()

    # -- life ------------------------------------------------------------------------------------------------------

    @property
    def silent_for(self) -> float:
        """Seconds since the target gave a sign of life."""
        return time.monotonic() - self.last_heard

    def in_doubt(self) -> bool:
        """Whether there is no terminal, or nothing has come from it for so long that it may be dead."""
        return self._attachment is None or self.silent_for >= SUSPECT_AFTER

    def _heartbeat(self) -> float | None:
        """Ask for a sign of life; runs in the I/O thread at every interval, and when silence becomes suspicious."""
        if self.lost is not None:
            return None
        now = time.monotonic()
        before, self._beat = self._beat, now
        late = now - before - HEARTBEAT
        stood_still = late > HEARTBEAT
        attached = self._attachment is not None
        if attached and stood_still:
            # We did: that says no more of the target than one interval, and whoever reads gets another one for it. But
            # the silence before counts, or a target would never be doubted where we stand still now and then.
            self.last_heard = min(now, self.last_heard + late)
        elif attached and self.in_doubt() and not self._doubt():
            return None
        with self._lock:
            if self.session.interrupted:
                self.session.recover()
            self._pings += 1
            self.session.ping(self._pings)
        self.flush()
        suspicious = self.last_heard + SUSPECT_AFTER - now
        return HEARTBEAT if stood_still or suspicious <= 0 else min(HEARTBEAT, suspicious)

    def _doubt(self) -> bool:
        """Nothing has come for a while: have another terminal opened, or give up in time; whether to go on."""
        reason = self._ended(f"the target has been silent for {self.silent_for:.0f} s")
        reason.advice = "look whether the host or its network is down, or its remote program is stopped"
        if not self._on_doubt(reason) and self.silent_for >= SILENCE_LIMIT:
            self.give_up(reason)
            return False
        return True

    def close(self, deadline: Deadline) -> bool:
        """Wait for the target's BYE after it was asked to end; False when it does not come in time.

        Afterwards the link is over, and `after` has the bytes that follow the remote program's.
        """
        self.closing = True
        if self.down is None:
            self.wait(self._over, deadline)
        self.give_up(LinkLost("the remote program did not end in time", host=self.host, doing="closing the link"))
        return self.after is not None

    def give_up(self, reason: LinkError) -> None:
        """The link is over: tell the owner, wake everybody, serve the descriptors no more."""
        with self._lock:
            if self.lost is not None:
                return
            self.lost = reason
            attachment, self._attachment = self._attachment, None
        if attachment is not None:
            attachment.close()
        self._heart.cancel()
        self._on_lost(reason)
        self._over.finish()
        self._wake_all()
        self._close_wake()
        while self._followers:
            self._wake_follower()
