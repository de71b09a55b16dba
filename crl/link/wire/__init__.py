"""The wire: frames, session and values, sans-io and written once for both ends of a link.

Everything in this folder runs on the controller and, sent as source, on the target: Python 2.7 and 3.6 or later, the
standard library only, no sockets, threads or clocks. It promises that whatever bytes arrive, the outcome is messages,
values or a `ProtocolError`, in linear time and bounded memory.
"""

__all__ = []  # type: list[str]
