"""A server and a client in network namespaces of their own, whose cable is pulled.

Run as a program in a fresh namespace (`unshare --net`), this is the server. It makes a pair of
virtual interfaces, has a client started in a second namespace with the other end, lets it join, and
then has the client's interface go down: from there on packets are dropped, without a FIN or a RST.
What happens is printed, an object of JSON a line. Run with the argument `client`, it is the client.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

SERVER, CLIENT = "10.213.0.1", "10.213.0.2"
TIMEOUT = 0.5

# The server needs what the tests need; the client is one file of the standard library's.
ROOT = Path(__file__).parents[2]


def ip(command: str) -> None:
    """Run a command of iproute2."""
    subprocess.run([sys.argv[1], *command.split()], check=True)


def say(**what: object) -> None:
    """Print an object of JSON."""
    print(json.dumps(what), flush=True)


def client(port: int) -> None:
    """Join a room, pull the cable, and hold the connection open."""
    import base64
    import socket

    sys.stdin.readline()  # until our end of the cable is here
    ip("link set lo up")
    ip(f"address add {CLIENT}/24 dev exeunt1")
    ip("link set exeunt1 up")
    sock = None
    for _ in range(100):
        try:
            sock = socket.create_connection((SERVER, port), timeout=0.2)
            sock.settimeout(5)
            break
        except OSError:
            time.sleep(0.05)  # the interface takes a moment
    assert sock is not None
    key = base64.b64encode(bytes(16)).decode()
    sock.sendall(
        f"GET /socket/websocket?vsn=2.0.0&who=ada HTTP/1.1\r\nHost: {SERVER}\r\n"
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        f"Sec-WebSocket-Key: {key}\r\n\r\n".encode()
    )
    received = b""
    while b"\r\n\r\n" not in received:
        received += sock.recv(65536)
    message = b'["1","1","room:a","phx_join",{}]'
    sock.sendall(bytes([0x81, 0x80 | len(message), 0, 0, 0, 0]) + message)
    while b"phx_reply" not in received:
        received += sock.recv(65536)
    ip("link set exeunt1 down")
    say(cable="pulled")
    sys.stdin.readline()


def main() -> None:
    """Run the server, and report how its client has left."""
    sys.path[:0] = [str(ROOT), str(ROOT / "src")]
    import trio

    from tests.faults.world import Options, World, open_world, quiet, until

    async def pull_the_cable(world: World, client: trio.Process) -> None:
        assert client.stdin is not None and client.stdout is not None
        await until(lambda: _is_elsewhere(client.pid), "the client's namespace")
        ip(f"link set exeunt1 netns {client.pid}")
        await client.stdin.send_all(b"go\n")
        line = await client.stdout.receive_some()
        pulled = time.monotonic()
        assert json.loads(line) == {"cable": "pulled"}, line
        say(joined="ada" in world.channels, left=len(world.left))
        await world.until_left("ada")
        seconds = time.monotonic() - pulled
        say(reasons=[str(one) for one in world.reasons_of("ada")], seconds=seconds)

    async def serve() -> None:
        options = Options(timeout=TIMEOUT, close_within=0.2, host=SERVER)
        async with open_world(options) as world:
            before = await world.snapshot()
            program = [sys.executable, __file__, sys.argv[1], "client", str(world.port)]
            client = await trio.lowlevel.open_process(
                ["unshare", "--net", *program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
            )
            assert client.stdin is not None and client.stdout is not None
            try:
                with trio.fail_after(20):
                    await pull_the_cable(world, client)
            finally:
                client.kill()
                await client.wait()
                await client.stdin.aclose()
                await client.stdout.aclose()
            await world.settle(before)
            say(small=True)

    quiet()
    ip("link set lo up")
    ip("link add exeunt0 type veth peer name exeunt1")
    ip(f"address add {SERVER}/24 dev exeunt0")
    ip("link set exeunt0 up")
    trio.run(serve)


def _is_elsewhere(pid: int) -> bool:
    own, other = Path("/proc/self/ns/net"), Path(f"/proc/{pid}/ns/net")
    try:
        return own.readlink() != other.readlink()
    except OSError:
        return False


if __name__ == "__main__":
    if sys.argv[2:3] == ["client"]:
        client(int(sys.argv[3]))
    else:
        main()
