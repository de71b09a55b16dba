"""What every peer has run on the target: the same few functions for all, sent as text.

It knows the standard library only and imports what is heavy where it is used, so that a remote program's memory is its
own. It promises that what it measures is measured on the target.
"""

import os

MYPY = False
if MYPY:
    # Only for checkers: `ssh host python3 -c 1`, which a first result is compared with, does not load it either.
    from typing import Any

DATA: "dict[object, Any]" = {}


def add(number: int) -> int:
    """A small call."""
    return number + 1


def size(data: bytes) -> int:
    """What comes of a large argument."""
    return len(data)


def blob(count: int) -> bytes:
    """A large result, which is made once."""
    if count not in DATA:
        DATA.clear()
        DATA[count] = os.urandom(count)
    data: bytes = DATA[count]
    return data


def value(kind: str) -> object:
    """A value of a kind."""
    if kind not in DATA:
        DATA[kind] = list(range(100000)) if kind == "ints" else {f"key {n}": f"value {n}" for n in range(10000)}
    return DATA[kind]


def rest(seconds: float) -> None:
    """A call that waits."""
    import time

    time.sleep(seconds)


def spin(seconds: float) -> None:
    """A call that computes."""
    import time

    end = time.time() + seconds
    while time.time() < end:
        pass


def run(argv: list[str]) -> tuple[int, bytes, bytes]:
    """A command with its output and status."""
    import subprocess

    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    return done.returncode, done.stdout, done.stderr


def make(path: str, count: int) -> None:
    """A file of random bytes."""
    with open(path, "wb") as file:
        for _ in range(count >> 20):
            file.write(os.urandom(1 << 20))


def write(path: str, offset: int, data: bytes) -> None:
    """One piece of a file."""
    with open(path, "r+b" if offset else "wb") as file:
        file.seek(offset)
        file.write(data)


def read(path: str, offset: int, count: int) -> bytes:
    """One piece of a file."""
    with open(path, "rb") as file:
        file.seek(offset)
        return file.read(count)


def folder(path: str) -> None:
    """A folder, empty."""
    import shutil

    shutil.rmtree(path, ignore_errors=True)
    os.mkdir(path)


def names(path: str) -> list[str]:
    """The names in a folder."""
    return sorted(os.listdir(path))


def memory(reset: int) -> list[int]:
    """Resident memory now and at most since the last reset, in kB."""
    if reset:
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")
    with open("/proc/self/status") as file:
        fields = dict(line.split(":", 1) for line in file)
    return [int(fields["VmRSS"].split()[0]), int(fields["VmHWM"].split()[0])]


def footprint() -> dict[str, int]:
    """What we are on the target: memory of this process, interpreters and files of this user."""
    uid, interpreters, files = os.getuid(), 0, 0
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            mine = os.stat("/proc/" + pid).st_uid == uid
            interpreters += mine and "python" in os.path.basename(os.readlink(f"/proc/{pid}/exe"))
        except OSError:
            continue  # it has just ended
    for top in (os.path.expanduser("~"), "/tmp", "/var/tmp", "/dev/shm"):
        for where, _, found in os.walk(top):
            files += sum(os.lstat(os.path.join(where, name)).st_uid == uid for name in found)
    return {"rss": memory(0)[0], "interpreters": interpreters, "files": files}


def attend(connection: "Any") -> None:
    """Serve one connection: echo (``E``), swallow (``S`` and a count) or give (``G`` and a count)."""
    with connection:
        kind = connection.recv(1)
        count = int(connection.recv(12)) if kind in (b"S", b"G") else 0
        if kind == b"G":
            connection.sendall(blob(count))
            return
        while kind == b"E" or count > 0:
            data = connection.recv(65536)
            if not data:
                return
            count -= len(data)
            if kind == b"E":
                connection.sendall(data)
        connection.sendall(b".")


def serve() -> None:
    """Attend to whoever connects; prints the port and ends with the standard input."""
    import socket
    import sys
    import threading

    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(16)
    print(listener.getsockname()[1], flush=True)

    def accept() -> None:
        while True:
            connection = listener.accept()[0]
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=attend, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    sys.stdin.read()
