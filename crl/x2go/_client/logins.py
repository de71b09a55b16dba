"""Where the sessions of a client's profiles log in: what the profiles say, or the broker that they come from."""

from __future__ import annotations

from typing import Any

from crl.x2go._client.servers import Servers
from crl.x2go._client.sessions import Sessions
from crl.x2go.backends.profiles._options import session_params
from crl.x2go.session import X2GoSession
from crl.x2go.x2go_exceptions import X2GoBrokerConnectionException

__all__ = ["Logins"]


class Logins(Servers):
    """The part of a client that finds the server of a profile's session."""

    def _login_of_profile(self, profile_id: str) -> dict[str, Any]:
        """The parameters of a profile's session with the server to log in on and the key that its source gives.

        Raises:
            X2GoBrokerConnectionException: It comes from a broker that cannot be asked, and the hook does not agree to
                go on with what the profile itself says.
        """
        profiles = self.session_profiles
        try:
            params = profiles.to_session_params(profile_id)
            params["server"] = profiles.get_server_hostname(profile_id)
            params["port"] = profiles.get_server_port(profile_id)
            pkey = profiles.get_pkey_object(profile_id)
        except X2GoBrokerConnectionException:
            if not self._goes_on_without_broker(profile_id):
                raise
            return session_params(profiles.get_profile_config(profile_id=profile_id))
        if pkey is not None:
            params.update(pkey=pkey, allow_agent=False, look_for_keys=False, key_filename="")
        return params

    def _renew_login(self, session: X2GoSession) -> None:
        """Where a broker's word about server and key is too old, have it say a new one.

        Raises:
            X2GoBrokerConnectionException: It cannot be asked, and the hook does not agree to go on without.
        """
        profile_id = session.get_profile_id()
        try:
            renewed = self.session_profiles.renewed_login(profile_id)
        except X2GoBrokerConnectionException:
            if not self._goes_on_without_broker(profile_id):
                raise
            return
        if renewed:
            session.set_server(renewed["server"])
            session.set_port(renewed["port"])
            session.update_params({"pkey": renewed.get("pkey")})

    def _goes_on_without_broker(self, profile_id: str) -> bool:
        """Whether the application agrees to that; otherwise it is told that the broker is missing."""
        name = self.session_profiles.to_profile_name(profile_id)
        connected = Sessions.is_profile_connected(self, name)
        if self.HOOK_broker_ignore_connection_problems(name, is_profile_connected=connected):
            return True
        self.HOOK_broker_connection_exception(name)
        return False
