"""What a client says to each of the servers, to have the same thing happen on all of them.

A topic is `KIND:NAME`. Of the kinds, an `echo` sends back what it is sent, a `room` sends what one
of its members shouts to all of them, and a `watched` counts those that leave.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from benchmarks.sockets import Step, Visit

BODY: Final = "x" * 32
PAYLOAD: Final = f'{{"seq":12345,"body":"{BODY}"}}'


@dataclass(frozen=True, slots=True)
class Dialect:
    """How a server is spoken to: each function takes a topic."""

    visit: Callable[[str], Visit]
    echo: Callable[[str], str]
    shout: Callable[[str], str]


def _phoenix(event: str, topic: str, payload: str) -> str:
    return f'["1","2","{topic}","{event}",{payload}]'


def _typed(kind: str, topic: str) -> str:
    return f'{{"type":"{kind}","topic":"{topic}","payload":{PAYLOAD}}}'


def _event(event: str, topic: str) -> str:
    # Socket.IO, over Engine.IO 4: a message, an event, a number if it is to be acknowledged.
    number = "" if event == "shout" else "1"
    return f'42{number}["{event}",{{"topic":"{topic}","payload":{PAYLOAD}}}]'


DIALECTS: Final[Mapping[str, Dialect]] = {
    "exeunt": Dialect(
        visit=lambda topic: Visit(
            "/socket/websocket?vsn=2.0.0", (Step(f'["1","1","{topic}","phx_join",{{}}]'),)
        ),
        echo=lambda topic: _phoenix("echo", topic, PAYLOAD),
        shout=lambda topic: _phoenix("shout", topic, PAYLOAD),
    ),
    # The bare server knows no messages: the path tells what to do with whatever comes. A client is
    # in when its first message has come back, or has come to all, which is as much as to join.
    "bare": Dialect(
        visit=lambda topic: Visit(
            "/" + topic.partition(":")[0], (Step(f'["1","1","{topic}","phx_join",{{}}]'),)
        ),
        echo=lambda topic: _phoenix("echo", topic, PAYLOAD),
        shout=lambda topic: _phoenix("shout", topic, PAYLOAD),
    ),
    "Starlette": Dialect(
        visit=lambda topic: Visit("/ws", (Step(_typed("join", topic)),)),
        echo=lambda topic: _typed("echo", topic),
        shout=lambda topic: _typed("shout", topic),
    ),
    "python-socketio": Dialect(
        visit=lambda topic: Visit(
            "/socket.io/?EIO=4&transport=websocket",
            (Step(None), Step("40"), Step(_event("join", topic))),
        ),
        echo=lambda topic: _event("echo", topic),
        shout=lambda topic: _event("shout", topic),
    ),
}
