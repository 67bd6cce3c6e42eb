"""The page, and the channel that tells it what happens."""

from pathlib import Path
from typing import Any, Final

from examples.dashboard.sensors import TOPIC, Sensor, described
from exeunt import exit, send, whereis
from exeunt.channels import (
    CastResult,
    Channel,
    Error,
    InResult,
    JoinResult,
    Ok,
    Presence,
    Request,
    Response,
    Socket,
    StaticFiles,
)

HERE: Final = Path(__file__).parent

HEADERS: Final = (
    # Nothing from elsewhere, no script or style within the page, no page around it.
    (
        "Content-Security-Policy",
        "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    ("Referrer-Policy", "no-referrer"),
)
PAGE: Final = StaticFiles(HERE / "static", headers=HEADERS)
# phoenix.js, of which the chat has a copy.
VENDOR: Final = StaticFiles(HERE.parent / "chat" / "static" / "vendor", headers=HEADERS)


class DashboardChannel(Channel):
    """One page. Readings, ends and presences are broadcasts, which need no code here."""

    async def join(self, topic: str, params: Any) -> JoinResult:
        """Tell which sensors there could be; Presence tells which there are."""
        send(self.pid, "joined")
        return Ok({"sensors": described()})

    async def handle_info(self, message: Any) -> CastResult:
        """Push who is there, once; from then on the page is told of the changes."""
        self.push("presence_state", await Presence.list("presence", self))
        return None

    async def handle_in(self, event: str, payload: Any) -> InResult:
        """End a sensor."""
        match event, payload:
            case "crash" | "kill", {"sensor": str(name)}:
                sensor = whereis(f"sensor {name}")
                if sensor is None:
                    return Error({"reason": f"there is no {name} at the moment"})
                if event == "crash":
                    Sensor.break_down(sensor)
                else:
                    exit(sensor, "kill")
                return Ok()
            case _:
                return Error({"reason": "crash or kill a sensor"})


class DashboardSocket(Socket):
    """The connection of one page."""

    channels = {TOPIC: DashboardChannel}


async def pages(request: Request) -> Response:
    """Answer what is no socket."""
    if request.path.startswith("/vendor/"):
        return await VENDOR.respond(request, request.path.removeprefix("/vendor"))
    return await PAGE.respond(request, request.path)
