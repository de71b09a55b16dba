"""A client's configuration: folders, session profiles, settings, print settings."""

from __future__ import annotations

import os
from typing import Any

from crl.x2go import defaults
from crl.x2go._client.hooks import ClientHooks
from crl.x2go.backends.printing.file import X2GoClientPrinting
from crl.x2go.backends.profiles.base import X2GoSessionProfiles
from crl.x2go.backends.settings.file import X2GoClientSettings

__all__ = ["Profiles"]


class Profiles(ClientHooks):
    """The methods of a client that are about its configuration."""

    client_rootdir: str
    sessions_rootdir: str
    ssh_rootdir: str
    session_profiles: X2GoSessionProfiles
    client_settings: X2GoClientSettings
    client_printing: X2GoClientPrinting
    _has_custom_client_rootdir: bool

    def get_client_rootdir(self) -> str:
        """The folder of the client's configuration."""
        return os.path.normpath(self.client_rootdir)

    @property
    def has_custom_client_rootdir(self) -> bool:
        """Whether that folder is another than the default."""
        return self._has_custom_client_rootdir

    def get_sessions_rootdir(self) -> str:
        """The folder of the sessions' files."""
        return os.path.normpath(self.sessions_rootdir)

    def get_ssh_rootdir(self) -> str:
        """The folder of keys and known hosts."""
        return os.path.normpath(self.ssh_rootdir)

    def get_client_username(self) -> str:
        """The name of the user here."""
        return defaults.CURRENT_LOCAL_USER

    def get_profiles(self) -> X2GoSessionProfiles:
        """The session profiles."""
        return self.session_profiles

    get_session_profiles = get_profiles

    @property
    def profile_names(self) -> list[str]:
        """The names of all session profiles."""
        return self.session_profiles.profile_names

    def get_client_settings(self) -> X2GoClientSettings:
        """The client's settings."""
        return self.client_settings

    def get_client_printing(self) -> X2GoClientPrinting:
        """The client's print settings."""
        return self.client_printing

    def get_profile_config(self, profile_id_or_name: str, parameter: str | None = None) -> Any:
        """All options of a profile, or one.

        Raises:
            X2GoProfileException: There is no such profile or option.
        """
        return self.session_profiles.get_profile_config(profile_id_or_name, parameter)

    with_profile_config = get_profile_config

    def set_profile_config(self, profile_id_or_name: str, parameter: str, value: Any) -> None:
        """Give an option of a profile a value, and store that.

        Raises:
            X2GoProfileException: There is no such profile, or it cannot be changed.
        """
        self.session_profiles.update_value(profile_id_or_name, parameter, value)
        self.session_profiles.write()

    def to_profile_id(self, profile_name: str) -> str | None:
        """The id of the profile of that name; None when there is none."""
        return self.session_profiles.to_profile_id(profile_name)

    def to_profile_name(self, profile_id: str) -> str:
        """The name of the profile of that id; "" when there is none."""
        return self.session_profiles.to_profile_name(profile_id)

    def get_profile_metatype(self, profile_name: str) -> str:
        """What kind of session a profile makes, for people.

        Raises:
            X2GoProfileException: There is no such profile.
        """
        return self.session_profiles.get_profile_metatype(profile_name)

    def is_session_profile(self, profile_id_or_name: str) -> bool:
        """Whether there is a profile of that id or name."""
        return self.session_profiles.has_profile(profile_id_or_name)
