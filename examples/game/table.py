"""The table: a state machine for two players of rock, paper, scissors.

    waiting ──two players──▶ playing ──two throws, or the time is up──▶ over ──a moment later──┐
       ▲                        ▲                                        │                     │
       └──somebody has left─────┴────────────────two players─────────────┴─────────────────────┘

What a message means depends on the state that it finds. A throw is counted while one plays; at any
other time it is *postponed*: the table keeps it, and handles it when the next round has begun. Each
state has its own *time-out*, which goes with the state: nobody has to remember to cancel it.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from exeunt import Down, Pid, Refuse, Reply, Request, Shutdown, StateMachine, Stop, monitor, state
from exeunt.channels import PubSub
from exeunt.otp.transitions import (
    CallEvent,
    CastEvent,
    EnterEvent,
    InfoEvent,
    KeepState,
    NextState,
    Postpone,
    Start,
    StateEvent,
    StateTimedOut,
    StateTimeout,
    Transition,
)

BEATS: Final = {"rock": "scissors", "paper": "rock", "scissors": "paper"}

WAITING, PLAYING, OVER = 60.0, 8.0, 2.0
"""Seconds that a table stays in each state."""

say = partial(print, flush=True)


@dataclass(frozen=True, slots=True)
class Sit(Request[dict[str, Any]]):
    """Take a seat, as the process that calls; it is free again when that process has ended."""

    name: str


@dataclass(frozen=True, slots=True)
class Throw:
    """Throw a hand, as a player."""

    player: Pid
    hand: str


def described(event: str, payload: Any) -> str:
    """Say what has happened at a table, as people read it."""
    match event, payload:
        case "waiting", {"here": here}:
            return f"here: {', '.join(here) or 'nobody'}; waiting for somebody else"
        case "round", {"here": here, "seconds": seconds}:
            return f"{' against '.join(here)}: rock, paper or scissors? {seconds:g} seconds"
        case "over", {"hands": hands, "winner": winner, "scores": scores}:
            thrown = ", ".join(f"{name}: {hand or 'nothing'}" for name, hand in hands.items())
            stands = " to ".join(str(score) for score in scores.values())
            return f"{thrown}. {winner or 'Nobody'} wins: {stands}"
        case "left", {"name": name, "how": how}:
            return f"{name} has left ({how})"
        case what, {"name": name}:
            return f"{name} has {what}"
        case _:
            return f"{event}: {payload}"


class NoSeat(Exception):
    """Nobody can sit down like this."""


@dataclass(slots=True)
class Player:
    """Who sits at the table."""

    name: str
    score: int = 0
    hand: str | None = None
    is_early: bool = False
    """Whether a throw of theirs is postponed; no second one is."""


class Table(StateMachine, state_enter=True):
    """One table; it tells all its news to the topic `table:NAME`, and so to every channel on it."""

    async def init(self, name: str, hub: PubSub) -> Start:
        """Wait for players."""
        self.name = name
        self.hub = hub
        self.players: dict[Pid, Player] = {}
        return Start(self.waiting)

    @state
    async def waiting(self, event: StateEvent) -> Transition:
        """Fewer than two are here. A table that stays like this is closed."""
        match event:
            case EnterEvent():
                # What was postponed comes again now, and is postponed again.
                for player in self.players.values():
                    player.is_early = False
                self._tell("waiting", {"here": self._names()})
                return KeepState(StateTimeout(WAITING))
            case CallEvent(Sit(name)) if name in self._names():
                return Refuse(NoSeat(f"another {name} sits at the table {self.name}"))
            case CallEvent(Sit(name), caller) if caller.caller is not None:
                self.players[caller.caller] = Player(name)
                monitor(caller.caller)
                welcome = Reply({"here": self._names()})
                return NextState(self.playing, welcome) if len(self.players) == 2 else welcome
            case StateTimedOut():
                return Stop(Shutdown("nobody else has come"))
            case _:
                return self._in_any_state(event)

    @state
    async def playing(self, event: StateEvent) -> Transition:
        """Both throw; who has not when the time is up loses."""
        match event:
            case EnterEvent():
                for player in self.players.values():
                    player.hand, player.is_early = None, False
                self._tell("round", {"here": self._names(), "seconds": PLAYING})
                return KeepState(StateTimeout(PLAYING))
            case CastEvent(Throw(pid, hand)) if pid in self.players:
                player = self.players[pid]
                if player.hand is None:
                    player.hand = hand
                    self._tell("thrown", {"name": player.name})
                is_over = all(player.hand is not None for player in self.players.values())
                return NextState(self.over) if is_over else None
            case StateTimedOut():
                return NextState(self.over)
            case _:
                return self._in_any_state(event)

    @state
    async def over(self, event: StateEvent) -> Transition:
        """Look at what was thrown, for a moment."""
        match event:
            case EnterEvent():
                winner = self._winner()
                if winner is not None:
                    winner.score += 1
                hands = {one.name: one.hand for one in self.players.values()}
                scores = {one.name: one.score for one in self.players.values()}
                won = None if winner is None else winner.name
                self._tell("over", {"hands": hands, "winner": won, "scores": scores})
                return KeepState(StateTimeout(OVER))
            case StateTimedOut():
                return NextState(self.playing)
            case _:
                return self._in_any_state(event)

    def _in_any_state(self, event: StateEvent) -> Transition:
        match event:
            case CastEvent(Throw(pid)) if pid in self.players and not self.players[pid].is_early:
                self.players[pid].is_early = True
                return KeepState(Postpone())
            case CallEvent(Sit()):
                return Refuse(NoSeat(f"two are playing at the table {self.name}"))
            case InfoEvent(Down(_, Pid() as pid, reason)) if pid in self.players:
                self._tell("left", {"name": self.players.pop(pid).name, "how": str(reason)})
                return NextState(self.waiting)
            case _:
                return None

    def _winner(self) -> Player | None:
        one, two = self.players.values()
        if one.hand == two.hand:
            return None
        if two.hand is None or BEATS.get(one.hand or "") == two.hand:
            return one
        return two

    def _names(self) -> list[str]:
        return [player.name for player in self.players.values()]

    def _tell(self, event: str, payload: dict[str, Any]) -> None:
        say(f"table {self.name}: {described(event, payload)}")
        self.hub.broadcast(f"table:{self.name}", event, payload)
