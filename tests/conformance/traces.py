"""How traces are written: the order of messages in a mailbox, and values as text.

Plain functions, shared by the executors and the model.
"""

from __future__ import annotations

import json
import math
from typing import Any, TypeAlias

Json: TypeAlias = Any
"""What the json module reads."""


def canonical(mailbox: list[tuple[int, str, Json]]) -> list[Json]:
    """Return messages, each given with its step and sender, in the order that a trace has.

    Those of one step stand in order of sender; what one death sends has no order, so neighbouring
    `EXIT` and `DOWN` messages of one sender stand in order of their text.
    """
    result: list[Json] = []
    run: list[Json] = []
    at: tuple[float, str, bool] = (-math.inf, "", False)
    for step, sender, message in sorted(mailbox, key=lambda entry: entry[:2]):
        here = (step, sender, message[0] in ("EXIT", "DOWN"))
        if here != at:
            result += sorted(run, key=text) if at[2] else run
            run, at = [], here
        run.append(message)
    return result + (sorted(run, key=text) if at[2] else run)


def text(value: Json) -> str:
    """Return the JSON text of a value, without spaces and with sorted keys."""
    return json.dumps(value, separators=(",", ":"), sort_keys=True, ensure_ascii=False)
