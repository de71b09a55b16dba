"""Sends modules of this end to the target, and answers what the target asks for.

Everything is read before it is offered: an answer is a look into a table, made by the reading thread, which opens no
file and runs no code. It promises that a target gets what was allowed, each thing once, and that one which keeps asking
for something else loses the link.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from crl.link.errors import LinkError
from crl.link.sources import Bundle, SourceFile
from crl.link.wire import messages, values

if TYPE_CHECKING:
    from crl.link.link import Link

__all__ = ["DEFINE", "IMPORT", "Modules"]

# Expressions on the target for what takes a batch and gives a function, or a module.
DEFINE: Final = "__import__('sys').modules['_crl.remote.imports'].FINDER.define"
IMPORT: Final = "__import__('sys').modules['_crl.remote.imports'].FINDER.bring"
# A target of ours knows what is offered and asks once for each; noise on the way changes nothing in that.
MOST_REFUSALS: Final = 100
REFUSAL: Final = values.encode(None)
VERSION: Final = ".".join(map(str, sys.version_info[:2]))

Batch = tuple[object, ...]


class Modules:
    """The modules that a link's target has or may ask for.

    Args:
        link: The link.
    """

    def __init__(self, link: Link) -> None:
        self._link = link
        self._sent: dict[str, SourceFile] = {}
        self._listed: set[str | tuple[str, str]] = set()
        self._offers: dict[bytes, bytes] = {}
        self._served: dict[bytes, int] = {}
        self._refusals = 0

    def batch(self, bundle: Bundle) -> Batch:
        """What the target has to be told before it can use a bundle; it may ask for the rest from now on.

        Modules that have changed since they were sent are sent anew, and the target forgets what it has made of them
        and of those that import them.
        """
        everything = {**bundle.offered, **bundle.needed}
        changed = {name for name, source in everything.items() if self._differs(source)}
        sources = [
            (name, source.path, source.folder, source.source)
            for name, source in everything.items()
            if name in changed or (name in bundle.needed and name not in self._sent)
        ]
        sent = {name for name, *_ in sources}
        listed = [
            (source.name, source.path, source.folder)
            for name, source in bundle.offered.items()
            if name not in sent and name not in self._sent and name not in self._listed
        ]
        for name, source in bundle.offered.items():
            self._offer(name.encode(), source.source)
        data_names = []
        for (package, file), data in bundle.data.items():
            if self._offer(f"{package}/{file}".encode(), data) or (package, file) not in self._listed:
                data_names.append((package, file))
        return (VERSION, sources, listed, data_names, sorted(_with_dependents(changed, {**self._sent, **everything})))

    def sent(self, bundle: Bundle, batch: Batch) -> None:
        """The target has taken a batch of a bundle."""
        names = {item[0] for item in batch[1]}  # type: ignore[attr-defined]
        everything = {**bundle.offered, **bundle.needed}
        self._sent.update((name, everything[name]) for name in names)
        self._listed.update((*bundle.offered, *bundle.data))

    def has_sent(self, name: str) -> bool:
        """Whether the target has a module of that name from here."""
        return name in self._sent

    def answer(self, number: int, wanted: bytes) -> bool:
        """Answer the target's question for a module or a data file; False when it has asked too much.

        Called by the reading thread, and again when that was interrupted.
        """
        source = self._offers.get(wanted)
        if source is None or self._served.setdefault(wanted, number) != number:
            self._refusals += 1
            if self._refusals > MOST_REFUSALS:
                return False
            source = REFUSAL
        with suppress(LinkError):  # then nobody waits for it
            self._link.send(messages.pack(messages.SOURCE, number, source))
        return True

    def _differs(self, source: SourceFile) -> bool:
        known = self._sent.get(source.name)
        if known is not None:
            return (known.path, known.source) != (source.path, source.source)
        # It was offered before, so the target may have asked for it.
        offered = self._offers.get(source.name.encode())
        return offered is not None and offered != values.encode(source.source)

    def _offer(self, name: bytes, content: bytes) -> bool:
        """Let the target ask for something; whether it is new, or another one than before."""
        encoded = values.encode(content)
        if self._offers.get(name) == encoded:
            return False
        self._offers[name] = encoded
        self._served.pop(name, None)
        return True


def _with_dependents(changed: set[str], known: dict[str, SourceFile]) -> set[str]:
    """Modules, and those that import them, over any number of steps."""
    found = set(changed)
    todo = list(changed)
    while todo:
        name = todo.pop()
        # A package that is made anew has no parts yet.
        parts = name + "."
        users = {user for user, source in known.items() if name in source.imports or user.startswith(parts)} - found
        found |= users
        todo += users
    return found
