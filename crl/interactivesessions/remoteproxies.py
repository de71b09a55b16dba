"""Objects of the target as objects here: `_RemoteProxy` with values as answers, `_RecursiveProxy` with proxies.

This module knows terminals only through the state of a proxy. It promises that each attribute, call, item and operator
is one round trip, that a `repr` never raises nor waits for a dead link, that proxies of a lost session say so, and that
objects nobody uses any more are released without a round trip of their own.
"""

from __future__ import annotations

import inspect
import logging
from typing import TYPE_CHECKING, Any, NoReturn, Self

from crl.deadlines import Deadline
from crl.interactivesessions._arguments import HasRemoteName, RemoteName
from crl.interactivesessions._optin import GET_OR_CALLABLE
from crl.interactivesessions._proxystate import ProxyState
from crl.interactivesessions._proxytable import OperatorTable, never_remote
from crl.interactivesessions.runnerexceptions import InvalidProxySession, RemoteTimeout, RunnerException

if TYPE_CHECKING:
    from crl.interactivesessions.runnerterminal import RunnerTerminal

__all__ = ["_RecursiveProxy", "_RemoteProxy", "importing_proxy", "name_of", "never_remote"]

VAR_POSITIONAL, VAR_KEYWORD = inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD
REPR_TIMEOUT = 2.0
REPR_LENGTH = 1000
ANYTHING = inspect.Signature(
    [inspect.Parameter(name, kind) for name, kind in (("args", VAR_POSITIONAL), ("kwargs", VAR_KEYWORD))]
)
BOUNDED_REPR = "(lambda o, n: repr(o)[:n])"
# An attribute; of a package also a submodule that nobody has imported yet.
GET_OR_IMPORT = (
    "(lambda o, n: getattr(o, n) if hasattr(o, n) or not hasattr(o, '__path__')"
    " else (__import__(o.__name__ + '.' + n), getattr(o, n))[1])"
)

logger = logging.getLogger(__name__)


class _Doc:
    """The docstring: of the class on the class, of the remote object on a proxy."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __get__(self, proxy: _RemoteProxy | None, owner: type | None = None) -> Any:
        return self._text if proxy is None else proxy.__getattr__("__doc__")


class _RemoteMethod(HasRemoteName):
    """A callable attribute of a `_RemoteProxy`; calling it is one round trip. It has the signature of the spec's."""

    __slots__ = ("__name__", "_proxy")

    def __init__(self, proxy: _RemoteProxy, name: str) -> None:
        self._proxy = proxy
        self.__name__ = name

    @property
    def __signature__(self) -> inspect.Signature:
        """For `inspect.signature`: that of the spec's method, without ``self``."""
        spec = state_of(self._proxy).spec
        try:
            signature = inspect.signature(getattr(spec, self.__name__))
        except (AttributeError, TypeError, ValueError):
            return ANYTHING
        if isinstance(inspect.getattr_static(spec, self.__name__), staticmethod | classmethod):
            return signature
        return signature.replace(parameters=list(signature.parameters.values())[1:])

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        state = state_of(self._proxy)
        return state.value_of_call("{}." + self.__name__, args, kwargs, later=True)

    def __repr__(self) -> str:
        return f"<method {self.__name__} of {self._proxy!r}>"

    def remote_name(self) -> RemoteName:
        """The method's name on the target; it keeps that of its object alive."""
        name = state_of(self._proxy).usable_name()
        return RemoteName(f"{name.text}.{self.__name__}", parent=name)


class _RemoteProxy(HasRemoteName):
    __slots__ = ("__weakref__", "_crl")
    __doc__ = _Doc(
        """An object of the target: attributes and results come as values.

    Args:
        session: The `RunnerTerminal` it is reached by.
        remote_name: Its name there, or an expression; None makes an empty proxy.
        local_spec: A class here whose methods it has; None finds out by asking.
        parent: The proxy that it is a part of, whose timeout and mode it takes.
        is_remote_owned: Whether it is deleted there when the last proxy for it is gone here.
    """
    )

    _crl: ProxyState

    def __init__(
        self,
        session: RunnerTerminal,
        remote_name: str | None,
        local_spec: type | None = None,
        parent: _RemoteProxy | None = None,
        is_remote_owned: bool | None = True,
    ) -> None:
        name = None
        if remote_name is not None:
            unused = session.unused if is_remote_owned else None
            name = RemoteName(remote_name, unused, None if parent is None else state_of(parent).name)
        session_id = None if remote_name is None else session.session_id
        state = ProxyState(session, name, session_id) if parent is None else _child_of(parent, name, session_id)
        object.__setattr__(self, "_crl", state)
        if local_spec is not None:
            self.set_proxy_spec(local_spec)

    @classmethod
    def of_state(cls, state: ProxyState) -> Self:
        """A proxy with that state; for crl's own use."""
        proxy = cls.__new__(cls)
        object.__setattr__(proxy, "_crl", state)
        return proxy

    @classmethod
    def of_name(cls, session: RunnerTerminal, name: RemoteName, session_id: str | None) -> Self:
        """A proxy for a name that is owned already; for crl's own use."""
        return cls.of_state(ProxyState(session, name, session_id))

    # The proxy itself

    def as_local_value(self) -> Any:
        """A copy of the object here.

        Raises:
            RunnerTerminalUnableToDeserialize: It cannot cross.
            InvalidProxySession: Its session is no more.
            RemoteTimeout: It has not come in time.
        """
        return self._crl.value_of_call("(lambda o: o)", (self,), {}, later=True)

    def as_recursive_proxy(self) -> _RecursiveProxy:
        """A `_RecursiveProxy` for the same object."""
        state = self._crl
        return _RecursiveProxy.of_state(_child_of(self, state.name, state.session_id))

    def get_proxy_handle(self) -> str | None:
        """The object's name on the target, None for an empty proxy."""
        name = self._crl.name
        return None if name is None else name.text

    def set_proxy_spec(self, local_spec: type) -> None:
        """Say of which class here the object has the methods.

        Raises:
            RuntimeError: It was said before.
        """
        if self._crl.spec is not None:
            raise RuntimeError(f"the spec of the proxy is {self._crl.spec!r} already")
        self._crl.set_spec(local_spec)

    def set_from_remote_proxy(self, proxy: _RemoteProxy) -> None:
        """Take over the object of another proxy, which becomes empty. Spec, timeout and mode of this one stay."""
        if proxy is not self:
            self._crl.move_from(state_of(proxy))

    def get_remote_proxy_response(self, remotetimeout: RemoteTimeout, timeout: float | None = None) -> Any:
        """Redeem a call that was not answered in time, or was made in asynchronous mode.

        Args:
            remotetimeout: The handle.
            timeout: Seconds; None waits until the answer comes or the session is lost.

        Raises:
            RemoteTimeout: It has still not come.
            InvalidProxySession: The session is no more.
            Exception: What the code raised.
        """
        return self._crl.terminal.get_response(remotetimeout, timeout)

    def set_remote_proxy_timeout(self, timeout: float | None) -> None:
        """Set the seconds for each use; negative raises `RemoteTimeout` always, None means the default."""
        self._crl.timeout = timeout

    @classmethod
    def set_remote_proxy_default_timeout(cls, timeout: float) -> None:
        """Set the seconds for all proxies without a timeout of their own."""
        ProxyState.default_timeout = timeout

    @classmethod
    def reset_remote_proxy_default_timeout(cls) -> None:
        """Go back to the terminals' own default, 3600 seconds."""
        ProxyState.default_timeout = None

    def remote_proxy_use_synchronous_response(self) -> None:
        """Wait for each answer (the way a proxy starts)."""
        self._crl.asynchronous = False

    def remote_proxy_use_asynchronous_response(self) -> None:
        """Return a `RemoteTimeout` from calls, items, arithmetic and plain attributes, to be redeemed later.

        Methods themselves and what Python wants at once (``len``, ``in``, ``str``, iteration, comparisons) are waited
        for as before.
        """
        self._crl.asynchronous = True

    def remote_proxy_autoprepare(self) -> None:
        """Open or recover the session when that is needed."""
        self._crl.terminal.initialize_if_needed()

    def remote_proxy_verify(self) -> None:
        """See that the proxy can be used now, without asking the target.

        Raises:
            InvalidProxySession: It cannot.
        """
        self._crl.usable_name()

    def get_remote_proxy_dict(self) -> dict[str, Any]:
        """The attributes of the proxy that never go to the target, by name."""
        return dict(self._crl.local)

    def set_remote_proxy_dict_name(self, name: str, value: Any) -> None:
        """Give the proxy an attribute that never goes to the target."""
        self._crl.local[name] = value

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        """The spec where there is one, so that `isinstance` takes the proxy for one of its objects."""
        return self._crl.spec or type(self)

    # The object

    def __getattr__(self, name: str) -> Any:
        state = object.__getattribute__(self, "_crl")
        if name in state.local:
            return state.local[name]
        if never_remote(name):
            raise AttributeError(f"{type(self).__name__} does not ask the target for {name!r}")
        return self._remote_attribute(state, name)

    def _remote_attribute(self, state: ProxyState, name: str) -> Any:
        if name in state.methods:
            state.begin()
            return _RemoteMethod(self, name)
        deadline, handle = state.begin()
        terminal = state.terminal
        submit, needs = terminal.invocation(GET_OR_CALLABLE, (self, name), {})

        def finish(answer: Any) -> Any:
            is_callable, value = terminal.value_of(answer)
            return _RemoteMethod(self, name) if is_callable else value

        got = state.ask_now(deadline, submit, finish, needs=(handle, needs))
        return got if type(got) is _RemoteMethod else state.plain(got)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in self._crl.local:
            self._crl.local[name] = value
        else:
            self._crl.step("setattr", (name, value))

    def __delattr__(self, name: str) -> None:
        if name in self._crl.local:
            del self._crl.local[name]
        else:
            self._crl.step("delattr", (name,))

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._crl.value_of_call("{}", args, kwargs, later=True)

    def __getitem__(self, key: Any) -> Any:
        return self._crl.step("getitem", (key,), later=True)

    def __setitem__(self, key: Any, value: Any) -> None:
        self._crl.step("setitem", (key, value))

    def __delitem__(self, key: Any) -> None:
        self._crl.step("delitem", (key,))

    def __dir__(self) -> list[str]:
        own = [name for name in dir(type(self)) if not name.startswith("_")]
        try:
            remote = self._crl.step("dir")
        except Exception as error:  # noqa: BLE001 - completion at a prompt must not fail, whatever the target's dir() does
            logger.debug("no names of %s: %s", self.get_proxy_handle(), error)
            remote = []
        return sorted({*own, *self._crl.local, *(name for name in remote if isinstance(name, str))})

    def __repr__(self) -> str:
        state = self._crl
        head = f"{type(self).__name__} of {'nothing' if state.name is None else state.name.text}"
        place = f"{head} on {state.terminal.host}"
        try:
            return f"<{place}: {_remote_repr(state, self)}>"
        except InvalidProxySession:
            return f"<{place} (no session)>"
        except Exception as error:  # noqa: BLE001 - a repr never raises, and the target's own repr() may raise anything
            return f"<{place} (no repr: {type(error).__name__})>"

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        raise TypeError(f"a {type(self).__name__} cannot be pickled or copied deeply; use as_local_value()")

    def __copy__(self) -> Self:
        state = self._crl
        return type(self).of_state(_child_of(self, state.name, state.session_id))


class _RecursiveProxy(OperatorTable, _RemoteProxy):
    __slots__ = ()
    __doc__ = _Doc(
        """An object of the target: what comes out of it is a recursive proxy again, except for handled types.

    Args:
        session: The `RunnerTerminal` it is reached by.
        remote_name: Its name there, or an expression; None makes an empty proxy.
        parent: The proxy that it is a part of, whose timeout and mode it takes.
        is_remote_owned: Whether it is deleted there when the last proxy for it is gone here; None means no.
    """
    )

    def __init__(
        self,
        session: RunnerTerminal,
        remote_name: str | None,
        parent: _RemoteProxy | None = None,
        is_remote_owned: bool | None = None,
    ) -> None:
        super().__init__(session, remote_name, None, parent, is_remote_owned)

    def _remote_attribute(self, state: ProxyState, name: str) -> Any:
        deadline, handle = state.begin()
        keep, finish, new = state.keeper(type(self))
        if state.lazy_import:
            args, _, _ = state.terminal.arguments((self, name), {})
            submit = lambda link: link.submit_invoke(GET_OR_IMPORT, args, {}, keep=keep)  # noqa: E731
        else:
            submit = lambda link: link.submit_step(handle.text, "getattr", (name,), keep=keep)  # noqa: E731
        try:
            got = state.ask_now(deadline, submit, finish, needs=(handle, new))
        except ImportError as error:
            raise AttributeError(f"the target has no {name!r} in {handle.text}: {error}") from error
        return got if isinstance(got, _RecursiveProxy) else state.plain(got)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._crl.kept_call("{}", args, kwargs, type(self))

    __hash__ = OperatorTable.__hash__


def state_of(proxy: _RemoteProxy) -> ProxyState:
    """What a proxy knows."""
    state: ProxyState = object.__getattribute__(proxy, "_crl")
    return state


def name_of(proxy: Any, session_id: str | None) -> RemoteName:
    """The name behind a proxy or method that is an argument of a call in that session.

    Raises:
        InvalidProxySession: It belongs to another session.
    """
    if isinstance(proxy, _RemoteMethod):
        name_of(proxy._proxy, session_id)  # noqa: SLF001 - both are of this module
        return proxy.remote_name()
    state = state_of(proxy)
    if state.session_id not in (None, session_id):
        raise InvalidProxySession(
            f"a proxy among the arguments is of another session ({state.name and state.name.text})",
            host=state.terminal.host,
            doing="calling the target",
            advice="make it anew in the session it is used in, or give its as_local_value()",
        )
    return state.usable_name()


def importing_proxy(terminal: RunnerTerminal, function: str, args: tuple[Any, ...], deadline: Deadline) -> Any:
    """What a function of the target returns: a value of a handled type, or a proxy that imports submodules when named.

    Args:
        terminal: An open terminal.
        function: An expression for the function.
        args: Its arguments.
        deadline: How long to wait.
    """
    state = ProxyState(terminal, None, terminal.session_id)
    state.lazy_import = True
    keep, finish, new = state.keeper(_RecursiveProxy)
    submit = lambda link: link.submit_invoke(function, args, {}, keep=keep)  # noqa: E731
    return state.ask_now(deadline, submit, finish, needs=(new,))


def _child_of(parent: _RemoteProxy, name: RemoteName | None, session_id: str | None) -> ProxyState:
    return state_of(parent).child(name, session_id)


def _remote_repr(state: ProxyState, proxy: _RemoteProxy) -> str:
    """The remote repr, bounded in length and time; nothing is opened or recovered for it."""
    name = state.usable_name()
    terminal = state.terminal
    if not terminal.link.alive:
        raise RunnerException("the link is down")
    args, _, _ = terminal.arguments((proxy, REPR_LENGTH + 1), {})
    pending = terminal.start(lambda link: link.submit_invoke(BOUNDED_REPR, args, {}), needs=name)
    text = str(terminal.answer(pending, REPR_TIMEOUT))
    return text if len(text) <= REPR_LENGTH else text[:REPR_LENGTH] + "…"
