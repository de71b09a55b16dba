"""One peer in its own process: a line of JSON asks for an operation, a line of JSON answers.

The first argument names the peer's module; the first line brings its settings. What the peer prints goes to the
standard error, and its children read nothing of ours. It promises one answer for each line: a value, a reason why
there is none, or the failure.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import traceback

from benchmarks.peers import operations
from benchmarks.peers.base import NotThere, Peer, Settings

__all__ = ["main"]


def _answer(peer: Peer, request: dict[str, object]) -> dict[str, object]:
    operation = getattr(operations, str(request["do"]))
    arguments = request["with"]
    assert isinstance(arguments, dict)
    try:
        return {"value": operation(peer, **arguments)}
    except NotThere as error:
        return {"absent": str(error)}
    except Exception as error:  # noqa: BLE001 - whatever a peer raises is a figure of it
        traceback.print_exc()
        return {"failed": f"{type(error).__name__}: {error}"[:300]}


def main() -> None:
    """Serve until the runner closes our standard input."""
    questions = os.fdopen(os.dup(0), encoding="utf-8")
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)
    settings = Settings(**json.loads(questions.readline()))
    peer = importlib.import_module(f"benchmarks.peers.{sys.argv[1]}").make(settings)
    for line in questions:
        answers.write(json.dumps(_answer(peer, json.loads(line))) + "\n")
        answers.flush()
    peer.close()
    # A peer's threads that do not end must not keep the runner.
    sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
