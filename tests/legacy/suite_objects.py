"""Variables of a suite that uses the old classes: factories and shells, as such suites make them in Python."""

from __future__ import annotations

from crl.interactivesessions.InteractiveExecutor import InteractiveExecutor
from crl.interactivesessions.InteractiveSessionExecutor import InteractiveSessionExecutor
from crl.interactivesessions.InteractiveSessions import InteractiveSessionFactory
from crl.interactivesessions.SelfRepairingSession import SelfRepairingSession
from crl.interactivesessions.SessionManager import SessionManager
from crl.interactivesessions.shells.bashshell import BashShell
from crl.interactivesessions.shells.shell import Shell
from crl.secrets import Secret

__all__ = ["get_variables"]


class Here(InteractiveSessionExecutor):
    """Its logins are shells of this machine."""

    def make_ssh_shell(self, address: str, user: str | None, password: Secret | None) -> Shell:
        return BashShell("bash --norc")


def _session(node: str, work_dir: str | None = None) -> Here:
    return Here(node, host_name="here", host_user=None, host_password=None, work_dir=work_dir)


def _repairing(node: str) -> SelfRepairingSession:
    return SelfRepairingSession(node, _session, sleep_between_retries=0)


def get_variables() -> dict[str, object]:
    """The variables; called by Robot Framework."""
    return {
        "FACTORY": InteractiveSessionFactory(),
        "BASH": BashShell("bash --norc"),
        "SH": BashShell("sh"),
        "EXECUTOR": InteractiveExecutor(_repairing),
        "REPAIRING": _repairing("node"),
        "MANAGER": SessionManager(lambda node, subclass_name: _session(node)),
    }
