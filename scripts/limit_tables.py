"""Write the tables of limits and defaults: each number as the code has it, and why it is that.

`python -m scripts.limit_tables DIRECTORY` writes `limits.md` there, which docs/reference/limits.md
takes in. A number is read from where it is defined, so it cannot be another one than the code's;
tests/docs/test_limits.py finds the numbers in the code that have no line here.
"""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final


@dataclass(frozen=True, slots=True)
class Limit:
    """A number with a reason.

    `place` is where it is defined, as `module:Class.field`, `module:function(parameter)` or
    `module:CONSTANT`. `beyond` is what happens at more than that, or afterwards. `set_by` is how a
    user sets what is a constant only as a default.
    """

    what: str
    place: str
    unit: str
    beyond: str
    why: str
    set_by: str = ""

    @property
    def value(self) -> Any:
        """The number, as the code has it."""
        return value_at(self.place)

    @property
    def setting(self) -> str:
        """How a user sets it."""
        if self.set_by:
            return f"`{self.set_by}`"
        name = self.place.partition(":")[2]
        owner, bracket, parameter = name.partition("(")
        if bracket:
            owner = owner.removesuffix(".init").removesuffix(".__init__")
            return f"`{owner}({parameter[:-1]}=…)`"
        return "fixed" if name.rpartition(".")[2].isupper() else f"`{name}`"

    @property
    def shown(self) -> str:
        """The number with its unit, as one reads it."""
        return shown(self.value, self.unit)


def value_at(place: str) -> Any:
    """Return the number that is defined at a place."""
    module, _, path = place.partition(":")
    name, bracket, parameter = path.partition("(")
    value: Any = importlib.import_module(module)
    owner: Any = None
    for part in name.split("."):
        owner, value = value, inspect.getattr_static(value, part, None)
        if value is None and dataclasses.is_dataclass(owner):
            break
    if bracket:
        function = getattr(value, "__func__", value)
        return inspect.signature(function).parameters[parameter[:-1]].default
    if dataclasses.is_dataclass(owner):
        fields = {one.name: one.default for one in dataclasses.fields(owner)}
        return fields[name.rpartition(".")[2]]
    return value


def shown(value: Any, unit: str) -> str:
    """Return a number as one reads it."""
    if value is None:
        return "none"
    if value == math.inf:
        return "no end"
    if unit == "bytes":
        for size, name in ((1024 * 1024, "MiB"), (1024, "KiB")):
            if value % size == 0:
                return f"{value // size:,} {name}"
        return f"{value:,} bytes"
    number = f"{value:,}" if isinstance(value, int) else f"{value:,g}"
    if isinstance(value, float) and value >= 1e6:
        number = f"{int(value):,}"
    return f"{number} {unit}".strip()


CONNECTIONS: Final[Sequence[Limit]] = (
    Limit("connections at a time", "exeunt.channels.endpoint:Endpoint.init(max_connections)", "",
          "503 with `Retry-After`, then closed",
          "that of the server beneath Phoenix, for each of its acceptors; idle ones take 600 MB "
          "together"),
    Limit("such refusals at a time", "exeunt.channels.endpoint:MOST_REFUSALS", "",
          "cut off without an answer",
          "who floods a full server must not keep it busy with answers"),
    Limit("head of a request", "exeunt.channels.http_messages:Limits.head_bytes", "bytes", "431",
          "room for long URLs and cookies; it is parsed whole, so what is larger costs"),
    Limit("its headers", "exeunt.channels.http_messages:Limits.headers", "", "431",
          "browsers send twenty to thirty, proxies add a few"),
    Limit("body of a request", "exeunt.channels.http_messages:Limits.body_bytes", "bytes", "413",
          "a body is held in memory; nginx draws the line here too"),
    Limit("time for a head", "exeunt.channels.http_messages:Limits.head_seconds", "s",
          "408, or closed if nothing came",
          "a slow phone manages in two; who drips bytes is rid of soon"),
    Limit("time for a body", "exeunt.channels.http_messages:Limits.body_seconds", "s", "408",
          "a mebibyte at 35 kB a second"),
    Limit("time for an answer to be taken", "exeunt.channels.http_messages:Limits.write_seconds",
          "s", "the connection is cut", "the same the other way"),
    Limit("requests on a connection", "exeunt.channels.http_messages:Limits.requests", "",
          "closed after the last",
          "as in nginx: what little leaks in a long connection does not add up"),
    Limit("idle time between them", "exeunt.channels.http_messages:Limits.idle_seconds", "s",
          "closed", "the same as the silence of a WebSocket"),
    Limit("time for a client to read that it is refused",
          "exeunt.channels.http_messages:Limits.linger_seconds", "s", "the connection is cut",
          "a reset that overtakes the answer would hide it"),
    Limit("time for a socket's `connect`", "exeunt.channels.site:Mount.connect_within", "s", "503",
          "longer than a slow database, and what phoenix.js waits for an answer"),
)  # fmt: skip

WEBSOCKETS: Final[Sequence[Limit]] = (
    Limit("a frame, its header included", "exeunt.channels.site:Mount.max_frame_size", "bytes",
          "close code 1009; the exit reason says so", "that of Bandit, Phoenix's server"),
    Limit("a message in fragments", "exeunt.channels.site:Mount.max_message_size", "bytes",
          "the same", "the same"),
    Limit("silence", "exeunt.channels.site:Mount.timeout", "s",
          'close code 1002, `Shutdown("read_timeout")`',
          "Phoenix's: clients send a heartbeat every 30 s, so one may be lost"),
    Limit("bytes that wait for a client which does not read",
          "exeunt.channels.site:Mount.max_queued", "bytes",
          'close code 1013, then cut, `Shutdown("slow_consumer")`',
          "some seconds of a busy room; a thousand such clients take 4 GB at the very worst, and "
          "much less where the messages are broadcasts, which they share"),
    Limit("time to answer a close frame", "exeunt.channels.site:Mount.close_within", "s",
          "the connection is cut", "a browser answers within one round trip"),
    Limit("channels of a connection", "exeunt.channels.socket:Socket.max_channels", "",
          "the join is refused, `too many channels joined`", "Phoenix's: each is a process"),
    Limit("messages of a topic before its join is decided", "exeunt.channels.session:HELD_MESSAGES",
          "", "nothing more is read from this client until then",
          "a client that waits for the reply sends none; phoenix.js keeps its own"),
    Limit("time that a connection waits for a join before it reads on",
          "exeunt.channels.session:JOIN_PATIENCE", "s", "it reads on, and the join goes on too",
          "keeps quick joins in order, and lets a slow one hold up nobody else for longer than "
          "one notices"),
    Limit("messages that wait for a channel", "exeunt.channels.session:UNHANDLED_MESSAGES", "",
          "nothing more is read from this client until half are handled",
          "TCP then slows the client down, which is the only way to tell it"),
    Limit("broadcasts that wait for a join's reply",
          "exeunt.channels.channel_server:MISSED_BROADCASTS", "",
          "the oldest are lost to this client",
          "it has no state yet that they could be missing from"),
    Limit("time for a channel to end when it is joined anew",
          "exeunt.channels.session:DUPLICATE_PATIENCE", "s", "it is killed",
          "that of a worker under a supervisor; the new join waits for it"),
)  # fmt: skip

LONGPOLL: Final[Sequence[Limit]] = (
    Limit("a poll waits, and a message may take", "exeunt.channels.site:LongPoll.window", "s",
          "a poll is answered 204, a POST 408; without a poll for 1.5 times that the client is "
          "gone", "Phoenix's: below the time-outs of all usual proxies"),
    Limit("a session's token is good for", "exeunt.channels.site:LongPoll.max_age", "s",
          "410, and a new session",
          "Phoenix's, two weeks; it is worth nothing once the session is over"),
    Limit("messages of one POST", "exeunt.channels.longpoll:MOST_MESSAGES", "",
          "the rest is not looked at", "phoenix.js sends no more at a time"),
)  # fmt: skip

STOPPING: Final[Sequence[Limit]] = (
    Limit("clients that are sent away in a round", "exeunt.channels.draining:Draining.batch_size",
          "", "the next round", "Phoenix's: as many as another server takes in between two rounds"),
    Limit("time between two rounds", "exeunt.channels.draining:Draining.interval", "s",
          "the next round", "Phoenix's"),
    Limit("of which so much is left to chance", "exeunt.channels.draining:Draining.jitter", "", "",
          "servers that are drained together do not keep step"),
    Limit("time for all rounds", "exeunt.channels.draining:Draining.within", "s",
          "the last round, whoever is left",
          "Phoenix's, and what most deployments wait before they kill"),
    Limit("age of a token", "exeunt.channels.tokens:MAX_AGE", "s", "`TokenError`, expired",
          "Phoenix's: a day", set_by="Tokens.sign(max_age=…)"),
    Limit("length of a token", "exeunt.channels.tokens:MAX_LENGTH", "characters",
          "`TokenError`, invalid", "no header carries a longer one; it is not decoded to find out"),
    Limit("rounds of hashing for a key", "exeunt.channels.tokens:KEY_ITERATIONS", "", "",
          "Phoenix's: the secret is long and random, no password"),
    Limit("its length", "exeunt.channels.tokens:KEY_LENGTH", "bytes", "", "that of SHA-256"),
    Limit("a value in the log or an event", "exeunt.channels.filtering:MOST_TEXT", "characters",
          "cut, with how long it was", "a client must not fill the disk with one message"),
    Limit("files that are kept in memory",
          "exeunt.channels.static:StaticFiles.__init__(cache_bytes)", "bytes",
          "those asked for last are kept", "a page with its scripts"),
)  # fmt: skip

CLIENT: Final[Sequence[Limit]] = (
    Limit("time for an answer", "exeunt.channels.client.connecting:connect(answer_within)", "s",
          "`JoinTimeout`, `PushTimeout`", "phoenix.js's"),
    Limit("time for a connection", "exeunt.channels.client.connecting:connect(connect_within)", "s",
          "`ConnectFailed`", "TCP, TLS and WebSocket together, each with lost packets"),
    Limit("time from heartbeat to heartbeat",
          "exeunt.channels.client.connecting:connect(heartbeat)", "s", "the next one",
          "phoenix.js's: half of the silence that a server bears"),
    Limit("time for something to come after one",
          "exeunt.channels.client.connecting:connect(heartbeat_within)", "s",
          "the connection is given up, and made anew",
          "phoenix.js waits for the next heartbeat too"),
    Limit("time to close", "exeunt.channels.client.connecting:connect(close_within)", "s",
          "the connection is cut", "the server's own second, and the way there and back"),
    Limit("a message", "exeunt.channels.client.connecting:connect(max_message_size)", "bytes",
          "closed with 1009", "the server's"),
    Limit("bytes that wait for the server", "exeunt.channels.client.connecting:connect(max_queued)",
          "bytes", "`SendQueueFull`", "one of the largest messages"),
    Limit("events that wait to be received",
          "exeunt.channels.client.socket:ClientSocket.join(max_events)", "",
          "`EventsLost`, or as `on_overflow` says",
          "what a task that takes a second may miss in a busy room"),
    Limit("presence differences that wait for a state",
          "exeunt.channels.client.presence:MAX_PENDING", "", "the oldest are dropped",
          "the state that comes at last is newer than they are"),
    Limit("a connection after which delays begin anew",
          "exeunt.channels.client.socket:STABLE_SECONDS", "s", "",
          "a server that accepts and drops at once is not hammered"),
)  # fmt: skip

PROCESSES: Final[Sequence[Limit]] = (
    Limit("a killed process has to unwind", "exeunt.kernel.node:KILL_GRACE", "s",
          "it is declared dead, a zombie", "clean-up that takes longer is stuck",
          set_by="open_node(kill_grace=…)"),
    Limit("a process has to end with its node", "exeunt.kernel.node:SHUTDOWN_BUDGET", "s", "killed",
          "that of a worker under a supervisor", set_by="open_node(shutdown=…)"),
    Limit("the loop may stand still under `open_node`", "exeunt.kernel.node:open_node(watchdog)",
          "s", "", "a library inside another program starts no thread unasked"),
    Limit("the same under `run`", "exeunt.kernel.node:run(watchdog)", "s",
          "the log names process and line",
          "longer than any step should take, shorter than a user's patience"),
    Limit("messages that a process takes in a row", "exeunt.kernel.mailbox:REDUCTIONS", "",
          "it lets the others run",
          "a count and no time, so that no clock decides an order; some 100 µs"),
    Limit("an interval of `send_interval`, at least", "exeunt.kernel.primitives:SHORTEST_INTERVAL",
          "s", "`ValueError`", "a shorter one would keep the program busy with itself"),
)  # fmt: skip

SUPERVISION: Final[Sequence[Limit]] = (
    Limit("restarts within `max_seconds`", "exeunt.otp.supervisor:Supervisor.init(max_restarts)",
          "", "the supervisor gives up",
          "Elixir's; Erlang's one is too few for a fault that comes in a burst"),
    Limit("that time", "exeunt.otp.supervisor:Supervisor.init(max_seconds)", "s", "", "OTP's"),
    Limit("the same, of a dynamic supervisor",
          "exeunt.otp.dynamic_supervisor:DynamicSupervisor.init(max_restarts)", "",
          "the supervisor gives up", "counted over all children: raise it where there are many"),
    Limit("that time", "exeunt.otp.dynamic_supervisor:DynamicSupervisor.init(max_seconds)", "s", "",
          "OTP's"),
    Limit("children of a dynamic supervisor",
          "exeunt.otp.dynamic_supervisor:DynamicSupervisor.init(max_children)", "", "`MaxChildren`",
          "only the application knows how many it bears"),
    Limit("the same, of a partition supervisor",
          "exeunt.otp.partition_supervisor:PartitionSupervisor.init(max_restarts)", "",
          "the supervisor gives up", "as above"),
    Limit("that time", "exeunt.otp.partition_supervisor:PartitionSupervisor.init(max_seconds)", "s",
          "", "OTP's"),
    Limit("a worker has to end", "exeunt.otp.supervision:WORKER_SHUTDOWN", "s", "killed",
          "OTP's; a supervisor has no end to its patience, since its children have theirs",
          set_by="ChildSpec.shutdown"),
    Limit("the first delay of a `Backoff`", "exeunt.otp.backoff:Backoff.initial", "s", "",
          "short enough not to be noticed after one mishap"),
    Limit("each delay is so much longer", "exeunt.otp.backoff:Backoff.factor", "times", "",
          "doubling, as anywhere"),
    Limit("the longest", "exeunt.otp.backoff:Backoff.maximum", "s", "",
          "whoever mends the cause does not wait long for it to be seen"),
    Limit("so much of it is left to chance", "exeunt.otp.backoff:Backoff.jitter", "", "",
          "children that failed together do not come back together"),
    Limit("a life after which they begin anew", "exeunt.otp.backoff:Backoff.reset_after", "s", "",
          "twice the longest delay"),
)  # fmt: skip

WATCHING: Final[Sequence[Limit]] = (
    Limit("attempts of a leave function", "exeunt.otp.watcher:Watcher.init(attempts)", "",
          "`LeaveFailed`, and it is crossed off",
          "only who wrote it knows whether it may run twice"),
    Limit("time for one", "exeunt.otp.watcher:Watcher.init(leave_within)", "s",
          "it is ended, and counts as failed",
          "a store that is away for a minute is not coming back soon"),
    Limit("leave functions at a time", "exeunt.otp.watcher:Watcher.init(max_running)", "",
          "the others wait, in order",
          "a thousand clients that leave at once must not open a thousand connections to a "
          "database"),
    Limit("entries in one transaction of a roll", "exeunt.otp.roll_file:LARGEST_BATCH", "",
          "the next transaction",
          "a crowd that leaves is written in a few, and none of them holds others up"),
    Limit("time until a roll that cannot be written is tried again",
          "exeunt.otp.roll_file:RETRY_SECONDS", "s", "", "a full disk does not empty faster"),
    Limit("a task has to end at its `shutdown`", "exeunt.otp.task:Task.shutdown(budget)", "s",
          "killed", "OTP's"),
    Limit("time for one task of a stream",
          "exeunt.otp.task_supervisor:TaskSupervisor.async_stream(timeout)", "s",
          "`TooSlowError`, or an outcome of its own",
          "put trio's around it where there is to be one; Elixir has 5 s"),
    Limit("events that `log_events` keeps", "exeunt.otp.introspection:log_events(keep)", "",
          "the oldest are dropped", "OTP's"),
)  # fmt: skip

OBSERVER: Final[Sequence[Limit]] = (
    Limit("time from picture to picture", "exeunt.observer.sampler:INTERVAL", "s", "",
          "looks live, and costs little", set_by="Observer(interval=…)"),
    Limit("share of the time that goes into them", "exeunt.observer.sampler:SHARE", "",
          "pictures come less often", "to watch must not change what is watched"),
    Limit("points of the curves", "exeunt.observer.sampler:HISTORY", "", "the oldest go",
          "two minutes"),
    Limit("viewers", "exeunt.observer.observer:MOST_VIEWERS", "", "503",
          "a page for a team, not for the public"),
    Limit("characters of a token, at least", "exeunt.observer.observer:SHORTEST_TOKEN", "",
          "`ValueError`", "what is shorter can be guessed"),
    Limit("processes shown", "exeunt.observer.rows:Extent.processes", "", "the rest is counted",
          "what a browser draws without stutter"),
    Limit("of these below one", "exeunt.observer.rows:Extent.children", "", "the rest is counted",
          "one busy supervisor must not fill the picture"),
    Limit("clients shown", "exeunt.observer.rows:Extent.sockets", "", "the rest is counted",
          "the same"),
    Limit("topics shown", "exeunt.observer.rows:Extent.topics", "", "the rest is counted",
          "the same"),
    Limit("members of a topic shown", "exeunt.observer.clients:MOST_MEMBERS", "",
          "the rest is counted", "the same"),
    Limit("crashes kept", "exeunt.observer.ledger:MOST_CRASHES", "", "the oldest go",
          "the last ones are looked at"),
)  # fmt: skip

SECTIONS: Final[dict[str, Sequence[Limit]]] = {
    "Connections and requests": CONNECTIONS,
    "WebSockets and channels": WEBSOCKETS,
    "Long-polling": LONGPOLL,
    "Stopping, tokens, pages": STOPPING,
    "The Python client": CLIENT,
    "Processes": PROCESSES,
    "Supervision": SUPERVISION,
    "Watchers and tasks": WATCHING,
    "The observer": OBSERVER,
}


def tables() -> str:
    """Return the tables, a section each."""
    lines: list[str] = []
    for title, limits in SECTIONS.items():
        lines += [f"## {title}", "", "| limit | default | beyond it | why that much |"]
        lines.append("| --- | --- | --- | --- |")
        for one in limits:
            lines.append(f"| {one.what}: {one.setting} | {one.shown} | {one.beyond} | {one.why} |")
        lines.append("")
    return "\n".join(lines)


def main(directory: Path) -> None:
    """Write the tables."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "limits.md").write_text(tables(), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
