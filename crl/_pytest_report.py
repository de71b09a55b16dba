"""What a failing test's report says of the hosts and sessions it used.

It knows pytest's reports, crl's errors, and targets and sessions by their class, which it looks up without importing
anything. It promises that collecting never hides the test's own failure and never writes over another run's picture.
"""

from __future__ import annotations

import base64
import importlib
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from crl.errors import CrlError
from crl.secrets import redact

if TYPE_CHECKING:
    from crl.x2go import X2GoSession

__all__ = ["SESSIONS", "add_sections"]

SESSIONS: pytest.StashKey[list[X2GoSession]] = pytest.StashKey()
MAX_CAUSES = 8


def add_sections(item: pytest.Item, call: pytest.CallInfo[Any], report: pytest.TestReport, folder: Path | None) -> None:
    """Add what is known to the report of a test that failed.

    Args:
        item: The test.
        call: The phase that failed.
        report: Its report.
        folder: Where pictures go; None for the default.
    """
    errors = list(_errors(call.excinfo.value)) if call.excinfo is not None else []
    if errors:
        report.sections.append(("crl: why it failed", "\n\n".join(map(_described, errors))))
    used = _used(item)
    lines = [redact(repr(one)) for one in used]
    for session in _instances("crl.x2go", "X2GoSession", used):
        lines += _look(session, item, report, folder)
    if lines:
        report.sections.append(("crl: hosts and sessions", "\n".join(lines)))


def _errors(error: BaseException) -> Iterator[BaseException]:
    """The errors of crl, and those that code on a target raised, among an error and its causes."""
    seen: list[BaseException] = []
    following: BaseException | None = error
    while following is not None and following not in seen and len(seen) < MAX_CAUSES:
        seen.append(following)
        is_ours = isinstance(following, CrlError) and not _is_told(following, seen)
        if is_ours or hasattr(following, "remote_traceback"):
            yield following
        following = following.__cause__ or (None if following.__suppress_context__ else following.__context__)


def _is_told(error: CrlError, seen: list[BaseException]) -> bool:
    """Whether an error before it, with the same class, has said the same."""
    return any(type(other) is type(error) and vars(other)["transcript"] == error.transcript for other in seen[:-1])


def _described(error: BaseException) -> str:
    """An error with what to do about it, the tail of what was seen, and the traceback of the target."""
    remote = getattr(error, "remote_traceback", "")
    text = f"{type(error).__name__}: {error}"
    return redact(f"{text}\nOn the target:\n{remote.rstrip()}" if remote else text)


def _used(item: pytest.Item) -> list[Any]:
    """The targets, terminals and sessions that the test's fixtures gave it or made for it."""
    given = [*getattr(item, "funcargs", {}).values(), *item.stash.get(SESSIONS, [])]
    found = [
        *_instances("crl.targets", "Target", given),
        *_instances("crl.interactivesessions.autorunnerterminal", "AutoRunnerTerminal", given),
        *_instances("crl.x2go", "X2GoSession", given),
    ]
    return list({id(one): one for one in found}.values())


def _instances(module: str, name: str, objects: list[Any]) -> list[Any]:
    """Those of a class; none when its module was never imported."""
    cls = getattr(sys.modules.get(module), name, None)
    return [] if cls is None else [one for one in objects if isinstance(one, cls)]


def _look(session: X2GoSession, item: pytest.Item, report: pytest.TestReport, folder: Path | None) -> list[str]:
    """The state of a session, its windows, and where its picture is."""
    try:
        lines = [f"the agent on the server is {session.get_state()}"]
        if session.state != "running":
            return lines
        lines += [f"window {window}" for window in session.windows()]
        path = _new_file(item, folder)
        session.server_picture().save(path, "PNG")
    except (CrlError, OSError) as error:
        return [f"there is no more to show: {redact(str(error))}"]
    # The test's own list is for the reports of its later phases, of which JUnit's file takes the last.
    for properties in (report.user_properties, item.user_properties):
        properties.append(("crl_picture", str(path)))
    _add_extra(item.config, report, path)
    return [*lines, f"picture: {path}"]


def _new_file(item: pytest.Item, folder: Path | None) -> Path:
    """An empty file of its own for a picture of a test."""
    folder = folder or default_folder(item.config)
    folder.mkdir(parents=True, exist_ok=True)
    name = re.sub(r"[^A-Za-z0-9]+", "-", item.name).strip("-")[:80]
    with tempfile.NamedTemporaryFile(dir=folder, prefix=f"{name}-", suffix=".png", delete=False) as made:
        return Path(made.name)


def default_folder(config: pytest.Config) -> Path:
    """Beside the report that is written (``--html``, ``--junit-xml``), else in pytest's cache or a temporary folder."""
    for option in ("htmlpath", "xmlpath"):
        path = config.getoption(option, None)
        if path:
            return config.invocation_params.dir.joinpath(path).parent / "crl-pictures"
    if config.pluginmanager.hasplugin("cacheprovider"):
        return Path(config.cache.mkdir("crl-pictures"))
    return Path(tempfile.mkdtemp(prefix="crl-pictures-"))


def _add_extra(config: pytest.Config, report: pytest.TestReport, path: Path) -> None:
    """Put the picture into the page of pytest-html, where that is in use."""
    if not config.pluginmanager.hasplugin("html") or not config.getoption("htmlpath", None):
        return
    extras = importlib.import_module("pytest_html").extras
    picture = extras.png(base64.b64encode(path.read_bytes()).decode("ascii"), name="session")
    report.extras = [*getattr(report, "extras", []), picture]  # type: ignore[attr-defined]
