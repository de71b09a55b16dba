"""Shells inside containers: of Kubernetes pods, and of Docker and Podman.

They are `BashShell`s with another start command, started on this machine or from any other shell. They promise that
names are never read as options or as shell syntax, and what `BashShell` promises.
"""

from __future__ import annotations

import shlex
from typing import Final

from crl.errors import UsageError
from crl.interactivesessions.shells.bashshell import START_TIMEOUT, BashShell
from crl.interactivesessions.shells.registershell import RegisterShell

__all__ = ["ContainerShell", "KubernetesShell"]

# The way out of the terminal that docker and podman listen for; what begins it is kept back until the next byte.
_DETACH_KEYS: Final = ",".join(["ctrl-^", "ctrl-_"] * 4)
_ENGINES_WITH_DETACH_KEYS: Final = frozenset({"docker", "podman"})


def _name(kind: str, value: str) -> str:
    """A name for a command line.

    Raises:
        UsageError: It is empty or would be taken for an option.
    """
    if not value or value.startswith("-"):
        raise UsageError(f"{value!r} is no name of a {kind}")
    return shlex.quote(value)


@RegisterShell()
class KubernetesShell(BashShell):
    """A shell in a container of a pod (``kubectl exec``).

    Args:
        pod_name: The pod, or what ``kubectl exec`` takes for one, as ``deployment/name``.
        container: The container, where the pod has several.
        namespace: The namespace of the pod.
        cmd: The shell to start there.
        init_env: As of `BashShell`.
        workdir: As of `BashShell`.
        cli: The program, with options if need be: ``kubectl``, ``oc``, ``kubectl --context=test``.
        start_timeout: As of `BashShell`.
    """

    def __init__(
        self,
        pod_name: str,
        container: str | None = None,
        namespace: str | None = None,
        cmd: str = "bash",
        init_env: str | None = None,
        workdir: str | None = None,
        cli: str = "kubectl",
        *,
        start_timeout: float = START_TIMEOUT,
    ) -> None:
        super().__init__(cmd, init_env=init_env, workdir=workdir, start_timeout=start_timeout)
        self._place = f"exec {_name('pod', pod_name)} -it"
        if container is not None:
            self._place += f" -c {_name('container', container)}"
        if namespace is not None:
            self._place += f" -n {_name('namespace', namespace)}"
        self._cli = cli

    def get_start_cmd(self) -> str:
        """``kubectl exec POD -it -c CONTAINER -n NAMESPACE -- bash``."""
        return f"{self._cli} {self._place} -- {super().get_start_cmd()}"

    def _what(self) -> str:
        return f"{type(self).__name__} ({self.get_start_cmd()})"


@RegisterShell()
class ContainerShell(BashShell):
    """A shell in a running container (``docker exec``, ``podman exec``).

    Args:
        container: Its name or id.
        cmd: The shell to start there.
        user: The user to be there; None is the container's own.
        init_env: As of `BashShell`.
        workdir: As of `BashShell`.
        cli: The program, with options if need be: ``docker``, ``podman``, ``sudo docker``.
        start_timeout: As of `BashShell`.
    """

    def __init__(
        self,
        container: str,
        cmd: str = "bash",
        *,
        user: str | None = None,
        init_env: str | None = None,
        workdir: str | None = None,
        cli: str = "docker",
        start_timeout: float = START_TIMEOUT,
    ) -> None:
        super().__init__(cmd, init_env=init_env, workdir=workdir, start_timeout=start_timeout)
        words = ["exec", "-it"]
        if any(word.rpartition("/")[2] in _ENGINES_WITH_DETACH_KEYS for word in shlex.split(cli)):
            words.append(f"--detach-keys={_DETACH_KEYS}")
        if user is not None:
            words += ["--user", _name("user", user)]
        self._place = " ".join([*words, _name("container", container)])
        self._cli = cli

    def get_start_cmd(self) -> str:
        """``docker exec -it CONTAINER bash``."""
        return f"{self._cli} {self._place} {super().get_start_cmd()}"

    def _what(self) -> str:
        return f"{type(self).__name__} ({self.get_start_cmd()})"
