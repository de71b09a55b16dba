"""The lab as a whole: up, down, status.

It knows the plan, the folder, the network and the supervisors of the hosts, and promises that `down` finds and removes
everything, also after an `up` that was killed half-way.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from crl.errors import UsageError
from crl.lab import _network as network
from crl.lab._commands import lock, start_program
from crl.lab._control import Condition, Question, condition_of
from crl.lab._root import OVERLAID
from crl.lab._shaping import SHAPER, LinkState, load
from crl.lab.errors import LabCommandError, LabError, LabNotUp, LabTimeout
from crl.lab.host import LabHost
from crl.lab.plan import DEFAULT_NAME, ROLES, LabPlan, candidate_networks, check_name, make_plan
from crl.lab.processes import find_program, in_namespace, kill_and_wait, namespace_of, wait_buried
from crl.lab.records import LabFolder, default_folder, remove_empty
from crl.lab.requirements import Requirements, check, install
from crl.lab.texts import HOST_KEY_TYPES, known_hosts_text, ssh_config_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from crl.lab.plan import HostPlan

__all__ = ["HostStatus", "Lab", "LabStatus"]

SUPERVISOR: Final = "crl.lab._supervisor"
LOCK_LIMIT: Final = 1000.0
END_LIMIT: Final = 5.0
KILL_LIMIT: Final = 30.0


@dataclass(frozen=True)
class HostStatus:
    """How one host is.

    Attributes:
        name: Its name and ssh alias.
        state: ``up``, ``booting``, ``off``, ``failed`` or ``gone``.
        address: Its IPv4 address.
        port: The port of its sshd.
        via: The host to hop over, or None.
        x2go: Whether it is an X2Go server.
        boot: Number of the present boot.
        boot_id: Its boot id.
        link: What has been done to its link.
        error: Why it failed.
    """

    name: str
    state: str
    address: str
    port: int
    via: str | None
    x2go: bool
    boot: int
    boot_id: str
    link: LinkState
    error: str


@dataclass(frozen=True)
class LabStatus:
    """How the lab is.

    Attributes:
        name: Its name.
        folder: Its folder.
        exists: Whether there is one.
        network: The network of its links, or None.
        hosts: Its hosts.
    """

    name: str
    folder: Path
    exists: bool
    network: str | None
    hosts: tuple[HostStatus, ...]

    @property
    def up(self) -> bool:
        """Whether there is a lab and all its hosts are up."""
        return self.exists and all(host.state == "up" for host in self.hosts)


def _silent(_line: str) -> None:
    """Nobody wants to know how it goes on."""


class Lab:
    """Hosts on this one machine, each in namespaces of its own.

    Args:
        folder: Where its files lie; default ``$CRL_LAB_DIR``, else ``~/.cache/crl/lab``.
        name: Its name, part of interface names; default ``$CRL_LAB_NAME``, else ``lab``.
        network: Network of its links; default ``$CRL_LAB_NETWORK``, else a free /24 of 10.207.0.0/16.
        hosts: Names of the hosts wanted; default all.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str] | None = None,
        name: str | None = None,
        *,
        network: str | None = None,
        hosts: Sequence[str] | None = None,
    ) -> None:
        path = default_folder() if folder is None else Path(folder)
        self._folder = LabFolder(Path(os.path.abspath(path.expanduser())))
        self._wanted_name = name or os.environ.get("CRL_LAB_NAME")
        self._name = check_name(self._wanted_name or DEFAULT_NAME)
        self._network = network or os.environ.get("CRL_LAB_NETWORK")
        self._hosts = hosts

    def __repr__(self) -> str:
        return f"<Lab {self._name} in {self.folder}>"

    def __enter__(self) -> Self:
        """Bring it up; for a lab of one's own, since leaving the block takes it down."""
        self.up()
        return self

    def __exit__(self, *_exception: object) -> None:
        self.down()

    @property
    def folder(self) -> Path:
        """The lab's folder."""
        return self._folder.path

    @property
    def ssh_config(self) -> Path:
        """Configuration for ``ssh -F``: aliases HOST and HOST-ROLE."""
        return self._folder.ssh_config

    @property
    def known_hosts(self) -> Path:
        """The host keys of all hosts."""
        return self._folder.known_hosts

    @property
    def plan(self) -> LabPlan:
        """The plan of the lab that is there.

        Raises:
            LabNotUp: There is none.
        """
        return self._folder.load()

    def key(self, user: str) -> Path:
        """The private key file of a user, by role or login.

        Raises:
            UsageError: There is no such user, or he has no key.
        """
        for role in ROLES:
            if user in {role.role, role.login} and role.has_key:
                return self._folder.keys / role.role
        raise UsageError(f"no user {user!r} of the lab has a key", advice="with a key: " + ", ".join(keyed_roles()))

    def host(self, name: str) -> LabHost:
        """One host of the lab.

        Raises:
            LabNotUp: There is no lab.
            UsageError: It has no host of that name.
        """
        plan = self.plan
        if name not in plan.hosts:
            raise UsageError(f"the lab has no host {name!r}", advice=f"it has {', '.join(plan.hosts)}")
        return LabHost(self._folder, plan, plan.hosts[name])

    def status(self) -> LabStatus:
        """How the lab is; never raises because there is none."""
        try:
            plan = self.plan
        except LabNotUp:
            return LabStatus(self._name, self.folder, exists=False, network=None, hosts=())
        hosts = tuple(self._host_status(host) for host in plan.hosts.values())
        return LabStatus(plan.name, self.folder, exists=True, network=plan.network, hosts=hosts)

    def _host_status(self, host: HostPlan) -> HostStatus:
        now = condition_of(self._folder, host.name)
        return HostStatus(
            host.name,
            now.state,
            host.link.address,
            host.port,
            host.via,
            host.spec.x2go,
            now.boot,
            now.boot_id,
            load(self._folder, host.name),
            now.error,
        )

    def up(self, on_progress: Callable[[str], None] | None = None) -> LabStatus:
        """Bring the lab up; quick and harmless when it is up already.

        Args:
            on_progress: Gets one line for each step.

        Raises:
            LabRequirementsMissing: This machine cannot run a lab.
            LabError: Something failed; then everything has been taken down again.
        """
        tell = on_progress or _silent
        found = check()
        self._check_folder()
        with self._locked() as made:
            status = self.status()
            if status.exists and self._wanted_name not in {None, status.name}:
                raise UsageError(
                    f"in {self.folder} there is already a lab named {status.name}",
                    doing=f"starting the lab {self._name}",
                    advice="give each lab a folder of its own: --folder or CRL_LAB_DIR",
                )
            if status.up:
                tell("the lab is up already")
                return status
            if status.exists:
                tell("a former lab has ended badly: removing what is left of it")
                made = self._folder.made_folders() or made
                self._end_everything()
                self._folder.make()
            self._start(found, made, tell)
            return self.status()

    def _start(self, found: Requirements, made: list[Path], tell: Callable[[str], None]) -> None:
        try:
            install(found.to_install, tell)
            with self._network_to_take() as chosen:
                plan = make_plan(self._name, chosen, self._hosts)
                self._make_hosts(plan, made, tell)
            tell("booting")
            for question in [Question(self._folder, name, {"do": "boot"}) for name in plan.hosts]:
                self._await(question)
        except BaseException:
            self._end_everything()
            remove_empty(made)
            raise
        tell(f"the lab is up: ssh -F {self.ssh_config} {next(iter(plan.hosts))}")

    def _make_hosts(self, plan: LabPlan, made: list[Path], tell: Callable[[str], None]) -> None:
        """Make all that a boot needs: keys, namespaces, disks and wires."""
        self._folder.save(plan, made)
        tell("making keys")
        self._write_keys(plan)
        tell("making hosts: " + ", ".join(plan.hosts))
        pids = self._start_supervisors(plan)
        for host in plan.hosts.values():
            network.make_wire(host.link, network.near_pid(host.link, pids), pids[host.name])

    def _await(self, question: Question) -> Condition:
        """The answer of a host that starts; when it fails, with the tail of its log."""
        try:
            return question.answer()
        except LabError as error:
            logs = [self._folder.log(f"{question.host}.{kind}") for kind in ("supervisor", "console")]
            said = "\n".join(path.read_text(errors="replace") for path in logs if path.exists())
            kind = type(error)
            raise kind(error.message, host=question.host, doing="starting the host", transcript=said) from error

    def _check_folder(self) -> None:
        path = self.folder.resolve()
        for name in OVERLAID:
            if path.is_relative_to(Path("/", name)):
                raise UsageError(
                    f"the lab's folder must not lie in /{name}, which its hosts share",
                    advice="choose another: CRL_LAB_DIR",
                )

    @contextlib.contextmanager
    def _network_to_take(self) -> Iterator[str]:
        """The network of the links, which no other lab that is being started takes meanwhile."""
        if self._network:
            yield self._network
            return
        for candidate in candidate_networks(self._name):
            with network.claimed(candidate) as ours:
                if ours and network.is_free(candidate, network.routes_here()):
                    yield candidate
                    return
        raise LabError("no /24 of 10.207.0.0/16 is free here", doing="choosing a network", advice="set CRL_LAB_NETWORK")

    def _write_keys(self, plan: LabPlan) -> None:
        files = [(self._folder.keys / role, "ed25519", f"{role}@{plan.name}") for role in keyed_roles()]
        for name in plan.hosts:
            self._folder.host(name).mkdir(mode=0o700)
            place = self._folder.host(name)
            files += [(place / f"ssh_host_{kind}_key", kind, f"root@{name}") for kind in HOST_KEY_TYPES]
        running = []
        for path, kind, comment in files:
            size = ["-b", "2048"] if kind == "rsa" else []
            command = ["ssh-keygen", "-q", "-N", "", "-t", kind, *size, "-C", comment, "-f", str(path)]
            running.append(subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL))
        if sum(process.wait(60) for process in running):
            raise LabCommandError("ssh-keygen failed", doing="making keys")
        public = {name: _read_all(self._folder.host(name).glob("ssh_host_*.pub")) for name in plan.hosts}
        self.known_hosts.write_text(known_hosts_text(plan, public))
        self.ssh_config.write_text(ssh_config_text(plan, str(self.folder)))

    def _start_supervisors(self, plan: LabPlan) -> dict[str, int]:
        """Start the hosts' supervisors; their process numbers once their namespaces and disks are there."""
        for name in plan.hosts:
            with socket.socket(socket.AF_UNIX) as listener:
                listener.bind(self._folder.control_address(name))
                listener.listen(16)
                log = self._folder.log(f"{name}.supervisor")
                arguments = [str(self.folder), name, str(listener.fileno())]
                start_program(SUPERVISOR, arguments, log=log, keep=[listener.fileno()])
        questions = [Question(self._folder, name, {"do": "status"}) for name in plan.hosts]
        return {question.host: self._await(question).pid for question in questions}

    def down(self) -> None:
        """End the lab and remove every trace of it; harmless when there is none.

        Raises:
            LabTimeout: Something did not end.
        """
        if not self.folder.exists() and not self._left_processes():
            return
        with self._locked() as made:
            made = [*made, *self._folder.made_folders()]
            self._end_everything()
            remove_empty(made)

    def _left_processes(self) -> list[int]:
        """The lab's own programs that run on this machine."""
        return [pid for module in (SUPERVISOR, SHAPER) for pid in find_program(module, str(self.folder))]

    def _end_everything(self) -> None:
        """End all processes of the lab, then remove its interfaces and files, but not the folder itself."""
        name = self._name
        with contextlib.suppress(LabError):  # no plan, or half of one: the processes and the folder tell the rest
            name = self.plan.name
        own = self._left_processes()
        strays = self._strays(own)
        left = kill_and_wait(own, signal.SIGTERM, END_LIMIT)
        left = kill_and_wait([*left, *strays], signal.SIGKILL, KILL_LIMIT)
        if left:
            raise LabTimeout(f"processes {left} did not end", doing="ending the lab", advice="run crl lab down again")
        wait_buried([*own, *strays], END_LIMIT)
        with contextlib.suppress(LabCommandError):  # without ip(8) no interface was ever made
            network.remove_leftovers(name)
        self._folder.clear()

    def _strays(self, supervisors: Sequence[int]) -> list[int]:
        """All processes in the hosts' namespaces, also those that came in from outside."""
        here = {kind: namespace_of("self", kind) for kind in ("net", "pid")}
        found: set[int] = set()
        for pid in supervisors:
            identity = namespace_of(pid, "net")
            if identity != here["net"]:
                found.update(process.outer_pid for process in in_namespace("net", identity))
        return sorted(found - set(supervisors))

    @contextlib.contextmanager
    def _locked(self) -> Iterator[list[Path]]:
        """Keep others from bringing this lab up or down; the lock is on its folder, and ends with this process.

        Gives the folders that had to be made for it, deepest first.
        """
        made: list[Path] = []
        with contextlib.ExitStack() as stack:
            while True:
                made = [*self._folder.make(), *made]
                fd = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
                stack.callback(os.close, fd)
                if not lock(fd, LOCK_LIMIT):
                    raise LabTimeout(f"another crl lab holds {self.folder}", doing="waiting for the lab")
                with contextlib.suppress(FileNotFoundError):  # who had the lock has removed the folder: make it again
                    if os.path.samestat(os.fstat(fd), os.stat(self.folder)):
                        break
            yield made


def _read_all(paths: Iterable[Path]) -> list[str]:
    return [path.read_text() for path in sorted(paths)]


def keyed_roles() -> list[str]:
    """The roles that have a key."""
    return [role.role for role in ROLES if role.has_key]
