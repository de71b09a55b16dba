"""A real X2Go session broker on a host of the lab: Debian's daemon with PAM's answers, its agent, its program for SSH.

Everything it needs is in one folder of the host and one here: configuration, profiles, cookies, and certificates of an
authority that is made for it and believed by nobody else. `LabBroker.close` ends its processes and takes all away.
"""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from crl.lab._commands import call
from crl.lab.errors import LabError, LabTimeout

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import TracebackType

    from crl.lab.host import LabHost

__all__ = ["LabBroker"]

USER: Final = "x2gobroker"
_COOKIES: Final = "/var/lib/x2gobroker/.x2go"
_STARTING: Final = "starting or ending a session broker"
_ACCEPTS: Final = "00010000"  # among the flags of a socket
_LIMIT: Final = 30.0
_NAP: Final = 0.05
_SETTINGS: Final = {
    "require-password": "true",
    "default-session-autologin": "true",
    "default-authorized-keys": "%h/.ssh/authorized_keys",
    "default-agent-query-mode": "LOCAL",
    "default-portscan-x2goservers": "false",
}
_LOGGERS: Final = ("broker", "access", "error", "authservice")
_SSH_PROGRAM: Final = "/usr/bin/x2gobroker-ssh"
_LET_IN: Final = """\
set -e
gid=$(stat -c %g "$1")
grep -q '^x2gobroker-users:' /etc/group || echo "x2gobroker-users:x:$gid:$2" >> /etc/group
printf '%%x2gobroker-users ALL=(:x2gobroker) NOPASSWD: /usr/lib/x2go/x2gobroker-agent\\n' > /etc/sudoers.d/x2gobroker
chmod 440 /etc/sudoers.d/x2gobroker
"""
_AGENT: Final = """\
#!/bin/sh
[ "$2" = findbusyservers ] && [ -s {0}/loads ] && echo OK && exec cat {0}/loads
exec /usr/lib/x2go/x2gobroker-agent "$@"
"""
_END: Final = """\
for one in /proc/[0-9]*; do
    grep -qsz "^X2GOBROKER_CONFIG=$1/" "$one/environ" && kill -9 "${one#/proc/}" && echo "$one"
done
true
"""
_FORGET_KEYS: Final = """\
for file in /home/*/.ssh/authorized_keys; do
    sed -i '/^no-X11-forwarding,/d' "$file"
done
"""
_LET_OUT: Final = "rm -f /etc/sudoers.d/x2gobroker; sed -i '/^x2gobroker-users:/d' /etc/group"


class LabBroker:
    """A session broker on a host, from its start to its end.

    Args:
        host: The host; one with an X2Go server.
        profiles: The text of its file of session profiles (``x2gobroker-sessionprofiles.conf``).
        settings: Settings of the section ``[global]`` of its configuration; they win over the lab's, which are: log in
            with the password of the host, ask the agent of the same host, let in by a key.
        ssh_users: Logins that may use the broker over SSH.
        port: Where it listens for HTTPS.
        program: Text of a Python program that serves instead of the daemon, for another way to serve the same: run by
            Debian's Python with address, port, certificate and key as arguments.

    Raises:
        LabError: It did not come up; the error carries what it said.
    """

    def __init__(
        self,
        host: LabHost,
        profiles: str,
        *,
        settings: Mapping[str, str] | None = None,
        ssh_users: Sequence[str] = (),
        port: int = 8443,
        program: str | None = None,
    ) -> None:
        self._host, self._port, self._program = host, port, program
        self._here = Path(tempfile.mkdtemp(prefix="crl-broker-"))
        self._there, self._lets_in = "", False
        self._processes: list[subprocess.Popen[bytes]] = []
        try:
            self._make_certificates()
            self._there = self._shell('d=$(mktemp -d /tmp/broker.XXXXXX) && chmod 755 "$d" && echo "$d"')
            self._write_files(profiles, {**_SETTINGS, **(settings or {})})
            if ssh_users:
                self._lets_in = True
                self._shell(_LET_IN, _SSH_PROGRAM, ",".join(ssh_users))
            self._start()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End it and take away what it had; again is harmless."""
        self.stop()
        if self._there:
            self._shell('rm -rf "$1" "$2"', self._there, _COOKIES)
            self._shell(_FORGET_KEYS)
            self._there = ""
        if self._lets_in:
            self._shell(_LET_OUT)
            self._lets_in = False
        shutil.rmtree(self._here, ignore_errors=True)

    def stop(self) -> None:
        """End its processes; `restart` starts them again."""
        for process in reversed(self._processes):
            process.kill()  # what runs on the host dies with it, but for what the daemon has left behind
            process.wait()
        if self._processes:
            self._wait_until("still runs", lambda: not self._shell(_END, self._there))
        self._processes.clear()

    def restart(self) -> None:
        """End its processes and start them again."""
        self.stop()
        self._start()

    def set_loads(self, loads: Mapping[str, int]) -> None:
        """Tell the broker how busy servers are: Debian's agent divides by zero where it should.

        Args:
            loads: For names of servers the share of the work, in percent.
        """
        text = "".join(f"{load}:{name}\n" for name, load in loads.items())
        self._host.exec(["sh", "-c", 'cat > "$1"', "sh", f"{self._there}/loads"], input=text.encode())

    def url(self, form: str = "json") -> str:
        """Where it is: ``json`` or ``plain``."""
        return f"https://{self._host.address}:{self._port}/{form}/"

    def ssh_url(self, user: str) -> str:
        """Where its program for SSH is."""
        port = "" if self._host.port == 22 else f":{self._host.port}"
        return f"ssh://{user}@{self._host.address}{port}{self._there}/ssh"

    @property
    def ca_file(self) -> Path:
        """The certificate of the authority that signed its own."""
        return self._here / "ca.pem"

    @property
    def log(self) -> str:
        """What its processes have said so far."""
        return "".join(path.read_text(errors="replace") for path in sorted(self._here.glob("*.log")))

    def _shell(self, script: str, *arguments: str) -> str:
        """Run a script on the host, as root.

        Raises:
            LabError: It failed.
        """
        result = self._host.exec(["sh", "-c", script, "sh", *arguments])
        if result.returncode:
            raise LabError(
                "a step failed", host=self._host.name, doing="setting up a session broker",
                transcript=result.stderr.decode(errors="replace"),
            )  # fmt: skip
        return result.stdout.decode().strip()

    def _make_certificates(self) -> None:
        """An authority, and a certificate of it for the host's name and address."""
        doing, here = "making certificates", self._here
        new = ["openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-batch"]
        names = f"subjectAltName=DNS:{self._host.name},IP:{self._host.address}"
        authority = ["-subj", "/CN=authority of a lab", "-addext", "keyUsage=critical,keyCertSign,cRLSign"]
        ca_key, ca = str(here / "ca.key"), str(here / "ca.pem")
        call([*new, "-x509", "-days", "30", *authority, "-keyout", ca_key, "-out", ca], doing=doing)
        request = [*new, "-subj", f"/CN={self._host.name}", "-keyout", str(here / "broker.key")]
        call([*request, "-out", str(here / "broker.csr")], doing=doing)
        (here / "names").write_text(names + "\n")
        sign = ["openssl", "x509", "-req", "-days", "30", "-CA", ca, "-CAkey", ca_key, "-CAcreateserial"]
        sign += ["-extfile", str(here / "names"), "-in", str(here / "broker.csr"), "-out", str(here / "broker.pem")]
        call(sign, doing=doing)

    def _write_files(self, profiles: str, settings: Mapping[str, str]) -> None:
        there = self._there
        lines = [f"{name}={value}" for name, value in {**settings, "cookie-directory": f"{there}/cookies"}.items()]
        backend = f"[broker_inifile]\nenable=true\nsession-profiles={there}/profiles.conf\n"
        files = {
            "broker.conf": "\n".join(["[global]", *lines, backend]),
            "profiles.conf": profiles,
            "loggers.conf": _loggers_text(),
            "broker.pem": (self._here / "broker.pem").read_text(),
            "broker.key": (self._here / "broker.key").read_text(),
            "program": self._program or "",
            "agent": _AGENT.format(there),
            "ssh": f"#!/bin/sh\n{_exports(self._environment())}exec {_SSH_PROGRAM} \"$@\"\n",
        }
        for name, text in files.items():
            self._host.exec(["sh", "-c", 'cat > "$1"', "sh", f"{there}/{name}"], input=text.encode())
        owned = "mkdir auth && chown x2gobroker broker.key profiles.conf && chmod 600 broker.key && chmod 755 ssh agent"
        self._shell(f'cd "$1" && {owned}', there)

    def _environment(self) -> dict[str, str]:
        there = self._there
        return {
            "X2GOBROKER_CONFIG": f"{there}/broker.conf",
            "X2GOBROKER_SESSIONPROFILES": f"{there}/profiles.conf",
            "X2GOBROKER_LOGCONFIG": f"{there}/loggers.conf",
            "X2GOBROKER_AUTHSERVICE_LOGCONFIG": f"{there}/loggers.conf",
            "X2GOBROKER_AUTHSERVICE_SOCKET": f"{there}/auth/socket",
            "PYTHONWARNINGS": "ignore",
        }

    def _start(self) -> None:
        there, settings = self._there, self._environment()
        self._shell('rm -f "$1"/auth/socket', there)
        service = ["x2gobroker-authservice", "-o", USER, "-g", USER, "-s", f"{there}/auth/socket"]
        self._run("authservice", service, settings)
        own = {"HOME": "/var/lib/x2gobroker", "USER": USER, "LOGNAME": USER}
        tls = {"X2GOBROKER_SSL_CERTFILE": f"{there}/broker.pem", "X2GOBROKER_SSL_KEYFILE": f"{there}/broker.key"}
        # pdeathsig is forgotten when the user changes
        as_user = ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--init-groups", "setpriv", "--pdeathsig=KILL"]
        own["X2GOBROKER_AGENT_CMD"] = f"{there}/agent"
        argv = ["x2gobroker-daemon", "--bind", f"{self._host.address}:{self._port}"]
        if self._program is not None:
            argv = ["python3", f"{there}/program", self._host.address, str(self._port), *tls.values()]
        self._run("daemon", argv, {**settings, **own, **tls}, as_user)
        self._wait_up()

    def _run(self, name: str, argv: list[str], env: Mapping[str, str], who: Sequence[str] = ()) -> None:
        command = self._host.command([*who, "env", *(f"{key}={value}" for key, value in env.items()), *argv])
        with (self._here / f"{name}.log").open("ab") as log:
            self._processes.append(
                subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)
            )

    def _wait_up(self) -> None:
        """Wait until both services listen.

        Raises:
            LabTimeout: They did not in time.
            LabError: One has ended.
        """
        # Its socket is there before it listens, and before it may be used.
        service = f" {_ACCEPTS} .* {self._there}/auth/socket$"

        def is_up() -> bool:
            if any(process.poll() is not None for process in self._processes):
                raise LabError("it ended", host=self._host.name, doing=_STARTING, transcript=self.log)
            return self._listens() and self._host.exec(["grep", "-q", service, "/proc/net/unix"]).returncode == 0

        self._wait_until("does not listen", is_up)

    def _listens(self) -> bool:
        with contextlib.suppress(OSError):
            socket.create_connection((self._host.address, self._port), timeout=1).close()
            return True
        return False

    def _wait_until(self, otherwise: str, is_so: Callable[[], bool]) -> None:
        end = time.monotonic() + _LIMIT
        while not is_so():
            if time.monotonic() > end:
                about = f"it {otherwise} after {_LIMIT:g} s"
                raise LabTimeout(about, host=self._host.name, doing=_STARTING, transcript=self.log)
            time.sleep(_NAP)


def _loggers_text() -> str:
    """Logging of all its programs to their standard error."""
    text = f"[loggers]\nkeys=root,{','.join(_LOGGERS)}\n[handlers]\nkeys=stderr\n[formatters]\nkeys=\n"
    text += "[handler_stderr]\nclass=StreamHandler\nargs=(sys.stderr,)\n[logger_root]\nlevel=NOTSET\nhandlers=stderr\n"
    for name in _LOGGERS:
        text += f"[logger_{name}]\nlevel=DEBUG\nhandlers=stderr\nqualname={name}\npropagate=0\n"
    return text


def _exports(settings: Mapping[str, str]) -> str:
    return "".join(f"export {name}={value}\n" for name, value in settings.items())
