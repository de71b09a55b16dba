"""Terminals of their own for processes on the target.

It needs nothing but system calls: Debian's python3-minimal has neither `termios` nor `pty`. It is sent when the first
process asks for a terminal.
"""
# ruff: noqa: F401 - names in type comments look unused.

import errno
import fcntl
import os
import struct

from crl.link.remote import processes

MYPY = False
if MYPY:
    from typing import Any

# The same on all but a few machines that no Linux distribution builds Python for without `termios`.
SET_SIZE = 0x5414
UNUSUAL = ("mips", "ppc", "powerpc", "sparc", "alpha", "parisc", "sh")
END_OF_INPUT = b"\x04"


class Terminal(processes.Ends):
    """A new terminal: input, output and errors of a process in one.

    Args:
        rows: Its height.
        columns: Its width.
    """

    def __init__(self, rows, columns):
        # type: (int, int) -> None
        master, slave = os.openpty()
        self.terminal = os.ttyname(slave)
        # Input and output are waited for apart, so each has a descriptor.
        processes.Ends.__init__(self, (slave, slave, slave), (os.dup(master), master, None))
        try:
            self.resize(rows, columns)
        except BaseException:
            self.close_ours()
            self.close_theirs()
            raise

    def resize(self, rows, columns):
        # type: (int, int) -> None
        """Give it another size; its foreground processes are told by SIGWINCH."""
        descriptor = self.ours[1]
        if descriptor is not None:
            fcntl.ioctl(descriptor, _set_size(), struct.pack("HHHH", rows, columns, 0, 0))

    def end_input(self):
        # type: () -> None
        """Nothing more is written: programs that read lines see the end of their input."""
        descriptor = self.ours[0]
        try:
            # The first ends a line that was begun, the second is at the beginning of one.
            if descriptor is not None:
                os.write(descriptor, END_OF_INPUT * 2)
        except (IOError, OSError) as error:
            # It is full, or nobody has it open: then there is nobody to tell.
            if error.errno not in (errno.EAGAIN, errno.EIO):
                raise
        finally:
            self.close(0)


def _set_size():
    # type: () -> int
    try:
        import termios
    except ImportError:
        machine = os.uname()[4]
        if machine.startswith(UNUSUAL):
            raise OSError(errno.ENOSYS, "the target's Python lacks termios, which the size of a terminal needs here")
        return SET_SIZE
    return termios.TIOCSWINSZ


def install(program):
    # type: (Any) -> None
    """Called when this piece arrives."""
    import sys

    program.processes.terminals = sys.modules[__name__]
