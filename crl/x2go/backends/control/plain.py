"""One login on one X2Go server, with python-x2go's class and method names.

`X2GoControlSession` is a client of paramiko; what is done on the server goes over a host behind it: a link in a session
of that connection, or the target that it was given. It promises one connection for any number of sessions and threads,
a deadline for everything, an error where python-x2go gives empty data, and passwords in no text.
"""

from __future__ import annotations

import contextlib
import functools
import io
import os
import random
import shlex
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import paramiko

from crl.deadlines import Deadline
from crl.errors import CrlError
from crl.secrets import Secret, to_secret
from crl.x2go import defaults, utils
from crl.x2go._host import Host
from crl.x2go._pubapps import PublishedApplications
from crl.x2go._server import X2GoServer
from crl.x2go._transporthost import TransportHost
from crl.x2go.backends.control._connecting import (
    X2GoConnectionFailed,
    X2GoHostKeyChanged,
    known_for,
    open_connection,
    way_to,
)
from crl.x2go.backends.control._login import (
    Credentials,
    Prompter,
    X2GoAuthenticationFailed,
    X2GoPasswordRequired,
    log_in,
)
from crl.x2go.backends.info.plain import X2GoServerSessionInfo, X2GoServerSessionList
from crl.x2go.checkhosts import X2GoAutoAddPolicy, X2GoInteractiveAddPolicy, check_ssh_host_key
from crl.x2go.log import X2GoLogger, loglevel_DEBUG, loglevel_NOTICE
from crl.x2go.x2go_exceptions import (
    X2GoControlSessionException,
    X2GoParameterError,
    X2GoRemoteHomeException,
    X2GoServerMissing,
    X2GoSFTPClientException,
    X2GoTimeOutException,
)

if TYPE_CHECKING:
    from crl.x2go.backends.terminal.plain import X2GoTerminalSession

__all__ = [
    "X2GoAuthenticationFailed",
    "X2GoConnectionFailed",
    "X2GoControlSession",
    "X2GoControlSessionSTDOUT",
    "X2GoHostKeyChanged",
    "X2GoPasswordRequired",
]

CONNECT_TIMEOUT = 60.0
COMMAND_TIMEOUT = 20.0
SLOW_FACTOR = 2  # for modem and isdn


class X2GoControlSession(paramiko.SSHClient):
    """One login on one X2Go server.

    Args:
        profile_name: A name for people.
        add_to_known_hosts: Whether the key of a server that is not known is taken and kept.
        known_hosts: The known_hosts file; None is what the ssh configuration says.
        forward_sshagent: Whether the user's agent may be used by what runs in sessions.
        unique_hostkey_aliases: Whether the server's key is kept under the profile's id instead of its name.
        terminal_backend: Name or class of the backend of sessions.
        info_backend: Name or class of the backend of session records.
        list_backend: Name or class of the backend of session lists.
        proxy_backend: Name or class of the backend of graphics proxies.
        client_rootdir: The folder of the client's configuration.
        sessions_rootdir: The folder of the client's session folders.
        ssh_rootdir: The folder of ssh's files.
        logger: An `X2GoLogger`.
        loglevel: The level of one that is made here.
        published_applications_no_submenus: With no more applications than that, menus have no submenus.
        low_latency: Whether the way is slow, so that everything may take twice as long.
        target: A host that is reached already (`crl.targets.Target`): then nothing is to be connected here.
        **kwargs: Accepted as in python-x2go: `profile_id`.

    Attributes:
        associated_terminals: The sessions that are shown here over this login, by name.
        session_died: Whether the connection was lost.
        prompter: What answers questions of the server beyond the password (`Credentials.prompter`).
    """

    host_key_failure: type[CrlError]

    def __init__(
        self,
        profile_name: str = "UNKNOWN",
        add_to_known_hosts: bool = False,
        known_hosts: str | os.PathLike[str] | None = None,
        forward_sshagent: bool = False,
        unique_hostkey_aliases: bool = False,
        terminal_backend: Any = "PLAIN",
        info_backend: Any = "PLAIN",
        list_backend: Any = "PLAIN",
        proxy_backend: Any = "NX3",
        client_rootdir: str | os.PathLike[str] | None = None,
        sessions_rootdir: str | os.PathLike[str] | None = None,
        ssh_rootdir: str | os.PathLike[str] | None = None,
        logger: X2GoLogger | None = None,
        loglevel: int = 56,
        published_applications_no_submenus: int = 0,
        low_latency: bool = False,
        *,
        target: Host | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__()
        self.profile_name = profile_name
        self.profile_id = str(kwargs.pop("profile_id", profile_name))
        if kwargs:
            raise X2GoParameterError(f"a control session has no parameter {', '.join(sorted(kwargs))}")
        self.add_to_known_hosts = add_to_known_hosts
        self.known_hosts = None if known_hosts is None else os.fspath(known_hosts)
        self.forward_sshagent = forward_sshagent
        self.unique_hostkey_aliases = unique_hostkey_aliases
        self.terminal_backend, self.info_backend, self.list_backend, self.proxy_backend = (
            terminal_backend, info_backend, list_backend, proxy_backend,
        )  # fmt: skip
        home = Path(defaults.LOCAL_HOME)
        self.client_rootdir = os.fspath(client_rootdir or home / defaults.X2GO_CLIENT_ROOTDIR)
        self.sessions_rootdir = os.fspath(sessions_rootdir or home / defaults.X2GO_SESSIONS_ROOTDIR)
        self.ssh_rootdir = Path(ssh_rootdir or home / defaults.X2GO_SSH_ROOTDIR)
        self.logger = logger or X2GoLogger(loglevel=loglevel, tag="control")
        self.published_applications_no_submenus = published_applications_no_submenus
        self.low_latency = low_latency
        self.prompter: Prompter | None = None
        self.hostname: str | None = None
        self.port: int | None = None
        self.sshproxy_session: Any = None
        self.associated_terminals: dict[str, X2GoTerminalSession] = {}
        self.session_died = False
        self._policy_of_keys: paramiko.MissingHostKeyPolicy = paramiko.RejectPolicy()
        self._connecting = threading.RLock()
        self._given = target
        self._server: X2GoServer | None = None if target is None else X2GoServer(target)
        self._own_host: TransportHost | None = None
        self._menu: PublishedApplications | None = None
        self._death: X2GoControlSessionException | None = None
