"""The remote program as it is sent: its sources, without comments, as one line of base64 after another.

It reads the modules of `wire` and `remote` from this package and renames the package, so that a `crl` on the target
stays untouched. The same bytes serve every target and are made once; a target with the very Python of this end may get
them compiled, which spares it half of its start.
"""

from __future__ import annotations

import binascii
import functools
import importlib.util
import marshal
import os
import threading
import zlib
from importlib import resources
from typing import Final

__all__ = ["CORE", "LINE", "MAGIC", "PIECES", "encoded_front", "encoded_program", "piece", "prepare"]

# Of the byte code that this interpreter makes; whoever has the same can run it.
MAGIC = importlib.util.MAGIC_NUMBER.hex()

LINE = 3000
LEVEL = 6
# Before byte code, the first of which is what would stand here as text; takes a millisecond less than to compile it.
UNPACK = "import marshal, zlib\ncodes = marshal.loads(zlib.decompress(packed.unused_data))\nexec(codes.pop(0))"
# For lanes that do not carry every byte.
ARMOUR = "wire.armour"
TINY = "remote.tiny"
QUOTES = '"""'
CORE = (
    "wire.compat",
    "wire.errors",
    "wire.frames",
    "wire.sending",
    "wire.receiving",
    "wire.session",
    "wire.records",
    "wire.tags",
    "wire.writing",
    "wire.reading",
    "wire.values",
    "wire.messages",
    "remote.world",
    "remote.tiny",
    "remote.terminal",
    "remote.calls",
    "remote.turn",
    "remote.program",
)
# What each service needs beside the core, sent when it is used first; each needs those before it.
PIECES: Final = {
    "process": ("wire.credit", "remote.streams", "remote.ending", "remote.processes"),
    "terminal": ("wire.credit", "remote.streams", "remote.ending", "remote.processes", "remote.terminals"),
    "detached": ("wire.credit", "remote.streams", "remote.ending", "remote.processes", "remote.detached"),
    "tunnel": ("wire.credit", "remote.streams", "remote.tunnels"),
    "cancel": ("remote.cancel",),
    "imports": ("remote.imports",),
    "callbacks": ("remote.callbacks",),
    "awaiting": ("remote.awaiting",),
    "file": (
        "wire.credit",
        "remote.streams",
        "wire.entries",
        "remote.files_folder",
        "remote.files_read",
        "remote.files_write",
        "remote.files",
    ),
}


def encoded_program(
    config: dict[str, object], *, armoured: bool = False, compiled: bool = False, line: int = LINE
) -> bytes:
    """What is written after the start line's interpreter has said that it is ready.

    Args:
        config: Plain settings for the remote program; they are written as a literal.
        armoured: Whether the frames need armour.
        compiled: Whether to send byte code, for an interpreter with the same `MAGIC`: three times the bytes, to be
            used as they are.
        line: How long the lines may be.

    Returns:
        Lines of base64 below the 4096 bytes that a terminal takes, closed by a line with a dot.
    """
    # The modules stand behind the first code as they are: to parse them twice, once as literals, would cost a tenth.
    modules = (ARMOUR, *CORE) if armoured else CORE
    names = [f"_crl.{name}" for name in modules]
    begin, packed = (UNPACK, "codes") if compiled else (_first("remote.boot"), "packed.unused_data")
    first = f"{begin}\nstart({names!r}, {packed}, {config!r})\n"
    return _encoded(first, _packed(modules, compiled=compiled), line=line)


def prepare() -> None:
    """Make what is the same for all targets, once for this process: a good use of the time that a login takes.

    As source it takes a tenth of the time that it takes compiled.
    """
    for compiled in (True, False):
        _packed(CORE, compiled=compiled)


def encoded_front(name: str, words: str, mark: str, armour: str, *, line: int = LINE) -> bytes:
    """What is written instead in a fresh terminal of a remote program that runs; arguments as of `front.attach`."""
    return _encoded(f"{_first('remote.front')}\nattach({name!r}, {words!r}, {mark!r}, {armour!r})\n", line=line)


def _first(name: str) -> str:
    """A first module in one namespace with what waits for the program's end."""
    return _source(TINY) + _source(name).replace(f"from _crl.{TINY} import", "#")


def _encoded(first: str, modules: bytes = b"", *, line: int) -> bytes:
    packed = binascii.b2a_base64(zlib.compress(first.encode("ascii"), LEVEL) + modules, newline=False)
    lines = [packed[start : start + line] for start in range(0, len(packed), line)]
    return b"".join(part + b"\n" for part in lines) + b".\n"


def piece(name: str) -> tuple[str, str]:
    """Name on the target and source of a further module, for example ``"remote.streams"``."""
    return f"_crl.{name}", _source(name)


class _Packing:
    """Who makes what is the same for all targets; a forked child's is its own, for that thread is not in it."""

    def __init__(self) -> None:
        self._renew()
        os.register_at_fork(after_in_child=self._renew)

    def _renew(self) -> None:
        self.lock = threading.Lock()


_packing = _Packing()


def _packed(modules: tuple[str, ...], *, compiled: bool) -> bytes:
    # One for all: of many first links at once each would take as long as all of them together.
    with _packing.lock:
        return _pack(modules, compiled=compiled)


@functools.cache
def _pack(modules: tuple[str, ...], *, compiled: bool) -> bytes:
    sources = [piece(name) for name in modules]
    if compiled:
        sources.insert(0, ("_crl.boot", _first("remote.boot")))
        codes = [compile(source, f"<{name}>", "exec", dont_inherit=True) for name, source in sources]
        return zlib.compress(marshal.dumps(codes), LEVEL)
    return zlib.compress("\0".join(source for _, source in sources).encode("ascii"), LEVEL)


@functools.cache
def _source(name: str) -> str:
    folder, module = name.split(".")
    text = resources.files(f"crl.link.{folder}").joinpath(f"{module}.py").read_text(encoding="ascii")
    return _without_comments(text).replace("from crl.link.", "from _crl.")


def _without_comments(text: str) -> str:
    """The source without comments and docstrings, line for line, so that tracebacks name the right lines.

    It knows only the style that these modules are written in, for a parser would take longer than all else together:
    a docstring begins its line, another string of several lines does not, and two spaces stand before a comment that
    is behind code.
    """
    lines = text.splitlines()
    docstring = other = False
    for number, line in enumerate(lines):
        bare = line.lstrip()
        if other:
            other = QUOTES not in bare
        elif docstring:
            lines[number] = ""
            docstring = not bare.endswith(QUOTES)
        elif bare.startswith(QUOTES):
            # What has nothing but a docstring needs something.
            lines[number] = line[: -len(bare)] + "pass"
            docstring = bare == QUOTES or not bare.endswith(QUOTES)
        else:
            lines[number] = "" if bare.startswith("#") else line.partition("  # ")[0]
            other = QUOTES in bare
    return "\n".join(lines) + "\n"
