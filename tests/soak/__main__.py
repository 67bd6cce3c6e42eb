"""Soak a server: `python -m tests.soak --seconds 600 --clients 2000 --seed 1`.

Thousands of clients join, talk, crash, vanish and return, while processes of the server are killed
at random by a seeded script. In the end every join has had its leave, once; presence is empty; the
server holds no more memory and descriptors than before. Ctrl-C cuts it short: the summary comes all
the same. The exit status is 1 if something did not hold.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

import trio

from . import summary
from .driver import ROOT, Driver, Plan

PAGE = ROOT / "docs" / "reference" / "soak.md"


def main() -> int:
    """Read the command line, soak, and print the summary."""
    plan = Plan()
    parser = argparse.ArgumentParser(
        prog="python -m tests.soak",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--seconds", type=float, default=plan.seconds, help="how long, 30 or more (%(default)s)"
    )
    parser.add_argument(
        "--clients", type=int, default=plan.clients, help="how many at a time (%(default)s)"
    )
    parser.add_argument(
        "--seed", type=int, default=plan.seed, help="what is killed when (%(default)s)"
    )
    parser.add_argument(
        "--keep",
        type=Path,
        metavar="DIR",
        help="keep the ledger, the roll and the server's log there",
    )
    parser.add_argument(
        "--write", action="store_true", help="write the summary to docs/reference/soak.md"
    )
    options = parser.parse_args()
    if options.seconds < 30:
        parser.error("--seconds is 30 or more: each part has to be killed once before it begins")
    if not 30 <= options.clients <= 9000:
        parser.error("--clients is from 30 to 9000: each has a socket, and a port")
    folder = Path(tempfile.mkdtemp(prefix="exeunt-soak-")) if options.keep is None else options.keep
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "ledger").unlink(missing_ok=True)
    (folder / "roll.db").unlink(missing_ok=True)
    try:
        driver = Driver(Plan(options.seconds, options.clients, options.seed), folder, Teller())
        outcome = trio.run(driver.run)
    except KeyboardInterrupt:
        print("\ngiven up", file=sys.stderr)
        return 130
    finally:
        if options.keep is None:
            shutil.rmtree(folder, ignore_errors=True)
    print(f"\n\n{summary.text(outcome)}" if sys.stderr.isatty() else summary.text(outcome))
    if options.write:
        PAGE.write_text(summary.page(outcome))
    return 0 if all(one.holds for one in summary.checks(outcome)) else 1


class Teller:
    """Shows the progress on the standard error: in one line, or now and then if that is a file."""

    def __init__(self) -> None:
        self._is_terminal = sys.stderr.isatty()
        self._calls = 0

    def __call__(self, line: str) -> None:
        """Show a line."""
        self._calls += 1
        if self._is_terminal:
            columns = shutil.get_terminal_size().columns
            print(f"\r{line[: columns - 1]:<{columns - 1}}", end="", file=sys.stderr, flush=True)
        elif self._calls % 10 == 1:
            print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
