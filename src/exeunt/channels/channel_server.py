"""The process that runs a channel: a GenServer around the user's class.

It is started by the session of a connection, joins, and then takes the client's messages, the
broadcasts that the class intercepts, and whatever else is sent to it. One clause for each
situation on the wire; the rules are those of Phoenix.Channel.Server.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import trio

from exeunt.channels.channel import Channel, NotJoined, Reply
from exeunt.channels.events import ChannelHandledIn, ChannelJoined, ChannelLeft, JoinRefused
from exeunt.channels.filtering import OPEN, Filter, plain
from exeunt.channels.log import LogLevel, is_told, tell
from exeunt.channels.pubsub import Broadcast, Fastlane
from exeunt.channels.returns import bad_return
from exeunt.channels.wire import Encoded, Message
from exeunt.kernel.calls import Call
from exeunt.kernel.exits import (
    NOPROC,
    NORMAL,
    SHUTDOWN,
    Down,
    Reason,
    Shutdown,
    is_orderly,
    is_reason,
)
from exeunt.kernel.ids import Pid
from exeunt.kernel.primitives import monitor
from exeunt.otp.genserver import GenServer, start_server
from exeunt.otp.results import (
    NOTHING,
    BadReturnValue,
    CallResult,
    CastResult,
    Continue,
    InitResult,
    NoReply,
    Refuse,
    Stop,
    TimeoutAfter,
    UnexpectedRequest,
)
from exeunt.otp.results import Reply as CallReply
from exeunt.otp.supervision import ChildSpec

if TYPE_CHECKING:
    from exeunt.channels.session import Entry, Session


class Incoming:
    """A message of the client, to the channel; it is shown as the socket's filter has it."""

    __match_args__ = ("message",)
    __slots__ = ("filter", "message")

    def __init__(self, message: Message, filter: Filter) -> None:
        self.message = message
        self.filter = filter

    def __repr__(self) -> str:
        event, ref = self._plain(self.message.event), self._plain(self.message.ref)
        payload = self.filter.show(self.message.payload)
        return f"Incoming(event={event}, ref={ref}, payload={payload})"

    def _plain(self, value: object) -> str:
        """Return the text of what ought to be a string, and may be anything."""
        return (OPEN if isinstance(value, str) else self.filter).show(value, 200)


@dataclass(frozen=True, slots=True)
class Leave:
    """The client wants to leave the topic."""

    ref: object


@dataclass(frozen=True, slots=True)
class ConnectionGone:
    """The connection has ended, for this reason; sent ahead of the connection's own end."""

    reason: Reason


MISSED_BROADCASTS: Final = 1000
"""How many broadcasts, the latest, are kept for a client whose join is not decided yet."""


_ANSWERS: Final = "None, Ok(…), Error(…), Reply(status, …) or Stop(reason)"
_CALL_RESULTS: Final = "exeunt.Reply(value), NoReply(), Refuse(error) or Stop(reason)"
_NEXT: Final = "None, Continue(…), TimeoutAfter(…) or Stop(reason); a client is sent what is pushed"


class _Gate:
    """Keeps the broadcasts of a topic for a client until its join has been answered.

    Phoenix: a broadcast that is made while `join` runs is lost to the client. Here it follows the
    reply, so that nothing is missing between what `join` has read somewhere (a history, a list of
    who is here) and the first broadcast; of more than `MISSED_BROADCASTS` the oldest are lost.
    """

    __slots__ = ("kept",)

    def __init__(self) -> None:
        self.kept: deque[Encoded] = deque(maxlen=MISSED_BROADCASTS)

    def send(self, message: Encoded) -> None:
        self.kept.append(message)


class _Join:
    __slots__ = ("filter", "params", "ref")

    def __init__(self, ref: object, params: Any, filter: Filter) -> None:
        self.ref = ref
        self.params = params
        self.filter = filter

    def __repr__(self) -> str:
        return f"join({self.filter.show(self.params)})"


class ChannelServer(GenServer):
    """Runs one join of one client on one topic."""

    @staticmethod
    def spec(kind: type[Channel], session: Session, entry: Entry, message: Message) -> ChildSpec:
        """Return the child specification of a join: never restarted, since the client rejoins."""
        # Shown by the supervisor's status and crash report, so it must show no secret.
        asked = Incoming(message, session.filter)
        start = partial(
            start_server,
            ChannelServer,
            (kind, session, entry, asked),
            {},
            name=None,
            linked=True,
            mailbox=kind.mailbox,
        )
        name = f"{kind.__qualname__} '{plain(entry.topic)}'"
        return ChildSpec(id=name, start=start, restart="temporary", shutdown=kind.shutdown)

    async def init(
        self, kind: type[Channel], session: Session, entry: Entry, asked: Incoming
    ) -> InitResult:
        """Be there; `join` comes next, so that a slow one keeps nobody waiting."""
        message = asked.message
        self.session = session
        self.entry = entry
        self.topic = entry.topic
        self.ref: object = None
        self.join_ref = message.ref if message.join_ref is None else message.join_ref
        self.is_joined = False
        # Whether join has come to its end, so that the class may be told of the channel's end.
        self._has_answered = False
        entry.pid = self.pid
        self._monitor = monitor(session.pid)
        self.channel = kind()
        self.channel._server = self
        process = self._process = self._loop.process
        process.label = f"{kind.__qualname__} '{plain(entry.topic)}'"
        process.describe = self._describe
        process.at_exit = process.at_exit or {}
        process.at_exit[self] = self._let_go
        self.channel.assigns |= entry.assigns
        return Continue(_Join(message.ref, message.payload, session.filter))

    def _let_go(self, pid: Pid) -> None:
        events = self.session.events
        if self.is_joined and events.wants(ChannelLeft):
            reason = self._process.exit_reason
            stayed = trio.current_time() - self.entry.since
            events.emit(ChannelLeft(pid, self._name(), self.topic, reason, stayed))
        # The channel keeps its server: so what hangs on the two goes with the process.
        del self.channel

    def require_joined(self, what: str) -> None:
        """Raise `NotJoined` unless the join has succeeded."""
        if not self.is_joined:
            raise NotJoined(
                f"{what} is for a channel that has been joined: from join, send a message to "
                "self.pid, and do it in handle_info"
            )

    # -- callbacks ------------------------------------------------------------------------------

    async def handle_continue(self, argument: Any) -> CastResult:
        """Join, at first; later whatever the class asked for."""
        if isinstance(argument, _Join):
            return await self._join(argument)
        return self._result("handle_continue", await self.channel.handle_continue(argument))

    async def handle_info(self, message: Any) -> CastResult:
        """Take the client's messages, and all others."""
        match message:
            case Incoming(incoming):
                return await self._handle_in(incoming)
            case Broadcast(topic, event, payload) if (
                topic == self.topic and event in self.channel.intercepts
            ):
                return self._result("handle_out", await self.channel.handle_out(event, payload))
            case Leave(ref):
                self._reply(ref, Reply("ok"))
                return self._stop(Shutdown("left"))
            case ConnectionGone(reason):
                return self._connection_gone(reason)
            case Down(ref, _, reason) if ref is self._monitor:
                return self._connection_gone(reason)
            case _:
                return self._result("handle_info", await self.channel.handle_info(message))

    async def handle_call(self, request: Any, caller: Call) -> CallResult:
        """Pass a request on to the class."""
        result = await self.channel.handle_call(request, caller)
        if isinstance(result, Stop):
            self._stop(result.reason)
        elif not isinstance(result, (CallReply, NoReply, Refuse)):
            raise self._bad_return("handle_call", result, _CALL_RESULTS)
        return result

    async def handle_cast(self, request: Any) -> CastResult:
        """Pass a request on to the class."""
        return self._result("handle_cast", await self.channel.handle_cast(request))

    async def terminate(self, reason: Reason) -> None:
        """Tell the class, unless its join did not come to an end."""
        if self._has_answered:
            await self.channel.terminate(reason)

    def format_status(self, state: dict[str, Any]) -> Mapping[str, Any]:
        """Show what the class has put into itself, without secrets, and what it is joined to."""
        channel = state.get("channel")
        own = {} if channel is None else {**vars(channel)}
        own.pop("_server", None)
        shown: dict[str, Any] = self.session.filter(own)
        return {**shown, "topic": state.get("topic"), "is_joined": state.get("is_joined")}

    def _describe(self) -> Mapping[str, object]:
        """Return what a crash report shows besides the reason."""
        loop = self._loop
        details: dict[str, object] = {}
        match loop.last_message:
            case Incoming() | Continue(_Join()) as message:
                details["last message"] = repr(message)
            case Call(request=request):
                details["last message"] = f"a call of {self.session.filter.show(request)}"
            case message:
                if message is not NOTHING:
                    details["last message"] = self.session.filter.show(message)
        return {**details, "state": OPEN.show(loop.shown_state())}

    def _name(self) -> str:
        channel = vars(self).get("channel")
        return "ended channel" if channel is None else type(channel).__qualname__

    def __repr__(self) -> str:
        return f"{self._name()} '{plain(self.topic)}'"

    # -- joining --------------------------------------------------------------------------------

    async def _join(self, asked: _Join) -> CastResult:
        session, entry, channel = self.session, self.entry, self.channel
        before = dict(channel.assigns)
        gate = _Gate()
        began = trio.current_time()
        subscription = session.hub.subscribe(
            self.topic, metadata=Fastlane(gate, session.serializer, channel.intercepts)
        )
        result: object = await channel.join(self.topic, asked.params)
        duration = trio.current_time() - began
        if result is not None and not (
            isinstance(result, Reply) and result.status in ("ok", "error")
        ):
            raise self._bad_return("join", result, "None, Ok(…) or Error(…)")
        response: Any = {} if result is None else result.response
        if result is not None and result.status == "error":
            # As in Phoenix, terminate then sees the socket as it was before the join.
            channel.assigns = before
            self._has_answered = True
            session.hub.unsubscribe(self.topic)
            session.join_refused(entry, response)
            if is_told(session.events, JoinRefused, channel.log_join):
                params = session.filter(asked.params)
                refused = JoinRefused(
                    self.pid, self._name(), self.topic, "refused", params, duration
                )
                tell(session.events, refused, self._level(channel.log_join))
            return Stop(SHUTDOWN)
        reply = session.serializer.encode_reply(
            entry.join_ref, asked.ref, self.topic, "ok", response
        )
        self.is_joined = self._has_answered = True
        # The reply comes before all else of this join, then what was broadcast meanwhile: this is
        # one step, so nothing comes in between.
        session.transport.send(reply)
        for message in gate.kept:
            session.transport.send(message)
        subscription.metadata = Fastlane(session.transport, session.serializer, channel.intercepts)
        session.joined(entry)
        if is_told(session.events, ChannelJoined, channel.log_join):
            params = session.filter(asked.params)
            joined = ChannelJoined(
                self.pid, session.pid, self._name(), self.topic, params, duration
            )
            tell(session.events, joined, self._level(channel.log_join))
        return None

    # -- messages -------------------------------------------------------------------------------

    async def _handle_in(self, message: Message) -> CastResult:
        event = message.event
        if not isinstance(event, str):
            shown = self.session.filter.show(event, 200)
            raise UnexpectedRequest(f"the client sent an event that is no string: {shown}")
        self.ref = message.ref
        channel = self.channel
        is_wanted = is_told(self.session.events, ChannelHandledIn, channel.log_handle_in)
        began = trio.current_time() if is_wanted else 0.0
        try:
            result: object = await channel.handle_in(event, message.payload)
            if is_wanted:
                self._tell_handled(event, message, result, trio.current_time() - began)
            if result is None:
                return None
            if isinstance(result, Reply):
                self._reply(message.ref, result)
                return None
            if isinstance(result, Stop):
                if isinstance(result.reply, Reply):
                    self._reply(message.ref, result.reply)
                elif result.reply is not NOTHING:
                    raise self._bad_return("handle_in", result, wrong=result.reply)
                return self._stop(result.reason)
            if isinstance(result, TimeoutAfter):
                return result
            raise self._bad_return("handle_in", result)
        finally:
            self.ref = None
            self.session.handled(self.entry)

    def _tell_handled(self, event: str, message: Message, result: object, duration: float) -> None:
        answer = result.reply if isinstance(result, Stop) else result
        handled = ChannelHandledIn(
            pid=self.pid,
            channel=self._name(),
            topic=self.topic,
            event=event,
            ref=message.ref,
            params=self.session.filter(message.payload),
            status=answer.status if isinstance(answer, Reply) else None,
            duration=duration,
        )
        tell(self.session.events, handled, self._level(self.channel.log_handle_in))

    def _level(self, level: LogLevel) -> LogLevel:
        """Return a level, or False for a topic of the protocol's own, as in Phoenix."""
        return False if self.topic.startswith("phoenix") else level

    def _reply(self, ref: object, answer: Reply) -> None:
        status: object = answer.status
        if not isinstance(status, str):
            raise self._bad_return("handle_in", answer)
        session = self.session
        session.transport.send(
            session.serializer.encode_reply(self.join_ref, ref, self.topic, status, answer.response)
        )

    def _bad_return(
        self, callback: str, result: object, expected: str = _ANSWERS, *, wrong: object = NOTHING
    ) -> BadReturnValue:
        shown = self.session.filter(result)
        wrong = result if wrong is NOTHING else wrong
        return bad_return(f"{self._name()}.{callback}", wrong, shown, expected)

    # -- ends -----------------------------------------------------------------------------------

    def _result(self, callback: str, result: Any) -> CastResult:
        """Note that a callback returned `Stop`; pass every result on to the loop."""
        if isinstance(result, Stop):
            return self._stop(result.reason)
        if result is None or isinstance(result, (Continue, TimeoutAfter)):
            return result
        raise self._bad_return(callback, result, _NEXT)

    def _stop(self, reason: Reason) -> Stop:
        """Stop because a callback said so; in order, if the reason is an orderly one.

        Only such an end is a phx_close to the client; every other one is a phx_error.
        """
        if is_orderly(reason):
            self.session.channel_closed(self.entry)
        return Stop(reason)

    def _connection_gone(self, reason: Reason) -> Stop:
        # The end of a connection is told by the connection, not by each of its channels.
        self._process.reporting = "never"
        if is_reason(reason, NOPROC):
            # It had ended before this channel could monitor it.
            reason = self.session.end_reason
        return Stop(Shutdown("closed") if is_reason(reason, NORMAL) else reason)


__all__ = ["ChannelServer", "ConnectionGone", "Incoming", "Leave"]
