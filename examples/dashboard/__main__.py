"""Watch sensors come and go: `python -m examples.dashboard`, then open the URL that it prints.

dashboard (rest_for_one)
├─ presence     which sensors are alive
├─ watcher      tells how each has ended
├─ endpoint     the page, and a channel for each that is open
└─ sensors      one process for each; one that ends is back after a few seconds
"""

import argparse
import logging
import sys

from examples.dashboard.sensors import say, sensors
from examples.dashboard.web import DashboardSocket, pages
from exeunt import ChildSpec, StartFailed, Supervisor, Watcher, run, wait_exit
from exeunt.channels import Endpoint, Presence, PubSub


def children(port: int, wear: float) -> list[ChildSpec]:
    """Return the children of the dashboard's supervisor, whose strategy is `rest_for_one`."""
    hub = PubSub()
    return [
        Presence.named("presence").child(hub),
        Watcher.named("watcher").child(),
        Endpoint.named("endpoint").child(
            {"/socket": DashboardSocket}, port=port, hub=hub, pages=pages
        ),
        sensors(hub, wear),
    ]


async def main(port: int, wear: float) -> None:
    """Run the dashboard until it ends."""
    supervisor = await Supervisor.start_link(children(port, wear), strategy="rest_for_one")
    say(f"The dashboard is at {await Endpoint.url('endpoint')}  (Ctrl-C ends it)")
    await wait_exit(supervisor)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        prog="python -m examples.dashboard",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--port", type=int, default=4002, help="0 for any (%(default)s)")
    parser.add_argument(
        "--wear", type=float, default=0.01, help="how likely a reading ends a sensor (%(default)s)"
    )
    parser.add_argument("--verbose", action="store_true", help="show the crash reports too")
    arguments = parser.parse_args()
    if not 0 <= arguments.wear <= 1:
        parser.error("--wear is a number from 0 to 1")
    logging.basicConfig(level=logging.INFO if arguments.verbose else logging.CRITICAL)
    try:
        run(main, arguments.port, arguments.wear)
    except KeyboardInterrupt:
        say("\nThe dashboard is closed.")
    except StartFailed as failed:
        sys.exit(str(failed))
