"""A session broker behind HTTP, asked by httpx.

Certificates are verified unless the user wrote otherwise, redirects are not followed, answers are read up to a limit
and as they stand, and each question ends by its deadline, however slowly the broker speaks. Credentials go in the body
of a POST; without TLS they go to this machine only, unless the user wrote otherwise.
"""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import threading
from collections.abc import Iterator
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from crl.deadlines import Deadline
from crl.x2go._broker.address import BrokerAddress
from crl.x2go._broker.answers import MAX_ANSWER, Answer, parse_json, parse_plain, printable, refuse_answer
from crl.x2go._broker.questions import Question
from crl.x2go.x2go_exceptions import (
    X2GoBrokerAnswerRefused,
    X2GoBrokerAuthenticationFailed,
    X2GoBrokerConnectionException,
    X2GoParameterError,
)

if TYPE_CHECKING:
    import httpx

__all__ = ["HttpWire"]

_JSON_TYPES: Final = ("text/json", "application/json")
_PLAIN_TYPES: Final = ("text/plain",)
_ASKING: Final = "asking the session broker"
_PLAIN_TASKS: Final = {"listprofiles": "listsessions"}
_UNTRUSTED: Final = "CERTIFICATE_VERIFY_FAILED"


class HttpWire:
    """A connection to a broker behind HTTP.

    Args:
        address: Where it is.
        ca_file: Certificates of the authorities to believe, instead of the machine's.
        verify: Whether the broker has to prove who it is; False also allows ``http://`` beyond this machine.

    Raises:
        X2GoParameterError: httpx is not there, the file is not usable, or passwords would go unencrypted.
    """

    def __init__(
        self, address: BrokerAddress, *, ca_file: str | os.PathLike[str] | None = None, verify: bool = True
    ) -> None:
        self._address = address
        if address.scheme == "http" and verify and not address.is_loopback:
            raise X2GoParameterError(
                f"{address.url} would send the password unencrypted",
                host=address.host,
                advice="use https://; to have it so nevertheless give verify=False",
            )
        self._httpx = _import_httpx()
        self._verify = _context(ca_file, verify=verify) if address.scheme == "https" else False
        self._client: httpx.Client | None = None
        self._watch = _Watch()

    def close(self) -> None:
        """End the connection; again is harmless, and another question opens a new one."""
        client, self._client = self._client, None
        if client is not None:
            client.close()

    def _connected(self) -> httpx.Client:
        if self._client is None:
            headers = {"Accept-Encoding": "identity", "User-Agent": "crl"}
            # A proxy of the environment could read what goes without TLS.
            self._client = self._httpx.Client(
                verify=self._verify,
                follow_redirects=False,
                headers=headers,
                trust_env=self._address.scheme == "https",
            )
        return self._client

    def ask(self, question: Question, deadline: Deadline) -> Answer:
        """Ask and read the answer."""
        with self._translated(deadline), self._watch.until(deadline):
            left = max(deadline.remaining() or 0.0, 0.001)
            with self._connected().stream(
                "POST",
                self._address.url,
                data=_fields(question, is_plain=self._address.is_plain),
                timeout=left,
                extensions={"trace": self._watch.trace},
            ) as response:
                self._require_answer(response)
                body = _body(response)
            if deadline.expired:
                raise self._httpx.ReadTimeout("")  # the end of it was not the broker's
        if not body.strip() and question.task == "testcon":
            return Answer(granted=True)  # Debian's broker says no more to a test in JSON's form
        answer = parse_plain(body) if self._address.is_plain else parse_json(body)
        if not answer.granted:
            raise self._refused()
        return answer

    def _require_answer(self, response: httpx.Response) -> None:
        """Look at status and type.

        Raises:
            X2GoBrokerConnectionException: It is not the answer of a broker, or a refusal.
        """
        status = response.status_code
        if status == 401:
            raise self._refused()
        if 300 <= status < 400:
            where = printable(response.headers.get("location", "nowhere"))
            raise X2GoBrokerAnswerRefused(
                f"it sends us elsewhere, to {where}; no credentials were sent there",
                host=self._address.host, doing=_ASKING, advice="if that is right, give that URL yourself",
            )  # fmt: skip
        if status != 200:
            raise X2GoBrokerConnectionException(
                f"it answers {status} {_phrase(status)}",
                host=self._address.host, doing=_ASKING, advice=_advice(status, self._address),
            )  # fmt: skip
        kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        expected = _PLAIN_TYPES if self._address.is_plain else _JSON_TYPES
        if kind not in expected and response.headers.get("content-length") != "0":
            refuse_answer(f"it is of the type {printable(kind)}, not {expected[0]}")

    def _refused(self) -> X2GoBrokerAuthenticationFailed:
        return X2GoBrokerAuthenticationFailed(
            "it does not let the user in", host=self._address.host, doing=_ASKING, advice="check user name and password"
        )

    @contextlib.contextmanager
    def _translated(self, deadline: Deadline) -> Iterator[None]:
        """Turn what stops a question into our error."""
        httpx = self._httpx
        try:
            yield
        except (httpx.HTTPError, httpx.StreamError, httpx.InvalidURL, OSError) as error:
            if deadline.expired or isinstance(error, httpx.TimeoutException):
                why, advice = "it did not answer in time", "try again later"
            elif _UNTRUSTED in str(error):
                why = f"its certificate is not trusted: {error}"
                advice = "give the file of the authority that signed it: ca_file=…"
            else:
                why = f"it cannot be reached: {error or type(error).__name__}"
                advice = f"see whether it listens: curl {self._address.url}"
            raise X2GoBrokerConnectionException(why, host=self._address.host, doing=_ASKING, advice=advice) from error


class _Watch:
    """Ends the connection under a question that is not answered in time: each byte may come within its own limit."""

    def __init__(self) -> None:
        self._sock: socket.socket | None = None

    def trace(self, name: str, info: dict[str, Any]) -> None:
        """Note the socket of a new connection; httpx calls it."""
        if name.endswith(("connect_tcp.complete", "start_tls.complete")):
            self._sock = info["return_value"].get_extra_info("socket")

    @contextlib.contextmanager
    def until(self, deadline: Deadline) -> Iterator[None]:
        """While this lasts, the connection ends at the deadline."""
        timer = threading.Timer(deadline.remaining() or 0.0, self._cut)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
            timer.join()

    def _cut(self) -> None:
        if self._sock is not None:
            with contextlib.suppress(OSError):  # it has ended by itself
                socket.socket.shutdown(self._sock, socket.SHUT_RDWR)


def _import_httpx() -> Any:
    try:
        import httpx
    except ImportError as error:
        raise X2GoParameterError(
            "brokers behind HTTP need httpx", doing=_ASKING, advice="pip install 'crl[broker]'"
        ) from error
    return httpx


def _context(ca_file: str | os.PathLike[str] | None, *, verify: bool) -> ssl.SSLContext:
    """What is demanded of the broker's certificate.

    Raises:
        X2GoParameterError: The file of authorities is not usable.
    """
    if not verify:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context
    try:
        return ssl.create_default_context(cafile=ca_file)
    except OSError as error:  # ssl.SSLError is one
        raise X2GoParameterError(
            f"{ca_file} has no certificates of authorities: {error}", advice="give a file in PEM format"
        ) from error


def _fields(question: Question, *, is_plain: bool) -> dict[str, str]:
    """The fields of the form."""
    task = _PLAIN_TASKS.get(question.task, question.task) if is_plain else question.task
    fields = {
        "task": task,
        "user": question.user,
        "password": question.password.value if question.password else "",
        "authid": question.authid.value if question.authid else "",
        "sid" if is_plain else "profile-id": question.profile_id or "",
        "pubkey": question.pubkey or "",
        "newpass": question.new_password.value if question.new_password else "",
    }
    return {name: value for name, value in fields.items() if value}


def _body(response: httpx.Response) -> bytes:
    """The body, up to the limit."""
    encoding = response.headers.get("content-encoding", "identity")
    if encoding.lower() != "identity":
        refuse_answer(f"it is encoded as {printable(encoding)}, which was not asked for")
    parts: list[bytes] = []
    size = 0
    for part in response.iter_raw():
        size += len(part)
        if size > MAX_ANSWER:
            refuse_answer(f"it has more than {MAX_ANSWER} bytes")
        parts.append(part)
    return b"".join(parts)


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""


def _advice(status: int, address: BrokerAddress) -> str:
    if status in (404, 405):
        return f"there is no broker at {address.path}; /json/ and /plain/ are usual, and its configuration allows each"
    return "see the broker's log"
