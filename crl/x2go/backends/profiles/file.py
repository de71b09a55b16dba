"""Session profiles in a file, shared with x2goclient and python-x2go: ``~/.x2goclient/sessions``.

Each section is a profile and its name the profile's id. The file is read again whenever it has changed, also while
changes wait to be written; what is written is what was changed and nothing else.
"""

from __future__ import annotations

import logging
import os
import random
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from crl.x2go import defaults, inifiles
from crl.x2go.backends.profiles import base
from crl.x2go.backends.profiles._options import exports_from_text, exports_to_text, words
from crl.x2go.log import X2GoLogger, loglevel_DEFAULT, loglevel_WARN
from crl.x2go.x2go_exceptions import X2GoException, X2GoProfileException

__all__ = ["X2GoSessionProfiles", "X2GoSessionProfilesFILE"]

_NO_PROFILES = ("embedded", "none")


class X2GoSessionProfiles(base.X2GoSessionProfiles, inifiles.X2GoIniFile):  # type: ignore[misc]  # python-x2go's bases
    """The session profiles of a file.

    Args:
        config_files: The user's file, then others whose profiles are there too; default ``~/.x2goclient/sessions`` and
            ``/etc/x2goclient/sessions``. Only the first is written, and made if there is none.
        session_profile_defaults: Options and values for what a profile does not say; default X2Go's own.
        logger: Where to log.
        loglevel: Levels to log when `logger` is not an `X2GoLogger`.
        kwargs: Accepted for callers of other backends.
    """

    _FAILURE: ClassVar[type[X2GoException]] = X2GoProfileException

    def __init__(
        self,
        config_files: str | os.PathLike[str] | Iterable[str | os.PathLike[str]] | None = None,
        session_profile_defaults: Mapping[str, Any] | None = None,
        logger: X2GoLogger | logging.Logger | None = None,
        loglevel: int = loglevel_DEFAULT,
        **kwargs: Any,
    ) -> None:
        files = defaults.X2GO_SESSIONPROFILES_CONFIGFILES if config_files is None else config_files
        inifiles.X2GoIniFile.__init__(self, files, None, logger, loglevel)
        base.X2GoSessionProfiles.__init__(self, session_profile_defaults, logger, loglevel, **kwargs)

    def get_type(self, section: str, key: str) -> type[Any]:  # noqa: ARG002 - the same in every section
        """The type of an option."""
        return self.get_profile_option_type(key)

    def load(self) -> None:
        """Read the files again; changes that were not written are forgotten."""
        inifiles.X2GoIniFile.load(self)
        if hasattr(self, "session_profiles"):  # not while the object is being made
            self.populate_session_profiles()

    def _is_changed(self) -> bool:
        self._refresh()
        return self._generation != self._populated

    def _populate_session_profiles(self) -> dict[str, dict[str, Any]]:
        self._refresh()
        self._populated = self._generation
        return {section: self._read_profile(section) for section in self._sections() if section not in _NO_PROFILES}

    def _read_profile(self, section: str) -> dict[str, Any]:
        """All options of a profile; one that cannot be read counts as its default and is logged."""
        options = self.default_profile_config()
        for option in self._keys(section):
            try:
                value = self._get_profile_parameter(section, option, self.get_profile_option_type(option))
            except X2GoProfileException as error:
                self.logger(f"{error}", loglevel=loglevel_WARN)
                continue
            if value is not None:
                options[option] = value
        return options

    def _get_profile_parameter(self, profile_id: str, option: str, key_type: type[Any]) -> Any:
        value = self.get_value(profile_id, option, str if key_type is dict else key_type)
        return exports_from_text(value) if key_type is dict and value is not None else value

    def _is_mutable(self, profile_id: str) -> bool:
        return profile_id not in self._only_in_others()

    def _only_in_others(self) -> set[str]:
        """The profiles of files that are not the user's own."""
        return set(self._sections()) - set(self._documents[0].sections())

    def _supports_mutable_profiles(self) -> bool:
        return self.user_config_file is not None

    def _write(self) -> bool:
        return inifiles.X2GoIniFile.write(self)

    def _delete_profile(self, profile_id: str) -> None:
        self._change(lambda document: document.remove_section(profile_id))

    def _renew_profile_id(self, profile_id: str, new_id: str) -> None:
        self._change(lambda document: document.rename_section(profile_id, new_id))

    def _update_value(self, profile_id: str, option: str, value: Any) -> None:
        if option == "host":
            value = ",".join(words(value))
        elif isinstance(value, Mapping):
            value = exports_to_text(value)
        inifiles.X2GoIniFile.update_value(self, profile_id, option, value)

    def _get_server_hostname(self, profile_id: str) -> str:
        hosts = words(self.session_profiles[profile_id]["host"])
        return random.choice(hosts) if hosts else ""

    def _get_server_port(self, profile_id: str) -> int:
        return int(self.session_profiles[profile_id]["sshport"])


X2GoSessionProfilesFILE = X2GoSessionProfiles
