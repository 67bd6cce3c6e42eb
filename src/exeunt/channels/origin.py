"""Which web pages may open a socket: the check of the header Origin.

A browser sends the origin of the page with every WebSocket, and does not keep foreign pages from
opening one; so the server has to. Clients that are no browsers send no Origin, and pass.

Phoenix: `True`, the default there, compares with the host that the endpoint was configured with.
Here that is the endpoint's `public_host`; without one, `True` is `"conn"`, which is the default:
the host that the request was sent to. And `"conn"` compares the scheme there; here it cannot be
known, since what speaks TLS stands in front.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Literal, TypeAlias, cast
from urllib.parse import SplitResult, urlsplit

from exeunt.channels.checks import refuse_async
from exeunt.channels.http_messages import Request

OriginCheck: TypeAlias = "bool | Literal['conn'] | Sequence[str] | Callable[[str], bool]"
"""`"conn"`: the host and port that the request was sent to. A list of origins, such as
`"https://a.com"`, `"//b.com:888"` or `"//*.c.com"`, where what is left out may be anything. A
function of the origin. False: any page. True: the endpoint's `public_host`."""

_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}


def check_origins(check: OriginCheck) -> None:
    """Raise `ValueError` if a check of origins makes no sense."""
    if callable(check):
        refuse_async(check, "check_origin")
        return
    if isinstance(check, bool) or check == "conn":
        return
    given: object = check
    if isinstance(given, str) or not isinstance(given, Collection):
        raise ValueError(
            f"check_origin is True, False, 'conn', a function, or a list of origins, not {check!r}"
        )
    for allowed in check:
        _pattern(allowed)


def is_origin_allowed(check: OriginCheck, request: Request) -> bool:
    """Tell whether the page that a request comes from may connect."""
    origin = request.header("origin")
    if origin is None or check is False:
        return True
    if callable(check):
        return check(origin)
    found = _split(origin)
    if found is None or not found.hostname:
        return False
    if check is True or check == "conn":
        host = _split(f"//{request.header('host') or ''}")
        return host is not None and host.hostname == found.hostname and _same_port(found, host)
    return any(_fits(found, allowed) for allowed in check)


def _fits(found: SplitResult, allowed: str) -> bool:
    pattern = _pattern(allowed)
    host, wanted = found.hostname or "", pattern.hostname or ""
    if wanted.startswith("*."):
        if host != wanted[2:] and not host.endswith(wanted[1:]):
            return False
    elif host != wanted:
        return False
    if pattern.scheme and pattern.scheme != found.scheme:
        return False
    port = pattern.port
    return port is None or port == (found.port or _PORTS.get(found.scheme))


def _pattern(allowed: str) -> SplitResult:
    pattern = _split(allowed) if isinstance(cast(object, allowed), str) else None
    if pattern is None or not pattern.hostname:
        raise ValueError(
            "an allowed origin is like 'https://a.com', '//b.com:888' or '//*.c.com', "
            f"not {allowed!r}"
        )
    return pattern


def _same_port(origin: SplitResult, host: SplitResult) -> bool:
    # What stands in front of the server may speak TLS, so the scheme is not known here: a host
    # without a port goes with the default port of either.
    port = origin.port or _PORTS.get(origin.scheme)
    return port == host.port if host.port is not None else port in (80, 443)


def _split(url: str) -> SplitResult | None:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return None
    return parts
