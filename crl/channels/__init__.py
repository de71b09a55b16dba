"""The bytes of one program, whatever carries them: local processes, ptys, paramiko, telnet.

This layer knows nothing of shells, prompts or the link above it. Every channel has a real, non-blocking descriptor.
`crl.channels.ssh` builds SSH logins on it, `crl.channels.conformance` tests channels that others write.
"""

from __future__ import annotations

from crl.channels.base import Channel, ChannelClosed, ChannelInUse, ChannelStartError, NoSuchProgram
from crl.channels.paramiko_channel import ParamikoChannel
from crl.channels.process import ProcessChannel
from crl.channels.pty import LocalPtyChannel
from crl.channels.telnet import TelnetChannel

__all__ = [
    "Channel",
    "ChannelClosed",
    "ChannelInUse",
    "ChannelStartError",
    "LocalPtyChannel",
    "NoSuchProgram",
    "ParamikoChannel",
    "ProcessChannel",
    "TelnetChannel",
]
