"""Python on a target: the root of its recursive proxies, and code to run there.

This module stands on `AutoRunnerTerminal`. It promises that a name is one round trip, that modules are imported on the
target when they are first named, and that a function of this end is sent there once for each session.
"""

from __future__ import annotations

import inspect
import os
import threading
import types
import weakref
from collections.abc import Callable, Sequence
from typing import Any

from crl.deadlines import Deadline
from crl.errors import UsageError
from crl.interactivesessions.autorunnerterminal import AutoRunnerTerminal
from crl.interactivesessions.remoteproxies import _RecursiveProxy, importing_proxy, never_remote
from crl.interactivesessions.runnerexceptions import InvalidProxySession
from crl.link.modules import DEFINE, IMPORT
from crl.link.sources import Bundle, Sources
from crl.targets._sentcode import sent_function

__all__ = ["Python"]

# A name of the user namespace, else a builtin, else a module.
BUILTINS = "__import__('builtins' if __import__('sys').version_info[0] > 2 else '__builtin__')"
FIND = (
    "(lambda n: globals()[n] if n in globals() else"
    f" (lambda b: getattr(b, n) if hasattr(b, n) else __import__(n))({BUILTINS}))"
)
NAMES = f"sorted(set(dir({BUILTINS})) | set(globals()) | set(__import__('sys').modules))"


class Python:
    """Python on a target.

    Any attribute is the object of that name there: a name defined with `exec`, a builtin, or a module, which is
    imported when first named. What comes of it is a recursive proxy, or a value of a basic type.

    Example:
        >>> target.python.os.getpid()
        4711
        >>> target.python.eval("sorted({3, 1, 2})")
        [1, 2, 3]

    Args:
        terminal: Where to run.
        ensure: Opens or recovers the terminal until a deadline.
    """

    def __init__(self, terminal: AutoRunnerTerminal, ensure: Callable[[Deadline], object]) -> None:
        self._terminal = terminal
        self._ensure = ensure
        self._sent: weakref.WeakKeyDictionary[Callable[..., Any], _RecursiveProxy] = weakref.WeakKeyDictionary()
        self._sending = threading.Lock()
        self._sources = Sources()

    def __repr__(self) -> str:
        return f"<Python on {self._terminal.host}>"

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or never_remote(name):
            raise AttributeError(f"Python of a target has no {name!r}")
        deadline = self._ready(None)
        try:
            return importing_proxy(self._terminal, FIND, (name,), deadline)
        except ImportError as error:
            raise AttributeError(f"{self._terminal.host} has no name, builtin or module {name!r}: {error}") from error

    def __dir__(self) -> list[str]:
        own = [name for name in object.__dir__(self) if not name.startswith("_")]
        return sorted({*own, *self.eval(NAMES)})

    def call(self, function: str | Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call a function on the target and return its value.

        Args:
            function: An expression for it there, a proxy, or a function or lambda of this end, which is sent with the
                imports, functions, classes and values that it uses. Modules of its package, or beside its module, go
                along when it imports them; others have to be allowed, see `allow`.
            args: Its arguments; proxies stand for their objects.
            kwargs: Likewise.

        Raises:
            crl.errors.UsageError: The function cannot be sent.
            RunnerTerminalUnableToDeserialize: The value cannot cross; `proxy_of_call` gives a proxy for it.
            Exception: What the function raised.
        """
        self._ready(None)
        return self._terminal.run_python_call(self._expression_of(function), *args, **kwargs)

    def proxy_of_call(self, function: str | Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """As `call`, but what it returns stays on the target: a recursive proxy, or a value of a basic type."""
        self._ready(None)
        terminal = self._terminal
        result = terminal.get_proxy_or_basic_from_call(self._expression_of(function), *args, **kwargs)
        return result.as_recursive_proxy() if terminal.isproxy(result) else result

    def send(self, function: Callable[..., Any]) -> Any:
        """A proxy for a function of this end on the target, to be called there or given to functions there.

        A function that is given as an argument without this stays here and is called here.

        Args:
            function: As of `call`.

        Raises:
            crl.errors.UsageError: It cannot be sent.

        Example:
            >>> target.python.sorted(names, key=target.python.send(length_of_file))
        """
        self._ready(None)
        return self._sent_proxy(function)

    def eval(self, source: str, timeout: float | None = None) -> Any:
        """The value of an expression.

        Args:
            source: The expression.
            timeout: Seconds; None means the terminal's default, 3600.

        Raises:
            SyntaxError: It is not an expression.
            Exception: What it raised.
        """
        self._ready(timeout)
        return self._terminal.run_python(f"({source}\n)", timeout)

    def exec(self, source: str, timeout: float | None = None) -> None:
        """Run statements; the names they define are attributes here afterwards.

        Args:
            source: The statements.
            timeout: As in `eval`.
        """
        self._ready(timeout)
        self._terminal.run_python(f"{source}\npass", timeout)

    def proxy(self, expression: str) -> _RecursiveProxy:
        """A recursive proxy for an expression on the target, evaluated anew with each use."""
        self._ready(None)
        return self._terminal.get_recursive_proxy(expression)

    def import_local(self, module: str | os.PathLike[str] | types.ModuleType, *, allow: Sequence[str] = ()) -> Any:
        """Import a module of this end on the target and return a proxy for it.

        Code on the target can import it by its name afterwards. Its package goes along as it is needed; with a module
        outside a package, the modules beside it that it imports. It is taken from here even where the target has one of
        that name, but for those of the standard library. Again it is imported anew only when files have changed.

        Args:
            module: The module, its dotted name, or the path of its file or of a package's directory; it is not
                imported here.
            allow: Names of further modules and packages that the target may take from here, as in `allow`.

        Raises:
            crl.errors.UsageError: It has no source, or is of the standard library.
            SyntaxError: It is too new for the target's Python.
            Exception: What running it raised.
        """
        self.allow(*allow)
        with self._sending:
            name = self._sources.add(module)
            bundle = self._sources.bundle(name)
        self._ready(None)
        return self._send(bundle, IMPORT, name)

    def allow(self, *names: str) -> None:
        """Let the target take modules and packages of this end when what is sent imports them, installed ones too.

        Args:
            names: Dotted names; a package with all its modules and data files.

        Raises:
            crl.errors.UsageError: There is none of that name, or it has no source.
        """
        with self._sending:
            self._sources.allow(*names)

    def _send(self, bundle: Bundle, function: str, *args: object) -> _RecursiveProxy:
        modules = self._terminal.link.modules
        batch = modules.batch(bundle)
        try:
            made = self._terminal.get_proxy_object_from_call(function, batch, *args)
        except ImportError as error:
            if bundle.left_out:
                names = ", ".join(sorted(bundle.left_out))
                error.add_note(f"Not taken from this end, for it is not allowed: {names}; see target.python.allow")
            raise
        modules.sent(bundle, batch)
        proxy: _RecursiveProxy = made.as_recursive_proxy()
        return proxy

    def _ready(self, timeout: float | None) -> Deadline:
        deadline = Deadline.after(self._terminal.default_timeout if timeout is None or timeout < 0 else timeout)
        self._ensure(deadline)
        return deadline

    def _expression_of(self, function: str | Callable[..., Any]) -> str:
        if isinstance(function, str):
            return function
        if isinstance(function, _RecursiveProxy):
            return str(function.get_proxy_handle())
        return str(self._sent_proxy(function).get_proxy_handle())

    def _sent_proxy(self, function: Callable[..., Any]) -> _RecursiveProxy:
        if not isinstance(inspect.unwrap(function), types.FunctionType):
            raise UsageError(
                f"{function!r} cannot be sent", host=self._terminal.host, advice="give a function"
            )
        with self._sending:
            proxy = self._sent.get(function)
            if proxy is None or not self._is_current(proxy):
                sent = sent_function(function, self._sources, bare=self._terminal.link.facts.python < (3, 7))
                bundle = self._sources.bundle(*sent.modules) if sent.modules else Bundle()
                proxy = self._send(bundle, DEFINE, sent.steps, sent.data, sent.module, sent.name)
                self._sent[function] = proxy
        return proxy

    def _is_current(self, proxy: _RecursiveProxy) -> bool:
        try:
            proxy.remote_proxy_verify()
        except InvalidProxySession:
            return False
        return True
