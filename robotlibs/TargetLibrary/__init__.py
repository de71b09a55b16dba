"""Robot Framework library ``TargetLibrary``: hosts, commands, processes, Python and tunnels there.

Thin keywords over `crl.targets`; nothing is done here that Python code could not do with a `Target`.
"""
# ruff: noqa: N999 - the name that suites import

import crl.neighbours  # noqa: F401 - says clearly when another distribution has overwritten what stands below
from TargetLibrary.library import TargetLibrary

__all__ = ["TargetLibrary"]
