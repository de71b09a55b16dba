"""Robot Framework library ``X2GoLibrary``: X2Go sessions of the targets that ``TargetLibrary`` has opened.

Thin keywords over `crl.x2go`; pictures of sessions go into the log itself.
"""
# ruff: noqa: N999 - the name that suites import

from X2GoLibrary.library import X2GoLibrary

__all__ = ["X2GoLibrary"]
