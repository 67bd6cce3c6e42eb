"""Who may connect: the checks that every new client passes, whichever way it comes.

They are those of Phoenix's transports, in their order. Nothing here answers a request: what a
refusal looks like is for the transport to say.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass

import trio

from exeunt.channels.filtering import quoted
from exeunt.channels.http_messages import Request, Response
from exeunt.channels.log import logger
from exeunt.channels.origin import is_origin_allowed
from exeunt.channels.site import Mount, Site
from exeunt.channels.socket import ConnectInfo, Params, Refused, Socket
from exeunt.channels.visits import Visit
from exeunt.channels.wire import Serializer, serializer_for

__all__ = ["Accepted", "admit", "note_unread_token", "offered_token", "passes_origin"]

_TOKEN_PREFIX = "base64url.bearer.phx."
_VERSION = re.compile(r"\d+\.\d+\.\d+([-+].*)?")


@dataclass(frozen=True, slots=True)
class Accepted:
    """A client that may connect."""

    mount: Mount
    socket: Socket
    serializer: Serializer
    visit: Visit


def passes_origin(mount: Mount, request: Request) -> bool:
    """Tell whether the page that a request comes from may connect; log it if not."""
    if is_origin_allowed(mount.check_origin, request):
        return True
    name = type(mount.socket()).__qualname__
    logger.error(
        "Could not check origin for Phoenix.Socket transport.\n"
        "  Origin of the request: %s\n  Socket: %s",
        quoted(request.header("origin")),
        name,
    )
    return False


def offered_token(mount: Mount, request: Request) -> tuple[str | None, str | None]:
    """Return the token and the subprotocol of an upgrade; `""` if it offers none that will do.

    The token is standard base64 without padding, whatever its prefix says. Raises `ValueError` if
    it is not. Of several nobody knows whose they are: then there is none, as in Phoenix.
    """
    offered = list(request.tokens("sec-websocket-protocol"))
    token = None
    is_silent = request.header("sec-websocket-protocol") is None
    tokens = [one for one in offered if one.startswith(_TOKEN_PREFIX)]
    if mount.auth_token and len(tokens) == 1:
        offered.remove(tokens[0])
        is_silent = not offered
        encoded = tokens[0].removeprefix(_TOKEN_PREFIX)
        padding = "=" * (-len(encoded) % 4)
        token = base64.b64decode(encoded + padding, validate=True).decode("latin-1")
    allowed = (*(("phoenix",) if mount.auth_token else ()), *mount.subprotocols)
    if not allowed or is_silent:
        return token, None
    chosen = next((one for one in allowed if one in offered), "")
    if not chosen:
        name = type(mount.socket()).__qualname__
        logger.error("no subprotocol of %s was offered for %s", mount.subprotocols, name)
    return token, chosen


def note_unread_token(site: Site, at: str, request: Request) -> None:
    """Log that a client hands over a token which its mount does not take; once for each mount."""
    if site.mounts[at].auth_token or at in site.unread_tokens:
        return
    offered = request.tokens("sec-websocket-protocol")
    if request.header("x-phoenix-authtoken") is not None or any(
        one.startswith(_TOKEN_PREFIX) for one in offered
    ):
        site.unread_tokens.add(at)
        logger.warning(
            "a client has sent an auth token, which the mount at %r does not take: "
            "Mount(…, auth_token=True)",
            at,
        )


async def admit(
    mount: Mount, params: Params, info: ConnectInfo, transport: str
) -> Accepted | Response:
    """Agree on a version and ask the socket; return the accepted client, or its refusal.

    Runs in the process that is to be the client's, since `connect` is the user's code. What that
    raises is raised; it has `connect_within` seconds, after which the refusal is a 503.
    `transport` is the name of the way that the client comes.
    """
    socket = mount.socket()
    made: object = socket
    if not isinstance(made, Socket):
        raise TypeError(
            f"what makes the sockets of a mount has made {made!r:.60}: expected a Socket"
        )
    visit = Visit(socket, transport)
    name = type(socket).__qualname__
    serializer = serializer_for(params.get("vsn", "1.0.0"))
    if serializer is None:
        _log_version(params.get("vsn"), name)
        visit.refuse("version", None, params)
        return Response(403)
    decision: object = None
    try:
        with trio.move_on_after(mount.connect_within) as patience:
            decision = await socket.connect(params, info)
        if not patience.cancelled_caught and not isinstance(decision, (bool, Refused)):
            shown = socket._filter.show(decision, 1000)
            raise TypeError(f"{name}.connect returned {shown}: expected a bool or Refused(…)")
        id: object = socket.id() if decision is True else None
    except Exception:
        visit.refuse("crashed", serializer, params)
        raise
    if patience.cancelled_caught:
        logger.error("%s.connect took longer than %s seconds", name, mount.connect_within)
        visit.refuse("timeout", serializer, params)
        return Response(503)
    if isinstance(decision, Refused) or not decision:
        visit.refuse("connect", serializer, params)
        refused = decision if isinstance(decision, Refused) else Refused()
        return Response(refused.status, refused.body)
    if id is not None and not isinstance(id, str):
        shown = socket._filter.show(id, 1000)
        logger.warning("%s.id returned %s: expected a string or None", name, shown)
        visit.refuse("id", serializer, params)
        return Response(403)
    visit.accept(id, serializer, params)
    return Accepted(mount, socket, serializer, visit)


def _log_version(version: object, name: str) -> None:
    if isinstance(version, str) and _VERSION.fullmatch(version):
        logger.warning(
            "The client's requested transport version %s does not match "
            "the server's version requirements of ~> 1.0.0 and ~> 2.0.0 of %s",
            quoted(version),
            name,
        )
    else:
        logger.warning("Client sent invalid transport version %s to %s", quoted(version), name)
