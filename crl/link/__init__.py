"""The link: one connection to one Python on a target, over any terminal that a shell can open.

`Link.start` takes a lane from the shells and gives calls, processes, files and tunnels; it knows no shell and no SSH.
Of its folders, `wire` is the protocol for both ends and `remote` is what runs on the target.
"""

from crl.link._output import OutputEvent
from crl.link.callbacks import Callback
from crl.link.calls import BASIC_TYPES, Call, Keep, Kept
from crl.link.detached import Detached, KeptOutput
from crl.link.ends import End, Taker
from crl.link.errors import (
    ArgumentNotTransferable,
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
from crl.link.facts import LinkFacts, Statistics
from crl.link.files import Files, RemotePath
from crl.link.files_results import (
    FileAccessDenied,
    FileInfo,
    FileMissing,
    FilesError,
    Problem,
    Progress,
    TransferIncomplete,
    TransferOptions,
    TransferResult,
)
from crl.link.lane import CLEAN, FLOW_CONTROL, PRINTABLE, TELNET, UNSURE, Lane, LaneKind
from crl.link.link import Link
from crl.link.processes import OutputLine, ProcessAlive, ProcessTimeout, RemoteProcess, RunResult
from crl.link.registered import register_type
from crl.link.startline import Ahead
from crl.link.tunnels import LIMIT as TUNNEL_LIMIT
from crl.link.tunnels import Address, TcpAddress, Tunnel, TunnelError
from crl.link.wire.values import Expression

__all__ = [
    "BASIC_TYPES",
    "CLEAN",
    "FLOW_CONTROL",
    "PRINTABLE",
    "TELNET",
    "TUNNEL_LIMIT",
    "UNSURE",
    "Address",
    "Ahead",
    "ArgumentNotTransferable",
    "Call",
    "CallCancelled",
    "CallTimeout",
    "Callback",
    "Detached",
    "End",
    "Expression",
    "FileAccessDenied",
    "FileInfo",
    "FileMissing",
    "Files",
    "FilesError",
    "Keep",
    "Kept",
    "KeptOutput",
    "Lane",
    "LaneKind",
    "Link",
    "LinkError",
    "LinkFacts",
    "LinkLost",
    "LinkStartError",
    "OutputEvent",
    "OutputLine",
    "Problem",
    "ProcessAlive",
    "ProcessTimeout",
    "ProgramGone",
    "Progress",
    "ProtocolViolation",
    "PythonNotFound",
    "PythonTooOld",
    "RemoteError",
    "RemotePath",
    "RemoteProcess",
    "RunResult",
    "Statistics",
    "Taker",
    "TcpAddress",
    "TransferIncomplete",
    "TransferOptions",
    "TransferResult",
    "Tunnel",
    "TunnelError",
    "ValueNotTransferable",
    "register_exception",
    "register_type",
]
