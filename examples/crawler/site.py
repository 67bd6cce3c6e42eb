"""The site to crawl: it answers late, wrongly or not at all, and goes down altogether at times."""

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias, get_args

import trio

from exeunt import current_node, exit, whereis
from exeunt.channels import Request, Response

BROKEN: Final = "/broken"
"""The page that is never there, however often one asks."""


Fate: TypeAlias = Literal["refused", "hanging", "outage", "answered"]
FATES: Final[tuple[Fate, ...]] = get_args(Fate)


@dataclass(slots=True)
class Site:
    """How many pages there are, and how many requests in a hundred come to what trouble."""

    pages: int = 25
    refused: float = 15
    hanging: float = 8
    outages: float = 3

    def fate(self, path: str) -> Fate:
        """Choose what becomes of a request."""
        if path == BROKEN:
            return "refused"
        troubles = (self.refused, self.hanging, self.outages)
        weights = (*troubles, 100 - sum(troubles))
        return current_node().random.choices(FATES, weights)[0]

    async def respond(self, request: Request) -> Response:
        """Answer a request, or do not."""
        await trio.sleep(0.05)
        match self.fate(request.path):
            case "refused":
                return Response.text(503, "come back later\n")
            case "hanging":
                await trio.sleep_forever()
            case "outage":
                site = whereis("site")
                if site is not None:
                    exit(site, "kill")
                await trio.sleep_forever()
            case "answered":
                return Response.text(200, "\n".join(self.links(request.path)))

    def links(self, path: str) -> list[str]:
        """Return what a page links to."""
        number = int(path.removeprefix("/") or 0)
        links = ["/", *(f"/{one}" for one in (2 * number + 1, 2 * number + 2) if one < self.pages)]
        return [*links, BROKEN] if number == 0 else links
