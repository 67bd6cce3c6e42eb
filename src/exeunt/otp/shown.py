"""What help(), error messages and the documentation show of a method's second face.

A request is called on the class, with a server in the place of `self`. The function that does it
takes any arguments, so it is told what to show: the name and the signature of the method.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])

# What a method of a server may return besides its reply, of which its callers see nothing.
_NOT_REPLIES = re.compile(r" \| (NoReply|Refuse|Stop)\b")


def show_as(
    face: F,
    method: Callable[..., Any],
    owner: type,
    name: str,
    first: str,
    *,
    is_awaited: bool = False,
) -> F:
    """Have a function shown as a method of `owner`, with `first` in the place of `self`.

    With `is_awaited` it returns something to await, though it is no async function itself.
    """
    face.__doc__ = method.__doc__
    face.__name__ = name
    face.__qualname__ = f"{owner.__qualname__}.{name}"
    face.__module__ = method.__module__
    signature = inspect.signature(method)
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    parameters = [inspect.Parameter(first, kind), *list(signature.parameters.values())[1:]]
    returns = signature.return_annotation
    if isinstance(returns, str):
        returns = _NOT_REPLIES.sub("", returns)
        if is_awaited:
            returns = f"Awaitable[{returns}]"
    face.__annotations__ = {**method.__annotations__, "return": returns}
    face.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=parameters, return_annotation=returns
    )
    return face


__all__ = ["show_as"]
