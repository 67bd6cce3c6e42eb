"""Start the chat: `python -m examples.chat`, then open the URL that it prints in two browsers."""

from __future__ import annotations

import argparse
import logging
import secrets
import sys

from examples.chat.tree import children
from exeunt import ChildSpec, Exit, StartFailed, Supervisor, receive, run, trap_exit
from exeunt.channels import Endpoint, Tokens


async def serve(specs: list[ChildSpec]) -> int:
    """Run the chat until its supervisor ends; return the exit status of the program."""
    trap_exit()
    try:
        supervisor = await Supervisor.start_link(specs, strategy="one_for_one")
    except StartFailed as failed:
        print(f"The chat cannot start: {failed}", file=sys.stderr)
        return 1
    print(f"Chat rooms are open at {await Endpoint.url('endpoint')}  (Ctrl-C closes them)")
    sys.stdout.flush()
    ended = await receive(Exit, lambda message: message.pid is supervisor)
    print(f"The chat has ended: {ended.reason}", file=sys.stderr)
    return 1


def main() -> int:
    """Read the command line and run the chat."""
    parser = argparse.ArgumentParser(prog="python -m examples.chat", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    parser.add_argument("--port", type=int, default=4000, help="port; 0 for any (%(default)s)")
    parser.add_argument(
        "--secret",
        default=None,
        help="secret that signs the tokens, 20 letters or more (by default a new one each time)",
    )
    parser.add_argument(
        "--history",
        metavar="FILE",
        default=None,
        help="file that keeps what was said over a restart (by default it is forgotten)",
    )
    parser.add_argument("--verbose", action="store_true", help="log what happens")
    arguments = parser.parse_args()
    if arguments.history is not None and arguments.secret is None:
        parser.error("--history needs --secret too, or nobody is who they were after a restart")
    logging.basicConfig(
        level=logging.INFO if arguments.verbose else logging.WARNING,
        format="%(asctime)s %(levelname)-7s %(message)s",
    )
    try:
        tokens = Tokens(arguments.secret or secrets.token_urlsafe(48))
    except ValueError as error:
        parser.error(str(error))
    specs = children(tokens, host=arguments.host, port=arguments.port, history=arguments.history)
    try:
        return run(serve, specs)
    except KeyboardInterrupt:
        print("\nGood night.")
        return 0


if __name__ == "__main__":
    sys.exit(main())
