"""What a session broker answers, as values: JSON and plain text.

Both readers are total: any bytes give an `Answer` or `X2GoBrokerAnswerRefused`, and nothing else. What is in an answer
is text of a stranger; `crl.x2go._broker.offers` says what of it is acted upon.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NoReturn

from crl.secrets import Secret
from crl.x2go.x2go_exceptions import X2GoBrokerAnswerRefused

__all__ = ["MAX_ANSWER", "Answer", "Chosen", "parse_json", "parse_plain", "printable", "refuse_answer"]

MAX_ANSWER: Final = 4 * 1024 * 1024
MAX_PROFILES: Final = 2000
MAX_OPTIONS: Final = 300
MAX_TEXT: Final = 16 * 1024
_SHOWN: Final = 80
_AUTHID: Final = re.compile(r"[\x21-\x7e]{1,512}")
_SERVER: Final = re.compile(r"(?P<host>\[[^\]]+\]|[^:]+|[0-9A-Fa-f:]*::[0-9A-Fa-f:.]*)(?::(?P<port>[0-9]{1,5}))?")
_SECTION: Final = re.compile(r"\[(?P<id>.+)\]")
_PEM: Final = re.compile(r"-----BEGIN ([A-Z0-9 ]*PRIVATE KEY)-----\n(?:[\x20-\x7e]{0,80}\n){1,200}?-----END \1-----")
_GRANTED: Final = "access granted"


@dataclass(frozen=True)
class Chosen:
    """What a broker says about the session that was selected, before anybody has judged it."""

    host: str
    port: int
    key: Secret | None = field(default=None, repr=False)
    pubkey_accepted: bool = False
    session_info: str = field(default="", repr=False)


@dataclass(frozen=True)
class Answer:
    """One answer of a broker.

    Attributes:
        granted: Whether it let the user in.
        next_authid: What stands for the password the next time.
        profiles: For each id the options, of types that its form has; None when it listed none.
        mutable_ids: The ids of profiles that may be changed.
        chosen: The session that was selected.
        tested: What it said to a test of the connection.
    """

    granted: bool
    next_authid: Secret | None = field(default=None, repr=False)
    profiles: Mapping[str, Mapping[str, Any]] | None = None
    mutable_ids: frozenset[str] = frozenset()
    chosen: Chosen | None = None
    tested: str = ""


def printable(text: object) -> str:
    """The beginning of something a broker said, fit to be shown."""
    shown = text if isinstance(text, str) else repr(text)
    return repr(shown[:_SHOWN] + ("…" if len(shown) > _SHOWN else ""))


def refuse_answer(why: str) -> NoReturn:
    """Refuse an answer.

    Raises:
        X2GoBrokerAnswerRefused: Always.
    """
    raise X2GoBrokerAnswerRefused(
        f"its answer is refused: {why}",
        doing="reading the broker's answer",
        advice="nothing of it was used; ask who runs the broker",
    )


def _text(data: bytes) -> str:
    if len(data) > MAX_ANSWER:
        refuse_answer(f"it has more than {MAX_ANSWER} bytes")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        refuse_answer("it is not UTF-8")


# JSON.


def parse_json(data: bytes) -> Answer:
    """Read the answer of a broker that speaks JSON.

    Raises:
        X2GoBrokerAnswerRefused: It is not what a broker answers.
    """
    text = _text(data)
    try:
        answer = json.loads(text, object_pairs_hook=_no_double_keys, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        refuse_answer(f"it is no JSON ({type(error).__name__})")
    if not isinstance(answer, dict):
        refuse_answer(f"it is a {type(answer).__name__}, not an object")
    status = _field(answer, "auth-status", str, "")
    profiles = _field(answer, "profiles", dict, None)
    mutable = _field(answer, "mutable_profile_ids", list, [])
    if not all(isinstance(one, str) for one in mutable):
        refuse_answer("mutable_profile_ids are not all texts")
    return Answer(
        granted=status.strip().lower() == _GRANTED or "auth-status" not in answer,
        next_authid=_authid(_field(answer, "next-authid", str, "")),
        profiles=None if profiles is None else {key: _profile(key, options) for key, options in _few(profiles)},
        mutable_ids=frozenset(mutable),
        chosen=_chosen(_field(answer, "selected_session", dict, None)),
    )


def _no_double_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        refuse_answer("it says something twice")
    return found


def _no_constant(name: str) -> NoReturn:
    refuse_answer(f"it has the number {name}")


def _field(answer: Mapping[str, Any], name: str, kind: type[Any], default: Any) -> Any:
    """A field of an answer, of a type; null is as none."""
    value = answer.get(name)
    if value is None:
        return default
    if not isinstance(value, kind):
        refuse_answer(f"{name} is a {type(value).__name__}, not a {kind.__name__}")
    return value


def _few(profiles: dict[str, Any]) -> list[tuple[str, Any]]:
    if len(profiles) > MAX_PROFILES:
        refuse_answer(f"it has more than {MAX_PROFILES} profiles")
    return list(profiles.items())


def _profile(profile_id: str, options: Any) -> dict[str, Any]:
    if not isinstance(options, dict):
        refuse_answer(f"the profile {printable(profile_id)} is a {type(options).__name__}, not an object")
    if len(options) > MAX_OPTIONS:
        refuse_answer(f"the profile {printable(profile_id)} has more than {MAX_OPTIONS} options")
    return options


def _authid(text: str) -> Secret | None:
    if not text:
        return None
    if not _AUTHID.fullmatch(text):
        refuse_answer("its authentication id is not one word of ASCII")
    return Secret(text)


def _chosen(selected: dict[str, Any] | None) -> Chosen | None:
    if not selected:
        return None
    port = selected.get("port", 22)
    accepted = _field(selected, "authentication_pubkey", str, "")
    return Chosen(
        host=_field(selected, "server", str, ""),
        port=_port(str(port) if isinstance(port, int) and not isinstance(port, bool) else port),
        key=_key(_field(selected, "key", str, "")),
        pubkey_accepted=accepted == "ACCEPTED",
        session_info=_short(_field(selected, "session_info", str, ""), "session_info"),
    )


def _port(text: object) -> int:
    if not isinstance(text, str) or not re.fullmatch(r"[0-9]{1,5}", text) or not 0 < int(text) < 65536:
        refuse_answer(f"the port is {printable(text)}")
    return int(text)


def _key(text: str) -> Secret | None:
    if not text.strip():
        return None
    normal = text.strip().replace("\r\n", "\n")
    if not _PEM.fullmatch(normal):
        refuse_answer("the key it gives is no private key")
    return Secret(normal + "\n")


def _short(text: str, name: str) -> str:
    if len(text) > MAX_TEXT:
        refuse_answer(f"{name} is longer than {MAX_TEXT} characters")
    return text


# Plain text.


def parse_plain(data: bytes) -> Answer:
    """Read the answer of a broker that speaks plain text: over HTTP, and every one over SSH.

    Raises:
        X2GoBrokerAnswerRefused: It is not what a broker answers.
    """
    text = _text(data).replace("\r\n", "\n").replace("<br>", "\n")  # as some brokers write for browsers
    if text.strip() == "OK":
        return Answer(granted=True, tested="OK")
    lines = text.split("\n")
    authids = [line.removeprefix("AUTHID:") for line in lines if line.startswith("AUTHID:")]
    granted = any(line.strip().lower() == _GRANTED for line in lines)
    if len(authids) > 1:
        refuse_answer("it has several authentication ids")
    if not granted:
        return Answer(granted=False)
    return Answer(
        granted=True,
        next_authid=_authid(authids[0].strip()) if authids else None,
        profiles=_plain_profiles(lines),
        chosen=_plain_chosen(lines, text),
    )


def _plain_profiles(lines: list[str]) -> dict[str, dict[str, Any]] | None:
    if "START_USER_SESSIONS" not in lines:
        return None
    if lines.count("START_USER_SESSIONS") > 1 or lines.count("END_USER_SESSIONS") != 1:
        refuse_answer("its list of profiles has not one beginning and one end")
    profiles: dict[str, dict[str, Any]] = {}
    options: dict[str, Any] = {}
    for line in lines[lines.index("START_USER_SESSIONS") + 1 : lines.index("END_USER_SESSIONS")]:
        section = _SECTION.fullmatch(line)
        if section:
            options = {}
            _once(profiles, section["id"], options)
        elif line:
            name, equals, value = line.partition("=")
            if not equals or not profiles:
                refuse_answer(f"its list of profiles has the line {printable(line)}")
            _once(options, name.strip(), value.strip())
    return {profile_id: _profile(profile_id, options) for profile_id, options in _few(profiles)}


def _once(found: dict[str, Any], name: str, value: Any) -> None:
    if name in found:
        refuse_answer(f"it says {printable(name)} twice")
    found[name] = value


def _plain_chosen(lines: list[str], text: str) -> Chosen | None:
    servers = [line.removeprefix("SERVER:").strip() for line in lines if line.startswith("SERVER:")]
    infos = [line.removeprefix("SESSION_INFO:").strip() for line in lines if line.startswith("SESSION_INFO:")]
    if not servers:
        return None
    place = _SERVER.fullmatch(servers[0])
    if len(servers) > 1 or len(infos) > 1 or place is None:
        refuse_answer(f"it names the server {printable(' '.join(servers))}")
    keys = list(_PEM.finditer(text))
    if len(keys) != text.count("-----BEGIN ") or len(keys) > 1:
        refuse_answer("the key it gives is no private key")
    return Chosen(
        host=place["host"].strip("[]"),
        port=_port(place["port"] or "22"),
        key=_key(keys[0].group()) if keys else None,
        session_info=_short(infos[0], "session_info") if infos else "",
    )
