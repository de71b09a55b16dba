"""Session profiles from a broker behind SSH, of which python-x2go has the name only."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, ClassVar

from crl.x2go.backends.profiles._broker import BrokerProfiles
from crl.x2go.log import X2GoLogger, loglevel_DEFAULT

__all__ = ["X2GoSessionProfiles"]


class X2GoSessionProfiles(BrokerProfiles):
    """The session profiles of a broker behind SSH; arguments as of `BrokerProfiles`, `config_files` without effect."""

    TYPE: ClassVar[str] = "ssh"
    SCHEMES: ClassVar[frozenset[str]] = frozenset({"ssh"})

    def __init__(
        self,
        session_profile_defaults: Mapping[str, Any] | None = None,
        logger: X2GoLogger | logging.Logger | None = None,
        loglevel: int = loglevel_DEFAULT,
        *,
        broker_url: str | None = None,
        broker_username: str | None = None,
        broker_password: Any = None,
        broker_noauth: bool = False,
        broker_options: Mapping[str, Any] | None = None,
        config_files: Any = None,  # noqa: ARG002 - for callers of other backends
    ) -> None:
        super().__init__(
            session_profile_defaults,
            broker_url,
            broker_username,
            broker_password,
            logger,
            loglevel,
            broker_noauth=broker_noauth,
            broker_options=broker_options,
        )
