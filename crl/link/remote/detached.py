"""Processes on the target that nobody owns: they stay when the link ends, and can be looked at by a later one.

One whose output is kept has a keeper: a small Python of its own that writes the newest bytes into a file without a
name, where whoever may look into the keeper's ``/proc`` entry reads them. It is sent on first use.
"""
# ruff: noqa: F401, FBT003 - names in type comments look unused.

import errno
import os
import signal
import struct
import subprocess
import sys

from crl.link.remote import ending, processes, world
from crl.link.wire.compat import start_new_thread

MYPY = False
if MYPY:
    from typing import Any

RING = 9
# Size of the ring, bytes written so far, whether the process has ended, its status.
HEADER = struct.Struct(">QQ?q")
# How many bytes there are once what is being written now stands; not there while nothing has been written.
COMING = struct.Struct(">Q")
COMING_PLACE = 32
START = 64
PATIENCE = 5.0

# Runs by itself: starts the command given after its own arguments, keeps what it writes, then waits to be asked.
KEEPER = r"""
import errno, fcntl, os, select, signal, struct, sys, time
size, keep, mark, argv = int(sys.argv[1]), float(sys.argv[2]), sys.argv[3], sys.argv[4:]
header = struct.Struct(">QQ?q")
try:
    made = os.memfd_create("output")
except (AttributeError, OSError):
    import tempfile
    made, name = tempfile.mkstemp()
    os.unlink(name)
report = os.dup(1)
source, sink = os.pipe()
# Out of the way first, then each to its place.
places = ((made, 9), (report, 8), (source, 7), (sink, 6))
for descriptor, number in [(fcntl.fcntl(d, fcntl.F_DUPFD, 20), n) for d, n in places]:
    os.dup2(descriptor, number)
    os.close(descriptor)
for descriptor in (made, report, source, sink):
    if not 6 <= descriptor <= 9:
        os.close(descriptor)
def write(offset, data):
    os.lseek(9, offset, 0)
    while data:
        data = data[os.write(9, data):]
state = [0, False, 0]
ended = []
def tell():
    write(0, header.pack(size, *state))
tell()
failed, fails = os.pipe()
pid = os.fork()
if pid == 0:
    os.setsid()
    os.dup2(6, 1)
    os.dup2(6, 2)
    fcntl.fcntl(fails, fcntl.F_SETFD, fcntl.FD_CLOEXEC)
    for descriptor in (6, 7, 8, 9, failed):
        os.close(descriptor)
    for name in ("SIGPIPE", "SIGXFSZ"):
        signal.signal(getattr(signal, name), signal.SIG_DFL)
    name, _, value = mark.partition("=")
    os.environ[name] = value
    try:
        os.execvp(argv[0], argv)
    except OSError as error:
        os.write(fails, str(error.errno).encode("ascii"))
    os._exit(127)
os.close(6)
os.close(fails)
reason = os.read(failed, 16)
os.close(failed)
os.write(8, b"%s %s\n" % (str(pid).encode("ascii"), reason or b"0"))
os.close(8)
null = os.open(os.devnull, os.O_RDWR)
os.dup2(null, 1)
if reason:
    os._exit(1)
def look(options):
    if not ended:
        found, status = os.waitpid(pid, options)
        if found:
            ended.append(-os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status))
def tell_end():
    state[1:] = [True, ended[0]]
    tell()
woken, wakes = os.pipe()
for descriptor in (woken, wakes):
    fcntl.fcntl(descriptor, fcntl.F_SETFL, fcntl.fcntl(descriptor, fcntl.F_GETFL) | os.O_NONBLOCK)
signal.set_wakeup_fd(wakes)
signal.signal(signal.SIGCHLD, lambda *_: None)
# It may have ended before.
os.write(wakes, b"c")
signal.signal(signal.SIGHUP, signal.SIG_IGN)
poller = select.poll()
poller.register(7, select.POLLIN)
poller.register(woken, select.POLLIN)
while True:
    try:
        ready = [descriptor for descriptor, _ in poller.poll(None if state[1] else 0 if ended else 10000)]
    except (OSError, select.error):
        continue
    if 7 not in ready:
        if ready:
            os.read(woken, 100)
        if not ended:
            look(os.WNOHANG)
        elif not state[1]:
            # Only after another look: what it wrote before its end comes before its end.
            tell_end()
        continue
    data = os.read(7, 65536)
    if not data:
        break
    skipped = max(0, len(data) - size)
    state[0] += skipped
    data = data[skipped:]
    place = state[0] % size
    # Before it takes the place of older bytes, which somebody may be reading.
    write(32, struct.pack(">Q", state[0] + len(data)))
    write(64 + place, data[:size - place])
    write(64, data[size - place:])
    state[0] += len(data)
    tell()
look(0)
if not state[1]:
    tell_end()
until = time.time() + keep
while time.time() < until:
    time.sleep(min(60.0, keep))
"""


class Detached(object):
    """Starts them, and looks after them by their numbers."""

    def __init__(self, program):
        # type: (Any) -> None
        self.program = program
        for name in ("start", "alive", "signal", "stop", "read", "forget"):
            program.calls.services["detached." + name] = getattr(self, name)

    def start(self, command, options, nonce):
        # type: (Any, dict[str, Any], str) -> tuple[int, int, int, int]
        """Start a process; returns its number and birth, and those of its keeper or zeros."""
        argv = processes.command_line(command)
        environment = processes.environment(options.get("env"), nonce)
        if not options.get("spool"):
            child = self._spawn(argv, options, environment, None)
            return int(child.pid), _born(child.pid), 0, 0
        # The keeper itself does not carry the mark: it stays when the process is ended.
        ours = processes.environment(options.get("env"), None)
        keep = [str(options["spool"]), str(options["keep"]), "%s=%s" % (ending.NONCE, nonce)]
        report_read, report_write = (world.private(end) for end in os.pipe())
        try:
            keeper = self._spawn([sys.executable, "-S", "-c", KEEPER] + keep + argv, options, ours, report_write)
        finally:
            os.close(report_write)
            answer = _read_all(report_read)
        if answer.count(b" ") != 1:
            raise OSError(errno.EIO, "what keeps the output did not start")
        pid, failure = map(int, answer.split())
        if failure:
            raise OSError(failure, os.strerror(failure), argv[0])
        return pid, _born(pid), int(keeper.pid), _born(keeper.pid)

    def _spawn(self, argv, options, environment, output):
        # type: (list[Any], dict[str, Any], dict[Any, Any], int | None) -> Any
        null = os.open(os.devnull, os.O_RDWR)
        try:
            ends = processes.Ends((null, null if output is None else output, null))
            child = processes.spawn(argv, options, ends, environment)
        finally:
            os.close(null)
        start_new_thread(child.wait, ())
        return child

    def alive(self, pid, born):
        # type: (int, int) -> bool
        """Whether it runs still."""
        return _is(pid, born)

    def signal(self, pid, born, signum):
        # type: (int, int, int) -> bool
        """Send a signal to its group; False when it is gone."""
        return _is(pid, born) and ending.send(os.killpg, pid, signum)

    def stop(self, pid, born, nonce, grace):
        # type: (int, int, str, float) -> list[int]
        """End it and all its children; returns who is alive all the same."""

        def leaders():
            # type: () -> list[int]
            return [pid] if _is(pid, born) else []

        def signal_group(signum):
            # type: (int) -> None
            if leaders():
                ending.send(os.killpg, pid, signum)

        return ending.end_family(ending.Family([nonce] if nonce else [], leaders), signal_group, grace, PATIENCE)

    def read(self, keeper, born, offset, count):
        # type: (int, int, int, int) -> tuple[int, bytearray, int, int | None]
        """Where what is kept begins from `offset` on, its bytes, how many were written in all, and its status.

        Raises:
            OSError: Its keeper is gone.
        """
        if not _is(keeper, born):
            raise OSError(errno.ESRCH, "its output is not kept any more")
        ring = os.open("/proc/%d/fd/%d" % (keeper, RING), os.O_RDONLY)
        try:
            size, total, _, _ = _header(ring)
            begin = max(offset, total - size, 0)
            data = _read_ring(ring, size, begin, min(total - begin, count))
            # What was written over while we read is gone: the status is that of this second look, too.
            size, total, over, status = _header(ring)
            lost = max(0, max(total, _coming(ring)) - size - begin)
            return begin + min(lost, len(data)), bytearray(data[lost:]), total, status if over else None
        finally:
            os.close(ring)

    def forget(self, keeper, born):
        # type: (int, int) -> None
        """Keep its output no longer."""
        if _is(keeper, born):
            ending.send(os.kill, keeper, signal.SIGKILL)


def _is(pid, born):
    # type: (int, int) -> bool
    """Whether a process of that number runs, and is the one that was born then; 0 is any."""
    entry = ending.look_up(pid)
    return entry is not None and entry.state not in ending.DEAD and born in (0, entry.born)


def _born(pid):
    # type: (int) -> int
    entry = ending.look_up(pid)
    return 0 if entry is None else entry.born


def _read_all(descriptor):
    # type: (int) -> bytes
    with os.fdopen(descriptor, "rb") as pipe:
        return pipe.read()


def _header(ring):
    # type: (int) -> tuple[int, int, bool, int]
    os.lseek(ring, 0, os.SEEK_SET)
    return HEADER.unpack(os.read(ring, HEADER.size))


def _coming(ring):
    # type: (int) -> int
    os.lseek(ring, COMING_PLACE, os.SEEK_SET)
    coming = os.read(ring, COMING.size)
    return int(COMING.unpack(coming)[0]) if len(coming) == COMING.size else 0


def _read_ring(ring, size, begin, count):
    # type: (int, int, int, int) -> bytes
    taken = []
    while count > 0:
        place = begin % size
        os.lseek(ring, START + place, os.SEEK_SET)
        piece = os.read(ring, min(count, size - place))
        if not piece:
            break
        taken.append(piece)
        begin += len(piece)
        count -= len(piece)
    return b"".join(taken)


def install(program):
    # type: (Any) -> None
    """Called when this piece arrives."""
    program.detached = Detached(program)
