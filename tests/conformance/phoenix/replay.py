"""Hold a recorded conversation again, and find where it goes otherwise than with Phoenix."""

from __future__ import annotations

import json
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

import trio

from tests.conformance.phoenix.client import (
    UPGRADE,
    Closed,
    Connection,
    Received,
    ask,
    packed,
    request,
)
from tests.conformance.phoenix.polling import Poller
from tests.conformance.phoenix.transcripts import (
    ACTS,
    HEADERS,
    TEXTS,
    TOKENS,
    TURNS,
    Bindings,
    Transcript,
    fill,
    fits,
    same_end,
)

WITHIN: Final = 3.0
"""Seconds that an expected frame, or an end, has to come."""


@dataclass(frozen=True, slots=True)
class Divergence:
    """Something came otherwise than recorded."""

    name: str
    place: str
    expected: Any
    got: Any

    def __str__(self) -> str:
        recorded, got = _text(self.expected), _text(self.got)
        return f"{self.name}: {self.place}\n  recorded {recorded}\n  got      {got}"


async def replay(transcript: Transcript, url: str, run: str) -> list[Divergence]:
    """Hold a conversation with the server at `url`; `run` is put in for `<N>`."""
    return await _Replay(transcript, url, run).all()


class _Replay:
    def __init__(self, transcript: Transcript, url: str, run: str) -> None:
        self._transcript = transcript
        self._url = url
        self._run = run
        self._token = TOKENS.get(transcript.name)
        self._bindings: Bindings = {}
        self._found: list[Divergence] = []

    async def all(self) -> list[Divergence]:
        conns = self._transcript.conns
        if not conns:
            await self._plain_get()
            return self._found
        if self._transcript.is_long_poll:
            for conn in conns:
                poller = Poller(self._transcript, self._url, self._run, self.differs)
                await poller.send_all(conn["frames"])
            await self._ends()
            return self._found
        if conns[0]["kind"] == "http":
            for conn in conns:
                await self._requests(conn)
            return self._found
        async with trio.open_nursery() as nursery, AsyncExitStack() as stack:
            sides = [_Side(self, number, conn, nursery) for number, conn in enumerate(conns)]
            for side in sides:
                stack.callback(side.cut)
            turns = TURNS.get(self._transcript.name)
            if turns is None:
                if len(conns) > 1:
                    raise NotImplementedError(f"{self._transcript.name}: whose turn is it?")
                turns = ((0, None),)
            for number, end in turns:
                await sides[number].advance(end)
            for side in sides:
                await side.quiet()
            await self._ends()
            for side in sides:
                side.cut()
            nursery.cancel_scope.cancel()
        return self._found

    def differs(self, place: str, expected: Any, got: Any) -> None:
        self._found.append(Divergence(self._transcript.name, place, expected, got))

    def fill(self, value: Any) -> Any:
        return fill(value, self._run, self._token)

    async def _plain_get(self) -> None:
        headers = {"connection": "close"}
        answer, peer = await request(self._url, "GET", "/socket/websocket?vsn=2.0.0", headers)
        peer.close()
        if answer.status != self._transcript.notes["status"]:
            self.differs("status", self._transcript.notes["status"], answer.status)

    async def _requests(self, conn: dict[str, Any]) -> None:
        for number, frame in enumerate(conn["frames"]):
            headers = {**UPGRADE, **self.fill(frame["headers"])}
            answer, peer = await request(
                self._url, frame["method"], self.fill(frame["path"]), headers
            )
            peer.close()
            place = f"request {number}"
            if answer.status != frame["status"]:
                self.differs(f"{place}, status", frame["status"], answer.status)
            # What stands on the page for an error of the server is the server's own.
            elif answer.status < 500 and answer.body != frame["body"]:
                self.differs(f"{place}, body", frame["body"], answer.body)
            if "sec-websocket-extensions" in answer.headers:
                self.differs(f"{place}, extensions", None, answer.headers)

    async def _ends(self) -> None:
        """Compare how the channels have ended, as the server's watchers saw it."""
        for note, expected in self._transcript.notes.items():
            what, _, name = note.partition(" ")
            if what not in ("exit", "terminate") or not name:
                continue
            seen: dict[str, Any] = {}
            with trio.move_on_after(WITHIN):
                while True:
                    seen = await ask(self._url, "GET", f"/control/watch?id={self._run}-{name}")
                    # `terminate` is told before the end is, so once that is known both are.
                    if seen["status"] == "down":
                        break
                    await trio.sleep(0.01)
            if not same_end(expected, seen.get(what)):
                self.differs(note, expected, seen.get(what))


class _Side:
    """One connection of a conversation."""

    def __init__(
        self, whole: _Replay, number: int, conn: dict[str, Any], nursery: trio.Nursery
    ) -> None:
        self._whole = whole
        self._number = number
        self._conn = conn
        self._nursery = nursery
        self._at = 0
        self._connection: Connection | None = None
        self._is_closed = False
        # Frames that have come before their turn, where the order does not count.
        self._early: list[Received] = []

    async def advance(self, end: int | None) -> None:
        """Go through the frames up to the one of this number, or to the last."""
        name = self._whole._transcript.name
        frames = self._conn["frames"]
        while self._at < (len(frames) if end is None else end):
            number = self._at
            frame = frames[number]
            self._at += 1
            if self._connection is not None:
                before, act = ACTS.get(name, (None, None))
                if number == before and act is not None:
                    await act(self._connection, self._whole._url, self._whole._run)
            match frame["dir"]:
                case "open":
                    await self._open(frame["protocol"])
                case "out":
                    await self._say(number, frame)
                case "in":
                    await self._expect(number, self._expected(number, frame))
                case "close":
                    await self._expect(number, Closed(frame["code"]))
                case other:
                    raise NotImplementedError(f"{name}: a frame with the direction {other!r}")

    def _expected(self, number: int, frame: dict[str, Any]) -> Received:
        transcript = self._whole._transcript
        at, _ = TEXTS.get(transcript.name, (None, ""))
        if "raw" in transcript.notes and at == number - 1:
            # Noted as it came, since its numbers are too big for the recorder.
            return "json", json.loads(transcript.notes["raw"])
        kind = "json" if "json" in frame else "bin"
        return kind, self._whole.fill(frame[kind])

    async def quiet(self) -> None:
        """See that nothing came but what was expected."""
        if self._connection is not None and not self._is_closed:
            if "vsn=1" in self._conn["url"]:
                ask_v1 = {"topic": "phoenix", "event": "heartbeat", "payload": {}, "ref": "fence"}
                await self._connection.send_text(json.dumps(ask_v1))
            else:
                await self._connection.send_text('[null,"fence","phoenix","heartbeat",{}]')
            while True:
                received = await self._connection.receive(WITHIN)
                if received is None or isinstance(received, Closed):
                    self._differs("end", "an open connection", received)
                    break
                value = received[1]
                ref = value[1] if isinstance(value, list) else value.get("ref")
                if ref == "fence":
                    break
                self._early.append(received)
        for received in self._early:
            self._differs("more", None, received)

    def cut(self) -> None:
        """Cut the connection, if it is there."""
        if self._connection is not None:
            self._connection.close()

    async def _open(self, protocol: str | None) -> None:
        parts = urlsplit(self._whole.fill(self._conn["url"]))
        headers = {**UPGRADE, **HEADERS.get(self._whole._transcript.name, {})}
        if self._conn["protocols"]:
            headers["sec-websocket-protocol"] = ", ".join(self._whole.fill(self._conn["protocols"]))
        target = f"{parts.path}?{parts.query}"
        answer, peer = await request(self._whole._url, "GET", target, headers)
        if answer.status != 101:
            peer.close()
            raise ConnectionError(f"{target} was answered {answer.status}: {answer.body}")
        self._connection = Connection(peer, self._nursery)
        got = answer.headers.get("sec-websocket-protocol")
        if got != protocol:
            self._differs("subprotocol", protocol, got)

    async def _say(self, number: int, frame: dict[str, Any]) -> None:
        assert self._connection is not None
        at, text = TEXTS.get(self._whole._transcript.name, (None, ""))
        if at == number:
            await self._connection.send_text(text)
        elif "raw" in frame:
            await self._connection.send_text(frame["raw"])
        elif "bin" in frame:
            await self._connection.send_binary(packed(self._whole.fill(frame["bin"])))
        else:
            await self._connection.send_text(json.dumps(self._whole.fill(frame["json"])))

    async def _expect(self, number: int, expected: Received) -> None:
        """Wait for a frame, and compare it; where order does not count, others may come first."""
        assert self._connection is not None
        place = f"frame {number}"
        for early in self._early:
            if self._is(expected, early):
                self._early.remove(early)
                return
        if self._is_closed:
            self._differs(place, expected, "the connection is closed")
            return
        others: list[Received] = []
        while True:
            received = await self._connection.receive(WITHIN)
            if received is None:
                self._differs(place, expected, others or None)
                break
            self._is_closed = isinstance(received, Closed)
            if self._is(expected, received):
                break
            if self._is_closed or not self._whole._transcript.is_unordered:
                self._differs(place, expected, received)
                break
            others.append(received)
        self._early += others

    def _is(self, expected: Received, received: Received) -> bool:
        if isinstance(expected, Closed) or isinstance(received, Closed):
            return expected == received
        if expected[0] != received[0]:
            return False
        bindings = fits(expected[1], received[1], self._whole._bindings)
        if bindings is not None:
            self._whole._bindings = bindings
        return bindings is not None

    def _differs(self, place: str, expected: Any, got: Any) -> None:
        self._whole.differs(f"connection {self._number}, {place}", expected, got)


def _text(value: Any) -> str:
    if isinstance(value, Closed):
        return f"close {value.code}"
    return json.dumps(value, ensure_ascii=False, default=repr)
