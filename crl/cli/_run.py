"""``crl run``: a command on one host or on many.

It knows `crl.targets` and loads it only when it runs. It prints what each host said under the host's name, or as it is
for a single one, and its exit status tells whether all went well.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import cyclopts
from cyclopts import Parameter

from crl.cli._output import DONE, FAILED, print_json, say
from crl.errors import UsageError

if TYPE_CHECKING:
    from crl.targets import Fleet, Outcome, Outcomes, RunResult

app = cyclopts.App(name="run", help="Run a command on hosts.")

STATUS_OF_SHELLS = 128


@Parameter(name="*")
@dataclass(frozen=True)
class How:
    """How a command is run on hosts, and how to print.

    Args:
        inventory: A TOML file that describes targets and groups of them.
        config: An ssh configuration instead of the user's own.
        become: The user to run it as, by sudo.
        timeout: Seconds that it may take on one host.
        at_once: On how many hosts it runs at the same time.
        stop_after: After so many failures begin on no further host.
        json: Print one JSON value instead of text.
    """

    inventory: Path | None = None
    config: Path | None = None
    become: str | None = None
    timeout: float = 60.0
    at_once: int = 64
    stop_after: int | None = None
    json: Annotated[bool, Parameter(negative=())] = False


_SO = How()


@app.default
def run(
    hosts: str,
    /,
    *command: Annotated[str, Parameter(allow_leading_hyphen=True)],
    how: How = _SO,
) -> int:
    """Run a command on hosts, beside each other; ``crl run web1,web2 -- uname -r``.

    Args:
        hosts: Names of the ssh configuration, or of targets and groups of the inventory, with commas between them.
        command: What to run: one word is a line for /bin/sh, several are run as they are.
        how: See `How`.
    """
    from crl.targets import Fleet, Inventory

    if not command:
        raise UsageError("there is no command", doing="crl run", advice="crl run HOSTS -- COMMAND")
    read = Inventory(config=how.config) if how.inventory is None else Inventory.read(how.inventory, config=how.config)
    chosen = read.select(*filter(None, hosts.split(",")))
    if not chosen:
        raise UsageError("there is no host", doing="crl run", advice="crl run HOSTS -- COMMAND")
    words: Any = command[0] if len(command) == 1 else list(command)
    # A bar stands between the lines where there are several and somebody looks.
    fleet = Fleet(chosen, at_once=how.at_once, progress=None if len(chosen) > 1 and not how.json else False)
    return _told(_run(fleet, words, how), how)


def _run(fleet: Fleet, words: Any, how: How) -> Outcomes[RunResult]:
    # What is not 0 is a failure that counts, where failures are counted.
    check = how.stop_after is not None
    return fleet.run(words, check=check, timeout=how.timeout, become=how.become, stop_after=how.stop_after)


def _result(outcome: Outcome[RunResult]) -> RunResult | None:
    """What the command did, well or not; None where it did not come to its end."""
    found: RunResult | None = getattr(outcome.error, "result", None) if outcome.value is None else outcome.value
    return found


def _told(outcomes: Outcomes[RunResult], how: How) -> int:
    """Print the outcomes and give the exit status: of one host, its command's."""
    if how.json:
        print_json([_as_dict(outcome) for outcome in outcomes])
    else:
        for outcome in outcomes:
            _print(outcome, alone=len(outcomes) == 1)
    results = [_result(outcome) for outcome in outcomes]
    if len(results) == 1 and results[0] is not None:
        status = results[0].status
        return status if status >= 0 else STATUS_OF_SHELLS - status
    return DONE if all(result is not None and result.ok for result in results) else FAILED


def _as_dict(outcome: Outcome[RunResult]) -> dict[str, Any]:
    result = _result(outcome)
    ok = result is not None and result.ok
    found: dict[str, Any] = {"host": outcome.name, "ok": ok, "seconds": round(outcome.seconds, 3)}
    if result is not None:
        found |= {"status": result.status, "stdout": result.stdout, "stderr": result.stderr}
    else:
        found |= {"error": type(outcome.error).__name__, "message": str(outcome.error), "stage": str(outcome.stage)}
    return found


def _print(outcome: Outcome[RunResult], *, alone: bool) -> None:
    result = _result(outcome)
    if result is None:
        say(f"{outcome.name}: {type(outcome.error).__name__}: {outcome.error}")
        return
    if not alone:
        sys.stdout.write(f"{outcome.name}: status {result.status}\n")
    for stream, text in ((sys.stdout, result.stdout), (sys.stderr, result.stderr)):
        lines = text if alone else "".join(f"  {line}\n" for line in text.splitlines())
        stream.write(lines.encode("utf-8", "backslashreplace").decode())
        stream.flush()
