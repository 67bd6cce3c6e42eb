"""What the code cannot say of events, for the reference: what each field means, and an example.

Of every event there is one sample, whose text is shown where the event is logged, a word on when it
is told, and a meaning for each of its fields. `scripts.event_tables` makes the page of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, TypeAlias

from exeunt import Crash, Pid, Shutdown
from exeunt.channels.events import (
    ChannelHandledIn,
    ChannelJoined,
    ChannelLeft,
    JoinRefused,
    SlowConsumerDropped,
    SocketConnected,
    SocketDisconnected,
    SocketRefused,
    SocketsDrained,
)
from exeunt.kernel.events import (
    CrashReport,
    Dropped,
    Event,
    Exited,
    Spawned,
    ZombieFound,
    ZombieGone,
)
from exeunt.kernel.watchdog import LoopBlocked
from exeunt.otp.application_controller import ApplicationExited
from exeunt.otp.leaving import LeaveFailed, LeavesNotRun, NodeWasLost
from exeunt.otp.reports import Progress, SupervisorReport

Kind: TypeAlias = type[Event]

_PID = Pid(0, 42)
_ERROR = ValueError("the rack is empty")

SAMPLES: Final[Sequence[Event]] = (
    Spawned(_PID, Pid(0, 7), "Room"),
    Exited(_PID, "Room", Shutdown("left")),
    Dropped(_PID, "hello", "the receiver is dead"),
    CrashReport(
        pid=_PID,
        name="kitchen",
        label="Room",
        reason=Crash(_ERROR),
        exception=_ERROR,
        ancestors=(Pid(0, 7), Pid(0, 1)),
        details={"last message": "('take', 'plate')"},
    ),
    ZombieFound(_PID, "crunch", '  File "crunch.py", line 9, in crunch\n    while True: pass'),
    ZombieGone(_PID, "crunch"),
    LoopBlocked(_PID, "process <0.42>", "crunch.py:9 in crunch", 1.84),
    Progress(Pid(0, 7), "kitchen", _PID),
    SupervisorReport(Pid(0, 7), "house", "child_terminated", "kitchen", _PID, Crash(_ERROR)),
    LeaveFailed(
        watcher=Pid(0, 8),
        pid=_PID,
        who="<0.42> (Room)",
        watched_reason=Shutdown("peer_closed"),
        function="say_goodbye",
        reason=Crash(_ERROR),
        attempt=1,
        again_in=0.1,
    ),
    NodeWasLost(Pid(0, 8), "roll.db", 3),
    LeavesNotRun("rooms", 2, None),
    ApplicationExited("shop", "permanent", "shutdown"),
    SocketConnected(
        pid=Pid(0, 40),
        socket="UserSocket",
        id="user:ada",
        transport="websocket",
        version="2.0.0",
        serializer="JSONSerializerV2",
        params={"vsn": "2.0.0", "token": "[FILTERED]"},
        duration=0.000036,
    ),
    SocketRefused(
        pid=Pid(0, 40),
        socket="UserSocket",
        why="connect",
        transport="websocket",
        version="2.0.0",
        serializer="JSONSerializerV2",
        params={"vsn": "2.0.0"},
        duration=0.000041,
    ),
    SocketDisconnected(
        pid=Pid(0, 40),
        socket="UserSocket",
        id="user:ada",
        transport="websocket",
        reason=Shutdown("local_closed"),
        code=1000,
        duration=61.5,
    ),
    SlowConsumerDropped(Pid(0, 40), "UserSocket", "user:ada", "websocket", 4_194_304),
    SocketsDrained("UserSocket", count=50, total=120, index=1, rounds=3, interval=2.0),
    ChannelJoined(_PID, Pid(0, 40), "RoomChannel", "room:lobby", {}, 0.000012),
    JoinRefused(_PID, "RoomChannel", "room:lobby", "refused", {}, 0.000015),
    ChannelHandledIn(
        pid=_PID,
        channel="RoomChannel",
        topic="room:lobby",
        event="shout",
        ref="3",
        params={"body": "hi"},
        status="ok",
        duration=0.000051,
    ),
    ChannelLeft(_PID, "RoomChannel", "room:lobby", Shutdown("left"), 61.4),
)
"""One of each event, in the order of the page; its text is shown where the event is logged."""

WHEN: Final[dict[Kind, str]] = {
    Spawned: "in the spawning process, before the new one has run a step",
    Exited: "in the step in which it ends, after links and monitors were told",
    Dropped: "in the sender, at once",
    CrashReport: "in the step in which it ends, before those linked to it hear of it",
    ZombieFound: "`kill_grace` seconds after the kill",
    ZombieGone: "when it ends",
    LoopBlocked: "when the loop comes round again; the log has named the place before",
    Progress: "in the supervisor, for each start and restart",
    SupervisorReport: "in the supervisor, before it restarts anything",
    LeaveFailed: "in the watcher, when the function has failed or taken longer than it may",
    NodeWasLost: "in a watcher with a file, when it starts",
    LeavesNotRun: "when a watcher ends that nobody succeeds",
    ApplicationExited: "when its tree has ended, and before the node ends because of that",
    SocketConnected: "in the client's process, when `connect` and `id` have agreed",
    SocketRefused: "in the client's process, when they have not",
    SocketDisconnected: "when the client's process has ended; once for each `SocketConnected`",
    SlowConsumerDropped: "in whichever process sent what was too much",
    SocketsDrained: "in the endpoint, at the beginning of each round",
    ChannelJoined: "in the channel's process, when the reply is sent",
    JoinRefused: "in the channel's process, or in the connection's if there is none",
    ChannelHandledIn: "in the channel's process, when `handle_in` has returned; not when it raises",
    ChannelLeft: "when the channel's process has ended; once for each `ChannelJoined`",
}
"""When each event is told, beyond what its docstring says."""

FIELDS: Final[dict[str, str]] = {
    "pid": "the process",
    "label": "what it is called: its class, its function, or the label that it was given",
    "name": "its name, if it has one",
    "reason": "the exit reason",
    "supervisor": "the supervisor",
    "id": "the id of the child",
    "watcher": "the watcher",
    "path": "the file of the roll",
    "number": "how many",
    "socket": "the class of the socket",
    "channel": "the class of the channel",
    "topic": "as the client wrote it",
    "transport": '`"websocket"` or `"longpoll"`',
    "version": "the `vsn` that was asked for",
    "serializer": "the class that reads and writes its frames",
    "params": "what the client sent, with secrets covered, and cut to a bounded size",
    "duration": "seconds",
}
"""What a field means, unless `OWN_FIELDS` says otherwise."""

OWN_FIELDS: Final[dict[tuple[Kind, str], str]] = {
    (Spawned, "parent"): "the process that spawned it",
    (Dropped, "to"): "the pid",
    (Dropped, "message"): "the message itself",
    (Dropped, "cause"): '`"the receiver is dead"` or `"the mailbox is full"`',
    (CrashReport, "exception"): "what it raised, with its traceback; None if it ended otherwise",
    (CrashReport, "ancestors"): "its parent, the parent of that, and so on",
    (CrashReport, "details"): "what the behaviour adds, such as the last message and the state",
    (CrashReport, "while_exiting"): "the reason of which it was ending already, if it was",
    (ZombieFound, "stack"): "where its code still runs, as a traceback is written",
    (LoopBlocked, "pid"): "the process; None for a nursery's task, and for the main process",
    (LoopBlocked, "label"): "the same in words",
    (LoopBlocked, "where"): "file, line and function",
    (LoopBlocked, "seconds"): "seconds for which nothing else ran",
    (Progress, "pid"): "the child",
    (SupervisorReport, "name"): "the name of the supervisor, if it has one",
    (SupervisorReport, "context"): (
        '`"child_terminated"`, `"start_error"`, `"shutdown_error"`, '
        'or `"shutdown"`: the supervisor gives up'
    ),
    (SupervisorReport, "pid"): "the child; None where it has none now",
    (SupervisorReport, "detail"): "what there is to say besides, as text",
    (LeaveFailed, "pid"): "the process that had ended; None if its node was lost",
    (LeaveFailed, "who"): "the same in words",
    (LeaveFailed, "watched_reason"): "of what it had ended",
    (LeaveFailed, "function"): "the leave function",
    (LeaveFailed, "reason"): "of what that ended",
    (LeaveFailed, "attempt"): "which attempt it was, from 1",
    (LeaveFailed, "again_in"): "seconds to the next one; None if there is none",
    (LeavesNotRun, "name"): "the name of the watcher, if it has one",
    (LeavesNotRun, "path"): "the file in which they stand for the next start, if there is one",
    (ApplicationExited, "name"): "the name of the application",
    (ApplicationExited, "restart"): '`"permanent"`, `"transient"` or `"temporary"`',
    (SocketConnected, "pid"): "the process of the connection",
    (SocketConnected, "id"): "what the socket's `id` returned",
    (SocketConnected, "duration"): "seconds that `connect` took",
    (SocketRefused, "pid"): "the process of the connection",
    (SocketRefused, "why"): '`"connect"`, `"id"`, `"version"`, `"timeout"` or `"crashed"`',
    (SocketRefused, "serializer"): "as above; None if there is none for that version",
    (SocketRefused, "duration"): "seconds until it was refused",
    (SocketDisconnected, "pid"): "the process of the connection",
    (SocketDisconnected, "id"): "what the socket's `id` returned",
    (SocketDisconnected, "code"): "the close code that was sent; None if none was",
    (SocketDisconnected, "duration"): "seconds that the client was connected",
    (SlowConsumerDropped, "pid"): "the process of the connection",
    (SlowConsumerDropped, "id"): "what the socket's `id` returned",
    (SlowConsumerDropped, "limit"): "bytes, the `max_queued` of its mount",
    (SocketsDrained, "count"): "clients in this round",
    (SocketsDrained, "total"): "clients of the socket when the drain began",
    (SocketsDrained, "index"): "which round it is, from 1",
    (SocketsDrained, "rounds"): "how many there are",
    (SocketsDrained, "interval"): "seconds between two rounds",
    (ChannelJoined, "pid"): "the process of the channel",
    (ChannelJoined, "connection"): "that of the connection",
    (ChannelJoined, "duration"): "seconds that `join` took",
    (JoinRefused, "pid"): "the process of the channel, or of the connection if there is none",
    (JoinRefused, "channel"): "the class of the channel; None if the topic leads to none",
    (JoinRefused, "topic"): "any JSON value: whatever the client sent",
    (JoinRefused, "why"): '`"refused"`, `"crashed"`, `"unmatched"` or `"too many"`',
    (JoinRefused, "params"): "as above; None after a crash",
    (JoinRefused, "duration"): "seconds until it was refused",
    (ChannelHandledIn, "pid"): "the process of the channel",
    (ChannelHandledIn, "event"): "the event, as the client wrote it",
    (ChannelHandledIn, "ref"): "the ref of the message",
    (ChannelHandledIn, "status"): "that of the reply; None if there was none at once",
    (ChannelHandledIn, "duration"): "seconds that `handle_in` took",
    (ChannelLeft, "pid"): "the process of the channel",
    (ChannelLeft, "duration"): "seconds that the client was there",
}
