"""The terminals of an engine, one after the other: how one ends, and how the link goes on over another.

It is the part of the engine that knows the ends of terminals and what tells them from ends of the remote program. It
promises that no byte is read or written on a terminal that was left, and that the session goes on where it stood.
"""

from __future__ import annotations

import os
import select
import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

from crl.channels.base import Channel
from crl.link._attachment import Attachment, cause_of, without_marks
from crl.link._waiting import Waiter
from crl.link.errors import LinkError, LinkLost, ProtocolViolation
from crl.link.wire import frames, messages
from crl.link.wire.errors import ProtocolError
from crl.link.wire.session import Session

__all__ = ["Terminals"]

TRANSCRIPT_SIZE: Final = 2000


class Terminals(ABC):
    """What an engine does with its terminals; see `Engine`, whose attributes it uses."""

    session: Session
    host: str
    lost: LinkError | None
    after: bytes | None
    down: LinkLost | None
    last_heard: float
    closing: bool
    _attachment: Attachment | None
    _followers: deque[Waiter]
    _lock: threading.Lock
    _on_doubt: Callable[[LinkLost], bool]
    _on_message: Callable[[bytes], None]
    _wake: int
    _writing: threading.Lock

    @abstractmethod
    def flush(self) -> None:
        """Write what may be written."""

    @abstractmethod
    def give_up(self, reason: LinkError) -> None:
        """The link is over."""

    @abstractmethod
    def violated(self, message: str) -> ProtocolViolation:
        """The target breaks the protocol."""

    @abstractmethod
    def _on_readable(self, events: int) -> None:
        """There is input."""

    def _attach_to(
        self, channel: Channel, end_mark: bytes, *, beside: bool = False, under: Sequence[bytes] = ()
    ) -> Attachment:
        serve = self._on_readable, lambda _: self.flush()
        return Attachment(channel, end_mark, self._wake, self._take_ring, *serve, beside=beside, under=under)

    def _look_for_end(self, attachment: Attachment) -> None:
        """Has the remote program said goodbye, or the shell that it was killed?"""
        decoder = self.session.decoder
        if self.session.ended:
            self._part(attachment)
            self.after = attachment.find_clear(decoder.rest())
            if self.after is not None:
                what = "the link was closed" if self.closing else "the remote program has ended by itself"
                self.give_up(LinkLost(what, host=self.host, doing="using a link"))
                return
        # A frame that was cut short swallows what follows, so that its unfinished part is looked at too.
        seen = decoder.noise + decoder.rest()
        last_words = attachment.find_last_words(seen)
        if last_words is not None:
            self._part(attachment)
        end = attachment.find_end(seen)
        if end is None:
            rest = attachment.find_under(seen)
            if rest is not None:
                self._ends(attachment, self._ended("the shell it ran in has ended, or the way to it"), rest)
            return
        status, after = end
        reason = self._ended(f"the remote program was ended by force ({cause_of(status)})")
        if last_words is None or attachment.beside:
            # Not the program, but what waits for it in the shell was killed: the program may live. Where that waits in
            # two shells, the one in the terminal knows more.
            self._ends(attachment, reason, after)
            return
        for number, words in enumerate(last_words, 1):
            if words:
                self._on_message(messages.pack(messages.OUTPUT, number, words))
        self.after = after
        self.give_up(reason)

    def _part(self, attachment: Attachment) -> None:
        """Write our last line, or as much of it as there is room for now."""
        with self._writing:
            attachment.part()
        self.flush()

    def _ended(self, message: str) -> LinkLost:
        noise = without_marks(self.session.decoder.noise[-TRANSCRIPT_SIZE:].decode("utf-8", "replace"))
        return LinkLost(message, host=self.host, doing="talking to the target", transcript=noise)

    def _ends(self, attachment: Attachment, reason: LinkLost, after: bytes | None = None) -> None:
        """A terminal has ended: the link waits for another one, or is lost.

        Args:
            attachment: The terminal.
            reason: Why.
            after: What the shell has said since, when it has its terminal back.
        """
        with self._lock:
            if attachment is not self._attachment:
                return
            goes_on = not self.closing and self._on_doubt(reason)
            if goes_on:
                self._attachment, self.down = None, reason
        if goes_on:
            # There may be another one by now.
            attachment.close()
            return
        self.after = after
        self.give_up(reason)

    def settle(self) -> None:
        """Come back when nobody is in the middle of ending a terminal, or of going on over another one."""
        with self._lock:
            return

    def leave(self) -> None:
        """The channel beside the terminal is of no use any more: what happened is said in the terminal."""
        attachment = self._attachment
        if attachment is not None and attachment.beside:
            self._ends(attachment, self._ended("the remote program has ended"))

    def attach(
        self,
        channel: Channel,
        end_mark: bytes,
        epoch: int,
        data: bytes,
        *,
        beside: bool = False,
        under: Sequence[bytes] = (),
        first: bytes = b"",
        leave: Callable[[Attachment], None] = Attachment.close,
    ) -> bool:
        """Go on over a new terminal.

        Args:
            channel: Its bytes; borrowed.
            end_mark: As in the constructor.
            epoch: The number of the attachment, which the target has taken on.
            data: What was read from it, from the target's greeting on.
            beside: As of `Attachment`.
            under: As of `Lane`.
            first: What is written before anything else.
            leave: Called with the attachment that was in use, which is served no more after it.

        Returns:
            False when the link is lost or being closed.
        """
        new = self._attach_to(channel, end_mark, beside=beside, under=under)
        if first:
            new.unsent.append(first)
        try:
            with self._lock:
                if self.lost is not None or self.closing:
                    new.close()
                    return False
                self._resume(epoch, beside=beside)
                self.session.take(data)
                old, self._attachment = self._attachment, new
                self.down = None
        except ProtocolError as error:
            new.close()
            self.violated(str(error))
            return False
        if old is not None:
            with self._writing:
                leave(old)
        self.last_heard = time.monotonic()
        self._wake_all()
        new.incoming.arm(select.EPOLLIN)
        self.flush()
        self._look_for_end(new)
        return True

    def _resume(self, epoch: int, *, beside: bool) -> None:
        self.session.resume(epoch)
        self.session.sender.go_beside(beside)

    def greet_again(self, epoch: int) -> None:
        """Go on over the terminal in use, wherever the target is by now, which it shall answer as `epoch`."""
        with self._writing:
            attachment = self._attachment
            if attachment is None:
                return
            with self._lock:
                rest = attachment.unfinished()
                attachment.unsent.clear()
                attachment.unsent.append(rest + self.greeting(epoch))
                self._resume(epoch, beside=attachment.beside)
        self.flush()

    def greeting(self, epoch: int) -> bytes:
        """What the target goes on at, when it comes on a terminal that it holds."""
        return frames.encode(frames.HELLO, 0, epoch, 0, 0, self.session.expected, b"")

    def _wake_all(self) -> None:
        """Everybody looks again."""
        with self._lock, suppress(BlockingIOError):  # it has been rung often enough
            if self._wake >= 0:
                os.eventfd_write(self._wake, 1)
        for follower in list(self._followers):
            follower.ring()

    def _take_ring(self) -> None:
        """A reader was woken; the last one of a link that is over may find nothing to take any more."""
        with self._lock, suppress(BlockingIOError):  # another reader was faster
            if self._wake >= 0:
                os.eventfd_read(self._wake)
