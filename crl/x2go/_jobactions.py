"""What print actions and MIME box actions have in common: a name, a description, a client and a logger.

It knows the logger of X2Go and nothing of jobs. It promises the published constructor to both kinds.
"""

from __future__ import annotations

import logging
from typing import Any, ClassVar

from crl.x2go.log import X2GoLogger, logger_for, loglevel_DEFAULT

__all__ = ["JobAction"]


class JobAction:
    """Something that is done with a job of a session.

    Args:
        client_instance: The client, whose hooks are asked or told.
        logger: Where to log.
        loglevel: Levels to log when `logger` is not an `X2GoLogger`.
    """

    NAME: ClassVar[str] = ""
    DESCRIPTION: ClassVar[str] = ""
    LOG_TAG: ClassVar[str] = "action"

    def __init__(
        self,
        client_instance: Any = None,
        logger: X2GoLogger | logging.Logger | None = None,
        loglevel: int = loglevel_DEFAULT,
    ) -> None:
        self.client_instance = client_instance
        self.logger = logger_for(logger, loglevel, tag=self.LOG_TAG)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"

    @property
    def name(self) -> str:
        """The action's name."""
        return self.NAME or type(self).__name__

    @property
    def description(self) -> str:
        """What the action does, for people."""
        return self.DESCRIPTION or self.name
