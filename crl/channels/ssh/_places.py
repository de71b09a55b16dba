"""The words for each reason why an SSH login fails, the same for both backends.

A `Place` knows the host, hop and port concerned and makes the error of each reason, with what its reader can do. It
does no input or output.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from dataclasses import dataclass

from crl.channels.ssh.errors import (
    AuthenticationFailed,
    ConnectionClosedByHost,
    ConnectionRefused,
    HostKeyChanged,
    HostKeyUnknown,
    HostUnreachable,
    NameNotResolved,
    NoCommonAlgorithm,
    SshLoginError,
)

__all__ = ["Place"]


@dataclass(frozen=True)
class Place:
    """Where a login failed, and what its errors have to name.

    Args:
        target: The host of the whole login.
        host: The host that it failed at, as ssh or the configuration names it.
        port: Its TCP port.
        hop: The hop on the way that this host is; None when it is the target itself.
        known_hosts: The file where its keys belong.
        transcript: What was seen, for the error text.
    """

    target: str
    host: str
    port: int = 22
    hop: str | None = None
    known_hosts: str = "~/.ssh/known_hosts"
    transcript: str = ""

    @property
    def lookup_name(self) -> str:
        """The host's name as it stands in a known_hosts file."""
        return self.host if self.port == 22 else f"[{self.host}]:{self.port}"

    def name_not_resolved(self, why: str) -> NameNotResolved:
        """The host's name has no address; `why` is the resolver's own text."""
        temporary = "temporary" in why.lower() or "try again" in why.lower()
        return NameNotResolved(
            f"the name {self.host} could not be resolved ({why})",
            host=self.target,
            hop=self.hop,
            port=self.port,
            definite=not temporary,
            advice=f"check the spelling, the HostName in the ssh configuration, and `getent hosts {self.host}`",
            transcript=self.transcript,
        )

    def refused(self) -> ConnectionRefused:
        """Nothing listens on the port."""
        return ConnectionRefused(
            f"{self.host} port {self.port} refused the connection: nothing listens there",
            host=self.target,
            hop=self.hop,
            port=self.port,
            advice="see whether sshd runs there and on this port; while the host boots, wait",
            transcript=self.transcript,
        )

    def unreachable(self, why: str) -> HostUnreachable:
        """No answer came; `why` is the system's text."""
        return HostUnreachable(
            f"{self.host} port {self.port} was not reached ({why})",
            host=self.target,
            hop=self.hop,
            port=self.port,
            advice="see whether the host is up, and whether a route and no firewall leads to this port",
            transcript=self.transcript,
        )

    def key_unknown(
        self, key_type: str, *, fingerprint: str | None = None, key_base64: str | None = None, because: str = ""
    ) -> HostKeyUnknown:
        """No key is known; the key itself is named where the backend tells it."""
        line = f"{self.lookup_name} {key_base64}" if key_base64 else None
        shown = f", fingerprint {fingerprint}," if fingerprint else ""
        home = "~/" if self.known_hosts.startswith("~/") else ""
        file = home + shlex.quote(self.known_hosts.removeprefix(home))
        if line:
            how = f"add this line to {self.known_hosts}: {line}"
        else:
            how = f"run: ssh-keyscan -p {self.port} {self.host} >> {file}"
        return HostKeyUnknown(
            f"no {key_type} host key{shown} is known for {self.lookup_name}{because}",
            host=self.target,
            hop=self.hop,
            port=self.port,
            key_type=key_type,
            fingerprint=fingerprint,
            line=line,
            advice=f"compare the fingerprint with the one read on the host itself, then {how}",
            transcript=self.transcript,
        )

    def key_changed(
        self,
        key_type: str,
        *,
        location: str | None,
        fingerprint: str | None = None,
        key_base64: str | None = None,
        revoked: bool = False,
    ) -> HostKeyChanged:
        """The key is another one than known at `location`, or a revoked one."""
        where = f" at {location}" if location else ""
        what = f"is marked as revoked{where}" if revoked else f"is not the one known{where}"
        shown = f" ({fingerprint})" if fingerprint else ""
        line = f"{self.lookup_name} {key_base64}" if key_base64 else None
        file = location.rpartition(":")[0] if location else self.known_hosts
        forget = f"ssh-keygen -f {shlex.quote(file)} -R {shlex.quote(self.lookup_name)}"
        again = f" and add this line: {line}" if line else " and accept the new key"
        advice = f"somebody may be in between; only if the host really got a new key, run: {forget}{again}"
        if revoked:
            advice = "the key may be stolen: do not log in; give the host a new key"
        return HostKeyChanged(
            f"the {key_type} host key of {self.lookup_name}{shown} {what}",
            host=self.target,
            hop=self.hop,
            port=self.port,
            key_type=key_type,
            fingerprint=fingerprint,
            location=location,
            line=None if revoked else line,
            advice=advice,
            transcript=self.transcript,
        )

    def authentication_failed(self, user: str | None, methods: Iterable[str], why: str = "") -> AuthenticationFailed:
        """The host refused the user; `methods` are those it would have taken."""
        named = ", ".join(methods)
        who = f"the user {user}" if user else "the user"
        takes = f"; it takes {named}" if named else ""
        reason = f" ({why})" if why else ""
        return AuthenticationFailed(
            f"{self.host} port {self.port} did not let {who} in{takes}{reason}",
            host=self.target,
            hop=self.hop,
            port=self.port,
            advice="check user name, password and key; it is not tried again, as that may lock the account",
            transcript=self.transcript,
        )

    def closed(self, why: str) -> ConnectionClosedByHost:
        """The host ended the connection early."""
        return ConnectionClosedByHost(
            f"{self.host} port {self.port} ended the connection before the login was through ({why})",
            host=self.target,
            hop=self.hop,
            port=self.port,
            advice="too many logins at once (MaxStartups), a full disk or an address ban of the host look like this",
            transcript=self.transcript,
        )

    def no_common_algorithm(self, what: str, offer: str = "") -> NoCommonAlgorithm:
        """There is no common algorithm of the kind `what`; `offer` is what the host has."""
        offered = f"; it offers {offer}" if offer else ""
        return NoCommonAlgorithm(
            f"no {what} is common to us and {self.host} port {self.port}{offered}",
            host=self.target,
            hop=self.hop,
            port=self.port,
            advice="update the host's sshd, or allow the old algorithm with an option of the openssh backend",
            transcript=self.transcript,
        )

    def other(self, why: str) -> SshLoginError:
        """Any other reason, in the backend's own words."""
        return SshLoginError(
            why or "ssh ended without a word",
            host=self.target,
            hop=self.hop,
            port=self.port,
            transcript=self.transcript,
        )
