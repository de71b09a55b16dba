"""Session profiles from a broker behind HTTP.

Not in this release: the names are there and refuse.
"""

from __future__ import annotations

from typing import ClassVar

from crl.x2go._notyet import NotInThisRelease

__all__ = ["X2GoSessionProfiles", "X2GoSessionProfilesHTTPSBROKER"]


class X2GoSessionProfiles(NotInThisRelease):
    """Not in this release."""

    PART: ClassVar[str] = "session brokers"


X2GoSessionProfilesHTTPSBROKER = X2GoSessionProfiles
