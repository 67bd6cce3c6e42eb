"""What the browser talks to: the page and its files, the sign-in, and the socket."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from examples.chat.channels import LobbyChannel, Rates, RoomChannel, UserChannel
from examples.chat.limits import MOST_TOPICS_OF_A_TAB, Declined
from examples.chat.people import person_from, sign_in
from exeunt.channels import ConnectInfo, Params, Request, Response, Socket, StaticFiles, Tokens

STATIC: Final = StaticFiles(
    Path(__file__).parent / "static",
    headers=(
        # Nothing from elsewhere, no script or style within the page, no page around it.
        (
            "Content-Security-Policy",
            "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        ),
        ("Referrer-Policy", "no-referrer"),
    ),
)


class UserSocket(Socket):
    """One browser tab."""

    channels = {"lobby": LobbyChannel, "room:*": RoomChannel, "user:*": UserChannel}
    max_channels = MOST_TOPICS_OF_A_TAB

    def __init__(self, tokens: Tokens, rates: Rates) -> None:
        super().__init__()
        self.tokens = tokens
        self.rates = rates

    async def connect(self, params: Params, info: ConnectInfo) -> bool:
        """Let in whoever has a token of ours that is not too old.

        phoenix.js sends it in a header, so that it stands in no URL and no server's log.
        """
        try:
            person = person_from(self.tokens, info.auth_token)
        except Declined:
            return False
        self.assigns = {"person": person, "rates": self.rates}
        return True


async def pages(tokens: Tokens, request: Request) -> Response:
    """Answer what is no socket: the page, its files, and the sign-in."""
    if request.path != "/sign-in":
        return await STATIC.respond(request, request.path)
    if request.method != "POST":
        return Response.text(405, "method not allowed\n", (("Allow", "POST"),))
    try:
        asked: object = json.loads(request.body)
    except (ValueError, RecursionError):
        asked = None
    if not isinstance(asked, Mapping):
        return _json(400, {"error": "Sign in with a JSON object that has a name."})
    try:
        person, token = sign_in(tokens, asked.get("name"), asked.get("token"))
    except Declined as error:
        return _json(400, {"error": str(error)})
    return _json(200, {"id": person.id, "name": person.name, "token": token})


def _json(status: int, value: object) -> Response:
    return Response(
        status,
        json.dumps(value).encode(),
        (("Content-Type", "application/json"), ("Cache-Control", "no-store")),
    )
