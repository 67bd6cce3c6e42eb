"""The sensors: each is a process that is there for as long as it lives, and crashes at times.

A sensor is shown as alive because Presence *tracks* its process: when that ends, so does its
presence, whatever the way. No sensor says goodbye, and no page asks whether it is still there. With
what reason it has ended, the pages learn from the `Watcher`, which runs `tell_the_end`.
"""

from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Final

from exeunt import (
    Backoff,
    ChildSpec,
    Departure,
    GenServer,
    Supervisor,
    Watcher,
    current_node,
    exit,
    on_cast,
    send_interval,
)
from exeunt.channels import Presence, PubSub

TOPIC: Final = "sensors"
EVERY: Final = 0.5
"""Seconds from one reading to the next."""

AWAY: Final = Backoff(initial=2.0, factor=1.5, maximum=8.0, reset_after=20.0)
"""How long a sensor stays away: longer, if it keeps crashing."""

say = partial(print, flush=True)


@dataclass(frozen=True, slots=True)
class Place:
    """What a sensor measures, where, and about how much it is."""

    name: str
    what: str
    unit: str
    usual: float


PLACES: Final = (
    Place("cellar", "temperature", "°C", 11.0),
    Place("attic", "temperature", "°C", 27.0),
    Place("greenhouse", "humidity", "%", 71.0),
    Place("river", "level", "cm", 142.0),
    Place("roof", "wind", "km/h", 18.0),
    Place("yard", "air pressure", "hPa", 1016.0),
)


class Failed(Exception):
    """What ends a sensor from within."""


class Sensor(GenServer):
    """A simulated sensor, named `sensor NAME`."""

    async def init(self, place: Place, hub: PubSub, wear: float) -> None:
        """Be there. `wear` is how likely each reading is to end in a crash, or in a kill."""
        self.place = place
        self.hub = hub
        self.wear = wear
        self.random = current_node().random
        self.value = place.usual
        await Watcher.watch("watcher", self.pid, partial(tell_the_end, hub), place.name)
        await Presence.track("presence", TOPIC, place.name, {})
        say(f"{place.name} is there, as {self.pid}")
        send_interval(EVERY, self.pid, "measure")

    async def handle_info(self, message: Any) -> None:
        """Measure, and tell all pages."""
        fate = self.random.random()
        if fate < self.wear:
            raise Failed("the battery is empty")
        if fate < 2 * self.wear:
            # Without a word, as a process does whose machine is pulled out of the wall.
            exit(self.pid, "kill")
        usual, spread = self.place.usual, self.place.usual / 100
        self.value += (usual - self.value) / 20 + self.random.uniform(-spread, spread)
        reading = {"sensor": self.place.name, "value": round(self.value, 1)}
        self.hub.broadcast(TOPIC, "reading", reading)

    @on_cast
    async def break_down(self) -> None:
        """Crash, because somebody wants to see it."""
        raise Failed("somebody pressed the button")


async def tell_the_end(hub: PubSub, departure: Departure, name: str) -> None:
    """Tell all pages that a sensor has ended, and how: run by the watcher, once for each end."""
    say(f"    {name} has ended: {departure.reason}")
    hub.broadcast(TOPIC, "ended", {"sensor": name, "how": str(departure.reason)})


def sensors(hub: PubSub, wear: float) -> ChildSpec:
    """Return the supervisor of all sensors, as a child."""
    specs = [
        Sensor.named(f"sensor {place.name}").child(place, hub, wear).replace(backoff=AWAY)
        for place in PLACES
    ]
    # As many restarts as all sensors together can need: this is a house where things break.
    return Supervisor.named("sensors").child(specs, max_restarts=30, max_seconds=10.0)


def described() -> list[dict[str, Any]]:
    """Return what a page has to know of the sensors that there could be."""
    return [asdict(place) for place in PLACES]
