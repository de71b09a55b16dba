"""The remote program itself: reads frames from the terminal, runs calls, writes answers.

One thread has the turn: it reads and runs the calls itself, for a thread hop costs more than a call; a deputy takes the
turn over when a call is not back within two milliseconds, so that a slow call holds up no other. The program promises
to answer nothing from a forked child, and to end what it was asked to own when it ends.
"""

import io
import os
import select
import sys
import time
from collections import deque

from crl.link.wire import messages, session, values
from crl.link.wire.errors import NotTransferable, ProtocolError
from crl.link.remote import calls

try:
    from _thread import allocate_lock, start_new_thread
except ImportError:
    from thread import allocate_lock, start_new_thread  # type: ignore[import-not-found,no-redef]

READ_SIZE = 65536
TICK = 0.002
TICKS_BEFORE_PARKING = 25
SWITCH_INTERVAL = 0.001
OUTPUT_BACKLOG = 256 * 1024
MISSED_HEARTBEATS = 3

now = getattr(time, "monotonic", time.time)


class Program(object):
    """The program's state: one session on one terminal.

    Args:
        tty_in: Descriptor to read frames from.
        tty_out: Descriptor to write frames to, in blocking mode.
        config: Settings of the controller: ``heartbeat`` and ``grace`` in seconds, ``epoch``.
    """

    def __init__(self, tty_in, tty_out, config):  # type: ignore
        self.tty_in = tty_in
        self.tty_out = tty_out
        self.heartbeat = config["heartbeat"]
        self.grace = config["grace"]
        self.session = session.Session(config["epoch"])
        self.calls = calls.Calls(sys.modules["__main__"].__dict__)
        self.handlers = {
            messages.CALL: self._run_call,
            messages.CANCEL: self._cancel,
            messages.RELEASE: self._release,
            messages.LOAD: self._load,
            messages.CLOSE: self._close,
        }
        self.at_end = []
        self.pid = os.getpid()
        self.last_heard = now()
        self._lock = allocate_lock()
        self._write_lock = allocate_lock()
        self._flush_again = False
        self._turn_lock = allocate_lock()
        self._turn = 0
        self._busy = False
        self._started = 0
        self._parked = True
        self._wake_deputy = allocate_lock()
        self._wake_deputy.acquire()
        self._inbox = deque()
        self._cancelled = set()
        self._over = allocate_lock()
        self._over.acquire()

    # -- life ------------------------------------------------------------------------------------------------------

    def serve(self, prepare):  # type: ignore
        """Greet the controller, prepare the world of user code, and serve until the end; never returns."""
        with self._lock:
            self.session.greet(values.encode(self._facts()))
        self.flush()
        prepare()
        start_new_thread(self._deputy, ())
        self._serve_turn(0)
        # This thread has lost its turn to a deputy; the process lives until somebody ends it.
        while True:
            self._over.acquire()

    def _facts(self):  # type: ignore
        return {
            "python": tuple(sys.version_info[:3]),
            "executable": sys.executable or "",
            "pid": self.pid,
            "uid": os.getuid(),
            "codec": values.VERSION,
        }

    def end(self, orderly):  # type: ignore
        """End the program and all it owns."""
        for finish in self.at_end:
            finish()
        if orderly:
            _run_exit_functions()
            with self._lock:
                self.session.part()
            self.flush()
        os._exit(0)

    # -- the turn --------------------------------------------------------------------------------------------------

    def _serve_turn(self, turn):  # type: ignore
        """Read and run while the turn is ours."""
        poller = select.poll()
        poller.register(self.tty_in, select.POLLIN)
        inbox = self._inbox
        while True:
            while inbox:
                self.handle(inbox.popleft(), turn)
                if self._turn != turn:
                    self.flush()
                    return
            self.flush()
            if not poller.poll(1000):
                self._tick()
                continue
            try:
                data = os.read(self.tty_in, READ_SIZE)
            except OSError:
                data = b""
            if not data:
                self.end(False)
            self.last_heard = now()
            with self._lock:
                try:
                    inbox.extend(self.session.receive(data))
                except ProtocolError:
                    self.end(False)

    def handle(self, message, turn):  # type: ignore
        """Do what one message asks."""
        kind, number, body = messages.unpack(message)
        handler = self.handlers.get(kind)
        if handler is not None:
            if kind == messages.CALL or kind == messages.LOAD:
                self._begin()
                handler(number, body)
                with self._turn_lock:
                    if self._turn == turn:
                        self._busy = False
            else:
                handler(number, body)

    def _begin(self):  # type: ignore
        with self._turn_lock:
            self._busy = True
            self._started += 1
            if self._parked:
                self._parked = False
                self._wake_deputy.release()

    def _deputy(self):  # type: ignore
        """Watch the thread that has the turn, and take the turn when it is held up by a call."""
        while True:
            self._wake_deputy.acquire()
            idle = 0
            seen = -1
            while idle < TICKS_BEFORE_PARKING:
                time.sleep(TICK)
                with self._turn_lock:
                    if not self._busy:
                        idle += 1
                        seen = -1
                    elif self._started == seen:
                        self._turn += 1
                        self._busy = False
                        turn = self._turn
                        self._parked = True
                        break
                    else:
                        idle = 0
                        seen = self._started
            else:
                with self._turn_lock:
                    if not self._busy:
                        self._parked = True
                        continue
                    self._wake_deputy.release()
                continue
            start_new_thread(self._deputy, ())
            self._serve_turn(turn)
            return

    def _tick(self):  # type: ignore
        """Nothing came for a second: is the controller still there?"""
        if now() - self.last_heard > MISSED_HEARTBEATS * self.heartbeat + self.grace:
            self.end(False)

    # -- messages --------------------------------------------------------------------------------------------------

    def _run_call(self, number, body):  # type: ignore
        if number in self._cancelled:
            self._cancelled.discard(number)
            return
        answer = self.calls.run(number, body)
        if os.getpid() != self.pid:
            # User code forked and its child came back here: it must not answer in our name.
            os._exit(0)
        self._cancelled.discard(number)
        self.post(answer)

    def _cancel(self, number, _body):  # type: ignore
        # Only calls that wait in the inbox can still be dropped; a running one goes on.
        if any(messages.unpack(m)[:2] == (messages.CALL, number) for m in list(self._inbox)):
            self._cancelled.add(number)

    def _release(self, _number, body):  # type: ignore
        self.calls.release(values.decode(body))

    def _load(self, number, body):  # type: ignore
        name, source = values.decode(body)
        module = sys.modules["_crl"].load(str(name), str(source))  # type: ignore[attr-defined]
        module.install(self)
        self.post(messages.pack(messages.RESULT, number, values.encode(None)))

    def _close(self, _number, _body):  # type: ignore
        self.end(True)

    # -- writing ---------------------------------------------------------------------------------------------------

    def post(self, message, order=None):  # type: ignore
        """Queue a message; the thread with the turn writes it when no more input waits."""
        with self._lock:
            self.session.post(message, order)

    def send(self, message, order=None):  # type: ignore
        """Queue a message and write it now."""
        self.post(message, order)
        self.flush()

    def backlog(self):  # type: ignore
        """How many bytes wait to be written."""
        with self._lock:
            return self.session.backlog

    def flush(self):  # type: ignore
        """Write what may be written; where another thread is at it, it takes ours along."""
        if os.getpid() != self.pid:
            os._exit(0)
        while True:
            self._flush_again = True
            if not self._write_lock.acquire(False):
                return
            try:
                while self._flush_again:
                    self._flush_again = False
                    self._write_ready()
            finally:
                self._write_lock.release()
            if not self._flush_again:
                return

    def _write_ready(self):  # type: ignore
        while True:
            with self._lock:
                ready = self.session.outgoing()
            if not ready:
                return
            # One blocking write a frame: the kernel keeps other writers of the terminal out of the middle of it.
            for frame in ready:
                try:
                    while frame:
                        frame = frame[os.write(self.tty_out, frame) :]
                except OSError:
                    # The terminal is gone; the reading side finds out and decides what happens.
                    return


def _run_exit_functions():  # type: ignore
    """What user code registered for the interpreter's end, as a plain interpreter would."""
    import atexit

    if hasattr(atexit, "_run_exitfuncs"):
        atexit._run_exitfuncs()


def _forward_output(program, descriptor, number):  # type: ignore
    """Send what user code prints as messages, and drop rather than let prints wait for a slow link."""
    dropped = 0
    while True:
        try:
            data = os.read(descriptor, 8192)
        except OSError:
            return
        if not data or os.getpid() != program.pid:
            return
        if program.backlog() > OUTPUT_BACKLOG:
            dropped += len(data)
            continue
        if dropped:
            data = ("[%d bytes of output dropped]\n" % dropped).encode("ascii") + data
            dropped = 0
        program.send(messages.pack(messages.OUTPUT, number, data))


def _take_descriptors():  # type: ignore
    """Keep the terminal for frames; user code gets /dev/null to read and pipes to write to."""
    tty_in, tty_out = _private(os.dup(0)), _private(os.dup(1))
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    outputs = []
    for descriptor in (1, 2):
        read_end, write_end = os.pipe()
        os.dup2(write_end, descriptor)
        os.close(write_end)
        outputs.append((_private(read_end), descriptor))
    return tty_in, tty_out, outputs


def _private(descriptor):  # type: ignore
    """Keep a descriptor out of the programs that user code starts."""
    import fcntl

    flags = fcntl.fcntl(descriptor, fcntl.F_GETFD)
    fcntl.fcntl(descriptor, fcntl.F_SETFD, flags | fcntl.FD_CLOEXEC)
    return descriptor


def _prepare_user_world(path):  # type: ignore
    """Make the world of user code what plain `python` would show: paths, site, and prints that appear at once."""
    # The entry for the working directory comes after site, which would make it absolute.
    sys.path[:] = [entry for entry in path if entry]
    import site

    if sys.version_info[0] > 2:
        site.main()
    sys.path[:0] = [entry for entry in path if not entry]
    # The interpreter chose its buffers when there was a terminal; now there are pipes.
    sys.stdout, sys.stderr = _line_buffered(sys.stdout, 1), _line_buffered(sys.stderr, 2)
    sys.__stdout__, sys.__stderr__ = sys.stdout, sys.stderr


def _line_buffered(stream, descriptor):  # type: ignore
    if sys.version_info[0] > 2:
        return io.open(descriptor, "w", 1, encoding=stream.encoding, errors="backslashreplace", closefd=False)
    return os.fdopen(descriptor, "w", 1)


def main(config, path):  # type: ignore
    """Become the program; never returns."""
    tty_in, tty_out, outputs = _take_descriptors()
    main_names = sys.modules["__main__"].__dict__
    for name in [n for n in main_names if not n.startswith("__")]:
        del main_names[name]
    if hasattr(sys, "setswitchinterval"):
        sys.setswitchinterval(SWITCH_INTERVAL)
    program = Program(tty_in, tty_out, config)
    sys.modules["_crl"].program = program  # type: ignore[attr-defined]
    for descriptor, number in outputs:
        start_new_thread(_forward_output, (program, descriptor, number))
    program.serve(lambda: _prepare_user_world(path))
