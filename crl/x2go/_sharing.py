"""How a folder is shared, as its users say it; the module has no code of its own."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Sharing"]


@dataclass(frozen=True)
class Sharing:
    """How a folder is to be shared.

    Args:
        read_only: Whether the server may not change it.
        hard_links: Whether files with several names can be had too, although one of them may be outside.
        survive_cuts: Whether files that are open there outlive a cut of the connection, for which all takes longer.
    """

    read_only: bool = False
    hard_links: bool = False
    survive_cuts: bool = False
