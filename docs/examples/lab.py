"""Variables of the example suites: where the lab is, and its password users' passwords as secrets.

The lab's folder is ``$CRL_LAB_DIR``, by default that of ``crl lab up``.
"""

from __future__ import annotations

from robot.api.types import Secret

from crl.lab import Lab


def get_variables() -> dict[str, object]:
    """The variables; called by Robot Framework."""
    lab = Lab()
    password = lab.plan.hosts["alpha"].users["password"].password
    return {
        "SSH_CONFIG": str(lab.ssh_config),
        "PASSWORD": Secret(password.value if password else ""),
    }
