"""The plan of a lab: its hosts, links, addresses and users, as values.

It knows nothing of processes or files and makes nothing; `make_plan` always gives the same lab for the same arguments,
except for the passwords, which it takes from the generator that it is given.
"""

from __future__ import annotations

import ipaddress
import re
import secrets
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from crl.errors import UsageError
from crl.secrets import Secret

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

__all__ = [
    "CONTROLLER",
    "DEFAULT_NAME",
    "DEFAULT_ROLE",
    "HOSTS",
    "ROLES",
    "HostPlan",
    "HostSpec",
    "LabPlan",
    "Link",
    "RoleSpec",
    "UserPlan",
    "candidate_networks",
    "check_name",
    "inner_addresses",
    "make_plan",
]

CONTROLLER: Final = "controller"
"""Name of this machine on the hosts of the lab."""

DEFAULT_NAME: Final = "lab"
DEFAULT_ROLE: Final = "key"
FIRST_UID: Final = 2001
SSH_PORT: Final = 22
LINK_PREFIX: Final = 28
SUPERNET: Final = ipaddress.ip_network("10.207.0.0/16")
_NAME = re.compile(r"[a-z][a-z0-9]{0,7}")


@dataclass(frozen=True)
class RoleSpec:
    """What one user of the lab is for.

    Attributes:
        role: The word that names him in aliases (``alpha-password``).
        login: His name on the hosts.
        shell: His login shell.
        methods: OpenSSH's ``AuthenticationMethods``: any one of these lets him in, nothing else does.
        sudo: Whether he may become root with sudo, which asks for his password.
        purpose: One line for people.
    """

    role: str
    login: str
    shell: str
    methods: tuple[str, ...]
    sudo: bool
    purpose: str

    @property
    def has_password(self) -> bool:
        """Whether one of his methods, or sudo, needs a password."""
        return self.sudo or any(method != "publickey" for method in self.methods)

    @property
    def has_key(self) -> bool:
        """Whether he can log in with a key."""
        return "publickey" in self.methods


_KEY = ("publickey",)

ROLES: Final[tuple[RoleSpec, ...]] = (
    RoleSpec("key", "keyuser", "/bin/bash", _KEY, sudo=False, purpose="a key only; the default user"),
    RoleSpec("password", "pwuser", "/bin/bash", ("password",), sudo=False, purpose="a password and nothing else"),
    RoleSpec("both", "bothuser", "/bin/bash", ("publickey", "password"), sudo=True, purpose="key, password, and sudo"),
    RoleSpec("kbdint", "kbuser", "/bin/bash", ("keyboard-interactive",), sudo=False, purpose="keyboard-interactive"),
    RoleSpec("bash", "bashuser", "/bin/bash", _KEY, sudo=False, purpose="login shell bash"),
    RoleSpec("dash", "dashuser", "/bin/dash", _KEY, sudo=False, purpose="login shell dash"),
    RoleSpec("zsh", "zshuser", "/bin/zsh", _KEY, sudo=False, purpose="login shell zsh"),
    RoleSpec("fish", "fishuser", "/usr/bin/fish", _KEY, sudo=False, purpose="login shell fish"),
    RoleSpec("tcsh", "tcshuser", "/bin/tcsh", _KEY, sudo=False, purpose="login shell tcsh"),
    RoleSpec("ash", "ashuser", "/usr/bin/ash", _KEY, sudo=False, purpose="login shell busybox ash"),
    RoleSpec("nasty", "nasty", "/bin/bash", ("publickey", "password"), sudo=False, purpose="nasty prompt and MOTD"),
)


@dataclass(frozen=True)
class HostSpec:
    """What one host of the lab is for.

    Attributes:
        name: Its name, which is also its ssh alias.
        near: The end of its link that is nearer to the controller: `CONTROLLER` or another host.
        x2go: Whether it is an X2Go server.
        default_limits: Whether its sshd keeps the default MaxStartups and MaxSessions.
        inner: Whether it has a network namespace named ``inner``.
        purpose: One line for people.
    """

    name: str
    near: str
    x2go: bool
    default_limits: bool
    inner: bool
    purpose: str


HOSTS: Final[tuple[HostSpec, ...]] = (
    HostSpec("alpha", CONTROLLER, x2go=True, default_limits=False, inner=True, purpose="X2Go server, reached directly"),
    HostSpec("gateway", CONTROLLER, x2go=False, default_limits=False, inner=False, purpose="jump host, no forwarding"),
    HostSpec("beta", "gateway", x2go=True, default_limits=False, inner=False, purpose="X2Go server behind the gateway"),
    HostSpec("gamma", "gateway", x2go=False, default_limits=True, inner=False, purpose="plain host behind the gateway"),
)


@dataclass(frozen=True)
class Link:
    """The wire between a host and its nearer neighbour.

    Attributes:
        near: Name of the neighbour.
        near_interface: Interface at the neighbour's end.
        near_address: The neighbour's address on this wire.
        interface: Interface at the host's end.
        address: The host's address on this wire.
        prefix: Length of the network prefix.
    """

    near: str
    near_interface: str
    near_address: str
    interface: str
    address: str
    prefix: int = LINK_PREFIX


@dataclass(frozen=True)
class UserPlan:
    """One user of one host; the password is another one on each host."""

    role: str
    login: str
    uid: int
    shell: str
    methods: tuple[str, ...]
    sudo: bool
    password: Secret | None = None

    @property
    def home(self) -> str:
        """His home directory on the host."""
        return f"/home/{self.login}"

    @property
    def has_key(self) -> bool:
        """Whether he can log in with a key."""
        return "publickey" in self.methods


@dataclass(frozen=True)
class HostPlan:
    """One host of the lab."""

    spec: HostSpec
    index: int
    link: Link
    users: Mapping[str, UserPlan]
    root_password: Secret
    port: int = SSH_PORT

    @property
    def name(self) -> str:
        """The host's name."""
        return self.spec.name

    @property
    def via(self) -> str | None:
        """The host one has to hop over to reach it, or None."""
        return None if self.spec.near == CONTROLLER else self.spec.near


@dataclass(frozen=True)
class LabPlan:
    """A whole lab."""

    name: str
    network: str
    hosts: Mapping[str, HostPlan] = field(default_factory=dict)

    def addresses_seen_from(self, place: str) -> dict[str, str]:
        """Names and addresses for the hosts file of one host: its own links as it sees them, then everybody."""
        table = {name: host.link.address for name, host in self.hosts.items()}
        here = self.hosts.get(place)
        if here is not None:
            table[here.spec.near] = here.link.near_address
        table.setdefault(CONTROLLER, next(iter(self.hosts.values())).link.near_address)
        return table


def _new_password() -> Secret:
    return Secret("pw-" + secrets.token_hex(10))


def check_name(name: str) -> str:
    """Refuse a lab's name that cannot be part of an interface's name.

    Raises:
        UsageError: It is not 1 to 8 lower case letters and digits, starting with a letter.
    """
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"{name!r} is no name for a lab",
            doing="naming the lab",
            advice="take 1 to 8 lower case letters and digits that start with a letter",
        )
    return name


def candidate_networks(name: str) -> list[str]:
    """The /24 networks a lab of this name may take, in the order in which to try them.

    The default lab starts with 10.207.1.0/24; others somewhere between 10.207.2.0/24 and 10.207.254.0/24, always the
    same for the same name.
    """
    blocks = [str(block) for block in SUPERNET.subnets(new_prefix=24)][1:255]
    if name == DEFAULT_NAME:
        return blocks
    start = 1 + zlib.crc32(name.encode()) % (len(blocks) - 1)
    return blocks[start:] + blocks[1:start]


def make_plan(
    name: str = DEFAULT_NAME,
    network: str | None = None,
    hosts: Iterable[str] | None = None,
    *,
    password: Callable[[], Secret] = _new_password,
) -> LabPlan:
    """Plan a lab.

    Args:
        name: Its name, 1 to 8 lower case letters and digits.
        network: An IPv4 network of at least 64 addresses for its links; default the first candidate of the name.
        hosts: Names of the hosts wanted; default all. Hosts on the way to them are added.
        password: Makes one new password.

    Raises:
        UsageError: A name or the network is no good.
    """
    check_name(name)
    network = network or candidate_networks(name)[0]
    subnets = _link_networks(network)
    wanted = _with_way(hosts)
    plans = {}
    for index, spec in enumerate(HOSTS):
        if spec.name in wanted:
            near, far = (str(address) for address in list(subnets[index].hosts())[:2])
            near_interface = f"crl-{name}-{index}" if spec.near == CONTROLLER else f"to-{spec.name}"
            link = Link(spec.near, near_interface, near, "eth0", far)
            plans[spec.name] = HostPlan(spec, index, link, _users(password), password())
    return LabPlan(name, network, plans)


def _link_networks(network: str) -> list[ipaddress.IPv4Network]:
    try:
        whole = ipaddress.IPv4Network(network)
        subnets = list(whole.subnets(new_prefix=LINK_PREFIX)) if whole.prefixlen >= 16 else []
    except ValueError as error:
        raise UsageError(f"{network!r} is no network for a lab: {error}", doing="planning the lab") from error
    if len(subnets) <= len(HOSTS):
        raise UsageError(
            f"{network!r} is no network for a lab",
            doing="planning the lab",
            advice="give one between /16 and /25, like 10.207.9.0/24",
        )
    return subnets


def inner_addresses(plan: LabPlan) -> tuple[str, str]:
    """Addresses of the two ends of the wire into the namespace ``inner``: outside, inside."""
    outside, inside = list(_link_networks(plan.network)[len(HOSTS)].hosts())[:2]
    return str(outside), str(inside)


def _with_way(hosts: Iterable[str] | None) -> set[str]:
    specs = {spec.name: spec for spec in HOSTS}
    wanted = set(specs if hosts is None else hosts)
    unknown = sorted(wanted - set(specs))
    if unknown:
        raise UsageError(
            f"the lab has no host {', '.join(unknown)}", doing="planning the lab", advice=f"it has {', '.join(specs)}"
        )
    return wanted | {specs[name].near for name in wanted} - {CONTROLLER}


def _users(password: Callable[[], Secret]) -> dict[str, UserPlan]:
    return {
        role.role: UserPlan(
            role.role,
            role.login,
            FIRST_UID + number,
            role.shell,
            role.methods,
            role.sudo,
            password() if role.has_password else None,
        )
        for number, role in enumerate(ROLES)
    }
