"""One terminal of the remote program: where its frames come from and go to, and who waits for its end in the shell.

A program has one terminal at a time; a writer that is stuck in an old one holds up nothing but itself, and every
descriptor is closed by the last one who uses it.
"""
# ruff: noqa: F401, B904, FBT003 - names in type comments look unused; Python 2 has no `from`, and its locks take no keywords.

import errno
import os

try:
    from _thread import allocate_lock
except ImportError:
    from thread import allocate_lock  # type: ignore[import-not-found,no-redef]


MYPY = False
if MYPY:
    from typing import Any


class Terminal(object):
    """Descriptors of a terminal, or of a pair of pipes.

    Args:
        tty_in: Descriptor to read frames from.
        tty_out: Descriptor to write frames to, in blocking mode.
        life: Descriptor that something tiny in the shell waits on; a line in it says that the end is an orderly one.
        armour: What the lane needs; see `armour.make`.

    Raises:
        ValueError: There is no such armour.

    Attributes:
        lost: Whether nothing comes from it any more.
        flush_again: Set by whoever has something to write while another thread writes.
    """

    def __init__(self, tty_in, tty_out, life, armour=""):
        # type: (int, int, int, str) -> None
        self.tty_in = tty_in
        self.tty_out = tty_out
        self.life = life
        self.lost = False
        self.flush_again = False
        self._broken = False
        self._retired = False
        self._write_lock = allocate_lock()
        self._armour = _armour(armour)

    # -- reading ---------------------------------------------------------------------------------------------------

    def decode(self, data):
        # type: (bytes) -> bytes
        """What bytes that were read mean."""
        return data if self._armour is None else self._armour.decode(data)

    # -- writing ---------------------------------------------------------------------------------------------------

    def lock_for_writing(self, wait=False):
        # type: (bool) -> bool
        """Become the one who writes."""
        return self._write_lock.acquire(wait)

    def unlock(self):
        # type: () -> None
        """Write no more; the last writer of a retired terminal closes it."""
        self._write_lock.release()
        if self._retired:
            self._close_output()

    def write(self, frame):
        # type: (bytes) -> bool
        """Write one frame, in one blocking write: the kernel keeps other writers of the terminal out of the middle.

        Returns:
            False when the terminal takes nothing any more.
        """
        if self._armour is not None:
            frame = self._armour.encode(frame)
        while frame and not self._broken:
            try:
                frame = frame[os.write(self.tty_out, frame) :]
            except OSError as failure:
                if failure.errno != errno.EINTR:
                    # The terminal is gone; the reading side finds out and decides what happens.
                    self._broken = True
        return not self._broken

    # -- the end ---------------------------------------------------------------------------------------------------

    def say_end(self):
        # type: () -> None
        """Tell who waits in the shell that the program ends in order."""
        if self.life >= 0:
            os.write(self.life, b"\n")

    def lose(self):
        # type: () -> None
        """Nothing comes from it any more: who waits in the shell need not wait, and has no last words to look for."""
        self.lost = True
        life, self.life = self.life, -1
        if life >= 0:
            try:
                os.write(life, b"\n")
            except OSError:
                # It has gone with its terminal.
                self._broken = True
            os.close(life)

    def retire(self):
        # type: () -> None
        """Another terminal has taken over; the input is closed by who reads it."""
        self.lose()
        self._retired = True
        self._close_output()

    def _close_output(self):
        # type: () -> None
        if self._write_lock.acquire(False):
            self._broken = True
            descriptor, self.tty_out = self.tty_out, -1
            self._write_lock.release()
            if descriptor >= 0:
                os.close(descriptor)

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
        ours = [descriptor for descriptor in (self.tty_in, self.tty_out, self.life) if descriptor >= 0]
        self.tty_in = self.tty_out = self.life = -1
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
