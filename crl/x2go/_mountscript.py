"""The server's own script that mounts a shared folder, ``x2gomountdirs`` of x2goserver: how it is called.

It knows the script's arguments and nothing of what they stand for at either end. It promises that the name of a session
is checked before it becomes one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from crl.x2go.defaults import CURRENT_LOCAL_USER

if TYPE_CHECKING:
    from crl.x2go._server import X2GoServer
    from crl.x2go.backends.info.plain import X2GoServerSessionInfo

__all__ = ["MOUNT_TIME", "mount_words"]

MOUNT_TIME: Final = 45.0  # the script gives sshfs 30


def mount_words(server: X2GoServer, info: X2GoServerSessionInfo, key_file: str, name: str, port: int) -> list[str]:
    """The words that call the script.

    Args:
        server: The server.
        info: The session.
        key_file: Where the script finds the key, which it removes.
        name: What the folder is called here, with the marker of what it is for.
        port: The server's port behind which the folder is served.
    """
    return [
        server.get_facts().found.get("x2gomountdirs", "x2gomountdirs"), "dir", server.checked_name(info.name),
        CURRENT_LOCAL_USER, key_file, f"{name}__REVERSESSH_PORT__{port}",
    ]  # fmt: skip
