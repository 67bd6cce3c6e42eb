"""The command line of the library: `python -m exeunt new NAME` begins a project."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from shlex import quote

from exeunt.scaffold import CannotCreate, create


def main(words: Sequence[str] | None = None) -> int:
    """Do what the command line asks for; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m exeunt",
        description="Erlang's process model on trio, and Phoenix's channels.",
    )
    parser.add_argument("--version", action="version", version=f"exeunt {version('exeunt')}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    new = commands.add_parser(
        "new",
        help="begin a project: a supervision tree, a channel, and their tests",
        description="Write a small project that runs: a supervision tree, a channel, their tests.",
    )
    new.add_argument("name", metavar="NAME", help="its name, and that of its package")
    new.add_argument(
        "--in",
        dest="where",
        metavar="DIRECTORY",
        type=Path,
        default=Path(),
        help="where to put it (here)",
    )
    asked = parser.parse_args(words)
    try:
        files = create(asked.name, asked.where)
    except CannotCreate as error:
        print(f"python -m exeunt new: {error}", file=sys.stderr)
        return 1
    top = asked.where / asked.name
    for file in files:
        print(f"  {file.relative_to(asked.where)}")
    # pip refuses to install into the Python of many systems; one that is an environment it takes.
    venv = "" if is_venv() else "    python3 -m venv .venv && . .venv/bin/activate\n"
    print(
        f"\n{asked.name} is ready:\n\n"
        f"    cd {quote(str(top))}\n"
        f"{venv}"
        "    pip install -e '.[dev]'\n"
        "    python -m pytest\n"
        f"    python -m {asked.name}              # then open http://127.0.0.1:4000\n"
        f"    python -m {asked.name} --observe    # and a live picture of its processes\n"
    )
    return 0


def is_venv() -> bool:
    """Tell whether this Python is that of a virtual environment."""
    return sys.prefix != sys.base_prefix


if __name__ == "__main__":
    sys.exit(main())
