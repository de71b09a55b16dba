"""Targets: one host, and the verbs for what can be done there.

Stands on terminals and the link's services; knows no Robot Framework, no pytest and no command line.
"""

import crl.neighbours  # noqa: F401 - says clearly when another distribution has overwritten what stands below
from crl.interactivesessions._beside import CommandChannel
from crl.targets.detached import DetachedProcess
from crl.targets.facts import TargetFacts
from crl.targets.fleet import Fleet
from crl.targets.inventory import Inventory
from crl.targets.outcomes import FleetCancelled, FleetProgress, FleetTimeout, Outcome, OutcomeLost, Outcomes
from crl.targets.python import Python
from crl.targets.results import (
    BecomeRefused,
    CommandFailed,
    CommandTimeout,
    ConnectTimeout,
    RebootFailed,
    RunResult,
)
from crl.targets.spec import SecretFrom, TargetSpec
from crl.targets.target import Target

__all__ = [
    "BecomeRefused",
    "CommandChannel",
    "CommandFailed",
    "CommandTimeout",
    "ConnectTimeout",
    "DetachedProcess",
    "Fleet",
    "FleetCancelled",
    "FleetProgress",
    "FleetTimeout",
    "Inventory",
    "Outcome",
    "OutcomeLost",
    "Outcomes",
    "Python",
    "RebootFailed",
    "RunResult",
    "SecretFrom",
    "Target",
    "TargetFacts",
    "TargetSpec",
]
