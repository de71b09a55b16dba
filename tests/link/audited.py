"""A controller under an audit hook, in front of the liar: prints what each lie came to, as lines of JSON.

Run as `python -m tests.link.audited KIND`. The hook refuses and notes whatever could run, import or open something
while a lie is read; it cannot be taken off again, hence a program of its own. The modules of the codec's fixed table
of records are imported before: importing those, and no others, when one of their records comes is allowed, and
`test_link_values` shows that it imports nothing else.
"""

from __future__ import annotations

import importlib
import json
import resource
import sys
import time
from collections.abc import Callable
from typing import Any

from crl.link import Keep, LinkLost, ProtocolViolation, ValueNotTransferable
from crl.link.exceptions import rebuild
from crl.link.wire import records, values
from crl.link.wire.errors import NotTransferable, ProtocolError
from tests.link import liar
from tests.link.lying import lying_link

# What is sent may be made by marshal; nothing may be read by it.
FORBIDDEN = (
    *("import", "exec", "compile", "pickle.", "marshal.load", "code.", "ctypes.", "builtins.input", "function.__new__"),
    *("subprocess.", "os.", "pty.", "open", "shutil.", "tempfile.", "socket.", "urllib.", "webbrowser.", "glob."),
    *("cpython.", "sys.addaudithook", "sys.setprofile", "sys.settrace", "object.__setattr__", "signal.", "fcntl."),
)
# Modules whose exceptions a target would like to raise are here, as they are in a test run.
FRAMEWORKS = (
    *("unittest", "unittest.case", "pytest", "_pytest.outcomes", "_pytest.runner", "robot.api", "robot.errors"),
    *("robot.api.exceptions", "robot.libraries.BuiltIn", "asyncio", "concurrent.futures", "paramiko", "pexpect"),
    *("doctest", "bdb", "crl.interactivesessions.runnerexceptions", "subprocess", "email.errors"),
)
_heard: list[str] = []
_listening = False


def _hook(event: str, args: tuple[Any, ...]) -> None:
    if _listening and event.startswith(FORBIDDEN):
        _heard.append(f"{event} {args!r:.80}")
        raise PermissionError(f"{event} is forbidden here")


def peak() -> int:
    """The most memory this program ever had, in KiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def audited(name: str, ask: Callable[[], str]) -> None:
    """Ask under the hook and print what came."""
    global _listening
    # Its own seconds: what others do on this machine says nothing of the lie.
    before, began = peak(), time.process_time()
    _heard.clear()
    _listening = True
    try:
        outcome = ask()
    finally:
        _listening = False
    took = {"seconds": round(time.process_time() - began, 3), "grown": peak() - before, "peak": peak()}
    print(json.dumps({"lie": name, "outcome": outcome, "heard": _heard, **took}), flush=True)  # noqa: T201


def outcome_of(ask: Callable[[], object]) -> str:
    """What a call came to; the errors that blame the target have to say so."""
    try:
        value = ask()
    except ProtocolViolation as error:
        return "violation" if error.host == "liar" and "do not trust" in str(error) else f"blames nobody: {error}"
    except LinkLost as error:
        return f"lost: {error}"
    except ValueNotTransferable as error:
        return "refused" if error.host == "liar" else f"blames nobody: {error}"
    except Exception as error:  # noqa: BLE001 - whatever is raised is what the test wants to see
        return f"raised {type(error).__module__}.{type(error).__qualname__}"
    return f"value {type(value).__name__}"


def lies(names: list[str]) -> None:
    """Lies that have to end the link, each on a link of its own."""
    for name in names:
        with lying_link(name) as link:
            call = link.submit_evaluate("1", keep=Keep(None))
            audited(name, lambda call=call: outcome_of(lambda: call.result(30)))  # type: ignore[misc]
            after = outcome_of(lambda link=link: link.evaluate("2", timeout=60))  # type: ignore[misc]
            assert after == "violation", f"after {name}: {after}"
            assert not link.alive


def answers(kind: str, names: list[str]) -> None:
    """Answers after which the link goes on."""
    with lying_link(kind) as link:
        for name in names:
            audited(name, lambda: outcome_of(lambda: link.evaluate("1", timeout=30)))
        assert link.alive


def bodies() -> None:
    """Everything that is no value and no description of an exception, read without a link around it."""

    def read(body: bytes, reader: Callable[[bytes], object]) -> str:
        try:
            return f"value {reader(body)!r:.60}"
        except ProtocolError:
            return "violation"
        except NotTransferable as error:
            return f"refused {error}"

    for name, body in liar.BODIES.items():
        audited(name, lambda body=body: read(body, values.decode))  # type: ignore[misc]
    for name, body in liar.ERRORS.items():
        audited(name, lambda body=body: read(body, lambda body: rebuild(body, "liar")))  # type: ignore[misc]


def main() -> None:
    """Run one kind of lies."""
    for module in FRAMEWORKS:
        importlib.import_module(module)
    for name in records.RECORDS:
        importlib.import_module(name.rpartition(".")[0] or "builtins")
    # Import what the first error and the first text of one need, which every program has long imported.
    outcome_of(lambda: 1 / 0)
    sys.addaudithook(_hook)
    kind = sys.argv[1]
    if kind == "bodies":
        bodies()
    elif kind == "claims":
        answers(kind, list(liar.CLAIMS))
    elif kind == "oddities":
        answers(kind, list(liar.ODDITIES))
    else:
        lies(sys.argv[2:])


if __name__ == "__main__":
    main()
