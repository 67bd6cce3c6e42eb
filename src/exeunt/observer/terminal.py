"""The observer in a terminal: a client of the observer's channels, its screen, and the keys.

It runs without a node of its own, and may watch a program on another machine, through whatever
leads to its port.
"""

from __future__ import annotations

import codecs
import io
import os
import re
import sys
import termios
import tty
from collections import deque
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final
from urllib.parse import parse_qs, urlsplit, urlunsplit

import trio
from rich.console import Console
from rich.live import Live

from exeunt.channels.client import (
    ClientChannel,
    ClientError,
    ClientSocket,
    ReplyError,
    connect,
)
from exeunt.observer.finding import Finder
from exeunt.observer.sampler import TOPIC
from exeunt.observer.screen import Screen
from exeunt.observer.view import View

PIPE_WIDTH: Final = 160
"""Columns of a line that goes into a pipe or a file, unless COLUMNS says otherwise."""

PATIENCE: Final = 2.0
"""Seconds that the second picture may take, before the first alone is shown."""

_KEY = re.compile(rb"\x1b\[[0-9;]*[A-Za-z~]|\x1bO.|.", re.DOTALL)

_KEYS = {
    b"\x1b[A": -1,
    b"\x1bOA": -1,
    b"\x1b[B": 1,
    b"\x1bOB": 1,
    b"\x1b[5~": -20,
    b"\x1b[6~": 20,
    b"\x1b[H": -1_000_000,
    b"\x1b[1~": -1_000_000,
    b"\x1b[F": 1_000_000,
    b"\x1b[4~": 1_000_000,
}


_FOLDS = {b"\x1b[D": True, b"\x1bOD": True, b"\x1b[C": False, b"\x1bOC": False}

# What is drawn with, where the terminal or the file has only ASCII.
_PLAIN = str.maketrans("─│├└■●▸…▁▂▃▄▅▆▇█", "-||`#*>.__..--##")


def address_of(url: str) -> tuple[str, str]:
    """Return the URL of the socket, and the token, from the URL that an observer has logged.

    Raises `ValueError` if it is none.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https", "ws", "wss") or not parts.hostname:
        raise ValueError(
            f"the URL of an observer is like http://127.0.0.1:4040/#token=..., not {url!r}"
        )
    try:
        parts.port  # noqa: B018 - it is looked at here for the first time
    except ValueError as error:
        raise ValueError(f"in {url!r} the port is none: {error}") from None
    token = parse_qs(parts.fragment).get("token", [""])[0]
    path = parts.path.rstrip("/").removesuffix("/socket")
    return urlunsplit((parts.scheme, parts.netloc, f"{path}/socket", "", "")), token


class Terminal:
    """One who watches in a terminal."""

    def __init__(self, socket: ClientSocket, channel: ClientChannel, console: Console) -> None:
        self._socket = socket
        self._channel = channel
        self._console = console
        self._screen = Screen()
        self._view = View()
        self._view.begin(channel.response)
        self._ended: ClientError | None = None
        # The process that a k was pressed for, until it is confirmed.
        self._doomed = ""
        self._finder = Finder()

    async def run(self) -> None:
        """Show the node until q is pressed."""
        with (
            _keys() as keyboard,
            Live(console=self._console, screen=True, auto_refresh=False) as live,
        ):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._follow, live, nursery.cancel_scope)
                nursery.start_soon(self._tick, live)
                while await self._press(await keyboard(), live):
                    pass
                nursery.cancel_scope.cancel()
        if self._ended is not None:
            raise self._ended

    def _draw(self, live: Live) -> None:
        self._screen.status = "live" if self._socket.is_connected else "connection lost"
        size = self._console.size
        live.update(self._screen.draw(self._view, size.width, size.height), refresh=True)

    async def _tick(self, live: Live) -> None:
        while True:
            self._draw(live)
            await trio.sleep(1.0)

    async def _follow(self, live: Live, scope: trio.CancelScope) -> None:
        while True:
            try:
                event = await self._channel.receive()
            except ClientError as error:
                self._ended = error
                scope.cancel()
                return
            if event.event == "phx_join":
                self._begin(event.payload)
            elif event.event == "changed" and not self._view.take(event.payload):
                # A change is missing, since this program was held up: begin anew.
                await self._channel.leave()
                self._channel = await _join(self._socket)
                self._begin(self._channel.response)
            self._draw(live)

    def _begin(self, response: object) -> None:
        assert isinstance(response, dict)
        self._view.begin(response)
        self._screen.begin()

    async def _press(self, key: bytes, live: Live) -> bool:
        """Do what a key stands for; False if that is to end."""
        doomed, self._doomed = self._doomed, ""
        self._screen.note = ""
        if self._finder.is_typing and key:
            if self._finder.typed(key):
                await self._find()
            elif self._finder.is_typing:
                self._screen.note = self._finder.prompt
        elif key in (b"q", b"Q", b""):
            return False
        if key in _KEYS:
            self._screen.move(self._view, _KEYS[key])
        elif key in _FOLDS:
            self._screen.fold(self._view, is_folded=_FOLDS[key])
        elif key == b"\t":
            self._screen.shows_tree = not self._screen.shows_tree
        elif key == b"/":
            self._finder.begin()
            self._screen.note = self._finder.prompt
        elif key in (b"n", b"N"):
            self._finder.step(1 if key == b"n" else -1)
            self._show_found()
        elif key in (b"k", b"K"):
            chosen = self._screen.chosen(self._view)
            if not self._view.allows_kill:
                self._screen.note = "this observer may not kill: it needs allow_kill=True"
            elif chosen is not None and chosen.row is not None and chosen.row["pid"]:
                self._doomed = chosen.row["pid"]
                self._screen.note = f"kill {self._doomed}? y kills it, any other key does not"
        elif key in (b"y", b"Y") and doomed:
            try:
                await self._channel.push("kill", {"pid": doomed})
                self._screen.note = f"{doomed} is killed"
            except ReplyError as refused:
                self._screen.note = str(refused.response.get("reason", refused))
            except ClientError as error:
                self._screen.note = str(error)
        self._draw(live)
        return True

    async def _find(self) -> None:
        """Look for what was typed, and show the best of what is found."""
        try:
            answer = await self._channel.push("find", {"text": self._finder.text})
        except ReplyError as refused:
            self._screen.note = str(refused.response.get("reason", refused))
        except ClientError as error:
            self._screen.note = str(error)
        else:
            assert isinstance(answer, dict)
            self._finder.take(answer)
            self._show_found()

    def _show_found(self) -> None:
        found = self._finder.current
        self._screen.shows_tree = True
        is_shown = found is not None and self._screen.show(self._view, found["pid"])
        self._screen.note = self._finder.note(is_shown=is_shown)


class _Keyboard:
    """Reads single keys, of which some are several bytes."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._pressed: deque[bytes] = deque()

    async def __call__(self) -> bytes:
        """Wait for a key; empty when there are no more."""
        while not self._pressed:
            await trio.lowlevel.wait_readable(self._descriptor)
            data = os.read(self._descriptor, 256)
            if not data:
                return b""
            self._pressed.extend(_KEY.findall(data))
        return self._pressed.popleft()


@contextmanager
def _keys() -> Generator[_Keyboard]:
    """Have single keys read from the terminal, without being shown."""
    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    tty.setcbreak(descriptor)
    try:
        yield _Keyboard(descriptor)
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


def _allow_any_text() -> None:
    """Have what the output has no letters for written with others, so that it never fails."""

    def replaced(error: UnicodeError) -> tuple[str, int]:
        assert isinstance(error, UnicodeEncodeError)
        plain = error.object[error.start : error.end].translate(_PLAIN)
        return "".join(one if one.isascii() else "?" for one in plain), error.end

    codecs.register_error("exeunt.observer", replaced)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="exeunt.observer")


async def _join(socket: ClientSocket) -> ClientChannel:
    return await socket.join(TOPIC, max_events=200, on_overflow="drop_oldest", tell_rejoins=True)


async def watch(url: str, token: str, *, once: bool) -> None:
    """Show a node in this terminal; with `once`, print what there is and be done.

    That is also what a terminal without a cursor gets. Raises `ConnectFailed` if the observer does
    not answer, or refuses.
    """
    _allow_any_text()
    console = Console()
    if not (console.is_terminal or "COLUMNS" in os.environ):
        console = Console(width=PIPE_WIDTH)
    async with connect(url, auth_token=token or None, retry_refused=False) as socket:
        channel = await _join(socket)
        if once or console.is_dumb_terminal:
            view = View()
            view.begin(channel.response)
            # Messages a second are those between two pictures.
            with trio.move_on_after(PATIENCE):
                while not (view.node["messages"] or len(view.history) > 1):
                    view.take((await channel.receive()).payload)
            console.print(Screen().draw_all(view, console.size.width))
            return
        await Terminal(socket, channel, console).run()


__all__ = ["address_of", "watch"]
