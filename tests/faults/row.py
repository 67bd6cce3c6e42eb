"""One row of the table of disconnects, and how it is made to happen.

A row says what is done, with which reason the watcher then sees the channel end, whether
`terminate` is called, which frames the client gets, and how its connection ends. `observe` has it
happen on a real server, beside a bystander who must not notice, and reports what did come of it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import KW_ONLY, dataclass, field
from typing import Final, TypeAlias

import trio
import trio.testing

from exeunt import Crash, Pid, Reason, Shutdown, Supervisor, is_alive, processes

from .client import PING, Client, Closed, Frame, Gone, frame
from .world import OTHER_ROOM, ROOM, Deed, Options, World, open_world, until

IDLE: Final = 0.4
"""The idle time-out of the rows that wait for it, in seconds."""


# -- what is expected -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CrashOf:
    """Stands for a `Crash` with an exception of this type."""

    kind: type[BaseException]

    def fits(self, reason: Reason) -> bool:
        return isinstance(reason, Crash) and type(reason.exception) is self.kind


@dataclass(frozen=True, slots=True)
class Deserializing:
    """Stands for `Shutdown(("deserializing", detail))`, whatever the detail."""

    def fits(self, reason: Reason) -> bool:
        match reason:
            case Shutdown(("deserializing", str())):
                return True
            case _:
                return False


@dataclass(frozen=True, slots=True)
class OneOf:
    """Stands for any of these: two things happen at once."""

    reasons: tuple[object, ...]


LIVES: Final = object()
"""In the place of a reason: the channel is still there."""

Act: TypeAlias = "Callable[[Visit], Awaitable[None]]"

UNSEEN: Final = "unseen"
"""In the place of the end: the client has gone itself, and cannot see it."""


@dataclass(frozen=True, slots=True)
class Row:
    """A way to leave, and what is to come of it."""

    name: str
    act: Act
    _: KW_ONLY
    reason: object
    terminate: bool
    frames: tuple[Frame, ...] = ()
    # How the connection ends; None: it does not.
    end: Closed | Gone | str | None = None
    # Whether the client joins beforehand, with what, and whether there is one at all.
    joins: bool = True
    connects: bool = True
    params: dict[str, object] = field(default_factory=dict[str, object])
    # Frames that may come before the end, or not: two things happen at once.
    maybe: tuple[Frame, ...] = ()
    options: Options = field(default_factory=Options)
    # Whether the row takes the whole server with it.
    stops_server: bool = False
    slow: bool = False

    def differences(self, observed: Observed) -> list[str]:
        """Return what did not come of it as it should have."""
        found: list[str] = []
        if self.reason is LIVES:
            if observed.reasons:
                found.append(f"left for {observed.reasons}, but was to live")
        elif len(observed.reasons) != 1 or not fits(self.reason, observed.reasons[0]):
            found.append(f"left for {observed.reasons}, not for {self.reason}")
        # What terminate is told is why it is called: its own failure comes later.
        if len(observed.terminated) != (1 if self.terminate else 0):
            found.append(f"terminate was called with {observed.terminated}")
        if observed.frames not in (list(self.frames), [*self.frames, *self.maybe]):
            found.append(f"the frames were {observed.frames}")
        if observed.end != self.end:
            found.append(f"the end was {observed.end}, not {self.end}")
        # And nothing more, when the client has gone too.
        if len(observed.in_the_end) != 1:
            found.append(f"left {len(observed.in_the_end)} times")
        return found


@dataclass(slots=True)
class Observed:
    """What came of a row."""

    reasons: list[Reason]
    terminated: list[Reason]
    frames: list[Frame]
    end: Closed | Gone | str | None
    # The reasons once the client has gone too.
    in_the_end: list[Reason]


class Visit:
    """What an act has at hand."""

    def __init__(self, world: World, client: Client | None) -> None:
        self.world = world
        self._client = client

    @property
    def client(self) -> Client:
        assert self._client is not None
        return self._client

    @property
    def channel(self) -> Pid:
        return self.world.channels["ada"]

    @property
    def connection(self) -> Pid:
        return self.world.connections["ada"]

    async def run(self, deed: Deed) -> None:
        """Have the channel do a deed in `handle_in`."""
        self.world.deed = deed
        await self.client.say("1", "2", ROOM, "run", {})


def fits(expected: object, reason: Reason) -> bool:
    """Tell whether a reason is the one expected."""
    if isinstance(expected, OneOf):
        return any(fits(one, reason) for one in expected.reasons)
    if isinstance(expected, (CrashOf, Deserializing)):
        return expected.fits(reason)
    return type(reason) is type(expected) and reason == expected


# -- making a row happen --------------------------------------------------------------------------


async def observe(row: Row) -> Observed:
    """Have a row happen, next to a bystander that must not notice."""
    with trio.fail_after(15):
        async with (
            open_world(row.options) as world,
            await world.join("bystander", OTHER_ROOM) as bystander,
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(_stay, bystander)
            observed = await _observe(row, world, bystander)
            nursery.cancel_scope.cancel()
        return observed
    raise AssertionError("nothing here swallows an exception")


async def _stay(client: Client) -> None:
    """Give a sign of life now and then, until the server has gone."""
    try:
        while True:
            await trio.sleep(IDLE / 3)
            await client.send(frame(PING))
    except OSError:
        await trio.sleep_forever()


async def _observe(row: Row, world: World, bystander: Client) -> Observed:
    before = await world.snapshot()
    children = await Supervisor.which_children(world.endpoint)
    client = await world.connect() if row.connects else None
    try:
        if client is not None and row.joins:
            await client.join(ROOM, row.params)
        await row.act(Visit(world, client))
        frames, end = await _read(row, client)
        if row.reason is not LIVES:
            await world.until_left("ada")
        observed = Observed(
            world.reasons_of("ada"), world.terminated_of("ada"), frames, end, in_the_end=[]
        )
    finally:
        if client is not None:
            client.close()
    if row.stops_server:
        await until(lambda: not is_alive(world.endpoint), "the endpoint to end")
        # The block, the watcher, and the watcher's supervisor.
        await until(lambda: len(processes()) == 3, "all of the endpoint to end")
    else:
        await world.settle(before)
        assert await Supervisor.which_children(world.endpoint) == children
        assert await bystander.ask("1", OTHER_ROOM, "echo", {"still": "here"}) == {
            "status": "ok",
            "response": {"still": "here"},
        }
        assert world.reasons_of("bystander") == []
        await world.check_untouched()
        await world.settle(before)
    if row.reason is LIVES:
        await world.until_left("ada")
    observed.in_the_end = world.reasons_of("ada")
    return observed


async def _read(row: Row, client: Client | None) -> tuple[list[Frame], Closed | Gone | str | None]:
    if client is None or row.end == UNSEEN:
        return [], UNSEEN
    if row.end is None:
        # The server has done its part of the row when it has answered, so long as it goes on to
        # take what came before in order; what comes of it may take one turn more.
        frames = await client.sync()
        for _ in range(3):
            await trio.testing.wait_all_tasks_blocked(0.001)
            frames += await client.sync()
        return frames, None
    *frames, end = await client.receive_until_end()
    assert isinstance(end, (Closed, Gone))
    return frames, end
