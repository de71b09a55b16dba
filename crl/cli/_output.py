"""What the command line prints, for people and for programs.

It knows nothing of the commands; it promises that ``--json`` prints one JSON value on standard output, that colours and
tables appear on a terminal only, and that errors go to standard error.
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

DONE: Final = 0
FAILED: Final = 1
USAGE: Final = 2
MISSING: Final = 3


def wants_json(words: Sequence[str]) -> bool:
    """Whether ``--json`` is among the words, before a ``--`` that ends the options."""
    before = words[: list(words).index("--")] if "--" in words else words
    return "--json" in before


def complain(message: str, *, kind: str, as_json: bool = False) -> None:
    """Say on standard error that something failed."""
    text = json.dumps({"error": kind, "message": message}) if as_json else f"crl: {message}"
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def say(line: str) -> None:
    """Print a line for people, on standard error, so that standard output stays the result's."""
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


def print_json(value: Any) -> None:
    """Print the result for programs."""
    sys.stdout.write(json.dumps(value, indent=2, default=str) + "\n")
    sys.stdout.flush()


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a table: with lines and colours on a terminal, else with tabs."""
    if not sys.stdout.isatty():
        for row in (columns, *rows):
            sys.stdout.write("\t".join(str(cell) for cell in row) + "\n")
        sys.stdout.flush()
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title, title_justify="left")
    for column in columns:
        table.add_column(column)
    for row in rows:
        table.add_row(*(Text(str(cell)) for cell in row))
    Console().print(table)
