"""What the tests of the contract share, whichever client they drive: the server and the tables.

The server runs in a process of its own, `python -m tests.contract_server`, one for all tests of a
module. A table says what a client pushes and what it gets; how a channel ends is in the tables of
`tests.contract_server.test_contract`, so that all clients are held to the same.
"""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import trio

from tests.conformance.phoenix.client import ask
from tests.e2e.programs import Program

End: TypeAlias = "dict[str, Any] | None"
"""How a channel has ended, in the contract's words; None if `terminate` was not called."""

CHANNEL_CRASHED = {"reason": "channel_crash"}


class Contract:
    """The server of the contract in its own process, and what it knows of the channels."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._run = uuid.uuid4().hex[:8]
        self._numbers = itertools.count(1)

    def name(self, what: str = "w") -> str:
        """Return a name that no other test has: for a watch, a topic, a user."""
        return f"{what}-{self._run}-{next(self._numbers)}"

    async def get(self, target: str) -> Any:
        """Ask the control part of the server."""
        return await ask(self.url, "GET", f"/control/{target}")

    async def post(self, target: str, **value: Any) -> None:
        """Have the control part of the server do something."""
        assert await ask(self.url, "POST", f"/control/{target}", value) == {"ok": True}

    async def is_alive(self, watch: str) -> bool:
        """Tell whether the channel of a watch is still there."""
        return bool((await self.get(f"watch?id={watch}"))["status"] == "alive")

    async def ended(self, watch: str) -> tuple[End, End]:
        """Wait until a channel has ended; return its reason as watcher and `terminate` saw it."""
        with trio.fail_after(10):
            while True:
                seen = await self.get(f"watch?id={watch}")
                if seen["status"] == "down":
                    return seen["exit"], seen["terminate"]
                assert seen["status"] == "alive", seen
                await trio.sleep(0.01)


@contextmanager
def open_contract() -> Generator[Contract]:
    """Run the server; see at the end that nothing has troubled it."""
    with Program("tests.contract_server", "--port", "0") as program:
        yield Contract(program.line(r"ready at (http://127\.0\.0\.1:\d+)")[1])
        assert program.stderr() == ""


@dataclass(frozen=True, slots=True)
class Case:
    """A push on a topic, its answer, and what the client is pushed besides."""

    topic: str
    event: str
    payload: Any = field(default_factory=dict[str, Any])
    answer: tuple[str, Any] | None = None
    pushes: tuple[tuple[str, Any], ...] = ()


VALUE = {
    "text": 'Grüße, 世界 \U0001f30d \u2028 "\\',
    "list": [1, 2.5, -0.5, None, True, [], {}],
    "big": 2**53 - 1,
    "deep": {"a": {"b": [{"c": "d"}]}},
    "": "",
}

ECHOES = [
    Case("echo:plain", "echo", VALUE, ("ok", VALUE)),
    Case("echo:plain", "echo", [1, "two"], ("ok", [1, "two"])),
    Case("echo:plain", "echo", "a string", ("ok", "a string")),
    Case("echo:plain", "echo", 7, ("ok", 7)),
    Case("echo:plain", "echo", True, ("ok", True)),
    Case("echo:plain", "echo_error", VALUE, ("error", VALUE)),
    *(
        Case("echo:plain", "echo_status", {"status": status, "response": response}, answer)
        for status, response in [("ok", None), ("error", [1]), ("teapot", {"a": 1})]
        for answer in [(status, response)]
    ),
    Case("echo:plain", "ok", answer=("ok", {})),
    Case("echo:plain", "error", answer=("error", {})),
    Case("echo:plain", "noreply"),
    Case("echo:plain", "push_back", {"event": "e", "payload": VALUE}, ("ok", {}), (("e", VALUE),)),
    Case(
        "echo:plain",
        "push_many",
        {"n": 20},
        ("ok", {"n": 20}),
        tuple(("tick", {"i": i}) for i in range(1, 21)),
    ),
    Case(
        "echo:plain",
        "async_reply",
        {"delay_ms": 20, "status": "error", "response": {"late": True}},
        ("error", {"late": True}),
    ),
    # Both answers are sent, and a client takes the first.
    Case("echo:plain", "double_reply", answer=("ok", {"n": 1})),
    Case("echo:plain", "info_after", {"delay_ms": 5}, None, (("info", {"from": "handle_info"}),)),
    Case("echo:plain", "set", {"key": "k", "value": VALUE}, ("ok", {})),
    Case("echo:plain", "get", {"key": "k"}, ("ok", {"value": VALUE})),
    Case("echo:plain", "get", {"key": "nothing"}, ("ok", {"value": None})),
    Case("exact", "ping", answer=("ok", {})),
    Case("opts:a", "role", answer=("ok", {"role": "guest"})),
    Case("crash:a", "ping", answer=("ok", {"pong": True})),
    Case("crash:a", "link_normal", answer=("ok", {})),
    Case("crash:a", "ping", answer=("ok", {"pong": True})),
    Case("slow:a", "sleep", {"ms": 20}, ("ok", {"slept": 20})),
    Case("slow:a", "ping", answer=("ok", {})),
    Case("binary:a", "echo", VALUE, ("ok", VALUE)),
    Case("room:a", "flush", answer=("ok", {})),
    Case("stop:a", "push_stop", {"reason": "normal"}, None, (("bye", {}),)),
]

SILENCE = 0.1
"""Seconds for which an answer is waited that does not come."""

EVERYTHING = bytes(range(256))

BYTES = [
    # What comes back, and as which event besides.
    ("echo", EVERYTHING, ("ok", EVERYTHING), None),
    ("echo", b"", ("ok", b""), None),
    ("echo", EVERYTHING * 250, ("ok", EVERYTHING * 250), None),
    ("echo_error", EVERYTHING, ("error", EVERYTHING), None),
    ("info", EVERYTHING, ("ok", {"size": 256, "sum": sum(EVERYTHING)}), None),
    ("push", EVERYTHING, ("ok", {}), "pushed"),
    ("bcast", EVERYTHING, ("ok", {}), "bcast"),
    ("gen", {"n": 100_000}, ("ok", (EVERYTHING * 400)[:100_000]), None),
    ("gen", {"n": 0}, ("ok", b""), None),
]

UNMATCHED = {"reason": "unmatched topic"}

NO_ROUTE = ["exact:1", "nowhere", "phoenix", "echo", ""]

TOKENS: list[tuple[str | None, dict[str, Any], str, Any]] = [
    # The query of the token, what the join says besides, and what it is answered.
    ("user_id=ada", {}, "ok", {"user_id": "ada"}),
    ("user_id=ada&age=100", {}, "ok", {"user_id": "ada"}),
    ("user_id=ada&age=100", {"max_age": 50}, "error", {"reason": "expired"}),
    ("user_id=ada&age=90000", {}, "error", {"reason": "expired"}),
    ("user_id=ada&salt=other", {}, "error", {"reason": "invalid"}),
    (None, {"token": "nonsense"}, "error", {"reason": "invalid"}),
    (None, {"token": None}, "error", {"reason": "missing"}),
    (None, {}, "error", {"reason": "missing"}),
]


def metas(state: Any) -> dict[str, list[dict[str, Any]]]:
    """Return the metas of each key of a list of presences, without their refs."""
    return {
        key: [
            {name: value for name, value in meta.items() if not name.startswith("phx_ref")}
            for meta in one["metas"]
        ]
        for key, one in state.items()
    }
