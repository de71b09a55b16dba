"""What is there before and after: processes, files and sockets, on this machine and on the hosts of the lab.

An inventory is a set of plain lines; the difference of two is the proof that nothing was left, or what was. Looking is
all it does.
"""

from __future__ import annotations

import os
import tempfile
import threading
import time
from collections.abc import Callable, Container
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from crl.lab import Lab

__all__ = ["Inventory", "LabParts", "difference_when_settled", "inventory_of_host", "inventory_of_us"]

Inventory = frozenset[str]
# What the hosts' own services do for themselves while we look.
SERVICES = ("sshd:", "/usr/sbin/sshd", "x2gocleansessions", "init.py", "/usr/bin/python3 -IS /usr/lib/crl-lab")


def inventory_of_us() -> Inventory:
    """Our child processes, threads, files of ours in the temporary folder, and X displays that are ours or nobody's."""
    ours = _descendants(os.getpid())
    found = {f"process {command}" for command in ours.values()}
    found |= {f"thread {thread.name}" for thread in threading.enumerate()}
    found |= {f"file {path}" for path in Path(tempfile.gettempdir()).glob("crl-*")}
    displays = Path("/tmp/.X11-unix").glob("X*")
    found |= {f"X display {path.name}" for path in displays if not _is_of_others(path.name, ours)}
    return frozenset(found)


def _is_of_others(display: str, ours: Container[int]) -> bool:
    """Whether the X server of a display lives and is none of our processes."""
    try:
        pid = int(Path(f"/tmp/.{display}-lock").read_text())
    except (OSError, ValueError):
        return False
    return pid not in ours and Path(f"/proc/{pid}").exists()


def inventory_of_host(lab: Lab, name: str) -> Inventory:
    """Processes, session folders, X sockets and temporary files of one host of the lab.

    The empty folders that the X2Go server itself keeps for each account (``~/.x2go/ssh``) are its own and do not count.
    """
    host = lab.host(name)
    script = "ls -d /tmp/* /tmp/.x2go-*/C-* /tmp/.X11-unix/X* /tmp/.X*-lock /home/*/.x2go/C-* 2>/dev/null; true"
    files = host.exec(["sh", "-c", script]).stdout.decode().splitlines()
    commands = [process.command for process in host.processes()]
    kept = [command for command in commands if not any(service in command for service in SERVICES)]
    return frozenset([*(f"file {line}" for line in files), *(f"process {command}" for command in kept)])


@dataclass(frozen=True)
class LabParts:
    """What one lab is made of on this machine.

    Attributes:
        folder: Its folder; below it are its mounts, and its processes name it.
        interfaces: Its interfaces on this machine.
        users: The logins of its hosts.
        namespaces: The namespaces of its hosts.
    """

    folder: str
    interfaces: frozenset[str]
    users: frozenset[str]
    namespaces: frozenset[str]

    @classmethod
    def of(cls, lab: Lab) -> LabParts:
        """Look at a lab that is up."""
        hosts = lab.plan.hosts.values()
        pids = {process.outer_pid for host in hosts for process in lab.host(host.name).processes()}
        own = {path for pid in pids for path in _namespaces_of(Path("/proc") / str(pid))}
        return cls(
            str(lab.folder),
            frozenset(host.link.near_interface for host in hosts if host.via is None),
            frozenset(user.login for host in hosts for user in host.users.values()),
            frozenset(own - set(_namespaces_of(Path("/proc/self")))),
        )

    def left(self) -> Inventory:
        """What of it is there now; other labs of the machine do not count."""
        mounts = {line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()}
        users = {line.split(":")[0] for line in Path("/etc/passwd").read_text().splitlines()}
        processes = [entry for entry in Path("/proc").iterdir() if entry.name.isdigit()]
        there = {name for entry in processes for name in _namespaces_of(entry)}
        return frozenset(
            [
                *(f"namespace {name}" for name in self.namespaces & there),
                *(f"mount {name}" for name in mounts if name.startswith(f"{self.folder}/")),
                *(f"interface {name}" for name in self.interfaces if (Path("/sys/class/net") / name).exists()),
                *(f"user {name}" for name in self.users & users),
            ]
        )


def difference_when_settled(before: Inventory, look: Callable[[], Inventory], timeout: float = 20.0) -> Inventory:
    """What is there now and was not before, once it is nothing or the time is over.

    The server removes a session's folder ten seconds after its command's normal end, so that one look is not enough.
    """
    until = time.monotonic() + timeout
    settled = threading.Event()
    while True:
        left = look() - before
        if not left or time.monotonic() > until:
            return frozenset(left)
        settled.wait(0.25)


def _namespaces_of(process: Path) -> list[str]:
    """The namespaces of a process, by its folder below /proc."""
    with suppress(OSError):  # one that has just ended is in none any more
        return [os.readlink(process / "ns" / kind) for kind in ("net", "mnt", "uts", "pid")]
    return []


def _descendants(pid: int) -> dict[int, str]:
    """All processes below one, with their command lines."""
    children: dict[int, list[int]] = {}
    commands: dict[int, str] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace").strip()
            except OSError:
                # It ended while we looked.
                continue
            if fields[0] != "Z":
                children.setdefault(int(fields[1]), []).append(int(entry.name))
                commands[int(entry.name)] = command
    found: dict[int, str] = {}
    waiting = list(children.get(pid, ()))
    while waiting:
        child = waiting.pop()
        found[child] = commands[child]
        waiting.extend(children.get(child, ()))
    return found
