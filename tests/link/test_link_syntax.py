"""Syntax trees: many threads may ask for one at the same time, as fleets do."""

from __future__ import annotations

import gc
import time
from concurrent.futures import ThreadPoolExecutor

from crl.link._syntax import parse

SOURCE = "def f(a, b=[1, {2: (3, 4)}]):\n    return [a * x for x in b if x]\n" * 40


def test_syntax_trees_are_made_by_many_threads_at_once() -> None:
    # Garbage collection runs code in the middle of the parser, and another thread takes over there.
    def give_way(phase: str, info: object) -> None:
        time.sleep(0)

    before = gc.get_threshold()
    gc.callbacks.append(give_way)
    gc.set_threshold(20)
    try:
        with ThreadPoolExecutor(4) as pool:
            trees = list(pool.map(parse, [SOURCE] * 40))
    finally:
        gc.set_threshold(*before)
        gc.callbacks.remove(give_way)
    assert all(len(tree.body) == 40 for tree in trees)
