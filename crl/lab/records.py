"""The lab's folder: where each file lies, and how the plan is written to ``lab.json`` and read back.

It knows the plan and files. The folder holds secrets, so it is made with mode 0700 and ``lab.json`` with 0600; only
files that the lab itself writes are ever removed from it.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from crl.lab.errors import LabError, LabNotUp
from crl.lab.plan import HOSTS, HostPlan, LabPlan, Link, UserPlan
from crl.secrets import Secret

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["FORMAT", "LabFolder", "default_folder", "plan_from_dict", "plan_to_dict"]

FORMAT: Final = 1
_OUR_FOLDERS: Final = ("keys", "hosts", "log", "state")
_OUR_FILES: Final = ("ssh_config", "known_hosts", "lab.json")


def default_folder() -> Path:
    """``$CRL_LAB_DIR``, else ``~/.cache/crl/lab``."""
    named = os.environ.get("CRL_LAB_DIR")
    return Path(named) if named else Path("~/.cache/crl/lab").expanduser()


@dataclass(frozen=True)
class LabFolder:
    """The paths of a lab.

    Args:
        path: The folder; it need not exist.
    """

    path: Path

    @property
    def ssh_config(self) -> Path:
        """Configuration for ``ssh -F``."""
        return self.path / "ssh_config"

    @property
    def known_hosts(self) -> Path:
        """The host keys of all hosts."""
        return self.path / "known_hosts"

    @property
    def lab_json(self) -> Path:
        """The plan, with passwords."""
        return self.path / "lab.json"

    @property
    def keys(self) -> Path:
        """Folder of the users' private keys, one file a role."""
        return self.path / "keys"

    def host(self, name: str) -> Path:
        """Folder of a host's keys and of the mount point of its disk."""
        return self.path / "hosts" / name

    def log(self, name: str) -> Path:
        """A log file."""
        return self.path / "log" / f"{name}.log"

    def link_state(self, name: str) -> Path:
        """What has been done to the link of a host."""
        return self.path / "state" / f"{name}.link.json"

    def control_address(self, host: str) -> str:
        """The abstract unix socket on which a host's supervisor listens."""
        digest = hashlib.sha256(os.fsencode(self.path)).hexdigest()[:20]
        return f"\0crl-lab/{digest}/{host}"

    def make(self) -> list[Path]:
        """Make the folder and those in it; gives the folders above it that were not there, deepest first."""
        made = []
        path = self.path
        while not path.exists():
            made.append(path)
            path = path.parent
        self.path.mkdir(parents=True, exist_ok=True)
        self.path.chmod(0o700)
        for name in _OUR_FOLDERS:
            (self.path / name).mkdir(mode=0o700, exist_ok=True)
        return made

    def save(self, plan: LabPlan, made: list[Path]) -> None:
        """Write ``lab.json``."""
        record = plan_to_dict(plan) | {"folder": str(self.path), "made_folders": [str(path) for path in made]}
        partial = self.lab_json.with_suffix(".new")
        partial.touch(mode=0o600)
        partial.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
        partial.replace(self.lab_json)

    def _record(self) -> dict[str, Any]:
        try:
            record = json.loads(self.lab_json.read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise LabNotUp(f"there is no lab in {self.path}", advice="start one: crl lab up") from error
        except (OSError, ValueError) as error:
            raise LabError(f"{self.lab_json} cannot be read: {error}", advice="end the lab: crl lab down") from error
        if not isinstance(record, dict) or record.get("format") != FORMAT:
            raise LabError(f"{self.lab_json} was written by another crl", advice="remove the lab with that one")
        return record

    def load(self) -> LabPlan:
        """Read ``lab.json``.

        Raises:
            LabNotUp: There is none.
            LabError: It cannot be understood.
        """
        return plan_from_dict(self._record())

    def made_folders(self) -> list[Path]:
        """The folders that were made for this lab, deepest first, as ``lab.json`` remembers them."""
        return [Path(text) for text in self._record()["made_folders"]] if self.lab_json.exists() else []

    def clear(self) -> None:
        """Remove what the lab wrote."""
        for name in _OUR_FOLDERS:
            shutil.rmtree(self.path / name, ignore_errors=True)
        for name in (*_OUR_FILES, "lab.new"):
            (self.path / name).unlink(missing_ok=True)


def remove_empty(folders: Iterable[Path]) -> None:
    """Remove those of these folders that are there and empty."""
    for path in folders:
        if path.is_dir() and not any(path.iterdir()):
            path.rmdir()


def plan_to_dict(plan: LabPlan) -> dict[str, Any]:
    """The plan as it stands in ``lab.json``: format, name, network, hosts with address, port, via, users and so on."""
    return {
        "format": FORMAT,
        "name": plan.name,
        "network": plan.network,
        "hosts": {name: _host_to_dict(host) for name, host in plan.hosts.items()},
    }


def _host_to_dict(host: HostPlan) -> dict[str, Any]:
    return {
        "address": host.link.address,
        "port": host.port,
        "via": host.via,
        "x2go": host.spec.x2go,
        "purpose": host.spec.purpose,
        "link": asdict(host.link),
        "root_password": host.root_password.value,
        "users": {role: _user_to_dict(user) for role, user in host.users.items()},
    }


def _user_to_dict(user: UserPlan) -> dict[str, Any]:
    return {
        "login": user.login,
        "uid": user.uid,
        "shell": user.shell,
        "methods": list(user.methods),
        "sudo": user.sudo,
        "password": None if user.password is None else user.password.value,
        "key": f"keys/{user.role}" if user.has_key else None,
    }


def plan_from_dict(record: dict[str, Any]) -> LabPlan:
    """The plan out of what `plan_to_dict` made."""
    specs = {spec.name: (index, spec) for index, spec in enumerate(HOSTS)}
    hosts = {}
    for name, entry in record["hosts"].items():
        index, spec = specs[name]
        users = {role: _user_from_dict(role, user) for role, user in entry["users"].items()}
        hosts[name] = HostPlan(spec, index, Link(**entry["link"]), users, Secret(entry["root_password"]), entry["port"])
    return LabPlan(record["name"], record["network"], hosts)


def _user_from_dict(role: str, entry: dict[str, Any]) -> UserPlan:
    password = None if entry["password"] is None else Secret(entry["password"])
    methods = tuple(entry["methods"])
    return UserPlan(role, entry["login"], entry["uid"], entry["shell"], methods, entry["sudo"], password)
