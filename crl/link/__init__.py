"""The link: one connection to one Python on a target, over any terminal that a shell can open.

`Link.start` takes a lane from the shells and gives calls, processes and tunnels; it knows no shell and no SSH. Of its
folders, `wire` is the protocol for both ends and `remote` is what runs on the target.
"""

from crl.link._output import OutputEvent
from crl.link.calls import BASIC_TYPES, Call, Keep, Kept
from crl.link.errors import (
    CallCancelled,
    CallTimeout,
    LinkError,
    LinkLost,
    LinkStartError,
    ProgramGone,
    ProtocolViolation,
    PythonNotFound,
    PythonTooOld,
    RemoteError,
    ValueNotTransferable,
)
from crl.link.exceptions import register_exception
from crl.link.lane import CLEAN, FLOW_CONTROL, PRINTABLE, TELNET, UNSURE, Lane, LaneKind
from crl.link.link import Link, LinkFacts, Statistics
from crl.link.processes import ProcessTimeout, RemoteProcess, RunResult
from crl.link.registered import register_type
from crl.link.tunnels import Address, Tunnel, TunnelError
from crl.link.wire.values import Expression

__all__ = [
    "BASIC_TYPES",
    "CLEAN",
    "FLOW_CONTROL",
    "PRINTABLE",
    "TELNET",
    "UNSURE",
    "Address",
    "Call",
    "CallCancelled",
    "CallTimeout",
    "Expression",
    "Keep",
    "Kept",
    "Lane",
    "LaneKind",
    "Link",
    "LinkError",
    "LinkFacts",
    "LinkLost",
    "LinkStartError",
    "OutputEvent",
    "ProcessTimeout",
    "ProgramGone",
    "ProtocolViolation",
    "PythonNotFound",
    "PythonTooOld",
    "RemoteError",
    "RemoteProcess",
    "RunResult",
    "Statistics",
    "Tunnel",
    "TunnelError",
    "ValueNotTransferable",
    "register_exception",
    "register_type",
]
