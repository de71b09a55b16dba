"""A throw-away lab: real hosts with sshd, sudo and X2Go server in namespaces of this one machine.

It stands alone: it knows no other part of crl but its errors and secrets. What `Lab.up` makes, `Lab.down` removes.
"""

from crl.lab._control import Condition
from crl.lab._shaping import LinkState, Shape
from crl.lab.broker import LabBroker
from crl.lab.errors import (
    LabBootError,
    LabCommandError,
    LabError,
    LabHostDown,
    LabNotUp,
    LabRequirementsMissing,
    LabTimeout,
)
from crl.lab.host import LabHost
from crl.lab.lab import HostStatus, Lab, LabStatus
from crl.lab.plan import UserPlan
from crl.lab.processes import LabProcess
from crl.lab.requirements import Requirements, requirements

__all__ = [
    "Condition",
    "HostStatus",
    "Lab",
    "LabBootError",
    "LabBroker",
    "LabCommandError",
    "LabError",
    "LabHost",
    "LabHostDown",
    "LabNotUp",
    "LabProcess",
    "LabRequirementsMissing",
    "LabStatus",
    "LabTimeout",
    "LinkState",
    "Requirements",
    "Shape",
    "UserPlan",
    "requirements",
]
