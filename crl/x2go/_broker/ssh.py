"""A session broker behind SSH: a program on the broker's host, run for each question over one login.

The host's key is verified as for every server. No password is ever in a command line; an authentication id that the
user gave is, on the broker's host, because its program takes it in no other way.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import paramiko

from crl.deadlines import Deadline
from crl.secrets import Secret
from crl.x2go._broker.address import BrokerAddress
from crl.x2go._broker.answers import MAX_ANSWER, Answer, parse_plain, printable, refuse_answer
from crl.x2go._broker.questions import Question
from crl.x2go.backends.control._connecting import open_connection, way_to
from crl.x2go.backends.control._login import Credentials, X2GoAuthenticationFailed, log_in
from crl.x2go.checkhosts import X2GoInteractiveAddPolicy
from crl.x2go.x2go_exceptions import (
    X2GoBrokerAuthenticationFailed,
    X2GoBrokerConnectionException,
    X2GoException,
    X2GoHostKeyException,
    X2GoParameterError,
)

__all__ = ["SshWire"]

_ASKING: Final = "asking the session broker"
_TASKS: Final = {"": "listsessions", "listprofiles": "listsessions"}
_SAFE: Final = re.compile(r"[\w .,:@%/+=-]*")  # what no login shell acts upon within single quotes
_READ: Final = 64 * 1024
_MAX_COMPLAINT: Final = 8 * 1024


class SshWire:
    """A login on a broker's host.

    Args:
        address: Where it is. A password of a question is used to log in; keys come first.
        known_hosts: The file of host keys, instead of those that ssh uses.
        ssh_rootdir: The folder of configuration and keys, instead of ``~/.ssh``.
        key_filename: A file, or files, of private keys to be used instead of the standard ones.
        look_for_keys: Whether the standard keys are offered.
        allow_agent: Whether keys of the agent are offered.
        session_instance: Whose HOOK_check_host_dialog decides about a key that is not known; without one it is refused.
    """

    def __init__(
        self,
        address: BrokerAddress,
        *,
        known_hosts: str | os.PathLike[str] | None = None,
        ssh_rootdir: str | os.PathLike[str] | None = None,
        key_filename: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] = (),
        look_for_keys: bool = True,
        allow_agent: bool = True,
        session_instance: Any = None,
    ) -> None:
        self._address = address
        self._known_hosts = None if known_hosts is None else os.fspath(known_hosts)
        self._root = Path(ssh_rootdir or "~/.ssh").expanduser()
        self._client = _Judge(session_instance)
        files = [key_filename] if isinstance(key_filename, (str, os.PathLike)) else key_filename
        self._credentials = Credentials(
            username=address.username or "",
            key_filenames=tuple(os.fspath(one) for one in files),
            allow_agent=allow_agent,
            look_for_keys=look_for_keys,
            ssh_rootdir=self._root,
        )
        self._transport: paramiko.Transport | None = None

    def close(self) -> None:
        """End the login; again is harmless."""
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.close()
            transport.join(10)

    def ask(self, question: Question, deadline: Deadline) -> Answer:
        """Run the broker's program and read what it prints."""
        words = self._words(question)
        try:
            transport = self._logged_in(question.password, deadline)
            output, complaint, status = self._run(transport, shlex.join(words), deadline)
        except X2GoAuthenticationFailed as error:
            raise X2GoBrokerAuthenticationFailed(
                error.message, host=self._address.host, doing=_ASKING, advice=error.advice
            ) from error
        except (X2GoHostKeyException, X2GoBrokerConnectionException):
            raise
        except X2GoException as error:
            raise X2GoBrokerConnectionException(
                error.message, host=self._address.host, doing=_ASKING, advice=error.advice
            ) from error
        except (paramiko.SSHException, OSError, EOFError) as error:
            self.close()
            late = deadline.expired or isinstance(error, TimeoutError)
            why = "it did not answer in time" if late else f"the connection broke: {error or type(error).__name__}"
            raise X2GoBrokerConnectionException(why, host=self._address.host, doing=_ASKING) from error
        answer = parse_plain(output)
        if not answer.granted:
            raise self._refusal(status, complaint)
        return answer

    def _words(self, question: Question) -> list[str]:
        """The command, as words.

        Raises:
            X2GoParameterError: It would have a password in it, or something that a shell would act upon.
        """
        if question.new_password is not None:
            raise X2GoParameterError(
                "a broker behind SSH takes a new password in its command line, where its host's users can read it",
                host=self._address.host,
                doing="setting the password",
                advice="set it on the host itself, or by the broker's HTTPS interface",
            )
        words = [self._address.path, "--task", _TASKS.get(question.task, question.task)]
        if question.user and question.user != self._credentials.username:
            words += ["--user", question.user]
        if question.authid is not None:
            words += ["--authid", question.authid.value]
        if question.profile_id is not None:
            words += ["--sid", question.profile_id]
        for word in words:
            if not _SAFE.fullmatch(word):
                raise X2GoParameterError(f"{printable(word)} cannot be sent to a broker behind SSH", doing=_ASKING)
        return words

    def _logged_in(self, password: Secret | None, deadline: Deadline) -> paramiko.Transport:
        if self._transport is not None and self._transport.is_active():
            return self._transport
        self.close()
        way = way_to(
            self._address.host, self._address.port, self._credentials.username or None,
            known_hosts=self._known_hosts, ssh_rootdir=self._root,
        )  # fmt: skip
        credentials = replace(self._credentials, password=password)
        credentials.username = credentials.username or way.host.user
        if way.host.identity_files and credentials.look_for_keys and not credentials.key_filenames:
            credentials.standard_keys = way.host.identity_files
        transport = open_connection(way, self._client, deadline)
        try:
            log_in(transport, credentials, self._address.host)
        except BaseException:
            transport.close()
            transport.join(10)
            raise
        self._transport = transport
        return transport

    def _run(self, transport: paramiko.Transport, line: str, deadline: Deadline) -> tuple[bytes, str, int]:
        """Run a command: what it printed, what it complained about, its status."""
        channel = transport.open_session(timeout=deadline.remaining())
        try:
            channel.settimeout(deadline.remaining())
            channel.exec_command(line)
            channel.shutdown_write()
            output = bytearray()
            while part := channel.recv(_READ):
                output += part
                if len(output) > MAX_ANSWER:
                    refuse_answer(f"it has more than {MAX_ANSWER} bytes")
                if deadline.expired:
                    raise TimeoutError
                channel.settimeout(deadline.remaining())
            complaint = channel.recv_stderr(_MAX_COMPLAINT) if channel.recv_stderr_ready() else b""
            if not channel.status_event.wait(deadline.remaining()):
                raise TimeoutError
            return bytes(output), complaint.decode(errors="replace"), channel.recv_exit_status()
        finally:
            channel.close()

    def _refusal(self, status: int, complaint: str) -> X2GoBrokerConnectionException:
        host, seen = self._address.host, "".join(one if one.isprintable() or one == "\n" else "?" for one in complaint)
        if status in (126, 127):
            return X2GoBrokerConnectionException(
                f"there is no program {self._address.path} for this user", host=host, doing=_ASKING,
                advice="the URL's path is the program: ssh://user@host/usr/bin/x2gobroker-ssh", transcript=seen,
            )  # fmt: skip
        if status != 0:
            return X2GoBrokerConnectionException(
                f"its program ended with status {status}", host=host, doing=_ASKING, transcript=seen
            )
        return X2GoBrokerAuthenticationFailed(
            "it does not let the user in", host=host, doing=_ASKING, advice="it may want an auth_id", transcript=seen
        )


class _Judge(paramiko.SSHClient):
    """What decides about host keys that no file knows: a hook, or nobody."""

    def __init__(self, session_instance: Any) -> None:
        super().__init__()
        self._policy_of_unknown = X2GoInteractiveAddPolicy(self, session_instance)

    def host_key_policy(self) -> paramiko.MissingHostKeyPolicy:
        """The policy."""
        return self._policy_of_unknown
