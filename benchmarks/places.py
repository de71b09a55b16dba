"""The lab as the benchmarks want it: hops that need no password, a service on ``alpha``, a slow link.

It knows `crl.lab` alone. What it puts on the hosts it takes away again, and it takes the lab down only when it brought
it up.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from benchmarks.peers.base import Settings, target_text
from crl.lab import Lab

__all__ = ["Places"]

SUDOERS = "/etc/sudoers.d/benchmark"
TRIP = 0.05


class Places:
    """The lab, ready for measuring; a context manager."""

    def __init__(self) -> None:
        self._lab = Lab()
        self._stack = ExitStack()
        self.port = 0

    def __enter__(self) -> Places:
        with ExitStack() as stack:
            if not self._lab.status().exists:
                stack.callback(self._lab.down)
            self._lab.up()
            self._lab.host("alpha").restore()
            self._open_the_hop(stack)
            self._open_sudo(stack)
            self.port = stack.enter_context(self._service())
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def settings(self, folder: Path, option: str) -> Settings:
        """What a peer is told."""
        alpha = self._lab.host("alpha")
        user = alpha.user("password")
        assert user.password is not None
        return Settings(
            ssh_config=str(self._lab.ssh_config),
            known_hosts=str(self._lab.known_hosts),
            address=alpha.address,
            login=user.login,
            password=user.password.value,
            folder=str(folder),
            option=option,
        )

    def _open_the_hop(self, stack: ExitStack) -> None:
        """Let the user on the gateway log in to beta with a key."""
        host, home = self._lab.host("gateway"), self._lab.host("gateway").user("key").home
        for name, path in (("id_ed25519", self._lab.key("key")), ("known_hosts", self._lab.known_hosts)):
            remote = f"{home}/.ssh/{name}"
            host.exec(["sh", "-c", f"umask 077; cat > {remote}"], "key", input=path.read_bytes())
            stack.callback(host.exec, ["rm", "-f", remote])

    def _open_sudo(self, stack: ExitStack) -> None:
        """Let a user become root without a password."""
        host = self._lab.host("alpha")
        line = f"{host.user('both').login} ALL=(ALL) NOPASSWD: ALL\n".encode()
        host.exec(["sh", "-c", f"umask 337; cat > {SUDOERS}"], input=line)
        stack.callback(host.exec, ["rm", "-f", SUDOERS])

    @contextmanager
    def _service(self) -> Iterator[int]:
        """Something on alpha to tunnel to; its port."""
        argv = self._lab.host("alpha").command(["python3", "-c", f"{target_text()}\nserve()"])
        with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            yield int(process.stdout.readline())
            process.communicate(timeout=10)

    @contextmanager
    def slow(self, loss: float) -> Iterator[None]:
        """A link to alpha of 50 ms a round trip."""
        host = self._lab.host("alpha")
        host.slow(delay=TRIP / 2, loss=loss)
        try:
            yield
        finally:
            host.restore()

    def tidy(self) -> None:
        """Remove the peers' files on the targets."""
        for host in ("alpha", "beta"):
            line = "rm -rf /tmp/benchmark-* /tmp/pyro-*"
            self._lab.host(host).exec(["sh", "-c", line])
