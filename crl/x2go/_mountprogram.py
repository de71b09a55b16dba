"""The program that mounts a folder on the server over a channel of its own: it becomes sshfs at the channel's far end.

The server's script does all else that belongs to a share, and believes to call sshfs: what it finds in the first folder
of its PATH hands its words to this program and waits for what it says. The text runs on the server, in Python 2.7 and 3
with what a minimal installation has; it promises that it ends within a minute unless it has become sshfs, at once when
the channel does, and that nothing of its own is left then.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

__all__ = ["MountWish"]

PROGRAM: Final = r'''
import os, select, signal, sys

WRAPPER = b"""#!/bin/sh
d=${0%/*}
printf '%s\\n' "$@" >"$d/asked" && read -r s <"$d/answer" && exit "$s"
exit 1
"""
SECONDS = 60
encode = getattr(os, "fsencode", bytes)

class Late(Exception):
    pass

def late(*_):
    raise Late()

def say(text):
    os.write(1, text + b"\n")

def unescaped(word):
    for code, char in ((b"040", b" "), (b"011", b"\t"), (b"012", b"\n"), (b"134", b"\\")):
        word = word.replace(b"\\" + code, char)
    return word

def is_mounted(stream, place):
    stream.seek(0)
    return any(unescaped(line.split()[1]) == place for line in stream.read().splitlines())

def clean(place, old, path):
    try:
        with open("/proc/%d/cmdline" % old, "rb") as stream:
            words = stream.read().split(b"\0")
        if os.path.basename(words[0]) == b"sshfs" and place in words:
            os.kill(old, signal.SIGKILL)
    except (IOError, OSError):
        pass
    with open("/proc/self/mounts", "rb") as stream:
        there = is_mounted(stream, place)
    for folder in path.split(b":"):
        for name in (b"fusermount3", b"fusermount"):
            program = os.path.join(folder, name)
            if there and os.access(program, os.X_OK):
                there = os.spawnv(os.P_WAIT, program, [program, b"-u", b"-z", place]) != 0
    if not there and os.path.isdir(place):
        os.chmod(place, 0o700)

def make(folder):
    try:
        os.mkdir(folder, 0o700)
    except OSError:
        return False
    wrapper = os.path.join(folder, b"sshfs")
    fd = os.open(wrapper, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o700)
    os.write(fd, WRAPPER)
    os.close(fd)
    for name in (b"asked", b"answer"):
        os.mkfifo(os.path.join(folder, name), 0o600)
    if os.access(wrapper, os.X_OK):
        return True
    remove(folder)
    return False

def remove(folder):
    try:
        for name in os.listdir(folder):
            os.unlink(os.path.join(folder, name))
        os.rmdir(folder)
    except OSError:
        pass

def await_words(fifo):
    poll = select.poll()
    poll.register(0, select.POLLIN)
    poll.register(fifo, select.POLLIN)
    data = b""
    while len(data) < 65536:
        ready = [number for number, _ in poll.poll()]
        if 0 in ready:
            return []
        piece = os.read(fifo, 4096)
        if not piece:
            return data.split(b"\n")[:-1]
        data += piece
    return []

def await_mount(place, life):
    with open("/proc/self/mounts", "rb") as stream:
        poll = select.poll()
        poll.register(stream, select.POLLERR | select.POLLPRI)
        poll.register(life, select.POLLIN)
        ended = False
        while not is_mounted(stream, place):
            if ended:
                return False
            ended = life in [number for number, _ in poll.poll()]
    return True

def watch(folder, place, under, life):
    signal.alarm(SECONDS)
    null = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(null, number)
    try:
        mounted = await_mount(place, life)
        if mounted:
            # What lies under the mount: nobody shall write there while it is gone.
            os.fchmod(under, 0o500)
        if folder:
            fd = os.open(os.path.join(folder, b"answer"), os.O_WRONLY)
            os.write(fd, b"0\n" if mounted else b"1\n")
            os.close(fd)
    finally:
        if folder:
            remove(folder)

def have_watched(folder, place):
    under = os.open(place, os.O_RDONLY)
    life, held = os.pipe()
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            try:
                os.close(held)
                watch(folder, place, under, life)
            finally:
                os._exit(0)
        os._exit(0)
    os.wait()
    os.close(life)
    os.close(under)
    if hasattr(os, "set_inheritable"):
        os.set_inheritable(held, True)

def become_sshfs(sshfs, words, option, log, path):
    fd = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)
    os.dup2(fd, 2)
    os.close(fd)
    signal.alarm(0)
    os.environ["PATH"] = path if str is bytes else os.fsdecode(path)
    try:
        os.execv(sshfs, [b"sshfs"] + words + [b"-o", option])
    finally:
        os._exit(127)

def main(sshfs, option, path, log, place, old, folders, *words):
    words = list(words)
    signal.signal(signal.SIGALRM, late)
    signal.alarm(SECONDS)
    clean(place, int(old), path)
    if words and not os.path.isdir(place):
        return say(b"gone")
    folder = b""
    try:
        if not words:
            folder = next((each for each in folders.split(b":") if make(each)), b"")
            if not folder:
                return say(b"no")
            fifo = os.open(os.path.join(folder, b"asked"), os.O_RDONLY | os.O_NONBLOCK)
        say(("ready %d " % os.getpid()).encode("ascii") + folder)
        if folder:
            words = await_words(fifo)
            os.close(fifo)
            if place not in words:
                return
            say(b"\0".join(words))
        have_watched(folder, place)
        become_sshfs(sshfs, words, option, log, path)
    except Late:
        pass
    finally:
        if folder:
            remove(folder)

main(*map(encode, sys.argv[1:]))
'''


@dataclass(frozen=True)
class MountWish:
    """What the program is to do.

    Args:
        python: The interpreter there.
        sshfs: The program sshfs.
        option: How this sshfs calls it that its standard input and output are the stream.
        path: Where programs are.
        log: The file for what sshfs has to say.
        place: Where it mounts.
        folders: Names for a folder that does not exist yet, of which the first that can be made and run from is taken.
        words: The words for sshfs, where they are known already: then nobody is waited for.
        old: The number of the process that had mounted the same place.
    """

    python: str
    sshfs: str
    option: str
    path: str
    log: str
    place: str
    folders: Sequence[str] = ()
    words: Sequence[str] = ()
    old: int = 0

    def command(self) -> list[str]:
        """Program and arguments."""
        return [
            self.python, "-ESs", "-c", f"exec({PROGRAM!a})", self.sshfs, self.option, self.path, self.log, self.place,
            str(self.old), ":".join(self.folders), *self.words,
        ]  # fmt: skip
