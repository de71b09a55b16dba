"""Benchmarks: speed as ratios to a floor of the same interleaved run, never as a timed test.

Each module is run by hand, ``python -m benchmarks.link`` for example; nothing here is imported by crl.
"""

__all__: list[str] = []
