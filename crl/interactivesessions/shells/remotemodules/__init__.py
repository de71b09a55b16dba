"""What a `MsgPythonShell` and its Python on the target have in common, at the import paths of the published package.

Only `pythoncmdline` is sent to the target; the link carries what the published package's own chunks, tokens and
acknowledgements carried, so there are no modules for those.
"""

from __future__ import annotations

__all__ = ["compatibility", "exceptions", "msgmanager", "msgs", "pythoncmdline"]

from crl.interactivesessions.shells.remotemodules import compatibility, exceptions, msgmanager, msgs, pythoncmdline
