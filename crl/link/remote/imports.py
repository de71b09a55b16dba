"""Modules and functions of the controller on the target: an import hook, and a maker of functions from their source.

It has the sources that came along, and asks the controller once for each further one that was offered; for any other
name it says nothing, so that the target's own finders answer. Tracebacks show the controller's files and lines, for
the sources are put where `traceback` looks for them.
"""
# ruff: noqa: ARG002, F401, FBT003 - names in type comments look unused, and arguments that the import system gives;
# locks of Python 2 take no keywords.

import __future__

import io
import os
import re
import sys
import time

from crl.link.remote import world
from crl.link.wire import messages, values
from crl.link.wire.compat import allocate_lock

MYPY = False
if MYPY:
    from typing import Any

PY2 = sys.version_info[0] == 2
VERSION = "%d.%d" % sys.version_info[:2]
# Of Python 3: a lock can be waited for with a limit.
LOCKS_WAIT = hasattr(sys, "setswitchinterval")
# Where packages say that their parts are: nowhere on the target.
ELSEWHERE = "/<controller>"
ANSWER_LIMIT = 60.0
SLICE = 0.5
SHORT_SLICE = 0.001
COOKIE = re.compile(br"^[ \t\f]*#.*?coding[:=][ \t]*[-\w.]+")


class Finder(object):
    """Finder and loader of the modules that the controller sends; those go before the target's own.

    Args:
        program: The remote program.
    """

    def __init__(self, program):
        # type: (Any) -> None
        self._program = program
        # Path, folder, and the source where it is here already.
        self._modules = {}  # type: dict[str, tuple[str | None, str | None, bytes | None]]
        self._data = {}  # type: dict[str, bytes | None]
        self._controller = ""
        self._asking = allocate_lock()
        self._answered = allocate_lock()
        self._answered.acquire()
        self._number = 0
        self._answer = None  # type: Any
        program.handlers[messages.SOURCE] = self._take_answer

    # -- what the controller calls ---------------------------------------------------------------------------------

    def bring(self, batch, name):
        # type: (Any, str) -> Any
        """Take a batch and import one of its modules."""
        self._take(batch)
        __import__(name)
        return sys.modules[name]

    def define(self, batch, steps, data, module, name):
        # type: (Any, Any, dict[str, dict[str, Any]], str, str) -> Any
        """Make a function of its source and of what it uses.

        Args:
            batch: What has to be taken before.
            steps: For each piece of source its module, the text, file, line and the names of `__future__` that it is
                compiled with, as far as they are known here; for an import or another name of something the module,
                the name, and where it comes from.
            data: Values, by module and name.
            module: The function's module.
            name: Its name there.
        """
        self._take(batch)
        spaces = {}  # type: dict[str, dict[str, Any]]
        for step in steps:
            space = spaces.get(step[1])
            if space is None:
                space = spaces[step[1]] = {"__name__": str(step[1]), "__builtins__": __builtins__}
                space.update(data.get(step[1], {}))
            getattr(self, "_" + step[0])(spaces, space, *step[2:])
        return spaces[module][name]

    def _source(self, _spaces, space, text, path, line, futures):
        # type: (Any, dict[str, Any], Any, str, int, tuple[str, ...]) -> None
        """Define what a piece of source says, with its lines where they are in its file."""
        source = text.encode("utf-8")
        lines = ["\n"] * (line - 1) + text.splitlines(True)
        self._show(path, lines, line)
        code = self._compiled(b"\n" * (line - 1) + source, path, futures)
        name = space["__name__"]
        # While a dataclass is made, its module has to be one.
        unknown = name not in sys.modules
        if unknown:
            sys.modules[name] = type(sys)(name)
        try:
            exec(code, space)
        finally:
            if unknown:
                sys.modules.pop(name, None)

    def _import(self, _spaces, space, name, module, attribute):
        # type: (Any, dict[str, Any], str, str, str | None) -> None
        """Import a module, or something of a module, under a name."""
        __import__(module)
        found = sys.modules[module]  # type: Any
        for part in attribute.split(".") if attribute else ():
            found = getattr(found, part)
        space[name] = found

    def _alias(self, spaces, space, name, module, original):
        # type: (Any, dict[str, Any], str, str, str) -> None
        """Another name of what was defined before."""
        space[name] = spaces[module][original]

    def _take(self, batch):
        # type: (Any) -> None
        """Know what came with a batch, and what can be asked for from now on."""
        self._controller, sources, listed, data, forget = batch
        for name, path, folder, source in sources:
            self._modules[str(name)] = (_native(path), _native(folder), source)
        for name, path, folder in listed:
            self._modules.setdefault(str(name), (_native(path), _native(folder), None))
        for package, file in data:
            self._data[_native("%s/%s" % (package, file))] = None
        for name in forget:
            sys.modules.pop(str(name), None)
        if self not in sys.meta_path:
            sys.meta_path.insert(0, self)

    # -- asking the controller -------------------------------------------------------------------------------------

    def _ask(self, wanted):
        # type: (str) -> Any
        """The content of an offered module or data file; under the lock."""
        if os.getpid() != self._program.pid:
            raise ImportError("%s has not been sent yet, and a forked process cannot ask for it" % wanted)
        self._number += 1
        self._answered.acquire(False)
        self._program.send(messages.pack(messages.WANT, self._number, wanted.encode("utf-8")))
        limit = world.now() + ANSWER_LIMIT
        while not self._is_answered():
            if world.now() > limit:
                raise ImportError("the controller has not sent %s within %d s" % (wanted, ANSWER_LIMIT))
        answer, self._answer = self._answer, None
        if not isinstance(answer, (bytes, values.text_type)):
            raise ImportError("the controller does not send %s" % wanted)
        return answer

    def _is_answered(self):
        # type: () -> bool
        """Wait for a moment, so that a cancelled call can be interrupted."""
        if LOCKS_WAIT:
            return self._answered.acquire(True, SLICE)
        if self._answered.acquire(False):
            return True
        time.sleep(SHORT_SLICE)
        return False

    def _take_answer(self, number, body):
        # type: (int, bytes) -> None
        """The controller's answer, in the reading thread."""
        if number == self._number and self._answered.locked():
            self._answer = values.decode(body)
            self._answered.release()

    def _bytes_of(self, name):
        # type: (str) -> bytes
        path, folder, source = self._modules[name]
        if source is None:
            with self._asking:
                path, folder, source = self._modules[name]
                if source is None:
                    source = self._ask(name)
                    self._modules[name] = (path, folder, source)
        return source

    # -- finder ----------------------------------------------------------------------------------------------------

    def find_spec(self, name, path=None, target=None):
        # type: (str, Any, Any) -> Any
        """Of Python 3: the specification of a module of the controller, None for others."""
        if name not in self._modules:
            return None
        from _frozen_importlib import ModuleSpec

        file, folder, _ = self._modules[name]
        loader = self  # type: Any
        spec = ModuleSpec(name, loader, origin=file, is_package=folder is not None)
        if folder is not None:
            spec.submodule_search_locations = self._places(name, folder)
        spec.has_location = file is not None
        return spec

    def _places(self, name, folder):
        # type: (str, str) -> list[str]
        """What `pkgutil.iter_modules` asks for the parts of a package."""
        place = ELSEWHERE + folder
        sys.path_importer_cache[place] = Parts(self, name)
        return [place]

    def parts(self, name):
        # type: (str) -> list[tuple[str, bool]]
        """Names of the modules in a package, and whether they are packages."""
        start = name + "."
        inside = [(part[len(start) :], part) for part in list(self._modules) if part.startswith(start)]
        return sorted((short, self.is_package(part)) for short, part in inside if "." not in short)

    def invalidate_caches(self):
        # type: () -> None
        """Of Python 3: nothing here is found by looking at files."""

    def create_module(self, spec):
        # type: (Any) -> None
        """Of Python 3: a module as usual."""

    def exec_module(self, module):
        # type: (Any) -> None
        """Of Python 3: run a module."""
        self._run(module, module.__name__)

    if PY2:

        def find_module(self, name, path=None):
            # type: (str, Any) -> Any
            """Of Python 2: the loader of a module of the controller, None for others."""
            return self if name in self._modules else None

        def load_module(self, name):
            # type: (str) -> Any
            """Of Python 2: make and run a module."""
            path, folder, _ = self._modules[name]
            module = sys.modules[name] = type(sys)(name)
            module.__loader__ = self  # type: ignore[assignment]
            if path is not None:
                module.__file__ = path
            if folder is not None:
                module.__path__ = self._places(name, folder)
            module.__package__ = name if folder is not None else name.rpartition(".")[0]
            try:
                self._run(module, name)
            except BaseException:
                sys.modules.pop(name, None)
                raise
            return sys.modules[name]

    def _run(self, module, name):
        # type: (Any, str) -> None
        path = self._modules[name][0]
        if path is None:
            return
        source = self._bytes_of(name)
        self._show(path, self.get_source(name).splitlines(True), 1)
        exec(self._compiled(source, path, ()), module.__dict__)

    def _compiled(self, source, path, futures):
        # type: (bytes, str, Any) -> Any
        """The code of a source; where it is too new, the error says for which Python."""
        flags = 0
        for name in futures:
            flags |= getattr(getattr(__future__, name, None), "compiler_flag", 0)
        if PY2 and not any(COOKIE.match(line) for line in source.split(b"\n", 2)[:2]):
            # The controller's files are UTF-8 where they do not say otherwise.
            source = b"\xef\xbb\xbf" + source
        try:
            return compile(source, path, "exec", flags, True)
        except SyntaxError as error:
            failure = error
        where = (failure.lineno, path, VERSION, self._controller)
        text = "%s (line %s of %s, for the target's Python %s; the controller has %s)" % ((failure.msg,) + where)
        raise SyntaxError(text, (path, failure.lineno, failure.offset, failure.text))

    # -- what other code asks of a loader --------------------------------------------------------------------------

    def is_package(self, name):
        # type: (str) -> bool
        """Whether a module is a package."""
        return self._modules[name][1] is not None

    def get_filename(self, name):
        # type: (str) -> str
        """The controller's file."""
        path = self._modules[name][0]
        if path is None:
            raise ImportError("%s is a namespace package" % name)
        return path

    def get_source(self, name):
        # type: (str) -> Any
        """The text of a module."""
        source = self._bytes_of(name)
        if PY2:
            return source
        import tokenize

        encoding, _ = tokenize.detect_encoding(io.BytesIO(source).readline)
        return io.TextIOWrapper(io.BytesIO(source), encoding, newline=None).read()

    def get_code(self, name):
        # type: (str) -> Any
        """The code of a module."""
        return self._compiled(self._bytes_of(name), self._modules[name][0] or "", ())

    def get_data(self, path):
        # type: (str) -> bytes
        """The content of a data file of a package, by its path on the controller."""
        folder, file = os.path.split(path)
        for name, (_, place, _) in self._modules.items():
            if place == folder and "%s/%s" % (name, file) in self._data:
                return self._content("%s/%s" % (name, file))
        raise _no_file("the controller sends no %s with its package" % path)

    def _content(self, key):
        # type: (str) -> bytes
        with self._asking:
            content = self._data[key]
            if content is None:
                content = self._data[key] = self._ask(key)
            return content

    def get_resource_reader(self, name):
        # type: (str) -> Any
        """Of Python 3: what `importlib.resources` reads a package's data files with."""
        return Resources(self, name) if self.is_package(name) else None

    def resource(self, name, file):
        # type: (str, str) -> bytes
        """A data file of a package."""
        key = "%s/%s" % (name, file)
        if key not in self._data:
            raise _no_file("the controller sends no %s with the package %s" % (file, name))
        return self._content(key)

    def resources(self, name):
        # type: (str) -> list[str]
        """Names of the data files of a package."""
        start = name + "/"
        return sorted(key[len(start) :] for key in self._data if key.startswith(start))

    def _show(self, path, lines, first):
        # type: (str, list[Any], int) -> None
        """Have tracebacks show these lines of a file, beside those that they show already."""
        import linecache

        if first > 1:
            known = linecache.cache.get(path)
            before = list(known[2]) if known is not None and len(known) == 4 else []
            before += ["\n"] * (len(lines) - len(before))
            before[first - 1 : len(lines)] = lines[first - 1 :]
            lines = before
        if PY2:
            lines = [line.encode("utf-8") if isinstance(line, values.text_type) else line for line in lines]
        # Without a time, so that nobody compares it with a file of that name here.
        linecache.cache[path] = (sum(map(len, lines)), None, lines, path)


class Parts(object):
    """Lists the modules of one package."""

    def __init__(self, finder, name):
        # type: (Finder, str) -> None
        self._finder = finder
        self._name = name

    def iter_modules(self, prefix=""):
        # type: (str) -> list[tuple[str, bool]]
        """For `pkgutil.iter_modules`."""
        return [(prefix + name, is_package) for name, is_package in self._finder.parts(self._name)]

    def find_spec(self, name, target=None):
        # type: (str, Any) -> None
        """Of Python 3: the finder has been asked before."""

    def find_module(self, name, path=None):
        # type: (str, Any) -> None
        """Of Python 2: the finder has been asked before."""


class Resources(object):
    """Reads the data files of one package, for `importlib.resources`."""

    def __init__(self, finder, name):
        # type: (Finder, str) -> None
        self._finder = finder
        self._name = name

    def open_resource(self, resource):
        # type: (str) -> Any
        """A data file, opened to read bytes."""
        return io.BytesIO(self._finder.resource(self._name, resource))

    def resource_path(self, resource):
        # type: (str) -> Any
        """There is no file of it here."""
        raise _no_file(resource)

    def is_resource(self, name):
        # type: (str) -> bool
        """Whether there is a data file of that name."""
        return name in self._finder.resources(self._name)

    def contents(self):
        # type: () -> Any
        """Names of the data files."""
        return iter(self._finder.resources(self._name))


def _no_file(text):
    # type: (str) -> EnvironmentError
    import errno

    return IOError(errno.ENOENT, text)  # noqa: UP024 - of Python 2 too


def _native(text):
    # type: (Any) -> Any
    """A text as the target's Python names files."""
    return text.encode("utf-8") if PY2 and isinstance(text, values.text_type) else text


FINDER = None  # type: Any


def install(program):
    # type: (Any) -> None
    """Called when this piece arrives."""
    global FINDER
    FINDER = Finder(program)
