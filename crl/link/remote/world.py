"""The world of user code on the target: descriptors, output, paths and exit functions as plain Python shows them.

The terminal belongs to the frames; user code reads /dev/null and writes to pipes, whose bytes go to the controller as
messages. It promises that prints never wait long for a link that stands still, and that code of the user sees nothing
of ours but that.
"""
# ruff: noqa: F401 - names in type comments look unused.

import errno
import gc
import io
import os
import select
import sys
import time

from crl.link.wire import messages
from crl.link.wire.compat import allocate_lock, error, start_new_thread

MYPY = False
if MYPY:
    from typing import Any

PY2 = sys.version_info[0] == 2
now = getattr(time, "monotonic", time.time)
READ_SIZE = 16384
# What a pipe holds, so that draining it ends however fast somebody writes.
READS_TO_DRAIN = 5
BACKLOG = 256 * 1024
LINGER = 0.005
PATIENCE = 20
PATIENCE_STEP = 0.005
NOTICE_DELAY_MS = 100
# Of Linux; Python 3.10 is the first that knows its name.
SET_PIPE_SIZE = 1031
# No more, for all pipes of a user together may have 64 MiB.
WIDE_PIPE = 256 * 1024


class Output(object):
    """What user code writes to its standard output and errors, on its way to the controller.

    One thread reads both pipes, so that their order is kept as far as pipes tell it; whoever answers a call drains
    them before, so that what a call has printed arrives before its answer. Writers go at the speed of the link; they
    wait a tenth of a second for one that stands still, then what they write is dropped and counted.

    Args:
        program: The remote program.
        pipes: Descriptors to read, not blocking, and for each 1 for standard output or 2 for errors.
    """

    def __init__(self, program, pipes):
        # type: (Any, list[tuple[int, int]]) -> None
        self.program = program
        self._numbers = dict(pipes)
        self._dropped = dict.fromkeys(self._numbers, 0)
        self._lock = allocate_lock()
        self._stalled = self._busy = False
        self._bell = allocate_lock()
        self._bell.acquire()
        # One each for the thread and for those who drain, for Python 2 polls an object in one thread only.
        self._poller, self._drain_poller = self.new_poller(), self.new_poller()

    def new_poller(self):
        # type: () -> Any
        """What tells whether user code has printed anything."""
        poller = select.poll()
        for source in list(self._numbers):
            poller.register(source, select.POLLIN)
        return poller

    def is_posting(self):
        # type: () -> bool
        """Whether something was read from the pipes and may not be posted yet."""
        return self._lock.locked()

    def run(self):
        # type: () -> None
        """Forward until nobody can write any more."""
        # The thread that reads must never write: where the terminal takes nothing, that lasts.
        start_new_thread(self._flush_for_ever, ())
        while self._numbers:
            ready = wait(self._poller, NOTICE_DELAY_MS if any(self._dropped.values()) else None)
            if not self._busy:
                # What is still in a pipe when the program crashes outlives it, what was read a moment ago does not.
                time.sleep(LINGER)
            self._await_room()
            with self._lock:
                self._busy = False
                for source, _ in ready:
                    self._forward(source)
                if not ready and not self._stalled:
                    self._tell_dropped()
            self._ring()

    def _flush_for_ever(self):
        # type: () -> None
        while True:
            self._bell.acquire()
            self.program.flush()

    def _ring(self):
        # type: () -> None
        try:
            self._bell.release()
        except error:
            # It has been rung already and has not been heard yet.
            return

    def _await_room(self):
        # type: () -> None
        """Let the writers wait while the link takes what it has, unless it stands still."""
        patience = 0 if self._stalled else PATIENCE
        while self.program.backlog() > BACKLOG:
            if not patience:
                self._stalled = True
                return
            patience -= 1
            time.sleep(PATIENCE_STEP)
        self._stalled = False

    def _forward(self, source):
        # type: (int) -> None
        """Post what is there, or count it when the link stands still."""
        try:
            data = os.read(source, READ_SIZE)
        except OSError as failure:
            if failure.errno not in (errno.EAGAIN, errno.EINTR):
                self._forget(source)
            return
        if not data:
            self._forget(source)
            return
        self._busy = self._busy or len(data) == READ_SIZE
        if self._stalled:
            self._dropped[source] += len(data)
        else:
            self._tell_dropped()
            self.program.post(messages.pack(messages.OUTPUT, self._numbers[source], data))

    def _tell_dropped(self):
        # type: () -> None
        for source, count in self._dropped.items():
            if count:
                self._dropped[source] = 0
                notice = ("[%d bytes of output dropped]\n" % count).encode("ascii")
                self.program.post(messages.pack(messages.OUTPUT, self._numbers.get(source, 2), notice))

    def _forget(self, source):
        # type: (int) -> None
        for poller in (self._poller, self._drain_poller):
            poller.unregister(source)
        del self._numbers[source]

    def drain(self):
        # type: () -> None
        """Post what has been written so far; where the link has too much to do, that is left to the thread."""
        with self._lock:
            for _ in range(READS_TO_DRAIN):
                ready = wait(self._drain_poller, 0)
                if not ready or self.program.backlog() > BACKLOG:
                    return
                for source, _ in ready:
                    self._forward(source)

    def finish(self):
        # type: () -> None
        """Post what is left at the end, whether or not there is room."""
        with self._lock:
            self._stalled = False
            for _ in range(READS_TO_DRAIN):
                for source, _ in wait(self._drain_poller, 0):
                    self._forward(source)
            self._tell_dropped()


def wait(poller, milliseconds):
    # type: (Any, int | None) -> list[tuple[int, int]]
    """What a poll gives; nothing when a signal interrupts it, as Python 2 reports."""
    try:
        return poller.poll(milliseconds)  # type: ignore[no-any-return]
    except (OSError, select.error) as failure:
        if failure.args[0] != errno.EINTR:
            raise
        return []


def take_descriptors(pipes):
    # type: (list[tuple[int, int]]) -> tuple[int, int, list[tuple[int, int]]]
    """Keep the terminal for frames; user code gets /dev/null to read and pipes to write to.

    Args:
        pipes: Both ends of the pipes for standard output and errors.

    Returns:
        The terminal's input and output, and for each pipe its reading end and the descriptor that feeds it.
    """
    tty_in, tty_out = private(os.dup(0)), private(os.dup(1))
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    outputs = []
    for descriptor, (read_end, write_end) in zip((1, 2), pipes):  # noqa: B905 - Python 2 knows no strict
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


def widen(descriptor):
    # type: (int) -> None
    """Let a pipe hold more, so that its two ends wake each other less often."""
    import fcntl

    try:
        fcntl.fcntl(descriptor, SET_PIPE_SIZE, WIDE_PIPE)
    except (IOError, OSError):
        # It is no pipe, or its user has too many wide ones: then it stays as it is.
        return


def prepare(path):
    # type: (list[str]) -> None
    """Make the world of user code what plain `python` would show: paths, site, and prints that appear at once."""
    # The entry for the working directory comes after site, which would make it absolute.
    sys.path[:] = [entry for entry in path if entry]
    _hide_the_command_line()
    gc.enable()
    try:
        import site

        if not PY2:
            site.main()
    finally:
        sys.path[:0] = [entry for entry in path if not entry]
        # What site's files have printed, and then: the interpreter chose its buffers when there was a terminal.
        flush_standard_streams()
        for name, stream in (("stdout", _line_buffered(sys.stdout, 1)), ("stderr", _line_buffered(sys.stderr, 2))):
            setattr(sys, name, stream)
            setattr(sys, "__%s__" % name, stream)


def _hide_the_command_line():
    # type: () -> None
    """Let nobody see that the program was started with `-S` and a command: user code may look, or start its like."""
    sys.argv[:] = [""]
    if hasattr(sys, "orig_argv"):
        del sys.orig_argv[1:]
    text = repr(sys.flags).replace("no_site=1", "no_site=0")
    names = [part.partition("=")[0] for part in text[text.index("(") + 1 : -1].split(", ")]
    members = {}  # type: dict[str, Any]
    members.update((name, getattr(sys.flags, name)) for name in dir(sys.flags) if name[0] != "_")
    members.update(no_site=0, __slots__=(), __repr__=lambda _: text)
    plain = [0 if name == "no_site" else value for name, value in zip(names, sys.flags)]  # noqa: B905 - Python 2
    setattr(sys, "flags", type("flags", (tuple,), members)(plain))  # noqa: B010 - it is final for mypy only


def _line_buffered(stream, descriptor):
    # type: (Any, int) -> Any
    if PY2:
        return os.fdopen(descriptor, "w", 1)
    return io.open(descriptor, "w", 1, encoding=stream.encoding, errors="backslashreplace", closefd=False)


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


def complain():
    # type: () -> None
    """Print what is being raised where the controller can read it."""
    import traceback

    text = traceback.format_exc()  # type: Any
    try:
        os.write(2, text if isinstance(text, bytes) else text.encode("ascii", "backslashreplace"))
    except OSError:
        # User code has closed it.
        return
