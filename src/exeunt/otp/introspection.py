"""Look into a running server, hold it, change it: the functions of OTP's `sys`.

Each is a request that the server serves in turn with its messages, without any of its callbacks.
All raise `CallFailed` as calls do. They are for debugging and for tests, not for programs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from exeunt.kernel.names import Destination
from exeunt.kernel.primitives import call
from exeunt.otp.server_loop import GetState, ReplaceState, Resume, Suspend


async def get_state(server: Destination) -> dict[str, Any]:
    """Return the attributes of a server, by name; a copy, but not a deep one."""
    return cast("dict[str, Any]", await call(server, GetState()))


async def replace_state(
    server: Destination, change: Callable[[dict[str, Any]], dict[str, Any]]
) -> dict[str, Any]:
    """Put what `change` makes of a server's attributes in their place; return them.

    `change` runs in the server. If it raises, the state stays, and the exception is raised here.
    """
    return cast("dict[str, Any]", await call(server, ReplaceState(change)))


async def suspend(server: Destination) -> None:
    """Have a server handle no messages: they wait in order until `resume`.

    It still serves the functions of this module and `stop`, and heeds the exit of its parent.
    """
    await call(server, Suspend())


async def resume(server: Destination) -> None:
    """Have a suspended server go on."""
    await call(server, Resume())
