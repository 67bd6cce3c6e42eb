"""Watch a running node in a terminal: `python -m exeunt.observer URL`."""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys

DEFAULT = "http://127.0.0.1:4040/"
"""Where an observer in a tree listens, unless told otherwise."""

TOKEN = "EXEUNT_OBSERVER_TOKEN"


def main() -> int:
    """Read the command line and watch; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m exeunt.observer",
        description="Show the processes of a running node that has an observer.",
        epilog="The URL is the one that the observer has logged, quoted for the # in it.",
    )
    parser.add_argument(
        "url",
        metavar="URL",
        nargs="?",
        default=DEFAULT,
        help="like http://127.0.0.1:4040/#token=... (%(default)s)",
    )
    parser.add_argument(
        "--token",
        default=None,
        help=f"the token, if it is not in the URL (or in the environment, as {TOKEN})",
    )
    parser.add_argument(
        "--once", action="store_true", help="print the tree and be done (so also into a pipe)"
    )
    arguments = parser.parse_args()
    if importlib.util.find_spec("rich") is None:
        print(
            "The observer in a terminal needs Rich: pip install 'exeunt[observer]'",
            file=sys.stderr,
        )
        return 2
    import trio

    from exeunt.channels.client import ClientError, ConnectFailed
    from exeunt.observer.terminal import address_of, watch

    try:
        url, token = address_of(arguments.url)
    except ValueError as error:
        parser.error(str(error))
    token = arguments.token or token or os.environ.get(TOKEN, "")
    once = arguments.once or not (sys.stdin.isatty() and sys.stdout.isatty())
    try:
        trio.run(lambda: watch(url, token, once=once))
    except KeyboardInterrupt:
        return 130
    except BaseExceptionGroup as group:
        if group.split(KeyboardInterrupt)[1] is not None:
            raise
        return 130
    except ConnectFailed as error:
        print(f"cannot watch: {error}", file=sys.stderr)
        if error.status == 403:
            advice = "Is the token right?" if token else "It takes a token."
            print(f"{advice} The URL that the observer logs ends in it.", file=sys.stderr)
        return 1
    except ClientError as error:
        print(f"cannot watch any longer: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
