"""Who takes part: each peer's module, what it is made of, and its environment below a cache folder.

It knows pip and nothing of the lab. A peer that cannot be set up is named with the reason and never dropped.
"""

from __future__ import annotations

import subprocess
import sys
import venv
from dataclasses import dataclass
from pathlib import Path

__all__ = ["CONTESTANTS", "Contestant", "SetUpError", "set_up"]


class SetUpError(Exception):
    """A peer's packages cannot be installed."""


@dataclass(frozen=True)
class Contestant:
    """One who takes part.

    Attributes:
        name: As in tables.
        module: Of `benchmarks.peers`.
        option: Which variant of it.
        requires: What pip installs; empty for what runs in this interpreter.
        own: Whether it is crl as it is in this tree.
    """

    name: str
    module: str
    option: str = ""
    requires: tuple[str, ...] = ()
    own: bool = False


CONTESTANTS = [
    Contestant("crl", "crl_now", "openssh", own=True),
    Contestant("crl-paramiko", "crl_now", "paramiko", own=True),
    Contestant("floor-pipe", "floor", "pipe"),
    Contestant("floor-pty", "floor", "pty"),
    Contestant("openssh", "openssh"),
    Contestant("execnet", "execnet_peer", "", ("execnet",)),
    Contestant("mitogen", "mitogen_peer", "", ("mitogen",)),
    Contestant("mitogen-plain", "mitogen_peer", "plain", ("mitogen",)),
    Contestant("rpyc", "rpyc_peer", "", ("rpyc", "plumbum")),
    Contestant("pyro5", "pyro5_peer", "", ("Pyro5",)),
    Contestant("paramiko", "paramiko_peer", "nodelay", ("paramiko",)),
    Contestant("asyncssh", "asyncssh_peer", "", ("asyncssh",)),
    Contestant("by hand", "x2go_steps", own=True),
    Contestant("curl", "broker_steps", own=True),
    Contestant("pyhoca-cli", "x2go_steps", "pyhoca-cli", own=True),
    Contestant("crl-1.3.1", "crl131", "", ("crl.interactivesessions==1.3.1", "setuptools<81")),
]


def set_up(contestant: Contestant, cache: Path) -> tuple[str, str]:
    """The interpreter of a contestant, made where it is not there, and the versions in it.

    Raises:
        SetUpError: With what pip says.
    """
    if not contestant.requires:
        return sys.executable, ""
    folder = cache / contestant.module
    python, stamp = folder / "bin" / "python", folder / "stamp"
    wanted = repr((sys.version, contestant.requires))
    if not stamp.exists() or not stamp.read_text(encoding="utf-8").startswith(wanted):
        venv.create(folder, clear=True, with_pip=True)
        _pip(python, "install", "-q", *contestant.requires)
        stamp.write_text(f"{wanted}\n{_pip(python, 'freeze')}", encoding="utf-8")
    lines = stamp.read_text(encoding="utf-8").splitlines()[1:]
    first = contestant.requires[0].partition("==")[0].lower().replace("_", "-")
    return str(python), next((line for line in lines if line.lower().replace("_", "-").startswith(first + "==")), "")


def _pip(python: Path, *arguments: str) -> str:
    argv = [str(python), "-m", "pip", *arguments, "--disable-pip-version-check"]
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SetUpError(done.stderr.strip().splitlines()[-1] if done.stderr.strip() else f"status {done.returncode}")
    return done.stdout
