"""The words and the order of the pictures of lives; whatever else they show is recorded."""

from __future__ import annotations

from typing import Final

from docs.diagrams.rails import Life

PROCESS: Final = Life(
    name="life-of-a-process",
    title="The life of a process",
    states={"running": "running", "exiting": "exiting", "dead": "dead", "zombie": "zombie"},
    columns={"reason": "exit reason"},
    words={
        ("", "running", ""): "`spawn`",
        ("running", "dead", "its body returns"): "its function returns",
        ("running", "dead", "its body raises"): "its function raises an exception",
        ("running", "dead", "its body raises ProcessExit"): "it raises `ProcessExit(reason)`",
        ("running", "dead", "the node is torn down"): "a second Ctrl-C stops the node",
        ("running", "exiting", "a signal comes"): "`exit(pid, reason)`, not trapped",
        ("running", "exiting", "a kill comes"): '`exit(pid, "kill")`, trapped or not',
        ("running", "exiting", "one that it is linked to ends"): "one that it is linked to ends",
        ("running", "exiting", "it tells itself to end"): '`exit(self_pid(), "normal")`',
        ("running", "exiting", "its mailbox overflows"): 'its `Bound(…, "exit")` is full',
        ("running", "exiting", "the node closes"): "the node closes",
        ("exiting", "exiting", "a kill comes"): '`exit(pid, "kill")` meanwhile',
        ("exiting", "zombie", ""): "killed, its code does not stop in time",
        ("exiting", "dead", ""): "its `finally` blocks have run",
        ("zombie", "dead", ""): "its code stops after all",
    },
)

CONNECTION: Final = Life(
    name="life-of-a-connection",
    title="The life of a connection",
    states={
        "accepted": "accepted",
        "request": "a request",
        "connect": "connecting",
        "open": "open",
        "closing": "closing",
        "refused": "refused",
        "ended": "ended",
    },
    columns={"reason": "exit reason", "code": "code"},
    words={
        ("", "accepted", ""): "TCP is accepted",
        ("accepted", "refused", "there is no room for one more"): "`max_connections` are there",
        ("accepted", "request", ""): "its process starts",
        ("request", "request", "a page is asked for"): "a page is answered",
        ("request", "refused", "it is no HTTP"): "it is no HTTP",
        ("request", "refused", "half a head comes in time"): "only half comes in time",
        ("request", "refused", "the head is too large"): "its head is too large",
        ("request", "refused", "the origin is foreign"): "its origin is foreign",
        ("request", "refused", "no subprotocol will do"): "no subprotocol will do",
        ("request", "ended", "no request comes in time"): "none comes in time",
        ("request", "ended", "the client goes"): "the client hangs up",
        ("request", "connect", ""): "it is for a socket",
        ("connect", "refused", "its version is unknown"): "its version is unknown",
        ("connect", "refused", "connect says no"): "`connect` returns False",
        ("connect", "refused", "connect raises"): "`connect` raises",
        ("connect", "refused", "connect takes too long"): "`connect` takes too long",
        ("connect", "refused", "id is no string"): "`id` returns no string",
        ("connect", "refused", "it asks for no WebSocket"): "it asks for no WebSocket",
        ("connect", "open", "connect says yes"): "`connect` returns True",
        ("open", "ended", "TCP ends, or is reset"): "TCP ends, or is reset",
        ("open", "ended", "its process is killed"): "its process is killed",
        ("open", "closing", "it closes"): "the client closes",
        ("open", "closing", "it is silent"): "it is silent for `timeout`",
        ("open", "closing", "it does not read"): "it does not read",
        ("open", "closing", "it sends junk"): "it sends junk",
        ("open", "closing", "it sends too much at once"): "it sends too much at once",
        ("open", "closing", "its text is not UTF-8"): "its text is not UTF-8",
        ("open", "closing", "it breaks RFC 6455"): "it breaks RFC 6455",
        ("open", "closing", "it is disconnected by its id"): "it is disconnected by its id",
        ("open", "closing", "the server drains"): "the server drains",
        ("open", "closing", "the server stops"): "the server stops",
        ("closing", "ended", ""): "both have closed, or `close_within` is over",
        ("refused", "request", ""): "the next request may come",
        ("refused", "ended", ""): "or the connection is closed",
    },
)

POLLING: Final = Life(
    name="life-of-a-polling-client",
    title="The life of a client that polls",
    states={
        "connect": "connecting",
        "served": "served",
        "refused": "refused",
        "ended": "ended",
    },
    columns={"reason": "exit reason"},
    words={
        ("", "connect", ""): "a poll without a token",
        ("connect", "refused", "connect says no"): "`connect` returns False",
        ("connect", "served", "connect says yes"): "`connect` returns True",
        ("served", "ended", "it polls no more"): "it polls no more",
        ("served", "ended", "it does not poll, and much is sent"): "more waits for it than may",
        ("served", "ended", "it sends junk"): "it sends junk",
        ("served", "ended", "it is disconnected by its id"): "it is disconnected by its id",
        ("served", "ended", "the server drains"): "the server drains",
        ("served", "ended", "the server stops"): "the server stops",
        ("served", "ended", "a signal comes"): "`exit(pid, reason)`",
        ("served", "ended", "its process is killed"): "its process is killed",
        ("refused", "ended", ""): "its poll is answered",
    },
)

JOIN: Final = Life(
    name="life-of-a-join",
    title="The life of a join",
    states={
        "joining": "joining",
        "joined": "joined",
        "leaving": "leaving",
        "over": "over",
        "gone": "gone",
    },
    columns={"reason": "exit reason", "hears": "its client hears"},
    words={
        ("", "joining", ""): "`phx_join` comes",
        ("joining", "over", "join says no"): "`join` returns `Error(…)`",
        ("joining", "over", "join raises"): "`join` raises",
        ("joining", "over", "its process is killed"): "its process is killed",
        ("joining", "joined", "join lets it in"): "`join` returns `Ok(…)`",
        ("joined", "over", "its handler says Stop, in order"): '`Stop("normal")` of a handler',
        ("joined", "over", "its handler says Stop, not in order"): "`Stop(reason)` of a handler",
        ("joined", "over", "its handler raises"): "a handler raises",
        ("joined", "over", "one that it is linked to ends"): "one that it is linked to ends",
        ("joined", "over", "its process is killed"): "its process is killed",
        ("joined", "gone", "its client joins anew"): "the topic is joined anew",
        ("joined", "gone", "its connection ends"): "its connection ends",
        ("joined", "leaving", "it asks to leave"): "`phx_leave` comes",
        ("leaving", "gone", "its client joins anew"): "the topic is joined anew",
        ("leaving", "over", "its process is killed"): "its process is killed",
        ("leaving", "over", ""): "it ends, and has been told",
        ("over", "gone", ""): "its process has ended",
    },
)

LIVES: Final = {
    "process": PROCESS,
    "connection": CONNECTION,
    "polling": POLLING,
    "join": JOIN,
}
