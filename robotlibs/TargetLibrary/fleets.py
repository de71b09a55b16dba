"""The keywords of ``TargetLibrary`` about many hosts at once.

They know `crl.targets` and Robot Framework, and the open fleets of the library that they are a part of. Each does on
all targets of a fleet what another keyword does on one, and fails with what was wrong on each.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

from robot.api import logger
from robot.api.deco import keyword
from robot.api.types import Secret

from crl.errors import RemoteWorldError
from crl.link import TransferResult
from crl.secrets import redact
from crl.targets import Fleet, Inventory, Outcomes, RunResult
from TargetLibrary.foundation import importing, seconds
from TargetLibrary.processkeywords import environment, plain
from TargetLibrary.registry import Opened

__all__ = ["FleetFailed", "FleetKeywords"]

SHOWN = 20


class FleetFailed(RemoteWorldError):
    """What a keyword was to do on all targets of a fleet was not done on some of them."""


class FleetKeywords:
    """Keywords for fleets.

    Attributes:
        fleets: The fleets that are open.
    """

    fleets: Opened[Fleet]
    _scopes: list[str]

    @keyword
    def open_fleet(
        self,
        *hosts: str,
        alias: str = "fleet",
        targets: dict[str, Any] | list[Any] | None = None,
        inventory: Path | None = None,
        config: Path | None = None,
        at_once: int = 64,
        per_hop: int = 8,
        timeout: timedelta | None = timedelta(minutes=5),
        may_fail: bool = False,
    ) -> Fleet:
        """Connects to many hosts beside each other, and uses them as a fleet from now on.

        The fleet is closed as a target is: at the end of the suite, or see ``auto_close`` at `Importing`.

        Example:
        | Open Fleet    web1    web2    web3
        | Open Fleet    web    db    inventory=${CURDIR}/hosts.toml
        | VAR    &{root}    shellname=SudoShell    password=${PASSWORD}
        | VAR    &{host}    host=web1
        | VAR    @{shells}    ${host}    ${root}
        | VAR    &{targets}    web1 as root=${shells}
        | Open Fleet    targets=${targets}    alias=roots

        Args:
            *hosts: Names in the SSH configuration, or of targets and groups of the inventory.
            alias: What to call the fleet.
            targets: Further targets: by name, or as a list, what `Open Target` takes as ``host``.
            inventory: A file that describes targets and groups of them.
            config: An SSH configuration instead of the user's own.
            at_once: On how many targets something is done at the same time.
            per_hop: How many logins may be under way at the same time by the same first hop.
            timeout: How long connecting to all may take.
            may_fail: Go on with the hosts that can be reached; the others fail in each keyword.

        Returns:
            The fleet: ``${fleet.names}``, ``${fleet}[web1]`` is one target.
        """
        self.fleets.refuse_taken(alias)
        known = Inventory(config=config) if inventory is None else Inventory.read(inventory, config=config)
        more = targets if isinstance(targets, dict) else {}
        named: dict[str, Any] = {**known.select(*hosts), **more}
        given: Any = named if not isinstance(targets, list) else [*named.values(), *targets]
        fleet = Fleet(given, config=config, at_once=at_once, per_hop=per_hop, progress=False)
        try:
            reached = fleet.connect(seconds(timeout))
            if not may_fail:
                _passed(reached, "connected to")
        except BaseException:
            fleet.close()
            raise
        _log(reached, lambda _: "connected")
        self.fleets.add(alias, fleet, self._scopes[-1] if self._scopes else "")
        return fleet

    @keyword
    def switch_fleet(self, fleet: str | Fleet) -> str | None:
        """Uses another open fleet.

        Args:
            fleet: Its alias, or the fleet as `Open Fleet` gave it.

        Returns:
            The alias of the fleet used until now.
        """
        return self.fleets.use(fleet)

    @keyword
    def close_fleet(self, fleet: str | Fleet | None = None) -> None:
        """Closes the connections to all targets of a fleet.

        Args:
            fleet: Which one; by default the one in use.
        """
        self.fleets.close(fleet)

    @keyword
    def run_command_on_fleet(
        self,
        command: str | list[str],
        *,
        check: bool = True,
        timeout: timedelta = timedelta(minutes=1),
        env: dict[str, Any] | None = None,
        cwd: str | None = None,
        input: Secret | str | bytes | None = None,  # noqa: A002 - the name of the verb's argument
        become: str | None = None,
        stop_after: int | None = None,
        may_fail: bool = False,
    ) -> Outcomes[RunResult]:
        """Runs a command on each target of the fleet, beside each other.

        Example:
        | ${outcomes}    Run Command On Fleet    uname -r
        | Should Be Equal    ${outcomes['web1'].value.stdout}    ${outcomes['web2'].value.stdout}
        | ${outcomes}    Run Command On Fleet    systemctl restart app    stop_after=1    may_fail=True
        | Log Many    @{outcomes.failed.names}

        Args:
            command: As of `Run Command`.
            check: Count a status other than 0 as a failure.
            timeout: How long it may take on one target.
            env: As of `Run Command`.
            cwd: As of `Run Command`.
            input: As of `Run Command`.
            become: As of `Run Command`.
            stop_after: After so many failures begin on no further target.
            may_fail: Give the outcomes when some have failed, too.

        Returns:
            One outcome for each target, to be had by its name or in their order: ``name``, ``ok``, ``value`` (as of
            `Run Command`), ``error`` and ``seconds``; of all of them ``failed``, ``succeeded`` and ``names``.
        """
        outcomes = self.fleets.find(None).run(
            command,
            check=check,
            timeout=seconds(timeout),
            env=environment(env),
            cwd=cwd,
            input=plain(input),
            become=become,
            stop_after=stop_after,
        )
        return _told(outcomes, lambda result: f"status {result.status}, {result.stdout}", may_fail=may_fail)

    @keyword
    def call_remote_function_on_fleet(
        self, function: str | Callable[..., Any], *args: Any, may_fail: bool = False
    ) -> Outcomes[Any]:
        """Calls a Python function on each target of the fleet.

        Example:
        | ${cores}    Call Remote Function On Fleet    os.cpu_count
        | Should Be True    all(outcome.value >= 2 for outcome in $cores)

        Args:
            function: As of `Call Remote Function`.
            *args: Its arguments.
            may_fail: As of `Run Command On Fleet`.

        Returns:
            The outcomes, as of `Run Command On Fleet`, with what the function gave as ``value``.
        """
        wanted = importing(function) if isinstance(function, str) else function
        return _told(self.fleets.find(None).python.call(wanted, *args), repr, may_fail=may_fail)

    @keyword
    def push_files_to_fleet(self, source: str, destination: str, *, may_fail: bool = False) -> Outcomes[TransferResult]:
        """Copies a file, or a folder with all that is in it, to each target of the fleet.

        Args:
            source: What to copy.
            destination: What it is to be there, as of `Push Files`.
            may_fail: As of `Run Command On Fleet`.

        Returns:
            The outcomes, as of `Run Command On Fleet`, with the counts of `Push Files` as ``value``.
        """
        return _told(self.fleets.find(None).files.push(source, destination), repr, may_fail=may_fail)

    @keyword
    def pull_files_from_fleet(self, source: str, folder: Path, *, may_fail: bool = False) -> Outcomes[TransferResult]:
        """Copies a file or folder of each target of the fleet into a folder of the target's name.

        Example:
        | Pull Files From Fleet    /var/log/app.log    ${OUTPUT_DIR}/logs
        | File Should Exist    ${OUTPUT_DIR}/logs/web1/app.log

        Args:
            source: What to copy.
            folder: The folder here in which each target gets one.
            may_fail: As of `Run Command On Fleet`.

        Returns:
            The outcomes, as of `Run Command On Fleet`, with the counts of `Push Files` as ``value``.
        """
        return _told(self.fleets.find(None).files.pull(source, folder), repr, may_fail=may_fail)


def _told(outcomes: Outcomes[Any], shown: Callable[[Any], str], *, may_fail: bool) -> Outcomes[Any]:
    """The outcomes, written into the log; fails when one of them has."""
    _log(outcomes, shown)
    if not may_fail:
        _passed(outcomes, "done on")
    return outcomes


def _log(outcomes: Outcomes[Any], shown: Callable[[Any], str]) -> None:
    for outcome in outcomes:
        if outcome.ok:
            logger.info(f"{outcome.name}: {redact(shown(outcome.value)).strip()}")
        else:
            logger.info(f"{outcome.name}: failed while {outcome.stage}: {redact(str(outcome.error))}")


def _passed(outcomes: Outcomes[Any], what: str) -> None:
    failed = outcomes.failed
    if not failed:
        return
    lines = [f"  {one.name}: {type(one.error).__name__}: {_first_line(one.error)}" for one in failed[:SHOWN]]
    if len(failed) > SHOWN:
        lines.append(f"  and {len(failed) - SHOWN} more")
    text = f"not {what} {len(failed)} of {len(outcomes)} targets:"
    raise FleetFailed("\n".join([text, *lines]))


def _first_line(error: BaseException | None) -> str:
    return (redact(str(error)).splitlines() or [""])[0]
