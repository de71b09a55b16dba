"""The wires of the lab: veth pairs between network namespaces, cut and black-holed.

It knows the plan's links, ip(8) and nft(8); namespaces are named by the number of a process in them. What it makes ends
with the hosts' namespaces, because a veth pair dies with either end.
"""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import json
import socket
from typing import TYPE_CHECKING, Any, Final

from crl.lab._commands import call
from crl.lab.errors import LabCommandError
from crl.lab.plan import CONTROLLER

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from crl.lab.plan import Link

TABLE: Final = "crl_lab"


def inside(pid: int | None, argv: Sequence[str]) -> list[str]:
    """A command for the network namespace of a process; None is this one."""
    return [*argv] if pid is None else ["nsenter", f"--net=/proc/{pid}/ns/net", *argv]


def ip(pid: int | None, lines: Sequence[str], *, doing: str) -> None:
    """Run lines of ``ip -batch`` in a namespace."""
    call(inside(pid, ["ip", "-batch", "-"]), stdin="\n".join(lines) + "\n", doing=doing)


def wire_lines(link: Link, host_pid: int) -> tuple[list[str], list[str]]:
    """The lines of ip(8) that make a wire: at its near end, at the host."""
    near = [
        f"link add name {link.near_interface} type veth peer name {link.interface} netns {host_pid}",
        f"address add {link.near_address}/{link.prefix} dev {link.near_interface}",
        f"link set dev {link.near_interface} up",
    ]
    host = [
        "link set dev lo up",
        f"address add {link.address}/{link.prefix} dev {link.interface}",
        f"link set dev {link.interface} up",
    ]
    return near, host


def make_wire(link: Link, near_pid: int | None, host_pid: int) -> None:
    """Lay the wire between a host and its neighbour."""
    near, host = wire_lines(link, host_pid)
    doing = f"wiring {link.near} and {link.address}"
    ip(near_pid, near, doing=doing)
    ip(host_pid, host, doing=doing)


def interfaces() -> list[dict[str, Any]]:
    """The interfaces of this machine with their addresses, as ip(8) tells them."""
    found: list[dict[str, Any]] = json.loads(call(["ip", "-json", "address"], doing="reading the interfaces") or "[]")
    return found


def remove_leftovers(name: str) -> None:
    """Remove interfaces of the lab on this machine that outlived their hosts.

    The kernel removes them too, at its leisure: one that goes by itself in this moment is no failure.
    """
    failed: set[str] = set()
    while left := {str(entry["ifname"]) for entry in interfaces() if entry["ifname"].startswith(f"crl-{name}-")}:
        for interface in left:
            try:
                call(["ip", "link", "delete", interface], doing="removing interfaces")
            except LabCommandError:
                if interface in failed:
                    raise
                failed.add(interface)


def routes_here() -> list[ipaddress.IPv4Network]:
    """The networks that this machine already reaches."""
    routes = json.loads(call(["ip", "-json", "-4", "route"], doing="reading the routes") or "[]")
    names = [entry["dst"] for entry in routes if entry.get("dst") not in {None, "default"}]
    return [ipaddress.IPv4Network(name, strict=False) for name in names]


def is_free(network: str, taken: Sequence[ipaddress.IPv4Network]) -> bool:
    """Whether no route of this machine touches a network."""
    return not any(ipaddress.IPv4Network(network).overlaps(other) for other in taken)


@contextlib.contextmanager
def claimed(network: str) -> Iterator[bool]:
    """Keep a network from other labs until its wires are laid and routes tell of it; whether nobody else keeps it."""
    with socket.socket(socket.AF_UNIX) as claim:
        try:
            # An abstract address belongs to the same network namespace as the routes, and ends with this process.
            claim.bind(f"\0crl-lab/network/{network}")
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            yield False
            return
        yield True


def set_link(pid: int, link: Link, state: str) -> None:
    """Set the host's end of its wire ``up`` or ``down``; the other end sees its carrier come and go."""
    ip(pid, [f"link set dev {link.interface} {state}"], doing=f"setting the link of {link.address} {state}")


def drop_rules(interfaces_: Sequence[str]) -> str:
    """Nft rules that swallow everything on these interfaces without a word."""
    names = ", ".join(f'"{name}"' for name in interfaces_)
    return (
        f"table inet {TABLE} {{\n"
        "  chain in {\n    type filter hook input priority -300; policy accept;\n"
        f"    iifname {{ {names} }} drop\n  }}\n"
        "  chain out {\n    type filter hook output priority -300; policy accept;\n"
        f"    oifname {{ {names} }} drop\n  }}\n}}\n"
    )


def drop(pid: int, interfaces_: Sequence[str]) -> None:
    """Make a black hole of a host's interfaces."""
    call(inside(pid, ["nft", "-f", "-"]), stdin=drop_rules(interfaces_), doing="dropping packets")


def undrop(pid: int) -> None:
    """Take the black hole away, if there is one."""
    lines = f"table inet {TABLE}\ndelete table inet {TABLE}\n"
    call(inside(pid, ["nft", "-f", "-"]), stdin=lines, doing="letting packets pass again")


def near_pid(link: Link, pids: dict[str, int]) -> int | None:
    """The process that names the namespace of a link's near end."""
    return None if link.near == CONTROLLER else pids[link.near]
