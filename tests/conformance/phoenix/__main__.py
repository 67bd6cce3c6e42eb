"""Replay transcripts: `python -m tests.conformance.phoenix [FILE.json …]`."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import trio

from tests.conformance.phoenix.replay import replay
from tests.conformance.phoenix.transcripts import GOLDEN, BadFile, Transcript, read
from tests.contract_server.app import open_server


async def replay_all(transcripts: Sequence[Transcript], url: str | None) -> int:
    """Replay transcripts one after the other, print what differs; return how many diverged."""
    diverged = 0
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(open_server()) if url is None else url
        for number, transcript in enumerate(transcripts):
            found = await replay(transcript, server, f"run{number}")
            for divergence in found:
                print(divergence)
            diverged += bool(found)
    return diverged


def main(arguments: list[str] | None = None) -> int:
    """Run the transcripts of some files; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.conformance.phoenix",
        description="Hold recorded conversations with Phoenix again, and compare. Exits 0 if none "
        "diverged, 1 if some did, 2 if a file cannot be used.",
    )
    parser.add_argument(
        "files", nargs="*", type=Path, metavar="FILE.json", help="by default all that are here"
    )
    parser.add_argument("--url", help="a contract server that runs already, such as Phoenix's")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.CRITICAL)
    try:
        transcripts = [read(path) for path in options.files or sorted(GOLDEN.glob("*/*.json"))]
    except BadFile as error:
        print(error, file=sys.stderr)
        return 2
    diverged = trio.run(replay_all, transcripts, options.url)
    print(f"{len(transcripts)} transcripts, {diverged} diverged")
    return 1 if diverged else 0


if __name__ == "__main__":
    sys.exit(main())
