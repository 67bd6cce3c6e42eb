"""What has to come of each way to leave, at each moment: the matrix of disconnects.

A cell holds the reason with which the `leave` of ada's channel runs, once; or *no leave*, where her
channel was never watched; or *stays*, where nothing happens to her until she goes herself. A cell
that cannot be says why.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from exeunt import Reason, Shutdown
from exeunt.channels import ProtocolError

from .moments import MOMENTS, Moment
from .row import CrashOf, fits
from .ways import WAYS, Way

NO_LEAVE: Final = "no leave"
STAYS: Final = "stays"

Expected: TypeAlias = object
"""A reason, or what stands for some (see `row`), or `NO_LEAVE`, or `STAYS`."""

REASONS: Final[dict[str, Expected]] = {
    "none": NO_LEAVE,
    "stays": STAYS,
    "left": Shutdown("left"),
    "close": Shutdown("local_closed"),
    "gone": Shutdown("peer_closed"),
    "mute": Shutdown("read_timeout"),
    "kill": "killed",
    "crash": CrashOf(RuntimeError),
    "done": Shutdown("done"),
    "again": Shutdown("duplicate_join"),
    "sent": Shutdown("disconnected"),
    "bad": CrashOf(ProtocolError),
    "large": Shutdown(("deserializing", "max_frame_size_exceeded")),
    "utf8": "received a text frame that is not UTF-8",
    "slow": Shutdown("slow_consumer"),
    "drain": Shutdown("draining"),
    "shut": "shutdown",
}

CANNOT_BE: Final = {
    "a": "There is no WebSocket yet, so there are no frames.",
    "b": "There is no channel yet.",
    "c": "No code of the application runs before the request has come whole.",
    "d": "`connect` has no `Stop`: it lets in or refuses, and nobody is joined either way.",
    "e": "Nothing is joined yet that could be joined anew.",
    "f": "The socket has no id until `connect` has returned: the broadcast has no receiver.",
    "g": "Nothing is sent to a client that has joined nothing.",
    "h": "The channel ends already: what `terminate` returns decides nothing.",
    "i": "The channel has ended already: that is why its `leave` runs.",
}

# In the order of MOMENTS: head, connect, join unwatched and watched; idle, handle_in, broadcast,
# out-queue full; terminate, leave, drain, stop. A letter with a bar before it: it cannot be.
_GRID: Final = """
close frame             | -a   none close close | close close close close | left  left drain shut
FIN                     | none none gone  gone  | gone  gone  gone  gone  | left  left drain shut
RST                     | none none gone  gone  | gone  gone  gone  gone  | left  left drain shut
silence (half-open)     | none none mute  mute  | mute  mute  mute  mute  | left  left drain shut
client killed (SIGKILL) | none none gone  gone  | gone  gone  gone  gone  | left  left drain shut
connection killed       | none none kill  kill  | kill  kill  kill  kill  | left  left drain shut
channel killed          | -b   -b   none  kill  | kill  kill  kill  kill  | kill  -i   kill  kill
crash in a handler      | -c   none none  crash | crash crash crash crash | crash left crash crash
`Stop` from a handler   | -c   -d   done  done  | done  done  done  done  | -h    -i   done  done
phx_leave               | -a   none left  left  | left  left  left  left  | left  left drain shut
joined anew             | -a   -e   again again | again again again again | left  left drain shut
disconnected by its id  | -f   -f   sent  sent  | sent  sent  sent  sent  | left  left drain shut
malformed frame         | none none bad   bad   | bad   bad   bad   bad   | left  left drain shut
oversized frame         | none none large large | large large large large | left  left drain shut
text that is not UTF-8  | -a   none utf8  utf8  | utf8  utf8  utf8  utf8  | left  left drain shut
slow consumer           | -g   -g   slow  slow  | slow  slow  slow  slow  | left  left drain shut
server drained          | none none drain drain | drain drain drain drain | left  left drain shut
server stopped          | none none none  shut  | drain shut  drain drain | shut  left drain shut
watcher killed          | none none stays stays | stays stays stays stays | left  left drain shut
watcher killed, and RST | none none gone  gone  | gone  gone  gone  gone  | left  left drain shut
"""


@dataclass(frozen=True, slots=True)
class Cell:
    """One way at one moment; `expected` is None if it cannot be, for the reason `because`."""

    way: Way
    moment: Moment
    expected: Expected | None
    because: str | None = None

    @property
    def name(self) -> str:
        return f"{self.way.name}, {self.moment.name}".replace("`", "")

    @property
    def is_quiet(self) -> bool:
        """Whether nobody leaves of it."""
        return self.expected is NO_LEAVE or self.expected is STAYS

    def fits(self, reason: Reason) -> bool:
        """Tell whether this is the reason for which ada had to leave."""
        return fits(self.expected, reason)


def cells() -> list[Cell]:
    """Return the whole matrix, by ways and then by moments."""
    lines = _GRID.strip().splitlines()
    found: list[Cell] = []
    for way, line in zip(WAYS, lines, strict=True):
        name, *groups = line.split("|")
        assert name.strip() == way.name
        words = " ".join(groups).split()
        for moment, word in zip(MOMENTS, words, strict=True):
            if word.startswith("-"):
                found.append(Cell(way, moment, None, word[1:]))
            else:
                found.append(Cell(way, moment, REASONS[word]))
    return found


# -- what is seen while ada's code is held ---------------------------------------------------------

Ends: TypeAlias = Literal["connection", "channel"]


def ends_while_held(way: Way, moment: Moment) -> Ends | None:
    """Tell which process a way ends although code of ada's channel is held at that moment.

    A handler that takes its time keeps nobody from noticing; only what that very handler has to do
    waits for it.
    """
    place = moment.name
    if not moment.is_held or way.hits == "nobody":
        return None
    if way.name == "slow consumer" and place.startswith("in `join`"):
        # What is broadcast meanwhile is kept until the join is answered.
        return None
    if way.hits == "channel":
        return None if place == "in `connect`" else "channel"
    if place == "in `connect`":
        return "connection" if way.name in ("connection killed", "server stopped") else None
    if moment.hits_all:
        return None
    if way.hits == "server":
        return "connection" if place == "left, `leave` runs" else "channel"
    if way.name == "joined anew":
        return "channel" if place == "in `handle_in`" else None
    if way.name == "server drained" and place.startswith("left"):
        # Nothing is joined any more, so there is nobody to be sent away.
        return None
    return "connection" if way.hits == "connection" else None
