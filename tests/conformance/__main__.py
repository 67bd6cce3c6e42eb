"""Replay files of scenarios: `python -m tests.conformance FILE.jsonl [FILE.jsonl …]`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tests.conformance.replay import BadFile, read, replay
from tests.conformance.traces import text


def main(arguments: list[str] | None = None) -> int:
    """Run the scenarios of some files; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.conformance",
        description="Run scenarios on exeunt and compare their traces with those of a BEAM. "
        "Exits 0 if none diverged, 1 if some did, 2 if a file cannot be used.",
    )
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE.jsonl")
    parser.add_argument("--name", default="", help="only scenarios whose name contains this")
    parser.add_argument("--show", action="store_true", help="print the traces, too")
    options = parser.parse_args(arguments)
    try:
        cases = [case for path in options.files for case in read(path)]
        cases = [case for case in cases if options.name in case.name]
        diverged = 0
        for case in cases:
            outcome = replay(case)
            if options.show:
                print(f"{case.name}:")
                for index, (op, step) in enumerate(
                    zip(case.scenario["ops"], outcome.steps, strict=False)
                ):
                    print(f"  {index} {text(op)}\n    {text(step)}")
            for divergence in outcome.divergences:
                print(divergence)
            if outcome.known is not None:
                print(f"{case.name}: as recorded, but for a known difference: {outcome.known}")
            diverged += bool(outcome.divergences)
    except BadFile as error:
        print(error, file=sys.stderr)
        return 2
    print(f"{len(cases)} scenarios, {diverged} diverged")
    return 1 if diverged else 0


if __name__ == "__main__":
    sys.exit(main())
