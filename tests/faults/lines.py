"""How a client reaches the server: directly, through a proxy, or as a program of its own.

The proxy is for a network that goes silent, the program for a client that is killed. Either way the
test has a `Client`, which speaks to whatever is in between.
"""

from __future__ import annotations

import signal
import socket
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

import trio

from .client import Client
from .proxy import Proxy, open_proxy

LineKind: TypeAlias = Literal["direct", "proxy", "program"]

SMALL: Final = 4096
"""Bytes that the kernel may hold for a client that does not read."""


@dataclass(frozen=True, slots=True)
class Line:
    """A connection, and what it goes through."""

    client: Client
    proxy: Proxy | None = None
    program: trio.Process | None = None


@asynccontextmanager
async def open_line(kind: LineKind, port: int) -> AsyncGenerator[Line]:
    """Connect to a port; the client is closed when the block is left."""
    match kind:
        case "direct":
            async with await Client.dial(port, buffer=SMALL) as client:
                yield Line(client)
        case "proxy":
            async with (
                open_proxy(port) as proxy,
                await Client.dial(proxy.port, buffer=SMALL) as client,
            ):
                yield Line(client, proxy=proxy)
        case "program":
            async with _open_program(port) as line:
                yield line


# What the test writes goes to the server, and what comes from there to the test: so the program is
# a client whose every word is the test's. It reads the server only as fast as the test reads it.
_PROGRAM: Final = """
import os, socket, sys, threading
sock = socket.socket()
sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
sock.connect(("127.0.0.1", int(sys.argv[1])))
def forward():
    try:
        while data := os.read(0, 65536):
            sock.sendall(data)
    finally:
        os._exit(0)
threading.Thread(target=forward, daemon=True).start()
os.write(1, b"!")
try:
    while data := sock.recv(65536):
        while data:
            data = data[os.write(1, data):]
finally:
    os._exit(0)
"""


@asynccontextmanager
async def _open_program(port: int) -> AsyncGenerator[Line]:
    ours, theirs = socket.socketpair()
    with theirs:
        program = await trio.lowlevel.open_process(
            [sys.executable, "-I", "-S", "-c", _PROGRAM, str(port)], stdin=theirs, stdout=theirs
        )
    try:
        async with Client(trio.socket.from_stdlib_socket(ours)) as client:
            with trio.fail_after(10):
                assert await client.sock.recv(1) == b"!"
            yield Line(client, program=program)
    finally:
        if program.returncode is None:
            program.kill()
        with trio.CancelScope(shield=True):
            await program.wait()


def pause(program: trio.Process) -> None:
    """Stop a program, as if its machine slept."""
    program.send_signal(signal.SIGSTOP)


def go_on(program: trio.Process) -> None:
    """Let a program go on that was stopped."""
    program.send_signal(signal.SIGCONT)


__all__ = ["SMALL", "Line", "LineKind", "go_on", "open_line", "pause"]
