"""Start the server: `python -m my_app`, and Ctrl-C to stop it."""

import argparse
import logging

from exeunt import Supervisor, Watcher, run, wait_exit
from exeunt.channels import Endpoint
from my_app.visitors import Visitors
from my_app.web import HUB, VisitorSocket


async def serve(host: str, port: int) -> None:
    """Run the supervision tree until it ends."""
    supervisor = await Supervisor.start_link(
        [
            Visitors.named("visitors").child(),
            Watcher.named("watcher").child(),
            # Last, so that it is the first to stop: then the others still see everybody off.
            Endpoint.named("endpoint").child(
                {"/socket": VisitorSocket}, host=host, port=port, hub=HUB
            ),
        ],
        strategy="rest_for_one",
    )
    print(f"Open for visitors at {await Endpoint.url('endpoint')}", flush=True)
    await wait_exit(supervisor)


def main() -> None:
    """Read the command line and run the server."""
    parser = argparse.ArgumentParser(prog="python -m my_app", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    parser.add_argument("--port", type=int, default=4000, help="port; 0 for any (%(default)s)")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)-7s %(message)s")
    try:
        run(serve, arguments.host, arguments.port)
    except KeyboardInterrupt:
        print("Everybody out.")


if __name__ == "__main__":
    main()
