"""Targets: one host, and the verbs for what can be done there.

Stands on terminals and the link's services; knows no Robot Framework, no pytest and no command line.
"""

import crl.neighbours  # noqa: F401 - says clearly when another distribution has overwritten what stands below
from crl.targets.detached import DetachedProcess
from crl.targets.facts import TargetFacts
from crl.targets.python import Python
from crl.targets.results import (
    BecomeRefused,
    CommandFailed,
    CommandTimeout,
    ConnectTimeout,
    RebootFailed,
    RunResult,
)
from crl.targets.target import Target

__all__ = [
    "BecomeRefused",
    "CommandFailed",
    "CommandTimeout",
    "ConnectTimeout",
    "DetachedProcess",
    "Python",
    "RebootFailed",
    "RunResult",
    "Target",
    "TargetFacts",
]
