"""Variables of the example suites: where the lab is, and its password users' passwords as secrets.

The lab's folder is ``$CRL_LAB_DIR``, by default that of ``crl lab up``.
"""

from __future__ import annotations

from robot.api.types import Secret

from crl.lab import Lab
from crl.secrets import Secret as Hidden


def get_variables() -> dict[str, object]:
    """The variables; called by Robot Framework."""
    lab = Lab()
    users = lab.plan.hosts["alpha"].users
    return {
        "SSH_CONFIG": str(lab.ssh_config),
        "PASSWORD": _secret(users["password"].password),
        "SUDO_PASSWORD": _secret(users["both"].password),
    }


def _secret(password: Hidden | None) -> Secret:
    return Secret(password.value if password else "")
