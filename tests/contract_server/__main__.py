"""Run the server until SIGTERM or Ctrl-C: `python -m tests.contract_server --port PORT`."""

from __future__ import annotations

import argparse
import logging
import sys

from exeunt import Exit, StartFailed, Supervisor, receive, run, trap_exit
from exeunt.channels import Endpoint

from .app import ENDPOINT, children


async def serve(port: int) -> int:
    """Serve until the supervisor ends, which it does not unless something is very wrong."""
    trap_exit()
    try:
        supervisor = await Supervisor.start_link(children(port), strategy="rest_for_one")
    except StartFailed as failed:
        print(f"cannot start: {failed}", file=sys.stderr)
        return 1
    print(f"ready at {await Endpoint.url(ENDPOINT)}", flush=True)
    ended = await receive(Exit, lambda message: message.pid is supervisor)
    print(f"ended: {ended.reason}", file=sys.stderr)
    return 1


def main() -> int:
    """Read the command line, and serve."""
    parser = argparse.ArgumentParser(prog="python -m tests.contract_server", description=__doc__)
    parser.add_argument("--port", type=int, default=4000, help="0 for any (%(default)s)")
    parser.add_argument(
        "--log",
        # Whoever starts it may not read what it says, and a pipe that is full would stop it.
        default="CRITICAL",
        metavar="LEVEL",
        help="log to stdout from this level on: 'debug' for all of Phoenix's lines (%(default)s)",
    )
    arguments = parser.parse_args()
    logging.basicConfig(
        level=arguments.log.upper(),
        format="%(asctime)s %(levelname)-7s %(message)s",
        stream=sys.stdout,
    )
    try:
        return run(serve, arguments.port)
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
