"""Rock, paper, scissors: `python -m examples.game` is the server, and plays against itself.

    game (rest_for_one)
    ├─ tables        a state machine for each
    ├─ endpoint      the port; a process for each connection, and for each player at a table
    └─ robots        two clients in the same program, at the table "robots"

In two more terminals: `python -m examples.game ann`, and `python -m examples.game bob`.
"""

import argparse
import logging
import sys

from examples.game.channels import children
from examples.game.player import play, robot
from examples.game.table import say
from exeunt import Backoff, StartFailed, Supervisor, child, run, wait_exit
from exeunt.channels import Endpoint
from exeunt.channels.client import ClientError


async def serve(port: int, has_robots: bool) -> None:
    """Run the server until it ends."""
    server = await Supervisor.start_link(children(port), strategy="rest_for_one")
    url = await Endpoint.url("endpoint")
    say(f"Tables are at {url}; to play, in other terminals: python -m examples.game NAME")
    if has_robots:
        back = Backoff(initial=1.0, maximum=5.0)
        robots = [
            child(robot, f"{url}/socket", "robots", name, id=name).replace(backoff=back)
            for name in ("Karel", "Robby")
        ]
        crew = Supervisor.named("robots").child(robots, max_restarts=20, max_seconds=10.0)
        await Supervisor.start_child(server, crew)
    await wait_exit(server)


def main() -> None:
    """Read the command line, and serve or play."""
    parser = argparse.ArgumentParser(
        prog="python -m examples.game",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("name", metavar="NAME", nargs="?", help="play, under this name")
    parser.add_argument("--table", default="garden", help="where to play (%(default)s)")
    parser.add_argument("--port", type=int, default=4001, help="the server's (%(default)s)")
    parser.add_argument("--no-robots", action="store_true", help="serve people only")
    parser.add_argument("--verbose", action="store_true", help="show the server's log too")
    given = parser.parse_args()
    logging.basicConfig(level=logging.INFO if given.verbose else logging.CRITICAL)
    try:
        if given.name is None:
            run(serve, given.port, not given.no_robots)
        else:
            run(play, f"ws://127.0.0.1:{given.port}/socket", given.table, given.name)
    except KeyboardInterrupt:
        say("\nGood game.")
    except (StartFailed, ClientError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
