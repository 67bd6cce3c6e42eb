"""The observer: a live picture of a node, its supervision tree above all.

    async with observe(node) as observation:
        print(observation.url)

It is served by the library's own endpoint through its own channels; `python -m exeunt.observer URL`
shows the same in a terminal.
"""

from exeunt.observer.observer import Observation, Observer, observe
from exeunt.observer.rows import Extent

__all__ = ["Extent", "Observation", "Observer", "observe"]
