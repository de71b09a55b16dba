"""One terminal of the remote program: where its frames come from and go to, and who waits for its end in the shell.

A program has one terminal at a time; a writer that is stuck in an old one holds up nothing but itself, and every
descriptor is closed by the last one who uses it.
"""
# ruff: noqa: F401, B904, FBT003 - names in type comments look unused; Python 2 has no `from`, and its locks take no keywords.

import errno
import os
import select
import stat

from crl.link.remote import tiny, world
from crl.link.wire.compat import allocate_lock, error, start_new_thread

MYPY = False
if MYPY:
    from typing import Any

SWALLOW_PATIENCE_MS = 6000
# Lanes with armour may be slow: the controller learns of our end when all is through that stands in their buffers.
ARMOURED_PATIENCE_MS = 8000
# What a pipe takes whole when it says that it takes anything; armour makes at most twice as much of it.
SMALL = 4096
ARMOURED_SMALL = SMALL // 2
# An answer that is no more than that in any armour.
ANSWER = ARMOURED_SMALL - 256


class Terminal(object):
    """Descriptors of a terminal, or of a pair of pipes.

    Args:
        tty_in: Descriptor to read frames from.
        tty_out: Descriptor to write frames to, in blocking mode.
        life: Descriptor that something tiny in the shell waits on; see `tiny`.
        mark: What the controller sends behind its last byte.
        armour: What the lane needs; see `armour.make`.

    Raises:
        ValueError: There is no such armour.

    Attributes:
        lost: Whether nothing comes from it any more.
        parked: Whether it was left for a lane beside it, and is kept for the way back.
        unread: What was read from it when it had just been left.
        waiting: Frames for the thread that may block, see `Program.flush`; None when there are none.
        flush_again: Set by whoever has something to write while another thread writes.
        lock_for_writing: Makes the caller the one who writes; called with whether to wait, says whether it did.
    """

    def __init__(self, tty_in, tty_out, life, mark, armour):
        # type: (int, int, int, str, str) -> None
        self.tty_in = tty_in
        self.tty_out = tty_out
        self.life = life
        self._mark = mark.encode("ascii")
        self.lost = False
        self.parked = False
        self.unread = b""
        self.flush_again = False
        self.waiting = None  # type: list[bytes] | None
        self.has_writer = False
        self.wake_writer = allocate_lock()
        self.wake_writer.acquire()
        # A pipe, opened once more, so that a write to it need not block whoever else has it open.
        self._pipe_out = -1
        self._broken = False
        self._retired = False
        self._swallowing = None  # type: Any
        self._said_all = False
        self._write_lock = allocate_lock()
        self.lock_for_writing = self._write_lock.acquire
        self._room = select.poll()
        self._room.register(tty_out, select.POLLOUT)
        self._room_alone = [(tty_out, select.POLLOUT)]
        self._room_and_prints = None  # type: Any
        self._armour = _armour(armour)

    def widen(self):
        # type: () -> None
        """It is a pair of ssh's pipes, for bulk: have them hold more, and write what they take without a thread."""
        world.widen(self.tty_in)
        world.widen(self.tty_out)
        if self._armour is None and stat.S_ISFIFO(os.fstat(self.tty_out).st_mode):
            try:
                self._pipe_out = world.private(
                    os.open("/proc/self/fd/%d" % self.tty_out, os.O_WRONLY | os.O_NONBLOCK)
                )
            except OSError:
                # There is no /proc, or the pipe is somebody else's: then the thread has to write.
                return

    # -- reading ---------------------------------------------------------------------------------------------------

    def decode(self, data):
        # type: (bytes) -> bytes
        """What bytes that were read mean."""
        return data if self._armour is None else self._armour.decode(data)

    # -- writing ---------------------------------------------------------------------------------------------------

    def unlock(self):
        # type: () -> None
        """Write no more; the last writer of a retired terminal closes it."""
        self._write_lock.release()
        if self._retired and self._close_output() and self.has_writer:
            self.wake_writer.release()

    def write_some(self, frames):
        # type: (list[bytes]) -> list[bytes]
        """Write what does not block, small frames together; gives the others.

        A pipe of our own takes what it has room for. Elsewhere that can only be said of what is small.
        """
        most = SMALL if self._armour is None else ARMOURED_SMALL
        while frames and not self._broken:
            count, size = 0, len(frames[0])
            while size <= most:
                count += 1
                if count == len(frames):
                    break
                size += len(frames[count])
            if self._pipe_out < 0 and (not count or not world.wait(self._room, 0)):
                return frames
            count = max(count, 1)
            data = frames[0] if count == 1 else b"".join(frames[:count])
            frames = frames[count:]
            if self._pipe_out < 0:
                self.write(data)
                continue
            rest = self._fill_pipe(data)
            if rest:
                return [rest] + frames
        return []

    def is_quiet(self, output):
        # type: (world.Output) -> bool
        """Whether there is room, and nothing that user code has printed is on its way; asked by the one who writes."""
        if self._broken:
            # It was closed already.
            return False
        poller = self._room_and_prints
        if poller is None:
            poller = self._room_and_prints = output.new_poller()
            poller.register(self.tty_out, select.POLLOUT)
        # In this order: what was read from a pipe meanwhile is posted, or being posted.
        return world.wait(poller, 0) == self._room_alone and not output.is_posting()

    def _fill_pipe(self, data):
        # type: (bytes) -> Any
        """Write as much as the pipe takes now; gives the rest."""
        try:
            return memoryview(data)[os.write(self._pipe_out, data) :]
        except OSError as failure:
            if failure.errno in (errno.EAGAIN, errno.EINTR):
                return data
            # As in `_write_raw`.
            self._broken = True
            return b""

    def write(self, frame):
        # type: (bytes) -> bool
        """Write a frame, or some, in one blocking write: the kernel keeps other writers of the terminal out of it.

        Returns:
            False when the terminal takes nothing any more.
        """
        if self._armour is not None:
            frame = self._armour.encode(frame)
        return self._write_raw(frame)

    def _write_raw(self, frame):
        # type: (bytes) -> bool
        while frame and not self._broken:
            try:
                frame = frame[os.write(self.tty_out, frame) :]
            except OSError as failure:
                if failure.errno != errno.EINTR:
                    # The terminal is gone; the reading side finds out and decides what happens.
                    self._broken = True
        return not self._broken

    # -- the end ---------------------------------------------------------------------------------------------------

    def begin_to_swallow(self):
        # type: () -> None
        """Read what comes from now on, for nobody, in a thread of its own; `say_end` waits for that.

        Where one program carries both directions of a line, an end that writes and does not read may wait for ever.
        """
        swallowing = allocate_lock()
        swallowing.acquire()
        try:
            start_new_thread(self._swallow_for, (swallowing,))
        except error:
            # Then at the end, for lack of a thread.
            return
        self._swallowing = swallowing

    def say_end(self):
        # type: () -> None
        """Tell who waits in the shell that the program ends in order, when nothing is left for the shell to read."""
        self._said_all = True
        if self._swallowing is None:
            self._swallow_rest()
        else:
            self._swallowing.acquire()
        # Only now may the controller type for the shell.
        self._write_raw(self._mark + tiny.CLEAR)
        if self.life >= 0:
            os.write(self.life, tiny.END)

    def _swallow_for(self, swallowing):
        # type: (Any) -> None
        try:
            self._swallow_rest()
        finally:
            swallowing.release()

    def _swallow_rest(self):
        # type: () -> None
        """Read all that the controller had sent before it knew of our end; the shell would execute it."""
        poller = select.poll()
        poller.register(self.tty_in, select.POLLIN)
        patience = SWALLOW_PATIENCE_MS if self._armour is None else ARMOURED_PATIENCE_MS
        seen = b""
        # The mark comes without armour, for a shell may be the one who waits for it.
        while self._mark not in seen:
            was_said = self._said_all
            if world.wait(poller, patience):
                data = self._read_rest()
                if not data:
                    return
                seen = seen[-len(self._mark) :] + data
            elif was_said:
                return

    def _read_rest(self):
        # type: () -> bytes
        while True:
            try:
                return os.read(self.tty_in, 65536)
            except OSError as failure:
                if failure.errno not in (errno.EINTR, errno.EAGAIN):
                    return b""

    def lose(self):
        # type: () -> None
        """Nothing comes from it any more: who waits in the shell need not wait, and has no last words to look for."""
        self.lost = True
        life, self.life = self.life, -1
        if life >= 0:
            try:
                os.write(life, tiny.LOST)
            except OSError:
                # It has gone with its terminal.
                self._broken = True
            os.close(life)

    def retire(self):
        # type: () -> None
        """It is of no use any more; the input is closed by who reads it."""
        self.lose()
        self._retired = True
        if self._close_output() and self.has_writer:
            # It has nothing to write, and now it ends.
            self.wake_writer.release()

    def _close_output(self):
        # type: () -> bool
        """Close the output unless somebody writes, who will; whether it was closed here."""
        if not self._write_lock.acquire(False):
            return False
        self._broken = True
        ours = [descriptor for descriptor in (self.tty_out, self._pipe_out) if descriptor >= 0]
        self.tty_out = self._pipe_out = -1
        self._write_lock.release()
        for descriptor in ours:
            os.close(descriptor)
        return bool(ours)

    def close_input(self):
        # type: () -> None
        """Nobody reads it any more."""
        descriptor, self.tty_in = self.tty_in, -1
        if descriptor >= 0:
            os.close(descriptor)

    def close_in_child(self):
        # type: () -> None
        """In a child that user code forked: neither the terminal nor the shell's prompt must wait for its end."""
        # Once: the child of a child has none of them, and may use the same numbers for its own.
        descriptors = (self.tty_in, self.tty_out, self._pipe_out, self.life)
        ours = [descriptor for descriptor in descriptors if descriptor >= 0]
        self.tty_in = self.tty_out = self._pipe_out = self.life = -1
        for descriptor in ours:
            os.close(descriptor)


def _armour(text):
    # type: (str) -> Any
    if not text:
        return None
    try:
        # Only where it was sent.
        from crl.link.wire import armour
    except ImportError:
        raise ValueError("this program was started without armour")
    return armour.make(text, toward_target=False)
