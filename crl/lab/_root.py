"""The file system of a lab host, as the supervisor makes it.

It knows the plan, mount(2) and files, and nothing of networks. Everything lies in a tmpfs that only the supervisor's
mount namespace sees: when its last process ends, nothing is left. /home, /etc and the like live through a reboot; /tmp,
/run, /dev and /proc do not.
"""

from __future__ import annotations

import grp
import json
import os
import pwd
import shutil
import stat
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from crl.lab import _syscalls as sys_
from crl.lab import texts
from crl.lab._printing import provide_printing
from crl.lab._printing import services as printing_services
from crl.lab.plan import inner_addresses

if TYPE_CHECKING:
    from collections.abc import Mapping

    from crl.lab.plan import HostPlan, LabPlan, UserPlan

OVERLAID: Final = ("usr", "etc", "var/lib")
"""Folders of the machine that the hosts see, each with a writable layer of their own on top."""

PLAIN: Final = ("home", "root", "opt", "srv", "mnt", "media", "dev", "proc", "sys", "run", "tmp")
PLAIN_IN_VAR: Final = ("cache", "log", "mail", "spool", "backups", "local", "opt")
INIT: Final = "/usr/lib/crl-lab/init.py"
INIT_CONFIG: Final = "/etc/crl-lab-init.json"
PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
NO_CAPABILITIES: Final = {"sys_module": 16, "sys_rawio": 17, "sys_time": 25}
"""What would reach the machine itself (its kernel's modules, its ports, its clock) is taken from the hosts' root."""

_POWER_COMMANDS: Final = {"reboot": "INT", "poweroff": "USR2", "halt": "USR2", "shutdown": "USR2"}
_DEVICES: Final = {
    "null": (1, 3, 0o666),
    "zero": (1, 5, 0o666),
    "full": (1, 7, 0o666),
    "random": (1, 8, 0o666),
    "urandom": (1, 9, 0o666),
    "tty": (5, 0, 0o666),
    "fuse": (10, 229, 0o666),
    "net/tun": (10, 200, 0o600),
}


def write(path: Path, text: str, mode: int = 0o644, owner: int = 0, group: int | None = None) -> None:
    """Write a file anew (never through a link), with its mode and owner."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    path.write_text(text, encoding="utf-8")
    os.chown(path, owner, owner if group is None else group)
    path.chmod(mode)


def empty(path: Path, mode: int = 0o755) -> None:
    """Make a folder that is there and empty."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    path.mkdir(parents=True)
    path.chmod(mode)


class HostRoot:
    """The root file system of one host.

    Args:
        plan: The lab.
        host: The host.
        base: An empty folder of the machine on which the tmpfs is mounted.
    """

    def __init__(self, plan: LabPlan, host: HostPlan, base: Path) -> None:
        self.plan = plan
        self.host = host
        self.base = base
        self.root = base / "root"

    def assemble(self, size: str) -> None:
        """Mount the tmpfs and the overlays; in the supervisor's mount namespace, once."""
        sys_.mount("none", "/", None, sys_.MS_REC | sys_.MS_PRIVATE)
        sys_.mount(f"crl-{self.plan.name}-{self.host.name}", str(self.base), "tmpfs", 0, f"size={size},mode=755")
        self.root.mkdir()
        for name in PLAIN:
            (self.root / name).mkdir()
        (self.root / "root").chmod(0o700)
        for name in ("bin", "sbin", "lib", "lib32", "lib64", "libx32"):
            if Path("/", name).is_symlink():
                (self.root / name).symlink_to(Path("/", name).readlink())
        for name in PLAIN_IN_VAR:
            (self.root / "var" / name).mkdir(parents=True)
        (self.root / "var/tmp").mkdir(mode=0o1777)
        (self.root / "var/tmp").chmod(0o1777)
        (self.root / "var/run").symlink_to("/run")
        (self.root / "var/lock").symlink_to("/run/lock")
        for name in OVERLAID:
            self._overlay(name)

    def _overlay(self, name: str) -> None:
        for kind in ("upper", "work", "root"):
            (self.base / kind / name).mkdir(parents=True, exist_ok=True)
        os.chdir(self.base)  # relative paths: a comma or colon in the folder's name would split the options
        sys_.mount(
            "overlay", f"root/{name}", "overlay", 0, f"lowerdir=/{name},upperdir=upper/{name},workdir=work/{name}"
        )
        os.chdir("/")

    def provision(self, hashes: Mapping[str, str], host_keys: Mapping[str, str], user_keys: Mapping[str, str]) -> None:
        """Write what makes the host its own.

        Args:
            hashes: Password hashes by login, root included.
            host_keys: Private and public host key files by name.
            user_keys: Public key lines by role.
        """
        etc = self.root / "etc"
        self._accounts(etc, hashes)
        self._identity(etc)
        empty(etc / "ssh")
        write(etc / "ssh/sshd_config", texts.sshd_config_text(self.host))
        write(etc / "ssh/banner.nasty", texts.NASTY_BANNER)
        for name, text in host_keys.items():
            write(etc / "ssh" / name, text, 0o644 if name.endswith(".pub") else 0o600)
        write(etc / "pam.d/sshd", texts.sshd_pam_text())
        write(etc / "motd.nasty", texts.NASTY_MOTD)
        write(etc / "sudoers", texts.SUDOERS, 0o440)
        self._programs()
        for user in self.host.users.values():
            self._home(user, user_keys.get(user.role))
        self._x2go()
        write(self.root / INIT.lstrip("/"), Path(__file__).with_name("_init.py").read_text(encoding="utf-8"))
        write(self.root / INIT_CONFIG.lstrip("/"), json.dumps(self._init_config()), 0o600)

    def _accounts(self, etc: Path, hashes: Mapping[str, str]) -> None:
        users = list(self.host.users.values())
        write(etc / "passwd", texts.merged_accounts(Path("/etc/passwd").read_text(), texts.passwd_text(users)))
        write(etc / "group", texts.merged_accounts(Path("/etc/group").read_text(), texts.group_text(users)))
        for secret, public in (("shadow", "passwd"), ("gshadow", "group")):
            names = [line.split(":")[0] for line in (etc / public).read_text().splitlines()]
            ours = texts.shadow_text(hashes) if secret == "shadow" else ""
            source = Path("/etc", secret)
            old = source.read_text() if source.exists() else ""
            write(etc / secret, texts.merged_accounts(old, ours, names_left=names), 0o640, 0, group_id("shadow"))
        for name in ("nologin", "subuid", "subgid"):
            (etc / name).unlink(missing_ok=True)

    def _identity(self, etc: Path) -> None:
        write(etc / "hostname", self.host.name + "\n")
        write(etc / "hosts", texts.hosts_text(self.plan, self.host.name))
        write(etc / "resolv.conf", "")
        write(etc / "environment", "")
        write(etc / "machine-id", uuid.uuid4().hex + "\n", 0o444)
        empty(etc / "profile.d")
        shells = Path("/etc/shells").read_text() if Path("/etc/shells").exists() else ""
        write(etc / "shells", shells + "".join(f"{user.shell}\n" for user in self.host.users.values()))
        sudoers_d = etc / "sudoers.d"
        for path in sudoers_d.iterdir() if sudoers_d.is_dir() else ():
            if path.name not in {"README", "x2goserver"}:
                path.unlink()
        for name in ("wtmp", "lastlog"):
            write(self.root / "var/log" / name, "", 0o664, 0, group_id("utmp"))

    def _programs(self) -> None:
        usr = self.root / "usr"
        empty(usr / "local")
        for name in ("bin", "sbin", "lib", "share"):
            (usr / "local" / name).mkdir()
        ash = usr / "bin/ash"
        ash.unlink(missing_ok=True)
        ash.symlink_to("busybox")
        for name, signal in _POWER_COMMANDS.items():
            write(usr / "sbin" / name, texts.power_script(name, signal), 0o755)
        if not self.host.spec.x2go:
            for folder in ("bin", "sbin"):
                for path in (usr / folder).glob("x2go*"):
                    path.unlink()
            shutil.rmtree(usr / "lib/x2go", ignore_errors=True)
            shutil.rmtree(self.root / "etc/x2go", ignore_errors=True)
            (self.root / "etc/sudoers.d/x2goserver").unlink(missing_ok=True)

    def _home(self, user: UserPlan, public_key: str | None) -> None:
        home = self.root / user.home.lstrip("/")
        shutil.copytree("/etc/skel", home) if Path("/etc/skel").is_dir() else home.mkdir()
        if public_key is not None:
            (home / ".ssh").mkdir(mode=0o700)
            (home / ".ssh/authorized_keys").write_text(public_key)
            (home / ".ssh/authorized_keys").chmod(0o600)
        if user.role == "zsh":
            (home / ".zshrc").write_text("# without this file zsh asks new users questions\n")
        if user.role == texts.NASTY:
            (home / ".bashrc").write_text(texts.NASTY_BASHRC, encoding="utf-8")
        for path in (home, *home.rglob("*")):
            os.chown(path, user.uid, user.uid, follow_symlinks=False)
        home.chmod(0o755)

    def _x2go(self) -> None:
        library = self.root / "var/lib/x2go"
        if library.exists():
            shutil.rmtree(library)
        if self.host.spec.x2go:
            library.mkdir()
            group = group_id("x2gouser")
            os.chown(library, user_id("x2gouser"), group)
            library.chmod(0o770)
            provide_printing(self.root)

    def _init_config(self) -> dict[str, Any]:
        setup: list[dict[str, Any]] = []
        services: list[dict[str, Any]] = [
            {"argv": ["/usr/sbin/sshd", "-D", "-E", "/var/log/auth.log"], "respawn": True},
        ]
        if self.host.spec.inner:
            setup += self._inner_setup()
        if self.host.spec.x2go:
            database = "/var/lib/x2go/x2go_sessions"
            create = f"test -e {database} || x2godbadmin --createdb"
            setup.append({"argv": ["/bin/sh", "-c", create]})
            services += [{"argv": ["/usr/sbin/x2gocleansessions"]}, *printing_services()]
        return {"setup": setup, "services": services, "ready_port": self.host.port}

    def _inner_setup(self) -> list[dict[str, Any]]:
        outside, inside = inner_addresses(self.plan)
        commands = (
            "ip netns add inner",
            "ip -n inner link set lo up",
            "ip link add inner0 type veth peer name eth0 netns inner",
            f"ip address add {outside}/28 dev inner0",
            "ip link set inner0 up",
            f"ip -n inner address add {inside}/28 dev eth0",
            "ip -n inner link set eth0 up",
        )
        first: dict[str, Any] = {"argv": ["/sbin/ip", "link", "delete", "inner0"], "may_fail": True}
        return [first, *({"argv": ["/sbin/" + command.split()[0], *command.split()[1:]]} for command in commands)]

    def enter(self, boot_id: str) -> None:
        """Make this boot's own mounts and enter the root; in the new PID 1, in its own mount namespace."""
        root = str(self.root)
        sys_.mount(root, root, None, sys_.MS_BIND | sys_.MS_REC)
        quiet = sys_.MS_NOSUID | sys_.MS_NODEV
        sys_.mount("tmp", f"{root}/tmp", "tmpfs", quiet, "mode=1777")
        sys_.mount("run", f"{root}/run", "tmpfs", quiet, "mode=755")
        sys_.mount("proc", f"{root}/proc", "proc", quiet | sys_.MS_NOEXEC)
        sys_.mount("sysfs", f"{root}/sys", "sysfs", quiet | sys_.MS_NOEXEC | sys_.MS_RDONLY)
        self._devices()
        self._runtime(boot_id)
        os.chdir(root)
        sys_.pivot_root(".", ".")
        sys_.umount(".", sys_.MNT_DETACH)
        os.chdir("/")

    def _devices(self) -> None:
        dev = self.root / "dev"
        sys_.mount("dev", str(dev), "tmpfs", sys_.MS_NOSUID, "mode=755")
        for name, (major, minor, mode) in _DEVICES.items():
            (dev / name).parent.mkdir(exist_ok=True)
            os.mknod(dev / name, stat.S_IFCHR | mode, os.makedev(major, minor))
            (dev / name).chmod(mode)
        for name, target in (("fd", ""), ("stdin", "/0"), ("stdout", "/1"), ("stderr", "/2")):
            (dev / name).symlink_to("/proc/self/fd" + target)
        for name in ("pts", "shm"):
            (dev / name).mkdir()
        sys_.mount("devpts", str(dev / "pts"), "devpts", sys_.MS_NOSUID, "newinstance,ptmxmode=0666,mode=620,gid=5")
        sys_.mount("shm", str(dev / "shm"), "tmpfs", sys_.MS_NOSUID | sys_.MS_NODEV, "mode=1777")
        (dev / "ptmx").symlink_to("pts/ptmx")

    def _runtime(self, boot_id: str) -> None:
        run, proc = self.root / "run", self.root / "proc"
        for name, mode in (("sshd", 0o755), ("lock", 0o1777), ("user", 0o755), ("sudo", 0o711)):
            (run / name).mkdir()
            (run / name).chmod(mode)
        write(run / "utmp", "", 0o664, 0, group_id("utmp"))
        write(run / "boot_id", boot_id + "\n", 0o444)
        _protect(proc / "sys")
        sys_.mount(str(run / "boot_id"), str(proc / "sys/kernel/random/boot_id"), None, sys_.MS_BIND)
        if (proc / "sysrq-trigger").exists():
            sys_.mount(str(self.root / "dev/null"), str(proc / "sysrq-trigger"), None, sys_.MS_BIND)
        for name in (".X11-unix", ".ICE-unix"):
            (self.root / "tmp" / name).mkdir()
            (self.root / "tmp" / name).chmod(0o1777)


def _protect(settings: Path) -> None:
    """Make the machine's kernel settings readable only; those of the host's own network stay its own."""
    sys_.mount(str(settings), str(settings), None, sys_.MS_BIND)
    sys_.mount("none", str(settings), None, sys_.MS_BIND | sys_.MS_REMOUNT | sys_.MS_RDONLY)
    sys_.mount(str(settings / "net"), str(settings / "net"), None, sys_.MS_BIND)
    sys_.mount("none", str(settings / "net"), None, sys_.MS_BIND | sys_.MS_REMOUNT)


def group_id(name: str) -> int:
    """The number of a group of the machine, 0 if it has none."""
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        return 0


def user_id(name: str) -> int:
    """The number of a user of the machine, 0 if it has none."""
    try:
        return pwd.getpwnam(name).pw_uid
    except KeyError:
        return 0
