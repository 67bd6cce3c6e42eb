"""Visit the server: `python -m my_app.visit NAME`, and Ctrl-C to leave."""

import argparse

import trio

from exeunt.channels.client import ClientError, connect


async def visit(url: str, name: str) -> None:
    """Join the lobby, wave, and say what happens there."""
    async with connect(url) as socket:
        lobby = await socket.join("lobby", {"name": name})
        print(f"Here: {', '.join(lobby.response['here'])}", flush=True)
        await lobby.push("wave")
        async for event in lobby:
            print(f"{event.payload['name']} has {event.event}", flush=True)


def main() -> None:
    """Read the command line and visit."""
    parser = argparse.ArgumentParser(prog="python -m my_app.visit", description=__doc__)
    parser.add_argument("name", metavar="NAME", help="who you are")
    parser.add_argument("--url", default="ws://127.0.0.1:4000/socket", help="(%(default)s)")
    arguments = parser.parse_args()
    try:
        trio.run(visit, arguments.url, arguments.name)
    except ClientError as error:
        raise SystemExit(str(error)) from None
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main()
