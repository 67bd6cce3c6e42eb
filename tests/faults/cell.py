"""One cell of the matrix of disconnects, and how it is made to happen.

Whatever the way and the moment: a leave for every watch, once, and when no code of the channel runs
any more; nothing of ada left, neither process nor task, socket, timer, name, subscription, entry of
the watcher, message in somebody's mailbox, nor object in memory; and the one who stays has had
every message of the room in time.
"""

from __future__ import annotations

import gc
import logging
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from statistics import median
from typing import Final

import trio

import exeunt.channels.session
from exeunt import Supervisor, is_alive, processes
from exeunt.channels import Channel, Limits, Socket
from exeunt.channels.channel_server import ChannelServer
from exeunt.channels.session import Session
from exeunt.channels.stream import ByteStream
from exeunt.channels.transports.trio_websocket import WebSocket
from exeunt.kernel.process import Process

from .client import Client
from .lines import open_line
from .matrix import NO_LEAVE, STAYS, Cell, ends_while_held
from .moments import BROADCAST, LEAVING, STOP
from .page import shown_reason
from .scene import ADA, Bystander, Scene, Talk
from .world import ROOM, Options, World, open_world, until

SILENT_FOR: Final = 0.3
"""The idle time-out of those whose network goes silent, in seconds."""

MOST_DELAY: Final = 1.0
"""Seconds that a message to the one who stays may take at the most; one is sent every 4 ms."""

USUAL_DELAY: Final = 0.05
"""Seconds that half of these messages take at the most."""


@dataclass(slots=True)
class Seen:
    """What came of a cell: for which reason ada left, and what was not as it should be.

    The reasons are shown, and not kept: a crash holds its traceback, and so everything.
    """

    reasons: list[str]
    troubles: list[str] = field(default_factory=list[str])


async def observe_cell(cell: Cell) -> Seen:
    """Have a cell happen, and look at what is left."""
    assert cell.expected is not None
    with trio.fail_after(30), _listening(cell) as said, _impatient_with_duplicates():
        async with open_world(_options(cell)) as world:
            empty = await world.snapshot()
            world.slow_to_unwind = 0.005
            # What there is now stays out of the census.
            gc.freeze()
            try:
                troubles = await _play(cell, world)
                if is_alive(world.endpoint):
                    await world.check_untouched()
                    await world.settle(empty)
                else:
                    # The block, the watcher, and the watcher's supervisor.
                    await until(lambda: len(processes()) == 3, "all of the endpoint to end")
                troubles += _check_leaves(cell, world)
                reasons = [shown_reason(one) for one in world.reasons_of(ADA)]
                world.forget()
                troubles += _census(world)
            finally:
                gc.unfreeze()
    return Seen(reasons, [*troubles, *(f"logged: {one}" for one in said)])


def _options(cell: Cell) -> Options:
    is_silence = cell.way.line == "proxy"
    timeout = SILENT_FOR if is_silence else 60.0
    # Where the moment is one of waiting for ada's answer to a close frame, that must not pass.
    close_within = 2.0 if cell.moment.hits_all and not is_silence else 0.15
    if cell.moment.hits_all and is_silence:
        close_within = SILENT_FOR
    head_seconds = SILENT_FOR if is_silence else 10.0
    limits = Limits(head_seconds=head_seconds, linger_seconds=0.1)
    return Options(timeout=timeout, close_within=close_within, limits=limits)


async def _play(cell: Cell, world: World) -> list[str]:
    troubles: list[str] = []
    all_go = cell.way.hits_all or cell.moment.hits_all
    children = await Supervisor.which_children(world.endpoint)
    async with trio.open_nursery() as nursery:
        bystander = await _enter(world, nursery, "bystander")
        stayers = [bystander]
        talk = Talk(world)
        nursery.start_soon(talk.go_on)
        async with open_line(cell.way.line, world.port) as line:
            scene = Scene(world, nursery, line, bystander)
            if cell.moment is BROADCAST:
                scene.hook.subscribe(world)
            nursery.start_soon(scene.read)
            await cell.moment.arrange(scene)
            if cell.moment is BROADCAST:
                # One whom the broadcast reaches after ada.
                stayers.append(await _enter(world, nursery, "latecomer"))
            assert world.reasons_of(ADA) == [] or cell.moment is LEAVING
            cell.moment.fire(scene, cell.way)
            troubles += await _while_held(cell, scene)
            if cell.moment is not STOP:
                scene.release()
            if cell.moment.hits_all:
                # She was asked to go, and does: when her channel has come to its end, or, where
                # that is cut short by the stop, before.
                if cell.moment is not STOP:
                    await until(lambda: not is_alive(scene.channel), "the channel to end")
                line.client.close()
            troubles += await _outcome(cell, scene)
            scene.release()
        world.hub.unsubscribe(ROOM)
        if cell.expected is not NO_LEAVE:
            await world.until_left(ADA)
        talk.stop()
        if not all_go:
            for one in stayers:
                await until(partial(one.has_heard, talk), "the last of the talk")
                troubles += _delays(one)
                if world.reasons_of(one.who):
                    troubles.append(f"{one.who} has left: {world.reasons_of(one.who)}")
            if await Supervisor.which_children(world.endpoint) != children:
                troubles.append("a part of the endpoint was restarted")
        for one in stayers:
            one.client.close()
            await world.until_left(one.who)
            troubles += one.troubles
        if cell.way.hits == "server" or cell.moment is STOP:
            await until(lambda: not is_alive(world.endpoint), "the endpoint to end")
        nursery.cancel_scope.cancel()
    return troubles


async def _enter(world: World, nursery: trio.Nursery, who: str) -> Bystander:
    client = await Client.connect(world.port, path="/calm/websocket", who=who)
    bystander = Bystander(client, who)
    nursery.start_soon(bystander.read)
    await client.say("1", "1", ROOM, "phx_join", {})
    await until(lambda: bystander.has_joined, f"{who} to join")
    return bystander


async def _while_held(cell: Cell, scene: Scene) -> list[str]:
    """See what has to happen although code of ada's is held, and what must not."""
    if not cell.moment.is_held:
        return []
    ending = ends_while_held(cell.way, cell.moment)
    if ending is None:
        # Let it arrive; how far it comes meanwhile makes no difference to what comes of it.
        await trio.sleep(0.01)
    else:
        pid = scene.connection if ending == "connection" else scene.channel
        await until(lambda: not is_alive(pid), f"the {ending} to end, whatever is held")
    channel = scene.world.channels.get(ADA)
    if channel is not None and is_alive(channel) and scene.world.reasons_of(ADA):
        return ["leave ran while the channel lived"]
    return []


async def _outcome(cell: Cell, scene: Scene) -> list[str]:
    """See what comes of it, before ada does anything else."""
    world = scene.world
    if cell.expected is NO_LEAVE:
        if cell.way.hits in ("connection", "server") and not _is_spared(cell):
            await until(lambda: not is_alive(scene.connection), "the connection to end")
    elif cell.expected is STAYS:
        await world.check_untouched()
        assert is_alive(scene.channel) and is_alive(scene.connection)
    else:
        await world.until_left(ADA)
    reasons = world.reasons_of(ADA)
    is_right = reasons == [] if cell.is_quiet else len(reasons) == 1 and cell.fits(reasons[0])
    return [] if is_right else [f"left for {reasons}, and not for {cell.expected}"]


def _is_spared(cell: Cell) -> bool:
    """Tell whether ada's connection stays, as she has joined nothing."""
    return cell.way.name == "server drained"


# -- what has to be so in every cell ---------------------------------------------------------------


def _check_leaves(cell: Cell, world: World) -> list[str]:
    troubles: list[str] = []
    number = len(world.reasons_of(ADA))
    if number != (0 if cell.expected is NO_LEAVE else 1):
        troubles.append(f"left {number} times")
    watched = Counter(pid for pid, _ in world.watches)
    left = Counter(one.pid for one in world.left)
    if watched != left:
        troubles.append(f"watches {dict(watched)}, leaves {dict(left)}")
    troubles += [f"leave of {one.who} ran too early" for one in world.left if one.too_early]
    if world.inside:
        troubles.append(f"code still runs in {world.inside}")
    return troubles


def _delays(one: Bystander) -> list[str]:
    usual, most = median(one.delays), max(one.delays)
    # The server may also have stood still as a whole, in between two messages.
    silence = max((after - before for before, after in pairwise(one.came)), default=0.0)
    if usual > USUAL_DELAY or max(most, silence) > MOST_DELAY:
        return [
            f"{one.who} waited {usual:.3f} s for a message, once {most:.3f} s, "
            f"and heard nothing for {silence:.3f} s"
        ]
    return []


_KINDS: Final = (Channel, ChannelServer, Session, Socket, WebSocket, ByteStream, Process, Client)


def _census(world: World) -> list[str]:
    """Return which objects of those who have left are still in memory.

    One of each kind may be: that of the last request which a supervisor has dealt with, and of the
    last socket which the listener has accepted, are kept until there is a next one.
    """
    gc.collect()
    found = Counter(
        type(one).__qualname__
        for one in gc.get_objects()
        if isinstance(one, _KINDS) and not (isinstance(one, Process) and is_alive(one.pid))
    )
    spared = 1 if is_alive(world.endpoint) else 0
    return [f"{n} {kind} still in memory" for kind, n in found.items() if n > spared]


class _Listener(logging.Handler):
    """Keeps what was said, and not the records: they hold tracebacks, and so everything."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(record.getMessage())


@contextmanager
def _listening(cell: Cell) -> Generator[list[str]]:
    """Hear what is logged as a trouble, where there should be none."""
    logger = logging.getLogger("exeunt")
    listener = _Listener()
    listener.setLevel(logging.CRITICAL + 1 if cell.way.is_trouble else logging.WARNING)
    logger.addHandler(listener)
    propagates, logger.propagate = logger.propagate, False
    try:
        yield listener.said
    finally:
        logger.propagate = propagates
        logger.removeHandler(listener)


@contextmanager
def _impatient_with_duplicates() -> Generator[None]:
    patience = exeunt.channels.session.DUPLICATE_PATIENCE
    exeunt.channels.session.DUPLICATE_PATIENCE = 0.1  # type: ignore[misc]
    try:
        yield
    finally:
        exeunt.channels.session.DUPLICATE_PATIENCE = patience  # type: ignore[misc]


__all__ = ["Seen", "observe_cell"]
