"""What the lab needs of this machine, what is missing, and what can be done without.

It looks at the user, the system, the kernel and the packages, and changes nothing but by `install`.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from crl.lab._commands import call, lock
from crl.lab.errors import LabCommandError, LabError, LabRequirementsMissing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

__all__ = ["PACKAGES", "Requirements", "check", "install", "requirements"]

PACKAGES: Final[tuple[tuple[str, ...], ...]] = (
    ("openssh-server",),
    ("openssh-client",),
    ("openssl",),
    ("iproute2",),
    ("iputils-ping", "inetutils-ping"),
    ("nftables",),
    ("procps",),
    ("sudo",),
    ("python3",),
    ("zsh",),
    ("fish",),
    ("tcsh",),
    ("busybox", "busybox-static"),
    ("x2goserver",),
    ("x2goserver-xsession",),
    ("x2goserver-extensions",),
    ("x2goserver-printing",),
    ("cups-x2go",),
    ("printer-driver-cups-pdf",),
    ("dbus-daemon",),
    ("sshfs",),
    ("openbox",),
    ("xterm",),
    ("xauth",),
    ("x11-utils",),
    ("x11-xserver-utils",),
    ("nxproxy",),
    ("xvfb",),
    ("pulseaudio",),
    ("pulseaudio-utils",),
    ("xserver-xephyr",),
    ("xwayland",),
    ("weston",),
    ("x2gobroker-daemon",),
    ("x2gobroker-authservice",),
    ("x2gobroker-agent",),
    ("x2gobroker-ssh",),
    ("x2gobroker-wsgi",),
)
"""The Debian packages of the lab; of several in one row any one will do, the first is installed."""

LOOK_LIMIT: Final = 60.0
APT_LIMIT: Final = 900.0
LOCK_PAUSE: Final = 1.0
_LISTS: Final = Path("/var/lib/apt/lists")
_POLICY: Final = Path("/usr/sbin/policy-rc.d")
_WITHOUT: Final = (
    "crl drives your own hosts as usual: the lab is only for trying and testing",
    "the tests without the marker lab run: pytest -m 'not lab'",
)


@dataclass(frozen=True)
class Requirements:
    """The answer of `requirements`.

    Attributes:
        missing: What is missing and keeps the lab from running, one sentence each, with the remedy.
        to_install: Packages that ``up`` will install.
        limits: What will not work although the lab runs.
        possible: What can be done without the lab.
    """

    missing: tuple[str, ...]
    to_install: tuple[str, ...]
    limits: tuple[str, ...]
    possible: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether the lab can be brought up."""
        return not self.missing


def _is_debian() -> bool:
    path = Path("/etc/os-release")
    fields = dict(line.split("=", 1) for line in path.read_text().splitlines() if "=" in line) if path.exists() else {}
    return "debian" in " ".join(fields.get(key, "").strip('"') for key in ("ID", "ID_LIKE")).split()


def _namespaces_work() -> bool:
    kinds = ["--mount", "--net", "--uts", "--ipc", "--pid", "--fork"]
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):  # no unshare(1) is the same answer
        result = subprocess.run(["unshare", *kinds, "true"], capture_output=True, timeout=LOOK_LIMIT, check=False)
        return result.returncode == 0
    return False


def _overlay_works() -> bool:
    if "\toverlay\n" in Path("/proc/filesystems").read_text():
        return True
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):  # no modprobe: what is not there cannot be loaded
        result = subprocess.run(["modprobe", "overlay"], capture_output=True, timeout=LOOK_LIMIT, check=False)
        return result.returncode == 0
    return False


def missing_packages() -> tuple[str, ...]:
    """The packages that are to be installed; all of them when dpkg cannot be asked."""
    names = [name for row in PACKAGES for name in row]
    try:
        result = subprocess.run(
            ["dpkg-query", "-W", "-f", "${db:Status-Status} ${Package}\n", *names],
            capture_output=True,
            text=True,
            timeout=LOOK_LIMIT,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return tuple(row[0] for row in PACKAGES)
    there = {line.split()[1] for line in result.stdout.splitlines() if line.startswith("installed ")}
    return tuple(row[0] for row in PACKAGES if not there.intersection(row))


def requirements() -> Requirements:
    """Look at what the lab needs; quick (about 0.1 s) and harmless."""
    missing = []
    is_root = os.geteuid() == 0
    if not is_root:
        missing.append("root: making hosts needs namespaces and mounts; run it with sudo")
    if not _is_debian():
        missing.append("Debian: the lab installs Debian's packages; run it in a Debian (11 or newer) machine")
    if is_root and not _namespaces_work():
        missing.append("namespaces: unshare(1) is refused here; in a container give it --privileged")
    if is_root and not _overlay_works():
        missing.append("overlayfs: this kernel has no overlay file system; load or build it (CONFIG_OVERLAY_FS)")
    limits = []
    if not Path("/dev/net/tun").exists():
        limits.append("no /dev/net/tun: links can be cut but not slowed")
    return Requirements(tuple(missing), missing_packages(), tuple(limits), _WITHOUT if missing else ())


def check() -> Requirements:
    """As `requirements`, but an error when the lab cannot run.

    Raises:
        LabRequirementsMissing: With all that is missing.
    """
    found = requirements()
    if not found.ok:
        raise LabRequirementsMissing(found.missing, advice="without the lab: " + "; ".join(found.possible))
    return found


def install(packages: tuple[str, ...], on_progress: Callable[[str], None]) -> None:
    """Install packages with one apt-get, without starting their services on this machine.

    Raises:
        LabError: apt-get failed; the error carries the tail of what it said.
    """
    if not packages:
        return
    with _installing_alone():
        # Who installed before us may have installed the same.
        there = {row[0] for row in PACKAGES} - set(missing_packages())
        if wanted := [name for name in packages if name not in there]:
            on_progress(f"installing {len(wanted)} packages: {' '.join(wanted)}")
            _install(wanted)


def _install(packages: Sequence[str]) -> None:
    command = ["install", "-y", "--no-install-recommends", "-o", "Dpkg::Options::=--force-confold", *packages]
    try:
        with _no_services_started():
            if any(_LISTS.glob("*Packages*")):
                # Most often the lists are fresh enough; stale ones name files that the mirrors have no more.
                with contextlib.suppress(LabCommandError):
                    _apt_get(command, "installing the lab's packages")
                    return
            _apt_get(["update"], "updating the package lists")
            _apt_get(command, "installing the lab's packages")
    except LabCommandError as error:
        raise LabError(
            error.message,
            doing="installing the lab's packages",
            advice=f"see what apt-get said, then try it by hand: apt-get {' '.join(command)}",
            transcript=error.transcript,
        ) from error


def _apt_get(arguments: Sequence[str], doing: str) -> None:
    """Run apt-get; while another one holds a lock of it, as the machine's own updates do, again."""
    limit = time.monotonic() + APT_LIMIT
    # A mirror that fails once is asked again.
    command = ["apt-get", "-o", "Acquire::Retries=5", *arguments]
    while True:
        try:
            call(command, doing=doing, timeout=APT_LIMIT, env={"DEBIAN_FRONTEND": "noninteractive"})
            return
        except LabCommandError as error:
            if "Could not get lock" not in error.transcript or time.monotonic() > limit:
                raise
        time.sleep(LOCK_PAUSE)


@contextlib.contextmanager
def _installing_alone() -> Iterator[None]:
    """Only one lab of this machine installs packages at a time."""
    with contextlib.ExitStack() as stack:
        if _LISTS.is_dir():
            fd = os.open(_LISTS, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            stack.callback(os.close, fd)
            if not lock(fd, APT_LIMIT):
                raise LabError("another lab still installs packages", doing="waiting to install the lab's packages")
        yield


@contextlib.contextmanager
def _no_services_started() -> Iterator[None]:
    """While packages are installed nothing is started: the machine shall not get an sshd because of the lab."""
    if _POLICY.exists():
        yield
        return
    _POLICY.write_text("#!/bin/sh\nexit 101\n")
    _POLICY.chmod(0o755)
    try:
        yield
    finally:
        _POLICY.unlink(missing_ok=True)
