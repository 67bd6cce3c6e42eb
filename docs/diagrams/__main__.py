"""Record everything anew, and draw it: `python -m docs.diagrams`; `--kept` only draws anew."""

from __future__ import annotations

import logging
import sys

from docs.diagrams.gallery import kept, record, write


def main() -> None:
    """Write the pictures, and say where."""
    # What is led to its end crashes at times, and that is as it should be.
    logging.getLogger("exeunt").setLevel(logging.CRITICAL + 1)
    for path in write(kept() if "--kept" in sys.argv[1:] else record()):
        print(path.name)


if __name__ == "__main__":
    main()
