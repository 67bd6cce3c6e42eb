"""Start the chat: `python -m examples.chat`, then open the URL that it prints in two browsers."""

from __future__ import annotations

import argparse
import logging
import secrets
import sys
from functools import partial

from examples.chat.web import UserSocket, pages
from exeunt import (
    DynamicSupervisor,
    Exit,
    StartFailed,
    Supervisor,
    Watcher,
    receive,
    run,
    trap_exit,
)
from exeunt.channels import Endpoint, Mount, PubSub, Tokens

logger = logging.getLogger("chat")


async def serve(host: str, port: int, secret: str) -> int:
    """Run the chat until its supervisor ends; return the exit status of the program."""
    hub = PubSub()
    tokens = Tokens(secret)
    socket = Mount(
        partial(UserSocket, tokens),
        # The page sends a heartbeat every 10 seconds: a client that has been silent for longer
        # than that, and a little, has lost its connection.
        timeout=15.0,
        max_frame_size=16 * 1024,
    )
    trap_exit()
    try:
        supervisor = await Supervisor.start_link(
            [
                # First, because if it dies nobody hears of those who leave: then all of it begins
                # anew, the rooms too, and the pages come back.
                Watcher.named("watcher").child(),
                DynamicSupervisor.named("rooms").child(max_children=1000),
                Endpoint.named("endpoint").child(
                    {"/socket": socket},
                    host=host,
                    port=port,
                    hub=hub,
                    pages=partial(pages, tokens),
                ),
            ],
            strategy="rest_for_one",
        )
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
    parser.add_argument("--verbose", action="store_true", help="log what happens")
    arguments = parser.parse_args()
    logging.basicConfig(
        level=logging.INFO if arguments.verbose else logging.WARNING,
        format="%(asctime)s %(levelname)-7s %(message)s",
    )
    try:
        return run(serve, arguments.host, arguments.port, arguments.secret or _new_secret())
    except KeyboardInterrupt:
        print("\nGood night.")
        return 0


def _new_secret() -> str:
    return secrets.token_urlsafe(48)


if __name__ == "__main__":
    sys.exit(main())
