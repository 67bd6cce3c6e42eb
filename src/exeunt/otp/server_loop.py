"""The loop in which a GenServer lives: takes a message, runs a callback, does what it returned.

It follows OTP's `gen_server` clause by clause: continue before any message, time-outs, system
messages, the parent's exit, `terminate`, and what is answered when. The class with the callbacks,
and all that a user sees, is in `exeunt.otp.genserver`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any
from weakref import ref

import trio

from exeunt.kernel.calls import Call
from exeunt.kernel.exits import Crash, Exit, ProcessExit, Reason
from exeunt.kernel.ids import Pid
from exeunt.kernel.process import Process, interruption_in, reason_of
from exeunt.otp.results import (
    NOTHING,
    BadReturnValue,
    Continue,
    Ignore,
    Next,
    NoReply,
    Refuse,
    Reply,
    Stop,
    TimeoutAfter,
)

if TYPE_CHECKING:
    from exeunt.otp.genserver import GenServer
    from exeunt.otp.tracing import Tracer


class MethodRequest:
    """A request to run a decorated method, within a `Call` or a `Cast`."""

    __slots__ = ("args", "kwargs", "name", "owner")

    def __init__(
        self, owner: type, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        self.owner = owner
        self.name = name
        self.args = args
        self.kwargs = kwargs

    def __repr__(self) -> str:
        shown = [repr(one) for one in self.args]
        shown += [f"{key}={value!r}" for key, value in self.kwargs.items()]
        # One that begins with an underscore stands behind a public method of that name.
        return f"{self.owner.__name__}.{self.name.lstrip('_')}({', '.join(shown)})"


class Cast:
    """A request that is not answered."""

    __slots__ = ("request",)

    def __init__(self, request: object) -> None:
        self.request = request

    def __repr__(self) -> str:
        return f"Cast({self.request!r})"


class SystemRequest:
    """A request to the loop itself, as those of OTP's `sys`; served also while suspended."""

    __slots__ = ()


class StopRequest(SystemRequest):
    """End, for this reason."""

    __slots__ = ("reason",)

    def __init__(self, reason: Reason) -> None:
        self.reason = reason

    def __repr__(self) -> str:
        return f"stop({self.reason!r})"


class Inspect(SystemRequest):
    """Have a function look at the loop, or change it; what it returns is the answer."""

    __slots__ = ("look", "name")

    def __init__(self, name: str, look: Callable[[ServerLoop], object]) -> None:
        self.name = name
        self.look = look

    def __repr__(self) -> str:
        return f"{self.name}()"


class ServerLoop:
    """The running side of one server."""

    __slots__ = (
        "__weakref__",
        "is_suspended",
        "last_message",
        "parent",
        "process",
        "server",
        "tracer",
        "was_ignored",
    )

    process: Process

    def __init__(self, server: GenServer, parent: Pid | None) -> None:
        self.server = server
        self.parent = parent
        self.is_suspended = False
        self.was_ignored = False
        self.last_message: object = NOTHING
        # What its events are told to, if anything. It is put here by an `Inspect` only.
        self.tracer: Tracer | None = None
        server._loop_ref = ref(self)

    def __repr__(self) -> str:
        name = f" {self.process.name!r}" if self.process.name else ""
        return f"{self.process.pid}{name} ({self.process.label})"

    # -- its life -------------------------------------------------------------------------------

    async def run(self, starting: Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Initialise, serve, terminate: the whole body of the process."""
        process = self.process
        process.describe = self._describe
        process.handling = starting
        result = await self.server.init(*args, **kwargs)
        process.handling = None
        then: Next = None
        if isinstance(result, Ignore):
            self.was_ignored = True
            return
        if isinstance(result, Stop):
            raise ProcessExit(result.reason)
        if result is not None:
            if not isinstance(result, (Continue, TimeoutAfter)):
                raise BadReturnValue(
                    f"{type(self.server).__name__}.init",
                    result,
                    "None, Continue(…), TimeoutAfter(…), Ignore() or Stop(reason)",
                )
            then = result
        self.server._check_init()
        # Until here the node waits for it no longer than for anybody, should it hang.
        process.shutdown = type(self.server)._shutdown
        starting.reply(None)
        if not process.calls:
            # Most are called seldom, if ever, and the table takes 160 bytes.
            process.calls = None
        # The arguments may be large and are not needed any more.
        del starting, args, kwargs, result
        pending: Call | None = None
        answer: object = NOTHING
        interruption: BaseException | None = None
        try:
            pending, answer, reason = await self._serve(then)
        except BaseException as error:
            if process.status != "running" or isinstance(error, trio.Cancelled):
                # Ended by a signal that it does not trap, or by the node's last resort.
                raise
            reason = reason_of(error)
            if interruption_in(error) is not None:
                interruption = error
        if process.status != "running":
            # A callback has swallowed the cancellation by which a signal ends the process.
            return
        process.handling = None
        try:
            await self._terminate(reason)
        finally:
            if pending is not None and answer is not NOTHING and process.status == "running":
                pending.reply(answer)
                if self.tracer is not None:
                    self.tracer.note("out", answer, pending.caller)
            if interruption is not None:
                # KeyboardInterrupt and SystemExit are for the whole program, whatever `terminate`
                # came to: the process has to end with them for the node to hear of it.
                raise interruption
        raise ProcessExit(reason)

    async def _terminate(self, reason: Reason) -> None:
        try:
            await self.server.terminate(reason)
        except BaseException as error:
            self.process.reporting = "always"
            # As in OTP the failure of terminate becomes the exit reason; what it failed over is its
            # context.
            if isinstance(reason, Crash) and error.__context__ is None:
                error.__context__ = reason.exception
            raise

    async def _serve(self, then: Next) -> tuple[Call | None, object, Reason]:
        """Take and handle messages until the server has to stop.

        Returns the call that is to be answered then, if there is one, its answer, and the reason.
        """
        server, process = self.server, self.process
        mailbox = process.mailbox
        methods = server._requests
        tracer = self.tracer
        message: Any
        result: Any
        while True:
            if then is None and not self.is_suspended:
                message = await mailbox.take()
            elif isinstance(then, Continue):
                await mailbox.spend()
                self.last_message = then
                if tracer is not None:
                    tracer.note("continue", then.argument)
                result = await server.handle_continue(then.argument)
                if isinstance(result, Stop):
                    return None, NOTHING, result.reason
                then = self._next("handle_continue", result)
                if tracer is not None:
                    tracer.note("noreply", None)
                continue
            else:
                message = await self._take(then)
            kind = type(message)
            if kind is Call:
                request = message.request
                kind = type(request)
                if kind is not MethodRequest and isinstance(request, SystemRequest):
                    # As in OTP it does not cancel a time-out, but has it start anew.
                    if isinstance(request, StopRequest):
                        return None, NOTHING, request.reason
                    self._serve_system(request, message)
                    tracer = self.tracer
                    continue
                self.last_message = message
                if tracer is not None:
                    tracer.note("in", message)
                process.handling = message
                if kind is MethodRequest:
                    method = methods.get(request.name)
                    if method is None or not isinstance(server, request.owner):
                        message.refuse(self._unknown(request))
                        process.handling = None
                        continue
                    try:
                        running = method(server, *request.args, **request.kwargs)
                    except TypeError as error:
                        # Arguments that do not fit: the caller's mistake, not the server's.
                        message.refuse(error)
                        process.handling = None
                        continue
                    result = await running
                    process.handling = None
                    if type(result) not in _CALL_RESULTS:
                        message.reply(result)
                        if tracer is not None:
                            tracer.note("out", result, message.caller)
                        then = None
                        continue
                else:
                    result = await server.handle_call(request, message)
                    process.handling = None
                if isinstance(result, Reply):
                    message.reply(result.value)
                    if tracer is not None:
                        tracer.note("out", result.value, message.caller)
                    then = self._next("handle_call", result.then)
                elif isinstance(result, NoReply):
                    if tracer is not None:
                        tracer.note("noreply", None)
                    then = self._next("handle_call", result.then)
                elif isinstance(result, Refuse):
                    message.refuse(result.error)
                    if tracer is not None:
                        tracer.note("out", result.error, message.caller)
                    then = self._next("handle_call", result.then)
                elif isinstance(result, Stop):
                    return message, result.reply, result.reason
                else:
                    raise BadReturnValue(
                        f"{type(server).__name__}.handle_call",
                        result,
                        "Reply(value), NoReply(), Refuse(error) or Stop(reason)",
                    )
                continue
            self.last_message = message
            if tracer is not None:
                tracer.note("in", message)
            if kind is Cast:
                request = message.request
                method = methods.get(request.name) if type(request) is MethodRequest else None
                if method is not None and isinstance(server, request.owner):
                    result = await method(server, *request.args, **request.kwargs)
                    callback = request.name
                else:
                    result = await server.handle_cast(request)
                    callback = "handle_cast"
            elif kind is Exit and self._is_from_parent(message):
                return None, NOTHING, message.reason
            else:
                result = await server.handle_info(message)
                callback = "handle_info"
            if result is None:
                then = None
            elif isinstance(result, Stop):
                return None, NOTHING, result.reason
            else:
                then = self._next(callback, result)
            if tracer is not None:
                tracer.note("noreply", None)

    async def _take(self, then: Next) -> object:
        """Take the next message, under a time-out or while suspended."""
        mailbox = self.process.mailbox
        if self.is_suspended:
            return await mailbox.get(object, self._is_for_the_loop)
        assert isinstance(then, TimeoutAfter)
        with trio.move_on_after(max(0.0, then.seconds)):
            return await mailbox.take()
        if self.process.status != "running":
            await trio.lowlevel.checkpoint()
        try:
            # A message that came at the same time, or was there before, goes before the time-out.
            return mailbox.get_nowait(object)
        except trio.WouldBlock:
            return "timeout"

    def _is_for_the_loop(self, message: object) -> bool:
        if isinstance(message, Call):
            return isinstance(message.request, SystemRequest)
        return isinstance(message, Exit) and self._is_from_parent(message)

    def _is_from_parent(self, message: Exit) -> bool:
        """Tell whether an exit is the parent's, or that of the node that closes."""
        if message.pid is self.parent:
            return True
        node = self.process.node
        return node.is_closing and message.pid is node.main.pid

    # -- requests -------------------------------------------------------------------------------

    def _unknown(self, request: MethodRequest) -> Exception:
        return TypeError(f"{self} is no {request.owner.__name__}: it has no {request!r}")

    def _next(self, callback: str, result: object) -> Next:
        if result is None or isinstance(result, (Continue, TimeoutAfter)):
            return result
        raise BadReturnValue(
            f"{type(self.server).__name__}.{callback}",
            result,
            "None, Continue(…), TimeoutAfter(…) or Stop(reason)",
        )

    def _serve_system(self, request: SystemRequest, asked: Call) -> None:
        match request:
            case Inspect():
                try:
                    seen = request.look(self)
                except Exception as error:
                    asked.refuse(error)
                else:
                    asked.reply(seen)
            case _:
                asked.refuse(TypeError(f"unknown system request: {request!r}"))

    def _describe(self) -> Mapping[str, object]:
        details: dict[str, object] = {}
        if self.last_message is not NOTHING:
            details["last message"] = repr(self.last_message)
        details["state"] = repr(self.shown_state())
        details.update(
            (what, repr(those)) for what, those in self.server._waiting().items() if those
        )
        return details

    def shown_state(self) -> Mapping[str, Any]:
        """Return what the server lets be shown of its attributes; nothing if that fails."""
        try:
            return dict(self.server.format_status(dict(vars(self.server))))
        except Exception as error:
            return {"format_status": f"failed: {error!r}"}


_CALL_RESULTS = frozenset({Reply, NoReply, Refuse, Stop})
