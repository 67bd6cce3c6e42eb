"""How players reach a table: a channel for each, which is the process that sits there."""

from typing import Any

from examples.game.table import BEATS, NoSeat, Sit, Table, Throw
from exeunt import (
    AlreadyStarted,
    CallFailed,
    ChildSpec,
    Down,
    DynamicSupervisor,
    MaxChildren,
    Pid,
    Shutdown,
    Stop,
    call,
    cast_to,
    monitor,
)
from exeunt.channels import (
    CastResult,
    Channel,
    Endpoint,
    Error,
    InResult,
    JoinResult,
    Ok,
    PubSub,
    Socket,
)


class TableChannel(Channel):
    """One player at one table. However they leave, this process ends, and the seat is free."""

    async def join(self, topic: str, params: Any) -> JoinResult:
        """Sit down at a table, which is put up if there is none of this name."""
        table = topic.removeprefix("table:")
        match params:
            case {"name": str(name)} if 0 < len(name) <= 20 and 0 < len(table) <= 20:
                pass
            case _:
                return Error({"reason": "join table:NAME with your own name"})
        try:
            self.table = await find_table(table, self.hub)
            monitor(self.table)
            return Ok(await call(self.table, Sit(name)))
        except (NoSeat, MaxChildren, CallFailed) as error:
            return Error({"reason": str(error)})

    async def handle_in(self, event: str, payload: Any) -> InResult:
        """Throw a hand."""
        match event, payload:
            case "throw", {"hand": str(hand)} if hand in BEATS:
                cast_to(self.table, Throw(self.pid, hand))
                return Ok()
            case _:
                return Error({"reason": f"throw one of {', '.join(BEATS)}"})

    async def handle_info(self, message: Any) -> CastResult:
        """Leave with the table."""
        match message:
            case Down(reason=reason):
                return Stop(Shutdown(f"the table is closed ({reason})"))
            case _:
                return None


async def find_table(name: str, hub: PubSub) -> Pid:
    """Return the process of a table, which is started if there is none."""
    spec = Table.named(f"table {name}").child(name, hub).replace(restart="temporary")
    try:
        pid = await DynamicSupervisor.start_child("tables", spec)
    except AlreadyStarted as there:
        return there.pid
    assert pid is not None, "the init of a table never ignores"
    return pid


class PlayerSocket(Socket):
    """One connection of a player."""

    channels = {"table:*": TableChannel}
    max_channels = 5


def children(port: int) -> list[ChildSpec]:
    """Return the children of the game's supervisor, whose strategy is `rest_for_one`."""
    return [
        DynamicSupervisor.named("tables").child(max_children=100),
        Endpoint.named("endpoint").child({"/socket": PlayerSocket}, port=port),
    ]
