"""A terminal of its own for a command on the target.

The source here runs there, on Python 2.7 and 3.6 or later, as a process between the link and the command.
"""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["with_pty"]

# Copies between our pipes and the terminal, hands signals on to the command's own group, and ends with its status.
SOURCE = r"""
import fcntl, os, pty, select, signal, struct, sys, termios
pid, master = pty.fork()
if pid == 0:
    try:
        os.execvp(sys.argv[1], sys.argv[1:])
    except OSError as error:
        sys.stderr.write("%s: %s\n" % (sys.argv[1], error.strerror))
        sys.stderr.flush()
        os._exit(127)
fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2):
    signal.signal(number, lambda number, frame: os.killpg(pid, number))
sources = [0, master]
while master in sources:
    try:
        ready = select.select(sources, [], [])[0]
    except (OSError, select.error):
        continue
    for source in ready:
        try:
            data = os.read(source, 65536)
        except OSError:
            data = b""
        if not data:
            sources.remove(source)
            if source == 0:
                os.write(master, b"\x04")
        while data:
            data = data[os.write(1 if source == master else master, data):]
status = os.waitpid(pid, 0)[1]
if os.WIFSIGNALED(status):
    signal.signal(os.WTERMSIG(status), signal.SIG_DFL)
    os.kill(os.getpid(), os.WTERMSIG(status))
os._exit(os.WEXITSTATUS(status))
"""


def with_pty(argv: Sequence[str], python: str) -> list[str]:
    """The argument list that runs `argv` in a terminal of its own.

    Args:
        argv: The command.
        python: The target's interpreter.
    """
    return [python, "-c", SOURCE, *argv]
