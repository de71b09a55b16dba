"""The world of user code on the target: descriptors, output, paths and exit functions as plain Python shows them.

The terminal belongs to the frames; user code reads /dev/null and writes to pipes, whose bytes go to the controller as
messages. It promises that prints never wait for a slow link, and that code of the user sees nothing of ours but that.
"""
# ruff: noqa: F401 - names in type comments look unused.

import errno
import io
import os
import select
import sys
import time

from crl.link.wire import messages

try:
    from _thread import allocate_lock, start_new_thread
except ImportError:
    from thread import allocate_lock, start_new_thread  # type: ignore[import-not-found,no-redef]

MYPY = False
if MYPY:
    from typing import Any

PY2 = sys.version_info[0] == 2
now = getattr(time, "monotonic", time.time)
READ_SIZE = 8192
BACKLOG = 256 * 1024


class Output(object):
    """What user code writes to one descriptor, on its way to the controller.

    Args:
        program: The remote program.
        source: Descriptor to read, not blocking.
        number: 1 for standard output, 2 for errors.
    """

    def __init__(self, program, source, number):
        # type: (Any, int, int) -> None
        self.program = program
        self.source = source
        self.number = number
        self._dropped = 0
        self._lock = allocate_lock()

    def run(self):
        # type: () -> None
        """Forward until nobody can write any more."""
        poller = select.poll()
        poller.register(self.source, select.POLLIN)
        while True:
            wait(poller, None)
            if not self.forward():
                return

    def forward(self):
        # type: () -> bool
        """Send what is there; False at the end. What a slow link cannot take is dropped and counted."""
        with self._lock:
            try:
                data = os.read(self.source, READ_SIZE)
            except OSError as error:
                return error.errno in (errno.EAGAIN, errno.EINTR)
            if not data:
                return False
            if self.program.backlog() > BACKLOG:
                self._dropped += len(data)
                return True
            if self._dropped:
                data = ("[%d bytes of output dropped]\n" % self._dropped).encode("ascii") + data
                self._dropped = 0
            self.program.send(messages.pack(messages.OUTPUT, self.number, data))
            return True

    def drain(self):
        # type: () -> None
        """Forward what has been written so far, without waiting for more."""
        poller = select.poll()
        poller.register(self.source, select.POLLIN)
        while wait(poller, 0) and self.forward():
            continue


def wait(poller, milliseconds):
    # type: (Any, int | None) -> list[tuple[int, int]]
    """What a poll gives; nothing when a signal interrupts it, as Python 2 reports."""
    try:
        return poller.poll(milliseconds)  # type: ignore[no-any-return]
    except (OSError, select.error) as error:
        if error.args[0] != errno.EINTR:
            raise
        return []


def take_descriptors():
    # type: () -> tuple[int, int, list[tuple[int, int]]]
    """Keep the terminal for frames; user code gets /dev/null to read and pipes to write to.

    Returns:
        The terminal's input and output, and for each pipe its reading end and the descriptor that feeds it.
    """
    tty_in, tty_out = private(os.dup(0)), private(os.dup(1))
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    outputs = []
    for descriptor in (1, 2):
        read_end, write_end = os.pipe()
        os.dup2(write_end, descriptor)
        os.close(write_end)
        outputs.append((private(nonblocking(read_end)), descriptor))
    return tty_in, tty_out, outputs


def private(descriptor):
    # type: (int) -> int
    """Keep a descriptor out of the programs that user code starts."""
    import fcntl

    fcntl.fcntl(descriptor, fcntl.F_SETFD, fcntl.fcntl(descriptor, fcntl.F_GETFD) | fcntl.FD_CLOEXEC)
    return descriptor


def nonblocking(descriptor):
    # type: (int) -> int
    """Make reads and writes of a descriptor return at once."""
    import fcntl

    fcntl.fcntl(descriptor, fcntl.F_SETFL, fcntl.fcntl(descriptor, fcntl.F_GETFL) | os.O_NONBLOCK)
    return descriptor


def prepare(path):
    # type: (list[str]) -> None
    """Make the world of user code what plain `python` would show: paths, site, and prints that appear at once."""
    # The entry for the working directory comes after site, which would make it absolute.
    sys.path[:] = [entry for entry in path if entry]
    try:
        import site

        if not PY2:
            site.main()
    finally:
        sys.path[:0] = [entry for entry in path if not entry]
        # The interpreter chose its buffers when there was a terminal; now there are pipes.
        for name, stream in (("stdout", _line_buffered(sys.stdout, 1)), ("stderr", _line_buffered(sys.stderr, 2))):
            setattr(sys, name, stream)
            setattr(sys, "__%s__" % name, stream)


def _line_buffered(stream, descriptor):
    # type: (Any, int) -> Any
    if PY2:
        return os.fdopen(descriptor, "w", 1)
    return io.open(descriptor, "w", 1, encoding=stream.encoding, errors="backslashreplace", closefd=False)


def start_outputs(program, pipes):
    # type: (Any, list[tuple[int, int]]) -> list[Output]
    """Forward what arrives in the pipes, each in a thread of its own."""
    outputs = [Output(program, source, number) for source, number in pipes]
    for output in outputs:
        start_new_thread(output.run, ())
    return outputs


def run_exit_functions():
    # type: () -> None
    """What user code registered for the interpreter's end, and what it has printed: as a plain interpreter would."""
    import atexit

    run = getattr(atexit, "_run_exitfuncs", None)
    if run is not None:
        run()
    flush_standard_streams()


def flush_standard_streams():
    # type: () -> None
    """Write out what prints have left in buffers."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except Exception:  # noqa: BLE001, S112 - user code may have closed it, or put anything in its place
            continue
