"""What a callback of a channel returned by mistake, and what was probably meant.

`Ok` and `Reply` exist twice: in `exeunt` they are the outcome of a task and a server's answer to a
call, in `exeunt.channels` they answer a client.
"""

from __future__ import annotations

import inspect
from typing import Final

from exeunt.otp.pending import Ok as TaskOk
from exeunt.otp.results import BadReturnValue, NoReply, Refuse
from exeunt.otp.results import Reply as CallReply

__all__ = ["bad_return", "meant", "without_join"]

_MEANT: Final[dict[type, str]] = {
    TaskOk: "that is exeunt.Ok, the outcome of a task: the Ok of channels is "
    "`from exeunt.channels import Ok`",
    CallReply: "that is exeunt.Reply, the answer of a server to a call: the Reply of channels is "
    "`from exeunt.channels import Reply`",
    NoReply: "that is for handle_call: not to answer a client, return None",
    Refuse: "that is for handle_call: to refuse what a client asks, return Error(…)",
}


def meant(value: object) -> str:
    """Say what a value is that was taken for an answer, with a colon ahead; or say nothing."""
    said = _MEANT.get(type(value))
    if said is None and inspect.iscoroutine(value):
        said = "is an `await` missing?"
    if said is None and inspect.isfunction(value) and value.__name__ in ("Ok", "Error"):
        said = f"call it, {value.__name__}()"
    return "" if said is None else f"; {said}"


def bad_return(callback: str, value: object, shown: object, expected: str) -> BadReturnValue:
    """Return what is raised because a callback has returned `value`, which is `shown`."""
    return BadReturnValue(callback, shown, expected + meant(value))


def without_join(kind: type) -> str:
    """Return what is said of a class of channels that has no `join`."""
    return f"{kind.__qualname__} has no join: write `async def join(self, topic, params)`"
