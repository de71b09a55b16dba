"""The errors of the lab.

Each says what could not be done on this machine, why, and what to do. This module knows only crl's exception tree and
promises that every failure of the lab is a `LabError`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from crl.errors import RemoteWorldError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "LabBootError",
    "LabCommandError",
    "LabError",
    "LabHostDown",
    "LabNotUp",
    "LabRequirementsMissing",
    "LabTimeout",
]


class LabError(RemoteWorldError):
    """Something of the lab could not be done."""


class LabRequirementsMissing(LabError):
    """This machine cannot run a lab.

    Args:
        missing: What is missing, one sentence each.
        advice: What to do, and what can be done without.
    """

    def __init__(self, missing: Sequence[str] = (), *, advice: str | None = None) -> None:
        super().__init__("; ".join(missing), doing="checking what the lab needs", advice=advice)
        self.missing = tuple(missing)


class LabNotUp(LabError):
    """There is no lab in this folder."""


class LabHostDown(LabError):
    """The host of the lab does not run now."""


class LabBootError(LabError):
    """A host of the lab did not come up."""


class LabTimeout(LabError):
    """Something of the lab was not done in time."""


class LabCommandError(LabError):
    """A program of this machine that the lab calls (ip, nft, apt-get …) has failed."""
