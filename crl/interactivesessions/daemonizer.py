"""Commands that go on when the process which started them has ended.

It can be used here, and sent to a target (`RemoteImporter.importmodule`): it knows nothing of crl and keeps to what
Python 2.7 and 3.6 have in common. It promises the process id of the command's own shell, which leads a session and a
process group of its own, and that no zombie of it is left to the caller.
"""
# ruff: noqa: F401 - names in type comments look unused.

import os
import subprocess
import sys

MYPY = False
if MYPY:
    from collections.abc import Mapping

__all__ = ["daemon_popen"]

# Another process starts the command and ends: this one may have threads, so it must not fork itself.
_STARTER = """
import os, subprocess, sys
command, executable, path = sys.argv[1:]
try:
    process = subprocess.Popen(
        command, executable=executable, shell=True, preexec_fn=os.setsid, close_fds=True,
        stdin=open(os.devnull, 'rb'), stdout=open(path or os.devnull, 'wb'), stderr=subprocess.STDOUT)
    told = str(process.pid)
except EnvironmentError as error:
    told = '-%d %s' % (error.errno, error.filename)
sys.stdout.write(told)
sys.stdout.flush()
os._exit(0)
"""


def daemon_popen(cmd, executable, env, outfile=None):
    # type: (str, str, Mapping[str, str] | None, str | None) -> int
    """Start a command and leave it running.

    Args:
        cmd: The text that the shell runs.
        executable: The shell.
        env: Its environment; None is that of this process.
        outfile: Where its output and errors go; None drops them.

    Returns:
        Its process id, which is that of its process group too: ``os.killpg`` ends all of it.

    Raises:
        OSError: It cannot be started.
    """
    starter = subprocess.Popen(
        [sys.executable, "-S", "-E", "-c", _STARTER, cmd, executable, outfile or ""],
        env=None if env is None else dict(env),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        close_fds=True,
    )
    told = starter.communicate()[0].decode("utf-8", "replace")
    if told.isdigit():
        return int(told)
    code, _, path = told.lstrip("-").partition(" ")
    number = int(code or 0)
    raise OSError(number, os.strerror(number) if number else "the command was not started", path or executable)
