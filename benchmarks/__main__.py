"""The command: run benchmarks and show their lines, as a table or as JSON."""

from __future__ import annotations

import argparse
import json
import logging
import platform
import sys
import traceback

import trio

from benchmarks import (
    calls,
    channels,
    growth,
    memory,
    messages,
    observed,
    processes,
    supervision,
)
from benchmarks.harness import Benchmark, Line, Settings
from benchmarks.page import PAGE, page, shown
from benchmarks.rivals import HOW_TO_INSTALL, NEEDS, is_missing

BENCHMARKS: list[Benchmark] = [
    *calls.BENCHMARKS,
    *messages.BENCHMARKS,
    *processes.BENCHMARKS,
    *memory.BENCHMARKS,
    *supervision.BENCHMARKS,
    *growth.BENCHMARKS,
    *observed.BENCHMARKS,
    *channels.BENCHMARKS,
]


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    listing = "\n".join(f"  {one.name:<10} {one.summary}" for one in BENCHMARKS)
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure exeunt against bare trio doing the same work, in one run, by turns.",
        epilog=f"benchmarks:\n{listing}\n\n"
        "A ratio is exeunt's figure over raw's. Time is processor time. The exit status is 0\n"
        "whether floors hold or not, and 1 if a benchmark itself fails.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--json", action="store_true", help="print one object a line")
    parser.add_argument("--page", action="store_true", help=f"write {PAGE.name} anew as well")
    parser.add_argument("--quick", action="store_true", help="measure for a shorter time")
    parser.add_argument(
        "--only",
        nargs="+",
        metavar="NAME",
        help="run the one of that name, or if there is none, those whose name begins with it",
    )
    return parser.parse_args(arguments)


def chosen(only: list[str] | None) -> list[Benchmark]:
    """Return the benchmarks that `only` names, in their usual order; exit if one names none.

    A name that is one's very own selects that one; every other one, all that begin with it.
    """
    if only is None:
        return BENCHMARKS
    names = {one.name for one in BENCHMARKS}
    selected: set[str] = set()
    for asked in only:
        found = {asked} if asked in names else {name for name in names if name.startswith(asked)}
        if not found:
            known = ", ".join(one.name for one in BENCHMARKS)
            sys.exit(f"no benchmark is named {asked}: there are {known}")
        selected |= found
    return [one for one in BENCHMARKS if one.name in selected]


def as_row(line: Line) -> str:
    """Write a line of the table."""
    value = "-" if line.value is None else f"{shown(line.value)} {line.unit}"
    raw = "-" if line.raw is None else f"{shown(line.raw)} {line.unit}"
    ratio = "-" if line.ratio is None else f"{line.ratio:.2f}"
    floor = "" if line.floor is None else str(line.floor)
    verdict = {True: "holds", False: "missed", None: ""}[line.holds]
    row = f"{line.name:<58}{value:>15}{raw:>15}{ratio:>8}  {floor:<7}{verdict:<7}{line.note}"
    return row.rstrip()


def as_json(line: Line) -> str:
    """Write a line as an object."""
    return json.dumps(
        {
            "name": line.name,
            "value": line.value,
            "unit": line.unit,
            "raw": line.raw,
            "ratio": line.ratio,
            "floor": None if line.floor is None else line.floor.limit,
            "holds": line.holds,
        }
    )


def main() -> int:
    """Run what was asked for; return the exit status."""
    options = parse()
    benchmarks = chosen(options.only)
    missing = [rival for rival in NEEDS if is_missing(rival)]
    if options.page and (options.only or options.quick or missing):
        sys.exit(f"{PAGE.name} shows all benchmarks and rivals, in full: {HOW_TO_INSTALL}")
    # Crashes and restarts are what is measured: not how fast a terminal shows them.
    logging.getLogger("exeunt").setLevel(logging.CRITICAL)
    # With --json the standard output holds nothing but objects.
    talk = sys.stderr if options.json else sys.stdout
    print(
        f"{platform.python_implementation()} {platform.python_version()}, trio {trio.__version__}, "
        f"{platform.system()} {platform.machine()}",
        file=talk,
    )
    if missing:
        print(
            f"\nNOT MEASURED: {', '.join(missing)}, not being installed. To have them beside:\n"
            f"    {HOW_TO_INSTALL}",
            file=talk,
        )
    if not options.json:
        print(f"\n{'':<58}{'exeunt':>15}{'raw':>15}{'ratio':>8}  floor")
    lines: list[Line] = []
    failed: list[str] = []
    for benchmark in benchmarks:
        try:
            for line in benchmark.run(Settings(options.quick)):
                lines.append(line)
                print(as_json(line) if options.json else as_row(line), flush=True)
        except Exception:
            failed.append(benchmark.name)
            traceback.print_exc()
    held = [line for line in lines if line.holds is not None]
    missed = [line for line in held if not line.holds]
    print(f"\n{len(held) - len(missed)} of {len(held)} floors hold.", file=talk)
    for line in missed:
        figure = line.value if line.raw is None else line.ratio
        print(f"  missed: {line.name}: {shown(figure)}, floor {line.floor}", file=talk)
    if options.page and not failed:
        PAGE.write_text(page(lines), encoding="utf-8")
        print(f"wrote {PAGE}", file=talk)
    if failed:
        print(f"failed: {', '.join(failed)}", file=talk)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
