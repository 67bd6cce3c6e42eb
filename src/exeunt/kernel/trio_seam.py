"""The one place that touches private names of trio, each checked when this module is imported.

Trio runs the tasks of one turn in a random order, so that nobody comes to rely on any. To repeat a
run exactly, that order has to come from a seed; trio has a switch for this, made for its own tests
under hypothesis, but no public name for it.

A task of trio that ends within a nursery which it has entered and not left takes the nursery around
it down: here that would be the node, with all of its processes. There is no public way to leave a
nursery whose context manager is lost, as that of one who was killed between `__aenter__` and
`__aexit__` is.
"""

from __future__ import annotations

from importlib import import_module
from random import Random
from typing import Any, Final

import trio

_SWITCH: Final = "_ALLOW_DETERMINISTIC_SCHEDULING"
_RANDOM: Final = "_r"

_run = import_module("trio._core._run")

CAN_REPEAT: Final = isinstance(getattr(_run, _SWITCH, None), bool) and isinstance(
    getattr(_run, _RANDOM, None), Random
)
"""Whether this version of trio has what `repeat_from` needs."""


CAN_LEAVE_NURSERIES: Final = all(
    callable(getattr(kind, name, None))
    for kind, name in ((trio.Nursery, "_nested_child_finished"), (trio.CancelScope, "_close"))
)
"""Whether this version of trio has what `leave_nurseries` needs."""


async def leave_nurseries(error: BaseException | None) -> None:
    """Cancel what runs in the nurseries that this task has not left, wait for it, and leave them.

    The innermost comes first. `error` is what the task is about to end with; what comes of it and
    of the failures in the nurseries is raised, as it would be by `async with`.
    """
    task = trio.lowlevel.current_task()
    while CAN_LEAVE_NURSERIES and task.child_nurseries:
        nursery: Any = task.child_nurseries[-1]
        nursery.cancel_scope.cancel()
        error = nursery.cancel_scope._close(await nursery._nested_child_finished(error))
    if error is not None:
        raise error


def repeat_from(seed: int) -> None:
    """Have trio's order of tasks, from now on and in the whole program, come from a seed.

    Raises `RuntimeError` if this version of trio cannot do that.
    """
    if not CAN_REPEAT:
        raise RuntimeError(
            "this version of trio cannot order its tasks by a seed: run without one, or use a "
            "version of trio that exeunt is tested with"
        )
    setattr(_run, _SWITCH, True)
    getattr(_run, _RANDOM).seed(seed)
