"""The one place that touches private names of trio, each checked when this module is imported.

Trio runs the tasks of one turn in a random order, so that nobody comes to rely on any. To repeat a
run exactly, that order has to come from a seed; trio has a switch for this, made for its own tests
under hypothesis, but no public name for it.
"""

from __future__ import annotations

from importlib import import_module
from random import Random
from typing import Final

_SWITCH: Final = "_ALLOW_DETERMINISTIC_SCHEDULING"
_RANDOM: Final = "_r"

_run = import_module("trio._core._run")

CAN_REPEAT: Final = isinstance(getattr(_run, _SWITCH, None), bool) and isinstance(
    getattr(_run, _RANDOM, None), Random
)
"""Whether this version of trio has what `repeat_from` needs."""


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
