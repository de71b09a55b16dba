"""Session profiles from a broker behind HTTP: JSON, or plain text where its URL says ``/plain/``."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, ClassVar

from crl.x2go.backends.profiles._broker import BrokerProfiles
from crl.x2go.log import X2GoLogger, loglevel_DEFAULT

__all__ = ["X2GoSessionProfiles", "X2GoSessionProfilesHTTPSBROKER"]


class X2GoSessionProfiles(BrokerProfiles):
    """The session profiles of a broker behind HTTP; arguments as of `BrokerProfiles`."""

    TYPE: ClassVar[str] = "http"
    SCHEMES: ClassVar[frozenset[str]] = frozenset({"http", "https"})

    def __init__(
        self,
        session_profile_defaults: Mapping[str, Any] | None = None,
        broker_url: str | None = "http://localhost:8080/json/",
        broker_username: str | None = None,
        broker_password: Any = None,
        logger: X2GoLogger | logging.Logger | None = None,
        loglevel: int = loglevel_DEFAULT,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            session_profile_defaults, broker_url, broker_username, broker_password, logger, loglevel, **kwargs
        )


X2GoSessionProfilesHTTPSBROKER = X2GoSessionProfiles
