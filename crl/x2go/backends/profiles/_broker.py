"""Session profiles of a session broker, with python-x2go's methods; how the broker is reached does not matter here.

The profiles are read when there is something to log in with, and kept until they are asked for again. Changes of those
that the broker lets be changed stay here. Nothing is asked of the broker behind the caller's back but where a session
is to run, when one is registered or connected.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import Any, ClassVar, Final

from crl.x2go._broker.address import parse_address
from crl.x2go.backends.profiles import base
from crl.x2go.backends.profiles._options import words
from crl.x2go.broker import Broker, Selection
from crl.x2go.log import X2GoLogger, loglevel_DEFAULT, loglevel_NOTICE
from crl.x2go.x2go_exceptions import X2GoBrokerAuthenticationFailed, X2GoBrokerConnectionException, X2GoParameterError

__all__ = ["BrokerProfiles"]

KEY_LASTS: Final = 15.0  # brokers take a key away from the server after about 20 s
_OPTIONS: Final = (
    "auth_id", "ca_file", "verify", "allowed_hosts", "trusted_options", "timeout", "known_hosts", "ssh_rootdir",
    "key_filename", "look_for_keys", "allow_agent", "session_instance",
)  # fmt: skip


class BrokerProfiles(base.X2GoSessionProfiles):
    """The session profiles of a broker.

    Args:
        session_profile_defaults: Options and values for what a profile does not say; default X2Go's own.
        broker_url: Where the broker is; ``HTTP`` or ``SSH`` alone is told later, by `set_broker_url`.
        broker_username: Who asks; default the user of the URL, then the user here.
        broker_password: His password, as text or as a `crl.secrets.Secret`.
        logger: Where to log.
        loglevel: Levels to log when `logger` is not an `X2GoLogger`.
        broker_noauth: Whether the broker wants no password, so that it is asked at once.
        broker_options: Further arguments of `crl.x2go.broker.Broker`: `ca_file`, `known_hosts`, `allowed_hosts` ….
        **kwargs: The same, by name; others are accepted for callers of other backends.

    Raises:
        X2GoParameterError: The URL is none, or an argument is not usable.
        X2GoBrokerConnectionException: The broker cannot be asked, or does not let the user in.
    """

    TYPE: ClassVar[str]
    SCHEMES: ClassVar[frozenset[str]]

    def __init__(
        self,
        session_profile_defaults: Mapping[str, Any] | None = None,
        broker_url: str | None = None,
        broker_username: str | None = None,
        broker_password: Any = None,
        logger: X2GoLogger | logging.Logger | None = None,
        loglevel: int = loglevel_DEFAULT,
        *,
        broker_noauth: bool = False,
        broker_options: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        self.broker_username, self.broker_noauth = broker_username, broker_noauth
        by_name: dict[str, Any] = {name: kwargs.pop(name) for name in _OPTIONS if name in kwargs}
        self._broker_options = {**(broker_options or {}), **by_name}
        self._broker: Broker | None = None
        self._selections: dict[str, Selection] = {}
        self._local: set[str] = set()
        if broker_url is not None and broker_url.upper() not in ("HTTP", "HTTPS", "SSH"):
            self._take_url(broker_url, broker_password)
        try:
            super().__init__(session_profile_defaults, logger, loglevel, **kwargs)
        except BaseException:
            self.close()
            raise

    def _take_url(self, broker_url: str, password: Any = None) -> None:
        address = parse_address(broker_url)
        if address.scheme not in self.SCHEMES:
            raise X2GoParameterError(
                f"{address.url} is not for this backend", advice=f"it takes {', '.join(sorted(self.SCHEMES))}"
            )
        options = self._broker_options
        self._broker = Broker(broker_url, self.broker_username, password, **options)
        self.broker_username = self._broker.username

    @property
    def broker(self) -> Broker:
        """The broker.

        Raises:
            X2GoBrokerConnectionException: Nobody has said where it is.
        """
        if self._broker is None:
            raise X2GoBrokerConnectionException(
                "nobody has said where the session broker is", advice="call set_broker_url('https://…')"
            )
        return self._broker

    def close(self) -> None:
        """End the connection to the broker; the profiles stay known."""
        if self._broker is not None:
            self._broker.close()
        self._selections.clear()

    # python-x2go's methods.

    def get_broker_noauth(self) -> bool:
        """Whether the broker let us in without a password."""
        return self.broker_noauth

    def get_broker_username(self) -> str | None:
        """Who asks."""
        return self.broker_username

    def get_broker_url(self) -> str | None:
        """The broker's URL, without credentials; None while nobody has said it."""
        return None if self._broker is None else self._broker.url

    def set_broker_url(self, broker_url: str) -> None:
        """Say where the broker is; what another one said is forgotten.

        Raises:
            X2GoParameterError: It is no URL of such a broker.
        """
        self.broker_disconnect()
        self._take_url(broker_url)
        if self.broker.has_credentials or self.broker_noauth:
            self.populate_session_profiles()

    def get_broker_type(self) -> str:
        """What kind of broker it is: ``http`` or ``ssh``."""
        return self.TYPE

    def broker_simpleauth(self, broker_username: str | None, broker_password: Any) -> bool:
        """Log in and read the profiles.

        Returns:
            Whether the broker lets the user in.

        Raises:
            X2GoBrokerConnectionException: It cannot be asked.
        """
        try:
            self.broker.login(broker_username, broker_password or None)
        except X2GoBrokerAuthenticationFailed as error:
            self.logger(f"{error}", loglevel=loglevel_NOTICE)
            return False
        self.broker_username = self.broker.username
        self.broker_noauth = not self.broker.has_credentials
        self.populate_session_profiles()
        return True

    def broker_disconnect(self) -> None:
        """Forget the profiles and everything that the broker was, or is, shown."""
        self.close()
        self.broker_noauth = False
        with self._profiles_lock:
            self.session_profiles = {}
            self._local.clear()

    def is_broker_authenticated(self) -> bool:
        """Whether the broker lets the user in; asked once when that is not known, and there is something to show.

        Raises:
            X2GoBrokerConnectionException: It cannot be asked.
        """
        broker = self.broker
        if broker.authenticated is None and (broker.has_credentials or self.broker_noauth):
            return self.broker_simpleauth(None, None)
        return broker.authenticated is True

    def broker_listprofiles(self) -> dict[str, dict[str, Any]]:
        """What the broker lists now.

        Raises:
            X2GoBrokerConnectionException: It cannot be asked, or does not let the user in.
        """
        return self.broker.profiles()

    def broker_selectsession(self, profile_id: str) -> dict[str, Any]:
        """Where a session of a profile is to run; asked once, until `init_profile_cache` or its key is too old.

        Returns:
            ``server``, ``port``, and where the broker said so ``authentication_pubkey`` and ``session_info``.

        Raises:
            X2GoBrokerConnectionException: The broker has no server, or cannot be asked.
        """
        selection = self._selected(profile_id)
        selected: dict[str, Any] = {"server": selection.host, "port": selection.port}
        if selection.pubkey_accepted:
            selected["authentication_pubkey"] = "ACCEPTED"
        if selection.session is not None:
            selected["session_info"] = selection.session
        return selected

    def broker_set_password(self, new_password: Any) -> None:
        """Change the user's password at the broker.

        Raises:
            X2GoBrokerConnectionException: The broker did not change it, or cannot be asked.
        """
        self.broker.set_password(new_password)

    # Where a session is to run.

    def _selected(self, profile_id: str) -> Selection:
        with self._profiles_lock:
            found = self._selections.get(profile_id)
            if found is None or self._is_stale(found):
                found = self._selections[profile_id] = self.broker.select(profile_id)
            return found

    @staticmethod
    def _is_stale(selection: Selection) -> bool:
        """Whether its key may be gone from the server again."""
        return selection.pkey is not None and time.monotonic() - selection.at > KEY_LASTS

    def renewed_login(self, profile_id: str) -> dict[str, Any]:
        """Where a session is to log in now, when what was said before may not hold any more."""
        found = self._selections.get(profile_id)
        return {} if found is None or not self._is_stale(found) else self._selected(profile_id).login

    # What the base asks of a backend.

    def _init_profile_cache(self, profile_id: str) -> None:
        self._selections.pop(profile_id, None)

    def _populate_session_profiles(self) -> dict[str, dict[str, Any]]:
        if self._broker is None or not (self._broker.has_credentials or self.broker_noauth):
            return {}
        self._selections.clear()
        self._local.clear()
        return {
            profile_id: {**self.default_profile_config(), "host": [], "user": self.broker_username or "", **options}
            for profile_id, options in self._broker.profiles().items()
        }

    def _is_mutable(self, profile_id: str) -> bool:
        return profile_id in self._local or (self._broker is not None and profile_id in self._broker.mutable_ids)

    def _supports_mutable_profiles(self) -> bool:
        return self._broker is not None and bool(self._broker.mutable_ids)

    def _write(self) -> bool:
        self.logger("changes of a broker's profiles stay here: brokers take none", loglevel=loglevel_NOTICE)
        return False

    def _update_value(self, profile_id: str, option: str, value: Any) -> None:  # noqa: ARG002 - the base keeps it
        if option == "host" or self._broker is None or profile_id not in self._broker.mutable_ids:
            self._local.add(profile_id)  # it was added here, or is not where the broker has it
        self._selections.pop(profile_id, None)

    def _renew_profile_id(self, profile_id: str, new_id: str) -> None:
        if profile_id in self._local:
            self._local.add(new_id)

    def _get_server_hostname(self, profile_id: str) -> str:
        if profile_id in self._local:
            return next(iter(words(self.session_profiles[profile_id]["host"])), "")
        return self._selected(profile_id).host

    def _get_server_port(self, profile_id: str) -> int:
        if profile_id in self._local:
            return int(self.session_profiles[profile_id]["sshport"])
        return self._selected(profile_id).port

    def _get_pkey_object(self, profile_id: str) -> Any:
        return None if profile_id in self._local else self._selected(profile_id).pkey
