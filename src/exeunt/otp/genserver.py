"""GenServer: a process that keeps state and answers requests, one at a time.

A server is a class. Its state is in the attributes of `self`, which no other process touches; what
others may ask of it are its `@on_call` methods, which answer, and its `@on_cast` methods, which do
not. Each has two faces: called on the class with a server, it is the request; called on `self`, it
is the plain method.

    class Counter(GenServer):
        async def init(self, start: int = 0) -> None:
            self.count = start

        @on_call
        async def add(self, amount: int) -> int:
            self.count += amount
            return self.count

    counter = await Counter.start_link(40)
    assert await Counter.add(counter, 2) == 42

`handle_call`, `handle_cast` and `handle_info` are for messages that one would rather take apart
with `match`. A callback that raises ends the server: `terminate` runs, the crash is logged, and
everyone who waits for an answer, is linked to it, or monitors it, hears of it.

The rules are those of OTP's `gen_server`; `exeunt.otp.results` lists what callbacks may return.

OTP: a callback returns the new state, so that one which raises leaves the old one behind; here the
state is in attributes, and what a callback has changed before it raised stays changed for
`terminate` to see. A callback that must not leave things half done computes first and assigns last.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from typing import (
    Any,
    ClassVar,
    Final,
    Generic,
    ParamSpec,
    Protocol,
    Self,
    TypeVar,
    cast,
)
from weakref import ReferenceType

import trio

from exeunt.kernel.calls import Call, wait_as
from exeunt.kernel.errors import (
    AlreadyStarted,
    CallFailed,
    NameTaken,
    StartFailed,
    StartIgnored,
)
from exeunt.kernel.events import shown
from exeunt.kernel.exits import KILL, NORMAL, Exit, Reason
from exeunt.kernel.ids import Pid
from exeunt.kernel.names import Destination, Name
from exeunt.kernel.primitives import Bound, call, spawn_process, unlink
from exeunt.kernel.primitives import exit as exit_signal
from exeunt.kernel.process import current_process
from exeunt.otp.callbacks import refuse_misspelt
from exeunt.otp.requests import on_call, on_cast
from exeunt.otp.results import CallResult, CastResult, InitResult, UnexpectedRequest
from exeunt.otp.server_loop import ServerLoop, StopRequest
from exeunt.otp.supervision import ChildSpec

P = ParamSpec("P")
R = TypeVar("R")

logger = logging.getLogger("exeunt")


class _Starting:
    def __repr__(self) -> str:
        return "start"


STARTING: Final = _Starting()
"""The request in the call by which a starter waits for the end of `init`."""

CALLBACKS = (
    "init",
    "handle_call",
    "handle_cast",
    "handle_info",
    "handle_continue",
    "terminate",
    "format_status",
)


class HasInit(Protocol[P]):
    """A class of servers whose `init` takes these arguments."""

    def init(self, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, InitResult]:
        """Initialise the server."""
        ...


class GenServer:
    """The base of all servers: override what you need. State goes into attributes of `self`."""

    __slots__ = ("__dict__", "__weakref__", "_loop_ref")

    # Weak, since the loop holds the server: so both go with the process, and not some time later.
    _loop_ref: ReferenceType[ServerLoop]

    # The methods that can be asked for from outside, by name, as plain functions.
    _requests: ClassVar[Mapping[str, Callable[..., Any]]] = {}

    # A supervisor is given all the time it needs to end its children.
    _shutdown: ClassVar[float | None] = None

    _mailbox: ClassVar[Bound | None] = None

    def __init_subclass__(cls, *, mailbox: Bound | None = None, **options: Any) -> None:
        """Define a server: `class Log(GenServer, mailbox=Bound(1000, "drop_oldest"))` bounds it."""
        super().__init_subclass__(**options)
        given: object = mailbox
        if not (given is None or isinstance(given, Bound)):
            raise TypeError(f"the mailbox of {cls.__qualname__} is a Bound(…), not {mailbox!r}")
        if mailbox is not None:
            cls._mailbox = mailbox
        refuse_misspelt(cls, CALLBACKS)
        _refuse_arguments(cls)
        requests: dict[str, Callable[..., Any]] = {}
        for base in reversed(cls.__mro__):
            for name, value in vars(base).items():
                if isinstance(value, (on_call, on_cast)):
                    requests[name] = value.__wrapped__
                elif name in requests:
                    # Overridden without the decorator.
                    requests[name] = value
        cls._requests = requests

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """Make the object that a process is to run; that is done by starting it."""
        if (args or kwargs) and cls.__init__ is object.__init__:
            raise TypeError(
                f"a server is started, and not made: `await {cls.__qualname__}.start_link(…)`"
            )
        return super().__new__(cls)

    # -- starting -------------------------------------------------------------------------------

    @classmethod
    async def start_link(cls: type[HasInit[P]], *args: P.args, **kwargs: P.kwargs) -> Pid:
        """Start a server linked to this process; return its pid when its `init` is done.

        The arguments are those of `init`. Raises `StartFailed` with the reason if init does not end
        well, `StartIgnored` if it returned `Ignore()`. The link is an ordinary one: if init fails,
        the starter dies of it, unless it traps exits. If the starter is cancelled meanwhile, the
        new process is killed.
        """
        return await start_server(cls, args, kwargs, name=None, linked=True)

    @classmethod
    async def start(cls: type[HasInit[P]], *args: P.args, **kwargs: P.kwargs) -> Pid:
        """Like `start_link`, without a link: the server has no parent."""
        return await start_server(cls, args, kwargs, name=None, linked=False)

    @classmethod
    def child(cls: type[HasInit[P]], *args: P.args, **kwargs: P.kwargs) -> ChildSpec:
        """Return the specification of this server as a supervisor's child, started with these."""
        return child_of_server(cls, args, kwargs, name=None)

    @classmethod
    def named(cls: type[HasInit[P]], name: Name) -> Named[P]:
        """Choose a name for the server: `Counter.named("hits").start_link(0)`.

        The name is registered before `init` runs. Starting raises `AlreadyStarted` if it is taken.
        """
        return Named(cls, name)

    # -- callbacks ------------------------------------------------------------------------------

    async def init(self, *args: Any, **kwargs: Any) -> InitResult:
        """Initialise the state. The starter waits for it."""
        if args or kwargs:
            raise TypeError(f"{type(self).__qualname__} takes no arguments: it has no init")
        return None

    async def handle_call(self, request: Any, caller: Call) -> CallResult:
        """Answer a request of `call` that is no `@on_call` method."""
        raise UnexpectedRequest(
            f"{type(self).__name__} was called with {request!r}, but has no handle_call"
        )

    async def handle_cast(self, request: Any) -> CastResult:
        """Take a request of `cast` that is no `@on_cast` method."""
        raise UnexpectedRequest(
            f"{type(self).__name__} was cast {request!r}, but has no handle_cast"
        )

    async def handle_info(self, message: Any) -> CastResult:
        """Take any other message: plain ones, `Exit`, `Down`, those of timers, `"timeout"`."""
        logger.error("%s got a message that it has no handle_info for: %r", self._loop, message)
        return None

    async def handle_continue(self, argument: Any) -> CastResult:
        """Go on after a callback that returned `Continue(argument)`."""
        raise UnexpectedRequest(
            f"{type(self).__name__} continues with {argument!r}, but has no handle_continue"
        )

    async def terminate(self, reason: Reason) -> object:
        """Clean up before the end.

        Called when a callback stops, raises, or returns something it must not, on `stop`, and on
        the exit of the parent if the server traps exits. Not called when a signal that it does not
        trap, or a kill, ends it.
        """
        return None

    def format_status(self, state: dict[str, Any]) -> Mapping[str, Any]:
        """Choose what is shown of the attributes, by `get_status` and in crash reports.

        `state` is a copy of them: leave out, or cover, what is secret or too large.
        """
        return state

    def _check_init(self) -> None:
        """Raise if `init` has not done what the class needs to run."""

    def _waiting(self) -> Mapping[str, object]:
        """Return what a behaviour keeps besides the mailbox, for the status and crash reports."""
        return {}

    # -- for callbacks --------------------------------------------------------------------------

    @property
    def _loop(self) -> ServerLoop:
        loop = self._loop_ref()
        if loop is None:
            raise RuntimeError("the process of this server has ended")
        return loop

    @property
    def pid(self) -> Pid:
        """The server's own pid."""
        return self._loop.process.pid

    @property
    def caller(self) -> Call:
        """The call being handled: keep it, return `NoReply()`, and `reply` to it later."""
        handling = self._loop.process.handling
        if handling is None or handling.request is STARTING:
            raise RuntimeError("no call is being handled: `caller` is for callbacks of a call")
        return handling


def _label(label: str, key: object) -> str:
    """Return how a server is shown that is named by a key, whatever that is."""
    try:
        return f"{label} {shown(repr(key), 80)}"
    except Exception:
        return label


def _refuse_arguments(cls: type) -> None:
    """Raise TypeError if a class can only be made with arguments: a server gets them in `init`."""
    if "__init__" not in vars(cls):
        return
    parameters = list(inspect.signature(vars(cls)["__init__"]).parameters.values())[1:]
    if any(
        one.default is one.empty and one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)
        for one in parameters
    ):
        raise TypeError(
            f"{cls.__qualname__}.__init__ is called without arguments: a server gets those that it "
            "is started with in `async def init(self, …)`"
        )


class Named(Generic[P]):
    """A class of servers with a name chosen: what `GenServer.named` returns."""

    def __init__(self, server: type[HasInit[P]], name: Name) -> None:
        self._server = server
        self._name = name

    def __repr__(self) -> str:
        return f"{getattr(self._server, '__qualname__', self._server)}.named({self._name!r})"

    async def start_link(self, *args: P.args, **kwargs: P.kwargs) -> Pid:
        """Start the server under its name, linked to this process."""
        return await start_server(self._server, args, kwargs, name=self._name, linked=True)

    async def start(self, *args: P.args, **kwargs: P.kwargs) -> Pid:
        """Start the server under its name, without a link."""
        return await start_server(self._server, args, kwargs, name=self._name, linked=False)

    def child(self, *args: P.args, **kwargs: P.kwargs) -> ChildSpec:
        """Return the specification of the named server as a supervisor's child."""
        return child_of_server(self._server, args, kwargs, name=self._name)


async def stop(server: Destination, reason: Reason = NORMAL) -> None:
    """Ask a server to stop, and wait for its end.

    The request is served in its turn, and by a suspended server too; `terminate` runs. Raises
    `CallFailed` if the server ended with another reason, or was dead (`"noproc"`).
    """
    was_there = current_process().node.find(server) is not None
    try:
        await call(server, StopRequest(reason))
    except CallFailed as ended:
        if not was_there or (ended.reason is not reason and ended.reason != reason):
            raise


def child_of_server(
    server: Callable[[], Any], args: tuple[Any, ...], kwargs: dict[str, Any], *, name: Name | None
) -> ChildSpec:
    """Return the specification of a server as a child."""
    kind = cast("type[GenServer]", server)
    return ChildSpec(
        id=name if isinstance(name, str) else kind.__name__,
        start=partial(start_server, server, args, kwargs, name=name, linked=True),
        type="worker" if kind._shutdown is None else "supervisor",
    )


def _takes_name(server: Callable[[], Any]) -> bool:
    parameters = inspect.signature(cast("type[GenServer]", server).init).parameters
    return any(one.name == "name" or one.kind is one.VAR_KEYWORD for one in parameters.values())


async def start_server(
    server: Callable[[], Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    *,
    name: Name | None,
    linked: bool,
    mailbox: Bound | None = None,
) -> Pid:
    """Start a server and wait for its `init`; what all ways to start one come down to.

    `mailbox` is by default that of the class.
    """
    if not (name is None or isinstance(name, str) or hasattr(name, "register")):
        raise TypeError(f"a server is named by a string or a Via, not by {name!r}")
    if "name" in kwargs and not _takes_name(server):
        label = getattr(server, "__name__", "Server")
        raise TypeError(
            f"{label}.init takes no name: a server is given one before it is started, "
            f"`{label}.named({kwargs['name']!r}).start_link(…)`"
        )
    parent = current_process()
    kind = cast("type[GenServer]", server)
    label = kind.__qualname__
    loop = ServerLoop(kind(), parent.pid if linked else None)
    starting = Call(STARTING, parent.pid, label)
    try:
        process = spawn_process(
            loop.run,
            (starting, args, kwargs),
            name=name if isinstance(name, str) else None,
            linked=linked,
            label=label,
            mailbox=mailbox or kind._mailbox,
        )
    except NameTaken as taken:
        await trio.lowlevel.checkpoint()
        raise AlreadyStarted(name, taken.pid) from None
    loop.process = process
    if name is not None and not isinstance(name, str):
        is_registered = False
        try:
            is_registered = name.register(process.pid)
        finally:
            if not is_registered:
                unlink(process.pid)
                exit_signal(process.pid, KILL)
        if not is_registered:
            await trio.lowlevel.checkpoint()
            # A holder that is about to end is not found by its name any more.
            holder = getattr(name, "holder", name.whereis)()
            raise AlreadyStarted(name, holder or process.pid)
        if hasattr(name, "key"):
            process.label = _label(label, getattr(name, "key", None))
    starting.attach(process)
    starting.was_taken = True
    try:
        await wait_as(parent if parent.task is trio.lowlevel.current_task() else None, starting)
    except CallFailed as failed:
        # OTP: before version 26 a starter that traps exits gets the Exit besides the error. Here it
        # gets the error alone, as since 26.
        parent.mailbox.remove_if(lambda one: isinstance(one, Exit) and one.pid is process.pid)
        if loop.was_ignored:
            raise StartIgnored(label) from None
        raise StartFailed(label, failed.reason) from failed.__cause__
    except trio.Cancelled:
        # A starter that gives up ends the new process; one that dies leaves that to the link.
        if parent.status == "running":
            unlink(process.pid)
            exit_signal(process.pid, KILL)
        raise
    return process.pid


__all__ = ["GenServer", "Named", "start_server", "stop"]
