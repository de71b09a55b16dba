"""The supervisor of one lab host: holds its namespaces and disk, starts its PID 1 and starts it again.

Run as ``python -m crl.lab._supervisor FOLDER HOST FD``; FD is the listening socket on which it is told what to do, one
JSON line a question and one an answer. It knows the host's file system and promises that with it everything of the host
ends: PID 1 is killed by the kernel when the supervisor dies, and the disk lives in its own mount namespace.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import socket
import struct
import subprocess
import sys
import uuid
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from crl.lab import _syscalls as sys_
from crl.lab._init import POWER_OFF
from crl.lab._root import INIT, INIT_CONFIG, NO_CAPABILITIES, PATH, HostRoot
from crl.lab.errors import LabError
from crl.lab.records import LabFolder

if TYPE_CHECKING:
    from crl.lab.plan import HostPlan

# Below those that x2gostartagent gives to its sessions, from 30000 up. It does not see that one is a client's, or was
# just now, and on such a port nobody can listen for a minute.
PORTS_OF_CLIENTS: Final = "10000 29999"
ASKING_LIMIT: Final = 10.0
"""How long one who has called may take to say what he wants, seconds."""
DISK_SIZE: Final = "8g"
LONGEST_LINE: Final = 65536


@dataclass
class State:
    """What the supervisor answers to ``status``.

    Attributes:
        state: ``new``, ``booting``, ``up``, ``off`` or ``failed``.
        boot: Number of the present boot, from 1.
        pid: The supervisor.
        pid1: The host's PID 1 as this machine numbers it, 0 when it does not run.
    """

    state: str = "new"
    boot: int = 0
    boot_id: str = ""
    pid: int = 0
    pid1: int = 0
    error: str = ""


class Supervisor:
    """One host, from the first boot to the end of the lab."""

    def __init__(self, folder: LabFolder, host: HostPlan, root: HostRoot, listener: socket.socket) -> None:
        self.folder = folder
        self.host = host
        self.root = root
        self.listener = listener
        self.state = State(pid=os.getpid())
        self.selector = selectors.DefaultSelector()
        self.waiting: list[tuple[socket.socket, int]] = []
        self.pidfd = -1
        self.report_fd = -1
        self.stopping = False
        self.rebooting = False

    def prepare(self) -> None:
        """Make the namespaces and the disk."""
        sys_.unshare(sys_.CLONE_NEWNS | sys_.CLONE_NEWNET)
        Path("/proc/sys/net/ipv4/ip_forward").write_text("0")
        Path("/proc/sys/net/ipv4/ip_local_port_range").write_text(PORTS_OF_CLIENTS)
        self.root.assemble(DISK_SIZE)
        self.root.provision(self._hashes(), self._host_keys(), self._user_keys())

    def _hashes(self) -> dict[str, str]:
        passwords = {user.login: user.password for user in self.host.users.values()} | {"root": self.host.root_password}
        known = {login: password.value for login, password in passwords.items() if password is not None}
        text = "".join(value + "\n" for value in known.values())
        result = subprocess.run(
            ["openssl", "passwd", "-6", "-stdin"], input=text, text=True, capture_output=True, check=True
        )
        hashes = dict(zip(known, result.stdout.split(), strict=True))
        return {login: hashes.get(login, "*") for login in passwords}

    def _host_keys(self) -> dict[str, str]:
        return {path.name: path.read_text() for path in self.folder.host(self.host.name).glob("ssh_host_*")}

    def _user_keys(self) -> dict[str, str]:
        return {path.stem: path.read_text() for path in self.folder.keys.glob("*.pub")}

    def boot(self) -> None:
        """Start PID 1 in fresh namespaces."""
        sys_.setns("/proc/self/ns/pid", sys_.CLONE_NEWPID)
        sys_.unshare(sys_.CLONE_NEWPID)
        self.rebooting = False
        self.state.boot += 1
        self.state.boot_id = str(uuid.uuid4())
        self.state.state, self.state.error = "booting", ""
        read_end, write_end = os.pipe()
        console = os.open(self.folder.log(f"{self.host.name}.console"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        pid = os.fork()
        if pid == 0:
            self._become_pid1(console, write_end)
        os.close(write_end)
        os.close(console)
        self.state.pid1 = pid
        self.report_fd = read_end
        self.pidfd = os.pidfd_open(pid)
        self.selector.register(read_end, selectors.EVENT_READ, self.hear_report)
        self.selector.register(self.pidfd, selectors.EVENT_READ, self.host_ended)

    def _become_pid1(self, console: int, report: int) -> None:
        """In the child: the host's namespaces, file system and name, then its init; never returns."""
        try:
            sys_.die_with_parent(signal.SIGKILL)
            os.setsid()
            for number, fd in ((1, console), (2, console)):
                os.dup2(fd, number)
            report = os.dup2(report, 3)
            os.closerange(4, 4096)
            signal.set_wakeup_fd(-1)
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                signal.signal(number, signal.SIG_DFL)
            sys_.unshare(sys_.CLONE_NEWNS | sys_.CLONE_NEWUTS | sys_.CLONE_NEWIPC)
            socket.sethostname(self.host.name)
            os.umask(0o022)
            self.root.enter(self.state.boot_id)
            for capability in NO_CAPABILITIES.values():
                sys_.drop_capability(capability)
            environment = {"PATH": PATH, "LANG": "C.UTF-8", "HOME": "/root", "TERM": "linux"}
            os.execve("/usr/bin/python3", ["/usr/bin/python3", "-IS", INIT, INIT_CONFIG], environment)
        except OSError as error:
            os.write(report, json.dumps({"error": str(error)}).encode() + b"\n")
        finally:
            os._exit(POWER_OFF)

    def hear_report(self) -> None:
        """Init says that the host is up, or why not."""
        raw = os.read(self.report_fd, LONGEST_LINE)
        self.selector.unregister(self.report_fd)
        os.close(self.report_fd)
        self.report_fd = -1
        if self.rebooting and not raw:
            return  # It was ended before it was up, to boot again.
        report = json.loads(raw) if raw else {"error": "PID 1 ended before the host was up"}
        if report.get("ready"):
            self.state.state = "up"
        else:
            self.state.state, self.state.error = "failed", report["error"]
        self.tell_waiting()

    def host_ended(self) -> None:
        """PID 1 has ended: bury it, and boot again unless it is to stay off."""
        if self.report_fd >= 0:
            self.hear_report()
        self.selector.unregister(self.pidfd)
        os.close(self.pidfd)
        self.pidfd = -1
        _pid, status = os.waitpid(self.state.pid1, 0)
        self.state.pid1 = 0
        off = os.WEXITSTATUS(status) == POWER_OFF if os.WIFEXITED(status) else os.WTERMSIG(status) == signal.SIGINT
        if self.state.state == "failed" or self.stopping:
            return
        if off:
            self.state.state = "off"
            self.tell_waiting()
        else:
            self.boot()

    def tell_waiting(self) -> None:
        """Answer those who wait for a boot that has come."""
        still = []
        for client, boot in self.waiting:
            if self.state.state == "booting" or (self.state.boot < boot and self.state.state == "up"):
                still.append((client, boot))
            else:
                self.answer(client, asdict(self.state))
        self.waiting = still

    def answer(self, client: socket.socket, message: dict[str, Any]) -> None:
        """Send an answer and hang up; one who has gone gets none."""
        with contextlib.closing(client), contextlib.suppress(OSError):  # he may have gone meanwhile
            client.sendall(json.dumps(message).encode() + b"\n")

    def accept(self) -> None:
        """Hear one question and answer it, now or when the boot has come."""
        client, _address = self.listener.accept()
        client.settimeout(ASKING_LIMIT)
        credentials = client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        try:
            if struct.unpack("3i", credentials)[1] != os.getuid():
                raise ValueError("only the user who started the lab may ask")
            question = json.loads(client.makefile("rb").readline(LONGEST_LINE))
            self.handle(client, question)
        except (OSError, ValueError, KeyError, LabError) as error:
            self.answer(client, {"state": "failed", "error": str(error)})

    def handle(self, client: socket.socket, question: dict[str, Any]) -> None:
        """Do what is asked: ``status``, ``boot`` (when it is off), ``reboot`` (hard or not), ``wait``."""
        what = question["do"]
        target = self.state.boot
        if what in {"boot", "reboot"} and not self.state.pid1:
            self.boot()
            target = self.state.boot
        elif what == "reboot":
            self.rebooting = True
            # One that still boots does not hear that it is asked.
            hard = question.get("hard") or self.state.state == "booting"
            os.kill(self.state.pid1, signal.SIGKILL if hard else signal.SIGINT)
            target += 1
        if what == "status":
            self.answer(client, asdict(self.state))
            return
        self.waiting.append((client, int(question.get("boot", target))))
        if self.state.boot >= self.waiting[-1][1]:
            self.tell_waiting()

    def run(self) -> None:
        """Serve until told to end."""
        wake_read, wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(wake_write)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda *_: setattr(self, "stopping", True))
        self.selector.register(wake_read, selectors.EVENT_READ, lambda: os.read(wake_read, 64))
        self.selector.register(self.listener, selectors.EVENT_READ, self.accept)
        while not self.stopping:
            # One at a time: what it does may be the end of another one that was ready too.
            for key, _events in self.selector.select()[:1]:
                key.data()
        if self.state.pid1:
            os.kill(self.state.pid1, signal.SIGKILL)
            os.waitpid(self.state.pid1, 0)


def main(arguments: list[str]) -> int:
    """Be the supervisor."""
    folder, name, fd = LabFolder(Path(arguments[0])), arguments[1], int(arguments[2])
    os.chdir("/")
    plan = folder.load()
    host = plan.hosts[name]
    base = folder.host(name) / "disk"
    base.mkdir(exist_ok=True)
    supervisor = Supervisor(folder, host, HostRoot(plan, host, base), socket.socket(fileno=fd))
    supervisor.prepare()
    supervisor.run()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
