"""The table of disconnects: every way to leave, and what has to come of it."""

from __future__ import annotations

from functools import partial
from typing import Final

from exeunt import ProcessExit, Reason, Shutdown, Stop
from exeunt.channels import Error, Ok, PayloadError, ProtocolError
from exeunt.channels.channel import NotJoined
from exeunt.otp.results import BadReturnValue, UnexpectedRequest

from . import acts
from .acts import (
    busy_then,
    joining_then,
    joins_anew,
    joins_with,
    links_to_one_that_ends,
    pushes,
    raises,
    returns,
    runs,
    says,
    says_now_and_then,
    sends,
    signals,
    signals_connection,
    terminate_raises,
    told,
)
from .client import BINARY, PING, PONG, TEXT, Closed, Gone, close_frame, frame, text
from .row import IDLE, LIVES, UNSEEN, CrashOf, Deserializing, OneOf, Row
from .world import ROOM, Options

# -- frames ----------------------------------------------------------------------------------------

OK: Final = {"status": "ok", "response": {}}
NO: Final = {"status": "error", "response": {"no": 1}}
CRASHED: Final = {"status": "error", "response": {"reason": "join crashed"}}

REPLY_OK: Final = ["1", "2", ROOM, "phx_reply", OK]
CLOSE: Final = ["1", "1", ROOM, "phx_close", {}]
ERROR: Final = ["1", "1", ROOM, "phx_error", {"reason": "channel_crash"}]
JOINED: Final = ["1", "1", ROOM, "phx_reply", OK]
JOINED_ANEW: Final = ["9", "9", ROOM, "phx_reply", OK]
JOIN_REFUSED: Final = ["1", "1", ROOM, "phx_reply", NO]
REFUSED_ANEW: Final = ["9", "9", ROOM, "phx_reply", NO]
JOIN_CRASHED: Final = ["1", "1", ROOM, "phx_reply", CRASHED]

LEAVE: Final = says("1", "2", ROOM, "phx_leave", {})


def rows() -> list[Row]:
    """Return the whole table."""
    return [
        *_leaves(),
        *_ends_of_connections(),
        *_silences(),
        *_bad_input(),
        *_crashes(),
        *_stops(),
        *_signals(),
        *_second_joins(),
        *_failed_joins(),
        *_ends_by_the_server(),
    ]


# -- the client leaves -----------------------------------------------------------------------------


def _leaves() -> list[Row]:
    left = partial(Row, reason=Shutdown("left"), terminate=True)
    return [
        left("leave", LEAVE, frames=(REPLY_OK, CLOSE)),
        left(
            "leave with a join ref of null",
            says(None, "2", ROOM, "phx_leave", {}),
            frames=(REPLY_OK, CLOSE),
        ),
        left(
            "leave and close in one packet",
            acts.two_messages_in_one_packet,
            maybe=(REPLY_OK, CLOSE),
            end=Closed(1000),
        ),
        Row(
            "leave, and terminate raises",
            terminate_raises(LEAVE),
            reason=CrashOf(LookupError),
            terminate=True,
            frames=(REPLY_OK, CLOSE),
        ),
        Row(
            "leave with another join's ref",
            says("0", "2", ROOM, "phx_leave", {}),
            reason=LIVES,
            terminate=False,
        ),
    ]


# RFC 6455, section 7.4: codes that a client may use. Bandit answers 1000 to those of the first
# line, and 1002 to all others.
GOOD_CODES: Final = (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 4000, 4999)
OTHER_CODES: Final = (1012, 1013)
BAD_CODES: Final = (0, 999, 1004, 1005, 1006, 1014, 1015, 2000, 2999)


def _ends_of_connections() -> list[Row]:
    closed = partial(Row, reason=Shutdown("local_closed"), terminate=True)
    lost = partial(Row, reason=Shutdown("peer_closed"), terminate=True)
    bad = "close frame that must not be sent"
    return [
        *(
            closed(f"close frame: {code}", sends(close_frame(code)), end=Closed(1000))
            for code in GOOD_CODES
        ),
        closed("close frame: without a code", sends(close_frame(None)), end=Closed(1000)),
        *(
            closed(f"close frame: {code}", sends(close_frame(code)), end=Closed(1002))
            for code in OTHER_CODES
        ),
        *(
            closed(f"{bad}: {code}", sends(close_frame(code)), end=Closed(1002))
            for code in BAD_CODES
        ),
        closed(f"{bad}: half a code", sends(frame(0x8, b"\x03")), end=Closed(1002)),
        Row(
            "close frame, and terminate raises",
            terminate_raises(sends(close_frame(1001))),
            reason=CrashOf(LookupError),
            terminate=True,
            end=Closed(1000),
        ),
        Row(
            "close frame, then at once a reset",
            acts.close_and_reset,
            reason=OneOf((Shutdown("local_closed"), Shutdown("peer_closed"))),
            terminate=True,
            end=UNSEEN,
        ),
        lost("FIN without a close frame", acts.client_fin, end=Gone("eof")),
        lost("half a frame, then FIN", acts.half_a_frame_and_fin, end=Gone("eof")),
        lost("RST", acts.client_reset, end=UNSEEN),
        lost("RST with unread frames on the way", acts.reset_under_fire, end=UNSEEN),
        lost("client killed (SIGKILL)", acts.client_killed, connects=False, end=UNSEEN),
        closed(
            "close frame while handle_in runs",
            busy_then(sends(close_frame(1000))),
            end=Closed(1000),
        ),
        lost("FIN while handle_in runs", busy_then(acts.client_fin), end=Gone("eof")),
        lost("RST while handle_in runs", busy_then(acts.client_reset), end=UNSEEN),
        closed(
            "close frame while join runs",
            joining_then(sends(close_frame(1000))),
            joins=False,
            end=Closed(1000),
        ),
        lost("FIN while join runs", joining_then(acts.client_fin), joins=False, end=Gone("eof")),
        lost("RST while join runs", joining_then(acts.client_reset), joins=False, end=UNSEEN),
        Row(
            "more is sent than it reads",
            acts.overflow_without_reading,
            reason=Shutdown("slow_consumer"),
            terminate=True,
            connects=False,
            end=UNSEEN,
            slow=True,
        ),
    ]


def _silences() -> list[Row]:
    short = Options(timeout=IDLE)
    silent = partial(
        Row,
        reason=Shutdown("read_timeout"),
        terminate=True,
        end=Closed(1002),
        options=short,
        slow=True,
    )
    heard = partial(Row, reason=LIVES, terminate=False, options=short, slow=True)
    said = [["1", None, ROOM, "said", {"n": n}] for n in range(3)]
    return [
        silent("silence, while the server pushes", acts.silence, frames=tuple(said)),
        silent("silence in the middle of a frame", acts.partial_frame_then_silence),
        heard("nothing but pings", says_now_and_then(frame(PING, b"!"), 3)),
        heard("nothing but pongs", says_now_and_then(frame(PONG), 3)),
    ]


MALFORMED: Final = {
    "text that is no JSON": text("junk"),
    "empty text": text(""),
    "JSON that is cut off": text('["1","2","room:a","echo",'),
    "a JSON number": text("42"),
    "a JSON null": text("null"),
    "a JSON object": text({"topic": ROOM, "event": "echo", "payload": {}, "ref": "2"}),
    "an empty array": text([]),
    "an array of four": text(["1", "2", ROOM, "echo"]),
    "NaN": text('["1","2","room:a","echo",NaN]'),
    "nesting beyond measure": text("[" * 2000 + "]" * 2000),
    "a join of an object": text(["1", "2", {"a": 1}, "phx_join", {}]),
    "an empty binary message": frame(BINARY),
    "binary junk": frame(BINARY, bytes(range(7, 90))),
    "a binary message of another kind": frame(BINARY, b"\x01\x01\x01\x06\x0412room:aecho"),
    "binary sizes beyond the frame": frame(BINARY, b"\x00\xff\xff\xff\xffabc"),
    "binary fields that are not UTF-8": frame(BINARY, b"\x00\x01\x01\x01\x01\xff\xff\xff\xff"),
}

VIOLATIONS: Final = {
    "no mask": frame(TEXT, b"[]", mask=False),
    "an RSV bit": frame(TEXT, b"[]", rsv=4),
    "an opcode that is none": frame(0x3, b"[]"),
    "a continuation of nothing": frame(0x0, b"[]"),
    "a message within a message": frame(TEXT, b"[", fin=False) + frame(TEXT, b"]"),
    "a ping in fragments": frame(PING, b"p", fin=False),
    "a ping of 126 bytes": frame(PING, b"p" * 126),
}


def _bad_input() -> list[Row]:
    malformed = partial(Row, reason=CrashOf(ProtocolError), terminate=True, end=Closed(1011))
    violation = partial(Row, reason=Deserializing(), terminate=True, end=Closed(1002))
    oversized = partial(
        Row,
        reason=Shutdown(("deserializing", "max_frame_size_exceeded")),
        terminate=True,
        end=Closed(1009),
    )
    not_utf8 = partial(
        Row,
        reason="received a text frame that is not UTF-8",
        terminate=True,
        end=Closed(1007),
    )
    large = text(["1", "2", ROOM, "echo", {"x": "y" * 5000}])
    part = frame(TEXT, b"[" + b" " * 3000, fin=False)
    return [
        *(malformed(f"malformed: {what}", sends(data)) for what, data in MALFORMED.items()),
        malformed("malformed, while handle_in runs", busy_then(sends(text("junk")))),
        oversized("too large: a frame", sends(large)),
        oversized("too large: the head of a frame", sends(large[:8])),
        oversized(
            "too large: fragments together", sends(part + frame(0x0, b" " * 3000, fin=False))
        ),
        not_utf8("text that is not UTF-8: bad bytes", sends(frame(TEXT, b'["\xff\xfe"]'))),
        not_utf8(
            "text that is not UTF-8: half a character", sends(frame(TEXT, '["é'.encode()[:-1]))
        ),
        *(violation(f"against RFC 6455: {what}", sends(data)) for what, data in VIOLATIONS.items()),
    ]


# -- the channel ends ------------------------------------------------------------------------------


def _crashes() -> list[Row]:
    boom = RuntimeError("on purpose")

    def crash(kind: type[BaseException]) -> partial[Row]:
        return partial(Row, reason=CrashOf(kind), terminate=True, frames=(ERROR,))

    raised = crash(RuntimeError)
    unknown = crash(UnexpectedRequest)
    bad = crash(BadReturnValue)
    unsendable = crash(PayloadError)
    return [
        raised("a callback raises: handle_in", runs(raises(boom))),
        raised("a callback raises: handle_info", told(raises(boom))),
        raised("a callback raises: handle_out", acts.handle_out_raises),
        raised("a callback raises: handle_cast", acts.handle_cast_raises),
        raised("a callback raises: handle_call", acts.handle_call_raises),
        raised("a callback raises: handle_continue", acts.handle_continue_raises),
        raised("a callback raises: a nursery in handle_in", runs(acts.stops_in_its_sleep)),
        crash(LookupError)(
            "handle_in raises, and so does terminate", terminate_raises(runs(raises(boom)))
        ),
        unknown("not handled: an event", says("1", "2", ROOM, "what", {})),
        unknown("not handled: a phx_close of the client", says("1", "2", ROOM, "phx_close", {})),
        crash(UnexpectedRequest)("an event that is no string", says("1", "2", ROOM, 7, {})),
        bad("bad return value: of handle_in", runs(returns("nonsense"))),
        bad("bad return value: of handle_info", told(returns("nonsense"))),
        bad("bad return value: a reply of handle_info", told(returns(Ok()))),
        bad(
            "bad return value: a stop with a reply that is none",
            runs(returns(Stop("normal", reply="nonsense"))),
        ),
        unsendable("cannot be sent: a push of no object", runs(pushes([1]))),
        unsendable("cannot be sent: a push of what JSON lacks", runs(pushes({"x": {1, 2}}))),
        unsendable("cannot be sent: a reply of what JSON lacks", runs(returns(Ok(float("nan"))))),
    ]


REASONS: Final[dict[str, Reason]] = {
    "normal": "normal",
    "shutdown": "shutdown",
    "Shutdown(detail)": Shutdown("detail"),
    "other": "other",
}


def _stops() -> list[Row]:
    table: list[Row] = []
    for name, reason in REASONS.items():
        end = ERROR if reason == "other" else CLOSE
        stopped = partial(Row, reason=reason, terminate=True, frames=(end,))
        raised = partial(Row, reason=reason, terminate=True, frames=(ERROR,))
        table += [
            stopped(f"Stop({name}): from handle_in", runs(returns(Stop(reason)))),
            stopped(f"Stop({name}): from handle_info", told(returns(Stop(reason)))),
            stopped(
                f"Stop({name}) with a reply",
                runs(returns(Stop(reason, reply=Ok()))),
                frames=(REPLY_OK, end),
            ),
            raised(f"ProcessExit({name}): in handle_in", runs(raises(ProcessExit(reason)))),
            raised(f"ProcessExit({name}): in handle_info", told(raises(ProcessExit(reason)))),
        ]
    closed = partial(Row, terminate=True, frames=(CLOSE,))
    return [
        *table,
        closed(
            "Stop(Shutdown(detail)): from handle_out",
            acts.handle_out_stops,
            reason=Shutdown("detail"),
        ),
        closed("Stop(normal): from handle_cast", acts.handle_cast_stops, reason="normal"),
        closed("Stop(normal): from handle_call", acts.handle_call_stops, reason="normal"),
    ]


def _signals() -> list[Row]:
    cut = partial(Row, terminate=False, frames=(ERROR,))
    stays = partial(Row, reason=LIVES, terminate=False)
    torn = partial(Row, reason="killed", terminate=True, end=Gone("eof"))
    traps: dict[str, object] = {"traps": True}
    return [
        cut("linked process ends: boom", runs(links_to_one_that_ends("boom")), reason="boom"),
        cut(
            "linked process ends: shutdown",
            runs(links_to_one_that_ends("shutdown")),
            reason="shutdown",
        ),
        cut(
            "linked process ends: a crash",
            runs(acts.links_to_one_that_crashes),
            reason=CrashOf(ZeroDivisionError),
        ),
        stays("linked process ends: normal", runs(links_to_one_that_ends("normal"))),
        stays(
            "linked process ends, exits trapped",
            runs(links_to_one_that_ends("boom")),
            params=traps,
        ),
        cut("channel killed", signals("kill"), reason="killed"),
        cut("channel killed, exits trapped", signals("kill"), params=traps, reason="killed"),
        cut("channel sent a signal: shutdown", signals("shutdown"), reason="shutdown"),
        cut("channel sent a signal: boom", signals("boom"), reason="boom"),
        cut(
            "channel sent a signal: boom, while handle_in runs",
            acts.signalled_while_busy,
            reason="boom",
        ),
        stays("channel sent a signal: normal", signals("normal")),
        stays("channel sent a signal, exits trapped", signals("boom"), params=traps),
        Row(
            "channel killed as the client closes",
            acts.kill_and_close,
            reason="killed",
            terminate=False,
            end=Closed(1000),
            maybe=(ERROR,),
        ),
        torn("connection killed", signals_connection("kill")),
        torn("connection killed while handle_in runs", busy_then(signals_connection("kill"))),
        *(
            stays(f"connection sent another signal: {reason}", signals_connection(reason))
            for reason in ("normal", "shutdown", "boom", "killed")
        ),
    ]


# -- joins -----------------------------------------------------------------------------------------


def _second_joins() -> list[Row]:
    replaced = partial(
        Row, reason=Shutdown("duplicate_join"), terminate=False, frames=(JOINED_ANEW, CLOSE)
    )
    return [
        replaced("joined anew", joins_anew({})),
        replaced("joined anew while handle_in runs", acts.joins_anew_while_busy),
        replaced(
            "joined anew with the same ref",
            joins_anew({}, join_ref="1"),
            frames=(JOINED, CLOSE),
        ),
        replaced(
            "joined anew, and that is refused",
            acts.joins_anew_and_is_refused,
            frames=(REFUSED_ANEW, CLOSE),
        ),
        replaced(
            "joined anew, exits trapped and ignored",
            joins_anew({}),
            params={"traps": True},
            reason="killed",
        ),
        replaced(
            "joined anew, exits trapped and obeyed",
            acts.joins_anew_over_one_that_obeys,
            terminate=True,
        ),
    ]


def _failed_joins() -> list[Row]:
    fails = partial(Row, terminate=False, joins=False, frames=(JOIN_CRASHED,))
    return [
        Row(
            "join refused",
            joins_with(returns(Error({"no": 1}))),
            joins=False,
            reason="shutdown",
            terminate=True,
            frames=(JOIN_REFUSED,),
        ),
        fails(
            "join raises",
            joins_with(raises(RuntimeError("on purpose"))),
            reason=CrashOf(RuntimeError),
        ),
        fails(
            "join returns nonsense",
            joins_with(returns("nonsense")),
            reason=CrashOf(BadReturnValue),
        ),
        fails(
            "join answers what JSON lacks",
            joins_with(returns(Ok({"x": object()}))),
            reason=CrashOf(PayloadError),
        ),
        fails("join pushes too early", joins_with(pushes({})), reason=CrashOf(NotJoined)),
        *(
            fails(
                f"ProcessExit({reason}) in join",
                joins_with(raises(ProcessExit(reason))),
                reason=reason,
            )
            for reason in ("normal", "shutdown", "other")
        ),
        fails("killed while join runs", acts.killed_while_joining, reason="killed"),
    ]


# -- the server ends it ----------------------------------------------------------------------------


def _ends_by_the_server() -> list[Row]:
    disconnected = partial(Row, reason=Shutdown("disconnected"), terminate=True, end=Closed(1001))
    drained = partial(
        Row,
        reason=Shutdown("draining"),
        terminate=True,
        end=Closed(1012),
        stops_server=True,
    )
    cut = partial(Row, reason="shutdown", terminate=False, end=Closed(1012), stops_server=True)
    return [
        disconnected("disconnected by its id", acts.disconnect),
        disconnected("disconnected by its id while handle_in runs", busy_then(acts.disconnect)),
        Row(
            "other events on its id, disconnect on its topic",
            acts.other_event_on_id,
            reason=LIVES,
            terminate=False,
            frames=([None, None, ROOM, "disconnect", {}],),
        ),
        drained("server stops, channel idle", acts.stop_server),
        drained(
            "server stops, channel busy for a while, exits trapped",
            acts.stop_server_that_is_busy_for_a_while,
        ),
        cut("server stops, channel busy", acts.stop_busy_server),
        cut("server stops while join runs", acts.stop_server_during_a_join, joins=False),
        cut(
            "server stops, terminate takes its time",
            acts.stop_server_over_a_slow_terminate,
            terminate=True,
        ),
    ]
