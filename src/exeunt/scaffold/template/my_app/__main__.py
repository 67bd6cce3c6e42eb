"""Start the server: `python -m my_app`, and Ctrl-C to stop it."""

import argparse
import logging
import sys

from exeunt import ChildSpec, StartFailed, Supervisor, run, wait_exit
from exeunt.channels import Endpoint
from my_app.tree import lobby, observer


async def serve(children: list[ChildSpec]) -> None:
    """Run the supervision tree until it ends."""
    supervisor = await Supervisor.named("my_app").start_link(children)
    print(f"Open for visitors at {await Endpoint.url('endpoint')}", flush=True)
    await wait_exit(supervisor)


def main() -> None:
    """Read the command line and run the server."""
    parser = argparse.ArgumentParser(prog="python -m my_app", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    parser.add_argument("--port", type=int, default=4000, help="port; 0 for any (%(default)s)")
    parser.add_argument(
        "--observe",
        metavar="PORT",
        type=int,
        nargs="?",
        const=4040,
        help="show the processes, live, on a page of their own (on port %(const)s)",
    )
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)-7s %(message)s")
    children = [lobby(arguments.host, arguments.port)]
    if arguments.observe is not None:
        children.append(observer(arguments.observe))
    try:
        run(serve, children)
    except KeyboardInterrupt:
        print("Everybody out.")
    except StartFailed as failed:
        sys.exit(str(failed))


if __name__ == "__main__":
    main()
