"""x2gokdriveclient as the session's graphics proxy.

Not in this release: the name is there and refuses.
"""

from __future__ import annotations

from typing import ClassVar, NoReturn

from crl.x2go._notyet import NotInThisRelease, refuse

__all__ = ["X2GoProxy", "X2GoProxyKDRIVE"]


class X2GoProxy(NotInThisRelease):
    """Not in this release."""

    PART: ClassVar[str] = "the KDrive proxy"

    @classmethod
    def require_program(cls) -> NoReturn:
        """Refuse, before anything is started on the server."""
        refuse(cls.__name__, cls.PART)


X2GoProxyKDRIVE = X2GoProxy
