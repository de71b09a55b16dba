"""A reader of a subset of ssh_config(5), for machines without an ssh program.

Honoured: ``Host`` blocks with wildcards and negation, and the keywords in `HONOURED`. Keywords in `HARMLESS` concern
comfort or other programs and are skipped. Everything else (``Match``, ``Include``, ``Ciphers`` …) is refused by
name, file and line, where it stands in a block that applies. It does no input or output.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator
from fnmatch import translate
from typing import Final

from crl.channels.ssh.settings import SshSettings
from crl.errors import UsageError

__all__ = ["HARMLESS", "HONOURED", "read_config"]

_HONOURED: Final = (
    "hostname user port identityfile identitiesonly identityagent proxyjump userknownhostsfile globalknownhostsfile"
    " hostkeyalias proxycommand preferredauthentications pubkeyauthentication passwordauthentication"
    " kbdinteractiveauthentication"
)
_HARMLESS: Final = (
    "addkeystoagent batchmode checkhostip clearallforwardings compression connectionattempts connecttimeout"
    " controlmaster controlpath controlpersist escapechar exitonforwardfailure fingerprinthash forwardagent forwardx11"
    " forwardx11timeout forwardx11trusted gssapiauthentication gssapidelegatecredentials hashknownhosts"
    " ignoreunknown ipqos localcommand localforward loglevel logverbose"
    " numberofpasswordprompts permitlocalcommand remoteforward requesttty sendenv serveralivecountmax"
    " serveraliveinterval setenv"
    " streamlocalbindmask streamlocalbindunlink stricthostkeychecking syslogfacility tcpkeepalive updatehostkeys"
    " verifyhostkeydns visualhostkey xauthlocation"
)
HONOURED: Final = frozenset(_HONOURED.split())
HARMLESS: Final = frozenset(_HARMLESS.split())

def read_config(texts: Iterable[tuple[str, str]], settings: SshSettings) -> dict[str, list[str]]:
    """Read configurations, the first one first; the first value of a keyword counts, identity files add up.

    Args:
        texts: Name and content of each file.
        settings: The login; what it says itself comes before what the files say.

    Returns:
        Values by lower-case keyword, in the form that ``ssh -G`` prints.

    Raises:
        UsageError: A line that applies cannot be honoured.
    """
    values: dict[str, list[str]] = {}
    for option in settings.options:
        _take(values, *_split(option), place="options=")
    for name, given in (("user", settings.user), ("port", settings.port)):
        if given is not None:
            values[name] = [str(given)]
    if settings.known_hosts is not None:
        values["userknownhostsfile"] = [shlex.quote(str(settings.known_hosts))]
        values["globalknownhostsfile"] = ["/dev/null"]
    for file, text in texts:
        for place, keyword, value in _applying(file, text, settings.host):
            _take(values, keyword, value, place=place)
    if "hostname" in values:
        values["hostname"] = [values["hostname"][0].replace("%h", settings.host).replace("%%", "%")]
    return values


def _applying(file: str, text: str, host: str) -> Iterator[tuple[str, str, str]]:
    """The lines that apply to a host: where, keyword, value."""
    applies = True
    for number, line in enumerate(text.splitlines(), 1):
        keyword, value = _split(line)
        if not keyword or keyword.startswith("#"):
            continue
        if keyword == "host":
            applies = _matches(value, host)
        elif keyword == "match":
            if value.strip().lower() != "all":
                _refuse("match", f"{file}:{number}")
            applies = True
        elif applies:
            yield f"{file}:{number}", keyword, value


def _split(line: str) -> tuple[str, str]:
    match = re.match(r"\s*([^\s=]+)(?:\s*=\s*|\s+|$)(.*)", line)
    return (match[1].lower(), match[2].strip()) if match else ("", "")


def _matches(patterns: str, host: str) -> bool:
    found = False
    for pattern in shlex.split(patterns, comments=True):
        wanted = pattern.removeprefix("!").replace("[", "[[]")
        if re.fullmatch(translate(wanted), host):
            if pattern.startswith("!"):
                return False
            found = True
    return found


def _take(values: dict[str, list[str]], keyword: str, value: str, *, place: str) -> None:
    keyword = keyword.lower()
    if keyword not in HONOURED:
        if keyword not in HARMLESS:
            _refuse(keyword, place)
        return
    several = keyword in ("userknownhostsfile", "globalknownhostsfile", "proxycommand")
    text = value if several else " ".join(shlex.split(value, comments=True))
    if keyword == "identityfile":
        known = values.setdefault(keyword, [])
        if text not in known:
            known.append(text)
    elif keyword == "proxycommand" and values.get("proxyjump", ["none"])[0].lower() != "none":
        return  # whichever of the two stands first is the way
    elif keyword == "proxyjump" and "proxycommand" in values:
        return
    else:
        values.setdefault(keyword, [text])


def _refuse(keyword: str, place: str) -> None:
    raise UsageError(
        f"{place}: the keyword {keyword} cannot be honoured without an ssh program",
        doing="reading the ssh configuration",
        advice="install OpenSSH's ssh, or name another configuration with config=",
    )
