"""The ways to a target that are compared, one a module: floors, the peers, and crl itself.

Each is a `base.Peer` that runs in a process and an interpreter of its own; `serve` asks it what the runner wants to
know. Nothing here knows the rows or the runner.
"""

__all__: list[str] = []
