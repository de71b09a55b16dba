"""Session profiles, wherever they are kept.

`X2GoSessionProfiles` has python-x2go's methods over a handful of hooks that a backend fills in. It knows the options
and their types, not where they come from; before each answer it lets the backend look whether its source has changed.
"""

from __future__ import annotations

import copy
import datetime
import logging
import threading
from collections.abc import Container, Mapping
from typing import Any

from crl.x2go._inivalues import TRUTH
from crl.x2go.backends.profiles._options import exports_from_text, exports_to_text, metatype, session_params, words
from crl.x2go.defaults import session_profile_defaults as all_defaults
from crl.x2go.log import X2GoLogger, logger_for, loglevel_DEFAULT
from crl.x2go.x2go_exceptions import X2GoProfileException

__all__ = ["X2GoSessionProfiles", "new_profile_id"]

_IMMUTABLE = "the profile cannot be changed: its source allows no changes"


class X2GoSessionProfiles:
    """The session profiles of a client; this base has none.

    Args:
        session_profile_defaults: Options and values for what a profile does not say; default X2Go's own.
        logger: Where to log.
        loglevel: Levels to log when `logger` is not an `X2GoLogger`.
        kwargs: Accepted for backends with more arguments.

    Attributes:
        session_profiles: For each profile's id its options.
    """

    def __init__(
        self,
        session_profile_defaults: Mapping[str, Any] | None = None,
        logger: X2GoLogger | logging.Logger | None = None,
        loglevel: int = loglevel_DEFAULT,
        **kwargs: Any,  # noqa: ARG002 - python-x2go's signature
    ) -> None:
        given = all_defaults() if session_profile_defaults is None else session_profile_defaults
        self.defaultSessionProfile: dict[str, Any] = dict(copy.deepcopy(dict(given)))
        self.logger = logger_for(logger, loglevel, tag=type(self).__name__)
        self.session_profiles: dict[str, dict[str, Any]] = {}
        self._metatypes: dict[str, str] = {}
        self._hosts_changed: set[str] = set()
        self._profiles_lock = threading.RLock()
        self.populate_session_profiles()

    def __call__(self, profile_id_or_name: str) -> dict[str, Any]:
        """The options of a profile."""
        return dict(self.get_profile_config(profile_id_or_name))

    # What a backend fills in.

    def _is_changed(self) -> bool:
        """Whether the source has changed since the profiles were read."""
        return False

    def _init_profile_cache(self, profile_id: str) -> None:
        """Forget what was kept for one profile."""

    def _populate_session_profiles(self) -> dict[str, dict[str, Any]]:
        """Read all profiles."""
        return {}

    def _is_mutable(self, profile_id: str) -> bool:  # noqa: ARG002 - a hook
        """Whether one profile can be changed."""
        return False

    def _supports_mutable_profiles(self) -> bool:
        """Whether profiles can be changed and added at all."""
        return False

    def _write(self) -> bool:
        """Store the profiles; whether that was done."""
        return True

    def _delete_profile(self, profile_id: str) -> None:
        """Take a profile away at its source."""

    def _update_value(self, profile_id: str, option: str, value: Any) -> None:
        """Give an option of a profile a value at its source."""

    def _get_profile_parameter(self, profile_id: str, option: str, key_type: type[Any]) -> Any:  # noqa: ARG002
        """One option of a profile, of a type."""
        return self.session_profiles[profile_id].get(option)

    def _get_profile_options(self, profile_id: str) -> list[str]:
        """The options that a profile has."""
        return list(self.session_profiles[profile_id])

    def _get_profile_ids(self) -> list[str]:
        """The ids of all profiles."""
        return list(self.session_profiles)

    def _get_server_hostname(self, profile_id: str) -> str:  # noqa: ARG002 - a hook
        """The host to connect to."""
        return "localhost"

    def _get_server_port(self, profile_id: str) -> int:  # noqa: ARG002 - a hook
        """The port of its SSH server."""
        return 22

    def _get_pkey_object(self, profile_id: str) -> Any:  # noqa: ARG002 - a hook
        """A key that the source of the profile brings along."""
        return None

    def _renew_profile_id(self, profile_id: str, new_id: str) -> None:
        """Give a profile another id at its source."""

    def close(self) -> None:
        """End what the source holds open."""

    def renewed_login(self, profile_id: str) -> dict[str, Any]:  # noqa: ARG002 - a hook
        """Server, port and key for a session that connects now, where what its source said before is too old."""
        return {}

    # Reading.

    def populate_session_profiles(self) -> None:
        """Read all profiles again; of several with one name the later ones get a number."""
        with self._profiles_lock:
            self.session_profiles = self._populate_session_profiles()
            self._metatypes.clear()
            taken: set[str] = set()
            for options in self.session_profiles.values():
                name, number = options["name"], 0
                while options["name"] in taken:
                    number += 1
                    options["name"] = f"{name} ({number})"
                taken.add(options["name"])

    def _current(self) -> dict[str, dict[str, Any]]:
        """The profiles as their source has them now; the dict is the caller's own."""
        with self._profiles_lock:
            if self._is_changed():
                self.populate_session_profiles()
            return dict(self.session_profiles)

    def init_profile_cache(self, profile_id_or_name: str) -> None:
        """Forget what was kept for a profile.

        Raises:
            X2GoProfileException: There is no such profile.
        """
        profile_id = self.check_profile_id_or_name(profile_id_or_name)
        self._metatypes.pop(profile_id, None)
        self._init_profile_cache(profile_id)

    def get_profile_metatype(self, profile_id_or_name: str, force: bool = False) -> str:
        """What kind of session a profile makes, for people: ``KDE Desktop``, ``Single Applications`` ….

        Raises:
            X2GoProfileException: There is no such profile.
        """
        profile_id = self.check_profile_id_or_name(profile_id_or_name)
        if force or profile_id not in self._metatypes:
            self._metatypes[profile_id] = metatype(self.session_profiles[profile_id])
        return self._metatypes[profile_id]

    def default_profile_config(self) -> dict[str, Any]:
        """The options of a profile that says nothing."""
        return copy.deepcopy(self.defaultSessionProfile)

    def get_profile_option_type(self, option: str) -> type[Any]:
        """The type of an option; text for one that nobody knows."""
        return type(self.defaultSessionProfile[option]) if option in self.defaultSessionProfile else str

    def get_profile_config(
        self, profile_id_or_name: str | None = None, parameter: str | None = None, profile_id: str | None = None
    ) -> Any:
        """All options of a profile, or one; ``export`` as a dict of folders and whether they are shared at the start.

        Raises:
            X2GoProfileException: There is no such profile, or it has no such option.
        """
        profile_id = self._chosen(profile_id_or_name, profile_id)
        options = copy.deepcopy(self._current()[profile_id])
        if isinstance(options.get("export"), str):
            options["export"] = exports_from_text(options["export"])
        if parameter is None:
            return options
        if parameter not in options:
            raise X2GoProfileException(f"the profile {options['name']!r} has no option {parameter!r}")
        return options[parameter]

    def has_profile(self, profile_id_or_name: str) -> bool:
        """Whether there is a profile of that id or name."""
        return self.has_profile_id(profile_id_or_name) or self.has_profile_name(profile_id_or_name)

    def _update_profile_ids_cache(self) -> None:
        """Kept for python-x2go's backends; the ids are always those of now."""
        self._current()

    @property
    def profile_ids(self) -> list[str]:
        """The ids of all profiles."""
        self._current()
        return self._get_profile_ids()

    def has_profile_id(self, profile_id: str) -> bool:
        """Whether there is a profile of that id."""
        return profile_id in self._current()

    @property
    def profile_names(self) -> list[str]:
        """The names of all profiles."""
        return [options["name"] for options in self._current().values()]

    def has_profile_name(self, profile_name: str) -> bool:
        """Whether there is a profile of that name."""
        return profile_name in self.profile_names

    def to_profile_id(self, profile_name: str) -> str | None:
        """The id of the profile of that name; None when there is none."""
        for profile_id, options in self._current().items():
            if options["name"] == profile_name:
                return profile_id
        return None

    def to_profile_name(self, profile_id: str) -> str:
        """The name of the profile of that id; empty when there is none."""
        return str(self._current().get(profile_id, {}).get("name", ""))

    def check_profile_id_or_name(self, profile_id_or_name: str) -> str:
        """The id of a profile; a name wins over an id.

        Raises:
            X2GoProfileException: There is no such profile.
        """
        profile_id = self.to_profile_id(profile_id_or_name)
        if profile_id is None and self.has_profile_id(profile_id_or_name):
            profile_id = profile_id_or_name
        if profile_id is None:
            known = ", ".join(sorted(self.profile_names)) or "none"
            raise X2GoProfileException(
                f"there is no session profile {profile_id_or_name!r}", advice=f"use one of: {known}"
            )
        return profile_id

    def _chosen(self, profile_id_or_name: str | None, profile_id: str | None) -> str:
        if profile_id is not None and self.has_profile_id(profile_id):
            return profile_id
        chosen = profile_id_or_name if profile_id_or_name is not None else profile_id
        if chosen is None:
            raise X2GoProfileException("neither the id nor the name of a session profile was given")
        return self.check_profile_id_or_name(chosen)

    def is_mutable(self, profile_id_or_name: str | None = None, profile_id: str | None = None) -> bool:
        """Whether a profile can be changed; without a profile: whether any can."""
        if profile_id_or_name is None and profile_id is None:
            return self.supports_mutable_profiles()
        return self._is_mutable(self._chosen(profile_id_or_name, profile_id))

    def supports_mutable_profiles(self) -> bool:
        """Whether profiles can be changed and added at all."""
        return self._supports_mutable_profiles()

    def mutable_profile_ids(self) -> list[str]:
        """The ids of the profiles that can be changed."""
        return [profile_id for profile_id in self.profile_ids if self._is_mutable(profile_id)]

    # For sessions.

    def to_session_params(
        self, profile_id_or_name: str | None = None, profile_id: str | None = None
    ) -> dict[str, Any]:
        """The keyword arguments of a session of that profile.

        Raises:
            X2GoProfileException: There is no such profile.
        """
        profile_id = self._chosen(profile_id_or_name, profile_id)
        options = {**self.default_profile_config(), **self.get_profile_config(profile_id=profile_id)}
        params = session_params(options)
        if "sshproxytunnel" not in options:
            params["server"] = self.get_server_hostname(profile_id)
            params["port"] = self.get_server_port(profile_id)
        return params

    def get_session_param(self, profile_id_or_name: str, param: str) -> Any:
        """One keyword argument of a session of that profile.

        Raises:
            X2GoProfileException: There is no such profile.
            KeyError: There is no such argument.
        """
        return self.to_session_params(profile_id_or_name)[param]

    def get_server_hostname(self, profile_id: str) -> str:
        """The host to connect to; one of several by chance."""
        self._current()
        return self._get_server_hostname(profile_id)

    def get_server_port(self, profile_id: str) -> int:
        """The port of its SSH server."""
        self._current()
        return self._get_server_port(profile_id)

    def get_pkey_object(self, profile_id: str) -> Any:
        """A key that the source of the profile brings along; None without one."""
        self._current()
        return self._get_pkey_object(profile_id)

    # Changing.

    def write(self) -> bool:
        """Store all changes; a profile whose host has changed gets a new id first.

        Returns:
            Whether they are stored.

        Raises:
            X2GoProfileException: They cannot be stored; they are kept and can be written later.
        """
        with self._profiles_lock:
            for profile_id in [one for one in self.session_profiles if one in self._hosts_changed]:
                new_id = new_profile_id(self.session_profiles)
                self.session_profiles[new_id] = self.session_profiles.pop(profile_id)
                self._renew_profile_id(profile_id, new_id)
            self._hosts_changed.clear()
            return self._write()

    def add_profile(self, profile_id: str | None = None, force_add: bool = False, **kwargs: Any) -> str:
        """Add a profile with X2Go's defaults and the options given, of which `name` is needed; `write` stores it.

        Args:
            profile_id: Its id; default a new one.
            force_add: Add it although the source allows no changes; it then lives as long as this object.
            kwargs: Options.

        Returns:
            The profile's id.

        Raises:
            X2GoProfileException: The name is missing or taken, or profiles cannot be added.
        """
        with self._profiles_lock:
            name = kwargs.get("name")
            if not name:
                raise X2GoProfileException("a session profile needs a name", advice="give name=…")
            if self.has_profile_name(name):
                raise X2GoProfileException(f"there is a session profile {name!r} already", advice="choose another name")
            if not force_add and not self.supports_mutable_profiles():
                raise X2GoProfileException("no session profile can be added: their source allows no changes")
            if profile_id is None:
                profile_id = new_profile_id(self.session_profiles)
            options = {**self.default_profile_config(), **kwargs}
            options = {option: self._typed(option, value) for option, value in options.items()}
            self.session_profiles[profile_id] = {"name": name}
            for option, value in options.items():
                self._put(profile_id, option, value)
            return profile_id

    def delete_profile(self, profile_id_or_name: str) -> None:
        """Take a profile away and store that.

        Raises:
            X2GoProfileException: There is no such profile, it cannot be changed, or that cannot be stored.
        """
        with self._profiles_lock:
            profile_id = self.check_profile_id_or_name(profile_id_or_name)
            self._require_mutable(profile_id)
            self._delete_profile(profile_id)
            self.session_profiles.pop(profile_id, None)
            self._metatypes.pop(profile_id, None)
            self._hosts_changed.discard(profile_id)
            self.write()

    def _require_mutable(self, profile_id: str) -> None:
        if not self._is_mutable(profile_id):
            raise X2GoProfileException(_IMMUTABLE, doing=f"changing the session profile {profile_id}")

    def update_value(
        self, profile_id_or_name: str | None, option: str, value: Any, profile_id: str | None = None
    ) -> None:
        """Give an option of a profile a value; `write` stores it.

        Raises:
            X2GoProfileException: There is no such profile, it cannot be changed, or another has that name.
        """
        with self._profiles_lock:
            profile_id = self._chosen(profile_id_or_name, profile_id)
            self._require_mutable(profile_id)
            if option == "name" and (not value or self.to_profile_id(value) not in (None, profile_id)):
                raise X2GoProfileException(
                    f"a session profile cannot be called {value!r}", advice="choose a name that no other profile has"
                )
            value = self._typed(option, value)
            if option == "host" and value != words(self.session_profiles[profile_id].get("host")):
                self._hosts_changed.add(profile_id)
            self._put(profile_id, option, value)
            self._metatypes.pop(profile_id, None)

    def _put(self, profile_id: str, option: str, value: Any) -> None:
        """Give an option a value at the source and here."""
        self._update_value(profile_id, option, value)
        self.session_profiles[profile_id][option] = copy.deepcopy(value)

    def _typed(self, option: str, value: Any) -> Any:
        """A value as the type that the option has.

        Raises:
            X2GoProfileException: It cannot be that.
        """
        kind = self.get_profile_option_type(option)
        if option == "export":
            value = exports_from_text(value) if isinstance(value, str) else dict(value)
            exports_to_text(value)  # which refuses what no file can hold
        elif kind is list:
            value = words(value)
        elif kind in (bool, int):
            value = _number(option, value, kind)
        return value


def _number(option: str, value: Any, kind: type[Any]) -> Any:
    """A truth value or a number that may have been given as text."""
    text = str(value).strip().lower()
    try:
        return TRUTH[text] if kind is bool else int(value)
    except (KeyError, ValueError, TypeError) as error:
        wanted = "a truth value" if kind is bool else "a whole number"
        raise X2GoProfileException(f"the option {option} has to be {wanted}, not {value!r}") from error


def new_profile_id(taken: Container[str]) -> str:
    """An id as X2Go's clients make them: the time in UTC, to the microsecond; later when that one is taken."""
    moment = datetime.datetime.now(datetime.UTC)
    while (profile_id := f"{moment:%Y%m%d%H%M%S%f}") in taken:
        moment += datetime.timedelta(microseconds=1)
    return profile_id
