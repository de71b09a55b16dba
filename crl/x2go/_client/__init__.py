"""The methods of `X2GoClient`, in layers: hooks, profiles, registered sessions, servers, session verbs.

Applications override the client's public methods with other signatures. So inside of the client a method is called by
the class that has it (``Servers.list_sessions(self, …)``), never by ``self``, and a layer knows those below it only.
"""

from __future__ import annotations

__all__: list[str] = []
