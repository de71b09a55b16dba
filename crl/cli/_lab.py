"""``crl lab …``: the lab from the command line.

It knows `crl.lab`'s public names and loads them only when one of its commands runs; each command prints one result, as
JSON when asked, and gives an exit status.
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import cyclopts
from cyclopts import Parameter

from crl.cli._output import DONE, FAILED, MISSING, complain, print_json, print_table, say

if TYPE_CHECKING:
    from crl.lab import HostStatus, Lab, LabProcess, LabStatus, LinkState

app = cyclopts.App(name="lab", help="Real hosts with sshd, sudo and X2Go server in namespaces of this machine.")


@Parameter(name="*")
@dataclass(frozen=True)
class Where:
    """Which lab, and how to print.

    Args:
        folder: The lab's folder; default $CRL_LAB_DIR, else ~/.cache/crl/lab.
        name: The lab's name; default $CRL_LAB_NAME, else lab.
        json: Print one JSON value instead of text.
    """

    folder: Path | None = None
    name: str | None = None
    json: Annotated[bool, Parameter(negative=())] = False

    def lab(self, hosts: list[str] | None = None) -> Lab:
        """The lab that is meant."""
        from crl.lab import Lab

        return Lab(self.folder, self.name, hosts=hosts)


_HERE = Where()


def _done(where: Where, host: str, **what: object) -> int:
    """Say that something was done to a host."""
    if where.json:
        print_json({"host": host, **what})
    else:
        say(f"{host}: " + ", ".join(f"{name} {value}" for name, value in what.items()))
    return DONE


def _status_to_dict(status: LabStatus) -> dict[str, Any]:
    return asdict(status) | {"up": status.up}


def _print_status(where: Where, status: LabStatus) -> int:
    if where.json:
        print_json(_status_to_dict(status))
    elif not status.exists:
        say(f"there is no lab in {status.folder}; start one: crl lab up")
    else:
        columns = ("host", "state", "address", "port", "via", "x2go", "boot", "link")
        print_table(f"lab {status.name} in {status.folder}", columns, [_row(one) for one in status.hosts])
    return DONE if status.up else FAILED


def _row(one: HostStatus) -> tuple[object, ...]:
    x2go = "yes" if one.x2go else "no"
    return one.name, one.state, one.address, one.port, one.via or "-", x2go, one.boot, _link(one.link)


def _link(link: LinkState) -> str:
    shape = "" if link.shape is None else f"slow {link.shape.delay:g} s"
    return " ".join(filter(None, (link.cut and f"cut ({link.cut})", shape))) or "ok"


@app.command
def up(*, hosts: str | None = None, where: Where = _HERE) -> int:
    """Bring the lab up; does nothing when it is up.

    Args:
        hosts: Names of the hosts wanted, with commas; default all.
        where: Which lab, and how to print.
    """
    chosen = hosts.split(",") if hosts else None
    from crl.lab import LabRequirementsMissing

    try:
        status = where.lab(chosen).up(None if where.json else say)
    except LabRequirementsMissing as error:
        complain(str(error), kind=type(error).__name__, as_json=where.json)
        return MISSING
    return _print_status(where, status)


@app.command
def down(*, where: Where = _HERE) -> int:
    """End the lab and remove every trace of it."""
    lab = where.lab()
    lab.down()
    if where.json:
        print_json({"folder": str(lab.folder), "up": False})
    else:
        say(f"no lab is left in {lab.folder}")
    return DONE


@app.command
def status(*, where: Where = _HERE) -> int:
    """Say how the lab is; exit status 1 when it is not up."""
    return _print_status(where, where.lab().status())


@app.command
def check(*, where: Where = _HERE) -> int:
    """Say what the lab needs and this machine lacks; exit status 3 when it cannot run here."""
    from crl.lab import requirements

    found = requirements()
    if where.json:
        print_json(asdict(found) | {"ok": found.ok})
    else:
        for kind, lines in asdict(found).items():
            for line in lines:
                say(f"{kind.replace('_', ' ')}: {line}")
        say("the lab can run here" if found.ok else "the lab cannot run here")
    return DONE if found.ok else MISSING


@app.command(name="exec")
def execute(
    host: str, *command: Annotated[str, Parameter(allow_leading_hyphen=True)], user: str = "root", where: Where = _HERE
) -> int:
    """Run a command on a host, not through its network; streams and exit status are the command's.

    Args:
        host: The host.
        command: The command, after ``--``.
        user: root, or a role or login of the host.
        where: Which lab, and how to print.
    """
    machine = where.lab().host(host)
    if where.json:
        data = b"" if sys.stdin.isatty() else sys.stdin.buffer.read()
        result = machine.exec(command, user, data, timeout=3600)
        texts = {name: getattr(result, name).decode(errors="replace") for name in ("stdout", "stderr")}
        print_json({"host": host, "status": result.returncode, **texts})
        status = result.returncode
    else:
        status = subprocess.run(machine.command(command, user), check=False).returncode
    return status if status >= 0 else 128 - status


@app.command
def reboot(host: str, *, hard: bool = False, timeout: float = 60.0, where: Where = _HERE) -> int:
    """Reboot a host, or switch it on, and wait until its sshd answers.

    Args:
        host: The host.
        hard: Kill everything at once.
        timeout: Seconds to wait.
        where: Which lab, and how to print.
    """
    now = where.lab().host(host).reboot(hard=hard, timeout=timeout)
    return _done(where, host, state=now.state, boot=now.boot, boot_id=now.boot_id)


@app.command
def cut(host: str, *, drop: bool = False, where: Where = _HERE) -> int:
    """Cut a host's link.

    Args:
        host: The host.
        drop: Swallow packets silently instead of taking the interface down.
        where: Which lab, and how to print.
    """
    where.lab().host(host).cut(drop=drop)
    return _done(where, host, link="dropping" if drop else "down")


@app.command
def restore(host: str, *, where: Where = _HERE) -> int:
    """Undo cut and slow."""
    where.lab().host(host).restore()
    return _done(where, host, link="ok")


@app.command
def slow(
    host: str,
    *,
    delay: float = 0.1,
    jitter: float = 0.0,
    loss: float = 0.0,
    rate: float | None = None,
    where: Where = _HERE,
) -> int:
    """Make a host's link slow and lossy, in each direction.

    Args:
        host: The host.
        delay: Seconds every packet is held back.
        jitter: Up to so many seconds more.
        loss: Share of packets lost, 0 to 1.
        rate: Bits a second.
        where: Which lab, and how to print.
    """
    where.lab().host(host).slow(delay, jitter, loss, rate)
    return _done(where, host, delay=delay, jitter=jitter, loss=loss, rate=rate)


def _process(text: str) -> int | str:
    return int(text) if text.isdigit() else text


def _signalled(where: Where, host: str, what: str, processes: tuple[LabProcess, ...]) -> int:
    if where.json:
        print_json({"host": host, what: [asdict(one) for one in processes]})
    else:
        for one in processes:
            say(f"{host}: {what} {one.pid} {one.command}")
    return DONE


@app.command
def freeze(host: str, process: str, *, where: Where = _HERE) -> int:
    """Stop processes of a host: they keep their sockets and say nothing.

    Args:
        host: The host.
        process: A process number on the host, or a text in its command line.
        where: Which lab, and how to print.
    """
    return _signalled(where, host, "frozen", where.lab().host(host).freeze(_process(process)))


@app.command
def thaw(host: str, process: str, *, where: Where = _HERE) -> int:
    """Let frozen processes go on.

    Args:
        host: The host.
        process: A process number on the host, or a text in its command line.
        where: Which lab, and how to print.
    """
    return _signalled(where, host, "thawed", where.lab().host(host).thaw(_process(process)))
