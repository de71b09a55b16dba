"""Session brokers: who the user is, which sessions he may have, and on which server one is to run.

`Broker` asks one broker, by HTTPS or over SSH, in JSON or in plain text, as its URL says. It trusts what it is told no
further than `crl.x2go._broker.offers` allows, sends the password once and from then on what the broker gave for it, and
ends every question by a deadline.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

from crl.deadlines import Deadline
from crl.secrets import Secret, to_secret
from crl.x2go import defaults
from crl.x2go._broker.address import BrokerAddress, parse_address
from crl.x2go._broker.answers import Answer, Chosen, refuse_answer
from crl.x2go._broker.offers import OF_THIS_MACHINE, checked_profiles, require_host
from crl.x2go._broker.questions import Question, Wire
from crl.x2go.backends.info.plain import X2GoServerSessionInfo
from crl.x2go.x2go_exceptions import (
    X2GoBrokerAuthenticationFailed,
    X2GoBrokerConnectionException,
    X2GoParameterError,
    X2GoProfileException,
)

if TYPE_CHECKING:
    import paramiko

__all__ = ["OF_THIS_MACHINE", "Broker", "Selection"]

TIMEOUT: Final = 60.0


@dataclass(frozen=True)
class Selection:
    """Where a session is to run, as a broker chose it.

    Attributes:
        profile_id: The profile.
        host: The server.
        port: The port of its SSH server.
        username: The account there.
        pkey: A key that lets the user in for some seconds; None when he has to log in by himself.
        pubkey_accepted: Whether that key is our own, whose public half the broker brought to the server.
        session: The session of the user's that is there already and is to be resumed; None when there is none.
        at: When it was chosen (`time.monotonic`).
    """

    profile_id: str
    host: str
    port: int
    username: str
    pkey: paramiko.PKey | None = field(default=None, repr=False)
    pubkey_accepted: bool = False
    session: X2GoServerSessionInfo | None = None
    at: float = field(default_factory=time.monotonic, repr=False)

    @property
    def login(self) -> dict[str, Any]:
        """Arguments of `X2GoSession` that lead there."""
        place = {"server": self.host, "port": self.port, "username": self.username}
        return place if self.pkey is None else {**place, "pkey": self.pkey}


class Broker:
    """A session broker.

    Args:
        url: ``https://host/json/``, ``https://host/plain/`` or ``ssh://user@host/path/of/program``; it may have user
            and password in it.
        username: Who asks; default the user of the URL, then the user here.
        password: His password, as text or as a `crl.secrets.Secret`.
        auth_id: What the broker wants to see besides or instead of the password (X2Go's auth-id).
        ca_file: Certificates of the authorities to believe, instead of the machine's.
        verify: Whether an HTTPS broker has to prove who it is; False also allows ``http://`` beyond this machine.
        allowed_hosts: Patterns of names, addresses and networks of the only servers the broker may choose; by default
            the profile's own hosts, names in their domains, and private addresses.
        trusted_options: Options of profiles that open this machine (of `OF_THIS_MACHINE`: ``export``,
            ``forwardsshagent`` …) and shall be taken from the broker nevertheless.
        timeout: Seconds for one question.
        **ssh: For a broker behind SSH: `known_hosts`, `ssh_rootdir`, `key_filename`, `look_for_keys`, `allow_agent`,
            `session_instance` (whose HOOK_check_host_dialog is asked about an unknown host key).

    Raises:
        X2GoParameterError: The URL is none, or arguments are missing or not usable.
    """

    def __init__(
        self,
        url: str,
        username: str | None = None,
        password: Any = None,
        *,
        auth_id: Any = None,
        ca_file: str | os.PathLike[str] | None = None,
        verify: bool = True,
        allowed_hosts: Iterable[str] | None = None,
        trusted_options: Collection[str] = (),
        timeout: float = TIMEOUT,
        **ssh: Any,
    ) -> None:
        address = parse_address(url)
        self._address = replace(address, password=None)
        self._password = to_secret(password or None) or address.password
        self._username = username or address.username
        if self._username is None and address.scheme != "ssh":
            self._username = defaults.CURRENT_LOCAL_USER
        self._given_authid = to_secret(auth_id or None)
        self._authid: Secret | None = None
        self._allowed = None if allowed_hosts is None else tuple(allowed_hosts)
        self._trusted, self._timeout = frozenset(trusted_options), timeout
        self._lock = threading.RLock()
        self._authenticated: bool | None = None
        self._profiles: dict[str, dict[str, Any]] = {}
        self._mutable_ids: frozenset[str] = frozenset()
        self._key: paramiko.PKey | None = None
        self._wire = self._make_wire(ca_file, ssh, verify=verify)

    def _make_wire(self, ca_file: Any, ssh: dict[str, Any], *, verify: bool) -> Wire:
        if self._address.scheme == "ssh":
            from crl.x2go._broker.ssh import SshWire

            login = replace(self._address, username=self._address.username or self._username)
            return SshWire(login, **ssh)
        if ssh:
            raise X2GoParameterError(f"{', '.join(sorted(ssh))}: only a broker behind SSH has such arguments")
        from crl.x2go._broker.http import HttpWire

        return HttpWire(self._address, ca_file=ca_file, verify=verify)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.url} as {self._username}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the connection and forget password, keys and profiles; again is harmless, and `login` begins anew."""
        with self._lock:
            self._wire.close()
            self._password = self._authid = self._key = None
            self._authenticated = None
            self._profiles = {}

    # What is known.

    @property
    def url(self) -> str:
        """The URL without credentials."""
        return self._address.url

    @property
    def address(self) -> BrokerAddress:
        """The URL, taken apart."""
        return self._address

    @property
    def username(self) -> str | None:
        """Who asks; None leaves it to the ssh configuration."""
        return self._username

    @property
    def authenticated(self) -> bool | None:
        """Whether the broker let the user in the last time; None while it was not asked."""
        return self._authenticated

    @property
    def has_credentials(self) -> bool:
        """Whether there is something to show: a password, an authentication id, or a login over SSH."""
        return bool(self._password or self._given_authid or self._authid) or self._address.scheme == "ssh"

    @property
    def mutable_ids(self) -> frozenset[str]:
        """The ids of profiles that the broker says may be changed."""
        return self._mutable_ids

    # Questions.

    def login(self, username: str | None = None, password: Any = None) -> None:
        """Log in.

        Args:
            username: Who; default as given before.
            password: His password; default as given before.

        Raises:
            X2GoBrokerAuthenticationFailed: The broker does not let the user in.
            X2GoBrokerConnectionException: It cannot be asked.
        """
        with self._lock:
            if username is not None or password is not None:
                self._authid = None
                self._username = username or self._username
                self._password = to_secret(password or None)
            self._ask("")

    def profiles(self) -> dict[str, dict[str, Any]]:
        """The session profiles that the user may have: for each id its options, typed; the dict is the caller's.

        Raises:
            X2GoBrokerAnswerRefused: An option is of a wrong type or not safe; no profile was taken over.
            X2GoBrokerConnectionException: The broker cannot be asked, or does not let the user in.
        """
        with self._lock, self._named():
            answer = self._ask("listprofiles")
            self._profiles = checked_profiles(answer.profiles or {}, self._trusted)
            self._mutable_ids = answer.mutable_ids & self._profiles.keys()
            return {profile_id: dict(options) for profile_id, options in self._profiles.items()}

    def select(self, profile: str) -> Selection:
        """Have the broker choose a server for a session, and prepare the login there if it does such things.

        Args:
            profile: Id or name of a profile.

        Raises:
            X2GoProfileException: The broker offers no such profile.
            X2GoBrokerAnswerRefused: It sends us to a server that is foreign.
            X2GoBrokerConnectionException: It has no server, cannot be asked, or does not let the user in.
        """
        with self._lock, self._named():
            if self._id_of(profile) is None:
                self.profiles()
            profile_id = self._id_of(profile)
            if profile_id is None:
                names = ", ".join(sorted(str(one["name"]) for one in self._profiles.values())) or "none"
                raise X2GoProfileException(
                    f"the broker offers no profile {profile!r}", host=self._address.host, advice=f"use one of: {names}"
                )
            pubkey = None
            if not self._address.is_plain:  # in plain text the broker does not say whether it took the key
                from crl.x2go._broker.keys import line_of_key

                pubkey = line_of_key(self._own_key())
            answer = self._ask("selectsession", profile_id=profile_id, pubkey=pubkey)
            return self._selection(profile_id, answer.chosen)

    def _id_of(self, profile: str) -> str | None:
        if profile in self._profiles:
            return profile
        return next((one for one, options in self._profiles.items() if options["name"] == profile), None)

    def _own_key(self) -> paramiko.PKey:
        if self._key is None:
            from crl.x2go._broker.keys import new_key

            self._key = new_key()
        return self._key

    def _selection(self, profile_id: str, chosen: Chosen | None) -> Selection:
        """What the broker chose, judged."""
        options = self._profiles[profile_id]
        if chosen is None:
            refuse_answer("it names no server")
        host = require_host(chosen.host, options.get("host", ()), self._address.host, self._allowed)
        info = X2GoServerSessionInfo()
        there = bool(chosen.session_info) and info._parse_x2golistsessions_line(chosen.session_info)  # noqa: SLF001
        key = self._own_key() if chosen.pubkey_accepted else None
        if key is None and chosen.key is not None:
            from crl.x2go._broker.keys import key_of_text

            key = key_of_text(chosen.key)
        return Selection(
            profile_id=profile_id,
            host=host,
            port=chosen.port,
            username=str(options.get("user") or self._username or ""),
            pkey=key,
            pubkey_accepted=chosen.pubkey_accepted,
            session=info if there else None,
        )

    def set_password(self, new: Any) -> None:
        """Change the user's password at the broker, and see by a login that it was changed.

        Raises:
            X2GoParameterError: There is no new password, or the broker is behind SSH, where it would be seen.
            X2GoBrokerConnectionException: The broker did not change it, cannot be asked, or does not let the user in.
        """
        secret = to_secret(new)
        if secret is None or not secret.value:
            raise X2GoParameterError("a new password is needed", host=self._address.host)
        with self._lock:
            self._ask("setpass", new_password=secret)
            before, self._password, self._authid = self._password, secret, None
            try:
                self._ask("")
            except X2GoBrokerAuthenticationFailed as error:
                self._password = before
                raise X2GoBrokerConnectionException(
                    "it took the new password and did not set it: the old one stands",
                    host=self._address.host,
                    doing="setting the password",
                    advice="this broker does not change passwords (Debian's does not); change it on a server",
                ) from error

    def test(self) -> None:
        """See whether the broker answers and lets the user in.

        Raises:
            X2GoBrokerConnectionException: It does not.
        """
        self._ask("testcon")

    def _ask(self, task: str, **more: Any) -> Answer:
        """Ask; what the broker gave for the password may have lapsed, then the password goes again."""
        with self._lock, self._named():
            deadline = Deadline.after(self._timeout)
            held = self._authid
            try:
                try:
                    answer = self._wire.ask(self._question(task, **more), deadline)
                except X2GoBrokerAuthenticationFailed:
                    if held is None or not (self._password or self._given_authid):
                        raise
                    self._authid = None
                    answer = self._wire.ask(self._question(task, **more), deadline)
            except X2GoBrokerAuthenticationFailed:
                self._authenticated, self._authid = False, None
                raise
            self._authenticated = True
            if self._address.scheme != "ssh":  # there the login is the proof
                self._authid = answer.next_authid
            return answer

    @contextlib.contextmanager
    def _named(self) -> Iterator[None]:
        """Have every error say which broker it is about."""
        try:
            yield
        except X2GoBrokerConnectionException as error:
            error.host = error.host or self._address.host
            raise

    def _question(self, task: str, **more: Any) -> Question:
        if self._authid is not None:
            return Question(task, self._username or "", authid=self._authid, **more)
        return Question(task, self._username or "", password=self._password, authid=self._given_authid, **more)
