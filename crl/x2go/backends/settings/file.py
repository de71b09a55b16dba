"""The client's settings in a file, shared with x2goclient: ``~/.x2goclient/settings``."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from crl.x2go import defaults as values
from crl.x2go import inifiles
from crl.x2go.log import X2GoLogger, loglevel_DEFAULT
from crl.x2go.x2go_exceptions import X2GoClientSettingsException, X2GoException

__all__ = ["X2GoClientSettings", "X2GoClientSettingsFILE"]


class X2GoClientSettings(inifiles.X2GoIniFile):
    """The client's settings; `get_value` reads them, `update_value` and `write` change them.

    Args:
        config_files: The user's file, then others; default ``~/.x2goclient/settings`` and ``/etc/x2goclient/settings``.
        defaults: Sections, keys and values where no file says anything; default X2Go's own.
        logger: Where to log.
        loglevel: Levels to log when `logger` is not an `X2GoLogger`.
    """

    _FAILURE: ClassVar[type[X2GoException]] = X2GoClientSettingsException

    def __init__(
        self,
        config_files: str | os.PathLike[str] | Iterable[str | os.PathLike[str]] | None = None,
        defaults: Mapping[str, Mapping[str, Any]] | None = None,
        logger: X2GoLogger | logging.Logger | None = None,
        loglevel: int = loglevel_DEFAULT,
    ) -> None:
        files = values.X2GO_SETTINGS_CONFIGFILES if config_files is None else config_files
        known = values.X2GO_CLIENTSETTINGS_DEFAULTS if defaults is None else defaults
        super().__init__(files, known, logger, loglevel)


X2GoClientSettingsFILE = X2GoClientSettings
