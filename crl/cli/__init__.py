"""The command line ``crl``.

It knows the faces below it only by name: a command's module is loaded when the command is called. Exit statuses are the
same for all commands: 0 done, 1 the operation failed, 2 wrong usage, 3 something that is needed is missing here.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from crl.cli._output import FAILED, MISSING, USAGE, complain, wants_json
from crl.errors import CrlError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: The words after ``crl``; default those of this process.

    Returns:
        The exit status.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    as_json = wants_json(words)
    try:
        from crl.cli._app import run
    except ImportError as error:
        if error.name not in {"cyclopts", "rich"}:
            raise
        complain(
            "the command line needs cyclopts and rich: pip install 'crl[cli]'", kind="ImportError", as_json=as_json
        )
        return MISSING
    try:
        return run(words)
    except CrlError as error:
        complain(str(error), kind=type(error).__name__, as_json=as_json)
        return USAGE if isinstance(error, UsageError) else FAILED
    except KeyboardInterrupt:
        complain("interrupted", kind="KeyboardInterrupt", as_json=as_json)
        return FAILED
