"""A client that polls, as the transcripts have it: each frame is a request with its answer.

The recorder left out the values of headers, and put `<token>` for every token. Whose they are is
here, by the name of the transcript.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

import trio

from tests.conformance.phoenix.client import Answer, request
from tests.conformance.phoenix.transcripts import Transcript, fill, fits

Differs = Callable[[str, Any, Any], None]

FORGED: Final = "SFMyNTY.forged.token"

MOUNTS: Final[Mapping[str, str]] = {"lp_origin": "/socket_origin"}
"""Where a client connects, if not at `/socket`."""

VALUES: Final[Mapping[str, Mapping[str, str]]] = {
    # Of the headers of a request; those that are not here are below.
    "lp_plain_json_post": {"content-type": "application/json"},
}

ORDINARY: Final[Mapping[str, str]] = {
    "content-type": "application/x-ndjson",
    "origin": "https://evil.example",
    "access-control-request-headers": "x-foo",
}

FORGERIES: Final = frozenset(
    {("lp_get_bad_token", 0), ("lp_post_bad_token", 0), ("lp_token_in_header", 2)}
)
"""Which requests have a token in their query that no server has made."""

SOONER: Final = 0.05
"""Seconds by which an answer may come before the recorded time: two clocks are never the same."""


class Poller:
    """Sends the requests of a transcript, one after the other, and compares the answers."""

    def __init__(self, transcript: Transcript, url: str, run: str, differs: Differs) -> None:
        self._transcript = transcript
        self._url = url
        self._run = run
        self._differs = differs
        self._token: str | None = None

    async def send_all(self, frames: list[dict[str, Any]]) -> None:
        """Send all requests."""
        for number, frame in enumerate(frames):
            name = self._transcript.name
            token = FORGED if (name, number) in FORGERIES else self._token
            target = MOUNTS.get(name, "/socket") + fill(frame["path"], self._run, token)
            body = "" if frame["body"] is None else fill(frame["body"], self._run)
            began = trio.current_time()
            answer, peer = await request(
                self._url, frame["method"], target, self._headers(frame), body.encode()
            )
            peer.close()
            self._compare(f"request {number}", frame, answer)
            self._compare_time(f"request {number}", frame, trio.current_time() - began)

    def _compare_time(self, place: str, frame: dict[str, Any], seconds: float) -> None:
        """See that an answer has not come sooner than recorded; it may be late anywhere."""
        notes = self._transcript.notes
        # How long one answer took stands there beside its status.
        is_timed = "ms" in notes and frame.get("json", {}).get("status") == notes["status"]
        if is_timed and seconds < notes["ms"] / 1000 - SOONER:
            self._differs(f"{place}, ms", notes["ms"], round(seconds * 1000))

    def _headers(self, frame: dict[str, Any]) -> dict[str, str]:
        values = {**ORDINARY, **VALUES.get(self._transcript.name, {})}
        if self._token is not None:
            values["x-phoenix-longpoll-token"] = self._token
        return {name: values[name] for name in frame["req_headers"]}

    def _compare(self, place: str, frame: dict[str, Any], answer: Answer) -> None:
        if answer.status != frame["http_status"]:
            self._differs(f"{place}, status", frame["http_status"], answer.status)
            return
        if answer.status >= 500:
            return  # what stands on the page for an error of the server is the server's own
        if "json" not in frame:
            if answer.body:
                self._differs(f"{place}, body", "", answer.body)
            return
        got = json.loads(answer.body)
        token = got.get("token")
        if isinstance(token, str) and token:
            # Whatever it is: the next request has it.
            self._token, got["token"] = token, "<token>"
        if "messages" in got:
            got["messages"] = [json.loads(one) for one in got["messages"]]
        expected = fill(frame["json"], self._run)
        if fits(expected, got, {}) is None:
            self._differs(f"{place}, body", expected, got)
