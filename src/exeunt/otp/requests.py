"""Requests: the methods of a server that others may ask for.

`@on_call` and `@on_cast` give a method two faces. Called on the class with a server it is the
request, with the arguments and the result of the method; called on `self` it is the plain method.
So a server needs no functions beside it that only send its messages, and the types of a request
are those of what handles it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar, overload

from exeunt.kernel.names import Destination
from exeunt.kernel.primitives import call
from exeunt.kernel.process import current_process
from exeunt.otp.callbacks import refuse_plain
from exeunt.otp.results import CastResult, NoReply, Refuse, Reply, Stop
from exeunt.otp.server_loop import Cast, MethodRequest
from exeunt.otp.shown import show_as

P = ParamSpec("P")
R = TypeVar("R")


class on_call(Generic[P, R]):
    """Make a method a request that is answered.

    `Class.method(server, …)` sends the request and waits for the reply; `self.method(…)` is the
    method itself. The method may return `NoReply()`, `Refuse(error)`, `Stop(…)` or `Reply(…)`
    instead of its reply; annotate that as `-> int | NoReply`, and callers still see an int.
    """

    # Two shapes, since a checker cannot see by itself that a Reply[bytes] is no reply of its own.
    @overload
    def __init__(
        self,
        method: Callable[
            Concatenate[Any, P], Coroutine[Any, Any, Reply[R] | NoReply | Refuse | Stop]
        ],
    ) -> None: ...
    @overload
    def __init__(
        self,
        method: Callable[
            Concatenate[Any, P], Coroutine[Any, Any, R | Reply[R] | NoReply | Refuse | Stop]
        ],
    ) -> None: ...
    def __init__(self, method: Callable[..., Any] | None = None) -> None:
        if method is None:
            raise TypeError("@on_call is written without ()")
        refuse_plain(method, f"an @on_call method, {method.__qualname__},")
        self._method = method
        self.__doc__ = method.__doc__
        self.__wrapped__ = method
        # What is called on each class, made once.
        self._faces: dict[type, Callable[..., Any]] = {}

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    @overload
    def __get__(
        self, instance: None, owner: type[Any]
    ) -> Callable[Concatenate[Destination, P], Coroutine[Any, Any, R]]: ...
    @overload
    def __get__(
        self, instance: object, owner: type[Any]
    ) -> Callable[P, Coroutine[Any, Any, R]]: ...
    def __get__(self, instance: Any, owner: Any) -> Any:
        if instance is not None:
            return self._method.__get__(instance, owner)
        return self._faces.get(owner) or self._face_for(owner)

    def _face_for(self, owner: type) -> Callable[..., Any]:
        name, shown = self._name, f"{owner.__qualname__}.{self._name}"

        def request(server: Destination, *args: Any, **kwargs: Any) -> Coroutine[Any, Any, Any]:
            try:
                asking = call(server, MethodRequest(owner, name, args, kwargs))
            except TypeError as error:
                raise _without_server(owner, name, error) from None
            # Python says "coroutine 'Counter.add' was never awaited" to who forgets it.
            asking.__qualname__ = shown  # type: ignore[attr-defined]
            return asking

        self._faces[owner] = show_as(request, self._method, owner, name, "server", is_awaited=True)
        return request


class on_cast(Generic[P]):
    """Make a method a request that is not answered.

    `Class.method(server, …)` sends the request, and returns at once, whether the server lives or
    not; `self.method(…)` is the method itself.
    """

    def __init__(
        self, method: Callable[Concatenate[Any, P], Coroutine[Any, Any, CastResult]]
    ) -> None:
        refuse_plain(method, f"an @on_cast method, {method.__qualname__},")
        self._method = method
        self._signature = inspect.signature(method)
        self.__doc__ = method.__doc__
        self.__wrapped__ = method
        self._faces: dict[type, Callable[..., None]] = {}

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    @overload
    def __get__(
        self, instance: None, owner: type[Any]
    ) -> Callable[Concatenate[Destination, P], None]: ...
    @overload
    def __get__(
        self, instance: object, owner: type[Any]
    ) -> Callable[P, Coroutine[Any, Any, CastResult]]: ...
    def __get__(self, instance: Any, owner: Any) -> Any:
        if instance is not None:
            return self._method.__get__(instance, owner)
        return self._faces.get(owner) or self._face_for(owner)

    def _face_for(self, owner: type) -> Callable[..., None]:
        name, signature = self._name, self._signature

        def request(server: Destination, *args: Any, **kwargs: Any) -> None:
            # Nobody would hear of arguments that do not fit when the request is taken.
            signature.bind(None, *args, **kwargs)
            try:
                cast_to(server, MethodRequest(owner, name, args, kwargs))
            except TypeError as error:
                raise _without_server(owner, name, error) from None

        self._faces[owner] = show_as(request, self._method, owner, name, "server")
        return request


def cast_to(server: Destination, request: object) -> None:
    """Send a request for `handle_cast`. Never fails, not even for a name that nobody has."""
    process = current_process().node.find(server)
    if process is not None:
        process.deliver(Cast(request))


def _without_server(owner: type, name: str, error: TypeError) -> TypeError:
    if str(error).endswith("?"):
        return error  # it says already what was probably meant
    return TypeError(
        f"{error}. {owner.__qualname__}.{name}(server, …) is a request: first comes who is asked; "
        f"in the server itself it is `self.{name}(…)`"
    )


__all__ = ["cast_to", "on_call", "on_cast"]
