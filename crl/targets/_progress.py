"""A bar on the terminal that tells how far a run over many targets is.

This module knows rich, where it is installed, and nothing of targets. It promises to draw on standard error only, only
when that is a terminal, and to leave the last state standing there.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec

from crl.targets.outcomes import FleetProgress

__all__ = ["OnFleetProgress", "reported"]

OnFleetProgress = Callable[[FleetProgress], object]


def _nothing(_: FleetProgress) -> None:
    """What is told when nobody wants to know."""


@contextmanager
def reported(wanted: OnFleetProgress | bool | None, doing: str, total: int) -> Iterator[OnFleetProgress]:
    """What to call with each step, for the block.

    Args:
        wanted: A callback; True is a bar, False nothing, None a bar where standard error is a terminal.
        doing: What is being done, for the bar.
        total: How many steps there are.
    """
    if wanted is None:
        wanted = sys.stderr.isatty() and find_spec("rich") is not None
    if wanted is False:
        yield _nothing
    elif wanted is True:
        with _bar(doing, total) as step:
            yield step
    else:
        yield wanted


@contextmanager
def _bar(doing: str, total: int) -> Iterator[OnFleetProgress]:
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("[red]{task.fields[failed]} failed"),
        TimeElapsedColumn(),
        TextColumn("{task.fields[last]}"),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(escape(doing), total=total, failed=0, last="")

        def step(state: FleetProgress) -> None:
            last = escape(state.outcome.name)
            progress.update(task, completed=state.done, failed=state.failed, last=last)

        yield step
