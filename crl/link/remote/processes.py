"""Processes on the target: started, fed, watched, signalled and, with all their children, ended.

Each owned process leads a session of its own and carries a nonce in its environment, by which children are found again
that left its process group; killing is proved by looking. Detached processes are started and forgotten.
"""

import errno
import os
import signal
import subprocess
import sys
import time

from crl.link.wire import messages
from crl.link.remote import streams

try:
    from _thread import start_new_thread
except ImportError:
    from thread import start_new_thread  # type: ignore[import-not-found,no-redef]

if sys.version_info[0] > 2:
    OWN_SESSION = {"start_new_session": True}
else:

    def _new_session():  # type: ignore
        """What Python 3 does in C: a session of its own, and SIGPIPE as programs expect it."""
        os.setsid()
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)

    OWN_SESSION = {"preexec_fn": _new_session}

NONCE = "CRL_PROCESS_NONCE"
now = getattr(time, "monotonic", time.time)

DRAIN_STEP = 0.02
DRAIN_QUIET = 0.3
KILL_STEP = 0.02


class Processes(object):
    """The processes that the controller asked for."""

    def __init__(self, program):  # type: ignore
        self.program = program
        self.running = {}
        program.at_end.append(self.end_all)
        program.calls.services["process.start"] = self.start
        program.calls.services["process.signal"] = self.signal
        program.calls.services["process.kill"] = self.kill
        program.calls.services["process.detach"] = self.detach

    def start(self, number, command, env, cwd, nonce):  # type: ignore
        """Start an owned process; its streams are `number` (input), `number` + 1 (output) and `number` + 2 (errors)."""
        child = subprocess.Popen(
            _command(command),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            close_fds=True,
            cwd=cwd,
            env=_environment(env, nonce),
            **OWN_SESSION
        )
        started = _Running(number, child, nonce)
        self.running[number] = started
        pump = self.program.pump
        for offset, pipe in enumerate((child.stdin, child.stdout, child.stderr)):
            streams.set_nonblocking(pipe.fileno())
            source, sink = (None, pipe.fileno()) if offset == 0 else (pipe.fileno(), None)
            pump.add(streams.Stream(number + offset, source, sink, pipe.close, started.stream_over, number))
        start_new_thread(self._watch, (started,))
        return child.pid

    def detach(self, command, env, cwd):  # type: ignore
        """Start a process that nobody owns: it stays when the link ends."""
        null_read, null_write = os.open(os.devnull, os.O_RDONLY), os.open(os.devnull, os.O_WRONLY)
        try:
            child = subprocess.Popen(
                _command(command),
                stdin=null_read,
                stdout=null_write,
                stderr=null_write,
                close_fds=True,
                cwd=cwd,
                env=_environment(env, None),
                **OWN_SESSION
            )
        finally:
            os.close(null_read)
            os.close(null_write)
        start_new_thread(child.wait, ())
        return child.pid

    def signal(self, number, signum):  # type: ignore
        """Send a signal to the process group; False when it has ended."""
        running = self.running.get(number)
        if running is None:
            return False
        return _signal_group(running.child.pid, signum)

    def kill(self, number, grace, nonce):  # type: ignore
        """End a process and all its children: TERM, then after `grace` seconds KILL; returns the ids still alive."""
        running = self.running.get(number)
        pid = None if running is None else running.child.pid
        for signum, patience in ((signal.SIGTERM, grace), (signal.SIGKILL, 5.0)):
            if pid is not None:
                _signal_group(pid, signum)
            for straggler in alive_with(nonce):
                _signal(straggler, signum)
            until = now() + patience
            while alive_with(nonce):
                if now() >= until:
                    break
                time.sleep(KILL_STEP)
            else:
                return []
        return alive_with(nonce)

    def end_all(self):  # type: ignore
        """Leave nothing that was asked to be owned."""
        for number, running in list(self.running.items()):
            if running.child.poll() is None or alive_with(running.nonce):
                self.kill(number, 0.2, running.nonce)

    def _watch(self, running):  # type: ignore
        """Wait for the end of one process, give its output time to arrive, and tell."""
        status = running.child.wait()
        complete = self._drain(running)
        self._end_input(running)
        self.running.pop(running.number, None)
        body = messages.EXIT_BODY.pack(complete, status)
        self.program.send(messages.pack(messages.EXIT, running.number, body), running.number)

    def _end_input(self, running):  # type: ignore
        stream = self.program.pump.streams.get(running.number)
        if stream is not None:
            stream.pending = []
            stream.ending = True
            self.program.pump.wake()

    def _drain(self, running):  # type: ignore
        """Wait until both outputs have ended; a child left behind may hold them open, then until they are quiet."""
        quiet = 0.0
        before = None
        while running.outputs_open:
            state = [s.credit for s in running.open_streams(self.program.pump)]
            # Without credit the controller is behind: silence then says nothing.
            quiet = quiet + DRAIN_STEP if state == before and min(state or [1]) > 0 else 0.0
            if quiet >= DRAIN_QUIET:
                for stream in running.open_streams(self.program.pump):
                    stream.source = None
                self.program.pump.wake()
                return False
            before = state
            time.sleep(DRAIN_STEP)
        return True


class _Running(object):
    """One owned process and how many of its outputs are open."""

    def __init__(self, number, child, nonce):  # type: ignore
        self.number = number
        self.child = child
        self.nonce = nonce
        self.outputs_open = 2

    def open_streams(self, pump):  # type: ignore
        found = (pump.streams.get(self.number + offset) for offset in (1, 2))
        return [stream for stream in found if stream is not None]

    def stream_over(self, stream):  # type: ignore
        if stream.number == self.number + 1:
            self.child.stdout.close()
            self.outputs_open -= 1
        elif stream.number == self.number + 2:
            self.child.stderr.close()
            self.outputs_open -= 1


def _command(command):  # type: ignore
    """An argument list as it is, a text as a line for the shell."""
    return ["/bin/sh", "-c", command] if isinstance(command, (str, type(u""))) else list(command)


def _environment(env, nonce):  # type: ignore
    """The environment for a process: ours, with the changes; None removes a variable."""
    merged = dict(os.environ)
    for name, value in (env or {}).items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = value
    if nonce is not None:
        merged[NONCE] = nonce
    return merged


def _signal(pid, signum):  # type: ignore
    try:
        os.kill(pid, signum)
    except OSError as error:
        if error.errno not in (errno.ESRCH, errno.EPERM):
            raise
        return False
    return True


def _signal_group(pid, signum):  # type: ignore
    try:
        os.killpg(pid, signum)
    except OSError as error:
        if error.errno not in (errno.ESRCH, errno.EPERM):
            raise
        return False
    return True


def alive_with(nonce):  # type: ignore
    """The ids of living processes, zombies aside, that carry the nonce in their environment."""
    wanted = ("%s=%s" % (NONCE, nonce)).encode("ascii")
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open("/proc/%s/environ" % entry, "rb") as environ:
                    if wanted in environ.read().split(b"\0"):
                        found.append(int(entry))
            except (IOError, OSError):
                # It ended meanwhile, or belongs to somebody else.
                continue
    return found


def install(program):  # type: ignore
    """Called when this piece arrives."""
    program.processes = Processes(program)
