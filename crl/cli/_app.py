"""The tree of commands.

It knows the names of the commands and where each lives, not what they do: a command's module is loaded when it is
called. Wrong words become a line on standard error and exit status 2.
"""

from __future__ import annotations

import importlib.metadata
from typing import Final

import cyclopts

from crl.cli._output import USAGE, complain, wants_json

COMMANDS: Final = {"lab": "crl.cli._lab:app", "replay": "crl.cli._replay:app", "run": "crl.cli._run:app"}
"""The commands, each with the module and object that is loaded for it."""


def make_app() -> cyclopts.App:
    """The app with all commands, none of them loaded yet."""
    app = cyclopts.App(
        name="crl",
        help="Drives hosts and X2Go remote desktops from tests, over any stack of shells.",
        help_epilogue="Exit status: 0 done, 1 failed, 2 wrong usage, 3 something needed is missing here.",
        version=lambda: importlib.metadata.version("crl"),
        result_action="return_int_as_exit_code_else_zero",
    )
    for name, place in COMMANDS.items():
        app.command(place, name=name)
    return app


def run(words: list[str]) -> int:
    """Call what the words name and give the exit status."""
    try:
        return int(make_app()(words, exit_on_error=False, print_error=False))
    except cyclopts.CycloptsError as error:
        complain(f"{error}\nWhat to do: crl {' '.join(words[:2])} --help", kind="UsageError", as_json=wants_json(words))
        return USAGE
