"""One host of a running lab, from outside: run something on it, reboot it, spoil its link, freeze its processes.

It knows the lab's folder and asks the host's supervisor; nothing here needs ssh or works through the host's network, so
it works just as well while the link is cut.
"""

from __future__ import annotations

import os
import signal
import subprocess
from typing import TYPE_CHECKING, Final

from crl.errors import UsageError
from crl.lab import _network as network
from crl.lab import _shaping as shaping
from crl.lab._control import BOOT_LIMIT, Condition, ask, condition_of, running
from crl.lab._root import NO_CAPABILITIES, PATH
from crl.lab.errors import LabError, LabTimeout
from crl.lab.processes import LabProcess, in_namespace, namespace_of, wait_stopped

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from crl.lab._shaping import LinkState
    from crl.lab.plan import HostPlan, LabPlan, UserPlan
    from crl.lab.records import LabFolder
    from crl.secrets import Secret

__all__ = ["LabHost"]

_NAMESPACES: Final = ("--mount", "--uts", "--ipc", "--net", "--pid")
STOP_LIMIT: Final = 30.0


class LabHost:
    """One host of a lab; get it from `Lab.host`.

    Args:
        folder: The lab's folder.
        plan: The lab's plan.
        host: This host's part of it.
    """

    def __init__(self, folder: LabFolder, plan: LabPlan, host: HostPlan) -> None:
        self._folder = folder
        self._plan = plan
        self._host = host

    def __repr__(self) -> str:
        return f"<LabHost {self.name} {self.address}:{self.port}>"

    @property
    def name(self) -> str:
        """Its name, also its ssh alias."""
        return self._host.name

    @property
    def address(self) -> str:
        """Its IPv4 address."""
        return self._host.link.address

    @property
    def port(self) -> int:
        """The port of its sshd."""
        return self._host.port

    @property
    def via(self) -> str | None:
        """The host to hop over, None when it is reached directly."""
        return self._host.via

    @property
    def users(self) -> Mapping[str, UserPlan]:
        """Its users by role (``key``, ``password``, ``both`` …)."""
        return self._host.users

    @property
    def root_password(self) -> Secret:
        """The password of root, for su(1); sshd lets no root in."""
        return self._host.root_password

    @property
    def condition(self) -> Condition:
        """How it is now: state, number of the boot, boot id, PID 1."""
        return condition_of(self._folder, self.name)

    def user(self, name: str) -> UserPlan:
        """A user by role or login.

        Raises:
            UsageError: There is none of that name.
        """
        for user in self.users.values():
            if name in {user.role, user.login}:
                return user
        known = ", ".join(self.users)
        raise UsageError(f"there is no user {name!r}", host=self.name, advice=f"take root or one of {known}")

    def command(self, argv: Sequence[str], user: str = "root") -> list[str]:
        """The command of this machine that runs `argv` on the host, as that user, in a clean environment."""
        if isinstance(argv, str) or not argv:
            raise UsageError("the command must be a list with at least one word", host=self.name, doing="running")
        pid1 = running(self._folder, self.name).pid1
        enter = ["nsenter", f"--target={pid1}", *_NAMESPACES, "--"]
        settings = {"PATH": PATH, "LANG": "C.UTF-8", "TERM": os.environ.get("TERM", "dumb")}
        without = ",".join(f"-{name}" for name in NO_CAPABILITIES)
        who = ["setpriv", "--pdeathsig=KILL", f"--bounding-set={without}"]
        user_changes = user not in {"root", "0"}
        if not user_changes:
            settings |= {"HOME": "/root", "USER": "root", "LOGNAME": "root", "SHELL": "/bin/bash"}
        else:
            it = self.user(user)
            settings |= {"HOME": it.home, "USER": it.login, "LOGNAME": it.login, "SHELL": it.shell}
            who += [f"--reuid={it.uid}", f"--regid={it.uid}", "--init-groups"]
        pairs = [f"{name}={value}" for name, value in settings.items()]
        # pdeathsig is forgotten when the user changes, so setpriv comes a second time
        again = ["setpriv", "--pdeathsig=KILL"] if user_changes else []
        return [*enter, *who, *again, "env", "-i", *([f"--chdir={settings['HOME']}"]), *pairs, *argv]

    def exec(
        self,
        argv: Sequence[str],
        user: str = "root",
        input: bytes = b"",  # noqa: A002  # the name that subprocess.run gives it
        timeout: float = 60.0,
    ) -> subprocess.CompletedProcess[bytes]:
        """Run a program on the host, not through its network.

        Args:
            argv: The program and its arguments; no shell is involved.
            user: ``root``, or a role or login of the host.
            input: Its standard input.
            timeout: Seconds; then the program is killed.

        Returns:
            Its exit status (as `subprocess` tells it), stdout and stderr.

        Raises:
            LabHostDown: The host does not run.
            LabTimeout: It was not done in time.
        """
        command = self.command(argv, user)
        try:
            return subprocess.run(command, input=input, capture_output=True, timeout=timeout, check=False)
        except subprocess.TimeoutExpired as error:
            doing = f"running {argv[0]}"
            raise LabTimeout(
                f"it was not done after {timeout:g} s and was killed", host=self.name, doing=doing
            ) from error

    def reboot(self, *, hard: bool = False, timeout: float = BOOT_LIMIT) -> Condition:
        """Reboot it, or switch it on when it is off, and wait until its sshd answers.

        /tmp, /run and all processes are gone then; /home, /etc and the host keys stay; the boot id is a new one.

        Args:
            hard: Kill everything at once instead of asking first.
            timeout: Seconds to wait.

        Raises:
            LabBootError: It did not come up again.
            LabTimeout: It was not up in time.
        """
        return ask(self._folder, self.name, "reboot", timeout=timeout, hard=hard)

    def wait_up(self, boot: int | None = None, *, timeout: float = BOOT_LIMIT) -> Condition:
        """Wait until it is up, for example after a ``reboot`` that was given on the host.

        Args:
            boot: The number of the boot to wait for (`condition` has the present one); None is the present one.
            timeout: Seconds to wait.
        """
        more = {} if boot is None else {"boot": boot}
        return ask(self._folder, self.name, "wait", timeout=timeout, **more)

    def processes(self) -> tuple[LabProcess, ...]:
        """All its processes, by their number on the host."""
        condition = running(self._folder, self.name)
        return tuple(in_namespace("pid", namespace_of(condition.pid1, "pid")))

    def freeze(self, process: int | str) -> tuple[LabProcess, ...]:
        """Stop processes (SIGSTOP) and wait until they stand still: they keep their sockets and say nothing.

        Args:
            process: Its number on the host, or a text that its command line contains.

        Returns:
            The processes that were stopped.

        Raises:
            LabError: There is no such process, or one does not stop.
        """
        stopped = self._signal(process, signal.SIGSTOP)
        if wait_stopped((one.outer_pid for one in stopped), STOP_LIMIT):
            raise LabError(f"process {process!r} does not stop", host=self.name, doing="freezing a process")
        return stopped

    def thaw(self, process: int | str) -> tuple[LabProcess, ...]:
        """Let stopped processes go on (SIGCONT); arguments as `freeze`."""
        return self._signal(process, signal.SIGCONT)

    def kill(self, process: int | str, number: signal.Signals = signal.SIGKILL) -> tuple[LabProcess, ...]:
        """Send processes a signal; arguments as `freeze`."""
        return self._signal(process, number)

    def _signal(self, process: int | str, number: signal.Signals) -> tuple[LabProcess, ...]:
        everything = [one for one in self.processes() if one.pid != 1]
        chosen = [
            one for one in everything if process == one.pid or (isinstance(process, str) and process in one.command)
        ]
        reached = tuple(one for one in chosen if _sent(one.outer_pid, number))
        if not reached:
            raise LabError(f"there is no process {process!r}", host=self.name, doing=f"sending {number.name}")
        return reached

    @property
    def link(self) -> LinkState:
        """What has been done to its link."""
        return shaping.load(self._folder, self.name)

    def cut(self, *, drop: bool = False) -> None:
        """Cut its link.

        Args:
            drop: Make it a black hole: packets vanish and the carrier stays. Otherwise the interface goes down.
        """
        shaping.cut(self._folder, self._plan, self._host, drop=drop)

    def restore(self) -> None:
        """Undo `cut` and `slow`; harmless when the link is sound."""
        shaping.restore(self._folder, self._host)

    def slow(self, delay: float = 0.1, jitter: float = 0.0, loss: float = 0.0, rate: float | None = None) -> None:
        """Make its link slow and lossy, in each direction; open connections stay.

        Args:
            delay: Seconds by which every packet is held back.
            jitter: Up to so many seconds more, at random; the order is kept.
            loss: Share of packets lost, 0 to 1.
            rate: Bits a second; None is without limit.
        """
        shaping.slow(self._folder, self._plan, self._host, shaping.Shape(delay, jitter, loss, rate))

    def network_command(self, argv: Sequence[str]) -> list[str]:
        """The command that runs a program of this machine in the host's network only."""
        return network.inside(running(self._folder, self.name).pid, argv)


def _sent(pid: int, number: signal.Signals) -> bool:
    """Whether a process was still there to be sent a signal."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True
