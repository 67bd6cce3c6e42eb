"""The rooms of the library, recorded: which imports from which, and from which libraries."""

from __future__ import annotations

import sys

from docs.diagrams.recorder import Data
from tests.architecture.source_rules import PACKAGE, imports_of
from tests.architecture.test_imports import modules


def record() -> Data:
    """Read the imports of every module; return those of each room."""
    rooms: dict[str, set[str]] = {}
    libraries: dict[str, set[str]] = {}
    every = list(modules())
    places = {one.room for one in every if one.name.count(".") >= 2}
    for module in every:
        if module.room not in places:
            continue
        for one in imports_of(module):
            top, _, rest = one.target.partition(".")
            if top == PACKAGE:
                room = rest.partition(".")[0]
                if room in places and room != module.room:
                    rooms.setdefault(module.room, set()).add(room)
            elif top not in sys.stdlib_module_names and not one.is_typing_only:
                libraries.setdefault(module.room, set()).add(top)
    return {
        room: {
            "imports": sorted(rooms.get(room, ())),
            "libraries": sorted(libraries.get(room, ())),
        }
        for room in sorted(places)
    }
