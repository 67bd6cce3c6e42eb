"""What a transcript does not say of itself, and how its values compare with those that come.

The transcripts were recorded at the client's end, each connection by itself. So they leave out what
is no message of the protocol (a close frame, a request to the control part, headers), what was lost
in writing a message down (white space, a long text), and which connection acted when. All that is
here, by the name of the transcript.
"""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

from tests.conformance.phoenix.client import Connection, ask

GOLDEN: Final = Path(__file__).parent / "golden"


@dataclass(frozen=True, slots=True)
class Transcript:
    """A recorded conversation: its connections, and what else was noted."""

    name: str
    is_unordered: bool
    notes: dict[str, Any]
    conns: list[dict[str, Any]]

    @property
    def is_long_poll(self) -> bool:
        """Whether its client polls."""
        return any("http_status" in frame for conn in self.conns for frame in conn["frames"])


class BadFile(Exception):
    """A file is no transcript; says where and why."""


def read(path: Path) -> Transcript:
    """Read a transcript; raises `BadFile`."""
    try:
        found = json.loads(path.read_text())
        return Transcript(found["scenario"], found["unordered"], found["notes"], found["conns"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadFile(f"{path}: {type(error).__name__}: {error}") from error


# -- what the client did besides ---------------------------------------------------------------

Act: TypeAlias = Callable[[Connection, str, str], Awaitable[object]]
"""Something that the client does; it is given the connection, the server's URL, and `<N>`."""


def _close(code: int) -> Act:
    return lambda connection, url, run: connection.send_close(code)


ACTS: Final[Mapping[str, tuple[int, Act]]] = {
    # The frame of the transcript that comes next, and what was done before it.
    "close_4001": (3, _close(4001)),
    "trap_transport_close": (3, _close(1000)),
    "disconnect_broadcast_close": (
        3,
        lambda connection, url, run: ask(
            url, "POST", "/control/disconnect", {"id": f"user_socket:{run}"}
        ),
    ),
    "fragmented_text": (
        1,
        lambda connection, url, run: connection.send_fragments(
            '[null,"1","pho', 'enix","heart', 'beat",{}]'
        ),
    ),
}

TEXTS: Final[Mapping[str, tuple[int, str]]] = {
    # The frame that was not written down as it went, and how it went.
    "oversize_frame": (3, "x" * 70_000),
    "v2_big_numbers": (
        3,
        '["1","2","echo:plain","echo",{"i":9007199254740993,"f":1e-7,"n":-0.5}]',
    ),
    "v2_duplicate_keys": (3, '["1","2","echo:plain","echo",{"a":1,"a":2}]'),
    "v2_whitespace": (1, ' [ null , "1" ,\n"phoenix",\t"heartbeat" , { } ] '),
}

HEADERS: Final[Mapping[str, Mapping[str, str]]] = {
    "connect_info": {
        "user-agent": "a client in raw frames",
        "x-foo": "bar",
        "x-baz": "2",
        "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    },
}

TOKENS: Final[Mapping[str, str]] = {
    # What stands for `<token>`.
    "auth_token_subprotocol": "c2VrcmV0Lyt0b2s9PQ",
    "subprotocol_bad_base64": "!!!",
}

TURNS: Final[Mapping[str, tuple[tuple[int, int | None], ...]]] = {
    # Which connection goes through how many of its frames (None: all that are left), in order.
    "broadcast_after_leave": ((0, 3), (1, None), (0, None)),
    "broadcast_on_join_announce": ((0, 3), (1, None), (0, None)),
    "handle_out_stop": ((0, 3), (1, 3), (0, None), (1, None)),
    "intercept_modifies": ((0, 3), (1, 3), (0, None), (1, None)),
    "intercept_skips": ((0, 3), (1, 3), (0, None), (1, None)),
    "presence_same_key_two_tabs": ((0, 5), (1, 5), (0, 10), (1, None), (0, None)),
    "presence_two_users": ((0, 5), (1, 5), (0, 6), (1, None), (0, None)),
    "socket_id": ((0, None), (1, None)),
}


# -- how values compare ------------------------------------------------------------------------

Bindings: TypeAlias = dict[str, str]
"""What the names of presence refs in a transcript (`P1`, `P2`, …) stand for in this run."""

_CUT = re.compile(r"(?P<begin>[0-9a-f]*)…\((?P<bytes>[0-9]+) bytes\)")
_REF = re.compile(r"P[0-9]+")


def fill(value: Any, run: str, token: str | None = None) -> Any:
    """Put this run's values in for the placeholders of a transcript."""
    match value:
        case str():
            filled = value.replace("<N>", run)
            return filled if token is None else filled.replace("<token>", token)
        case list():
            return [fill(one, run, token) for one in value]
        case dict():
            return {fill(key, run, token): fill(one, run, token) for key, one in value.items()}
        case _:
            return value


def fits(expected: Any, got: Any, bindings: Bindings, key: str = "") -> Bindings | None:
    """Compare a value with the recorded one; return the bindings if they are the same.

    Types count: `1`, `1.0`, `true` and `"1"` are four values.
    """
    if key in ("phx_ref", "phx_ref_prev") and _REF.fullmatch(str(expected)):
        return _bind(expected, got, bindings)
    if expected == "<user_agent>":
        return bindings if isinstance(got, str) and got else None
    if isinstance(expected, str) and (cut := _CUT.fullmatch(expected)):
        is_same = (
            isinstance(got, str)
            and got.startswith(cut["begin"])
            and len(got) == 2 * int(cut["bytes"])
        )
        return bindings if is_same else None
    if type(expected) is not type(got):
        return None
    if isinstance(expected, dict):
        if expected.keys() != got.keys():
            return None
        pairs = [(one, expected[one], got[one]) for one in expected]
    elif isinstance(expected, list):
        if len(expected) != len(got):
            return None
        pairs = [("", one, other) for one, other in zip(expected, got, strict=True)]
    else:
        return bindings if expected == got else None
    for name, one, other in pairs:
        found = fits(one, other, bindings, name)
        if found is None:
            return None
        bindings = found
    return bindings


def _bind(name: str, got: object, bindings: Bindings) -> Bindings | None:
    if not isinstance(got, str) or not re.fullmatch(r"[A-Za-z0-9_-]{16}", got):
        return None
    if name in bindings:
        return bindings if bindings[name] == got else None
    return None if got in bindings.values() else {**bindings, name: got}


def same_end(expected: Any, got: Any) -> bool:
    """Compare how a channel has ended with how it did there.

    The texts of errors are each library's own; all other details count.
    """
    if expected is None or got is None:
        return expected is got
    if expected["class"] != got["class"]:
        return False
    detail, other = expected["detail"], got["detail"]
    if expected["class"] == "other" and detail.startswith("{"):
        # An error of Erlang's own: behind its name stands where it came about.
        return isinstance(other, str) and other.partition(",")[0] == detail.partition(",")[0]
    is_text = expected["class"] == "error" and detail != "boom"
    if is_text or (expected["class"] == "other" and detail.startswith('"')):
        return isinstance(other, str) and bool(other)
    return bool(detail == other)
