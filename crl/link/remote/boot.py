"""The first code of the remote program: leaves the shell's session and loads the rest.

It is executed by the start line's interpreter, in a namespace of its own, before any other module is there. It forks;
the child keeps the terminal and becomes the program, the parent turns into something tiny that lives exactly as long
and gives the shell its prompt back: with status 0 after an orderly end, with another when the program was killed.
"""
# ruff: noqa: F401 - names in type comments look unused.

import gc
import os
import sys
import zlib

from crl.link.remote.tiny import wait_as_something_tiny

MYPY = False
if MYPY:
    from typing import Any

PACKAGES = ("_crl", "_crl.wire", "_crl.remote")


def start(names, packed, config):
    # type: (list[str], bytes | list[Any], dict[str, Any]) -> None
    """Become the remote program.

    Args:
        names: Names of the modules to load, in order; the last one has `main`.
        packed: The modules themselves: their sources, compressed, or a list of their code, which this very version of
            Python has made.
        config: What the controller decided; see `program.Program`; ``mark`` stands before the last words of a program
            that was killed.
    """
    # All that is made now stays; to look for garbage in it would cost half a millisecond.
    gc.disable()
    # Our modules come from nowhere but here, and what they import comes from the standard library.
    path = list(sys.path)
    sys.path[:] = [entry for entry in path if entry]
    life_read, life_write = os.pipe()
    pipes = [os.pipe(), os.pipe()]
    child = os.fork()
    if child:
        for _, write_end in [(life_read, life_write)] + pipes:
            os.close(write_end)
        wait_as_something_tiny(child, life_read, [read_end for read_end, _ in pipes], config["mark"])
    os.close(life_read)
    os.setsid()
    _close_on_exec(life_write)
    kept = sys.dont_write_bytecode
    sys.dont_write_bytecode = True
    make_packages()
    codes = packed if isinstance(packed, list) else zlib.decompress(packed).split(b"\0")
    make = run if codes is packed else load
    for name, part in zip(names, codes):  # noqa: B905 - Python 2 knows no strict
        module = make(name, part)
    sys.dont_write_bytecode = kept
    sys.modules["_crl"].__dict__["load"] = load
    module.main(config, path, life_write, pipes)


def _close_on_exec(descriptor):
    # type: (int) -> None
    import fcntl

    flags = fcntl.fcntl(descriptor, fcntl.F_GETFD)
    fcntl.fcntl(descriptor, fcntl.F_SETFD, flags | fcntl.FD_CLOEXEC)


def make_packages():
    # type: () -> None
    """Packages under a name of our own, so that a `crl` installed on the target stays what it is."""
    for name in PACKAGES:
        package = type(sys)(name)
        package.__path__ = []
        _register(name, package)


def load(name, source):
    # type: (str, str | bytes) -> Any
    """Make a module of its source."""
    return run(name, compile(source, "<%s>" % name, "exec", dont_inherit=True))


def run(name, code):
    # type: (str, Any) -> Any
    """Make a module of its code."""
    module = type(sys)(name)
    module.__file__ = "<%s>" % name
    _register(name, module)
    exec(code, module.__dict__)
    return module


def _register(name, module):
    # type: (str, Any) -> None
    sys.modules[name] = module
    parent, _, child = name.rpartition(".")
    if parent:
        setattr(sys.modules[parent], child, module)
