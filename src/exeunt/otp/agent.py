"""Agent: a process that keeps a value, and runs functions on it.

    counter = await Agent.start_link(lambda: 40)
    await counter.update(lambda count: count + 1)
    assert await counter.get(lambda count: count + 1) == 42
    assert await counter.get_and_update(lambda count: (count, 0)) == 41

`start_link` returns a handle that knows the type of the value: an `Agent[int]`. One with a name is
addressed by `Agent[int]("hits")`, wherever it was started.

    await Agent.named("hits").start_link(lambda: 0)
    Agent[int]("hits").cast(lambda count: count + 1)
    assert await Agent[int]("hits").get(lambda count: count) == 1

The functions run in the agent, one at a time: nobody sees a value half changed, and while one runs,
the others wait. A function that raises ends the agent, with its value, and the caller gets
`CallFailed` with the reason.

An agent's functions are plain ones, so nothing in it ever waits. What is to wait, to answer
messages, or to know of itself what it keeps, is a `GenServer`. The rules are those of Elixir's
`Agent`.
"""

from __future__ import annotations

from collections.abc import Callable
from inspect import iscoroutine, iscoroutinefunction
from typing import Any, Generic, TypeVar, TypeVarTuple, Unpack, cast

from exeunt.kernel.exits import NORMAL, Reason
from exeunt.kernel.names import Destination, Name
from exeunt.otp.genserver import GenServer, stop
from exeunt.otp.requests import on_call, on_cast
from exeunt.otp.results import BadReturnValue, CastResult, InitResult, Refuse, Reply
from exeunt.otp.supervision import ChildSpec

R = TypeVar("R")
S = TypeVar("S")
Ts = TypeVarTuple("Ts")


class AgentServer(GenServer):
    """The process of an agent."""

    async def init(self, function: Callable[..., Any], args: tuple[Any, ...]) -> InitResult:
        """Keep what the function returns."""
        self.state = _run(function, args)
        return None

    @on_call
    async def get(self, function: Callable[..., Any], args: tuple[Any, ...]) -> Reply[Any] | Refuse:
        """Answer with what the function makes of the value."""
        try:
            return Reply(_run(function, (self.state, *args)))
        except NotPlain as mistake:
            return Refuse(mistake)

    @on_call
    async def update(self, function: Callable[..., Any], args: tuple[Any, ...]) -> Refuse | None:
        """Keep what the function makes of the value."""
        try:
            self.state = _run(function, (self.state, *args))
        except NotPlain as mistake:
            return Refuse(mistake)
        return None

    @on_call
    async def get_and_update(
        self, function: Callable[..., Any], args: tuple[Any, ...]
    ) -> Reply[Any] | Refuse:
        """Answer with the first of what the function returns, and keep the second."""
        try:
            pair = _run(function, (self.state, *args))
        except NotPlain as mistake:
            return Refuse(mistake)
        if not isinstance(pair, tuple) or len(pair) != 2:
            raise BadReturnValue(_name_of(function), pair, "a pair of an answer and a new state")
        answer, self.state = pair
        return Reply(answer)

    @on_cast
    async def cast(self, function: Callable[..., Any], args: tuple[Any, ...]) -> CastResult:
        """Keep what the function makes of the value, and answer nobody."""
        self.state = _run(function, (self.state, *args))
        return None


class Agent(Generic[S]):
    """A handle of an agent that keeps an `S`; `server` is its pid or its name."""

    __slots__ = ("server",)

    def __init__(self, server: Destination) -> None:
        self.server = server

    def __repr__(self) -> str:
        return f"Agent({self.server!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Agent) and self.server == other.server

    def __hash__(self) -> int:
        return hash((Agent, self.server))

    # -- starting -------------------------------------------------------------------------------

    @staticmethod
    async def start_link(function: Callable[[Unpack[Ts]], R], *args: *Ts) -> Agent[R]:
        """Start an agent, linked to this process, that keeps what `function(*args)` returns.

        The function runs in the agent. Raises `StartFailed` if it raises.
        """
        return Agent(await AgentServer.start_link(_plain(function), args))

    @staticmethod
    async def start(function: Callable[[Unpack[Ts]], R], *args: *Ts) -> Agent[R]:
        """Like `start_link`, without a link."""
        return Agent(await AgentServer.start(_plain(function), args))

    @staticmethod
    def child(function: Callable[[Unpack[Ts]], object], *args: *Ts) -> ChildSpec:
        """Return the specification of an agent as a supervisor's child."""
        return AgentServer.child(_plain(function), args).replace(id="Agent")

    @staticmethod
    def named(name: Name) -> NamedAgent:
        """Choose a name for the agent: `Agent.named("hits").start_link(lambda: 0)`."""
        return NamedAgent(name)

    # -- the value ------------------------------------------------------------------------------

    async def get(self, function: Callable[[S, Unpack[Ts]], R], *args: *Ts) -> R:
        """Return `function(value, *args)`, which runs in the agent.

        What it returns is not copied: to hand out a list that the agent goes on to change, let
        the function copy it.
        """
        return cast("R", await AgentServer.get(self.server, _plain(function), args))

    async def update(self, function: Callable[[S, Unpack[Ts]], S], *args: *Ts) -> None:
        """Put `function(value, *args)` in the place of the value; return when that is done."""
        await AgentServer.update(self.server, _plain(function), args)

    async def get_and_update(
        self, function: Callable[[S, Unpack[Ts]], tuple[R, S]], *args: *Ts
    ) -> R:
        """Run a function that returns a pair: return the first of it, keep the second.

        One that returns anything else ends the agent with a `BadReturnValue`.
        """
        return cast("R", await AgentServer.get_and_update(self.server, _plain(function), args))

    def cast(self, function: Callable[[S, Unpack[Ts]], S], *args: *Ts) -> None:
        """Put `function(value, *args)` in the place of the value, some time; do not wait for it."""
        AgentServer.cast(self.server, _plain(function), args)

    async def stop(self, reason: Reason = NORMAL) -> None:
        """Stop the agent, after what it was asked before, and wait for its end."""
        await stop(self.server, reason)


class NamedAgent:
    """An agent with a name chosen: what `Agent.named` returns."""

    __slots__ = ("_name",)

    def __init__(self, name: Name) -> None:
        self._name = name

    async def start_link(self, function: Callable[[Unpack[Ts]], R], *args: *Ts) -> Agent[R]:
        """Start the agent under its name, linked to this process; the handle is by the name."""
        await AgentServer.named(self._name).start_link(_plain(function), args)
        return Agent(self._name)

    async def start(self, function: Callable[[Unpack[Ts]], R], *args: *Ts) -> Agent[R]:
        """Start the agent under its name, without a link."""
        await AgentServer.named(self._name).start(_plain(function), args)
        return Agent(self._name)

    def child(self, function: Callable[[Unpack[Ts]], object], *args: *Ts) -> ChildSpec:
        """Return the specification of the named agent as a supervisor's child."""
        spec = AgentServer.named(self._name).child(_plain(function), args)
        return spec if isinstance(self._name, str) else spec.replace(id="Agent")


class NotPlain(TypeError):
    """The function of an agent is an async one."""

    def __init__(self, function: object) -> None:
        super().__init__(
            f"{_name_of(function)} is async: the function of an agent is a plain one, and what has "
            "to wait is for a GenServer"
        )


def _plain(function: Callable[..., Any]) -> Callable[..., Any]:
    """Refuse, in the caller, what cannot be the function of an agent."""
    if not callable(function):
        raise TypeError(f"an agent runs a function on its value, not {function!r}")
    if iscoroutinefunction(function):
        raise NotPlain(function)
    return function


def _run(function: Callable[..., Any], args: tuple[Any, ...]) -> Any:
    result = function(*args)
    if iscoroutine(result):
        result.close()
        raise NotPlain(function)
    return result


def _name_of(function: object) -> str:
    return getattr(function, "__qualname__", None) or repr(function)


__all__ = ["Agent", "NamedAgent"]
