"""The remote program: what runs on the target for a link.

The modules of this folder are sent as source and run there, in the common subset of Python 2.7 and 3.6 or later with
the standard library only; they may use the wire and nothing else of crl. They promise that the target's shell gets its
terminal back as it was, and that nothing the program was asked to own stays when it ends.
"""

__all__ = []  # type: list[str]
